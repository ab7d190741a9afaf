"""One weight set, or several whose probability curves are averaged, as one candidate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from catalog.schema import PHASES, digest
from workers.preparation import WeightsError
from workers.weights import Weights


@dataclass(frozen=True, slots=True)
class Ensemble:
    """Members share the read, the resampling, the filter and the windows; each has its own norm,
    order of components and forward pass. One member alone is that weight set."""

    members: tuple[Weights, ...]

    @classmethod
    def of(cls, members: Sequence[Weights]) -> Ensemble:
        """Raises WeightsError where members want other samples, or one stands twice."""
        ensemble = cls(tuple(members))
        ensemble.agreed("model_args.sampling_rate", lambda w: w.preparation.sampling_rate)
        ensemble.agreed("model_args.filter_args", lambda w: w.preparation.filter_args)
        ensemble.agreed("model_args.filter_kwargs", lambda w: w.preparation.filter_kwargs)
        identities = [member.identity for member in members]
        for member in members:
            if identities.count(member.identity) > 1:
                raise WeightsError(f"weights {member.source!r} stand twice in one ensemble")
        return ensemble

    @property
    def sha256(self) -> str:
        """Of the weight file; of several, a hash of theirs in order, the order of the sum."""
        hashes = [member.sha256 for member in self.members]
        return hashes[0] if len(hashes) == 1 else digest(hashes)

    @property
    def preparation(self) -> object:
        """What the members' json says about their windows, as JSON."""
        each = [member.preparation.to_json() for member in self.members]
        return each[0] if len(each) == 1 else each

    @property
    def thresholds(self) -> dict[str, float]:
        """Recommended defaults by phase: the members' mean."""
        count = len(self.members)
        return {p: sum(member.thresholds[p] for member in self.members) / count for p in PHASES}

    @property
    def stacking(self) -> str:
        """What all members recommend. Raises WeightsError where they differ, as `blinding` does."""
        return str(self.agreed("default_args.stacking", lambda w: w.stacking))

    @property
    def blinding(self) -> tuple[int, int]:
        """Samples at the start and end of a window, as all members recommend."""
        before, after = self.agreed("default_args.blinding", lambda w: w.blinding)
        return before, after

    def agreed(self, field: str, value: Callable[[Weights], Any]) -> Any:
        """A value on which all members agree. Raises WeightsError that names two that do not."""
        first, *rest = self.members
        for other in rest:
            if value(other) != value(first):
                raise WeightsError(
                    f"weights {first.source!r} and {other.source!r}: {field} is {value(first)!r} "
                    f"and {value(other)!r}; members of an ensemble must agree on it, or the "
                    "candidate must say it"
                )
        return value(first)
