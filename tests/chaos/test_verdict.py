"""The verdict is worth something: what it must not pass over is planted, and it does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from catalog.commits import (
    commit,
    create_catalog,
    new_attempt,
    read_commits,
    register_candidates,
)
from catalog.schema import Shard
from catalog.store import S3Options, Store, open_store
from catalog.writer import partition, write_attempt
from tests.catalog.test_commits import DAY, A, B, attempt, picks, record
from tests.chaos.verdict import Verdict, judge

ONE_DAY = timedelta(days=1)
SHARDS = [Shard((trace,), DAY, DAY + 2 * ONE_DAY) for trace in (A, B)]
PLANNED = 4
ROWS = PLANNED * (1 + 2)  # of coverage, and of picks


def write(path: Path, change: Callable[[pa.Table], pa.Table] = lambda table: table) -> Store:
    """A catalogue of both shards. change: of the picks of the second."""
    store = open_store(str(path))
    create_catalog(store)
    register_candidates(store, [record()])
    assert commit(store, attempt(store, SHARDS[0]))
    second = attempt(store, SHARDS[1])
    key = f"{partition('one', DAY)}/{second.shard}/{new_attempt()}.parquet"
    changed = change(picks(SHARDS[1].station_days, second.shard))
    assert commit(store, replace(second, files=[write_attempt(store, key, changed)]))
    return store


def judged(tmp_path: Path, store: Store) -> Verdict:
    undisturbed = write(tmp_path / "undisturbed")
    return judge(undisturbed.url, store.url, PLANNED, S3Options())


def test_equal_catalogues_hold(tmp_path: Path) -> None:
    verdict = judged(tmp_path, write(tmp_path / "other"))
    assert verdict.holds and (verdict.expected, verdict.found) == (ROWS, ROWS)
    assert verdict.orphans == 1, "the attempt that the other took the place of"


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda table: table.slice(1), {"lost": 1}),
        (lambda table: pa.concat_tables([table, table.slice(3)]), {"strange": 1, "twice": 1}),
        (
            lambda table: table.set_column(
                table.column_names.index("saddle"), "saddle", pa.array([0.01, 0.12, 0.0, 0.12])
            ),
            {"lost": 1, "strange": 1},
        ),
    ],
    ids=["a row lost", "a row twice", "a row changed"],
)
def test_a_planted_row_is_found(
    tmp_path: Path, change: Callable[[pa.Table], pa.Table], found: dict[str, int]
) -> None:
    verdict = judged(tmp_path, write(tmp_path / "other", change))
    assert not verdict.holds
    assert {name: getattr(verdict, name) for name in ("lost", "strange", "twice")} == {
        "lost": 0,
        "strange": 0,
        "twice": 0,
    } | found


def test_a_missing_outcome_is_found(tmp_path: Path) -> None:
    store = write(tmp_path / "other")
    gone = next(Path(store.url).glob("commits/*/*.json"))
    gone.unlink()
    verdict = judged(tmp_path, store)
    assert not verdict.holds and (verdict.without, verdict.lost) == (2, 6)


def test_a_missing_outcome_without_picks_is_found_even_where_the_rows_agree(
    tmp_path: Path,
) -> None:
    """Both catalogues may lack a station-day: the plan says how many there are."""
    stores = [write(tmp_path / name) for name in ("undisturbed", "other")]
    verdict = judge(stores[0].url, stores[1].url, PLANNED + 1, S3Options())
    assert not verdict.holds and (verdict.without, verdict.lost) == (1, 0)


def test_a_file_that_is_not_what_was_committed_is_found(tmp_path: Path) -> None:
    """The same rows in other bytes: nothing but its checksum tells."""
    store = write(tmp_path / "other")
    commits = read_commits(store, [entry.key for entry in store.list("commits/")])
    named = Path(store.url_of(commits[0].files[0]["path"]))
    pq.write_table(pq.read_table(named, partitioning=None), named, compression="none")
    verdict = judged(tmp_path, store)
    assert not verdict.holds and (verdict.torn, verdict.lost, verdict.strange) == (1, 0, 0)
