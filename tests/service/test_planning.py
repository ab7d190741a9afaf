"""Plans from an archive's listing and station epochs: what is planned, shown, and then picked."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from catalog.query import Catalog
from catalog.schema import TraceId, day_start_ns
from catalog.store import open_store
from service.campaign import load_campaign
from service.cli import main
from service.jobs import pack
from service.plan import CPU_SECONDS, Plan, make_plan
from workers.archives import ArchiveConfig, open_archive
from workers.archives.layout import Named
from workers.archives.scedc import SCEDC
from workers.archives.sds import SDS
from workers.synthetic import Recording, station_day, write_sds

START, END = date(2020, 2, 27), date(2020, 3, 4)
DAYS = (END - START).days

CAMPAIGN = """\
name = "priority"
catalog = "{catalog}"
[archive]
kind = "{kind}"
root = "{root}"
[select]
stations = ["CI.*"]
start = 2020-02-27
end = 2020-03-04
{select}
[[candidate]]
name = "synthetic"
weights = "builtin:synthetic"
[[candidate]]
name = "early"
weights = "builtin:synthetic_early"
[compute]
workers = 2
price_per_hour = 3600
"""

EPOCHS = """\
network,station,location,channel,start,end
CI,GSC,,BHZ,2000-01-01,2020-03-01T10:00:00
CI,GSC,,HHZ,2020-03-01T10:00:00,
CI,ADO,,HHZ,2000-01-01,
CI,OLD,,BHZ,2000-01-01,2020-02-29T00:00:00
CI,GONE,,BHZ,2000-01-01,
CI,PAST,,BHZ,2000-01-01,2019-01-01
NC,OUT,,BHZ,2000-01-01,
"""
GSC_BH, GSC_HH, GSC_EN = (TraceId("CI", "GSC", "", band) for band in ("BH", "HH", "EN"))
ADO = TraceId("CI", "ADO", "10", "HH")
NEW, OLD = TraceId("CI", "NEW", "", "BH"), TraceId("CI", "OLD", "", "BH")
LISTED = {
    GSC_BH: (0, 1, 2),
    GSC_HH: (3, 5),
    GSC_EN: (0, 1, 2, 3, 4, 5),
    ADO: (0, 1, 3),
    NEW: (4,),
    OLD: (0, 1, 2, 3),
    TraceId("NC", "OUT", "", "BH"): (0,),
}
PRIORITY = 'bands = ["HH", "BH"]'


def write_listing(root: str, listed: Mapping[TraceId, Sequence[int]] = LISTED) -> None:
    """Objects of a hundred bytes, three a station-day, named as SCEDC names them."""
    store = open_store(root)
    for trace, days in listed.items():
        for day in days:
            for component in "ZNE":
                channel = trace.band + component
                codes = trace.network, trace.station, trace.location, channel
                store.create(SCEDC.key(Named(*codes, START + timedelta(days=day))), b"x" * 100)


def write_campaign(
    folder: Path, root: str, select: str = "", kind: str = "scedc", catalog: str = "catalog"
) -> Path:
    path = folder / "campaign.toml"
    path.write_text(CAMPAIGN.format(catalog=catalog, kind=kind, root=root, select=select))
    (folder / "epochs.csv").write_text(EPOCHS)
    return path


def days_of(plan: Plan) -> dict[TraceId, list[int]]:
    found: dict[TraceId, list[int]] = {}
    for shard in plan.shards():
        for one in shard.station_days:
            found.setdefault(one.trace, []).append((one.day - START).days)
    return {trace: sorted(days) for trace, days in found.items()}


def planned(path: Path) -> Plan:
    campaign = load_campaign(path)
    return make_plan(campaign, open_archive(campaign.archive))


def test_listing_and_epochs_make_the_plan(tmp_path: Path) -> None:
    write_listing(str(tmp_path / "a"))
    plan = planned(write_campaign(tmp_path, "a", f'epochs = "epochs.csv"\n{PRIORITY}'))
    every = list(range(DAYS))
    assert days_of(plan) == {
        GSC_BH: [0, 1, 2],
        GSC_HH: [3, 4, 5],
        ADO: every,  # the metadata have another location
        NEW: every,
        OLD: [0, 1],
    }
    assert (plan.station_days, plan.held) == (20, 3 + 2 + 3 + 1 + 2)
    assert plan.bytes == plan.held * 300
    found = plan.findings
    assert found.phantoms == [TraceId("CI", "ADO", "", "HH"), TraceId("CI", "GONE", "", "BH")]
    assert (found.phantom_stations, found.unknown_stations) == (["CI.GONE"], ["CI.NEW"])
    assert found.unknown == [ADO, GSC_EN, NEW]
    assert (found.outside_epochs, found.not_chosen) == ({"CI.OLD": 2}, 6)
    assert {name: (t.planned, t.held) for name, t in found.choices.items()} == {
        "--.BH": (3 + 6 + 2, 3 + 1 + 2),
        "--.HH": (3, 2),
        "10.HH": (6, 3),
    }
    assert [name for name, _ in found.worst(2)] == ["CI.NEW", "CI.ADO"]
    assert plan.station_days == sum(tally.planned for tally in found.stations.values())


def test_without_metadata_and_priority_every_band_is_planned_on_every_day(tmp_path: Path) -> None:
    write_listing(str(tmp_path / "a"))
    plan = planned(write_campaign(tmp_path, "a"))
    mine = [trace for trace in LISTED if trace.network == "CI"]
    assert plan.days is None and plan.station_days == len(mine) * DAYS
    assert plan.held == sum(len(LISTED[trace]) for trace in mine)
    assert "days" not in plan.to_json([]), "identities of plans that have all days stay"
    other = planned(write_campaign(tmp_path, "a", PRIORITY))
    assert other.run_id([]) != plan.run_id([])


def test_a_location_by_priority(tmp_path: Path) -> None:
    first, second = TraceId("CI", "LOC", "", "HH"), TraceId("CI", "LOC", "00", "HH")
    write_listing(str(tmp_path / "a"), {first: (0, 3), second: (1, 2, 3, 4)})
    plan = planned(write_campaign(tmp_path, "a", 'locations = ["--", "00"]'))
    assert days_of(plan) == {first: [0, 3], second: [1, 2, 4, 5]}


def test_the_forecast_is_shown_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_listing(str(tmp_path / "a"))
    select = f'epochs = "epochs.csv"\n{PRIORITY}'
    path = write_campaign(tmp_path, "a", select)
    path.write_text(path.read_text().replace('["CI.*"]', '["CI.*", "XX.*"]'))
    assert main(["plan", str(path), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["stations"], facts["traces"], facts["hit_rate"]) == (4, 5, 0.55)
    assert facts["networks"] == {"CI": {"planned": 20, "held": 11, "hit_rate": 0.55}}
    assert facts["worst_stations"]["CI.NEW"] == {"planned": 6, "held": 1, "hit_rate": 0.1667}
    assert facts["unmatched"] == ["XX.*"]
    seconds = 11 * 2 * CPU_SECONDS / 2
    assert facts["estimated_hours_on_cpus"] == round(seconds / 3600, 3) > 0
    assert facts["estimated_cost"] == pytest.approx(seconds)
    assert "11 held station-days" in facts["estimate"] and "1.6" in facts["estimate"]
    assert main(["plan", str(path)]) == 0
    shown = capsys.readouterr().out
    for words in ("CI.GONE", "CI.NEW", "CI.ADO.10.HH", "55.0%", "--.BH", "XX.*", "16.7%"):
        assert words in shown, words
    assert not (tmp_path / "catalog").exists()


def test_what_an_earthscope_listing_cannot_say_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a/CI/2020/058").mkdir(parents=True)
    (tmp_path / "a/CI/2020/058/GSC.CI.2020.058").write_bytes(b"")
    (tmp_path / "a/CI/2020/058/NEW.CI.2020.058").write_bytes(b"<html>")
    path = write_campaign(tmp_path, "a", 'epochs = "epochs.csv"', kind="earthscope")
    assert main(["plan", str(path), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["station_days_held"], facts["traces"]) == (2, 2), "GSC's bands are its epochs'"
    assert [*facts["unreadable"]] == ["CI/2020/058/NEW.CI.2020.058"]
    assert "epochs" in facts["notes"][0] and "headers of 0 objects" in facts["notes"][0]
    path = write_campaign(tmp_path, "a", kind="earthscope")
    assert main(["plan", str(path), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["station_days_held"] == len(facts["unreadable"]) == 2, "both days are planned"


def test_a_job_carries_its_epochs(tmp_path: Path) -> None:
    write_listing(str(tmp_path / "a"))
    path = write_campaign(tmp_path, "a", f'epochs = "*.csv"\n{PRIORITY}')
    (tmp_path / "job").mkdir()
    packed = pack(load_campaign(path), tmp_path / "job")
    again = planned(packed)
    assert again == planned(path) and again.days is not None
    assert load_campaign(packed).select.epochs == str(tmp_path / "job" / "epochs")


def scedc_recordings(root: str, folder: Path) -> None:
    """CI.GSC changes from BH to HH, the third day has both, the fifth none. CI.ADO has HH
    throughout, BH now and then."""
    rng = np.random.default_rng(7)
    ado_bh, ado_hh = TraceId("CI", "ADO", "", "BH"), TraceId("CI", "ADO", "", "HH")
    held = {GSC_BH: (0, 1, 2), GSC_HH: (2, 3, 5), ado_bh: (0, 5), ado_hh: (0, 1, 2, 3, 4, 5)}
    recordings: list[Recording] = []
    for trace, days in held.items():
        for day in days:
            start = day_start_ns(START + timedelta(days=day)) + 3600 * 10**9
            recordings.append(station_day(trace, start, 90.0, 120.0, rng))
    write_sds(folder, recordings)
    store = open_store(root)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        named = SDS.parse(str(path.relative_to(folder)))
        assert named is not None
        store.create(SCEDC.key(named), path.read_bytes())


@pytest.mark.slow
def test_a_campaign_over_a_public_archive_has_an_outcome_for_every_planned_day(
    s3: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From plan to status, on the endpoint: bands by priority, the change, the lost day."""
    root = s3.url("continuous_waveforms")
    scedc_recordings(root, tmp_path / "sds")
    path = write_campaign(tmp_path, root, PRIORITY)
    assert main(["plan", str(path), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["station_days"], facts["station_days_held"]) == (12, 11)
    assert facts["choices"]["--.BH"]["planned"] == 2 and facts["held_not_chosen"] == 3

    assert main(["run", str(path), "--json"]) == 0
    ran = json.loads(capsys.readouterr().out)
    assert (ran["planned"], ran["left"], ran["state"]) == (24, 0, "complete")
    assert ran["outcomes"] == {"picked": 22, "no_data": 2}
    rows = Catalog(str(tmp_path / "catalog")).sql(
        "SELECT station, band, day, outcome FROM coverage WHERE candidate = 'early' ORDER BY ALL"
    )
    found = [
        (r["station"], r["band"], (r["day"] - START).days, r["outcome"]) for r in rows.to_pylist()
    ]
    assert found == [
        *(("ADO", "HH", day, "picked") for day in range(6)),
        ("GSC", "BH", 0, "picked"),
        ("GSC", "BH", 1, "picked"),
        ("GSC", "HH", 2, "picked"),
        ("GSC", "HH", 3, "picked"),
        ("GSC", "HH", 4, "no_data"),
        ("GSC", "HH", 5, "picked"),
    ]
    assert main(["status", str(tmp_path / "catalog"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["left"] == 0
    assert main(["run", str(path), "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert (again["run"], again["done_now"], again["already_committed"]) == (ran["run"], 0, 24)

    path = write_campaign(tmp_path, root)  # every band for itself, into the same catalogue
    assert main(["run", str(path), "--json"]) == 0
    wider = json.loads(capsys.readouterr().out)
    assert (wider["already_committed"], wider["done_now"]) == (24, 2 * (4 * DAYS) - 24)
    assert main(["status", str(tmp_path / "catalog"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["left"] == 0


def test_archive_config_is_kept_in_the_campaign(tmp_path: Path) -> None:
    path = write_campaign(tmp_path, "x")
    text = path.read_text().replace('root = "x"\n', 'profile = "mine"\n')
    path.write_text(text)
    archive = load_campaign(path).archive
    assert archive == ArchiveConfig.model_validate({"kind": "scedc", "profile": "mine"})
    assert archive.root.startswith("s3://scedc-pds/")


def test_objects_that_are_named_for_no_station_day_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Day 367, and other layouts; channels that are never read are no news."""
    write_listing(str(tmp_path / "a"))
    store, folder = open_store(str(tmp_path / "a")), "2020/2020_060"
    for name in (
        "CIGSC__BHZ___2020367.ms",
        "CIGSC__BhZ___2020060.ms",
        "CIGSC.2020.060",
        "CIX notes.txt",
        "CIX.zip",
    ):
        store.create(f"{folder}/{name}", b"x")
    store.create(f"{folder}/CIGSC__LOG___2020060.ms", b"x")
    path = write_campaign(tmp_path, "a")
    assert main(["plan", str(path), "--json"]) == 0
    [note] = json.loads(capsys.readouterr().out)["notes"]
    assert "no station-day of this layout: 5, " in note and note.endswith(", ...")
    assert f"{folder}/CIGSC__BHZ___2020367.ms" in note and "LOG" not in note
    path = write_campaign(tmp_path, "a", kind="geonet")
    path.write_text(path.read_text().replace('["CI.*"]', '["NZ.*"]'))
    assert main(["plan", str(path)]) == 2
    assert "none of ['NZ.*'] matches" in capsys.readouterr().err
    write_listing(str(tmp_path / "b"), {NEW: (4,)})
    for each in sorted((tmp_path / "b").rglob("*.ms")):
        each.rename(each.with_suffix(".mseed"))
    assert main(["plan", str(write_campaign(tmp_path, "b"))]) == 2
    assert "no station-day of this layout: 3, " in capsys.readouterr().err
