"""Nothing is read or written outside of a root, whatever names and SQL say."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalog.commits import CandidateRecord, Commit, commit, create_catalog, register_candidates
from catalog.errors import Refusal
from catalog.query import Catalog
from catalog.schema import PICK_SCHEMA, Outcome, StationDay, TraceId
from catalog.store import LocalStore, Store, StoreError, open_store
from catalog.writer import partition, write_attempt
from tests.coverage import covered

HOSTILE = st.lists(
    st.sampled_from([*"./\\=% \0\n'\"*?[~$", "..", "/../", "%2e%2e", "a", "B", "0", "é", "_", "-"]),
    max_size=12,
).map("".join)


@given(st.tuples(HOSTILE, HOSTILE, HOSTILE, HOSTILE))
def test_a_trace_names_one_folder_or_is_refused(codes: tuple[str, str, str, str]) -> None:
    try:
        trace = TraceId(*codes)
    except ValueError:
        return
    assert all(set(code) <= set("aB0_-") for code in codes)
    assert Path(str(trace)).name == str(trace) and str(trace) not in (".", "..")
    assert TraceId.parse(str(trace)) == trace


@pytest.mark.parametrize("code", ["..", "A/B", "A\0", "A\n", "%2e%2e", "A B", "A=B", "A" * 65, "é"])
def test_a_code_that_is_no_plain_name_is_refused(code: str) -> None:
    for codes in ((code, "S", "", "HH"), ("N", code, "", "HH"), ("N", "S", code, "HH")):
        with pytest.raises(ValueError, match="trace code"):
            TraceId(*codes)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(key=HOSTILE.filter(bool))
def test_a_key_stays_below_the_root(tmp_path: Path, key: str) -> None:
    """Whatever is created lies below the root, under the name that it was given."""
    root = tmp_path / "deep" / "root"
    shutil.rmtree(tmp_path / "deep", ignore_errors=True)
    store = LocalStore(str(root))
    (tmp_path / "deep").mkdir()
    try:
        made = store.create(key, b"x")
    except (Refusal, StoreError, ValueError):
        made = False
    outside = [p for p in (tmp_path / "deep").rglob("*") if p != root and root not in p.parents]
    assert outside == []
    if made:
        assert [p.read_bytes() for p in root.rglob("*") if p.is_file()] == [b"x"]


@pytest.mark.parametrize("key", ["../x", "a/../../x", "/etc/passwd", "a\0b", "..", "./x"])
def test_a_key_that_leads_out_is_refused_by_every_verb(store: Store, key: str) -> None:
    verbs: list[Callable[[], Any]] = [
        lambda: store.fetch(key),
        lambda: store.fetch_part(key, 0, 10),
        lambda: store.create(key, b""),
        lambda: store.url_of(key),
        lambda: store.folders(key + "/"),
    ]
    for verb in verbs:
        with pytest.raises(Refusal, match="lead out"):
            verb()


def test_a_link_in_an_archive_is_followed(tmp_path: Path) -> None:
    """On purpose: archives are put together of links; who may make them, may read through us."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "day").write_bytes(b"samples")
    (tmp_path / "root").mkdir()
    os.symlink(tmp_path / "elsewhere", tmp_path / "root" / "linked")
    store = LocalStore(str(tmp_path / "root"))
    assert [entry.key for entry in store.list()] == ["linked/day"]


NAMES = ("plain", "'; DROP VIEW picks; --", "a'b", "\"; COPY picks TO 'x'")
DAY = StationDay(TraceId("XX", "S", "", "HH"), date(2024, 3, 1))
PICKED = covered(DAY, Outcome.PICKED, picks=1)


def one_pick(shard: str) -> pa.Table:
    row = dict.fromkeys(PICK_SCHEMA.names, 0) | {
        "network": "XX", "station": "S", "location": "", "band": "HH", "phase": "P",
        "time": 1_709_251_200_000_000_000, "run": "r", "shard": shard, "probability": 0.9,
    }  # fmt: skip
    columns = {field.name: pa.array([row[field.name]], _kind(field)) for field in PICK_SCHEMA}
    return pa.table(columns).cast(PICK_SCHEMA)


@pytest.fixture
def filled(store: Store) -> Store:
    """A catalogue with a pick of each of some candidates, whose names are no names."""
    create_catalog(store)
    floors = {"P": 0.1, "S": 0.1}
    for number, name in enumerate(NAMES):
        record = CandidateRecord(name, f"{number:064x}", "x", {"floors": floors}, floors)
        if number == 0:
            register_candidates(store, [record])
        shard = f"2024-03-{number:032x}"
        picks = one_pick(shard)
        key = f"{partition(f'n{number}', date(2024, 3, 1))}/{shard}/{number}.parquet"
        files = [write_attempt(store, key, picks)]
        commit(
            store,
            Commit(shard, 0, name, "0", "r", "a", files, {}, [PICKED | {"detail": name}], "now"),
        )
    return store


def _kind(field: pa.Field) -> pa.DataType:
    return pa.int64() if pa.types.is_timestamp(field.type) else field.type


def test_names_are_data_not_sql(filled: Store) -> None:
    catalog = Catalog(filled.url)
    found = catalog.sql("SELECT candidate FROM coverage ORDER BY 1")["candidate"].to_pylist()
    assert found == sorted(NAMES)
    assert catalog.sql("SELECT count(*) AS n FROM picks")["n"].to_pylist() == [len(NAMES)]


SECRET = "what nobody may read"

READS = (
    "SELECT * FROM read_text('{secret}')",
    "SELECT * FROM read_csv('{secret}')",
    "SELECT * FROM read_blob('/proc/self/environ')",
    "SELECT * FROM '{secret}'",
    "SELECT * FROM glob('{folder}/*')",
    "SELECT * FROM read_text('{root}/picks/../../secret')",
    "SELECT * FROM read_text('{root}/tidepick.json')",
    "SELECT * FROM read_parquet('https://127.0.0.1:9/x.parquet')",
    "SELECT * FROM read_parquet('s3://elsewhere/x.parquet')",
    "SELECT * FROM variable_of_python",
)
WRITES = (
    "COPY (SELECT 1) TO '{folder}/made'",
    "COPY picks TO '{root}/picks/made.parquet'",
    "COPY (SELECT 1) TO '{root}/picks/made.csv' (USE_TMP_FILE false)",
    "EXPORT DATABASE '{folder}/made'",
    "ATTACH '{folder}/made' AS made",
    "INSTALL httpfs",
    "LOAD httpfs",
    "SET enable_external_access = true",
    "RESET lock_configuration",
    "CREATE TABLE made AS SELECT 1",
    "DROP VIEW picks",
    "CREATE SECRET (TYPE s3)",
    "PRAGMA database_list",
    "SELECT 1; COPY (SELECT 1) TO '{folder}/made'",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO '{folder}/made'",
)
LOCKED = (
    "COPY (SELECT 1) TO '{folder}/made'",
    "ATTACH '{folder}/made' AS made",
    "LOAD httpfs",
    "SET enable_external_access = true",
    "RESET lock_configuration",
)


def test_sql_reads_the_catalogue_and_nothing_else(filled: Store, tmp_path: Path) -> None:
    secret, folder = tmp_path / "secret", tmp_path / "folder"
    secret.write_text(SECRET)
    folder.mkdir()
    open_store(filled.url.rpartition("/")[0]).create("secret", SECRET.encode())
    catalog = Catalog(filled.url)
    variable_of_python = pa.table({"secret": [SECRET]})
    before = sorted(entry.key for entry in filled.list())
    for sql in READS:
        text = sql.format(secret=secret, folder=folder, root=filled.url)
        with suppress(Refusal, duckdb.Error):  # an S3 key may hold `..`
            assert catalog.sql(text).num_rows == 0, text
    for sql in WRITES:
        with pytest.raises((Refusal, duckdb.Error)):
            catalog.sql(sql.format(folder=folder, root=filled.url))
    for sql in LOCKED:  # also for who holds the connection
        with pytest.raises(duckdb.Error):
            catalog.connection.execute(sql.format(folder=folder))
    assert sorted(entry.key for entry in filled.list()) == before
    assert not [*folder.iterdir()] and variable_of_python.num_rows
    assert catalog.sql("SELECT count(*) AS n FROM picks")["n"].to_pylist() == [len(NAMES)]


def test_a_commit_that_names_a_file_elsewhere_shows_none_of_it(tmp_path: Path) -> None:
    """Who may write to a catalogue is believed about picks, not about this machine's files."""
    store = open_store(str(tmp_path / "catalogue"))
    create_catalog(store)
    shard = f"2024-03-{0:032x}"
    pq.write_table(one_pick(shard), tmp_path / "secret.parquet")
    folder = partition("x", date(2024, 3, 1))
    (tmp_path / "catalogue" / folder).mkdir(parents=True)
    path = f"{folder}/../../../../../secret.parquet"
    assert (tmp_path / "catalogue" / path).exists()
    files = [{"path": path, "rows": 1, "bytes": 1, "sha256": ""}]
    assert commit(store, Commit(shard, 0, "x", "0", "r", "a", files, {}, [PICKED], "now"))
    with pytest.raises(duckdb.Error, match="disabled by configuration"):
        Catalog(store.url).sql("SELECT * FROM picks")
