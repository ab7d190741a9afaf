"""A planted leak is found however it hides, and what cannot be verified is not called clean."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.leakage import (
    FRACTION_SCHEMA,
    INDEX_SCHEMA,
    STATUS_SCHEMA,
    audit,
    clean_only,
    components,
    trace_sha256,
    without_label_errors,
)

T0 = 1_644_105_600_000_000_000
KM = 1 / 111.19492664455873  # degrees of latitude in a kilometre


def row(name, dataset="a", event=None, at=None, north_km=0.0, chunk="c"):
    """A trace; `at` in seconds, `north_km` of its origin; no origin without `at`."""
    return {
        "dataset": dataset,
        "chunk": chunk,
        "trace_name": name,
        "event_id": event,
        "origin_time": None if at is None else T0 + round(at * 1e9),
        "latitude": None if at is None else 40.0 + north_km * KM,
        "longitude": None if at is None else 20.0,
    }


def index_of(*rows):
    return pa.Table.from_pylist(list(rows), INDEX_SCHEMA)


def names(*pairs):
    """A manifest or a benchmark of (dataset, trace name), chunk `c`."""
    return pa.table(
        {
            "dataset": [dataset for dataset, _ in pairs],
            "chunk": ["c"] * len(pairs),
            "trace_name": [name for _, name in pairs],
        }
    )


def statuses(found, candidate="one"):
    own = found.status.filter(pc.field("candidate") == candidate)
    return dict(zip(own["trace_name"].to_pylist(), own["status"].to_pylist(), strict=True))


INDEX = index_of(
    row("train-1", "train", "e1", 0.0),
    row("train-2", "train", "e2", 1_000.0),
    row("same-event", "train", "e1", 0.0),
    row("same-id", "bench", "e1"),
    row("other-catalogue", "bench", "x9", 1.9, 9.0),
    row("chained", "bench", "x9", 3_600.0),  # by id to the one before
    row("too-early", "bench", "x7", -2.1),
    row("too-far", "bench", "x6", 1_000.0, 10.2),
    row("no-origin", "bench", "x5"),
    row("nothing", "bench"),
)
BENCH = names(
    ("train", "same-event"), *(("bench", name) for name in INDEX["trace_name"].to_pylist()[3:])
)


def test_a_planted_leak_is_found_by_id_by_origin_and_by_chain():
    manifest = names(("train", "train-1"), ("train", "train-2"))
    found = audit(BENCH, INDEX, {"one": manifest})
    assert found.status.schema == STATUS_SCHEMA
    assert statuses(found) == {
        "same-event": "leaked",
        "same-id": "leaked",
        "other-catalogue": "leaked",
        "chained": "leaked",
        "too-early": "clean",
        "too-far": "clean",
        "no-origin": "unverifiable",
        "nothing": "unverifiable",
    }
    assert found.fractions.schema == FRACTION_SCHEMA
    [bench, train] = found.fractions.to_pylist()
    assert (bench["dataset"], bench["traces"], bench["events"]) == ("bench", 7, 5)
    assert (bench["leaked"], bench["clean"], bench["unverifiable"]) == (1, 2, 2)
    assert (bench["value"], bench["n"]) == (pytest.approx(1 / 3), 3)
    assert (train["value"], train["n"]) == (1.0, 1)
    kept = clean_only(BENCH, found.status, ["one"])
    assert kept["trace_name"].to_pylist() == ["too-early", "too-far"]


def test_hashes_and_names_without_chunks_find_the_same():
    full = names(("train", "train-1"), ("train", "train-2"))
    hashes = pa.table({"sha256": [trace_sha256("train", "c", f"train-{k}") for k in (1, 2)]})
    short = full.drop_columns("chunk")
    expected = audit(BENCH, INDEX, {"one": full}).status
    for manifest in (hashes, short):
        assert audit(BENCH, INDEX, {"one": manifest}).status.equals(expected)


def test_nothing_is_clean_without_a_manifest_or_with_one_that_cannot_be_resolved():
    lost = names(("train", "train-1"), ("train", "gone"))
    found = audit(BENCH, INDEX, {"one": lost, "two": None})
    assert set(statuses(found).values()) == {"leaked", "unverifiable"}
    assert set(statuses(found, "two").values()) == {"unverifiable"}
    row = found.fractions.filter(pc.field("candidate") == "two").to_pylist()[0]
    assert (row["value"], row["n"], row["unverifiable"]) == (None, 0, 5)
    assert found.fractions["unresolved"].to_pylist() == [1, 1, 0, 0]
    assert clean_only(BENCH, found.status, ["one", "two"]).num_rows == 0
    with pytest.raises(ValueError, match="'three' is not in the leakage audit"):
        clean_only(BENCH, found.status, ["three"])


def test_a_trained_trace_without_origin_may_be_any_event_of_another_catalogue():
    index = index_of(row("t", "train", "e1"), row("b", "bench", "x1", 5.0), row("u", "train", "e2"))
    found = audit(names(("bench", "b"), ("train", "u")), index, {"one": names(("train", "t"))})
    assert statuses(found) == {"b": "unverifiable", "u": "clean"}


def test_an_event_is_verified_by_any_of_its_traces():
    index = index_of(
        row("t", "train", "e1", 0.0), row("b1", "bench", "x1", 90.0), row("b2", "bench", "x1")
    )
    bench = names(("bench", "b1"), ("bench", "b2"))
    found = audit(bench, index, {"one": names(("train", "t"))})
    assert statuses(found) == {"b1": "clean", "b2": "clean"}
    assert found.fractions.to_pylist()[0]["events"] == 1


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([None, "e1", "e2", "e3"]),
            st.one_of(st.none(), st.integers(0, 12)),
            st.integers(0, 4),
        ),
        max_size=12,
    )
)
def test_components_are_those_of_pairwise_links(drawn):
    """Seconds apart and steps of 6 km, against a plain union of linked pairs."""
    rows = [row(f"t{k}", "a", e, at, 6.0 * km) for k, (e, at, km) in enumerate(drawn)]
    group = list(range(len(rows)))
    for i, (e, at, km) in enumerate(drawn):
        for j, (f, then, far) in enumerate(drawn[:i]):
            by_id = e is not None and e == f
            by_origin = None not in (at, then) and abs(at - then) <= 2 and abs(km - far) <= 1
            if by_id or by_origin:
                old, new = group[i], group[j]
                group = [new if g == old else g for g in group]
    found = components(index_of(*rows)).tolist()
    same = [[a == b for b in found] for a in found]
    assert same == [[a == b for b in group] for a in group]


def test_a_hundred_thousand_traces_take_no_time():
    rng = np.random.default_rng(0)
    n = 100_000
    index = pa.table(
        {
            "dataset": pa.repeat("a", n),
            "chunk": pa.repeat("c", n),
            "trace_name": [f"t{k}" for k in range(n)],
            "event_id": [f"e{k // 5}" for k in range(n)],
            "origin_time": pa.array(T0 + (np.arange(n) // 5) * 60 * 10**9).cast(
                pa.timestamp("ns", tz="UTC")
            ),
            "latitude": np.repeat(rng.uniform(-80, 80, n // 5), 5),
            "longitude": np.repeat(rng.uniform(-180, 180, n // 5), 5),
        },
        INDEX_SCHEMA,
    )
    assert components(index).max() == n // 5 - 1


def test_label_errors_are_left_out_by_all_three_names():
    traces = pa.Table.from_pylist([row("t1"), row("t1", chunk="d"), row("t2")], INDEX_SCHEMA)
    kept, strange = without_label_errors(traces, names(("a", "t1"), ("b", "t2")))
    assert list(zip(kept["chunk"].to_pylist(), kept["trace_name"].to_pylist(), strict=True)) == [
        ("d", "t1"),
        ("c", "t2"),
    ]
    assert strange == ["b/c/t2"]


def test_refusals():
    with pytest.raises(ValueError, match="index: lacks bench/c/unheard of the benchmark"):
        audit(names(("bench", "unheard")), INDEX, {"one": None})
    with pytest.raises(ValueError, match=r"manifest: columns \['file'\]"):
        audit(BENCH, INDEX, {"one": pa.table({"file": ["x"]})})
