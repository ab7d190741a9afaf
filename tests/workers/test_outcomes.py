"""Nothing silent: every kind of station-day ends with its outcome, its flags and its reason."""

import io
from collections.abc import Callable, Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from catalog.schema import DAY_NS, Flag, Outcome, Shard, StationDay, TraceId
from catalog.store import AccessDenied, LocalStore, Part
from tests.spans import pick_span
from workers.archives import Archive, ArchiveConfig, Holding, open_archive
from workers.candidate import Candidate
from workers.engines import open_engine
from workers.ingest import ingest
from workers.picked import Picked
from workers.pipeline import pick_shard
from workers.synthetic import Recording, sds_path, station_day, write_sds
from workers.weights import resolve

TRACE = TraceId("XX", "OUT", "", "HH")
DAY = StationDay(TRACE, date(2024, 3, 1))
SECONDS = 600.0


@pytest.fixture(scope="module")
def candidate() -> Candidate:
    weights = resolve("builtin:synthetic")
    return Candidate.of("c", [weights], open_engine("fast"), {"P": 0.1, "S": 0.1})


@pytest.fixture(scope="module")
def recording() -> Recording:
    return station_day(TRACE, DAY.start_ns, SECONDS, 60.0, np.random.default_rng(3))


def component(root: Path, name: str) -> Path:
    return sds_path(root, TRACE, name, DAY.start_ns)


def picked(root: Path, candidate: Candidate) -> Picked:
    """The station-day as a shard's work meets it."""
    archive = open_archive(ArchiveConfig(kind="sds", root=str(root)))
    shard = Shard((TRACE,), DAY.day, date(2024, 3, 2))
    (done,) = pick_shard(archive, shard, [candidate])
    return done.picked["c"]


def whole(root: Path) -> None:
    pass


def nothing(root: Path) -> None:
    for name in "ZNE":
        component(root, name).unlink()


def truncated(root: Path) -> None:
    path = component(root, "N")
    path.write_bytes(path.read_bytes()[: 512 * 40 + 100])


def flipped(root: Path) -> None:
    body = bytearray(component(root, "N").read_bytes())
    body[512 * 20 + 300] ^= 0xFF
    component(root, "N").write_bytes(body)


def web_page(root: Path) -> None:
    for name in "ZNE":
        component(root, name).write_bytes(b"<html>503 Slow Down</html>")


def turned(root: Path) -> None:
    """To radial and transverse: the names say otherwise."""
    for name, said in ("ZL", "NR", "ET"):
        path = component(root, name)
        path.write_bytes(path.read_bytes().replace(b"HH" + name.encode(), b"HH" + said.encode()))


def empty_component(root: Path) -> None:
    component(root, "E").write_bytes(b"")


@pytest.mark.parametrize(
    ("damage", "outcome", "flags", "live", "words"),
    [
        (whole, Outcome.PICKED, 0, 3, ""),
        (nothing, Outcome.NO_DATA, 0, 0, ""),
        (truncated, Outcome.PICKED, Flag.TRUNCATED, 3, "ends inside a record"),
        (flipped, Outcome.PICKED, Flag.SALVAGED, 3, "record"),
        (web_page, Outcome.BAD_FORMAT, 0, 0, "<html>"),
        (turned, Outcome.BAD_FORMAT, 0, 0, "holds R of XX.OUT..HH, which are no components"),
        (
            *(empty_component, Outcome.PICKED, Flag.SALVAGED | Flag.INCOMPLETE, 2),
            "the object is empty",
        ),
    ],
)
def test_damaged_objects(
    tmp_path: Path,
    candidate: Candidate,
    recording: Recording,
    damage: Callable[[Path], None],
    outcome: Outcome,
    flags: int,
    live: int,
    words: str,
) -> None:
    write_sds(tmp_path, [recording])
    damage(tmp_path)
    result = picked(tmp_path, candidate)
    if outcome is not Outcome.NO_DATA:
        flags |= Flag.BREAKS_OFF  # the recording begins at midnight, and no day is beside it
    assert (result.outcome, result.flags, result.n_components) == (outcome, flags, live)
    assert words in result.detail
    assert (result.picks.num_rows > 5) == (outcome is Outcome.PICKED)


@pytest.mark.parametrize(
    ("seconds", "value", "outcome"),
    [(30.0, None, Outcome.TOO_SHORT), (30.02, None, Outcome.PICKED), (60.0, 7, Outcome.DEAD)],
)
def test_short_and_dead_days(
    tmp_path: Path, candidate: Candidate, seconds: float, value: int | None, outcome: Outcome
) -> None:
    short = station_day(TRACE, DAY.start_ns, seconds, 0.0, np.random.default_rng(4))
    if value is not None:
        short.data[:] = value
    write_sds(tmp_path, [short])
    result = picked(tmp_path, candidate)
    assert result.outcome is outcome
    assert result.seconds == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("rate", "outcome", "flags", "words"),
    [
        (40.0, Outcome.PICKED, Flag.RESAMPLED, "data at 40 Hz resampled"),
        (
            10.0,
            Outcome.WRONG_RATE,
            Flag.OTHER_RATE,
            "data at 10 Hz; the model runs at 100 Hz, to which 20 to 5000 Hz are resampled",
        ),
    ],
)
def test_another_rate_is_resampled_or_an_outcome(
    tmp_path: Path, candidate: Candidate, rate: float, outcome: Outcome, flags: int, words: str
) -> None:
    from obspy import Stream, Trace, UTCDateTime

    header = {
        "network": "XX",
        "station": "OUT",
        "channel": "HHZ",
        "sampling_rate": rate,
        "starttime": UTCDateTime(ns=DAY.start_ns),
    }
    data = np.random.default_rng(0).integers(-100, 100, int(rate) * 600, dtype=np.int32)
    path = component(tmp_path, "Z")
    path.parent.mkdir(parents=True)
    Stream([Trace(data, header)]).write(str(path), format="MSEED")
    result = picked(tmp_path, candidate)
    assert (result.outcome, result.detail) == (outcome, words)
    assert (result.flags & ~Flag.BREAKS_OFF, result.sampling_rate) == (flags, rate)


def test_a_denied_object_is_not_a_missing_one(
    tmp_path: Path, candidate: Candidate, recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """403 from the store, as S3 gives it; a directory's own permissions do not bind root."""
    write_sds(tmp_path, [recording])

    def refuse(self: LocalStore, key: str, *rest: object, **more: object) -> Part:
        raise AccessDenied(13, f"access denied: {self.url_of(key)}")

    monkeypatch.setattr(LocalStore, "fetch_part", refuse)
    result = picked(tmp_path, candidate)
    assert result.outcome is Outcome.ACCESS_DENIED and "HHE" in result.detail


def test_contradicting_overlaps_are_masked_and_flagged(
    tmp_path: Path, candidate: Candidate, recording: Recording
) -> None:
    write_sds(tmp_path, [recording])
    other = component(tmp_path / "other", "Z")
    write_sds(
        tmp_path / "other", [station_day(TRACE, DAY.start_ns, 20.0, 0.0, np.random.default_rng(9))]
    )
    path = component(tmp_path, "Z")
    path.write_bytes(path.read_bytes() + other.read_bytes())
    archive = open_archive(ArchiveConfig(kind="sds", root=str(tmp_path)))
    result = pick_span(archive, TRACE, DAY.start_ns, DAY.end_ns, [candidate])["c"]
    assert result.outcome is Outcome.PICKED
    assert result.flags == Flag.CONFLICT | Flag.BREAKS_OFF
    flags = {row["time"].value - DAY.start_ns: row["flags"] for row in result.picks.to_pylist()}
    assert all((bits == Flag.CONFLICT) == (ns < 36 * 10**9) for ns, bits in flags.items())


BROAD, FIRST = TraceId("XX", "OUT", "", "BH"), DAY.day


class Planned:
    """An archive of which every station-day of a shard is wanted, held or not."""

    def __init__(self, archive: Archive, shard: Shard) -> None:
        self.read, self._shard = archive.read, shard

    def holdings(self, start: date, end: date, stations: Sequence[str] = ()) -> Iterator[Holding]:
        return (Holding(one.trace, one.day, 1) for one in self._shard.station_days)


def object_of(
    root: Path, kind: str, days: Sequence[int], damage: Callable[[bytes], bytes]
) -> Archive:
    """An archive of one object: TRACE for a minute of each of some days from FIRST on."""
    from obspy import Stream, Trace, UTCDateTime

    rng, stream = np.random.default_rng(7), Stream()
    for day in days:
        header = {
            "network": "XX",
            "station": "OUT",
            "channel": "HHZ",
            "sampling_rate": 100.0,
            "starttime": UTCDateTime(ns=DAY.start_ns + day * DAY_NS),
        }
        stream.append(Trace(rng.integers(-999, 999, 6000, dtype=np.int32), header))
    out = io.BytesIO()
    stream.write(out, "MSEED", reclen=512)
    path = root / "XX/2024/061/OUT.XX.2024.061"
    path.parent.mkdir(parents=True)
    path.write_bytes(damage(out.getvalue()))
    return open_archive(ArchiveConfig.model_validate({"kind": kind, "root": str(root)}))


def cut_off(body: bytes) -> bytes:
    return body[:-100]


def trailed(body: bytes) -> bytes:
    return body + b"no record" * 100


def unknown_encoding(body: bytes) -> bytes:
    """Of the records of the second day, which are left out then."""
    records = [bytearray(body[k : k + 512]) for k in range(0, len(body), 512)]
    for record in records:
        if record[22:24] == bytes([0, 62]):  # day of the year
            record[52] = 99
    return b"".join(records)


@pytest.mark.parametrize(
    ("kind", "days", "damage", "trace", "outcomes", "words"),
    [
        ("earthscope", [0], cut_off, TRACE, ["picked"], "ends inside a record"),
        ("earthscope", [0], cut_off, BROAD, ["no_data"], "ends inside a record"),
        ("earthscope", [0], trailed, BROAD, ["no_data"], "bytes are no record"),
        ("files", [0, 2], cut_off, TRACE, ["picked", "no_data", "picked"], "ends inside a record"),
        ("files", [0, 2], trailed, TRACE, ["picked", "no_data", "picked"], "bytes are no record"),
        (
            *("files", [0, 1, 2], unknown_encoding, TRACE, ["picked", "bad_format", "picked"]),
            "encoding 99",
        ),
    ],
)
def test_what_is_told_of_an_object_is_no_outcome_of_a_day_that_it_does_not_hold(
    tmp_path: Path,
    candidate: Candidate,
    kind: str,
    days: Sequence[int],
    damage: Callable[[bytes], bytes],
    trace: TraceId,
    outcomes: list[str],
    words: str,
) -> None:
    """And from Zarr the same; a day whose own records cannot be used is one that cannot be read."""
    after = FIRST + timedelta(days=len(outcomes))
    shard = Shard((trace,), FIRST, after)
    archive = object_of(tmp_path / "held", kind, days, damage)
    assert {one.trace for one in archive.holdings(FIRST, after)} == {TRACE}
    found = [day.picked["c"] for day in pick_shard(archive, shard, [candidate])]
    assert [one.outcome for one in found] == outcomes
    assert words in found[len(found) // 2].detail

    zarr = ArchiveConfig(kind="zarr", root=str(tmp_path / "zarr"))
    ingested = list(ingest(Planned(archive, shard), zarr.store(), FIRST, after))
    states = {"picked": "written", "no_data": "empty", "bad_format": "unreadable"}
    assert [one.state for one in ingested] == [states[outcome] for outcome in outcomes]
    assert words in ingested[len(found) // 2].detail
    again = [day.picked["c"] for day in pick_shard(open_archive(zarr), shard, [candidate])]
    assert [one.outcome for one in again] == outcomes
    said = [
        [(one.flags, one.detail) for one in days if one.outcome is not Outcome.NO_DATA]
        for days in (again, found)
    ]
    assert said[0] == said[1]
