"""An object that told nothing when a run was planned is mended: what it holds is picked then."""

from __future__ import annotations

import json
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from catalog.query import Catalog
from service import provenance
from service.cli import main
from service.dispatch import Dispatch
from service.status import read_status

Standing = Counter[tuple[str, int, str, int]]


OWN = ["generation", "run", "shard"]
"""What a row says of how it came about."""


@pytest.fixture
def spoilt(new_trial: Callable[[], Any], tmp_path: Path) -> Any:
    """A trial of a `files` archive of its own, whose objects the test may spoil."""
    trial = new_trial()
    trial.kind = "files"
    trial.archive = shutil.copytree(trial.archive, tmp_path / "archive")
    return trial


def spoil(trial: Any, pattern: str) -> Callable[[], None]:
    """Objects become web pages, until what is returned is called."""
    bodies = {path: path.read_bytes() for path in trial.archive.glob(pattern)}
    assert bodies
    for path in bodies:
        path.write_bytes(b"<html>maintenance</html>")

    def mend() -> None:
        for path, body in bodies.items():
            path.write_bytes(body)

    return mend


def standing(trial: Any) -> Standing:
    rows = trial.rows()["coverage"]
    return Counter((r["station"], r["day"].day, r["outcome"], r["generation"]) for r in rows)


@pytest.fixture(scope="module")
def of_whole_files(new_trial: Callable[[], Any]) -> Any:
    """The campaign over the same `files` archive, run once, with nothing spoilt."""
    trial = new_trial()
    trial.kind = "files"
    trial.complete()
    return trial


@pytest.mark.parametrize("named", [100, 1])
@pytest.mark.parametrize("day", [1, 2])
def test_once_it_is_mended_what_was_picked_without_it_is_picked_again(
    spoilt: Any,
    of_whole_files: Any,
    day: int,
    named: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Also the day beside it, and where the record of the first run names only one of two."""
    monkeypatch.setattr(provenance, "UNLOOKED", named)
    mend = spoil(spoilt, f"2024/XX/ONE/HH[NZ].D/*.{60 + day:03d}")
    command = ["run", str(spoilt.campaign()), "--json"]

    def run(code: int, done: int) -> None:
        assert main(command) == code
        facts = json.loads(capsys.readouterr().out)
        assert (facts["done_now"], facts["left"]) == (done, 0)
        assert main(["status", spoilt.url]) == code, "status agrees"
        capsys.readouterr()

    run(1, sum(standing(of_whole_files).values()))
    assert {row["n_components"] for row in rows_of(spoilt, "ONE", day)} == {1}
    run(1, 0)
    mend()
    run(0, 4)
    assert spoilt.rows(OWN) == of_whole_files.rows(OWN)
    again = {key for key in standing(spoilt) if key[3]}
    assert again == {("ONE", day, "picked", 1), ("ONE", 3 - day, "picked", 1)}
    run(0, 0)


def test_what_told_nothing_when_there_was_nothing_to_do_is_known_too(
    spoilt: Any, of_whole_files: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """A component that comes after the run, and cannot be looked into at first."""
    (path,) = spoilt.archive.glob("2024/XX/ONE/HHE.D/*.061")
    body = path.read_bytes()
    path.unlink()

    def run(code: int) -> int:
        assert main(["run", str(spoilt.campaign()), "--json"]) == code
        done: int = json.loads(capsys.readouterr().out)["done_now"]
        assert main(["status", spoilt.url]) == code
        capsys.readouterr()
        return done

    assert run(0) == sum(standing(of_whole_files).values())
    path.write_bytes(b"<html>maintenance</html>")
    assert [run(1), run(1)] == [0, 0]
    assert len(Catalog(spoilt.url).sql("FROM runs")) == 2, "the same again is no news"
    path.write_bytes(body)
    assert [run(0), run(0)] == [4, 0]
    assert spoilt.rows(OWN) == of_whole_files.rows(OWN)
    path.write_bytes(b"<html>maintenance</html>")
    assert run(1) == 0
    path.unlink()
    assert run(0) == 0, "and status says no more of what is gone"


def test_a_run_that_is_killed_between_them_leaves_the_rest_due(
    spoilt: Any, of_whole_files: Any
) -> None:
    mend = spoil(spoilt, "2024/XX/ONE/HH[NZ].D/*.061")
    spoilt.complete()
    mend()
    assert spoilt.run("after", "commits/", 2).code == -signal.SIGKILL
    (run,) = read_status(spoilt.url)["runs"]
    assert run["unlooked"] == 2 and not run["left"], "status knows that it is not over"
    spoilt.complete()
    assert spoilt.rows(OWN) == of_whole_files.rows(OWN)
    assert spoilt.complete().won == 0


def test_a_station_that_told_nothing_is_planned_when_it_tells_something(
    spoilt: Any, of_whole_files: Any
) -> None:
    """Its plan is another run, which finds what the first one could not know."""
    mend = spoil(spoilt, "2024/XX/TWO/*/*")
    also = spoil(spoilt, "2024/XX/ONE/HHE.D/*.062")
    spoilt.complete()
    assert {station for station, *_ in standing(spoilt)} == {"ONE"}
    mend()
    also()
    spoilt.complete()
    assert spoilt.rows(OWN) == of_whole_files.rows(OWN)
    assert spoilt.complete().won == 0


def test_objects_of_one_name_in_two_folders_are_two(spoilt: Any, of_whole_files: Any) -> None:
    for component, name in (("Z", "one.ms"), ("N", "deeper/one.ms")):
        (path,) = spoilt.archive.glob(f"2024/XX/ONE/HH{component}.D/*.061")
        (spoilt.archive / name).parent.mkdir(exist_ok=True)
        path.rename(spoilt.archive / name)
    mend = spoil(spoilt, "one.ms")
    spoilt.complete()
    mend()
    spoilt.complete()
    assert spoilt.rows(OWN) == of_whole_files.rows(OWN)


def test_a_day_that_was_of_no_use_without_it_is_picked(
    spoilt: Any, new_trial: Callable[[], Any]
) -> None:
    """U and V alone are bad_format; W is mended."""
    for component, tilted in zip("ZNE", "WVU", strict=True):
        for path in spoilt.archive.glob(f"2024/XX/ONE/HH{component}.D/*"):
            body = path.read_bytes()
            path.write_bytes(body.replace(f"HH{component}".encode(), f"HH{tilted}".encode()))
    fresh = new_trial()
    fresh.kind, fresh.archive = "files", spoilt.archive
    fresh.complete()
    mend = spoil(spoilt, "2024/XX/ONE/HHZ.D/*.061")
    spoilt.complete()
    assert {row["outcome"] for row in rows_of(spoilt, "ONE", 1)} == {"bad_format"}
    mend()
    spoilt.complete()
    assert spoilt.rows(OWN) == fresh.rows(OWN)
    assert spoilt.complete().won == 0


def test_what_breaks_after_it_was_planned_is_picked_once_it_is_mended(
    spoilt: Any,
    of_whole_files: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    mends: list[Callable[[], None]] = []

    class Spoiling(Dispatch):
        def __iter__(self) -> Iterator[Any]:
            mends.append(spoil(spoilt, "2024/XX/ONE/HHZ.D/*.061"))
            return super().__iter__()

    def run(code: int) -> int:
        assert main(["run", str(spoilt.campaign()), "--json"]) == code
        done: int = json.loads(capsys.readouterr().out)["done_now"]
        return done

    with monkeypatch.context() as patch:
        patch.setattr("service.run.Dispatch", Spoiling)
        assert run(0) == sum(standing(of_whole_files).values())
    assert {row["n_components"] for row in rows_of(spoilt, "ONE", 1)} == {2}
    assert run(1) == 0, "it is seen to tell nothing"
    for mend in mends:
        mend()
    assert [run(0), run(0)] == [4, 0]
    assert spoilt.rows(OWN) == of_whole_files.rows(OWN)


def test_what_comes_after_its_day_was_picked_is_told(
    spoilt: Any, new_trial: Callable[[], Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoilt.kind = "sds"
    fresh = new_trial()
    fresh.archive = shutil.copytree(spoilt.archive, tmp_path / "whole")
    fresh.complete()
    late = [path for path in spoilt.archive.glob("2024/XX/ONE/*/*.061") if path.is_file()]
    bodies = {path: path.read_bytes() for path in late}
    for path in late:
        path.unlink()

    def run(*also: str) -> tuple[int, int]:
        assert main(["run", str(spoilt.campaign()), *also, "--json"]) == 0
        out, err = capsys.readouterr()
        facts = json.loads(out)
        assert ("--retry no_data picks what has come" in err) == (facts["held_without_data"] > 0)
        return facts["done_now"], facts["held_without_data"]

    assert run() == (sum(standing(fresh).values()), 0)
    for path, body in bodies.items():
        path.write_bytes(body)
    assert run() == (0, 2)
    done, left = run("--retry", "no_data")
    assert done >= 2 and not left
    assert spoilt.rows(OWN) == fresh.rows(OWN)


def rows_of(trial: Any, station: str, day: int) -> Iterator[dict[str, Any]]:
    for row in trial.rows()["coverage"]:
        if (row["station"], row["day"].day) == (station, day):
            yield row
