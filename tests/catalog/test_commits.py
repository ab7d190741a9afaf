"""Exactly once: identity, the one commit, generations, and what queries see."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from catalog.commits import (
    CandidateRecord,
    CatalogError,
    Commit,
    check_catalog,
    commit,
    create_catalog,
    new_attempt,
    read_candidates,
    register_candidates,
    write_plan,
)
from catalog.query import Catalog
from catalog.schema import (
    PICK_SCHEMA,
    Outcome,
    Shard,
    StationDay,
    TraceId,
    day_start_ns,
    shard_id,
)
from catalog.store import Store
from catalog.writer import partition, write_attempt
from tests.coverage import WHOLE_DAY, covered

A, B = TraceId("XX", "A", "", "HH"), TraceId("XX", "B", "00", "HH")
DAY = date(2022, 2, 6)
SETTINGS: dict[str, Any] = {"engine": "fast", "floors": {"P": 0.1, "S": 0.1}}


def record(name: str = "one", sha: str = "aa", **settings: Any) -> CandidateRecord:
    return CandidateRecord(name, sha, "w", SETTINGS | settings, {"P": 0.3, "S": 0.2})


def picks(days: Sequence[StationDay], shard: str, probability: float = 0.5) -> pa.Table:
    """One P pick at noon and one S pick a second before midnight of each station-day."""
    rows = [
        {
            "network": day.trace.network,
            "station": day.trace.station,
            "location": day.trace.location,
            "band": day.trace.band,
            "phase": phase,
            "time": day.start_ns + at * 10**9,
            "offset_ns": 0,
            "probability": probability,
            "saddle": saddle,
            "onset": -50,
            "offset": 60,
            "amplitude": 1.0,
            "noise_amplitude": 0.1,
            "n_components": 3,
            "flags": 0,
            "run": "run",
            "shard": shard,
        }
        for day in days
        for phase, at, saddle in (("P", 43_200, 0.0), ("S", 86_399, 0.12))
    ]
    times = PICK_SCHEMA.set(5, pa.field("time", pa.int64()))
    return pa.Table.from_pylist(rows, schema=times).cast(PICK_SCHEMA)


def attempt(
    store: Store,
    shard: Shard,
    generation: int = 0,
    outcome: Outcome = Outcome.PICKED,
    probability: float = 0.5,
    candidate: str = "one",
) -> Commit:
    """Write an attempt; the commit is still to be made."""
    identity, name = shard_id(shard, "aa", SETTINGS), new_attempt()
    files = []
    if outcome is Outcome.PICKED:
        key = f"{partition(candidate, shard.start)}/{identity}/{name}.parquet"
        files.append(write_attempt(store, key, picks(shard.station_days, identity, probability)))
    coverage = [covered(day, outcome, picks=2, **WHOLE_DAY) for day in shard.station_days]
    moment = datetime(2026, 1, 1).isoformat()
    return Commit(identity, generation, candidate, "aa", "run", name, files, {}, coverage, moment)


@pytest.fixture
def catalogue(store: Store) -> Store:
    create_catalog(store)
    register_candidates(store, [record()])
    return store


def test_identity_is_what_changes_picks_and_nothing_else() -> None:
    shard = Shard((A, B), DAY, DAY + timedelta(days=2))
    same = shard_id(Shard((A, B), DAY, DAY + timedelta(days=2)), "aa", dict(SETTINGS))
    assert shard_id(shard, "aa", SETTINGS) == same
    others = {
        shard_id(replace(shard, traces=(A,)), "aa", SETTINGS),
        shard_id(replace(shard, end=DAY + timedelta(days=1)), "aa", SETTINGS),
        shard_id(shard, "bb", SETTINGS),
        shard_id(shard, "aa", SETTINGS | {"engine": "exact"}),
        shard_id(shard, "aa", SETTINGS | {"floors": {"P": 0.2, "S": 0.1}}),
    }
    assert len(others | {same}) == 6


def test_only_committed_attempts_are_seen(catalogue: Store) -> None:
    shard = Shard((A,), DAY, DAY + timedelta(days=1))
    first, second = attempt(catalogue, shard), attempt(catalogue, shard, probability=0.9)
    assert Catalog(catalogue.url).sql("SELECT * FROM picks").num_rows == 0
    assert commit(catalogue, first)
    assert not commit(catalogue, second), "another attempt was first"
    assert commit(catalogue, first), "the winner may ask again"
    catalog = Catalog(catalogue.url)
    assert catalog.sql("SELECT probability FROM picks").to_pydict() == {"probability": [0.5, 0.5]}
    row = catalog.sql("SELECT * FROM picks ORDER BY time").to_pylist()[0]
    assert (row["candidate"], row["year"], row["month"]) == ("one", 2022, 2)
    assert catalog.sql("SELECT outcome, picks FROM coverage").to_pylist() == [
        {"outcome": "picked", "picks": 2}
    ]


def test_a_later_generation_takes_over_its_days_and_no_others(catalogue: Store) -> None:
    both = Shard((A, B), DAY, DAY + timedelta(days=2))
    assert commit(catalogue, attempt(catalogue, both))
    only_b = Shard((B,), DAY, DAY + timedelta(days=1))
    assert commit(catalogue, attempt(catalogue, only_b, generation=1, probability=0.75))
    rows = Catalog(catalogue.url).sql(
        "SELECT station, time::DATE AS day, probability, count(*) AS n FROM picks "
        "GROUP BY ALL ORDER BY ALL"
    )
    following = DAY + timedelta(days=1)
    assert [tuple(row.values()) for row in rows.to_pylist()] == [
        ("A", DAY, 0.5, 2),
        ("A", following, 0.5, 2),
        ("B", DAY, 0.75, 2),
        ("B", following, 0.5, 2),
    ]
    coverage = Catalog(catalogue.url).sql("SELECT station, day, generation FROM coverage")
    assert sorted(tuple(row.values()) for row in coverage.to_pylist()) == [
        ("A", DAY, 0),
        ("A", following, 0),
        ("B", DAY, 1),
        ("B", following, 0),
    ]


def test_overlapping_plans_resolve_to_the_smallest_key(catalogue: Store) -> None:
    """Two runs that covered the same day under different shards: it counts once."""
    records = [
        attempt(catalogue, Shard((A,), DAY, DAY + timedelta(days=length))) for length in (1, 2)
    ]
    assert all(commit(catalogue, record) for record in records)
    catalog = Catalog(catalogue.url)
    (row,) = catalog.sql(f"SELECT shard FROM coverage WHERE day = '{DAY}'").to_pylist()
    assert row["shard"] == min(records, key=lambda record: record.key).shard
    assert catalog.sql("SELECT * FROM picks").num_rows == 4


def test_thresholds_after_the_fact_are_macros(catalogue: Store) -> None:
    commit(catalogue, attempt(catalogue, Shard((A,), DAY, DAY + timedelta(days=1))))
    catalog = Catalog(catalogue.url)
    phases = "SELECT string_agg(phase, '' ORDER BY time) AS phases FROM "
    for source, expected in {
        "picks_at(0.3)": "PS",  # the saddle of S, 0.12, is below 0.15
        "picks_at(0.2)": "P",
        "picks_at(0.5)": "PS",  # >= at the threshold itself
        "picks_at(0.51)": None,
        "picks_at2(0.6, 0.3)": "S",
        "picks_default()": "P",  # 0.3 and 0.2
    }.items():
        assert catalog.sql(phases + source).to_pylist() == [{"phases": expected}], source
    assert catalog.picks_at(0.3).num_rows == 2
    with pytest.raises(duckdb.Error, match="below the floor of candidate one"):
        catalog.sql("SELECT count(*) FROM picks_at(0.05)")
    with pytest.raises(ValueError, match=r"stores picks from 0\.1"):
        catalog.picks_at(0.05)


def test_a_name_stands_for_one_thing_for_ever(catalogue: Store) -> None:
    register_candidates(catalogue, [record()])
    with pytest.raises(CatalogError, match=r"'one' already stands for weights aa, not bb"):
        register_candidates(catalogue, [record(sha="bb")])
    with pytest.raises(CatalogError, match=r"engine = 'fast', not 'exact'"):
        register_candidates(catalogue, [record(engine="exact")])
    with pytest.raises(CatalogError, match="already candidate 'one'"):
        register_candidates(catalogue, [record(name="two")])
    assert list(read_candidates(catalogue)) == ["one"]


def test_other_versions_and_other_plans_are_refused(store: Store) -> None:
    with pytest.raises(CatalogError, match="no catalogue there"):
        check_catalog(store)
    store.create("tidepick.json", b'{"schema": 3, "semantics": 0}')
    with pytest.raises(CatalogError, match="semantics version 0"):
        create_catalog(store)
    write_plan(store, "run", {"shards": [1]})
    write_plan(store, "run", {"shards": [1]})
    with pytest.raises(CatalogError, match="another plan"):
        write_plan(store, "run", {"shards": [2]})


def test_a_shard_stays_within_a_month() -> None:
    with pytest.raises(ValueError, match="crosses a month"):
        Shard((A,), date(2022, 1, 31), date(2022, 2, 2))
    assert Shard((A,), date(2022, 1, 31), date(2022, 2, 1)).days == (date(2022, 1, 31),)
    assert StationDay(A, DAY).start_ns == day_start_ns(DAY)
