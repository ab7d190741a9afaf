"""The figures of continuous days, against counts made by hand and by another way."""

from datetime import date

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.truth import ARRIVAL_SCHEMA
from eval import continuous
from eval.snr.days import f1, false_picks, of_days, stretches

DAY_NS = 86_400 * 10**9
T0 = 19_000 * DAY_NS
DAYS = pa.table(
    {
        "network": ["XX"] * 4,
        "station": ["A", "A", "B", "B"],
        "location": [""] * 4,
        "day": pa.array([date(2022, 1, 8), date(2022, 1, 9)] * 2, pa.date32()),
        "hours": [24.0, 12.0, 24.0, 24.0],
    }
)


def at(rows, **more):
    """(station, day, second) of one phase, as a table."""
    columns = {
        "network": pa.array(["XX"] * len(rows), pa.string()),
        "station": pa.array([row[0] for row in rows], pa.string()),
        "location": pa.array([None] * len(rows), pa.string()),
        "phase": pa.array(["P"] * len(rows), pa.string()),
        "time": pa.array(
            [T0 + day * DAY_NS + int(second * 1e9) for _, day, second in rows],
            pa.timestamp("ns", tz="UTC"),
        ),
    }
    return pa.table(columns | more)


def arrivals_at(rows):
    table = at(rows, event=[f"e{k}" for k in range(len(rows))])
    return table.select(ARRIVAL_SCHEMA.names).cast(ARRIVAL_SCHEMA)


def picks_at(**candidates):
    parts = []
    for name, rows in candidates.items():
        n = len(rows)
        more = {"candidate": pa.array([name] * n, pa.string()), "offset_ns": np.zeros(n, np.int64),
                "probability": np.full(n, 0.9, np.float32)}  # fmt: skip
        parts.append(at(rows, **more))
    return pa.concat_tables(parts)


READ = [("A", 0, 100), ("A", 1, 200), ("B", 0, 300), ("B", 1, 400)]
MADE = {
    "sure": [("A", 0, 100.1), ("A", 1, 200.1), ("B", 0, 300.2), ("B", 1, 500), ("B", 1, 600)],
    "shy": [("A", 0, 100.3), ("B", 0, 300.0)],
}


def figures(complete):
    return of_days(
        picks_at(**MADE),
        arrivals_at(READ),
        DAYS,
        tuple(MADE),
        tolerance_s=0.5,
        complete=complete,
    )


def test_days_have_recall_timing_f1_and_false_picks():
    found = {measure.name: measure for measure in figures(complete=True)["P"]}
    assert list(found) == ["recall", "mae_all_found", "f1", "false_picks_per_hour"]
    assert found["recall"].values == pytest.approx([3 / 4, 2 / 4])
    assert found["mae_all_found"].values == pytest.approx([0.15, 0.15])
    assert found["mae_all_found"].rows == 2
    assert found["f1"].values == pytest.approx([6 / 9, 4 / 6])
    assert found["false_picks_per_hour"].values == pytest.approx([2 / 84, 0.0])
    assert found["false_picks_per_hour"].less_is_better and not found["f1"].less_is_better
    assert len(set(found["f1"].clusters.levels(4)[0][1].tolist())) == 2, "clustered by station"
    assert set(figures(complete=True)) == {"P"}, "no S was read"


def test_where_not_all_was_read_f1_is_a_lower_bound_and_nothing_is_false():
    names = [measure.name for measure in figures(complete=False)["P"]]
    assert names == ["recall", "mae_all_found", "f1_lower"]


times = st.lists(st.tuples(st.sampled_from("AB"), st.integers(0, 1), st.integers(0, 30)),
                 unique=True, max_size=12)  # fmt: skip


@given(times.filter(bool), times, times)
def test_f1_and_false_picks_are_those_of_the_scores_of_complete_days(read, one, other):
    """Counted by station-day and summed they equal what `eval continuous` says of the whole."""
    picks, arrivals = picks_at(one=one, other=other), arrivals_at(read)
    names = ("one", "other")
    measures = of_days(picks, arrivals, DAYS, names, tolerance_s=0.5, complete=True)["P"]
    whole = continuous.score(picks, arrivals, 84.0, 0.5, names).to_pylist()
    of_p = {row["candidate"]: row for row in whole if row["phase"] == "P"}
    _, _, f1_of, rate = measures
    for k, name in enumerate(names):
        assert f1_of.values[k] == pytest.approx(of_p[name]["f1_0.5s"], nan_ok=True)
        assert rate.values[k] == pytest.approx(of_p[name]["false_picks_per_station_hour_0.5s"])


def test_a_station_day_without_picks_counts_its_hours():
    counts = stretches(picks_at(quiet=[]).append_column("matched", pa.array([], pa.bool_())),
                       arrivals_at(READ), DAYS, ("quiet", "still"))  # fmt: skip
    assert counts.num_rows == 2 * 2 * 4 and sum(counts["hours"].to_pylist()) == 4 * 84.0
    rate = false_picks(counts, "P", ("quiet", "still"))
    assert rate.values == pytest.approx([0.0, 0.0]) and rate.over.sum(axis=0).tolist() == [84, 84]
    assert f1(counts, "P", ("quiet", "still")).values == pytest.approx([0.0, 0.0])
