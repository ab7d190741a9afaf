"""The ledger is what the commits say, by whatever summaries it is read."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from catalog.commits import (
    CandidateRecord,
    CatalogError,
    Commit,
    commit,
    create_catalog,
    register_candidates,
)
from catalog.ledger import list_months, months, read_month, resolve, summarise, tabulate
from catalog.query import Catalog
from catalog.schema import LEDGER_SCHEMA, Shard, TraceId, shard_id
from catalog.store import LocalStore, S3Store, Store
from tests.coverage import covered

TRACES = [TraceId("XX", f"S{k}", "", "HH") for k in range(4)]
SETTINGS: dict[str, Any] = {"engine": "fast", "floors": {"P": 0.1, "S": 0.1}}


def record(trace: int, day: date, length: int = 1, generation: int = 0, why: str = "") -> Commit:
    """A commit without picks: `no_data`, for a reason."""
    shard = Shard((TRACES[trace],), day, day + timedelta(days=length))
    coverage = [covered(day, detail=why) for day in shard.station_days]
    identity = shard_id(shard, "aa", SETTINGS)
    return Commit(identity, generation, "one", "aa", "run", "a", [], {}, coverage, "2026-01-01")


COMMITS = [
    record(0, date(2024, 1, 30), 2),
    record(0, date(2024, 1, 31), why="another plan"),
    record(1, date(2024, 1, 31), why="first"),
    record(1, date(2024, 1, 31), generation=1, why="again"),
    record(2, date(2024, 2, 1), 29),
]


@pytest.fixture
def catalogue(store: Store) -> Store:
    create_catalog(store)
    register_candidates(store, [CandidateRecord("one", "aa", "w", SETTINGS, {"P": 0.3, "S": 0.3})])
    return store


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys of all commits that are fetched, by any store."""
    keys: list[str] = []

    def watched(fetch: Callable[[Any, str], Any]) -> Callable[[Any, str], Any]:
        def fetching(store: Any, key: str) -> Any:
            keys.extend([key] if key.startswith("commits/") else [])
            return fetch(store, key)

        return fetching

    kinds: tuple[Any, ...] = (LocalStore, S3Store)
    for kind in kinds:
        monkeypatch.setattr(kind, "fetch", watched(kind.fetch))
    return keys


def rows(store: Store, month: str) -> list[dict[str, Any]]:
    (listing,) = list_months(store, [month])
    return read_month(store, listing).to_pylist()  # type: ignore[no-any-return]


def said(records: list[Commit], month: str) -> list[dict[str, Any]]:
    """What the ledger of a month is to say of all these commits."""
    table = tabulate(c for c in records if c.shard.startswith(month))
    return resolve(table).to_pylist()  # type: ignore[no-any-return]


def keep(store: Store, month: str) -> None:
    for listing in list_months(store, [month]):
        summarise(store, listing)


def test_a_summary_stands_for_its_commits_and_hides_no_other(
    catalogue: Store, fetched: list[str]
) -> None:
    """Whatever was summarised before, a month says what its commits say; known ones stay unread."""
    keep(catalogue, "2024-01")
    assert not list(catalogue.list("ledger/")), "no summary of nothing"
    for k, new in enumerate(COMMITS):
        commit(catalogue, new)
        for month in ("2024-01", "2024-02"):
            assert rows(catalogue, month) == said(COMMITS[: k + 1], month)
        keep(catalogue, months(catalogue)[-1])
        fetched.clear()
        keep(catalogue, months(catalogue)[-1])
        assert rows(catalogue, months(catalogue)[-1]) == said(COMMITS[: k + 1], new.shard[:7])
        assert fetched == []
    assert months(catalogue) == ["2024-01", "2024-02"]
    commit(catalogue, replace(COMMITS[0], generation=7))
    assert rows(catalogue, "2024-01") == said(
        [*COMMITS, replace(COMMITS[0], generation=7)], "2024-01"
    )
    assert fetched == [replace(COMMITS[0], generation=7).key], "the one that is new"


def test_views_are_the_same_with_summaries_and_without(catalogue: Store) -> None:
    def views() -> list[list[dict[str, Any]]]:
        catalog = Catalog(catalogue.url)
        queries = ("coverage", "stations", "(SELECT count(*) FROM picks)")
        return [catalog.sql(f"SELECT * FROM {q} ORDER BY ALL").to_pylist() for q in queries]

    for new in COMMITS:
        commit(catalogue, new)
    before = views()
    assert [row["detail"] for row in before[0] if row["station"] == "S1"] == ["again"]
    assert not list(catalogue.list("ledger/")), "a reader writes nothing"
    keep(catalogue, "2024-02")
    assert views() == before
    keep(catalogue, "2024-01")
    assert views() == before


def test_no_row_outlives_its_commit_and_a_lost_summary_is_made_again(tmp_path: Path) -> None:
    store = LocalStore(str(tmp_path))
    for new in COMMITS:
        commit(store, new)
    keep(store, "2024-01")
    (store.root / COMMITS[3].key).unlink()
    left = COMMITS[:3]
    assert rows(store, "2024-01") == said(left, "2024-01")
    left.append(record(3, date(2024, 1, 5), why="as many commits as before"))
    commit(store, left[3])
    assert rows(store, "2024-01") == said(left, "2024-01")
    (summary,) = store.list("ledger/2024-01/")
    (store.root / summary.key).unlink()
    assert rows(store, "2024-01") == said(left, "2024-01")


def test_what_is_damaged_is_named(tmp_path: Path) -> None:
    store = LocalStore(str(tmp_path))
    for new in COMMITS:
        commit(store, new)
    keep(store, "2024-01")
    (summary,) = store.list("ledger/2024-01/")
    path = store.root / summary.key
    body = bytearray(path.read_bytes())
    body[len(body) // 3] ^= 0xFF
    path.write_bytes(body)
    with pytest.raises(CatalogError, match=rf"{summary.key}: damaged .*remove it"):
        rows(store, "2024-01")
    path.unlink()
    (store.root / COMMITS[0].key).write_bytes(b'{"shard": "x"')
    with pytest.raises(CatalogError, match=rf"{COMMITS[0].key}: damaged"):
        rows(store, "2024-01")
    coverage = [{"day": "2024-01-30"}]
    (store.root / COMMITS[0].key).write_bytes(replace(COMMITS[0], coverage=coverage).to_json())
    with pytest.raises(CatalogError, match=rf"{COMMITS[0].key}: damaged \(coverage lacks"):
        rows(store, "2024-01")


def test_an_empty_month_has_the_columns_of_any_other() -> None:
    empty, full = resolve(tabulate([])), resolve(tabulate(COMMITS[:1]))
    assert empty.schema == full.schema and empty.column_names == LEDGER_SCHEMA.names


def test_a_code_that_was_lent_to_two_networks_is_two(tmp_path: Path) -> None:
    """XA of 2003 is another experiment than XA of 2015; CI stays CI."""
    store = LocalStore(str(tmp_path))
    create_catalog(store)
    register_candidates(store, [CandidateRecord("one", "aa", "w", SETTINGS, {"P": 0.3, "S": 0.3})])
    for network in ("XA", "CI", "XA2003"):
        trace = TraceId(network, "ABC", "", "HH")
        for day in (date(2003, 1, 1), date(2003, 12, 31), date(2015, 6, 1)):
            shard = Shard((trace,), day, day + timedelta(days=1))
            identity, rows = shard_id(shard, "aa", SETTINGS), [covered(shard.station_days[0])]
            commit(store, Commit(identity, 0, "one", "aa", "run", "a", [], {}, rows, "2026-01-01"))
    found = (
        Catalog(store.url)
        .sql(
            "SELECT network_year, year(last_day) - year(first_day) AS years, "
            "station_days FROM stations ORDER BY ALL"
        )
        .to_pylist()
    )
    assert [tuple(row.values()) for row in found] == [
        ("CI", 12, 3),
        ("XA2003", 12, 3),
        ("XA_2003", 0, 2),
        ("XA_2015", 0, 1),
    ]
    query = "SELECT DISTINCT network_year(network, day) AS name FROM coverage ORDER BY name"
    names = Catalog(store.url).sql(query)["name"].to_pylist()
    assert names == ["CI", "XA2003", "XA_2003", "XA_2015"]
