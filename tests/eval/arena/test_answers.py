"""What is rated comes from one judge, and from battles that can say something."""

import numpy as np
import pyarrow as pa
import pytest

from eval.arena.agreement import agreement, alpha_of, krippendorff
from eval.arena.answers import Answers
from eval.arena.battles import battles
from eval.arena.board import BOARD_SCHEMA, INSUFFICIENT, leaderboard, matrix
from eval.arena.ratings import RATED, SEPARATED
from eval.arena.tallies import TALLY_SCHEMA
from tests.eval.arena.conftest import simulated, votes_of


def rulings(**errors):
    """Rulings on windows w0, w1...; errors: candidate -> its errors on each."""
    rows = [
        {
            "candidate": name,
            "window": f"w{window}",
            "stratum": "all",
            "matched": 1,
            "errors": count,
            "residual_s": 0.1,
            "thresholds": "1 false P an hour",
        }
        for name, counts in errors.items()
        for window, count in enumerate(counts)
    ]
    return battles(pa.Table.from_pylist(rows, TALLY_SCHEMA))


def test_check_3_a_candidate_against_itself_and_a_vote_or_battle_twice_are_refused():
    with pytest.raises(ValueError, match="'A' against itself"):
        Answers.of_people(votes_of([("A", "B", "left"), ("A", "A", "tie")]))
    votes = votes_of([("A", "B", "left")])
    with pytest.raises(ValueError, match="vote v0 stands more than once"):
        Answers.of_people(pa.concat_tables([votes, votes]))
    fresh = votes.set_column(0, "vote", pa.array(["v9"]))
    with pytest.raises(ValueError, match="battle b0 stands more than once"):
        Answers.of_people(pa.concat_tables([votes, fresh]))
    ruled = rulings(A=[0], B=[1])
    with pytest.raises(ValueError, match="w0: A and B stands more than once"):
        Answers.of_rule(pa.concat_tables([ruled, ruled]))


def test_check_9_votes_and_rulings_cannot_be_pooled():
    votes, ruled = votes_of([("A", "B", "left")]), rulings(A=[0], B=[1])
    with pytest.raises(pa.ArrowInvalid):
        pa.concat_tables([votes, ruled])
    pooled = pa.concat_tables([votes, ruled], promote_options="default")
    for make in (Answers.of_people, Answers.of_rule):
        with pytest.raises(ValueError, match="never pooled"):
            make(pooled)
    with pytest.raises(ValueError, match="never pooled"):
        Answers.of_people(ruled)
    disguised = ruled.set_column(0, "rule", pa.array(["people"]))
    with pytest.raises(ValueError, match="rule holds"):
        Answers.of_rule(disguised)


def test_check_9_boards_are_of_one_judge_and_small_strata_say_insufficient():
    rng = np.random.default_rng(9)
    votes = simulated(rng, {"A": 50.0, "B": 0.0, "C": -50.0}, 40, 5)
    people = Answers.of_people(votes)
    windows = sorted(set(people.window))
    near = pa.table({"window": windows, "dist": ["near"] * 37 + ["far"] * 3})
    board = leaderboard(people, people.strata(near, ["dist"]))
    assert board.schema == BOARD_SCHEMA and set(board["judge"].to_pylist()) == {"people"}
    status = {(r["stratum"], r["bin"]): r for r in board.to_pylist()}
    assert status["all", "all"]["status"] == RATED
    assert status["dist", "near"]["status"] == RATED
    far = [r for r in board.to_pylist() if r["bin"] == "far"]
    assert {r["status"] for r in far} == {INSUFFICIENT}
    assert {r["rank"] for r in far} == {r["rating"] for r in far} == {None}
    assert "15 battles on 3 windows" in far[0]["detail"]
    ruled = Answers.of_rule(rulings(A=[0, 1] * 40, B=[1, 0] * 40))
    judges = set(leaderboard(ruled)["judge"].to_pylist())
    assert len(judges) == 1 and judges.pop().startswith("auto:")


@pytest.mark.parametrize(("windows", "per_window"), [(9, 20), (49, 1)])
def test_check_9_many_battles_on_few_windows_are_insufficient_and_so_are_few(windows, per_window):
    rng = np.random.default_rng(10)
    enough = simulated(rng, {"A": 20.0, "B": 0.0}, windows + 1, per_window)
    for votes, status in ((enough.slice(per_window), INSUFFICIENT), (enough, RATED)):
        assert set(leaderboard(Answers.of_people(votes))["status"].to_pylist()) == {status}


def test_the_board_ranks_only_what_is_separated(golden_votes):
    board = {r["candidate"]: r for r in leaderboard(Answers.of_people(golden_votes)).to_pylist()}
    ranks = {name: row["rank"] for name, row in board.items()}
    assert ranks == {"jma_wc": 1, "v7": 1, "v11": 2, "scratch_v1": 4}
    assert list(board) == ["jma_wc", "v7", "v11", "scratch_v1"]
    for row in board.values():
        assert row["wins"] + row["losses"] + row["ties"] + row["both_bad"] == row["battles"]


def test_check_4_a_board_with_a_sweep_ranks_nobody():
    votes = votes_of([("A", "B", "left", f"w{k}") for k in range(60)])
    rows = leaderboard(Answers.of_people(votes)).to_pylist()
    assert {r["status"] for r in rows} == {SEPARATED}
    assert {r["rank"] for r in rows} == {r["rating"] for r in rows} == {None}
    [first, _] = matrix(Answers.of_people(votes)).to_pylist()
    assert first["win_rate"] == 1.0 and first["low"] < 1.0 and first["expected"] is None


def test_the_matrix_mirrors_itself(golden_votes):
    rows = {
        (r["candidate"], r["opponent"]): r
        for r in matrix(Answers.of_people(golden_votes)).to_pylist()
    }
    assert len(rows) == 12
    for (a, b), row in rows.items():
        other = rows[b, a]
        assert row["win_rate"] == pytest.approx(1 - other["win_rate"])
        assert row["wins"] == other["losses"]
        assert row["low"] <= row["win_rate"] <= row["high"]
        assert row["difference"] == pytest.approx(-other["difference"])
    assert not rows["jma_wc", "v7"]["separated"] and rows["v7", "scratch_v1"]["separated"]


def test_alpha_is_the_reference_value(golden_elo):
    wanted = golden_elo["expected"]["krippendorff_alpha_nominal"]
    by_window = zip(*wanted["votes_annotator_by_window"], strict=True)
    units = [[v for v in unit if v is not None] for unit in by_window]
    assert krippendorff(units) == pytest.approx(wanted["alpha"], abs=1e-12)
    assert krippendorff([["a", "a"], ["b", "b"]]) == 1.0
    assert np.isnan(krippendorff([["a"], ["b"]]))


def test_alpha_sees_through_swapped_sides():
    same = [("A", "B", "left", "w0", "x"), ("B", "A", "right", "w0", "y")]
    more = [("A", "B", "tie", "w1", "x"), ("A", "B", "tie", "w1", "y")]
    assert alpha_of(Answers.of_people(votes_of([*same, *more]))) == 1.0


def test_people_and_rule_are_compared_pair_by_pair_and_window_by_window():
    people = Answers.of_people(
        votes_of(
            [
                ("A", "B", "left", "w0"),  # A, as the rule
                ("B", "A", "right", "w1"),  # A, the rule says B
                ("B", "A", "tie", "w2"),  # the rule says tie
                ("A", "B", "left", "w9"),  # the rule has not seen it
            ]
        )
    )
    rule = Answers.of_rule(rulings(A=[0, 1, 1], B=[1, 0, 1]))
    every, decisive = agreement(people, rule).to_pylist()
    assert (every["votes"], every["agreed"]) == (3, 2)
    assert (decisive["votes"], decisive["agreed"]) == (2, 1)
    assert every["low"] < 2 / 3 < every["high"]
    assert every["judge"] == "people" and every["other"].startswith("auto:")
