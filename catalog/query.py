"""Catalog: DuckDB views over what is committed, and nothing else.

Views: `picks`, `coverage`, `runs`, `stations` (traces, their first and last day), `candidates`, and
`superseded`: rows of coverage that gave way to those of a later plan (catalog/plans.py), they and
their picks; the other views have neither.
Macros: `picks_at(t)` gives the picks of SeisBench at threshold t for both phases, `picks_at2(p, s)`
with one threshold a phase, `picks_default()` those that each candidate's weights recommend.
`network_year(network, time)` tells networks apart that had one code in different years: FDSN lends
codes that begin with a digit, X, Y or Z for some years each. `stations` does so.

The ledger is read where it lies, a month a file; for a month that has no summary of all its commits
one is made in a temporary folder. Beside that, memory is the names of the committed files.

SQL may come from anyone: it is a SELECT or refused, it reads below `picks/` and `ledger/` of this
catalogue and nowhere else, it sees no variable of Python, and none of that can be set back.
"""

from __future__ import annotations

import json
import shutil
import weakref
from pathlib import Path
from tempfile import mkdtemp

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from catalog.commits import check_catalog, read_candidates
from catalog.errors import Refusal
from catalog.ledger import list_months, months, read_month, write_summary
from catalog.plans import planned, read_plans, superseded
from catalog.runs import runs_table
from catalog.schema import COVERAGE_SCHEMA, LEDGER_SCHEMA, PICK_SCHEMA
from catalog.store import LocalStore, S3Options, Store, open_store

_PARTITION = [("candidate", pa.string()), ("year", pa.int32()), ("month", pa.int32())]

# Whole files, and those of which a later commit took over some days. The lists are variables, for
# a million names in the text of a view would be parsed at each use of it.
_FILES = """
CREATE TABLE _files AS SELECT file, bool_and(standing) AS whole FROM _ledger
    WHERE file <> '' GROUP BY file HAVING bool_or(standing) ORDER BY file;
SET VARIABLE whole_files = (SELECT list($root || file ORDER BY file) FROM _files WHERE whole);
SET VARIABLE partial_files = (SELECT list($root || file ORDER BY file) FROM _files WHERE NOT whole);
"""

# What only a superseded plan has, and a standing one has picked instead; of a station-day whose
# bands nobody could tell (of objects that hold a whole station), has at all.
_GAVE_WAY = """
CREATE TABLE _gave_way AS
    SELECT DISTINCT e.candidate, e.network, e.station, e.location, e.band, e.day
    FROM _every e JOIN _old o ON (e.candidate, e.network, e.station, e.location, e.band)
        = (o.candidate, o.network, o.station, o.location, o.band)
        AND e.day >= o.first AND e.day < o.stop
    JOIN (
        SELECT n.* FROM _every n JOIN _now p ON (n.candidate, n.network, n.station, n.location,
            n.band) = (p.candidate, p.network, p.station, p.location, p.band)
            AND n.day >= p.first AND n.day < p.stop
        WHERE n.standing
    ) n ON (e.candidate, e.network, e.station, e.day)
        = (n.candidate, n.network, n.station, n.day)
        AND (e.band = '' OR n.outcome = 'picked'
            AND (o.one_band OR e.band = n.band) AND (o.one_location OR e.location = n.location))
    WHERE e.standing AND NOT EXISTS (
        SELECT 1 FROM _now p WHERE (e.candidate, e.network, e.station, e.location, e.band)
            = (p.candidate, p.network, p.station, p.location, p.band)
            AND e.day >= p.first AND e.day < p.stop);
CREATE VIEW _ledger AS SELECT * REPLACE (standing AND ($row) NOT IN (SELECT ($row) FROM _gave_way)
    AS standing) FROM _every;
CREATE VIEW superseded AS SELECT $columns FROM _every
    WHERE standing AND ($row) IN (SELECT ($row) FROM _gave_way);
""".replace("$row", "candidate, network, station, location, band, day")

_NOTHING_GAVE_WAY = """
CREATE VIEW _ledger AS SELECT * FROM _every;
CREATE VIEW superseded AS SELECT $columns FROM _every WHERE false;
"""

_NETWORK_YEAR = """
CREATE MACRO network_year(network, moment) AS
    CASE WHEN regexp_full_match(network, '[0-9XYZ][0-9A-Z]?')
         THEN network || '_' || year(moment) ELSE network END;
"""

_MACROS = """
CREATE MACRO picks_at2(p, s) AS TABLE
    SELECT * FROM picks
    WHERE probability >= CASE phase WHEN 'P' THEN p ELSE s END::FLOAT
      AND saddle < (CASE phase WHEN 'P' THEN p ELSE s END::DOUBLE / 2)::FLOAT
      AND (SELECT count(CASE WHEN P_floor > p::DOUBLE OR S_floor > s::DOUBLE
                             THEN error('threshold below the floor of candidate ' || candidate) END)
           FROM candidates) = 0;
CREATE MACRO picks_at(t) AS TABLE SELECT * FROM picks_at2(t, t);
CREATE MACRO picks_default() AS TABLE
    SELECT picks.* FROM picks JOIN candidates ON picks.candidate = candidates.candidate
    WHERE probability >= CASE phase WHEN 'P' THEN P_threshold ELSE S_threshold END::FLOAT
      AND saddle < (CASE phase WHEN 'P' THEN P_threshold ELSE S_threshold END / 2)::FLOAT;
"""


class Coverage:
    """What became of a catalogue's station-days: all views but `picks`, and no pick file opened.

    As it stands now; open it again to see later commits. url: a path or s3:// URL. Raises
    CatalogError where there is none. superseded: run -> the run that took its place.
    """

    def __init__(self, url: str, options: S3Options | None = None) -> None:
        self.store = open_store(url, options)
        check_catalog(self.store)
        self._scratch = Path(mkdtemp(prefix="tidepick-"))
        weakref.finalize(self, shutil.rmtree, self._scratch, ignore_errors=True)
        self.connection = duckdb.connect()
        self.connection.execute("SET TimeZone = 'UTC'")
        if not isinstance(self.store, LocalStore):
            self.connection.register_filesystem(self.store.filesystem())
        self._create_views()
        self._lock()

    def sql(self, query: str) -> pa.Table:
        """Run one SELECT over the views. Raises Refusal, and duckdb.Error as DuckDB words it."""
        kinds = [statement.type for statement in self.connection.extract_statements(query)]
        if kinds != [duckdb.StatementType.SELECT]:
            raise Refusal(f"SQL {query!r}: one SELECT is run, and nothing that writes or sets")
        relation = self.connection.sql(query)
        if relation is None:
            raise Refusal(f"SQL {query!r}: it gives no rows; write a SELECT")
        rows = relation.to_arrow_table()
        names: list[str] = []
        for name in rows.column_names:  # of a join, say: none may hide another
            while name in names:
                name += "_1"
            names.append(name)
        return rows.rename_columns(names)

    def _lock(self) -> None:
        """From here on, what is read is the catalogue's, for good."""
        below = self.store.url_of("").rstrip("/")
        folders = [f"{below}/picks/", f"{below}/ledger/", f"{self._scratch}/"]
        # a path is looked at as it is asked for, and again when it is opened
        readable = sorted({*folders, *map(_escape, folders)})
        for setting in (
            f"temp_directory = {_literal(str(self._scratch / 'spilt'))}",
            f"allowed_directories = [{', '.join(map(_literal, readable))}]",
            "python_enable_replacements = false",
            "enable_external_access = false",
            "lock_configuration = true",
        ):
            self.connection.execute(f"SET {setting}")

    def _create_views(self) -> None:
        columns = ", ".join(f'"{name}"' for name in COVERAGE_SCHEMA.names)
        runs = runs_table(self.store)
        self.superseded = superseded(runs)
        self.connection.execute(f"CREATE VIEW _every AS {self._ledger_query()}")
        if self.superseded:
            self._register_plans(runs)
        gave_way = _GAVE_WAY if self.superseded else _NOTHING_GAVE_WAY
        self.connection.execute(gave_way.replace("$columns", columns))
        self.connection.execute(
            f"CREATE VIEW coverage AS SELECT {columns} FROM _ledger WHERE standing"
        )
        for name, table in {
            "runs": runs,
            "candidates": candidates_table(self.store),
        }.items():
            self.connection.register(f"_{name}", table)
            self.connection.execute(f"CREATE VIEW {name} AS SELECT * FROM _{name}")
        self.connection.execute(
            _NETWORK_YEAR + "CREATE VIEW stations AS "
            "SELECT network_year(network, day) AS network_year, network, station, location, band, "
            "min(day) AS first_day, max(day) AS last_day, count(DISTINCT day) AS station_days "
            "FROM coverage GROUP BY ALL ORDER BY ALL"
        )

    def _register_plans(self, runs: pa.Table) -> None:
        """What superseded plans have, as `_old`, and what the others have, as `_now`."""
        told = zip(runs["run"].to_pylist(), runs["campaign"].to_pylist(), strict=True)
        selections = {run: json.loads(campaign).get("select", {}) for run, campaign in told}
        table = planned(read_plans(self.store), selections)
        old = pc.is_in(table["run"], pa.array(list(self.superseded), pa.string()))
        self.connection.register("_old", table.filter(old))
        self.connection.register("_now", table.filter(pc.invert(old)))

    def _ledger_query(self) -> str:
        """A parquet file a month, each of exactly the commits that the month now has."""
        paths = []
        for month in list_months(self.store, months(self.store)):
            if month.summarised:
                paths.append(_escape(self.store.url_of(month.summary)))
            elif month.commits:
                path = self._scratch / f"{month.name}.parquet"
                write_summary(read_month(self.store, month), path)
                paths.append(_escape(str(path)))
        if not paths:
            self.connection.register("_no_ledger", LEDGER_SCHEMA.empty_table())
            return "SELECT * FROM _no_ledger"
        files = ", ".join(map(_literal, paths))
        return f"SELECT * FROM read_parquet([{files}], hive_partitioning = false)"


class Catalog(Coverage):
    """A whole catalogue: the view `picks` and its macros beside those of `Coverage`."""

    def _create_views(self) -> None:
        super()._create_views()
        self.connection.execute(f"CREATE VIEW picks AS {self._picks_query()}")
        self.connection.execute(_MACROS)

    def picks_at(self, threshold: float) -> pa.Table:
        """The picks of SeisBench at a threshold, sorted.

        Raises Refusal for a threshold below the floor of any candidate.
        """
        for record in read_candidates(self.store).values():
            floor = max(record.settings["floors"].values())
            if threshold < floor:
                raise Refusal(
                    f"threshold {threshold}: candidate {record.name!r} stores picks from {floor} on"
                )
        return self.sql(
            f"SELECT * FROM picks_at({threshold!r}) "
            "ORDER BY candidate, network, station, location, band, time, phase"
        )

    def _picks_query(self) -> str:
        """Committed files; where a later commit took over some of their days, without those."""
        root = _literal(_escape(self.store.url_of("")).rstrip("/") + "/")
        self.connection.execute(_FILES.replace("$root", root))
        kinds = self.connection.sql("SELECT DISTINCT whole FROM _files").fetchall()
        columns = ", ".join(f'"{name}"' for name in PICK_SCHEMA.names)  # offset is reserved
        order = f"candidate, year, month, {columns}"
        parts = []
        if (True,) in kinds:
            parts.append(f"SELECT {order} FROM {_scan('whole_files')}")
        if (False,) in kinds:
            keep = (
                "SELECT 1 FROM coverage c WHERE (c.candidate, c.network, c.station, c.location, "
                "c.band, c.shard, c.day) = (p.candidate, p.network, p.station, p.location, p.band, "
                "p.shard, p.time::DATE)"
            )
            parts.append(f"SELECT {order} FROM {_scan('partial_files')} p WHERE EXISTS ({keep})")
        if not parts:
            schema = pa.schema([pa.field(*part) for part in _PARTITION] + list(PICK_SCHEMA))
            self.connection.register("_no_picks", schema.empty_table())
            parts.append(f"SELECT {order} FROM _no_picks")
        return " UNION ALL ".join(parts)


def _scan(variable: str) -> str:
    types = "{'candidate': VARCHAR, 'year': INTEGER, 'month': INTEGER}"
    return (
        f"read_parquet(getvariable('{variable}'), hive_partitioning = true, hive_types = {types})"
    )


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _escape(path: str) -> str:
    """DuckDB reads *, ? and [ in a path as a pattern."""
    return "".join(f"[{char}]" if char in "*?[" else char for char in path)


def candidates_table(store: Store) -> pa.Table:
    """Every candidate of the catalogue, with floors and recommended thresholds."""
    rows = [
        {
            "candidate": record.name,
            "weights_sha256": record.weights_sha256,
            "source": record.source,
            "P_floor": record.settings["floors"]["P"],
            "S_floor": record.settings["floors"]["S"],
            "P_threshold": record.thresholds["P"],
            "S_threshold": record.thresholds["S"],
            "settings": json.dumps(dict(record.settings), sort_keys=True),
        }
        for record in read_candidates(store).values()
    ]
    schema = pa.schema(
        [("candidate", pa.string()), ("weights_sha256", pa.string()), ("source", pa.string())]
        + [(name, pa.float64()) for name in ("P_floor", "S_floor", "P_threshold", "S_threshold")]
        + [("settings", pa.string())]
    )
    return pa.Table.from_pylist(rows, schema=schema)
