"""The votes of an arena: battles and votes in one SQLite file, append-only and transactional.

A vote is acknowledged once its transaction is on disk, so that no acknowledged vote is lost to a
killed process. Writers in any number of threads and processes wait for one another (WAL). Rows are
never changed or deleted, which the file itself enforces: taking a vote back is one more row.
"""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from catalog.battles import ANSWERS, BATTLE_SCHEMA, JUDGED_SCHEMA, REVEAL, SKIP, UNDO, VOTE_SCHEMA
from catalog.errors import Refusal

LIFETIME = timedelta(days=1)
"""A battle that was issued longer ago is stale: whoever it was shown to has gone."""

WAIT_S = 60.0
"""How long a writer waits for the others."""

TABLES = {"battles": BATTLE_SCHEMA, "votes": VOTE_SCHEMA}
_TYPES = {pa.int64(): "INTEGER", pa.float64(): "REAL"}  # a time is text; so is all else
_NULLABLE = {"repeat_of", "undoes", "stratum"}


class VoteError(Refusal):
    """A battle or a vote that is not accepted; nothing was written."""


class Votes:
    """The file of one arena. Safe to share between threads; every call is its own connection."""

    def __init__(self, path: Path) -> None:
        """Opens the file, or makes it."""
        self.path = path
        with self._connection() as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            for name, schema in TABLES.items():
                connection.execute(_definition(name, schema))
                for verb in ("UPDATE", "DELETE"):
                    connection.execute(
                        f"CREATE TRIGGER IF NOT EXISTS {name}_keep_{verb} BEFORE {verb} ON {name} "
                        "BEGIN SELECT RAISE(ABORT, 'rows are never changed'); END"
                    )
            connection.execute("CREATE INDEX IF NOT EXISTS of_battle ON votes (battle)")
            connection.execute("CREATE UNIQUE INDEX IF NOT EXISTS once ON votes (undoes)")

    def issue(self, battle: Mapping[str, Any]) -> str:
        """Write down a battle before it is shown; returns its id.

        battle: columns of BATTLE_SCHEMA but `battle` and `issued`, which are made here. Raises
        VoteError for a candidate against itself, and for a column that lacks or is unknown.
        """
        row = {"battle": str(uuid.uuid4()), "issued": datetime.now(UTC)} | dict(battle)
        with self._transaction() as connection:
            self._add(connection, "battles", row)
        return str(row["battle"])

    def cast(
        self, vote: str, battle: str, annotator: str, answer: str, latency_ms: int = 0
    ) -> None:
        """Accept one answer (ANSWERS or SKIP) to a battle. On return it is on disk.

        vote: a UUID made by the voter's side; the same vote sent again changes nothing. Raises
        VoteError where the battle is unknown, another annotator's, stale or has been answered, and
        where the id belongs to another vote.
        """
        if answer not in (*ANSWERS, SKIP):
            raise VoteError(f"vote {vote}: answer {answer!r}; use one of {(*ANSWERS, SKIP)}")
        row = _row(vote, battle, annotator, answer, None, latency_ms)
        with self._transaction() as connection:
            if self._is_repeated(connection, row):
                return
            issued = self._battle_of(connection, row)["issued"]
            if datetime.now(UTC) - datetime.fromisoformat(issued) > LIFETIME:
                raise VoteError(f"battle {battle}: stale, issued {issued}; ask for another")
            if standing := self._standing(connection, battle):
                raise VoteError(f"battle {battle}: answered by vote {standing} already")
            self._add(connection, "votes", row)

    def undo(self, vote: str, undoes: str, annotator: str) -> str:
        """Take one's own vote back by one more row; its battle is open again. Returns its battle.

        vote: the UUID of the undoing. Raises VoteError where there is no such vote of this
        annotator, it has been taken back, or the names have been shown: the next vote on that
        battle would not be blind.
        """
        with self._transaction() as connection:
            found = self._vote_of(connection, undoes, annotator)
            row = _row(vote, found["battle"], annotator, UNDO, undoes, 0)
            if not self._is_repeated(connection, row):
                if self._is_revealed(connection, found["battle"]):
                    raise VoteError(f"vote {undoes}: its names have been shown, so it stands")
                if self._standing(connection, found["battle"]) != undoes:
                    raise VoteError(f"vote {undoes}: it has been taken back already")
                self._add(connection, "votes", row)
            return str(found["battle"])

    def reveal(self, vote: str, annotator: str) -> dict[str, Any]:
        """Write down that a voter is told who stood on the sides; returns the battle's row.

        Told twice is written once. Raises VoteError where no such vote of this annotator stands.
        """
        with self._transaction() as connection:
            battle = self._vote_of(connection, vote, annotator)["battle"]
            if self._standing(connection, battle) != vote:
                raise VoteError(f"vote {vote}: it has been taken back")
            if not self._is_revealed(connection, battle):
                row = _row(str(uuid.uuid4()), battle, annotator, REVEAL, None, 0)
                self._add(connection, "votes", row)
            query = "SELECT * FROM battles WHERE battle = ?"
            return dict(connection.execute(query, (battle,)).fetchone())

    def tell(self, window: str, annotator: str) -> None:
        """Write down, once, that somebody is told of a window though not by a vote of theirs."""
        row = _row(str(uuid.uuid4()), window, annotator, REVEAL, None, 0)
        query = "SELECT 1 FROM votes WHERE battle = ? AND annotator = ?"
        with self._transaction() as connection:
            if connection.execute(query, (window, annotator)).fetchone() is None:
                self._add(connection, "votes", row)

    def battles(self) -> pa.Table:
        """Every battle issued, in order: BATTLE_SCHEMA."""
        return self._table("SELECT * FROM battles ORDER BY rowid", BATTLE_SCHEMA)

    def log(self) -> pa.Table:
        """Every row ever written by a voter, in order: VOTE_SCHEMA."""
        return self._table("SELECT * FROM votes ORDER BY rowid", VOTE_SCHEMA)

    def judged(self) -> pa.Table:
        """The answers that stand, skips and what was taken back left out: JUDGED_SCHEMA."""
        names = ", ".join(
            f"{'v' if name in VOTE_SCHEMA.names else 'b'}.{name}" for name in JUDGED_SCHEMA.names
        )
        marks = ", ".join("?" for _ in ANSWERS)
        return self._table(
            f"SELECT {names} FROM votes v JOIN battles b USING (battle) "
            f"WHERE v.answer IN ({marks}) AND NOT EXISTS "
            "(SELECT 1 FROM votes u WHERE u.undoes = v.vote) ORDER BY v.rowid",
            JUDGED_SCHEMA,
            ANSWERS,
        )

    def export(self, folder: Path) -> None:
        """Write the log and the battles, whole, as parquet and as csv."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, table in (("battles", self.battles()), ("votes", self.log())):
            pq.write_table(table, folder / f"{name}.parquet")
            pa.csv.write_csv(table, folder / f"{name}.csv")

    def restore(self, battles: pa.Table, votes: pa.Table) -> None:
        """Fill an empty file from an export (`read_export`). All of it is written, or nothing.

        Raises VoteError where the file has battles already.
        """
        with self._transaction() as connection:
            if connection.execute("SELECT 1 FROM battles").fetchone():
                raise VoteError(f"votes {self.path}: holds battles; restore into a new file")
            for name, table in (("battles", battles), ("votes", votes)):
                for row in table.cast(TABLES[name]).to_pylist():
                    self._add(connection, name, row)

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        # No transaction but our own, and each commit waits for the disk.
        with closing(sqlite3.connect(self.path, timeout=WAIT_S, isolation_level=None)) as opened:
            opened.row_factory = sqlite3.Row
            opened.execute("PRAGMA synchronous = FULL")
            yield opened

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """The right to write, from before the first look until the commit."""
        with self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def _table(self, query: str, schema: pa.Schema, values: Sequence[str] = ()) -> pa.Table:
        with self._connection() as connection:
            found = [dict(row) for row in connection.execute(query, values)]
        times = [field.name for field in schema if pa.types.is_timestamp(field.type)]
        for row in found:
            row |= {name: datetime.fromisoformat(row[name]) for name in times}
        return pa.Table.from_pylist(found, schema)

    def _add(self, connection: sqlite3.Connection, table: str, row: Mapping[str, Any]) -> None:
        names = TABLES[table].names
        if wrong := set(names) ^ set(row):
            raise VoteError(f"{table}: columns {sorted(wrong)} lack or are unknown; give {names}")
        if absent := [n for n in names if row[n] is None and n not in _NULLABLE]:
            raise VoteError(f"{table}: {absent} must have a value")
        if table == "battles" and row["left"] == row["right"]:
            raise VoteError(f"battle: {row['left']!r} against itself says nothing")
        values = [
            value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value
            for value in (row[name] for name in names)
        ]
        marks = ", ".join("?" for _ in names)
        connection.execute(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})", values)

    def _is_repeated(self, connection: sqlite3.Connection, row: Mapping[str, Any]) -> bool:
        """Whether the very same vote is there; another one under its id is refused."""
        query = "SELECT * FROM votes WHERE vote = ?"
        found = connection.execute(query, (row["vote"],)).fetchone()
        if found is None:
            return False
        same = ("battle", "annotator", "answer", "undoes")
        if any(found[name] != row[name] for name in same):
            raise VoteError(f"vote {row['vote']}: this id belongs to another vote; make a new one")
        return True

    def _battle_of(self, connection: sqlite3.Connection, row: Mapping[str, Any]) -> sqlite3.Row:
        query = "SELECT * FROM battles WHERE battle = ?"
        found: sqlite3.Row | None = connection.execute(query, (row["battle"],)).fetchone()
        if found is None:
            raise VoteError(f"battle {row['battle']}: there is none of that id")
        if found["annotator"] != row["annotator"]:
            raise VoteError(f"battle {row['battle']}: was not issued to {row['annotator']!r}")
        return found

    def _standing(self, connection: sqlite3.Connection, battle: str) -> str | None:
        found = connection.execute(
            "SELECT vote FROM votes v WHERE battle = ? AND answer NOT IN (?, ?) AND NOT EXISTS "
            "(SELECT 1 FROM votes u WHERE u.undoes = v.vote)",
            (battle, UNDO, REVEAL),
        ).fetchone()
        return None if found is None else str(found["vote"])

    def _vote_of(self, connection: sqlite3.Connection, vote: str, annotator: str) -> sqlite3.Row:
        query = "SELECT * FROM votes WHERE vote = ? AND annotator = ? AND answer NOT IN (?, ?)"
        found: sqlite3.Row | None = connection.execute(
            query, (vote, annotator, UNDO, REVEAL)
        ).fetchone()
        if found is None:
            raise VoteError(f"vote {vote}: no vote of annotator {annotator!r}")
        return found

    def _is_revealed(self, connection: sqlite3.Connection, battle: str) -> bool:
        """Whether who may vote on the battle was told of it, or of its window."""
        query = (
            "SELECT 1 FROM battles b JOIN votes v ON v.annotator = b.annotator "
            "AND v.battle IN (b.battle, b.window) WHERE b.battle = ? AND v.answer = ?"
        )
        return connection.execute(query, (battle, REVEAL)).fetchone() is not None


def read_export(folder: Path, ending: str) -> tuple[pa.Table, pa.Table]:
    """(BATTLE_SCHEMA, VOTE_SCHEMA) of an export. ending: `parquet` or `csv`. Raises VoteError."""
    if ending not in ("parquet", "csv"):
        raise VoteError(f"export {folder}: ending {ending!r}; use parquet or csv")
    tables = []
    for name, schema in TABLES.items():
        path = folder / f"{name}.{ending}"
        if ending == "parquet":
            tables.append(pq.read_table(path, schema=schema))
            continue
        options = pa.csv.ConvertOptions(
            column_types=schema, strings_can_be_null=True, quoted_strings_can_be_null=False
        )
        parsing = pa.csv.ParseOptions(newlines_in_values=True)
        tables.append(pa.csv.read_csv(path, convert_options=options, parse_options=parsing))
    battles, votes = tables
    return battles, votes


def _row(
    vote: str, battle: str, annotator: str, answer: str, undoes: str | None, latency_ms: int
) -> dict[str, Any]:
    return {
        "vote": vote,
        "battle": battle,
        "annotator": annotator,
        "answer": answer,
        "undoes": undoes,
        "latency_ms": latency_ms,
        "cast": datetime.now(UTC),
    }


def _definition(name: str, schema: pa.Schema) -> str:
    columns = [f"{field.name} {_TYPES.get(field.type, 'TEXT')}" for field in schema]
    columns[0] += " PRIMARY KEY NOT NULL"
    return f"CREATE TABLE IF NOT EXISTS {name} ({', '.join(columns)}) STRICT"
