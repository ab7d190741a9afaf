"""What was not to be had comes later: the catalogue is then that of a run which always had it."""

from __future__ import annotations

import shutil
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import obspy
import pytest

from catalog.schema import Flag, Outcome


def without(path: Path) -> None:
    path.unlink()


def a_web_page(path: Path) -> None:
    path.write_bytes(b"<html>maintenance</html>")


def of_another_station(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"ONE  ", b"OTHER"))


def at_17_hz(path: Path) -> None:
    (trace,) = obspy.read(path)
    trace.data = trace.data[: int(trace.stats.npts * 0.17)]
    trace.stats.sampling_rate = 17.0
    trace.write(str(path), format="MSEED", encoding="STEIM2")


def of_ten_seconds(path: Path) -> None:
    (trace,) = obspy.read(path)
    middle = trace.stats.starttime + (trace.stats.endtime - trace.stats.starttime) / 2
    trace.slice(middle, middle + 10).write(str(path), format="MSEED", encoding="STEIM2")


@pytest.mark.parametrize(
    ("spoil", "components", "retry", "outcome"),
    [
        (without, "ZNE", Outcome.NO_DATA, Outcome.NO_DATA),
        (a_web_page, "ZNE", Outcome.BAD_FORMAT, Outcome.BAD_FORMAT),
        (of_another_station, "ZNE", Outcome.BAD_FORMAT, Outcome.BAD_FORMAT),
        (at_17_hz, "ZNE", Outcome.WRONG_RATE, Outcome.WRONG_RATE),
        (of_ten_seconds, "ZNE", Outcome.TOO_SHORT, Outcome.TOO_SHORT),
        (a_web_page, "Z", Outcome.BAD_FORMAT, Outcome.PICKED),
    ],
)
@pytest.mark.parametrize("day", [1, 2])
def test_once_it_is_there_a_retry_brings_what_a_fresh_run_brings(
    new_trial: Callable[[], Any],
    undisturbed: Any,
    tmp_path: Path,
    spoil: Callable[[Path], None],
    components: str,
    retry: Outcome,
    outcome: Outcome,
    day: int,
) -> None:
    """The day itself and the one beside it, whose picks near midnight need it, also where the retry
    is killed between them; and then nothing is left to be retried of them."""
    trial = new_trial()
    whole = trial.archive
    trial.archive = shutil.copytree(whole, tmp_path / "archive")
    for component in components:
        (path,) = trial.archive.glob(f"2024/XX/ONE/HH{component}.D/*.{60 + day:03d}")
        spoil(path)
    trial.complete()

    def standing() -> Counter[tuple[int, str, int]]:
        rows = (row for row in trial.rows()["coverage"] if row["station"] == "ONE")
        return Counter((row["day"].day, row["outcome"], row["generation"]) for row in rows)

    beside = 3 - day
    assert standing() == {(day, str(outcome), 0): 2, (beside, "picked", 0): 2}
    assert trial.rows(["generation"]) != undisturbed.rows(["generation"])

    trial.complete(retry=[retry])
    assert standing() == {(day, str(outcome), 1): 2, (beside, "picked", 1): 2}, (
        "it is not there yet"
    )

    shutil.copytree(whole, trial.archive, dirs_exist_ok=True)
    assert trial.run("after", "commits/", 2, retry=[retry]).code == -signal.SIGKILL
    trial.complete(retry=[retry])
    assert trial.rows(["generation"]) == undisturbed.rows(["generation"])
    assert standing() == {(1, "picked", 2): 2, (2, "picked", 2): 2}
    trial.complete(retry=[retry])
    assert standing() == {(1, "picked", 2): 2, (2, "picked", 2): 2}, "and it is over"


def test_days_beside_damaged_records_are_not_picked_again_for_ever(
    new_trial: Callable[[], Any], tmp_path: Path
) -> None:
    trial = new_trial()
    trial.archive = shutil.copytree(trial.archive, tmp_path / "archive")
    for path in trial.archive.glob("2024/XX/ONE/HHZ.D/*.061"):
        path.write_bytes(path.read_bytes()[:-512] + bytes(512))
    trial.complete()
    rows = [row for row in trial.rows()["coverage"] if row["station"] == "ONE"]
    assert sum(bool(row["flags"] & Flag.HALO_LOST) for row in rows) == 2
    assert trial.complete(retry=["bad_format", "access_denied"]).won == 0
