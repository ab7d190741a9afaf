"""Verdicts come when the power is there, are paired or refused, and are not fooled."""

import math

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from catalog.examined import TRACE_SCHEMA
from eval.comparison import (
    COMPARISON_SCHEMA,
    FOUND_SCHEMA,
    compare,
    compare_rates,
    found_in,
    holm,
    mcnemar,
)
from eval.thresholds import equal_counts
from eval.traces import peaks

PLANTED = 0.03


def planted(rng, events, gap, per_event=6, **more):
    """`new` finds 0.80 and `old` 0.80 - gap of the same arrivals; events are easy or hard."""
    event = np.repeat(np.arange(events), per_event)
    ease = rng.beta(4, 1, events)[event]  # mean 0.8
    shared = rng.random(len(event))
    found = shared < ease
    lost = found & (rng.random(len(event)) < gap / 0.8)
    regained = rng.random(len(event)) < 0.02
    sides = {"new": found | regained, "old": (found & ~lost) | (rng.random(len(event)) < 0.02)}
    sides |= {name: found & (rng.random(len(event)) < keep) for name, keep in more.items()}
    return pa.concat_tables(
        found_table(name, event, hits, 0.1 * rng.normal(size=len(event)))
        for name, hits in sides.items()
    )


def found_table(name, event, hits, residuals):
    return pa.table(
        {
            "candidate": pa.repeat(name, len(event)),
            "key": [f"{row:06d}" for row in range(len(event))],
            "phase": pa.repeat("P", len(event)),
            "event": [str(e) for e in event],
            "station": pa.nulls(len(event), pa.string()),
            "found": pa.array(np.asarray(hits, bool)),
            "residual_s": pa.array(residuals, mask=~np.asarray(hits, bool)),
        },
        FOUND_SCHEMA,
    )


def recall_row(table, candidate="new"):
    return row_of(compare(table, "old", seed=0), candidate, "recall")


def row_of(compared, candidate, measure):
    chosen = (pc.field("candidate") == candidate) & (pc.field("measure") == measure)
    [row] = compared.filter(chosen).to_pylist()
    return row


def verdicts(events, gap, repeats, seed):
    rng = np.random.default_rng(seed)
    return [recall_row(planted(rng, events, gap))["verdict"] for _ in range(repeats)]


def needed(seed=0):
    pilot = recall_row(planted(np.random.default_rng(seed), 1_000, PLANTED))
    return int(pilot["clusters_needed"])


def test_a_planted_difference_is_separated_where_power_says_so_and_not_before():
    events = needed()
    large = verdicts(2 * events, PLANTED, 20, seed=1)  # power 0.97
    assert large.count("better") >= 17, (events, large)
    small = verdicts(events // 10, PLANTED, 20, seed=2)  # power 0.14
    assert small.count("better") <= 8, (events, small)
    assert set(small) <= {"better", "inconclusive"}


@pytest.mark.slow
def test_power_is_what_it_says():
    events = needed()
    share = verdicts(events, PLANTED, 200, seed=3).count("better") / 200
    assert 0.70 <= share <= 0.89, (events, share)
    at_zero = verdicts(3 * events, 0.0, 200, seed=4)
    assert at_zero.count("better") + at_zero.count("worse") <= 20
    assert at_zero.count("not separated") >= 175
    assert verdicts(events // 10, PLANTED, 200, seed=5).count("better") <= 60


def test_recall_and_timing_stand_side_by_side_and_the_table_has_its_columns():
    compared = compare(planted(np.random.default_rng(0), 60, 0.0), "old", seed=0)
    assert compared.schema == COMPARISON_SCHEMA
    assert compared["measure"].to_pylist() == [
        "recall",
        "recall_1.0s",
        "mae_both_found",
        "out_gt1.0s_both_found",
    ]


def test_timing_is_judged_on_what_both_found():
    """`new` finds more, hard ones badly timed: only the ones both found count, and it is better."""
    event = np.arange(200)
    easy = event % 2 == 0
    jitter = np.where(event % 4 < 2, 0.01, -0.01) * (1 + event % 3)
    new = found_table("new", event, np.full(200, True), np.where(easy, 0.05 + jitter, 3.0))
    old = found_table("old", event, easy, 0.2 + jitter)
    compared = compare(pa.concat_tables([new, old]), "old", seed=0)
    mae = row_of(compared, "new", "mae_both_found")
    assert (mae["n"], mae["verdict"]) == (100, "better")
    assert mae["difference"] == pytest.approx(-0.15)
    recall = row_of(compared, "new", "recall")
    assert (recall["only_candidate"], recall["only_baseline"]) == (100, 0)
    assert (recall["value"], recall["baseline_value"], recall["verdict"]) == (1.0, 0.5, "better")
    assert row_of(compared, "new", "recall_1.0s")["difference"] == 0.0


def test_a_candidate_that_finds_nothing_is_worse_and_has_no_timing():
    event = np.arange(30)
    old = found_table("old", event, np.full(30, True), np.zeros(30))
    broken = found_table("broken", event, np.full(30, False), np.zeros(30))
    compared = compare(pa.concat_tables([old, broken]), "old", seed=0)
    assert row_of(compared, "broken", "recall")["verdict"] == "worse"
    timing = row_of(compared, "broken", "mae_both_found")
    assert (timing["value"], timing["n"], timing["verdict"]) == (None, 0, "inconclusive")


def test_equal_candidates_are_not_separated_when_many_and_inconclusive_when_few():
    for events, verdict in ((8, "inconclusive"), (400, "not separated")):
        event = np.arange(events)
        sides = [
            found_table(name, event, event % 5 > 0, 0.1 * (event % 7)) for name in ("a", "old")
        ]
        row = recall_row(pa.concat_tables(sides), "a")
        assert (row["difference"], row["low"], row["verdict"]) == (0.0, None, verdict)


def test_one_event_is_inconclusive_whatever_the_difference():
    event = np.zeros(50, int)
    sides = [
        found_table("new", event, np.full(50, True), np.zeros(50)),
        found_table("old", event, np.full(50, False), np.zeros(50)),
    ]
    row = recall_row(pa.concat_tables(sides))
    assert (row["difference"], row["low"], row["verdict"]) == (1.0, None, "inconclusive")
    assert row["mcnemar_p"] < 1e-9, "the trace-level check is fooled; the verdict is not"


def test_more_candidates_need_stronger_evidence():
    rng = np.random.default_rng(8)
    table = planted(rng, 300, 0.02, **{f"c{i}": 0.97 for i in range(9)})
    alone = table.filter(pc.field("candidate").isin(["new", "old"]))
    first, second = recall_row(alone), recall_row(table)
    assert second["difference"] == first["difference"]
    assert second["p_holm"] > first["p_holm"]
    assert second["detectable"] > first["detectable"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.filter(pc.field("key") != "000003"), r"1 only of 'old' \(000003\)"),
        (lambda t: pa.concat_tables([t, t.slice(0, 1)]), "some stand there twice"),
    ],
)
def test_unpaired_candidates_are_refused(change, message):
    table = planted(np.random.default_rng(0), 5, 0.0)
    new = change(table.filter(pc.field("candidate") == "new"))
    old = table.filter(pc.field("candidate") == "old")
    with pytest.raises(ValueError, match=message):
        compare(pa.concat_tables([new, old]), "old", seed=0)
    with pytest.raises(ValueError, match="baseline 'other': there are only"):
        compare(table, "other", seed=0)


def test_traces_become_found_arrivals():
    """An unread trace of one candidate is a difference in what was judged, and refused."""

    def rows(weight, **last):
        base = {"weight": weight, "dataset": "d", "p_in_window": 5, "s_in_window": -1}
        scores = [(0.3, 0.2), (0.2, 0.1), (0.9, -1.5)]
        made = [
            base | {"trace_name": f"t{i}", "event_id": f"e{i}", "p_prob": p, "p_residual_s": r}
            for i, (p, r) in enumerate(scores)
        ]
        made[-1] |= last
        return made

    table = pa.Table.from_pylist(rows("a") + rows("old"), TRACE_SCHEMA)
    found = found_in(table, 0.3)
    assert found.schema == FOUND_SCHEMA
    assert found["found"].to_pylist() == [True, False, True] * 2
    assert found["residual_s"].to_pylist() == [0.2, None, -1.5] * 2
    assert compare(found, "old", seed=0).num_rows == 4
    unread = pa.Table.from_pylist(rows("a", outcome="bad_format") + rows("old"), TRACE_SCHEMA)
    with pytest.raises(ValueError, match=r"1 only of 'old' \(d/t2@5\)"):
        compare(found_in(unread, 0.3), "old", seed=0)
    moved = pa.Table.from_pylist(rows("a", p_in_window=6) + rows("old"), TRACE_SCHEMA)
    with pytest.raises(ValueError, match=r"1 only of 'a' \(d/t2@6\); 1 only of 'old' \(d/t2@5\)"):
        compare(found_in(moved, 0.3), "old", seed=0)


def test_a_candidate_that_only_shouts_louder_is_no_better_at_equal_picks_emitted():
    """The same detector with its probabilities raised: better at 0.3, equal at equal counts."""
    rng = np.random.default_rng(2)
    probability = rng.beta(2, 2, 900)

    def rows(weight, values):
        return [
            {
                "weight": weight,
                "trace_name": f"t{k}",
                "event_id": f"e{k // 3}",
                "p_in_window": 5,
                "s_in_window": -1,
                "p_prob": float(p),
                "p_residual_s": 0.1,
            }
            for k, p in enumerate(values)
        ]

    loud = rows("loud", probability**0.5)
    table = pa.Table.from_pylist(loud + rows("old", probability), TRACE_SCHEMA)
    at_one = compare(found_in(table, 0.3), "old", seed=0)
    assert row_of(at_one, "loud", "recall")["verdict"] == "better"
    solved = equal_counts(peaks(table), {"P": 600, "S": 0})
    at_equal = row_of(compare(found_in(table, solved), "old", seed=0), "loud", "recall")
    assert (at_equal["difference"], at_equal["verdict"]) == (0.0, "not separated")


def counts(candidate, per_station, hours=6.0):
    stations = [f"S{i}" for i in range(len(per_station))]
    return pa.table(
        {
            "candidate": pa.repeat(candidate, len(stations)),
            "key": stations,
            "phase": pa.repeat("P", len(stations)),
            "station": stations,
            "count": per_station,
            "hours": pa.repeat(hours, len(stations)),
        }
    )


@pytest.mark.parametrize(("stations", "verdict"), [(2, "inconclusive"), (6, "worse")])
def test_a_few_stations_that_agree_by_chance_tell_nothing(stations, verdict):
    """One more false pick at each: two stations have no spread, and nothing to say."""
    tables = [counts("new", [5] * stations), counts("old", [4] * stations)]
    [row] = compare_rates(pa.concat_tables(tables), "old", seed=0, margin=0.5).to_pylist()
    assert row["verdict"] == verdict and row["clusters"] == stations


def test_rates_are_compared_on_the_same_noise():
    quiet, loud = [i % 3 for i in range(12)], [6 + i % 4 for i in range(12)]
    compared = compare_rates(
        pa.concat_tables([counts("new", quiet), counts("old", loud)]), "old", seed=0, margin=0.5
    )
    [row] = compared.to_pylist()
    assert row["verdict"] == "better"
    assert row["difference"] == pytest.approx((sum(quiet) - sum(loud)) / 72)
    assert row["interval_over"] == "station"
    with pytest.raises(ValueError, match="'hours' of 'new' and 'old' differ"):
        compare_rates(
            pa.concat_tables([counts("new", quiet, 5.0), counts("old", loud)]),
            "old",
            seed=0,
            margin=0.5,
        )


def test_mcnemar_is_the_exact_binomial():
    """4 against 9 discordant pairs: 2 P(B(13, 1/2) <= 4)."""
    assert mcnemar(4, 9) == pytest.approx(2 * 1_093 / 8_192)
    assert mcnemar(0, 0) == 1.0


def test_holm_steps_down():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    adjusted = holm([0.04, math.nan])
    assert adjusted[0] == 0.04 and math.isnan(adjusted[1])
