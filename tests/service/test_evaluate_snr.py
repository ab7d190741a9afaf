"""`tidepick eval snr`: families and averages, and bins that are chosen and scored apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from service.campaign import CandidateConfig
from service.cli import main
from service.documents import CampaignError
from service.evaluate.config import load_evaluation
from service.evaluate.report import asked_for
from service.evaluate.snr.families import averages_of, one_a_family
from service.evaluate.tables import kept
from service.prepare import candidate_weights

FOUND = {
    "good": 0.84, "other": 0.7, "fair": 0.6, "e1": 0.72, "e2": 0.73, "e3": 0.74, "broken": 0.02,
}  # fmt: skip

TABLES = """
name = "made elsewhere"
out = "out"
baseline = "good"
[[benchmark]]
name = "traces"
kind = "table"
path = "traces.parquet"
[[family]]
candidates = ["e1", "e2", "e3"]
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "evaluation.toml"
    path.write_text(text)
    return path


def write_traces(folder: Path, n: int = 400) -> None:
    """Candidates that find a share of P, the near ones more of them; S is theirs all alike."""
    rng = np.random.default_rng(0)
    luck = {phase: rng.random(n) for phase in "ps"}  # epochs of one training find the same
    distance = np.where(np.arange(n) // 4 % 2, 50.0, 500.0)
    parts = []
    for name, share in FOUND.items():
        columns: dict[str, Any] = {
            "weight": [name] * n, "trace_name": [f"t{k}" for k in range(n)],
            "dataset": ["d"] * n, "event_id": [f"e{k // 4}" for k in range(n)],
            "station": [f"XX.S{k % 10}" for k in range(n)], "distance_km": distance,
            "source_origin_time": [f"2020-01-01T{k // 240:02d}:{k // 4 % 60:02d}:00Z"
                                   for k in range(n)],
            "source_latitude_deg": 40.0 + 0.5 * (np.arange(n) // 4),
            "source_longitude_deg": np.full(n, -120.0),
        }  # fmt: skip
        for phase, of in (("p", share), ("s", 0.7)):
            near = of if phase == "s" else np.where(distance < 150, of, 0.6 * of)
            found = (luck[phase] if name.startswith("e") else rng.random(n)) < near
            columns |= {
                f"{phase}_in_window": np.full(n, 500),
                f"{phase}_prob": np.where(found, 0.8, 0.1),
                f"{phase}_residual_s": rng.normal(0, 0.05, n),
            }
        parts.append(pa.table(columns))
    pq.write_table(pa.concat_tables(parts), folder / "traces.parquet")


def test_a_family_is_noise_and_one_candidate(tmp_path, capsys):
    write_traces(tmp_path)
    path = write(tmp_path, TABLES)
    assert main(["eval", "snr", str(path), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["signal between"] == "good, other, fair, e3, broken"
    assert facts["thresholds"] == "0.3 for all"
    assert facts["degenerate, no signal"] == "broken"
    rows = {(r["bin"], r["phase"], r["measure"]): r for r in facts["snr"]}
    found = rows["all", "P", "recall"]
    assert (found["best"], found["worst"], found["verdict"]) == ("good", "fair", "separates")
    scores = kept(tmp_path / "out", "oracle")
    assert scores is not None, "the oracle ran first"
    recall = {
        row["candidate"]: row["value"]
        for row in scores.to_pylist()
        if (row["stratum"], row["phase"], row["metric"]) == ("all", "P", "recall_t0.30")
    }
    assert found["noise_checkpoints"] / np.mean(
        [recall[n] for n in ("good", "other", "fair", "e3")]
    ) == (pytest.approx(np.std(own := [recall[f"e{k}"] for k in (1, 2, 3)]) / np.mean(own)))
    assert found["noise_seeds"] is None and found["decision_accuracy"] is None
    assert rows["all", "S", "recall"]["verdict"] != "separates"
    assert ("local (<150km)", "P", "recall") in rows
    for name in ("snr", "snr_decisions", "snr_sizes", "snr_bins", "snr_average"):
        assert kept(tmp_path / "out", name) is not None, name
    assert "snr" in asked_for(load_evaluation(path))
    assert main(["eval", "snr", str(path)]) == 0
    assert "separates" in capsys.readouterr().out


def test_bins_are_chosen_on_one_split_and_scored_on_another(tmp_path, capsys):
    write_traces(tmp_path)
    text = TABLES.replace('out = "out"', 'out = "out"\nsplits = "splits"')
    path = write(tmp_path, text[: text.index("[[family]]")])
    assert main(["eval", "splits", str(path)]) == 0, capsys.readouterr().err
    capsys.readouterr()
    assert main(["eval", "snr", str(path), "--json"]) == 0
    bins = json.loads(capsys.readouterr().out)["snr_bins"]
    own = [row for row in bins if (row["phase"], row["measure"]) == ("P", "recall")]
    every, best = [row for row in own if row["stratum"] == "dist_bin"]
    assert every["kept"] == "every bin" and best["kept"] in (
        "local (<150km)", "regional (150-1500km)",
    )  # fmt: skip
    assert best["traces"] < every["traces"] < 400, "of tuning alone"


FAMILIES = """
name = "families"
out = "out"
[[candidate]]
name = "a"
weights = "one"
[[candidate]]
name = "b"
weights = "two"
[[candidate]]
name = "mean"
weights = {weights}
average = true
[[benchmark]]
name = "traces"
kind = "table"
path = "traces.parquet"
[[family]]
candidates = {candidates}
{more}
"""


@pytest.mark.parametrize(
    ("weights", "signal"),
    [('["two", "one"]', ["mean"]), ('["one", "three"]', ["b", "mean"])],
)
def test_an_average_stands_for_the_family_that_it_is_of(tmp_path, weights, signal):
    text = FAMILIES.format(weights=weights, candidates='["a", "b"]', more="")
    evaluation = load_evaluation(write(tmp_path, text))
    assert one_a_family(evaluation, evaluation.names) == signal
    assert bool(dict(averages_of(evaluation))) == (len(signal) == 1)


@pytest.mark.parametrize(
    ("candidates", "more", "words"),
    [
        ('["a", "c"]', "", "'c': no candidate has that name"),
        ('["a", "b"]', 'kind = "seeds"', "three trainings or more"),
        ('["a", "a"]', "", "stands twice"),
        ('["a", "b"]', '[[family]]\ncandidates = ["b", "mean"]', "of one family only"),
    ],
)
def test_what_is_no_family_is_refused(tmp_path, candidates, more, words):
    text = FAMILIES.format(weights='["one", "two"]', candidates=candidates, more=more)
    with pytest.raises(CampaignError, match=words):
        load_evaluation(write(tmp_path, text))


def test_an_average_is_one_weight_set_and_no_ensemble(data):
    epochs = [str(data / "weights" / f"220103-155334_{epoch}.safetensors") for epoch in
              ("e05", "e07")]  # fmt: skip
    mean = candidate_weights(CandidateConfig(name="mean", weights=epochs, average=True))
    both = candidate_weights(CandidateConfig(name="both", weights=epochs))
    assert len(mean.members) == 1 and len(both.members) == 2
    assert mean.sha256 not in {both.sha256, *(member.sha256 for member in both.members)}
    with pytest.raises(ValueError, match="two checkpoints or more"):
        CandidateConfig(name="one", weights=epochs[0], average=True)
