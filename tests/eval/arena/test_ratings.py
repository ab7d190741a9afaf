"""Ratings equal the reference, do not depend on side or order, and are never silently infinite."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from eval.arena.answers import Answers
from eval.arena.board import side_test
from eval.arena.davidson import davidson
from eval.arena.elo import online
from eval.arena.ratings import (
    CENTRE,
    CONFOUNDED,
    DISCONNECTED,
    RATED,
    SCALE,
    SEPARATED,
    bootstrap,
    fit,
    rate,
)
from tests.eval.arena.conftest import ANSWER, simulated, votes_of

SWAPPED = {"left": "right", "right": "left"}


def people(*rows):
    return Answers.of_people(votes_of(list(rows)))


def times(n, *row):
    return [row] * n


def rated(answers, **options):
    found = rate(answers, **options)
    return dict(zip(found.candidates, found.ratings.tolist(), strict=True))


def test_check_1_ratings_and_errors_are_the_reference_values(golden_elo, golden_votes):
    expected = golden_elo["expected"]
    answers = Answers.of_people(golden_votes)
    wanted = expected["bt_mle_ties_half (sum-zero, mean=1000, Newton 1e-13)"]
    assert rated(answers) == pytest.approx(wanted, abs=1e-6)
    errors = expected["bt_se_elo_sandwich (small-sample n/(n-1))"]
    for over, name in (
        ("window", "by_window"),
        ("annotator", "by_annotator"),
        ("battle", "per_battle"),
    ):
        rating = rate(answers, over=over)
        found = {name: rating.of(name).error for name in rating.candidates}
        assert found == pytest.approx(errors[name], abs=1e-6), over
    rating = rate(answers)
    for pair, wanted in expected["bt_diff_by_window"].items():
        difference = rating.difference(*pair.split("-"))
        assert difference.estimate.value == pytest.approx(wanted["diff"], abs=1e-6)
        assert difference.error == pytest.approx(wanted["se"], abs=1e-6)
    with_side = expected["bt_with_left_side_intercept"]
    sided = rate(answers, side=True, over="battle")
    assert sided.left_bias is not None
    assert sided.left_bias.estimate.value == pytest.approx(with_side["left_bias_elo"], abs=1e-4)
    assert rated(answers, side=True) == pytest.approx(with_side["ratings"], abs=1e-4)


@pytest.mark.parametrize(
    ("step", "backwards", "name"),
    [
        (4, False, "fastchat_online_elo_K4"),
        (32, False, "fastchat_online_elo_K32"),
        (4, True, "fastchat_online_elo_K4_reversed_order"),
        (32, True, "fastchat_online_elo_K32_reversed_order"),
    ],
)
def test_check_1_online_elo_is_the_reference_values(golden_elo, step, backwards, name):
    battles = [(b["model_a"], b["model_b"], ANSWER[b["winner"]]) for b in golden_elo["battles"]]
    found = online(battles[::-1] if backwards else battles, step)
    assert found == pytest.approx(golden_elo["expected"][name], abs=1e-6)


def test_check_1_davidson_and_bootstrap_are_the_reference_values(golden_elo, golden_votes):
    expected = golden_elo["expected"]
    answers = Answers.of_people(golden_votes)
    model = davidson(answers)
    assert model.ratings == pytest.approx(expected["davidson_ties"]["ratings"], abs=1e-3)
    assert model.nu == pytest.approx(expected["davidson_ties"]["nu"], abs=1e-6)
    drawn = bootstrap(answers, seed=7, replicates=1_000)
    for k, name in enumerate(answers.candidates):
        wanted = expected["bootstrap95_by_window_1000_seed7"][name]
        width = wanted[1] - wanted[0]
        assert np.percentile(drawn[:, k], [2.5, 97.5]) == pytest.approx(wanted, abs=0.1 * width)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_check_2_sides_and_order_leave_ratings_unchanged(seed):
    rng = np.random.default_rng(seed)
    votes = simulated(rng, {"a": 60.0, "b": 0.0, "c": -60.0}, 12, 8)
    before = rate(Answers.of_people(votes))
    rows = votes.to_pylist()
    for row in rows:
        if rng.random() < 0.5:
            row["left"], row["right"] = row["right"], row["left"]
            row["answer"] = SWAPPED.get(row["answer"], row["answer"])
    rng.shuffle(rows)
    after = rate(Answers.of_people(pa.Table.from_pylist(rows, votes.schema)))
    assert before.status == after.status
    if before.status == RATED:
        assert after.ratings == pytest.approx(before.ratings, abs=1e-9)
        assert after.covariance == pytest.approx(before.covariance, abs=1e-6)
        assert before.ratings.mean() == pytest.approx(CENTRE)


def test_a_tie_is_half_a_win_and_one_win_puts_its_winner_a_little_above():
    ratings = rated(people(*times(50, "A", "B", "tie"), ("A", "B", "left")))
    assert ratings["A"] > CENTRE > ratings["B"] > CENTRE - 20
    even = people(*times(5, "A", "B", "left"), *times(5, "A", "B", "right"))
    assert rated(even) == pytest.approx({"A": CENTRE, "B": CENTRE})


def test_check_4_a_clean_sweep_is_flagged_and_not_rated():
    sweep = people(*times(10, "A", "B", "left"), *times(10, "B", "A", "right"))
    rating = rate(sweep)
    assert rating.status == SEPARATED and np.isnan(rating.ratings).all()
    assert "A" in rating.detail and "B" in rating.detail
    # Two who trade wins, and both beat a third: it alone is infinitely bad.
    third = people(
        *times(5, "A", "B", "left"), *times(5, "A", "B", "right"), *times(9, "A", "C", "left")
    )
    assert rate(third).status == SEPARATED and "C" in rate(third).detail
    assert rate(third.without({"C"})).status == RATED


def test_check_4_groups_that_never_met_are_flagged_and_not_rated():
    def draw(a, b):
        return [(a, b, "left"), (a, b, "right"), (a, b, "tie")]

    rating = rate(people(*draw("A", "B"), *draw("C", "D")))
    assert rating.status == DISCONNECTED and np.isnan(rating.ratings).all()
    assert rate(people(*draw("A", "B"), *draw("C", "D"), *draw("B", "C"))).status == RATED


def test_check_4_a_left_bias_that_cannot_be_told_is_flagged():
    one_sided = people(*times(5, "A", "B", "left"), *times(5, "A", "B", "right"))
    assert rate(one_sided).status == RATED
    assert rate(one_sided, side=True).status == CONFOUNDED
    # Whoever stands left wins: no strengths needed, and an infinite bias.
    leftward = people(*times(5, "A", "B", "left"), *times(5, "B", "A", "left"))
    assert rate(leftward).status == RATED
    assert rate(leftward, side=True).status == SEPARATED


def covered(seeds, over, truth):
    strengths = {"a": 80.0, "b": 0.0, "c": -80.0}
    inside = 0
    for seed in seeds:
        votes = simulated(np.random.default_rng(seed), strengths, 60, 12, 250.0, ties=0.0)
        found = rate(Answers.of_people(votes), over=over).difference("a", "b").estimate
        inside += found.low <= truth <= found.high
    return inside / len(seeds)


def marginal_difference():
    """What Bradley-Terry tends to when windows shift strengths: the mean chance, refitted."""
    points, weights = np.polynomial.hermite_e.hermegauss(64)
    strengths = np.array([80.0, 0.0, -80.0]) / SCALE
    pairs = np.array([(i, j) for i in range(3) for j in range(3) if i != j])
    design = np.eye(3)[pairs[:, 0]] - np.eye(3)[pairs[:, 1]]
    shifts = np.sqrt(2) * 250.0 / SCALE * points
    chance = expit((design @ strengths)[:, None] + shifts) @ weights / weights.sum()
    fitted = SCALE * fit(design, chance, np.ones(len(pairs)))
    return fitted[0] - fitted[1]


@pytest.mark.slow
def test_check_5_clustered_intervals_cover_and_independent_ones_do_not():
    truth = marginal_difference()
    clustered = covered(range(1_000), "window", truth)
    assert 0.93 <= clustered <= 0.97, clustered
    independent = covered(range(300), "battle", truth)
    assert independent < 0.90, independent


def test_check_5_in_short_independent_errors_are_too_small_where_windows_shift_strengths():
    rng = np.random.default_rng(5)
    answers = Answers.of_people(simulated(rng, {"a": 0.0, "b": 0.0}, 60, 12, 250.0, ties=0.0))
    by_window, by_battle = (
        rate(answers, over=over).difference("a", "b").error for over in ("window", "battle")
    )
    assert by_window > 1.5 * by_battle
    drawn = bootstrap(answers, seed=0)
    assert np.std(drawn[:, 0] - drawn[:, 1]) == pytest.approx(by_window, rel=0.1)


def test_check_6_a_left_bias_of_50_is_recovered_and_alarmed():
    strengths = {"a": 60.0, "b": 0.0, "c": -60.0}
    inside, biases = 0, []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        votes = simulated(rng, strengths, 200, 12, left_bias=50.0, ties=0.0)
        [found] = side_test(Answers.of_people(votes)).to_pylist()
        assert found["alarm"] and found["sign_p"] < 0.01
        inside += found["low"] < 50.0 < found["high"]
        biases.append(found["left_bias"])
    assert inside >= 10 and abs(np.mean(biases) - 50) < 5
    fair = simulated(np.random.default_rng(7), strengths, 300, 12, ties=0.0)
    [found] = side_test(Answers.of_people(fair)).to_pylist()
    assert not found["alarm"]


def test_the_side_test_is_the_reference_value(golden_elo, golden_votes):
    [found] = side_test(Answers.of_people(golden_votes)).to_pylist()
    wanted = golden_elo["expected"]["position_bias_binomial"]
    assert (found["left"], found["right"]) == (wanted["left"], wanted["right"])
    assert found["sign_p"] == pytest.approx(wanted["p_two_sided"])
    assert not found["alarm"]


def test_two_way_errors_are_a_covariance():
    rng = np.random.default_rng(8)
    answers = Answers.of_people(simulated(rng, {"a": 30.0, "b": 0.0, "c": -30.0}, 40, 10, 200.0))
    rating = rate(answers, over="window+annotator")
    assert np.linalg.eigvalsh(rating.covariance).min() > -1e-6
    assert rating.freedom == 7  # the fewer clusters are the eight annotators
