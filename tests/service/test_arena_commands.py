"""`tidepick arena`: people are rated as the reference is, a rule by kept tables."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from catalog.truth import NOISE_SCHEMA
from catalog.votes import Votes
from eval.arena.answers import OVER
from service.arena import arguments
from service.cli import main
from service.evaluate.noise.rates import THRESHOLD_SCHEMA
from service.evaluate.tables import keep, kept
from tests.eval.arena.conftest import ANSWER, votes_of

GOLDEN = {"jma_wc": 1095.77, "v7": 1050.63, "v11": 1023.24, "scratch": 830.35}

EVALUATION = """
name = "battles"
out = "out"
baseline = "good"
[[candidate]]
name = "good"
weights = "builtin:synthetic"
[[candidate]]
name = "fair"
weights = "builtin:synthetic"
[[candidate]]
name = "loud"
weights = "builtin:synthetic"
[[benchmark]]
name = "d"
kind = "table"
path = "traces.parquet"
[noise]
catalog = "catalog"
windows = "windows.csv"
target_rate = {target}
[arena]
strata = ["dataset"]
{votes}
"""


@pytest.fixture
def golden_votes(data: Path) -> pa.Table:
    battles = json.loads((data / "golden" / "golden_elo.json").read_text())["battles"]
    names = ("model_a", "model_b", "winner", "window_id", "annotator")
    return votes_of([tuple(ANSWER.get(b[n], b[n]) for n in names) for b in battles])


def said(capsys: pytest.CaptureFixture[str], *words: object) -> Any:
    assert main([str(word) for word in (*words, "--json")]) == 0
    return json.loads(capsys.readouterr().out)


def arena_of(path: Path, windows: int = 60) -> Votes:
    """An arena in which `good` mostly wins, with an undone vote, a skip and a repeat."""
    votes, rng = Votes(path), np.random.default_rng(0)
    pairs = [("good", "fair"), ("fair", "bad"), ("bad", "good")]
    worth = {"good": 2, "fair": 1, "bad": 0}

    def battle(k: int, repeat_of: str | None = None) -> str:
        left, right = pairs[k % 3]
        row: dict[str, Any] = {
            "annotator": f"ann{k % 4}",
            "window": f"w{k % 20}",
            "stratum": "local | 10 dB | UW",
        }
        row |= {"left": left, "right": right, "version": "0", "repeat_of": repeat_of}
        row |= {f"{side}_{what}": "{}" for side in ("left", "right")
                for what in ("sha256", "thresholds")}  # fmt: skip
        return votes.issue(row | {"probability": 0.5})

    for k in range(windows):
        left, right = pairs[k % 3]
        better = "left" if worth[left] > worth[right] else "right"
        other = {"left": "right", "right": "left"}[better]
        answer = "tie" if rng.random() < 0.2 else better if rng.random() < 0.7 else other
        issued, vote = battle(k), str(uuid.uuid4())
        votes.cast(vote, issued, f"ann{k % 4}", answer)
        if k == 5:
            votes.undo(str(uuid.uuid4()), vote, f"ann{k % 4}")
        if k == 7:
            votes.cast(str(uuid.uuid4()), battle(k, issued), f"ann{k % 4}", answer)
    votes.cast(str(uuid.uuid4()), battle(1), "ann1", "skip")
    return votes


def test_people_are_rated_as_the_reference_is(tmp_path, capsys, golden_votes):
    pq.write_table(golden_votes, tmp_path / "votes.parquet")
    facts = said(capsys, "arena", "rate", tmp_path / "votes.parquet")
    board = {row["candidate"]: row for row in facts["board"]}
    for name, rating in GOLDEN.items():
        [row] = [row for candidate, row in board.items() if candidate.startswith(name)]
        assert row["rating"] == pytest.approx(rating, abs=0.01)
        assert row["low"] < rating < row["high"]
    online = {row["candidate"]: row["rating"] for row in facts["online_elo"]}
    assert online["jma_wc"] == pytest.approx(1043.32, abs=0.01)
    [pair] = [r for r in facts["matrix"] if (r["candidate"], r["opponent"]) == ("jma_wc", "v7")]
    assert pair["difference"] == pytest.approx(45, abs=0.5) and not pair["separated"]
    assert facts["sides"][0]["alarm"] is False and facts["votes"] == 200
    assert main(["arena", "rate", str(tmp_path / "votes.parquet")]) == 0
    shown = capsys.readouterr().out
    assert "1096" in shown and "1043.3" in shown and "left bias" in shown


def test_every_export_gives_the_same_ratings(tmp_path, capsys):
    arena_of(tmp_path / "arena.db")
    here = said(capsys, "arena", "rate", tmp_path / "arena.db", "--strata", "snr")
    assert (here["votes"], here["repeats"]) == (60, {"alike": 1, "of": 1})
    assert {row["bin"] for row in here["board"]} == {"all", "10 dB"}
    for name in ("votes.parquet", "votes.csv", "whole"):
        done = said(capsys, "arena", "export", tmp_path / "arena.db", tmp_path / name)
        assert done["rows"] == (63 if name == "whole" else 60)
        assert said(capsys, "arena", "rate", tmp_path / name, "--strata", "snr") == here


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("none.db", None, "No such file"),
        ("text.db", b"not a database", "not an arena's file"),
        ("votes.csv", b"left,right\na,b\n", "no column 'vote'"),
        ("votes.parquet", b"PAR1", "tidepick arena export"),
    ],
)
def test_what_is_no_arena_is_refused_by_name(tmp_path, capsys, name, text, words):
    path = tmp_path / name
    if text is not None:
        path.write_bytes(text)
    assert main(["arena", "rate", str(path)]) == 2
    error = capsys.readouterr().err
    assert words in error and name in error
    assert path.exists() == (text is not None), "no arena is made by asking for one"


def test_a_stratum_of_another_make_is_refused(tmp_path, capsys, golden_votes):
    column = golden_votes.column_names.index("stratum")
    strange = pa.array(["here | there"] * golden_votes.num_rows)
    votes = golden_votes.set_column(column, "stratum", strange)
    pq.write_table(votes, tmp_path / "votes.parquet")
    assert main(["arena", "rate", str(tmp_path / "votes.parquet"), "--strata", "snr"]) == 2
    assert "here | there" in capsys.readouterr().err


def test_the_words_know_every_clustering():
    assert arguments.OVER == OVER


def write_evaluation(folder: Path, votes: str = "", target: float = 1.0) -> Path:
    """With the tables that noise and oracle would have kept: `good` finds 9 of 10, `fair` 6 of 10,
    and `loud`, at a threshold of 0.3, all; but no threshold meets the rate for it."""
    path, rng, n = folder / "evaluation.toml", np.random.default_rng(0), 120
    path.write_text(EVALUATION.format(votes=votes, target=target))
    parts = []
    for name, share in (("good", 0.9), ("fair", 0.6), ("loud", 1.0)):
        columns: dict[str, Any] = {
            "weight": [name] * n, "trace_name": [f"t{k}" for k in range(n)],
            "dataset": ["d"] * n, "event_id": [f"e{k // 4}" for k in range(n)],
            "station": [f"XX.S{k % 10}" for k in range(n)],
        }  # fmt: skip
        for phase in "ps":
            found = rng.random(n) < share
            columns |= {
                f"{phase}_in_window": np.full(n, 500),
                f"{phase}_prob": np.where(found, 0.8, 0.1),
                f"{phase}_residual_s": rng.normal(0, 0.02, n),
            }
        parts.append(pa.table(columns))
    keep(folder / "out", "traces", pa.concat_tables(parts))
    solved = [
        {
            "candidate": name,
            "phase": phase,
            "target_per_hour": 1.0,
            "threshold": threshold,
            "hours": 20.0,
        }
        for name, threshold in (("good", 0.5), ("fair", 0.4), ("loud", None))
        for phase in "PS"
    ]
    keep(folder / "out", "noise_thresholds", pa.Table.from_pylist(solved, THRESHOLD_SCHEMA))
    keep(folder / "out", "noise_windows", NOISE_SCHEMA.empty_table())
    return path


def test_battles_are_by_rule_and_apart_from_people(tmp_path, capsys):
    rng = np.random.default_rng(1)
    path = write_evaluation(tmp_path, 'votes = "arena.db"')
    votes = Votes(tmp_path / "arena.db")
    for k in range(60):
        row: dict[str, Any] = {
            "annotator": "ann",
            "window": f"d//t{k}",
            "stratum": "",
            "repeat_of": None,
        }
        row |= {"left": "good", "right": "fair", "version": "0", "probability": 0.5}
        row |= {f"{side}_{what}": "{}" for side in ("left", "right")
                for what in ("sha256", "thresholds")}  # fmt: skip
        answer = "left" if rng.random() < 0.8 else "right"
        votes.cast(str(uuid.uuid4()), votes.issue(row), "ann", answer)
    facts = said(capsys, "arena", "battle", path)
    assert facts["left out, for no threshold meets that"] == "loud"
    assert facts["battles"] == 120 and facts["votes"] == 60
    rule = [row for row in facts["ruled_board"] if row["bin"] == "all"]
    assert [row["candidate"] for row in rule] == ["good", "fair"]
    assert {row["judge"][:5] for row in facts["ruled_board"]} == {"auto:"}
    assert {row["judge"] for row in facts["voted_board"]} == {"people"}
    assert rule[0]["wins"] + rule[0]["losses"] + rule[0]["ties"] + rule[0]["both_bad"] == 120
    out = tmp_path / "out"
    rulings = kept(out, "rulings")
    assert rulings is not None and rulings.num_rows == 120
    assert set(rulings["thresholds"].to_pylist()) == {
        "at most 1 false picks a station-hour and phase"
    }
    window = rulings["window"].to_pylist()
    [every, _] = facts["arena_agreement"]
    assert every["votes"] == sum(f"d//t{k}" in window for k in range(60)) == 60
    assert 0 < every["agreed"] < 60
    assert main(["arena", "battle", str(path)]) == 0
    assert "Board of people" in capsys.readouterr().out
    assert kept(out, "voted_board") is not None
    path.write_text(path.read_text().replace('votes = "arena.db"', ""))
    said(capsys, "arena", "battle", path)
    assert kept(out, "voted_board") is None, "votes that are no longer named"


def test_battles_want_thresholds_of_this_rate(tmp_path, capsys):
    assert main(["arena", "battle", str(write_evaluation(tmp_path, target=2.0))]) == 2
    assert "tidepick eval noise` again" in capsys.readouterr().err
    (tmp_path / "out" / "tables" / "noise_thresholds.parquet").unlink()
    assert main(["arena", "battle", str(tmp_path / "evaluation.toml")]) == 2
    assert "run `tidepick eval noise`" in capsys.readouterr().err
