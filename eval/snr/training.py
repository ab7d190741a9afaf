"""Do the last checkpoints of a training still improve, or only waver?

Where they improve, their deviation is the improvement's and no noise: the table says so beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from eval.metrics import Sample
from eval.snr.scores import Measure
from eval.snr.table import Families

TRAINING_SCHEMA = pa.schema(
    [
        ("family", pa.string()),  # of checkpoints, in order
        ("phase", pa.string()),
        ("measure", pa.string()),
        ("checkpoints", pa.int64()),
        ("first", pa.float64()),
        ("last", pa.float64()),
        ("noise", pa.float64()),  # deviation (ddof 0)
        ("total_variation", pa.float64()),  # mean size of a step
        ("relative_variation", pa.float64()),  # the same over the range
        ("improvement", pa.float64()),  # last minus first, more is better, over the checkpoints
        (
            "improvement_of_halves",
            pa.float64(),
        ),  # the same between the means of first and last half
        (
            "monotonicity",
            pa.float64(),
        ),  # steps up minus steps down, over those that move; 1: all up
    ]
)


@dataclass(frozen=True, slots=True)
class Course:
    """Scores of one training's checkpoints in order [n], n of two or more, more is better."""

    scores: Sample

    @classmethod
    def of(cls, scores: npt.ArrayLike) -> Course:
        """Raises ValueError for NaN, and for fewer than two."""
        numbers = np.asarray(scores, np.float64)
        if len(numbers) < 2 or np.isnan(numbers).any():
            raise ValueError(f"checkpoints {numbers.tolist()}: give two scores or more, none NaN")
        return cls(numbers)

    @property
    def total_variation(self) -> float:
        """Mean size of a step."""
        return float(np.abs(np.diff(self.scores)).mean())

    @property
    def relative_variation(self) -> float:
        """`total_variation` over the range; 0 where all are alike."""
        gap = float(np.ptp(self.scores))
        return self.total_variation / gap if gap > 0 else 0.0

    @property
    def improvement(self) -> float:
        return float(self.scores[-1] - self.scores[0]) / len(self.scores)

    def improvement_of_means(self, n: int) -> float:
        """As `improvement`, between the means of the first and of the last n."""
        ends = self.scores[-n:].mean() - self.scores[:n].mean()
        return float(ends) / len(self.scores)

    @property
    def monotonicity(self) -> float:
        """Steps up minus steps down, over the steps that move; 0 where none does."""
        signs = np.sign(np.diff(self.scores))
        moving = int(np.abs(signs).sum())
        return float(signs.sum()) / moving if moving else 0.0


def courses(measures: Sequence[Measure], families: Families) -> pa.Table:
    """TRAINING_SCHEMA, a row a family of checkpoints and measure in which all have a score."""
    return pa.Table.from_pylist(list(_rows(measures, families)), TRAINING_SCHEMA)


def _rows(measures: Sequence[Measure], families: Families) -> Iterator[dict[str, object]]:
    for members in families.of("checkpoints"):
        for measure in measures:
            own = measure.among(members)
            if np.isnan(own.values).any():
                continue
            course = Course.of(-own.values if own.less_is_better else own.values)
            yield {
                "family": ", ".join(members),
                "phase": own.phase,
                "measure": own.name,
                "checkpoints": len(members),
                "first": float(own.values[0]),
                "last": float(own.values[-1]),
                "noise": _deviation(own.values),
                "total_variation": course.total_variation,
                "relative_variation": course.relative_variation,
                "improvement": course.improvement,
                "improvement_of_halves": course.improvement_of_means(len(members) // 2),
                "monotonicity": course.monotonicity,
            }


def _deviation(scores: Sample) -> float:
    """Equal scores may have one of rounding alone."""
    return float(scores.std()) if np.ptp(scores) > 0 else 0.0
