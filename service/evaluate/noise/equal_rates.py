"""Thresholds of equal false picks per hour, as `tidepick eval noise` solved and kept them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from catalog.errors import Refusal
from catalog.schema import PHASES
from eval.thresholds import Frozen, Thresholds
from service.evaluate.config import Evaluation
from service.evaluate.tables import kept

SPLIT = "verified noise"

LEAST_PICKS = 10
"""Of one candidate and phase, that the target rate allows in all the noise there is. Fewer place a
threshold by chance: the count of ten has an error of a third."""


def equal_rates(evaluation: Evaluation, names: Sequence[str]) -> tuple[Frozen, list[str]]:
    """(thresholds, candidates that have none: even a threshold of 1 leaves them too many picks).

    Raises Refusal where they were not solved, for another rate, or not for all these candidates.
    """
    if evaluation.noise is None:
        raise Refusal(
            "noise: missing; thresholds of equal false picks per hour are solved on verified "
            "noise: name [noise] and run `tidepick eval noise`"
        )
    folder, target = Path(evaluation.out), evaluation.noise.target_rate
    table, windows = kept(folder, "noise_thresholds"), kept(folder, "noise_windows")
    if table is None or windows is None:
        raise Refusal(f"{folder}: no noise was judged yet; run `tidepick eval noise`")
    each: dict[str, dict[str, float]] = {}
    lacking = {(name, phase) for name in names for phase in PHASES}
    for row in table.to_pylist():
        lacking.discard((row["candidate"], row["phase"]))
        if row["target_per_hour"] != target:
            raise Refusal(
                f"{folder}: thresholds are of {row['target_per_hour']:g} false picks an hour, "
                f"target_rate is {target:g}; run `tidepick eval noise` again"
            )
        if row["candidate"] in names and row["threshold"] is not None:
            each.setdefault(row["candidate"], {})[row["phase"]] = row["threshold"]
    if lacking:
        raise Refusal(
            f"{folder}: no noise threshold of {sorted({name for name, _ in lacking})}; run "
            "`tidepick eval noise` again"
        )
    whole = {name: phases for name, phases in each.items() if len(phases) == len(PHASES)}
    places = ("network", "station", "location", "start")
    columns = [windows[name].to_pylist() for name in places]
    keys = [".".join(map(str, key)) for key in zip(*columns, strict=True)]
    rule, hours = rule_of(evaluation), _hours(table)
    if target * hours < LEAST_PICKS:
        rule += f", {target * hours:.0f} in all the noise there is: they rest on chance"
    frozen = Frozen.solved(Thresholds(whole), rule, SPLIT, keys)
    return frozen, [name for name in names if name not in whole]


def supported_rates(evaluation: Evaluation, names: Sequence[str]) -> Frozen:
    """`equal_rates` that are no chance. Raises Refusal also where the target rate allows fewer than
    LEAST_PICKS, or a candidate has no threshold."""
    frozen, without = equal_rates(evaluation, names)
    assert evaluation.noise is not None
    table = kept(Path(evaluation.out), "noise_thresholds")
    target, hours = evaluation.noise.target_rate, _hours(table)
    if target * hours < LEAST_PICKS:
        raise Refusal(
            f"thresholds: {target:g} false picks an hour in {hours:.1f} station-hours of noise are "
            f"{target * hours:.0f}, and a threshold that rests on fewer than {LEAST_PICKS} is "
            "chance: raise noise.station_days, windows_per_hour or target_rate"
        )
    if without:
        raise Refusal(f"thresholds: none of {without} meets the target rate of noise")
    return frozen


def rule_of(evaluation: Evaluation) -> str:
    """How they are solved, in words."""
    assert evaluation.noise is not None
    return f"at most {evaluation.noise.target_rate:g} false picks a station-hour and phase"


def _hours(thresholds: pa.Table) -> float:
    """Station-hours of noise; 0 where no threshold could be solved."""
    return max((row["hours"] or 0.0 for row in thresholds.to_pylist()), default=0.0)
