"""`tidepick eval snr` from weight files to verdicts: seeds, noise and planted days, all run."""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.torch
import torch

from catalog.schema import TraceId, day_start_ns
from service.cli import main
from service.evaluate.tables import kept
from tests.service.picking import pick
from workers.synthetic import network_days, write_sds
from workers.weights import BUILTIN

T0 = day_start_ns(date(2024, 3, 1))
TRACES = [TraceId("XX", name, "", "HH") for name in "ABC"]
SEEDS = ("seed0", "seed1", "seed2")
NAMES = ("synthetic", "synthetic_early", *SEEDS)
CAMPAIGN = """\
name = "days"
catalog = "catalog"
[archive]
kind = "sds"
root = "archive"
[select]
stations = ["*.*"]
start = 2024-03-01
end = 2024-03-02
"""
EVALUATION = """\
name = "seeds"
out = "out"
thresholds = "equal_false_picks"
[[benchmark]]
name = "planted"
kind = "npz"
path = "planted.npz"
[noise]
catalog = "catalog"
events = "none.csv"
stations = "stations.csv"
arrivals = ["truth.parquet"]
target_rate = 20.0
windows_per_hour = 120
[continuous]
catalog = "catalog"
arrivals = ["truth.parquet"]
complete = true
waveforms = false
[[family]]
kind = "seeds"
candidates = ["seed0", "seed1", "seed2"]
"""


def write_seeds(folder: Path) -> str:
    """Three trainings that differ by chance alone: one weight set, each tensor moved a little."""
    lines = ""
    for number, name in enumerate(SEEDS):
        tensors = safetensors.torch.load_file(BUILTIN / "synthetic.safetensors")
        generator = torch.Generator().manual_seed(number)
        for key in sorted(tensors):
            if tensors[key].is_floating_point() and "running" not in key:
                moved = torch.randn(tensors[key].shape, generator=generator)
                tensors[key] = tensors[key] * (1 + 0.04 * moved)
        safetensors.torch.save_file(tensors, folder / f"{name}.safetensors")
        shutil.copy(BUILTIN / "synthetic.json", folder / f"{name}.json")
        lines += f'[[candidate]]\nname = "{name}"\nweights = "{name}.safetensors"\n'
    for name in NAMES[:2]:
        lines += f'[[candidate]]\nname = "{name}"\nweights = "builtin:{name}"\n'
    return lines


def write_benchmark(folder: Path, n: int = 60) -> None:
    """P and S pulses, from drowned in noise to loud."""
    rng = np.random.default_rng(3)
    data = rng.normal(0, 1, (n, 6000, 3)).astype(np.float32)
    t = np.arange(2000) / 100
    pulse = np.exp(-t / 1.5) * np.sin(2 * np.pi * 6 * t)
    for k in range(n):
        size = 0.008 * 1.08 ** (k % 30)
        data[k, 2000:4000] += size * pulse[:, None] * np.array([8, 8, 40])
        data[k, 2600:4600] += size * pulse[:, None] * np.array([90, 90, 15])
    np.savez(
        folder / "planted.npz",
        data=data,
        itp=np.full(n, 2000),
        its=np.full(n, 2600),
        name=[f"t{k}" for k in range(n)],
        event_id=[f"quake{k // 2}" for k in range(n)],
        station=[f"XX.S{k % 6}" for k in range(n)],
    )


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    folder = tmp_path_factory.mktemp("snr")
    rng = np.random.default_rng(11)
    loud = network_days(TRACES, T0, 1200.0, 90.0, rng, None, 20)
    calm = network_days(TRACES, T0 + 1200 * 10**9, 1200.0, 0.0, rng, None, 20)
    write_sds(folder / "archive", [*loud, *calm])
    pq.write_table(pa.concat_tables(r.arrivals for r in loud), folder / "truth.parquet")
    places = "".join(f"XX,{trace.station},10.{k},20\n" for k, trace in enumerate(TRACES))
    (folder / "stations.csv").write_text("network,station,latitude,longitude\n" + places)
    (folder / "none.csv").write_text("time,latitude,longitude,depth,mag\n")
    write_benchmark(folder)
    candidates = write_seeds(folder)
    (folder / "campaign.toml").write_text(CAMPAIGN + candidates)
    pick(folder / "campaign.toml")
    path = folder / "evaluation.toml"
    head, *tables = EVALUATION.split("[[benchmark]]", 1)
    path.write_text(head + candidates + "[[benchmark]]" + tables[0])
    assert main(["eval", "snr", str(path), "--json"]) == 0
    return folder / "out"


def table_of(out: Path, name: str) -> list[dict[str, Any]]:
    table = kept(out, name)
    assert table is not None, name
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


@pytest.mark.slow
def test_seeds_of_one_recipe_are_a_noise_of_their_own(ran):
    thresholds = {
        (row["candidate"], row["phase"]): row["threshold"]
        for row in table_of(ran, "noise_thresholds")
    }
    traces = kept(ran, "traces")
    assert traces is not None
    recall = {}
    for name in NAMES:
        own = traces.filter(pa.compute.equal(traces["weight"], name))
        recall[name] = float(np.mean(own["p_prob"].to_numpy() >= thresholds[name, "P"]))
    assert len({recall[name] for name in SEEDS}) > 1, "they do differ"
    [row] = [
        row
        for row in table_of(ran, "snr")
        if (row["stratum"], row["phase"], row["measure"]) == ("all", "P", "recall")
    ]
    seeds = np.array([recall[name] for name in SEEDS])
    out = row["excluded"].split(", ")
    kept_in = [n for n in ("synthetic", "synthetic_early", "seed2") if n not in out]
    assert len(kept_in) == row["candidates"] >= 2, recall
    signal = np.array([recall[name] for name in kept_in])
    noise = seeds.std() / seeds.mean()
    assert row["noise_seeds"] == pytest.approx(noise * signal.mean(), rel=1e-9)
    assert row["snr_seeds"] == pytest.approx(np.ptp(signal) / signal.mean() / noise, rel=1e-9)
    assert row["noise_checkpoints"] is None
    assert "checkpoints: no family of checkpoints" in row["undefined"]
    assert "seeds" not in row["undefined"]


@pytest.mark.slow
def test_planted_days_and_noise_have_their_figures_and_the_benchmark_is_held_against_them(ran):
    rows = table_of(ran, "snr")
    days = {(r["phase"], r["measure"]): r for r in rows if r["stratum"] == "continuous days"}
    names = ("recall", "mae_all_found", "f1", "false_picks_per_hour")
    assert set(days) == {(phase, name) for phase in "PS" for name in names}
    noise = [row for row in rows if row["stratum"] == "noise"]
    assert {row["measure"] for row in noise} == {"false_picks_per_hour"} and len(noise) == 2
    labelled = {row["measure"] for row in rows if row["stratum"] == "all"}
    assert {"recall", "f1_1.0s", "mae_all_found", "soft_detection"} <= labelled
    held = {
        (row["measure"], row["against"]): row
        for row in table_of(ran, "snr_decisions")
        if row["phase"] == "P"
    }
    row = held["f1_1.0s", "f1 on continuous days"]
    assert 0 <= row["low"] <= row["accuracy"] <= row["high"] <= 1
    assert ("recall", "recall on continuous days") in held
    assert ("recall", "false picks per hour of noise") in held
    assert table_of(ran, "snr_sizes") and table_of(ran, "snr_spreads")
