"""What is picked: one synthetic station-day in several shapes, and weights of two sizes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np
import seisbench.models as sbm
import torch

from catalog.schema import COMPONENTS, StationDay, TraceId
from workers.synthetic import RATE, network_days, sds_path, write_sds
from workers.waveform import NS, Fragment, grid_index
from workers.weights import Weights, load, resolve
from workers.windows import STEP

DAY = date(2024, 3, 1)
EVENTS_PER_HOUR = 200 / 24
GAPS_S = ((7_200.0, 7_201.0), (30_000.0, 30_090.0), (50_000.0, 50_000.5), (70_000.0, 73_600.0))
WHOLE = TraceId("XX", "WHOLE", "", "HH")
SHORT = TraceId("XX", "SHORT", "", "HH")
ALIKE = tuple(TraceId("XX", f"GAPS{k}", "", "HH") for k in range(3))
"""The station-day with gaps under three names, for what picks several."""

GAPS = ALIKE[0]
N_BIAS = 30.0
"""By how much random weights prefer noise to P and S, in logits of unit deviation: enough that
they pick, and that no pick is longer than a minute."""


@dataclass(frozen=True, slots=True)
class Scope:
    """How much is measured. hours: of a station-day; short_hours: for the wider network."""

    rounds: int
    hours: float
    short_hours: float


@dataclass(frozen=True, slots=True)
class Stretch:
    """Data of one trace that a contender picks, [start, end)."""

    root: Path
    trace: TraceId
    start_ns: int
    end_ns: int

    def files(self) -> list[Path]:
        return [sds_path(self.root, self.trace, c, self.start_ns) for c in COMPONENTS]


def write_days(root: Path, scope: Scope) -> dict[TraceId, Stretch]:
    """Steim2 miniSEED in SDS layout: with gaps (three times), without, and the short one.

    The short one begins where a window does and has no spikes, which we mask and SeisBench does
    not: their windows and samples are ours.
    """
    start = StationDay(WHOLE, DAY).start_ns
    seconds, short_s = scope.hours * 3600, scope.short_hours * 3600
    (whole,) = network_days([WHOLE], start, seconds, EVENTS_PER_HOUR, np.random.default_rng(1))
    gaps = tuple((round(a * RATE), round(b * RATE)) for a, b in GAPS_S if b < seconds)
    with_gaps = replace(whole, trace=GAPS, gaps=gaps)
    at = start + -grid_index(start, RATE) % STEP * NS // RATE
    rng = np.random.default_rng(2)
    (short,) = network_days([SHORT], at, short_s, EVENTS_PER_HOUR, rng, disturbances_per_hour=0)
    write_sds(root, [whole, with_gaps, short])
    stretches = {t: Stretch(root, t, start, start + round(seconds * NS)) for t in (WHOLE, *ALIKE)}
    for trace in ALIKE[1:]:
        write_sds(root, [replace(with_gaps, trace=trace)])
    return stretches | {SHORT: Stretch(root, SHORT, at, at + round(short_s * NS))}


def narrow() -> Weights:
    """The weights that are shipped, of the size of SeisBench's `original`."""
    return resolve("builtin:synthetic")


def wide(folder: Path) -> Weights:
    """Random weights of the size of `jma_wc`: twice as wide, 1,070,899 parameters.

    Its last layer is scaled so that noise is noise, and some events are picks.
    """
    torch.manual_seed(1)
    model = sbm.PhaseNet(phases="NPS", norm="std", filter_factor=2).eval()
    with torch.inference_mode():
        logits = torch.log(model(torch.randn(16, 3, 3001)))
        logits -= logits.mean(dim=1, keepdim=True)
        mean, scale = logits.mean(dim=(0, 2)), 1 / logits.std(dim=2).mean()
        model.out.weight *= scale
        model.out.bias.copy_(torch.tensor([N_BIAS, 0.0, 0.0]) - scale * mean)
    model.save(folder / "wide", "random, to measure speed with")
    return load(folder / "wide.pt")


def at_rate(rate: float, hours: float, start_ns: int) -> list[Fragment]:
    """Three components of noise at another rate, int32, as a reading holds them."""
    rng = np.random.default_rng(2)
    first = round(start_ns * rate / NS)
    n = round(hours * 3600 * rate)
    offsets = np.array([[first, 0]], np.int64)
    return [
        Fragment(c, rate, first, rng.integers(-9999, 9999, n, np.int32), offsets)
        for c in COMPONENTS
    ]
