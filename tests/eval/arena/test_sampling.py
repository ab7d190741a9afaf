"""Windows come by stratum, the most telling first, and every draw's chance is known."""

import json
from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.battles import BATTLE_SCHEMA
from eval.arena.answers import Answers
from eval.arena.battles import DISAGREEMENT_SCHEMA
from eval.arena.sampling import FLOOR, REPEATS, chances, draw, gains
from eval.report.blind import blinded, shown
from eval.report.figure import Mark, WindowView, draw_windows
from tests.eval.arena.conftest import votes_of

NO_BATTLES = BATTLE_SCHEMA.empty_table()
NO_VOTES = votes_of([])
WINDOWS = pa.table({"window": [f"w{k}" for k in range(10)], "stratum": ["near"] * 8 + ["far"] * 2})


def disagreements(score=None):
    rows = [
        {"window": f"w{k}", "left": a, "right": b, "score": (score or {}).get((k, a + b), 0.1)}
        for k in range(10)
        for a, b in (("a", "b"), ("a", "c"), ("b", "c"))
    ]
    return pa.Table.from_pylist(rows, DISAGREEMENT_SCHEMA)


def drawn(n, seed=0, score=None, votes=NO_VOTES, battles=NO_BATTLES, annotator="ann"):
    generator = np.random.default_rng(seed)
    given = disagreements(score)
    return [draw(WINDOWS, given, battles, votes, annotator, generator) for _ in range(n)]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["near", "far", "x"]), st.floats(0, 1)), min_size=1, max_size=30
    )
)
def test_chances_add_up_and_never_fall_below_the_floor(rows):
    strata = np.array([stratum for stratum, _ in rows], object)
    chance = chances(strata, np.array([tells for _, tells in rows]))
    assert chance.sum() == pytest.approx(1.0)
    for stratum in set(strata):
        own = strata == stratum
        assert chance[own].sum() == pytest.approx(1 / len(set(strata)))
        assert (chance[own] >= FLOOR / own.sum() / len(set(strata)) - 1e-12).all()


def test_draws_happen_as_often_as_their_probability_says():
    score = {(3, "ab"): 0.9, (9, "bc"): 0.9}
    n = 4_000
    found = drawn(n, score=score)
    counts = Counter((d.window, frozenset((d.left, d.right))) for d in found)
    assert len(counts) == 30  # the floor reaches all
    for d in {(d.window, frozenset((d.left, d.right)), d.probability) for d in found}:
        window, pair, probability = d
        deviation = np.sqrt(n * probability * (1 - probability))
        assert abs(counts[window, pair] - n * probability) < 5 * deviation
    best = {d.window: d.probability for d in found if d.probability > 0.1}
    assert best == pytest.approx({"w3": 0.5 * (0.8 + 0.2 / 24), "w9": 0.5 * (0.8 + 0.2 / 6)})
    left = sum(d.left < d.right for d in found)
    assert abs(left - n / 2) < 5 * np.sqrt(n / 4)


def test_the_least_known_pair_tells_most():
    many = [("a", "b", ("left", "right")[k % 2], f"w{k}") for k in range(40)]
    gain = gains(Answers.of_people(votes_of(many)), ["a", "b", "c"])
    assert gain["a", "c"] == pytest.approx(gain["b", "c"]) and gain["a", "c"] > 3 * gain["a", "b"]
    swept = [("a", "b", "left", f"w{k}") for k in range(40)]
    assert 0 < gains(Answers.of_people(votes_of(swept)), ["a", "b"])["a", "b"] < 1


def issued(annotator, n=10):
    rows = votes_of([("a", "b", "left", f"w{k}", annotator) for k in range(n)])
    return rows, rows.select([name for name in BATTLE_SCHEMA.names]).cast(BATTLE_SCHEMA)


def test_what_was_issued_is_not_drawn_again_but_a_tenth_repeats_others():
    votes, battles = issued("ann")
    for d in drawn(300, votes=votes, battles=battles):
        assert d.repeat_of is None and {d.left, d.right} != {"a", "b"}
    others = drawn(2_000, votes=votes, battles=battles, annotator="bob")
    repeats = [d for d in others if d.repeat_of is not None]
    assert abs(len(repeats) - REPEATS * 2_000) < 5 * np.sqrt(2_000 * REPEATS * (1 - REPEATS))
    for d in repeats:
        assert d.repeat_of == f"b{d.window[1:]}" and d.probability == pytest.approx(REPEATS / 10)
    unanswered = drawn(200, votes=NO_VOTES, battles=battles, annotator="bob")
    assert all(d.repeat_of is None for d in unanswered)


def test_nothing_left_is_said():
    votes, battles = issued("ann")
    only = disagreements().filter(pa.compute.equal(disagreements()["right"], "b"))
    generator = np.random.default_rng(0)
    assert draw(WINDOWS, only, battles, votes, "ann", generator) is None
    again = draw(WINDOWS, only, battles, votes, "bob", generator)
    assert again is not None and again.repeat_of is not None


def test_check_8_no_name_leaves_before_the_vote(tmp_path):
    """In what the page is made of: the battle's json, and the picture with its metadata."""
    names = ("tohoku_v7", "cascadia_v11")
    secrets = [*names, "1f00dfeed", "2badcafe", "0.271", "near | differ"]
    battle: dict[str, Any] = {
        **{"battle": "4c1d", "issued": "2026-01-01", "annotator": "ann", "window": "9e"},
        **{"stratum": secrets[5], "left": names[0], "right": names[1]},
        **{"left_sha256": secrets[2], "right_sha256": secrets[3], "probability": 0.1},
        **{"left_thresholds": '{"P": 0.271}', "right_thresholds": "{}"},
        **{"repeat_of": None, "version": "0"},
    }
    assert set(battle) == set(BATTLE_SCHEMA.names)
    view = WindowView(
        waveform=np.ones((3, 300)),
        rate=100.0,
        start_ns=0,
        title="UW.SHW..HH",
        curves={name: np.zeros((2, 300)) for name in (*names, "third")},
        picks={names[0]: [Mark("P", 10**9)]},
        arrivals=[Mark("P", 10**9)],
        thresholds={names[0]: {"P": 0.271}},
    )
    blind = blinded(view, battle)
    assert list(blind.curves) == ["left", "right"] and not blind.arrivals
    assert len(blind.picks["left"]) == 1 and not blind.picks["right"]
    for ending in ("svg", "png"):
        draw_windows(tmp_path / f"window.{ending}", [blind])
        body = (tmp_path / f"window.{ending}").read_bytes()
        assert not [s for s in secrets if s.encode() in body]
    text = json.dumps(shown(battle))
    assert "4c1d" in text and not [s for s in secrets if s in text]
    draw_windows(tmp_path / "open.svg", [view])  # the search would have found one
    assert b"tohoku" in (tmp_path / "open.svg").read_bytes()
    with pytest.raises(ValueError, match="no curves of"):
        blinded(view, battle | {"left": "fourth"})
