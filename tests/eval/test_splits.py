"""No event in two splits, none moved by its neighbours, and no opening of the test unrecorded."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from catalog.store import MissingObject, open_store
from eval.leakage import INDEX_SCHEMA
from eval.splits import open_test, openings, read, split, write

T0 = 1_644_105_600_000_000_000


def index_of(events, traces=3):
    """Event k stands in catalogue a, and in b under another id a second later."""
    rows = []
    for k in range(events):
        for dataset, event, late in (("a", f"a{k}", 0), ("b", f"b{k}", 10**9)):
            rows += [
                {
                    "dataset": dataset,
                    "chunk": "",
                    "trace_name": f"{event}-{t}",
                    "event_id": event,
                    "origin_time": T0 + k * 60 * 10**9 + late,
                    "latitude": 40.0,
                    "longitude": 20.0,
                }
                for t in range(traces)
            ]
    return pa.Table.from_pylist(rows, INDEX_SCHEMA)


def of_trace(table):
    return dict(zip(table["trace_name"].to_pylist(), table["split"].to_pylist(), strict=True))


def test_an_event_is_in_one_split_across_catalogues_and_shares_are_met():
    found = split(index_of(1_000), seed=1)
    by_event = found.group_by("component").aggregate([("split", "count_distinct")])
    assert set(by_event["split_count_distinct"].to_pylist()) == {1}
    assert by_event.num_rows == 1_000
    share = {name: n / 6_000 for name, n in Counter(found["split"].to_pylist()).items()}
    assert share == pytest.approx({"development": 0.6, "tuning": 0.2, "test": 0.2}, abs=0.05)
    assert of_trace(split(index_of(1_000), seed=2)) != of_trace(found)


def test_later_events_and_other_orders_move_nothing():
    small = index_of(200)
    first = of_trace(split(small, seed=1))
    more = of_trace(split(index_of(300), seed=1))
    assert {name: more[name] for name in first} == first
    order = np.random.default_rng(0).permutation(small.num_rows)
    assert of_trace(split(small.take(order), seed=1)) == first


def test_what_has_no_event_and_no_origin_is_in_no_split():
    index = pa.concat_tables(
        [
            index_of(1),
            pa.Table.from_pylist([{"dataset": "c", "trace_name": "lost"}], INDEX_SCHEMA),
        ]
    )
    assert of_trace(split(index, seed=1))["lost"] == "unassigned"


def test_opening_the_test_split_is_on_record(tmp_path):
    store = open_store(str(tmp_path))
    assigned = split(index_of(50), seed=1)
    write(store, assigned, seed=1)
    write(store, assigned, seed=1)  # the same again is no harm
    tuning = read(store, "tuning")
    assert set(tuning["split"].to_pylist()) == {"tuning"}
    with pytest.raises(ValueError, match="sealed"):
        read(store, "test")
    assert openings(store).num_rows == 0

    test = open_test(store, ["two", "one"], "the report of May")
    assert test.num_rows == assigned.filter(pc.field("split") == "test").num_rows > 0
    open_test(store, ["one"], "again")
    log = openings(store)
    assert log["candidates"].to_pylist() == ["one, two", "one"]
    assert log["why"].to_pylist() == ["the report of May", "again"]
    with pytest.raises(ValueError, match="name the candidates"):
        open_test(store, [], "curious")
    with pytest.raises(ValueError, match="other splits are kept there"):
        write(store, split(index_of(50), seed=2), seed=2)


def test_an_opening_that_fails_is_on_record_too(tmp_path):
    store = open_store(str(tmp_path))
    with pytest.raises(MissingObject):
        open_test(store, ["one"], "too early")
    assert openings(store).num_rows == 1


def test_a_changed_split_is_refused(tmp_path):
    store = open_store(str(tmp_path))
    write(store, split(index_of(20), seed=1), seed=1)
    path = tmp_path / "tuning.parquet"
    path.write_bytes((tmp_path / "development.parquet").read_bytes())
    with pytest.raises(ValueError, match=r"tuning\.parquet: not the split that was made"):
        read(store, "tuning")


def test_shares_are_checked():
    with pytest.raises(ValueError, match="together 1"):
        split(index_of(1), seed=0, shares={"development": 0.5, "tuning": 0.2, "test": 0.2})
