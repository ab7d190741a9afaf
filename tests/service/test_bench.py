"""`tidepick bench`: what another engine does to the picks, and how fast this machine is."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from scipy.ndimage import uniform_filter1d
from scipy.optimize import linear_sum_assignment
from torch import Tensor

import service.bench.stages
import workers.span
import workers.tensors
from catalog.schema import StationDay, TraceId
from service.bench.parity import SAME_PICK_S, Pair, Tally, compare, spread
from service.bench.report import bench_tables
from service.bench.speed import BREAK_EVEN, KINDS, RAY_UNITS, bench, bench_compute, gpu_share
from service.bench.stages import (
    ASSEMBLE,
    COPY,
    FORWARD,
    PEAKS,
    READ,
    REST,
    ROWS,
    STACK,
    STAGES,
    WINDOWS,
    stage_seconds,
)
from service.cli import main
from tests.spans import pick_span
from workers.archives import Archive, ArchiveConfig, open_archive
from workers.archives.daily import DailyArchive
from workers.candidate import Candidate
from workers.compiled import CompiledEngine
from workers.device import device_at_hand
from workers.engines import Engine, open_engine
from workers.span import Span
from workers.synthetic import station_day, write_sds
from workers.weights import resolve
from workers.windows import Stack

TRACE = TraceId("XX", "ONE", "", "HH")
DAY = StationDay(TRACE, date(2024, 3, 1))
THRESHOLDS = {"P": 0.05, "S": 0.4}
FLOORS = {"P": 0.1, "S": 0.1}

CAMPAIGN = """\
name = "small"
catalog = "never"
[archive]
kind = "sds"
root = "archive"
[select]
stations = ["XX.*"]
start = 2024-03-01
end = 2024-03-02
[[candidate]]
name = "one"
weights = "builtin:synthetic"
[[candidate]]
name = "both"
weights = ["builtin:synthetic", "builtin:synthetic_early"]
S_threshold = 0.25
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An hour of XX.ONE, with an event every other minute."""
    folder = tmp_path_factory.mktemp("bench")
    rng = np.random.default_rng(5)
    write_sds(folder / "archive", [station_day(TRACE, DAY.start_ns, 3600.0, 40.0, rng)])
    (folder / "campaign.toml").write_text(CAMPAIGN)
    return folder


@pytest.fixture
def archive(folder: Path) -> Archive:
    return open_archive(ArchiveConfig(kind="sds", root=str(folder / "archive")))


def candidate(engine: Engine) -> Candidate:
    return Candidate.of("c", [resolve("builtin:synthetic")], engine, FLOORS)


def rows(archive: Archive, tested: Engine, against: Engine) -> dict[tuple[str, str], Any]:
    """What `compare` says of the hour, by phase and threshold."""
    pair = Pair(candidate(tested), candidate(against), THRESHOLDS)
    tallies, outcomes = compare(archive, [DAY], [pair])
    assert outcomes == {"picked": 1}
    return {(tally.phase, tally.threshold): tally.to_json() for tally in tallies}


class Perturbed:
    """Another engine's curves, changed."""

    together = 1
    runs_on = "tests"

    def __init__(self, change: Callable[[Tensor], Tensor]) -> None:
        self._engine = open_engine("fast")
        self._change = change

    def load(self, weights: Any) -> Any:
        return self._engine.load(weights)

    def curves(self, samples: Any, starts: Any, recipes: Sequence[Any]) -> list[Tensor]:
        return [self._change(curve) for curve in self._engine.curves(samples, starts, recipes)]


def test_an_engine_equals_itself(archive: Archive) -> None:
    found = rows(archive, open_engine("exact"), open_engine("exact"))
    assert set(found) == {
        *((phase, name) for phase in "PS" for name in ("floor", "0.2", "0.3", "0.5")),
        ("S", "default"),  # what is recommended for P is below its floor
    }
    assert found["P", "floor"]["picks"] > found["P", "0.5"]["picks"] > 20
    for row in found.values():
        assert row["picks"] == row["picks_against"] == row["same"]
        assert (row["moved"], row["gained"], row["lost"], row["shifts"]) == (0, 0, 0, {})
        assert row["dp_median"] == row["dp_99"] == row["dp_max"] == 0


def test_fast_against_exact(archive: Archive) -> None:
    for row in rows(archive, open_engine("fast"), open_engine("exact")).values():
        assert (row["gained"], row["lost"], row["moved"]) == (0, 0, 0)
        assert 0 < row["dp_max"] <= 1e-5


def test_what_moves_is_told_from_what_is_lost(archive: Archive) -> None:
    """P is three samples late, S half as probable."""

    def change(curve: Tensor) -> Tensor:
        return curve.new_tensor(np.stack([np.roll(curve[0].numpy(), 3), curve[1].numpy() / 2]))

    changed, fast = Perturbed(change), open_engine("fast")
    found = rows(archive, changed, fast)
    p, s = found["P", "0.3"], found["S", "0.5"]
    assert p["moved"] == p["picks"] == p["picks_against"] > 20
    assert (p["same"], p["gained"], p["lost"]) == (0, 0, 0)
    assert (p["shifts"], p["dp_max"]) == ({"3": p["moved"]}, 0)
    assert s["lost"] == s["picks_against"] > 20
    assert (s["picks"], s["same"], s["moved"], s["gained"], s["dp_max"]) == (0, 0, 0, 0, None)

    other_way = rows(archive, fast, changed)
    assert other_way["P", "0.3"]["shifts"] == {"-3": p["moved"]}
    assert other_way["S", "0.5"]["gained"] == s["lost"]
    assert other_way["S", "0.5"]["lost"] == 0


def test_noise_is_counted_as_a_hand_would(archive: Archive) -> None:
    """Gained, lost and moved by brute force: the cheapest of all assignments, a day at a time."""
    rng = np.random.default_rng(1)

    def change(curve: Tensor) -> Tensor:
        waves = uniform_filter1d(rng.normal(0, 3.0, tuple(curve.shape)), 20)
        return (curve * curve.new_tensor(np.exp(waves))).clamp(0, 1)

    noisy = Perturbed(change)
    found = rows(archive, noisy, open_engine("fast"))
    rng = np.random.default_rng(1)  # the same noise once more
    tested, against = (
        pick_span(archive, TRACE, DAY.start_ns, DAY.end_ns, [candidate(engine)])["c"].picks
        for engine in (noisy, open_engine("fast"))
    )
    seen: Counter[str] = Counter()
    for (phase, _), row in found.items():
        level = np.float32(row["level"])
        picks = [
            [
                (pick["time"].value, pick["probability"])
                for pick in table.to_pandas().to_dict("records")
                if pick["phase"] == phase
                and pick["probability"] >= level
                and pick["saddle"] < np.float32(row["level"] / 2)
            ]
            for table in (tested, against)
        ]
        late = np.array([[new - old for new, _ in picks[0]] for old, _ in picks[1]])
        cost = np.where(np.abs(late) <= SAME_PICK_S * 1e9, np.abs(late) / 1e9, 1e6)
        pairs = [
            (i, j) for i, j in zip(*linear_sum_assignment(cost), strict=True) if cost[i, j] < 1e6
        ]
        dp = sorted(abs(picks[0][j][1] - picks[1][i][1]) for i, j in pairs)
        assert row["gained"] == len(picks[0]) - len(pairs)
        assert row["lost"] == len(picks[1]) - len(pairs)
        assert row["same"] == sum(late[i, j] == 0 for i, j in pairs)
        assert row["moved"] == sum(row["shifts"].values()) == len(pairs) - row["same"]
        assert row["dp_max"] == pytest.approx(dp[-1])
        shifted = sum(abs(int(shift)) * n for shift, n in row["shifts"].items())
        assert shifted == sum(abs(late[i, j]) for i, j in pairs) / 1e7
        seen.update({name: row[name] for name in ("gained", "lost", "same", "moved")})
    assert min(seen[name] for name in ("gained", "lost", "same", "moved")) > 0, seen


def test_thresholds_and_the_half_second_have_edges() -> None:
    """float32(0.3) is a pick at 0.3, unless its saddle is float32(0.15); 0.5 s is near enough."""

    def table(*picks: tuple[int, float, float]) -> pa.Table:
        times, probabilities, saddles = zip(*picks, strict=True)
        return pa.table(
            {
                "time": pa.array(times, pa.timestamp("ns")),
                "probability": pa.array(probabilities, pa.float32()),
                "saddle": pa.array(saddles, pa.float32()),
            }
        )

    second = 10**9
    tally = Tally("c", "P", "0.3", 0.3)
    tested = table(
        (0, 0.3, 0.0), (10 * second, 0.9, 0.15), (20 * second, 0.9, 0.0), (30 * second, 0.9, 0.0)
    )
    against = table((second // 2, 0.4, 0.0), (20 * second - 10**7, 0.7, 0.0), (31 * second, 1, 0))
    tally.add(tested, against, 100)
    found = tally.to_json()
    assert (found["picks"], found["picks_against"]) == (3, 3)
    assert (found["gained"], found["lost"], found["moved"], found["same"]) == (1, 1, 2, 0)
    assert found["shifts"] == {"-50": 1, "1": 1}
    assert found["dp_max"] == pytest.approx(0.2) and found["dp_median"] == pytest.approx(0.15)


@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 40))
def test_spread_takes_as_many_as_there_are(traces: int, days: int, count: int) -> None:
    held = [
        StationDay(TraceId("XX", f"S{k}", "", "HH"), date(2024, 3, 1 + day))
        for k in range(traces)
        for day in range(days)
    ]
    chosen = spread(held, count)
    assert len(chosen) == min(count, len(held))
    assert chosen == sorted(set(chosen)) and set(chosen) <= set(held)
    assert set(chosen) <= set(spread(held, count + 1))


def test_spread_reaches_over_traces_and_days() -> None:
    traces = [TraceId("XX", f"S{k}", "", "HH") for k in range(10)]
    held = [StationDay(t, date(2024, 3, 1 + day)) for t in traces for day in range(10)]
    chosen = spread(held, 10)
    assert len({day.trace for day in chosen}) >= 9
    assert len({day.day for day in chosen}) >= 6


def test_an_engine_that_torch_lacks_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lacks(*arguments: object) -> Tensor:
        raise NotImplementedError("\"slow_conv2d_cpu\" not implemented for 'Half'")

    monkeypatch.setattr(workers.tensors.Folded, "probabilities", lacks)
    assert main(["bench", "--parity", str(folder / "campaign.toml"), "--device", "cpu"]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert said[-1].startswith("tidepick: engine fp16 on cpu: this torch cannot run it (")
    assert "not implemented for 'Half'" in said[-1]


def test_parity_of_a_campaign(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Half precision on the CPU; and nothing is left behind."""
    before = sorted(folder.rglob("*"))
    arguments = ["bench", "--parity", str(folder / "campaign.toml"), "--device", "cpu"]
    assert main([*arguments, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert sorted(folder.rglob("*")) == before
    rows = facts.pop("rows")
    assert facts == {
        "engine": "fp16",
        "against": "fast",
        "device": "cpu",
        "archive": str(folder / "archive"),
        "station_days": 1,
        "outcomes": {"picked": 1},
    }
    assert {row["candidate"] for row in rows} == {"one", "both"}
    levels = {(row["candidate"], row["phase"], row["threshold"]): row["level"] for row in rows}
    assert levels["both", "S", "floor"] == 0.25 and ("both", "S", "0.2") not in levels
    for row in rows:
        assert row["picks_against"] > 10
        assert 1e-5 < row["dp_max"] < 0.02, "half precision, and no less"
        assert row["picks"] == row["same"] + row["moved"] + row["gained"]
        assert row["picks_against"] == row["same"] + row["moved"] + row["lost"]

    assert main([*arguments, "--engine", "fast", "--against", "exact"]) == 0
    shown = capsys.readouterr().out
    assert "fast against exact on cpu: 1 station-days" in shown and "S 0.25 (floor)" in shown


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--device", "tpu"], "device 'tpu': use cpu or cuda"),
        (["--parity", "--device", "tpu"], "device 'tpu': use cpu or cuda"),
        (["--device", "cpu", "--engine", "fp16"], "--engine fp16"),
        (["--device", "cpu", "--workers", "0"], "--workers 0"),
        (["--device", "cpu", "--station-days", "0"], "--station-days 0"),
        (["--device", "cpu", "--price", "0"], "--price 0"),
        (["--against", "exact"], "--against: only with --parity"),
        (["--parity", "--workers", "2"], "--workers: not with --parity"),
        (["--parity", "--station-days", "-1"], "--station-days -1"),
        (["--parity", "absent.toml"], "campaign absent.toml: no such file"),
    ],
)
def test_refusals(arguments: list[str], why: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *arguments]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"tidepick: {why}")


@pytest.mark.skipif(device_at_hand() == "cuda", reason="there is a GPU here")
def test_a_gpu_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--device", "cuda", "--json"]) == 2
    assert "torch finds no GPU" in json.loads(capsys.readouterr().out)["error"]


@given(st.integers(1, 500))
def test_every_worker_finds_its_share_of_the_gpu(workers: int) -> None:
    """Ray rounds a share to the nearest unit: of 1/6 it would hand out five."""
    units = int(gpu_share(workers) * RAY_UNITS + 0.5)
    assert 0 < units * workers <= RAY_UNITS


class Hands:
    """A clock that only what is planted moves: a second a call."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.time = 0.0
        self._patch = monkeypatch.setattr
        self._patch(service.bench.stages, "waited_for", lambda device: lambda: self.time)

    def plant(self, owner: Any, name: str) -> None:
        def slow(*args: Any, **kwargs: Any) -> Any:
            self.time += 1
            return original(*args, **kwargs)

        original = getattr(owner, name)
        self._patch(owner, name, slow)

    def stages(self, archive: Archive, picking: Candidate) -> dict[str, float]:
        """Seconds of the stages that took any, which are all that passed."""
        before = vars(workers.tensors)["cut"], Stack.add
        seconds = stage_seconds(archive, [DAY], picking, "cpu")
        assert (vars(workers.tensors)["cut"], Stack.add) == before, "the hooks are gone"
        assert tuple(seconds) == STAGES
        assert sum(seconds.values()) == self.time / 2 > 0, "picked once before"
        return {name: spent for name, spent in seconds.items() if spent}


SAMPLES = [
    (DailyArchive, "read", READ),
    (workers.span, "on_grid", ASSEMBLE),
    (Span, "refusal", REST),
    (workers.span, "find_peaks", PEAKS),
    (workers.span, "rows", ROWS),
]
ARITHMETIC = [
    (workers.tensors, "cut", WINDOWS),
    (workers.tensors, "normalise", WINDOWS),
    (torch.nn.Conv1d, "forward", FORWARD),
    (Stack, "add", STACK),
    (Stack, "curves", STACK),
    (workers.tensors, "mean", COPY),
]


@pytest.mark.parametrize(("owner", "name", "stage"), SAMPLES + ARITHMETIC)
def test_time_counts_where_it_passes(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, stage: str
) -> None:
    hands = Hands(monkeypatch)
    hands.plant(owner, name)
    assert set(hands.stages(archive, candidate(open_engine("exact")))) == {stage}


def test_the_kernel_says_what_its_parts_took(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_engine("fast")
    if not isinstance(engine, CompiledEngine):
        pytest.skip("no kernel for this CPU")
    hands, curves = Hands(monkeypatch), CompiledEngine.curves

    def slow(self: CompiledEngine, *args: Any) -> Any:
        before = self.seconds.copy()
        result = curves(self, *args)
        assert (self.seconds > before).all(), "it measures each of them"
        self.seconds[:] = before + np.array([2, 6, 4])
        hands.time += 12
        return result

    monkeypatch.setattr(CompiledEngine, "curves", slow)
    assert hands.stages(archive, candidate(engine)) == {WINDOWS: 2, FORWARD: 6, STACK: 4}


@pytest.mark.slow
def test_bench_measures_it_all(capsys: pytest.CaptureFixture[str]) -> None:
    compute = bench_compute("cpu", None, 2)
    say = Console(stderr=True)
    facts = bench(compute, 4, 2.0, say, seconds=900.0)
    assert json.loads(json.dumps(facts)) == facts
    assert (facts["device"], facts["engine"], facts["workers"]) == ("cpu", "fast", 2)
    assert facts["station_days"] == 4
    assert set(facts["archives"]) == set(KINDS)
    for run in facts["archives"].values():
        rate = run["station_days_per_hour"]
        assert rate == pytest.approx(4 / 96 * 3600 / run["seconds"])
        assert run["times_break_even"] == pytest.approx(rate / (2.0 * BREAK_EVEN))
        assert run["dollars_per_station_day"] == pytest.approx(2.0 / rate)
        assert 0.2 < run["worker_memory_gb"] < 4 and run["gpu_memory_gb"] is None
        assert sum(stage["share"] for stage in run["stages"].values()) == pytest.approx(1)
    # two stations with the same two days, whichever way they are kept
    assert len({run["picks"] for run in facts["archives"].values()}) == 1
    assert facts["archives"]["sds"]["picks"] % 2 == 0 < facts["archives"]["sds"]["picks"]
    assert set(facts["seisbench"]) == {"256", "1024"}
    Console(file=sys.stdout, width=80).print(bench_tables(facts))
    shown = capsys.readouterr().out
    assert all(words in shown for words in ("zarr", "SeisBench, 1024", "$ a sta-", "forward"))
    assert "GPU" not in shown
