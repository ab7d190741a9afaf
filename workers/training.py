"""How `builtin:synthetic` was made: `python -m workers.training --out DIR`.

PhaseNet on windows of synthetic station-hours, soft labels, cross-entropy, Adam. Two checkpoints
are kept, an early one and the last, each with thresholds solved on station-hours of its own.
The same seed and torch give the same weights on the same class of CPU, with one thread (their
number changes the last bits). About 10 minutes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors.torch import save as to_safetensors
from torch import Tensor

from catalog.schema import PHASES, TraceId
from workers.peaks import REACH_S, find_peaks
from workers.phasenet import WINDOW, PhaseNet
from workers.preparation import Preparation
from workers.synthetic import RATE, STEP_NS, Recording, station_day
from workers.windows import Stack, cut, normalise, window_starts

BATCH = 32
STEPS = 4000
EARLY_STEP = 200
LEARNING_RATE = 3e-3
ARRIVAL_WEIGHT = 10.0
"""Samples inside a label weigh this much more, or noise, 99 % of all samples, is learned first."""

SIGMA = 15
"""Samples: half-width of the label of an arrival."""

POOL = 8
"""Recordings that are cut and shuffled together."""

RECORDING_SECONDS = 1200.0
CUTS = 160
"""Windows out of one recording; each sample is seen four times."""

EVENTS_PER_HOUR = (0.0, 20.0, 120.0, 120.0)
DISTURBANCES_PER_HOUR = (4.0, 30.0)
"""What a training recording is drawn from."""

THRESHOLDS = np.round(np.arange(0.1, 0.96, 0.05), 2)
TOLERANCE = 0.5
"""Seconds between a pick and the arrival it finds."""

TRACE = TraceId("XX", "SYN", "", "HH")

PREPARATION = Preparation(
    phases="PSN",
    components="ZNE",
    sampling_rate=RATE,
    norm="std",
    detrend=False,
    per_component=False,
    filter_args=None,
    filter_kwargs=None,
)

Picks = list[tuple[str, int]]
"""(phase, time in ns)."""


def training_windows(rng: np.random.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless batches of counts [BATCH, 3, WINDOW] and labels [BATCH, 3, WINDOW], rows P, S, N."""
    while True:
        pool = []
        for _ in range(POOL):
            events, disturbances = rng.choice(EVENTS_PER_HOUR), rng.choice(DISTURBANCES_PER_HOUR)
            recording = station_day(TRACE, 0, RECORDING_SECONDS, events, rng, disturbances)
            labels = soft_labels(recording)
            for start in cuts(recording, rng):
                window = recording.data[:, start : start + WINDOW].astype(np.float32)
                pool.append(blemish(window, labels[:, start : start + WINDOW].copy(), rng))
        order = rng.permutation(len(pool))
        for batch in order.reshape(-1, BATCH):
            windows = np.stack([pool[index][0] for index in batch])
            targets = np.stack([pool[index][1] for index in batch])
            yield torch.from_numpy(windows), torch.from_numpy(targets)


def cuts(recording: Recording, rng: np.random.Generator) -> NDArray[np.int64]:
    """[CUTS]: half of them anywhere, half so that an arrival stands anywhere in the window."""
    last = recording.data.shape[1] - WINDOW
    starts = rng.integers(0, last + 1, CUTS)
    if recording.arrivals.num_rows:
        times = np.array([time for _, time in arrivals_of(recording.arrivals)])
        chosen = (rng.choice(times, CUTS // 2) - recording.start_ns) // STEP_NS
        starts[::2] = (chosen - rng.integers(0, WINDOW, CUTS // 2)).clip(0, last)
    return starts


def soft_labels(recording: Recording) -> NDArray[np.float32]:
    """[3, n]: a Gaussian at every P and S, and what is left of 1 as noise."""
    labels = np.zeros((3, recording.data.shape[1]), np.float32)
    for phase, time in arrivals_of(recording.arrivals):
        at = (time - recording.start_ns) / STEP_NS
        low, high = max(round(at) - 5 * SIGMA, 0), min(round(at) + 5 * SIGMA, labels.shape[1])
        bell = np.exp(-(((np.arange(low, high) - at) / SIGMA) ** 2) / 2)
        row = labels[PHASES.index(phase), low:high]
        np.maximum(row, bell, out=row)
    labels[:2] /= np.maximum(labels[:2].sum(axis=0), 1)
    labels[2] = 1 - labels[:2].sum(axis=0)
    return labels


def blemish(
    window: NDArray[np.float32], labels: NDArray[np.float32], rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What archives do to a window, now and then: zero-fill a stretch, lose a component.

    window, labels: float32 [3, WINDOW], rows Z N E and P S noise.
    """
    if rng.random() < 0.15:
        low, high = np.sort(rng.integers(-WINDOW // 2, WINDOW * 3 // 2, 2)).clip(0, WINDOW)
        window += rng.normal(0, 2) * window.std()
        window[:, low:high] = 0
        labels[:2, low:high] = 0
        labels[2, low:high] = 1
    if rng.random() < 0.1:
        # Zero exactly: a constant whose float32 mean is inexact would become 1e6 when divided
        # by its std, and one such window ruins the batch norm of a whole batch.
        window[rng.integers(3)] = 0
    return window, labels


def train(model: PhaseNet, steps: int, seed: int) -> Iterator[int]:
    """One optimiser step after another, yielding the number done; a warm-up, then a cosine."""
    with torch.no_grad():
        model.get_parameter("out.bias")[-1] += 3  # begin where nearly everything is noise
    optimiser = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, LEARNING_RATE, total_steps=steps, pct_start=0.05
    )
    batches = training_windows(np.random.default_rng(seed))
    for step in range(1, steps + 1):
        windows, labels = next(batches)
        model.train()
        log_probability = torch.log_softmax(model.logits(normalise(windows, PREPARATION)), dim=1)
        weight = 1 + ARRIVAL_WEIGHT * (1 - labels[:, 2])
        loss = -((labels * log_probability).sum(dim=1) * weight).mean()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        yield step


def curves(model: PhaseNet, data: NDArray[np.int32]) -> NDArray[np.float32]:
    """Probabilities [2, n] of P and S over the samples [3, n] of one segment."""
    starts = window_starts(0, data.shape[1])
    stack = Stack((len(PHASES), data.shape[1]), "avg", (0, 0), torch.device("cpu"))
    windows = torch.empty(BATCH, 3, WINDOW)
    model.eval()
    with torch.inference_mode():
        for begin in range(0, len(starts), BATCH):
            chosen = starts[begin : begin + BATCH]
            cut(torch.from_numpy(data), chosen, windows)
            stack.add(chosen, model(normalise(windows, PREPARATION)), range(len(PHASES)))
    return stack.curves().numpy()


def arrivals_of(table: pa.Table) -> Picks:
    """(phase, ns) of each row of ARRIVAL_SCHEMA."""
    return list(
        zip(table["phase"].to_pylist(), table["time"].cast(pa.int64()).to_pylist(), strict=True)
    )


def found(picks: Picks, arrivals: Picks) -> int:
    """How many arrivals have a pick of their phase within TOLERANCE; a pick finds at most one."""
    free = sorted(picks)
    hits = 0
    for phase, time in arrivals:
        near = [p for p in free if p[0] == phase and abs(p[1] - time) <= TOLERANCE * 1e9]
        if near:
            free.remove(min(near, key=lambda pick: abs(pick[1] - time)))
            hits += 1
    return hits


def solve_thresholds(model: PhaseNet, recordings: list[Recording]) -> dict[str, float]:
    """The threshold of each phase with the highest F0.5 on the recordings.

    F0.5, not F1: a day has far more noise than arrivals, so precision is what gets lost.
    """
    counts = np.zeros((len(PHASES), len(THRESHOLDS), 3))
    for recording in recordings:
        truth = arrivals_of(recording.arrivals)
        for row, curve in enumerate(curves(model, recording.data)):
            arrivals = [arrival for arrival in truth if arrival[0] == PHASES[row]]
            peaks = find_peaks(curve, float(THRESHOLDS[0]), REACH_S * RATE)
            times = recording.start_ns + peaks.index * STEP_NS
            for column, threshold in enumerate(THRESHOLDS):
                chosen = (peaks.probability >= threshold) & (peaks.saddle < threshold / 2)
                picks = [(PHASES[row], int(time)) for time in times[chosen]]
                counts[row, column] += found(picks, arrivals), len(picks), len(arrivals)
    hits, made, planted = np.moveaxis(counts, -1, 0)
    best = np.argmax(1.25 * hits / (0.25 * planted + made), axis=1)
    return {phase: float(THRESHOLDS[at]) for phase, at in zip(PHASES, best, strict=True)}


def save(model: PhaseNet, folder: Path, name: str, docstring: str, seed: int) -> None:
    """`name`.safetensors with SeisBench's parameter names, and SeisBench's json beside it."""
    rng = np.random.default_rng([seed, 1])
    held_out = [station_day(TRACE, 0, 3600.0, 20.0, rng) for _ in range(12)]
    thresholds = solve_thresholds(model, held_out)
    state = {key: value.contiguous() for key, value in model.state_dict().items()}
    (folder / f"{name}.safetensors").write_bytes(to_safetensors(state))
    description = {
        "docstring": docstring,
        "model_args": {
            "phases": PREPARATION.phases,
            "norm": PREPARATION.norm,
            "component_order": PREPARATION.components,
            "sampling_rate": PREPARATION.sampling_rate,
        },
        "default_args": {f"{phase}_threshold": value for phase, value in thresholds.items()},
        "version": "1",
        "seisbench_requirement": "0.3.0",
    }
    (folder / f"{name}.json").write_text(json.dumps(description, indent=2) + "\n")


def main() -> None:
    """Train, and write the two checkpoints of `builtin:`."""
    parser = argparse.ArgumentParser(prog="python -m workers.training", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the checkpoints")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"of {BATCH} windows each")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(1)
    model = PhaseNet()
    about = f"PhaseNet trained on {BATCH} synthetic windows a step, after {{}} steps; demo only."
    columns = (TextColumn("training"), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        for step in progress.track(
            train(model, arguments.steps, arguments.seed), total=arguments.steps
        ):
            if step == EARLY_STEP:
                early = about.format(step)
                save(model, arguments.out, "synthetic_early", early, arguments.seed)
    save(model, arguments.out, "synthetic", about.format(arguments.steps), arguments.seed)


if __name__ == "__main__":
    main()
