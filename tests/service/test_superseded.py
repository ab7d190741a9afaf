"""An archive that gains a preferred band between two runs of a campaign: one band a day counts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from catalog.query import Catalog
from catalog.runs import write_run_record
from catalog.schema import TraceId, day_start_ns
from service.campaign import Compute, load_campaign
from service.cli import main
from service.outstanding import outstanding
from service.prepare import prepare
from service.provenance import provenance
from service.status import read_status
from service.stop_loss import StopLoss
from workers.picker import Picker
from workers.synthetic import station_day, write_sds

FIRST = date(2024, 3, 1)

CAMPAIGN = """\
name = "{name}"
catalog = "catalog"
[archive]
kind = "{kind}"
root = "archive"
[select]
stations = ["XX.*"]
start = 2024-03-01
end = 2024-03-03
{bands}
[[candidate]]
name = "synthetic"
weights = "builtin:synthetic"
"""


def record(root: Path, station: str, band: str, *days: int) -> None:
    """Forty seconds at six in the morning of some days of March, with earthquakes."""
    trace = TraceId("XX", station, "", band)
    for day in days:
        start = day_start_ns(date(2024, 3, day)) + 6 * 3600 * 10**9
        write_sds(root, [station_day(trace, start, 60.0, 200.0, np.random.default_rng(day))])


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., str]:
    """Picks the campaign as it stands, in this process, at most so many shards; gives the run."""
    record(tmp_path / "archive", "ONE", "BH", 1, 2)
    record(tmp_path / "archive", "TWO", "BH", 1, 2)
    count = iter(range(9))

    def go(
        shards: int = 99,
        bands: str = 'bands = ["HH", "BH"]',
        name: str = "growing",
        kind: str = "sds",
    ) -> str:
        path = tmp_path / "campaign.toml"
        path.write_text(CAMPAIGN.format(bands=bands, name=name, kind=kind))
        prepared = prepare(load_campaign(path))
        of_run = prepared.store, prepared.assignment.run, f"i{next(count)}"
        write_run_record(*of_run, "start", provenance(prepared, {}, str(path)))
        picker = Picker(prepared.assignment)
        asked = prepared.plan, prepared.assignment.candidates, prepared.store
        for work in islice(outstanding(*asked, prepared.plan.months()), shards):
            picker.pick(work)
        facts = {"state": "stopped", "done": 1, "picks": 1, "seconds": 3600.0, "rate": 0.0}
        write_run_record(*of_run, "end", facts)
        return prepared.assignment.run

    return go


def bands(url: str, view: str = "coverage") -> list[tuple[Any, ...]]:
    day = "day" if view != "picks" else "time::DATE"
    rows = Catalog(url).sql(f"SELECT DISTINCT station, {day} AS d, band FROM {view} ORDER BY ALL")
    return [(row["station"], row["d"].day, row["band"]) for row in rows.to_pylist()]


ALL_BH = [("ONE", 1, "BH"), ("ONE", 2, "BH"), ("TWO", 1, "BH"), ("TWO", 2, "BH")]
ONE_HH = [("ONE", 1, "HH"), *ALL_BH[1:]]


def test_a_later_plan_supersedes(
    run: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = str(tmp_path / "catalog")
    first = run(shards=3)  # TWO of the second day is left
    assert read_status(url)["left"] == 1 and bands(url) == ALL_BH[:3]

    def plan_says() -> dict[str, Any]:
        assert main(["plan", str(tmp_path / "campaign.toml"), "--json"]) == 0
        return dict(json.loads(capsys.readouterr().out))

    assert (plan_says()["supersedes"], plan_says()["notes"]) == ([], [])
    record(tmp_path / "archive", "ONE", "HH", 1)
    facts = plan_says()
    assert facts["supersedes"] == [first] and "would take the place" in facts["notes"][0]
    second = run(shards=0)
    assert plan_says()["supersedes"] == [], "it has taken it"
    assert second != first and Catalog(url).superseded == {first: second}
    assert bands(url) == ALL_BH[:3], "nothing gives way before there is something to give way to"
    assert read_status(url)["left"] == 2

    assert run() == second
    assert bands(url) == bands(url, "picks") == ONE_HH
    assert bands(url, "superseded") == [("ONE", 1, "BH")]
    status = read_status(url)
    assert (status["left"], status["lost"], status["gave_way"]) == (0, 0, 1)
    states = {
        row["run"]: (row["state"], row["resume"], row["superseded_by"]) for row in status["runs"]
    }
    assert states == {first: ("superseded", None, second), second: ("complete", None, None)}
    assert main(["status", url]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"a later plan of this campaign took its place: {second[:12]}" in shown
    assert "1 more gave way to the bands of a later plan" in shown

    limit = StopLoss(Compute(max_hours=2.9), Catalog(url).store, "growing")  # type: ignore[call-arg]
    assert limit.reached() == "compute.max_hours 2.9 reached: it took 3 h"

    (tmp_path / "archive/2024/XX/ONE/HHZ.D").rename(tmp_path / "gone")
    for letter in "NE":
        (tmp_path / f"archive/2024/XX/ONE/HH{letter}.D").rename(tmp_path / f"gone{letter}")
    assert run() == first, "the latest invocation says which plan stands; nothing was deleted"
    assert bands(url) == bands(url, "picks") == ALL_BH
    assert bands(url, "superseded") == [("ONE", 1, "HH")]


def test_bands_that_are_picked_each_for_itself_stand_side_by_side(
    run: Callable[..., str], tmp_path: Path
) -> None:
    url = str(tmp_path / "catalog")
    run(bands="")
    record(tmp_path / "archive", "ONE", "HH", 1)
    run(bands="")
    assert set(bands(url)) > {*ALL_BH, ("ONE", 1, "HH")}
    assert set(bands(url, "picks")) == {*ALL_BH, ("ONE", 1, "HH")}
    assert bands(url, "superseded") == []


def test_another_campaign_stands_beside(run: Callable[..., str], tmp_path: Path) -> None:
    """It has a name of its own: both were wanted."""
    url = str(tmp_path / "catalog")
    run(shards=3)
    record(tmp_path / "archive", "ONE", "HH", 1)
    run(name="another")
    assert Catalog(url).superseded == {} and bands(url, "superseded") == []
    assert bands(url) == sorted([*ALL_BH, ("ONE", 1, "HH")])


@pytest.mark.parametrize("chosen", ["", 'bands = ["HH", "BH"]'])
@pytest.mark.parametrize(("most", "outcome"), [(None, "picked"), (512, "too_short")])
def test_what_nobody_could_tell_the_band_of_gives_way_to_whatever_is_told(
    run: Callable[..., str], tmp_path: Path, chosen: str, most: int | None, outcome: str
) -> None:
    """Objects of whole stations, which become readable, for one station of two."""
    url, root = str(tmp_path / "catalog"), tmp_path / "archive"
    bodies = {}
    for station in ("ONE", "TWO"):
        for day in ("061", "062"):
            parts = [path.read_bytes()[:most] for path in root.rglob(f"XX.{station}.*.{day}")]
            bodies[root / f"XX/2024/{day}/{station}.XX.2024.{day}"] = b"".join(parts)
    shutil.rmtree(root)
    for path in bodies:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"<html>maintenance</html>")
    run(bands=chosen, kind="earthscope")
    untold = [("ONE", 1, ""), ("ONE", 2, ""), ("TWO", 1, ""), ("TWO", 2, "")]
    assert bands(url) == untold
    for path, body in bodies.items():
        if path.name.startswith("ONE"):
            path.write_bytes(body)
    run(bands=chosen, kind="earthscope")
    assert bands(url) == [("ONE", 1, "BH"), ("ONE", 2, "BH"), *untold[2:]]
    status = read_status(url)
    assert (status["left"], status["gave_way"]) == (0, 2)
    rows = Catalog(url).sql("SELECT DISTINCT outcome FROM coverage WHERE station = 'ONE'")
    assert rows.to_pylist() == [{"outcome": outcome}]
