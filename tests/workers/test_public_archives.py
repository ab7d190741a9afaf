"""Public archives on a real S3 endpoint: objects named as theirs are, picks as from any files."""

from __future__ import annotations

import io
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest
from obspy import Stream, Trace, UTCDateTime, read
from pymseed import MS3Record

from catalog.schema import DAY_NS, Shard, TraceId, day_start_ns, days_between
from catalog.store import Store, open_store
from tests.faults import FaultyS3
from workers.archives import ArchiveConfig, StationDayArchive, open_archive
from workers.archives.archive import HOMES
from workers.archives.glimpse import READ_BYTES, READS, channels_within
from workers.archives.layout import Named
from workers.candidate import Candidate
from workers.engines import open_engine
from workers.epochs import EVER, Epochs
from workers.pipeline import pick_shard
from workers.synthetic import network_days, write_sds
from workers.weights import resolve

from .test_layouts import LAYOUTS

FIRST, MIDDLE, LAST = (date(2023, 12, 31), date(2024, 1, 1), date(2024, 1, 2))
NEW_YEAR = day_start_ns(MIDDLE)
SECOND = 10**9
ONE = TraceId("CI", "RIO", "", "BH")
TWO = TraceId("CI", "ADO", "10", "HH")
THREE = TraceId("NC", "GAX", "", "EH")
TRACES = [ONE, TWO, THREE]
PUBLIC = sorted(HOMES)


@pytest.fixture(scope="module")
def channel_days(tmp_path_factory: pytest.TempPathFactory) -> dict[Named, bytes]:
    """Five minutes on either side of New Year, of three traces of two networks."""
    root = tmp_path_factory.mktemp("days")
    rng = np.random.default_rng(2)
    write_sds(root, network_days(TRACES, NEW_YEAR - 300 * SECOND, 600.0, 90.0, rng))
    found = {}
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        named = LAYOUTS["sds"].parse(str(path.relative_to(root)))
        assert named is not None
        found[named] = path.read_bytes()
    assert len(found) == 18
    return found


def objects(kind: str, channel_days: dict[Named, bytes]) -> dict[str, bytes]:
    """The same records, named and gathered as an archive does."""
    found: dict[str, bytes] = {}
    for named, body in channel_days.items():
        whole = named if kind != "earthscope" else named._replace(location="", channel="")
        key = LAYOUTS[kind].key(whole)
        found[key] = found.get(key, b"") + body
    return found


def put(root: str, found: dict[str, bytes]) -> Store:
    store = open_store(root)
    for key, body in found.items():
        assert store.create(key, body)
    return store


@pytest.fixture(scope="module")
def candidate() -> Candidate:
    weights = resolve("builtin:synthetic")
    return Candidate.of("c", [weights], open_engine("fast"), {"P": 0.1, "S": 0.1})


@pytest.fixture(scope="module")
def as_files(
    channel_days: dict[Named, bytes], candidate: Candidate, tmp_path_factory: Any
) -> dict[TraceId, Any]:
    root = tmp_path_factory.mktemp("files")
    put(str(root), objects("sds", channel_days))
    archive = open_archive(ArchiveConfig(kind="files", root=str(root)))
    assert len(list(archive.holdings(FIRST, LAST))) == 6
    return picks_of(archive, candidate)


def picks_of(archive: Any, candidate: Candidate) -> dict[TraceId, Any]:
    found = {}
    for trace in TRACES:
        days = []
        for month in ((FIRST, MIDDLE), (MIDDLE, LAST)):
            days += list(pick_shard(archive, Shard((trace,), *month), [candidate]))
        found[trace] = [
            (str(day.station_day), str(day.picked["c"].outcome), day.picked["c"].picks.to_pylist())
            for day in days
        ]
    return found


@pytest.mark.parametrize("kind", PUBLIC)
def test_holdings_and_picks_are_those_of_the_same_files(
    kind: str,
    s3: Any,
    channel_days: dict[Named, bytes],
    candidate: Candidate,
    as_files: dict[TraceId, Any],
) -> None:
    found = objects(kind, channel_days)
    put(s3.url("a/b"), found)
    put(s3.url("a/b"), {"index.html": b"<html>", "2024/readme.txt": b"not a waveform"})
    archive = open_archive(ArchiveConfig.model_validate({"kind": kind, "root": s3.url("a/b")}))
    held = list(archive.holdings(FIRST, LAST))
    assert sorted((h.trace, h.day) for h in held) == [
        (trace, day) for trace in sorted(TRACES) for day in days_between(FIRST, LAST)
    ]
    assert sum(h.size for h in held) == sum(map(len, found.values()))
    assert [(h.trace, h.day) for h in archive.holdings(MIDDLE, LAST, ["CI.RIO"])] == [(ONE, MIDDLE)]
    networks = {h.trace for h in archive.holdings(FIRST, LAST, ["CI.*", "CI.AD?.10"])}
    assert {ONE, TWO} <= networks <= set(TRACES)
    assert list(archive.holdings(FIRST - timedelta(days=9), FIRST)) == []

    picks = picks_of(archive, candidate)
    assert picks == as_files
    assert sum(len(day[2]) for days in picks.values() for day in days) > 10


@pytest.mark.parametrize("kind", PUBLIC)
def test_a_read_lists_little_and_each_prefix_once(
    kind: str, tmp_path: Path, channel_days: dict[Named, bytes]
) -> None:
    put(str(tmp_path), objects(kind, channel_days))
    archive = open_archive(ArchiveConfig.model_validate({"kind": kind, "root": str(tmp_path)}))
    listed: list[int] = []
    plain = archive.store.list  # type: ignore[attr-defined]

    def counted(prefix: str = "") -> Any:
        entries = list(plain(prefix))
        listed.append(len(entries))
        return iter(entries)

    archive.store.list = counted  # type: ignore[attr-defined]
    for step in range(10):
        reading = archive.read(ONE, NEW_YEAR - 60 * SECOND, NEW_YEAR + step * 10 * SECOND)
        assert reading.fragments
    assert len(listed) == 2 and max(listed) <= 3


# --- EarthScope: one object a station-day ---------------------------------------------------------

BH, HH = TraceId("UW", "SHW", "", "BH"), TraceId("UW", "SHW", "", "HH")
SHW = LAYOUTS["earthscope"]


def station_day(
    day: date, traces: tuple[TraceId, ...], n: int = 400, value: int = 0, components: str = "ZNE"
) -> bytes:
    rng = np.random.default_rng(day.toordinal() + value)
    header = {"sampling_rate": 20.0, "starttime": UTCDateTime(ns=day_start_ns(day))}
    stream = Stream(
        Trace(
            rng.integers(-999, 999, n).astype(np.int32),
            {
                **header,
                "network": trace.network,
                "station": trace.station,
                "location": trace.location,
                "channel": trace.band + component,
            },
        )
        for trace in traces
        for component in components
    )
    out = io.BytesIO()
    stream.write(out, "MSEED", encoding="STEIM2", reclen=512)
    return out.getvalue()


def key(day: date, station: str = "SHW") -> str:
    return SHW.key(Named("UW", station, "", "", day))


def earthscope(root: str) -> StationDayArchive:
    archive = open_archive(ArchiveConfig(kind="earthscope", root=root))
    assert isinstance(archive, StationDayArchive)
    return archive


def held(archive: StationDayArchive, start: date, end: date) -> dict[TraceId, list[date]]:
    days: dict[TraceId, list[date]] = {}
    for holding in archive.holdings(start, end):
        days.setdefault(holding.trace, []).append(holding.day)
    return days


def samples(archive: StationDayArchive, trace: TraceId, day: date) -> list[int]:
    reading = archive.read(trace, day_start_ns(day), day_start_ns(day) + DAY_NS // 2)
    return [int(s) for f in reading.fragments if f.component == "Z" for s in f.samples]


def test_the_highest_version_of_a_station_day_counts(s3: Any) -> None:
    """By number, not by spelling; and each station-day by itself."""
    day, other = date(2022, 2, 6), date(2022, 2, 7)
    bodies = {n: station_day(day, (BH,), 400 + n, n) for n in (1, 2, 9, 10)}
    found = {f"{key(day)}#{n}": body for n, body in bodies.items()}
    found[key(other)] = station_day(other, (BH,), 50)
    found[f"{key(other)}#1"] = station_day(other, (BH,), 60, 1)
    found[f"{key(day)}#x"] = found[f"{key(day)}#011"] = b"no version"
    put(s3.url("restricted"), found)
    archive = earthscope(s3.url("restricted"))
    sizes = {h.day: h.size for h in archive.holdings(day, other + timedelta(days=1))}
    assert sizes == {day: len(bodies[10]), other: len(found[f"{key(other)}#1"])}
    truth = read(io.BytesIO(bodies[10])).select(channel="BHZ")[0]
    assert samples(archive, BH, day) == truth.data.tolist() and len(truth) == 410
    assert len(samples(archive, BH, other)) == 60
    reading = archive.read(BH, day_start_ns(day), day_start_ns(other) + DAY_NS // 2)
    assert [url.rpartition("/")[2] for url in sorted(reading.inputs)] == [
        "SHW.UW.2022.037#10",
        "SHW.UW.2022.038#1",
    ]


@pytest.mark.parametrize("change", [1, 2, 7, 38, 39])
def test_the_day_of_a_change_is_found_by_looking_into_few_objects(
    change: int, tmp_path: Path
) -> None:
    """From BH to HH: no day of either is lost, whenever it was."""
    start = date(2022, 12, 10)
    days = list(days_between(start, start + timedelta(days=40)))
    put(
        str(tmp_path),
        {key(day): station_day(day, (BH,) if k < change else (HH,)) for k, day in enumerate(days)},
    )
    archive = earthscope(str(tmp_path))
    found = held(archive, days[0], days[-1] + timedelta(days=1))
    assert found == {BH: days[:change], HH: days[change:]}
    assert len(archive.looked_into) <= 8


def test_a_change_is_found_behind_objects_that_tell_nothing(tmp_path: Path) -> None:
    start = date(2022, 3, 1)
    days = list(days_between(start, start + timedelta(days=16)))
    bodies = {key(day): station_day(day, (BH,) if k < 9 else (HH,)) for k, day in enumerate(days)}
    for k in (0, 15):
        bodies[key(days[k])] = b"<html>maintenance</html>"
    put(str(tmp_path), bodies)
    archive = earthscope(str(tmp_path))
    found = held(archive, days[0], days[-1] + timedelta(days=1))
    assert found == {BH: days[:9], HH: days[9:]}
    assert set(archive.unreadable) == {key(days[0]), key(days[15])}


def test_a_station_that_cannot_be_looked_into_is_told(tmp_path: Path) -> None:
    day = date(2022, 2, 6)
    put(str(tmp_path), {key(day): b"", key(day, "OK"): station_day(day, (BH,))})
    archive = earthscope(str(tmp_path))
    nameless = TraceId("UW", "SHW", "", "")
    assert {*held(archive, day, day + timedelta(days=1))} == {nameless, BH}
    assert list(archive.unreadable) == [key(day)] and "empty" in archive.unreadable[key(day)]


def test_epochs_say_what_an_object_holds_and_what_they_do_not_know_is_looked_into(
    tmp_path: Path,
) -> None:
    days = list(days_between(FIRST, FIRST + timedelta(days=6)))
    bodies = {key(day): station_day(day, (BH, HH)) for day in days}
    new = TraceId("UW", "NEW", "", "HN")
    bodies |= {key(day, "NEW"): station_day(day, (new,)) for day in days[:2]}
    put(str(tmp_path), bodies)
    archive = earthscope(str(tmp_path))
    archive.epochs = Epochs([(BH, (EVER[0], days[2])), (HH, (days[2], days[4]))])
    found = held(archive, days[0], days[-1] + timedelta(days=1))
    assert found[HH][:2] == days[2:4] and found[BH][:2] == days[:2]
    assert found[new] == days[:2]
    assert found[BH][2:] == found[HH][2:] == days[4:], "outside of its epochs it is looked into"
    assert not [name for name in archive.looked_into if name in (key(days[0]), key(days[3]))]


@pytest.mark.parametrize("order", ["by channel", "alternating"])
def test_few_short_reads_tell_the_channels_of_a_large_object(order: str, tmp_path: Path) -> None:
    traces = tuple(TraceId("UW", "BIG", loc, band) for loc in ("", "00") for band in ("HH", "EN"))
    whole = station_day(FIRST, traces, 300_000)
    small = station_day(FIRST, (TraceId("UW", "BIG", "", "LH"),), 100, components="Z")
    records = [whole[k : k + 512] for k in range(0, len(whole), 512)]
    if order == "alternating":
        records = [records[k] for k in np.random.default_rng(0).permutation(len(records))]
    body = b"".join(records) + small
    store = open_store(str(tmp_path))
    store.create("x", body)
    asked = []
    part = store.fetch_part
    store.fetch_part = lambda *a, **k: (asked.append(a), part(*a, **k))[1]  # type: ignore[func-returns-value,method-assign]
    found = {(str(codes.trace), codes.component) for codes in channels_within(store, "x")}
    assert found == {(str(trace), c) for trace in traces for c in "ZNE"} | {("UW.BIG..LH", "Z")}
    assert len(asked) <= READS and len(body) > 100 * READ_BYTES / 10
    assert sum(stop - start for _, start, stop in asked) < len(body)


def test_miniseed_3_is_looked_into_and_read(tmp_path: Path) -> None:
    day = date(2022, 2, 6)
    values = np.arange(3000, dtype=np.int32) * 7 % 1001
    record = MS3Record()
    record.sourceid = "FDSN:UW_SHW__H_H_Z"
    record.formatversion, record.reclen = 3, 4096
    record.set_starttime_str("2022-02-06T01:00:00")
    record.samprate = 100.0
    body = b"".join(
        bytes(packed) for packed in record.generate(data_samples=values, sample_type="i")
    )
    put(str(tmp_path), {key(day): body})
    archive = earthscope(str(tmp_path))
    assert held(archive, day, day + timedelta(days=1)) == {HH: [day]}
    assert samples(archive, HH, day) == values.tolist()


def test_an_open_bucket_is_read_without_credentials(
    s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`anonymous`, as the public archives have it by default, signs nothing."""
    day = date(2022, 2, 6)
    put(s3.url("open"), {key(day): station_day(day, (BH,))})
    client = boto3.client("s3")
    client.put_object_acl(Bucket=s3.bucket, Key=f"open/{key(day)}", ACL="public-read")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    config = ArchiveConfig(kind="earthscope", root=s3.url("open"), anonymous=True)
    archive = open_archive(config)
    assert [h.trace for h in archive.holdings(day, day + timedelta(days=1))] == [BH]


def test_what_is_asked_is_signed_by_the_profile_for_the_region(
    s3: Any, faulty_s3: FaultyS3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the archive, and neither the environment's key nor its region."""
    day = date(2022, 2, 6)
    put(s3.url("closed"), {key(day): station_day(day, (BH,))})
    (tmp_path / "config").write_text(
        "[profile seismic]\naws_access_key_id = AKIASEISMIC\naws_secret_access_key = test\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    faulty_s3.heal()
    kind = {"kind": "earthscope", "root": s3.url("closed")}
    config = {**kind, "profile": "seismic", "region": "eu-central-1"}
    archive = open_archive(ArchiveConfig.model_validate(config))
    assert isinstance(archive, StationDayArchive)
    assert held(archive, day, day + timedelta(days=1)) == {BH: [day]}
    assert samples(archive, BH, day)
    assert faulty_s3.signed == {("AKIASEISMIC", "eu-central-1")}


def test_a_station_whose_objects_nobody_can_read_is_held_and_ends_as_such(
    tmp_path: Path, channel_days: dict[Named, bytes], candidate: Candidate
) -> None:
    """It loses no station-day, though no object tells a band."""
    found = objects("earthscope", channel_days)
    found |= {key: b"<html>later</html>" for key in found if "RIO.CI" in key}
    put(str(tmp_path), found)
    archive = open_archive(ArchiveConfig(kind="earthscope", root=str(tmp_path)))
    nameless = TraceId("CI", "RIO", "", "")
    held = [one.day for one in archive.holdings(FIRST, LAST) if one.trace == nameless]
    assert held == [FIRST, MIDDLE]
    days = pick_shard(archive, Shard((nameless,), MIDDLE, LAST), [candidate])
    assert [str(day.picked["c"].outcome) for day in days] == ["bad_format"]
