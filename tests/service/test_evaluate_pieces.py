"""What evaluations ask of station-days, piece by piece: each once, by whomever, whatever dies."""

import json
import shutil
import time
from collections import Counter
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

import service.evaluate.days.station_days as station_days
import service.evaluate.pieces as pieces
import workers.actor
from catalog.schema import StationDay, TraceId, day_start_ns
from catalog.store import AccessDenied, LocalStore
from service.cli import main
from service.evaluate.config import load_evaluation
from service.evaluate.days.continuous import Judged
from service.evaluate.days.shifts import shifts_of
from service.evaluate.days.station_days import StationDays
from service.evaluate.noise.search import noise_of
from service.evaluate.pieces import Workbench
from service.evaluate.pool import HUNG, Over, examined
from service.evaluate.tables import kept
from tests.service.examiners import killing
from tests.service.picking import pick
from tests.service.test_evaluate_days import CAMPAIGN, SYNTHETIC
from workers.examiner import Examiner
from workers.synthetic import network_days, write_sds

TRACES = [TraceId("XX", name, "", "HH") for name in "AB"]
DAYS = [date(2024, 3, 1), date(2024, 3, 3)]
"""Apart, for a day is read with what its neighbours hold next to it."""
PIECES = len(TRACES) * len(DAYS)

EVALUATION = """\
name = "e"
out = "{out}"
threshold = 0.3
{candidates}
[noise]
catalog = "catalog"
events = "none.csv"
stations = "stations.csv"
windows_per_hour = 120
[continuous]
catalog = "catalog"
arrivals = ["truth.parquet"]
shifts = 2
"""

Told = list[pa.Table]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four station-days of some minutes each, picked by two candidates."""
    tmp_path = tmp_path_factory.mktemp("days")
    rng, parts = np.random.default_rng(5), []
    for day in DAYS:
        recordings = network_days(TRACES, day_start_ns(day), 400.0, 60.0, rng, None, 0)
        write_sds(tmp_path / "archive", recordings)
        parts += [recording.arrivals for recording in recordings]
    pq.write_table(pa.concat_tables(parts), tmp_path / "truth.parquet")
    (tmp_path / "stations.csv").write_text(
        "network,station,latitude,longitude\n"
        + "".join(f"XX,{trace.station},10.{k},20\n" for k, trace in enumerate(TRACES))
    )
    (tmp_path / "none.csv").write_text("time,latitude,longitude,depth,mag\n")
    (tmp_path / "campaign.toml").write_text(
        CAMPAIGN.format(
            kind="sds", root="archive", start=DAYS[0], end="2024-03-04", candidates=SYNTHETIC
        )
    )
    pick(tmp_path / "campaign.toml")
    return tmp_path


@pytest.fixture
def path(folder: Path, tmp_path: Path) -> Path:
    """An evaluation file, whose tables are the test's own."""
    path = folder / f"{tmp_path.name}.toml"
    path.write_text(EVALUATION.format(out=tmp_path / "out", candidates=SYNTHETIC))
    return path


@pytest.fixture
def tell(path: Path, tmp_path: Path) -> Callable[..., Told]:
    """All that is asked of the station-days, the pieces below a folder of their own."""
    evaluation = load_evaluation(path)

    def told(where: str, workers: int = 1) -> Told:
        compute = evaluation.compute.model_copy(update={"workers": workers})
        update = {"traces": str(tmp_path / where), "compute": compute}
        bench = Workbench.of(evaluation.model_copy(update=update), Console(quiet=True))
        assert evaluation.noise is not None
        days = StationDays.open(evaluation.noise.catalog, evaluation.candidate, "noise")
        windows, why = noise_of(evaluation.noise, days, bench)
        judged = Judged.of(evaluation, path, bench)
        shifts, lost = shifts_of(
            judged.days, judged.arrivals, evaluation.candidate, 2, evaluation.seed, bench
        )
        assert bench.tell_unfinished() == 0
        return [
            windows,
            counted(why),
            judged.arrivals,
            counted(judged.left_out),
            shifts,
            counted(lost),
        ]

    return told


def counted(why: Counter[str]) -> pa.Table:
    return pa.table({"why": sorted(why), "count": [why[each] for each in sorted(why)]})


def same(one: Told, other: Told) -> bool:
    return all(a.equals(b, check_metadata=True) for a, b in zip(one, other, strict=True))


def test_a_run_that_is_killed_again_and_again_does_each_piece_once(tell, monkeypatch):
    whole = tell("undisturbed")
    assert all(whole[k].num_rows for k in (0, 2, 4)), "windows, arrivals, shifts"
    done: list[str] = []
    examine, left = Examiner.examine, 0

    def killed(self, task):
        nonlocal left
        if left == 0:
            raise KeyboardInterrupt
        left -= 1
        why = examine(self, task)
        done.extend(task.keys.values())
        return why

    monkeypatch.setattr(Examiner, "examine", killed)
    runs, told = 0, None
    while told is None:
        runs, left = runs + 1, 4
        try:
            told = tell("killed")
        except KeyboardInterrupt:
            assert runs < 9
    assert runs == -(-3 * PIECES // 4)
    assert len(done) == len(set(done)) == 4 * PIECES, "shifts have a table of each candidate"
    assert same(told, whole)
    left = 0
    assert same(tell("killed"), whole), "read back, and nothing run"


def test_what_cannot_be_read_is_told_and_looked_at_again(folder, tell):
    whole = tell("undisturbed")
    held = {each: each.read_bytes() for each in (folder / "archive").rglob("XX.B.*.063")}
    assert len(held) == 3
    for each in held:
        each.write_bytes(b"<html>503 slow down</html>" * 40)
    windows, why, arrivals, left_out, shifts, lost = tell("damaged")
    there = windows.to_pylist()
    assert not [r for r in there if r["station"] == "B" and r["start"].day == 3]
    assert [r for r in there if r["station"] == "B" and r["start"].day == 1]
    reasons = dict(zip(*why.to_pydict().values(), strict=True))
    [(reason, count)] = [each for each in reasons.items() if "cannot be read" in each[0]]
    assert count == 1 and "XX.B..HH" in reason
    [(reason, count)] = [
        each for each in zip(*left_out.to_pydict().values(), strict=True) if "cannot" in each[0]
    ]
    assert count == whole[2].num_rows - arrivals.num_rows > 0
    assert "XX.B..HH" in reason and lost.num_rows == 0 and shifts.num_rows
    for each, body in held.items():
        each.write_bytes(body)
    assert same(tell("damaged"), whole)


def test_an_arrival_beside_a_day_that_is_refused_costs_no_other(
    folder, path, tmp_path, monkeypatch
):
    """The archive lists objects of the day before, which may not be read."""
    evaluation = load_evaluation(path)
    assert evaluation.noise is not None
    days = StationDays.open(evaluation.noise.catalog, evaluation.candidate, "continuous")
    early, inside = (day_start_ns(DAYS[0]) + s * 10**9 for s in (2, 100))
    codes = {"network": "XX", "station": "A", "location": "", "phase": "P"}
    stamps = pa.array([early, inside], pa.timestamp("ns", tz="UTC"))
    arrivals = pa.Table.from_pylist([codes, codes]).append_column("time", stamps)

    def told(where, arrivals):
        update = {"traces": str(tmp_path / where)}
        bench = Workbench.of(evaluation.model_copy(update=update), Console(quiet=True))
        return shifts_of(days, arrivals, evaluation.candidate, 2, 0, bench)

    whole, why = told("whole", arrivals)
    assert not why and whole.num_rows == 2 * 2 * 2
    refused = []
    for own in (folder / "archive").rglob("XX.A.*.061"):
        refused.append(shutil.copy(own, own.with_suffix(".060")))
    fetch = LocalStore.fetch_part

    def refuse(self, key, *rest, **more):
        if key.endswith(".060"):
            raise AccessDenied(13, f"access denied: {key}")
        return fetch(self, key, *rest, **more)

    monkeypatch.setattr(LocalStore, "fetch_part", refuse)
    for _ in ("made", "read back"):
        shifts, why = told("refused", arrivals)
        assert set(shifts["time"].cast("int64").to_pylist()) == {inside}
        assert shifts.num_rows == 2 * 2
        assert [(n, "access denied" in each) for each, n in why.items()] == [(1, True)]
    lost, why = told("lost", arrivals.slice(0, 1))
    assert not lost.num_rows and [*why.values()] == [1]
    for each in refused:
        each.unlink()
    assert told("lost", arrivals.slice(0, 1))[0].num_rows == 2 * 2, "it is looked at again"


def test_a_day_picked_in_another_catalogue_or_to_another_meaning_is_another(
    folder, path, tmp_path, monkeypatch
):
    """The same campaign: its runs have one name, and both begin with generation 0."""
    day = StationDay(TRACES[0], DAYS[0])
    evaluation = load_evaluation(path)
    assert evaluation.noise is not None
    one, other = evaluation.noise.catalog, str(tmp_path / "other")

    def version(url):
        days = StationDays.open(url, evaluation.candidate, "continuous")
        return days.held[day], days.picked(day).version

    again = folder / f"{tmp_path.name}.campaign.toml"
    campaign = (folder / "campaign.toml").read_text()
    again.write_text(campaign.replace('catalog = "catalog"', f'catalog = "{other}"'))
    pick(again)
    first, second = version(one), version(other)
    assert first[0] == second[0] and first[1] != second[1] and version(one) == first
    monkeypatch.setattr(station_days, "SEMANTICS_VERSION", 99)
    assert version(one)[1] != first[1]


def test_what_a_lost_worker_left_undone_is_told_and_made_by_the_next_report(
    path, tmp_path, monkeypatch, capsys
):
    out = tmp_path / "out"

    def losing(examination, tasks, compute, address):
        lost, *rest = tasks
        yield Over(lost, "after 3 attempts: its worker died", lost=True)
        yield from examined(examination, rest, compute, address)

    monkeypatch.setattr(pieces, "examined", losing)
    assert main(["eval", "report", str(path)]) == 1
    told = capsys.readouterr()
    assert "XX.A..HH 2024-03-01: after 3 attempts" in told.err
    why = [row["why"] for row in table(out, "noise_why").to_pylist()]
    assert [each for each in why if "no worker finished" in each]
    assert "unfinished" in table(out, "provenance")["name"].to_pylist()
    monkeypatch.undo()
    assert main(["eval", "report", str(path)]) == 0
    assert "unfinished" not in table(out, "provenance")["name"].to_pylist()
    again = [row["why"] for row in table(out, "noise_why").to_pylist()]
    assert not [each for each in again if "no worker finished" in each]
    assert table(out, "arrivals_left_out").num_rows == 0


def table(out: Path, name: str) -> pa.Table:
    found = kept(out, name)
    assert found is not None, name
    return found


@pytest.mark.parametrize("what", ["noise", "continuous", "audit", "report"])
def test_every_part_that_reads_waveforms_joins_the_cluster_that_is_named(path, capsys, what):
    code = main(["eval", what, str(path), "--json", "--address", "127.0.0.1:1"])
    assert code == (1 if what == "report" else 2), "the report's page says what is missing"
    told = capsys.readouterr()
    said = told.err if what == "report" else json.loads(told.out)["error"]
    assert "no Ray cluster answers there" in " ".join(said.split())


@pytest.mark.slow
def test_two_workers_of_which_one_is_killed_tell_what_one_process_tells(tell, monkeypatch):
    """Killed once while noise is looked for, once at the arrivals, once in other windows."""
    whole = tell("one")
    assert same(tell("two", workers=2), whole)
    deaths: list[list[int]] = []

    def dying(*arguments):
        deaths.append([])
        return killing(deaths[-1])(*arguments)

    monkeypatch.setattr(pieces, "examined", dying)
    assert same(tell("killed", workers=2), whole)
    assert [len(each) for each in deaths] == [1, 1, 1]


@pytest.mark.slow
def test_a_reading_that_never_ends_costs_its_own_piece_alone(path, tmp_path, capsys, monkeypatch):
    import ray

    silent = "XX.B..HH 2024-03-03"

    class Deaf(workers.actor._ExamineActor):  # pickled by value, being local
        def examine(self, task):
            if silent in task.name:
                time.sleep(3600)
            return super().examine(task)

    with path.open("a") as more:
        more.write("[compute]\nworkers = 2\nmax_attempts = 2\npatience_minutes = 0.1\n")
    with monkeypatch.context() as patch:
        patch.setattr(workers.actor, "ExamineActor", ray.remote(Deaf))
        assert main(["eval", "noise", str(path)]) == 1
    told = capsys.readouterr().err
    assert f"{silent}: after 2 attempts: {HUNG.format(0.1)}" in told

    def noisy():
        rows = table(tmp_path / "out", "noise_windows").to_pylist()
        return {(row["station"], row["start"].day) for row in rows}

    assert noisy() == {("A", 1), ("A", 3), ("B", 1)}
    assert main(["eval", "noise", str(path)]) == 0
    assert noisy() == {("A", 1), ("A", 3), ("B", 1), ("B", 3)}
