"""Signal to noise equals the reference where that is right, and refuses where it is not."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.image import imread

from eval.comparison import FOUND_SCHEMA
from eval.intervals import Clusters
from eval.report.snr_figure import draw_sizes, draw_snr
from eval.snr.bins import filtered, kept
from eval.snr.days import f1, false_picks, of_found
from eval.snr.decisions import by_size, decision, decision_accuracy
from eval.snr.measures import labelled
from eval.snr.ratio import degenerate, ratio, relative_signal, signal_to_noise
from eval.snr.scores import Measure, Scores
from eval.snr.table import SNR_SCHEMA, Families, table


def exact(value):
    return pytest.approx(value, rel=1e-9)


SCORES = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=8)


@given(SCORES, st.randoms(use_true_random=False))
def test_check_10_decision_accuracy_halves_ties_and_ignores_order(pairs, random):
    first, second = np.array(pairs, np.float64).T
    value = decision_accuracy(first, second)
    random.shuffle(pairs)
    assert decision_accuracy(*np.array(pairs, np.float64).T) == pytest.approx(value)
    assert decision_accuracy(second, first) == pytest.approx(value)
    assert decision_accuracy(first, first) == 1.0
    assert decision_accuracy(first, -second) == pytest.approx(
        1 - value + both_tied(first, second)  # tied in both is alike either way
    )
    assert decision_accuracy(first, np.zeros_like(first)) == pytest.approx(
        0.5 + both_tied(first, np.zeros_like(first)) / 2
    )


def both_tied(first, second):
    i, j = np.triu_indices(len(first), 1)
    return float(((first[i] == first[j]) & (second[i] == second[j])).mean())


def test_check_10_nan_raises():
    with pytest.raises(ValueError, match="none NaN"):
        decision_accuracy(np.array([0.1, np.nan]), np.array([0.1, 0.2]))
    with pytest.raises(ValueError, match="NaN"):
        relative_signal(np.array([0.1, np.nan]))


def test_check_11_lower_is_better_turns_the_ranking_and_not_the_signal():
    def scores(values, less):
        return Scores(("a", "b", "c"), np.array(values), np.eye(3) * 1e-12, 9, less)

    days = scores([0.9, 0.8, 0.7], False)
    assert decision(scores([0.1, 0.2, 0.3], True), days, seed=0).value == 1.0
    assert decision(scores([0.1, 0.2, 0.3], False), days, seed=0).value == 0.0
    assert relative_signal([0.1, 0.3]) == exact(1.0)


def test_check_11_zero_noise_is_undefined_and_not_infinite():
    assert signal_to_noise([0.5, 0.6], [0.55, 0.55, 0.55]) is None
    assert signal_to_noise([0.5, 0.6], [0.1 + 0.2, 0.3, 0.3]) != 0
    assert ratio(0.1, 0.0) is None and ratio(0.1, np.nan) is None and ratio(0.1, np.inf) is None
    with pytest.raises(ValueError, match="at least two"):
        signal_to_noise([0.5, 0.6], [0.55])


def test_check_11_one_broken_model_is_degenerate_and_a_somewhat_worse_one_is_not():
    mae = {"a": 0.34, "b": 0.36, "c": 0.38, "broken": 0.97}
    assert degenerate(mae, less_is_better=True) == ["broken"]
    assert degenerate(mae, less_is_better=False) == []
    recall = {"a": 0.900, "b": 0.901, "c": 0.902, "worse": 0.80, "broken": 0.1}
    assert degenerate(recall, less_is_better=False) == ["broken"]
    assert degenerate({"a": 0.9, "b": 0.1}, less_is_better=False) == []


@given(
    st.lists(st.floats(0.1, 1), min_size=2, max_size=6),
    st.lists(st.floats(-1, 1), min_size=3, max_size=6).filter(lambda x: np.ptp(x) > 0.01),
)
def test_check_12_a_tenth_of_the_noise_is_ten_times_the_ratio(scores, shifts):
    if np.ptp(scores) < 0.01:
        scores = [*scores, scores[0] + 0.2]
    shifts = np.array(shifts) - np.mean(shifts)
    one, tenth = (signal_to_noise(scores, 0.5 + size * shifts) for size in (0.01, 0.001))
    assert one is not None and tenth == pytest.approx(10 * one, rel=1e-6)


# A made-up benchmark whose truth is known.

TRUE = {"a": 0.90, "b": 0.80, "c": 0.70, "d": 0.60}


def traces_of(
    rng, recalls, events=150, per_event=4, first_event=0, noisy=0.0, bins=("near", "far")
):
    """P traces of events that are easy or hard; in the bin `far` all candidates are alike."""
    event = np.repeat(np.arange(events) + first_event, per_event)
    ease = rng.normal(0, 0.08, events)[event - first_event]
    draw = rng.random(len(event))
    place = np.array(bins, object)[(event - first_event) % len(bins)]
    tables = []
    for name, recall in recalls.items():
        chance = np.where(place == "far", 0.5, recall + ease)
        own = np.where(rng.random(len(event)) < 0.3, rng.random(len(event)), draw)
        found = own < chance
        probability = np.where(found, 0.5 + 0.4 * rng.random(len(event)), 0.2)
        columns = {
            "weight": pa.repeat(name, len(event)),
            "trace_name": [f"{first_event}-{k}" for k in range(len(event))],
            "event_id": [f"e{e}" for e in event],
            "dist_bin": place.tolist(),
            "p_in_window": np.full(len(event), 500),
            "s_in_window": np.full(len(event), -1),
            "p_prob": probability,
            "p_residual_s": rng.normal(0, 0.1, len(event)),
            "s_prob": pa.nulls(len(event), pa.float64()),
            "s_residual_s": pa.nulls(len(event), pa.float64()),
        }
        tables.append(pa.table(columns))
    return pa.concat_tables(tables)


def days_of(values):
    """The truth: no sampling moves it."""
    k = len(values)
    return Scores(tuple(values), np.array(list(values.values())), np.zeros((k, k)), 10_000, False)


def rows_of(found, **where):
    return [r for r in found.to_pylist() if all(r[k] == v for k, v in where.items())]


def snr_table(traces, candidates=tuple(TRUE), **more):
    options: dict[str, Any] = {"days": {"P": days_of(TRUE)}, "seed": 0} | more
    return table(traces, candidates, 0.3, ("all", "dist_bin"), **options)


def test_a_planted_signal_separates_and_equal_candidates_do_not():
    found = snr_table(traces_of(np.random.default_rng(0), TRUE))
    assert found.schema == SNR_SCHEMA
    [near] = rows_of(found, bin="near", measure="recall")
    assert (near["best"], near["worst"], near["verdict"]) == ("a", "d", "separates")
    assert near["traces"] == 300 and near["clusters"] == 75 and near["interval_over"] == "event"
    assert near["gap"] == pytest.approx(0.3, abs=0.1)
    assert near["decision_accuracy"] == 1.0 and 0.8 < near["decision_low"] <= 1.0
    assert near["pairs_separated"] >= 0.5
    assert near["snr_sampling"] == pytest.approx(near["gap"] / near["noise_sampling"])
    assert (
        near["snr_seeds"] is None and "seeds: no family of three seeds or more" in near["undefined"]
    )
    [far] = rows_of(found, bin="far", measure="recall")
    assert far["verdict"] != "separates" and far["snr_sampling"] < near["snr_sampling"] / 3
    assert far["traces_needed"] > far["traces"] and far["verdict"] == "too small"


def test_traces_needed_separate_at_the_margin_as_often_as_promised():
    """At that many traces two candidates a margin apart separate in about four of five runs."""
    pair = {"a": 0.73, "b": 0.70}
    pilot = snr_table(
        traces_of(np.random.default_rng(1), pair, 1_500, bins=("near",)), ("a", "b"), days=None
    )
    [row] = rows_of(pilot, stratum="all", measure="recall")
    events = round(row["traces_needed"] / 4)
    separated = 0
    for seed in range(25):
        traces = traces_of(np.random.default_rng(100 + seed), pair, events, bins=("near",))
        [measure, *_] = labelled(traces, "P", ("a", "b")).measures(0.3)
        separated += measure.scores(seed=0).separated()["a", "b"]
    assert 14 <= separated <= 24, (events, separated)  # 20 expected, three deviations


def test_retraining_noise_makes_a_sampled_gap_inconclusive():
    rng = np.random.default_rng(2)
    seeds = {"s0": 0.9, "s1": 0.7, "s2": 0.5}
    traces = traces_of(rng, TRUE | seeds)
    steady = traces_of(rng, TRUE | {"s0": 0.8, "s1": 0.8, "s2": 0.8})
    where = {"stratum": "dist_bin", "bin": "near", "measure": "recall"}
    [noisy] = rows_of(snr_table(traces, families=Families(seeds={"x": tuple(seeds)})), **where)
    assert noisy["verdict"] != "separates" and noisy["snr_seeds"] < 3
    assert noisy["pairs_separated"] > 0.5  # by sampling alone it would
    [quiet] = rows_of(
        snr_table(steady, families=Families(checkpoints={"x": tuple(seeds)})), **where
    )
    assert quiet["noise_seeds"] is None
    assert quiet["snr_checkpoints"] > 2 * noisy["snr_seeds"]


def test_families_are_of_enough_different_models():
    with pytest.raises(ValueError, match="give 3 or more"):
        Families(seeds={"x": ("s0", "s1")})
    with pytest.raises(ValueError, match="give 2 or more"):
        Families(checkpoints={"x": ("s0", "s0")})


def test_check_11_the_table_lists_degenerate_candidates_and_their_signal_is_not_counted():
    rng = np.random.default_rng(3)
    three = {"a": 0.85, "b": 0.80, "c": 0.75, "d": 0.70}
    traces = traces_of(rng, three | {"broken": -0.2}, bins=("near",))
    names = (*three, "broken")
    found = snr_table(traces, names, days=None)
    assert set(found["excluded"].to_pylist()) == {"broken"}
    [row] = rows_of(found, stratum="all", measure="recall")
    assert row["worst"] == "d" and row["candidates"] == 4 and row["gap"] < 0.3
    [listed] = rows_of(
        snr_table(traces, names, days=None, leave_out=("a",)), stratum="all", measure="recall"
    )
    assert listed["excluded"] == "a, broken" and listed["best"] != "a"


def test_candidates_on_other_traces_are_refused():
    traces = traces_of(np.random.default_rng(4), TRUE)
    lacking = traces.slice(1)
    with pytest.raises(ValueError, match="not judged on the same labelled P traces: 0-0"):
        snr_table(lacking)
    with pytest.raises(ValueError, match="give two or more"):
        labelled(traces, "P", ("a",))


def test_check_13_bins_are_chosen_on_one_split_and_scored_on_another():
    rng = np.random.default_rng(5)
    choosing = traces_of(rng, TRUE, events=150)
    scoring = traces_of(rng, TRUE, events=130, first_event=1_000)
    days = days_of(TRUE)
    options = {"days": days, "seed": 0}
    args = (tuple(TRUE), 0.3, "dist_bin", "P", "recall")
    every, best = filtered(choosing, scoring, *args, **options).to_pylist()
    assert (every["kept"], best["kept"]) == ("every bin", "near")
    assert best["snr_sampling"] > 1.2 * every["snr_sampling"]
    assert (every["traces"], best["traces"]) == (130 * 4, 130 * 2), "of the scoring split alone"
    [near] = rows_of(snr_table(scoring), stratum="dist_bin", bin="near", measure="recall")
    assert (best["gap"], best["snr_sampling"]) == (near["gap"], near["snr_sampling"])
    with pytest.raises(ValueError, match="two splits that share no event"):
        filtered(choosing, choosing, *args, **options)
    overlapping = pa.concat_tables([scoring, choosing])
    with pytest.raises(ValueError, match="e0"):
        filtered(choosing, overlapping, *args, **options)


def test_check_13_a_bin_kept_for_its_luck_gains_nothing_on_the_other_split():
    """Where all bins are alike the chosen one's lead is luck, and does not come back."""
    bins = tuple(f"b{k}" for k in range(6))
    lead_then: list[float] = []
    lead_now: list[float] = []
    for seed in range(12):
        rng = np.random.default_rng(200 + seed)
        splits = [
            traces_of(rng, TRUE, 120, 3, first_event=first, bins=bins) for first in (0, 1_000)
        ]
        of_bin = []
        for split in splits:
            found = snr_table(split, days=None)
            rows = rows_of(found, stratum="dist_bin", measure="recall")
            of_bin.append({r["bin"]: r["snr_sampling"] for r in rows})
        [best] = kept(found_of(of_bin[0]), "dist_bin", "P", "recall", "sampling", 0.1)
        for lead, snr in zip((lead_then, lead_now), of_bin, strict=True):
            lead.append(snr[best] / np.mean(list(snr.values())))
    assert np.mean(lead_then) > 1.2
    assert np.mean(lead_now) == pytest.approx(1.0, abs=0.15)


def found_of(snr):
    rows = [
        {"stratum": "dist_bin", "bin": name, "phase": "P", "measure": "recall", "snr_sampling": v}
        for name, v in snr.items()
    ]
    return pa.Table.from_pylist(rows, SNR_SCHEMA)


def test_soft_detection_sees_what_a_threshold_hides():
    """Two that find the same arrivals, one with more certainty and nearer."""
    rng = np.random.default_rng(6)
    traces = traces_of(rng, {"a": 0.8, "b": 0.8}, bins=("near",))
    better = traces["weight"].to_numpy(zero_copy_only=False) == "a"
    sure = traces["p_prob"].to_numpy()
    surer = np.where(better & (sure >= 0.3), sure**0.5, sure)
    traces = traces.set_column(traces.column_names.index("p_prob"), "p_prob", pa.array(surer))
    found = snr_table(traces, ("a", "b"), days=None)
    [hard] = rows_of(found, stratum="all", measure="recall")
    [soft] = rows_of(found, stratum="all", measure="soft_detection")
    assert soft["verdict"] == "separates" and soft["best"] == "a"
    assert soft["snr_sampling"] > 3 * hard["snr_sampling"]


def test_f1_counts_a_pick_that_is_off_as_extra_and_as_a_miss():
    rng = np.random.default_rng(7)
    traces = traces_of(rng, TRUE, bins=("near",))
    off = np.where(rng.random(traces.num_rows) < 0.2, 1.5, 0.1)
    at = traces.column_names.index("p_residual_s")
    every = labelled(traces.set_column(at, "p_residual_s", pa.array(off)), "P", tuple(TRUE))
    [score] = [measure for measure in every.measures(0.3) if measure.name == "f1_1.0s"]
    found = every.probability >= 0.3
    right, labels = found & (np.abs(every.residual_s) <= 1.0), len(found)
    precision, recall = right.sum(axis=0) / found.sum(axis=0), right.sum(axis=0) / labels
    assert score.values == pytest.approx(2 * precision * recall / (precision + recall))
    assert (precision < 0.9).all() and not score.less_is_better


def test_timing_is_over_traces_that_all_found():
    rng = np.random.default_rng(7)
    every = labelled(traces_of(rng, TRUE, bins=("near",)), "P", tuple(TRUE))
    *_, timing = every.measures(0.3)
    all_found = (every.probability >= 0.3).all(axis=1)
    assert timing.name == "mae_all_found" and timing.rows == all_found.sum()
    wanted = np.abs(every.residual_s[all_found]).mean(axis=0)
    assert timing.values == pytest.approx(wanted)


def test_counts_and_arrivals_of_days_give_measures():
    stretches = [
        {"candidate": name, "key": f"{k}", "phase": "P", "station": f"s{k % 3}", "hours": 2.0}
        | {"count": n + k, "matched": 4, "picks": 5 + n, "arrivals": 5}
        for n, name in enumerate(("a", "b"))
        for k in range(6)
    ]
    counts = pa.Table.from_pylist(stretches)
    rate = false_picks(counts, "P", ("a", "b"), margin=1.0)
    assert rate.values == pytest.approx([15 / 12, 21 / 12]) and rate.less_is_better
    assert f1(counts, "P", ("a", "b")).values == pytest.approx([0.8, 8 / 11])
    rows = [
        {"candidate": name, "key": f"{k}", "phase": "P", "event": f"{k // 2}", "station": "s"}
        | {"found": k % 4 < 4 - n, "residual_s": None}
        for n, name in enumerate(("a", "b"))
        for k in range(8)
    ]
    recall, _ = of_found(pa.Table.from_pylist(rows, FOUND_SCHEMA), "P", ("a", "b"))
    assert recall.values == pytest.approx([1.0, 0.75])


def test_the_covariance_is_that_of_what_sampling_gives():
    """Over many benchmarks the differences vary as one benchmark's bootstrap says."""
    pair = {"a": 0.8, "b": 0.7}
    values, errors = [], []
    for seed in range(150):
        traces = traces_of(np.random.default_rng(300 + seed), pair, 60, bins=("near",))
        [measure, *_] = labelled(traces, "P", ("a", "b")).measures(0.3)
        difference = measure.scores(seed=0).pairs()["a", "b"]
        values.append(difference.estimate.value)
        errors.append(difference.error)
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.2)


def test_decision_accuracy_grows_with_the_number_of_traces(tmp_path):
    traces = traces_of(np.random.default_rng(8), TRUE, bins=("near",))
    measures = labelled(traces, "P", tuple(TRUE)).measures(0.3)
    sizes = [by_size(m, days_of(TRUE), (3, 12, 50, 149, 9_999), seed=0) for m in measures[:2]]
    rows = sizes[0].to_pylist()
    assert [row["clusters"] for row in rows] == [3, 12, 50, 149]
    assert rows[0]["accuracy"] < rows[1]["accuracy"] <= rows[2]["accuracy"] <= rows[3]["accuracy"]
    assert rows[3]["accuracy"] > 0.95 and rows[0]["traces"] == 12
    draw_sizes(tmp_path / "sizes.png", pa.concat_tables(sizes))
    draw_snr(tmp_path / "snr.png", snr_table(traces_of(np.random.default_rng(9), TRUE)))
    for name in ("sizes.png", "snr.png"):
        assert imread(tmp_path / name).shape[1] == 1600
    with pytest.raises(ValueError, match="nothing to draw"):
        draw_snr(tmp_path / "none.png", SNR_SCHEMA.empty_table())


def test_one_cluster_has_no_error_and_says_so():
    ones = np.ones((5, 2))
    alone = Clusters(np.zeros(5, np.int64), None)
    measure = Measure("recall", "P", ("a", "b"), ones * [1.0, 0.5], ones, alone, False, 0.03)
    scores = measure.scores(seed=0)
    assert scores.freedom == 0 and scores.separated() == {("a", "b"): False}
    assert np.isnan(decision(scores, days_of({"b": 0.5, "a": 0.9}), seed=0).low)
