"""What the SeisBench json beside a weight file says about using it.

`model_args` say how a window is prepared and how the output reads, `default_args` what stacking,
blinding and thresholds are recommended. Every function raises WeightsError for a value that
SeisBench's PhaseNet does not know; `source` is what the message calls the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from catalog.errors import Refusal
from catalog.schema import PHASES
from workers.waveform import ALIASES, NS, TILTED

BLINDED = 1500
"""Samples that windows share: blinding more than these leaves holes in the curve."""

FASTEST_HZ = 1000
"""Sampling rate of a network."""

_ARCHITECTURE = {"in_channels", "classes", "filter_factor"}
_PREPARATION = {
    "phases",
    "sampling_rate",
    "norm",
    "norm_detrend",
    "norm_amp_per_comp",
    "component_order",
    "filter_args",
    "filter_kwargs",
}
_IGNORED = {"citation", "allow_padding", "grouping"}
"""Saved by SeisBench, without effect on one station's picks (grouping is checked)."""


class WeightsError(Refusal):
    """Weights that cannot be used; the message names the file, the field and the fix."""


@dataclass(frozen=True, slots=True)
class Preparation:
    """How a window is prepared for these weights, and how their output reads (SeisBench json)."""

    phases: str  # a letter for each row of the output, in its order; N is noise
    components: str  # Z, N, E in the network's order
    sampling_rate: int  # Hz
    norm: str  # std or peak
    detrend: bool  # a line is taken off each component
    per_component: bool  # norm_amp_per_comp: peak of each component, whatever `norm` says
    filter_args: tuple[Any, ...] | None
    filter_kwargs: Mapping[str, Any] | None

    @property
    def peak(self) -> bool:
        """Scaled by the largest amplitude of each component, not by its deviation."""
        return self.per_component or self.norm == "peak"

    @property
    def windows(self) -> str:
        """What a window looks like to the network; networks that agree on it share windows."""
        return f"{self.components} {self.peak} {self.detrend}"

    def to_json(self) -> dict[str, object]:
        """As in `model_args`; part of a shard's identity."""
        return {
            "phases": self.phases,
            "component_order": self.components,
            "sampling_rate": self.sampling_rate,
            "norm": self.norm,
            "norm_detrend": self.detrend,
            "norm_amp_per_comp": self.per_component,
            "filter_args": self.filter_args,
            "filter_kwargs": self.filter_kwargs,
        }


def refuse_unknown(arguments: Mapping[str, Any], defaults: Mapping[str, Any], source: str) -> None:
    """Refuse arguments of another network than PhaseNet, and another stride of its windows."""
    unknown = set(arguments) - _ARCHITECTURE - _PREPARATION - _IGNORED
    if unknown:
        raise WeightsError(
            f"weights {source!r}: model_args {sorted(unknown)} are not PhaseNet's; "
            "tidepick runs PhaseNet only"
        )
    if arguments.get("grouping", "instrument") != "instrument":
        raise WeightsError(f"weights {source!r}: grouping must be 'instrument'")
    if defaults.get("overlap", 1500) not in (1500, 1500 / 3001):
        raise WeightsError(f"weights {source!r}: default_args.overlap must be 1500")


def preparation_of(arguments: Mapping[str, Any], source: str) -> Preparation:
    """What `model_args` say; SeisBench's defaults where they say nothing."""

    def refuse(field: str, fix: str) -> WeightsError:
        return WeightsError(f"weights {source!r}: model_args.{field} {arguments[field]!r}: {fix}")

    phases = "".join(arguments.get("phases") or "NPS")
    if len(set(phases)) != len(phases) or not set(phases) & set(PHASES) or len(phases) > 4:
        raise refuse("phases", "name each phase once, P or S among them, four at most")
    order = "".join(arguments.get("component_order") or "ZNE")
    components = "".join("?" if c in TILTED else ALIASES.get(c, "?") for c in order)
    if sorted(components) != ["E", "N", "Z"]:
        raise refuse("component_order", "an order of Z, N and E (or Z, 1 and 2)")
    norm = arguments.get("norm") or "std"
    if norm not in ("std", "peak"):
        raise refuse("norm", "std or peak")
    rate = arguments.get("sampling_rate") or 100
    if rate != int(rate) or not 0 < rate <= FASTEST_HZ or NS % int(rate):
        raise refuse(
            "sampling_rate",
            f"a whole number of Hz, {FASTEST_HZ} at most, that divides a second into whole ns",
        )
    filter_args = arguments.get("filter_args")
    filter_kwargs = arguments.get("filter_kwargs")
    for name, value, kind in (
        ("filter_args", filter_args, (list, tuple)),
        ("filter_kwargs", filter_kwargs, dict),
    ):
        if value is not None and not isinstance(value, kind):
            raise refuse(name, "one filter for all channels (obspy's arguments)")
    return Preparation(
        phases=phases,
        components=components,
        sampling_rate=int(rate),
        norm=norm,
        detrend=bool(arguments.get("norm_detrend", False)),
        per_component=bool(arguments.get("norm_amp_per_comp", False)),
        filter_args=tuple(filter_args) if filter_args is not None else None,
        filter_kwargs=dict(filter_kwargs) if filter_kwargs is not None else None,
    )


def threshold_of(defaults: Mapping[str, Any], phase: str, source: str) -> float:
    """The threshold that `default_args` recommend for a phase, 0.3 where they name none."""
    value = defaults.get(f"{phase}_threshold", 0.3)
    if not isinstance(value, int | float) or not 0 < value < 1:
        raise WeightsError(
            f"weights {source!r}: default_args.{phase}_threshold {value!r}: between 0 and 1"
        )
    return float(value)


def stacking_of(value: Any, source: str) -> str:
    """How overlapping windows become one curve: `avg` or `max`."""
    if value not in ("avg", "max"):
        raise WeightsError(f"weights {source!r}: default_args.stacking {value!r}: avg or max")
    return str(value)


def blinding_of(value: Any, source: str) -> tuple[int, int]:
    """Samples left out at the start and at the end of every window."""
    try:
        before, after = (int(v) for v in value)
    except (TypeError, ValueError) as error:
        raise WeightsError(
            f"weights {source!r}: default_args.blinding {value!r}: two sample counts"
        ) from error
    if min(before, after) < 0 or before + after > BLINDED:
        raise WeightsError(
            f"weights {source!r}: default_args.blinding {value!r}: two counts >= 0, together at "
            f"most {BLINDED} samples"
        )
    return before, after
