"""The commands as a user meets them: a campaign is planned, run, looked at, queried."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.csv
import pyarrow.parquet
import pytest
from obspy import Trace, UTCDateTime

from catalog.query import Catalog
from catalog.schema import TraceId, day_start_ns
from service.arguments import parser
from service.cli import COMMANDS, in_one_line, main
from service.plan import CPU_SECONDS
from workers.synthetic import sds_path, station_day, write_sds

ROOT = Path(__file__).parents[2]

LEAP_DAY = day_start_ns(date(2024, 2, 29))
MINUTE_NS = 60 * 10**9

WEIRD = "cat [/a] [bold] *? 'q\" :smile: ü🌊 #%20{x}"
"""A folder's name that is legal, and special to TOML, globs, SQL, URLs and terminals."""

CAMPAIGN = """\
name = "[/small] 🌊"
catalog = {catalog}
[archive]
kind = "{kind}"
root = "{root}"
[select]
stations = {stations}
start = 2024-02-29
end = 2024-03-02
[[candidate]]
name = "late"
weights = "builtin:synthetic"
[[candidate]]
name = "early"
weights = "builtin:synthetic_early"
[compute]
workers = 2
price_per_hour = 3600
"""

PICKS = "SELECT * EXCLUDE (run, shard) FROM picks ORDER BY ALL"
COVERAGE = "SELECT * EXCLUDE (run, shard) FROM coverage ORDER BY ALL"

Said = Callable[..., Any]


def write_campaign(
    folder: Path, name: str, kind: str = "sds", root: str = "archive", stations: str = '["XX.*"]'
) -> Path:
    """A campaign file whose catalogue is `name`, a folder beside it."""
    path = folder / f"{kind}.toml"
    catalog = json.dumps(name, ensure_ascii=False)
    path.write_text(CAMPAIGN.format(catalog=catalog, kind=kind, root=root, stations=stations))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """XX.ONE ten minutes across a leap day's midnight, XX.TWO five minutes of the first day only,
    XX.SLOW five minutes of it at 10 Hz."""
    folder = tmp_path_factory.mktemp("cli")
    one, two, slow = (TraceId("XX", station, "", "HH") for station in ("ONE", "TWO", "SLOW"))
    rng = np.random.default_rng(1)
    midnight = day_start_ns(date(2024, 3, 1))
    root = folder / "archive"
    recordings = [
        station_day(one, midnight - 5 * MINUTE_NS, 600.0, 60.0, rng),
        station_day(two, LEAP_DAY + 5 * MINUTE_NS, 300.0, 60.0, rng),
    ]
    write_sds(root, recordings)
    for component in "ZNE":
        path = sds_path(root, slow, component, LEAP_DAY)
        path.parent.mkdir(parents=True)
        header = {
            "network": "XX",
            "station": "SLOW",
            "channel": f"HH{component}",
            "sampling_rate": 10.0,
            "starttime": UTCDateTime(ns=LEAP_DAY),
        }
        samples = rng.integers(-999, 999, 3_000).astype(np.int32)
        Trace(samples, header).write(str(path), format="MSEED")
    return folder


@dataclass(frozen=True)
class Ran:
    """What the first `tidepick run` of the campaign printed, and left."""

    campaign: Path
    catalog: Path
    facts: dict[str, Any]


@pytest.fixture(scope="module")
def ran(folder: Path) -> Ran:
    campaign = write_campaign(folder, WEIRD)
    facts = in_process_of_its_own("run", campaign, "--json")
    return Ran(campaign, folder / WEIRD, facts)


def in_process_of_its_own(*arguments: object) -> Any:
    """A real `tidepick`, somewhere else than the campaign's folder; returns the JSON it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "service.cli", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        cwd=ROOT / "docs" if (ROOT / "docs").is_dir() else "/",
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    """Runs a command that must succeed; returns what it prints, with --json as values."""

    def run(*arguments: object) -> Any:
        words = [str(argument) for argument in arguments]
        assert main(words) == 0, capsys.readouterr().err
        out = capsys.readouterr().out
        return json.loads(out) if "--json" in words else out

    return run


def test_plan(folder: Path, said: Said) -> None:
    before = sorted(folder.rglob("*"))
    campaign = write_campaign(folder, "never", stations='["XX.*", "ZZ.*"]')
    archived = sum(path.stat().st_size for path in folder.glob("archive/**/*") if path.is_file())
    facts = said("plan", campaign, "--json")
    expected = {
        "campaign": "[/small] 🌊",
        "traces": 3,
        "candidates": 2,
        "station_days": 6,
        "station_days_held": 4,
        "hit_rate": 0.6667,
        "bytes": archived,
        "shards": 6,
        "unmatched": ["ZZ.*"],
    }
    assert {name: facts[name] for name in expected} == expected
    assert facts["estimated_cost"] == pytest.approx(4 * 2 * CPU_SECONDS / 2), "of held days"
    assert "[/small] 🌊" in said("plan", campaign) and f"{archived:,}" in said("plan", campaign)
    assert sorted({*folder.rglob("*")} - {campaign}) == sorted({*before} - {campaign})


@pytest.mark.parametrize(
    ("text", "stations"),
    [
        ("# ours\nXX.ONE\n\n  # not theirs\n XX.T*..HH\n", 2),
        ("network,station,location,band\nXX,ONE,--,HH\nXX,TWO,,\nXX,SLOW,00,\n", 2),
        ("\ufeffStation,Latitude,Network\r\nONE,47.1,XX\r\n", 1),
    ],
)
def test_a_stations_file(folder: Path, said: Said, text: str, stations: int) -> None:
    (folder / "stations").write_text(text)
    campaign = write_campaign(folder, "never", stations='"stations"')
    assert said("plan", campaign, "--json")["traces"] == stations


def test_run_leaves_no_station_day_out(ran: Ran) -> None:
    facts = ran.facts
    assert facts["catalog"] == str(ran.catalog), "relative paths start at the campaign's folder"
    assert (facts["planned"], facts["already_committed"], facts["done_now"]) == (12, 0, 12)
    assert (facts["left"], facts["state"], facts["failures"]) == (0, "complete", {})
    assert facts["outcomes"] == {"picked": 6, "no_data": 4, "wrong_rate": 2}
    counted = Catalog(str(ran.catalog)).sql("SELECT count(*) AS n FROM picks").to_pylist()
    assert facts["picks"] == counted[0]["n"] > 0


def test_run_again_does_nothing(ran: Ran, said: Said) -> None:
    objects = sorted(ran.catalog.rglob("*"))
    write_campaign(ran.campaign.parent, WEIRD)
    facts = said("run", ran.campaign, "--json")
    assert (facts["already_committed"], facts["done_now"], facts["picks"]) == (12, 0, 0)
    assert facts["run"] == ran.facts["run"]
    assert sorted(ran.catalog.rglob("*")) == objects


def test_status(ran: Ran, said: Said) -> None:
    status = said("status", ran.catalog, "--json")
    assert status["left"] == 0
    for facts in status["candidates"].values():
        assert facts["outcomes"] == {"picked": 3, "no_data": 2, "wrong_rate": 1}
    assert sum(facts["picks"] for facts in status["candidates"].values()) == ran.facts["picks"]
    why = {(reason["candidate"], reason["outcome"]): reason for reason in status["reasons"]}
    assert why["late", "wrong_rate"]["detail"] == (
        "data at 10 Hz; the model runs at 100 Hz, to which 20 to 5000 Hz are resampled"
    )
    assert why["early", "no_data"]["station_days"] == 2
    (run,) = status["runs"]
    assert (run["run"], run["state"]) == (ran.facts["run"], "complete")

    shown = said("status", ran.catalog)
    assert all(words in shown for words in ("wrong_rate", "data at 10 Hz", "complete", "early"))


def test_query(ran: Ran, said: Said, tmp_path: Path) -> None:
    sql = "SELECT station, phase, time, probability FROM picks_at(0.3) ORDER BY ALL"
    rows = said("query", ran.catalog, sql, "--json")
    assert {row["station"] for row in rows} == {"ONE", "TWO"}
    assert all(row["probability"] >= 0.3 for row in rows)
    for name, read in {
        "rows.parquet": pyarrow.parquet.read_table,
        "rows.csv": pyarrow.csv.read_csv,
    }.items():
        facts = said("query", ran.catalog, sql, "--json", "--output", tmp_path / name)
        assert facts == {"file": str(tmp_path / name), "rows": len(rows)}
        assert read(tmp_path / name)["phase"].to_pylist() == [row["phase"] for row in rows]

    shown = said("query", ran.catalog, sql, "--rows", 2)
    assert shown.count("2024-") == 2 and f"{len(rows) - 2} more rows" in shown


def test_query_prints_what_is_there(ran: Ran, said: Said) -> None:
    """Not what a terminal might make of it; and no column hides another of its name."""
    text = "[/b] [red] :smile:"
    assert text in said("query", ran.catalog, f"SELECT '{text}' AS \"[/a]\"")
    assert "[/a]" in said("query", ran.catalog, 'SELECT 1 AS "[/a]"')
    twice = said("query", ran.catalog, "SELECT 1 AS a, 2 AS a", "--json")
    assert sorted(twice[0].values()) == [1, 2]


def test_a_reader_that_has_seen_enough(ran: Ran) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "service.cli", "query", ran.catalog, "SELECT 1", "--json"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("place", [WEIRD[::-1].replace("/", "|"), "project=7/x=y"])
def test_a_catalogue_may_be_moved_anywhere(ran: Ran, tmp_path: Path, place: str) -> None:
    moved = tmp_path / place
    shutil.copytree(ran.catalog, moved)
    catalog, before = Catalog(str(moved)), Catalog(str(ran.catalog))
    for sql in (PICKS, COVERAGE):
        assert catalog.sql(sql).equals(before.sql(sql))


@pytest.fixture(scope="module")
def ingested(folder: Path) -> Path:
    days = ("--start", "2024-02-29", "--end", "2024-03-02")
    facts = in_process_of_its_own("ingest", folder / "archive", folder / "zarr", *days, "--json")
    assert facts["station_days"] == {"written": 4}
    return folder / "zarr"


def test_ingest_again_keeps_what_is_there(folder: Path, ingested: Path, said: Said) -> None:
    days = ("--start", "2024-02-29", "--end", "2024-03-02")
    facts = said("ingest", folder / "archive", ingested, *days, "--json")
    assert facts["station_days"] == {"kept": 4}


def test_zarr_gives_the_rows_of_miniseed(ran: Ran, folder: Path, ingested: Path) -> None:
    campaign = write_campaign(folder, "from zarr", kind="zarr", root=ingested.name)
    in_process_of_its_own("run", campaign, "--json")
    catalog, before = Catalog(str(folder / "from zarr")), Catalog(str(ran.catalog))
    for sql in (PICKS, COVERAGE):
        assert catalog.sql(sql).equals(before.sql(sql))


def commands() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for action in parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.items()


def whole_commands() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """As one types them: `eval oracle`, not `eval`."""
    for name, sub in commands():
        inner = [a for a in sub._actions if isinstance(a, argparse._SubParsersAction)]
        if not inner:
            yield name, sub
        for action in inner:
            yield from ((f"{name} {what}", each) for what, each in action.choices.items())


def test_every_command_has_its_words() -> None:
    assert COMMANDS.keys() == dict(commands()).keys()


def test_an_error_from_within_is_told_in_one_line() -> None:
    frames = "IO Error: Python:\n\nTraceback (most recent call last):\n  File x\n"
    assert in_one_line(f"{frames}StoreUnavailable: s3: 503\n") == "StoreUnavailable: s3: 503"
    assert in_one_line("two\n  lines") == "two lines"


@pytest.mark.parametrize(("name", "parser"), list(whole_commands()))
def test_every_command_is_explained(
    name: str, parser: argparse.ArgumentParser, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*name.split(), "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert f"example:\n  tidepick {name} " in shown
    assert "--json" in shown
    for action in parser._actions:
        explained = action.help or not action.option_strings
        assert explained, f"tidepick {name}: {action.option_strings} has no help"


def test_the_example_of_the_help_is_a_campaign(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from service.arguments import CAMPAIGN as EXAMPLE
    from service.campaign import load_campaign

    path = tmp_path / "campaign.toml"
    path.write_text("\n".join(EXAMPLE.strip().splitlines()[1:-2]))
    assert load_campaign(path).select.stations == ["UW.*", "PB.B204"]
