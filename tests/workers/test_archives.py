"""Archives: the same code on a local path and on S3, the same samples whatever the span."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest
from numpy.typing import NDArray
from obspy import Stream, Trace, UTCDateTime
from pydantic import ValidationError

from catalog.schema import DAY_NS, Flag, TraceId, day_start_ns
from catalog.store import StoreError, StoreUnavailable, open_store
from tests.workers.test_layouts import LAYOUTS
from workers.archives import ArchiveConfig, Holding, open_archive
from workers.archives.files import FilesArchive, glob_pattern
from workers.archives.layout import Named
from workers.decode import BadFormat
from workers.losses import settled
from workers.waveform import assemble, grid_index

HH = TraceId("XX", "SYN", "00", "HH")
DAY = date(2021, 12, 31)
NEXT = DAY + timedelta(days=1)
RATE = 20
SECOND = 1_000_000_000


def miniseed(
    samples: NDArray[np.int32], start_ns: int, component: str = "Z", trace: TraceId = HH
) -> bytes:
    header = {
        "network": trace.network,
        "station": trace.station,
        "location": trace.location,
        "channel": trace.band + component,
        "sampling_rate": RATE,
        "starttime": UTCDateTime(ns=start_ns),
    }
    out = io.BytesIO()
    Stream([Trace(samples, header)]).write(out, "MSEED", encoding="STEIM2", reclen=512)
    return out.getvalue()


def noise(n: int, seed: int) -> NDArray[np.int32]:
    return np.random.default_rng(seed).integers(-999, 999, n).astype(np.int32)


def sds_key(day: date, component: str = "Z", trace: TraceId = HH) -> str:
    channel = trace.band + component
    name = f"{trace.network}.{trace.station}.{trace.location}.{channel}.D.{day:%Y.%j}"
    return f"{day.year}/{trace.network}/{trace.station}/{channel}.D/{name}"


@pytest.fixture(params=["local", "s3"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty root, local and on S3."""
    if request.param == "local":
        return str(tmp_path)
    return str(request.getfixturevalue("s3").url("archive"))


def put_new_year(root: str) -> NDArray[np.int32]:
    """Minutes around New Year in two day objects, the first reaching 3.5 s over midnight."""
    store = open_store(root)
    begin = day_start_ns(NEXT) - 120 * SECOND
    truth = noise(240 * RATE, 1)
    cut = round(123.5 * RATE)
    store.create(sds_key(DAY), miniseed(truth[:cut], begin))
    store.create(sds_key(NEXT), miniseed(truth[cut:], begin + cut * SECOND // RATE))
    store.create(sds_key(DAY, "E"), miniseed(truth[:cut] * 2, begin, "E"))
    store.create(f"{DAY.year}/XX/SYN/LOG.L/XX.SYN.00.LOG.L.{DAY:%Y.%j}", b"not a waveform")
    return truth


def test_sds_lists_and_reads_over_midnight_and_new_year(root: str) -> None:
    truth = put_new_year(root)
    archive = open_archive(ArchiveConfig(kind="sds", root=root))
    holdings = list(archive.holdings(DAY, NEXT + timedelta(days=1)))
    assert [(h.trace, h.day) for h in holdings] == [(HH, DAY), (HH, NEXT)]
    sizes = {entry.key: entry.size for entry in open_store(root).list()}
    assert holdings[0].size == sizes[sds_key(DAY)] + sizes[sds_key(DAY, "E")]
    assert list(archive.holdings(NEXT, NEXT)) == []

    midnight = day_start_ns(NEXT)
    first = grid_index(midnight, RATE) - 120 * RATE
    for low, high in ((0, 240), (0, 120), (120, 240), (121, 122), (119, 121), (130, 200)):
        start, end = (midnight + (second - 120) * SECOND for second in (low, high))
        reading = archive.read(HH, start, end)
        waveform = assemble(reading.fragments, RATE, grid_index(start, RATE), grid_index(end, RATE))
        np.testing.assert_array_equal(waveform.data[0], truth[low * RATE : high * RATE])
        assert waveform.mask[0].all()
        assert waveform.start == first + low * RATE
    assert set(reading.inputs) == {
        open_store(root).url_of(key) for key in (sds_key(DAY), sds_key(DAY, "E"), sds_key(NEXT))
    } and all(reading.inputs.values())


def test_nothing_held_is_an_empty_reading(root: str) -> None:
    put_new_year(root)
    other = TraceId("XX", "SYN", "", "HH")
    archive = open_archive(ArchiveConfig(kind="sds", root=root))
    for trace, day in ((other, DAY), (HH, date(2020, 5, 5))):
        reading = archive.read(trace, day_start_ns(day), day_start_ns(day) + DAY_NS)
        assert not reading.fragments and not reading.inputs and not reading.detail


def test_a_missing_root_says_so(tmp_path: Path, s3: object) -> None:
    for kind in ("sds", "files", "zarr"):
        for root in (str(tmp_path / "nowhere"), "s3://no-such-bucket/archive"):
            archive = open_archive(ArchiveConfig(kind=kind, root=root))
            with pytest.raises(StoreError, match=r"nowhere|no-such-bucket"):
                list(archive.holdings(DAY, NEXT))


def test_a_bad_object_is_told_and_raised_only_where_nothing_else_gave_data(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    midnight = day_start_ns(NEXT)
    store.create(sds_key(DAY), b"<html>maintenance</html>")
    store.create(sds_key(NEXT), miniseed(noise(50 * 3600 * 3, 1), midnight + 3 * 3600 * SECOND))
    archive = open_archive(ArchiveConfig(kind="sds", root=str(tmp_path)))
    with pytest.raises(BadFormat, match="HTML"):
        settled(archive.read(HH, midnight - DAY_NS, midnight), midnight - DAY_NS, midnight)
    reading = archive.read(HH, midnight - DAY_NS, midnight + DAY_NS)
    reading = settled(reading, midnight - DAY_NS, midnight + DAY_NS)
    assert len(reading.fragments) == 1 and "HTML" in reading.detail[0][0]
    assert (Flag.SALVAGED | Flag.INCOMPLETE, midnight - DAY_NS, midnight) in reading.flags
    assert len(reading.inputs) == 2 and len(reading.unused) == 1


def test_what_lies_hours_outside_of_its_day_is_left_out_whatever_the_span(tmp_path: Path) -> None:
    midnight = day_start_ns(NEXT)
    samples = noise(5 * 3600 * RATE, 1)  # to 05:00 of the next day
    open_store(str(tmp_path)).create(sds_key(DAY), miniseed(samples, midnight))
    archive = open_archive(ArchiveConfig(kind="sds", root=str(tmp_path)))
    whole = archive.read(HH, midnight - DAY_NS, midnight + DAY_NS)
    (fragment,) = whole.fragments
    assert fragment.stop == grid_index(midnight + 3600 * SECOND, RATE)
    np.testing.assert_array_equal(fragment.samples, samples[: 3600 * RATE])
    assert "left out" in whole.detail[0][0]
    assert not archive.read(HH, midnight + 4 * 3600 * SECOND, midnight + DAY_NS).fragments


def test_files_are_indexed_by_what_they_hold(root: str) -> None:
    midnight = day_start_ns(NEXT)
    store = open_store(root)
    other = TraceId("XX", "OTH", "", "EH")
    parts = {component: noise(100 * RATE, i) for i, component in enumerate("ZNE")}
    for component, samples in parts.items():
        trace = Trace(
            samples.astype(np.float32),
            {
                "network": "XX",
                "station": "SYN",
                "location": "00",
                "channel": "HH" + component,
                "sampling_rate": RATE,
                "starttime": UTCDateTime(ns=midnight - 50 * SECOND),
            },
        )
        out = io.BytesIO()
        Stream([trace]).write(out, "SAC")
        store.create(f"event 1/SYN.{component}.sac", out.getvalue())
    store.create("event 1/README.sac", b"three components of a station")
    store.create("event 1/other.mseed", miniseed(noise(99, 5), midnight, "Z", other))

    config = ArchiveConfig(kind="files", root=root, pattern="**/*.sac")
    archive = open_archive(config)
    holdings = list(archive.holdings(DAY, NEXT + timedelta(days=1)))
    assert [(h.trace, h.day) for h in holdings] == [(HH, DAY), (HH, NEXT)]
    assert abs(holdings[0].size - holdings[1].size) <= 1 and holdings[0].size > 0
    assert isinstance(archive, FilesArchive)
    assert list(archive.unreadable) == ["event 1/README.sac"]

    lent = open_archive(config)
    assert isinstance(lent, FilesArchive)
    lent.index = json.loads(json.dumps(archive.index))  # as another process gets it
    reading = lent.read(HH, midnight - 10 * SECOND, midnight + 10 * SECOND)
    assert {fragment.component for fragment in reading.fragments} == set("ZNE")
    low = grid_index(midnight, RATE) - 10 * RATE
    waveform = assemble(reading.fragments, RATE, low, low + 20 * RATE)
    assert waveform.data.dtype == np.float32
    for row, component in enumerate("ZNE"):
        np.testing.assert_array_equal(
            waveform.data[row], parts[component][40 * RATE : 60 * RATE].astype(np.float32)
        )


def test_the_real_files_are_found(data: Path) -> None:
    archive = open_archive(ArchiveConfig(kind="files", root=str(data / "continuous")))
    found = {
        (str(h.trace), h.day.isoformat())
        for h in archive.holdings(date(2014, 1, 1), date(2023, 1, 1))
    }
    assert found == {
        ("PB.B204..EH", "2022-02-06"),
        ("UW.SHW..HH", "2022-02-06"),
        *((f"CX.{name}..HH", f"2014-0{month}-01") for name in ("PB01", "PB02") for month in (3, 4)),
    }


@pytest.mark.parametrize(
    ("glob", "yes", "no"),
    [
        ("**/*", ["a", "a/b", "a/b.c/d"], []),
        ("*.ms", ["a.ms"], ["a/b.ms", "a.msx", "ams"]),
        ("**/x?/*.ms", ["x1/a.ms", "b/c/x2/a.ms"], ["x/a.ms", "xx1/a.ms"]),
    ],
)
def test_globs(glob: str, yes: list[str], no: list[str]) -> None:
    pattern = glob_pattern(glob)
    assert all(pattern.fullmatch(key) for key in yes)
    assert not any(pattern.fullmatch(key) for key in no)


def test_an_archive_table_with_a_typo_is_refused() -> None:
    with pytest.raises(ValidationError, match="rooot"):
        ArchiveConfig.model_validate({"kind": "sds", "root": "x", "rooot": "y"})
    with pytest.raises(ValidationError, match="kind"):
        ArchiveConfig.model_validate({"kind": "sdss", "root": "x"})


def test_holdings_sort_by_trace_and_day() -> None:
    later = Holding(HH, NEXT, 1)
    assert sorted([later, Holding(HH, DAY, 9)])[1] is later
    assert later.station_day.start_ns == day_start_ns(NEXT)


@pytest.mark.parametrize(
    ("root", "fixed", "pattern"),
    [
        ("/data/2022/*/x?.ms", "/data/2022", "*/x?.ms"),
        ("s3://bucket/a/**/*.ms", "s3://bucket/a", "**/*.ms"),
        ("*.ms", ".", "*.ms"),
        ("/data/plain", "/data/plain", "**/*"),
    ],
)
def test_a_glob_may_stand_in_the_root_of_files(root: str, fixed: str, pattern: str) -> None:
    config = ArchiveConfig(kind="files", root=root)
    assert (config.root, config.pattern) == (fixed, pattern)


def test_an_object_that_holds_another_trace_is_told(root: str) -> None:
    other = TraceId("XX", "OTHER", "00", "HH")
    body = miniseed(noise(2000, 1), day_start_ns(NEXT), "Z", other)
    open_store(root).create(sds_key(NEXT), body)
    start = day_start_ns(NEXT)
    reading = open_archive(ArchiveConfig(kind="sds", root=root)).read(HH, start, start + DAY_NS)
    assert not reading.fragments
    assert reading.detail[-1][0].endswith(f"named for {HH}, and holds {other}")


def test_a_file_that_holds_another_trace_than_it_did_is_told(
    tmp_path: Path,
) -> None:
    other, start = TraceId("XX", "OTHER", "00", "HH"), day_start_ns(NEXT)
    (tmp_path / "a.ms").write_bytes(miniseed(noise(2000, 1), start))
    archive = open_archive(ArchiveConfig(kind="files", root=str(tmp_path)))
    assert [one.trace for one in archive.holdings(DAY, NEXT + timedelta(days=1))] == [HH]
    (tmp_path / "a.ms").write_bytes(miniseed(noise(2000, 1), start, "Z", other))
    reading = archive.read(HH, start, start + DAY_NS)
    assert not reading.fragments
    assert reading.detail[-1][0].endswith(f"when it was looked into held {HH}, and holds {other}")


@pytest.mark.parametrize("nth", [1, 2, 3, 5])
def test_an_object_that_is_replaced_between_two_ranges_is_read_of_one_version(
    root: str, nth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As large ones are read, in pieces; one that is replaced again and again ends the attempt."""
    for place in ("workers.archives.objects.PIECE", "workers.miniseed.scanning.PIECE"):
        monkeypatch.setattr(place, 4096)
    start = day_start_ns(NEXT)
    versions = [noise(20_000, seed) for seed in (1, 2)]
    store = open_store(root)
    store.create(sds_key(NEXT), miniseed(versions[0], start))
    archive = open_archive(ArchiveConfig(kind="sds", root=root))
    plain, asked = archive.store.fetch_part, []  # type: ignore[attr-defined]

    def replacing(key: str, *rest: Any, **how: Any) -> Any:
        part = plain(key, *rest, **how)
        asked.append(key)
        if len(asked) == nth or (nth == 1 and again):
            put_again(root, key, miniseed(versions[len(asked) % 2], start + len(asked) * SECOND))
        return part

    again = False
    monkeypatch.setattr(archive.store, "fetch_part", replacing)  # type: ignore[attr-defined]
    reading = archive.read(HH, start, start + DAY_NS)
    assert len(asked) > nth
    (fragment,) = reading.fragments
    assert fragment.start == grid_index(start + nth * SECOND, RATE)
    np.testing.assert_array_equal(fragment.samples, versions[nth % 2])
    if nth == 1:
        again = True
        archive = open_archive(ArchiveConfig(kind="sds", root=root))
        monkeypatch.setattr(archive.store, "fetch_part", replacing)  # type: ignore[attr-defined]
        with pytest.raises(StoreUnavailable, match="changed 3 times"):
            archive.read(HH, start, start + DAY_NS)


def put_again(root: str, key: str, body: bytes) -> None:
    """Replace an object by another."""
    if root.startswith("s3://"):
        bucket, _, prefix = root.removeprefix("s3://").partition("/")
        boto3.client("s3").put_object(Bucket=bucket, Key=f"{prefix}/{key}", Body=body)
    else:
        (Path(root) / key).write_bytes(body)


def test_a_station_day_that_holds_another_station_is_told(root: str) -> None:
    """Another location or band of the station is no fault, and is told all the same."""
    start, said, beside = day_start_ns(NEXT), [], []
    for other in (TraceId("XX", "OTHER", "00", "HH"), TraceId("XX", "SYN", "10", "HH")):
        store = open_store(f"{root}/{other.station}")
        key = f"XX/{NEXT:%Y/%j}/SYN.XX.{NEXT:%Y.%j}"
        store.create(key, miniseed(noise(2000, 1), start, "Z", other))
        archive = open_archive(ArchiveConfig(kind="earthscope", root=store.url))
        reading = archive.read(HH, start, start + DAY_NS)
        assert not reading.fragments
        said.append([text.partition("named for ")[2] for text, _, _ in reading.detail])
        beside += [text.partition(": ")[2] for text, _, _ in reading.at_large]
    assert said == [["XX.SYN, and holds XX.OTHER.00.HH"], []]
    assert beside[-1] == f"holds XX.SYN.10.HH, and nothing of {HH}"


@pytest.mark.parametrize("kind", ["sds", "scedc", "ncedc", "geonet", "earthscope"])
@pytest.mark.parametrize(("network", "station"), [("", "SYN"), ("XX", ""), ("", "")])
def test_blank_codes_are_those_that_the_object_is_named_for(
    tmp_path: Path, kind: str, network: str, station: str
) -> None:
    """That is told; records of another station stay those of another."""
    key = LAYOUTS[kind].key(Named("XX", "SYN", "00", "HHZ", NEXT))
    start = day_start_ns(NEXT)
    half = 1000 * SECOND // RATE
    body = miniseed(noise(1000, 1), start, "Z", TraceId(network, station, "00", "HH"))
    for k, other in enumerate(
        [HH, TraceId("", "OTHER", "00", "HH"), TraceId("YY", "", "00", "HH")]
    ):
        body += miniseed(noise(1000, 2 + k), start + half, "Z", other)
    open_store(str(tmp_path)).create(key, body)
    archive = open_archive(ArchiveConfig.model_validate({"kind": kind, "root": str(tmp_path)}))
    held = {holding.trace for holding in archive.holdings(NEXT, NEXT + timedelta(days=1))}
    assert HH in held
    reading = archive.read(HH, start, start + DAY_NS)
    low = grid_index(start, RATE)
    waveform = assemble(reading.fragments, RATE, low, low + 2000)
    np.testing.assert_array_equal(
        waveform.data[0], np.concatenate([noise(1000, 1), noise(1000, 2)])
    )
    assert waveform.conflict is None and not (reading.detail or reading.lost)
    (told,) = {text.partition(f"{key}: ")[2] for text, _, _ in reading.at_large}
    assert told == "headers without a network or station were read as XX.SYN, as it is named"


def test_blank_codes_of_another_format_are_those_of_its_name(tmp_path: Path) -> None:
    out = io.BytesIO()
    header = {"channel": "HHZ", "sampling_rate": RATE, "starttime": UTCDateTime(NEXT.isoformat())}
    Trace(noise(2000, 1).astype(np.float32), header).write(out, "SAC")
    open_store(str(tmp_path)).create(sds_key(NEXT, trace=replace(HH, location="")), out.getvalue())
    archive = open_archive(ArchiveConfig(kind="sds", root=str(tmp_path)))
    (holding,) = archive.holdings(NEXT, NEXT + timedelta(days=1))
    start = day_start_ns(NEXT)
    reading = archive.read(holding.trace, start, start + DAY_NS)
    assert len(reading.fragments) == 1 and not reading.detail
    assert any("were read as XX.SYN" in text for text, _, _ in reading.at_large)


@pytest.mark.parametrize("turn", [1, -1])
def test_where_no_name_tells_codes_none_are_lent(tmp_path: Path, turn: int) -> None:
    """Whichever of its traces is read first: what stays blank in a file is a trace of its own."""
    start, lent = day_start_ns(NEXT), [("XX", "SYN"), ("", "SYN"), ("XX", ""), ("", "")]
    traces = [TraceId.spelled(network, station, "00", "HH") for network, station in lent]
    body = b"".join(
        miniseed(noise(1000, k), start, "Z", TraceId(*codes, "00", "HH"))
        for k, codes in enumerate(lent)
    )
    (tmp_path / "all.ms").write_bytes(body)
    archive = open_archive(ArchiveConfig(kind="files", root=str(tmp_path)))
    held = {holding.trace for holding in archive.holdings(NEXT, NEXT + timedelta(days=1))}
    assert held == set(traces)
    for k, trace in [*enumerate(traces)][::turn]:
        reading = archive.read(trace, start, start + DAY_NS)
        (fragment,) = reading.fragments
        np.testing.assert_array_equal(fragment.samples, noise(1000, k))
        assert not (reading.detail or reading.lost)


@pytest.mark.parametrize("kind", ["sds", "scedc", "ncedc", "geonet"])
@pytest.mark.parametrize("spelled", ["", "--", "__"])
def test_a_blank_location_is_blank_however_a_name_spells_it(
    tmp_path: Path, kind: str, spelled: str
) -> None:
    """What is listed is read, and nothing of another location with it."""
    blank, start = replace(HH, location=""), day_start_ns(NEXT)
    store = open_store(str(tmp_path))
    for k, (location, trace) in enumerate([(spelled, blank), ("00", HH)]):
        key = LAYOUTS[kind].key(Named("XX", "SYN", location, "HHZ", NEXT))
        store.create(key, miniseed(noise(2000, k), start, "Z", trace))
    archive = open_archive(ArchiveConfig.model_validate({"kind": kind, "root": str(tmp_path)}))
    held = [holding.trace for holding in archive.holdings(NEXT, NEXT + timedelta(days=1))]
    assert sorted(held) == [blank, HH]
    reading = archive.read(blank, start, start + DAY_NS)
    (fragment,) = reading.fragments
    assert np.array_equal(fragment.samples, noise(2000, 0)) and not reading.detail


def test_a_location_of_two_dashes_is_blank(root: str) -> None:
    """In a header, as SEED's text formats write it, under a key that leaves it out."""
    blank, start = TraceId("XX", "SYN", "", "HH"), day_start_ns(NEXT)
    body = miniseed(noise(2000, 1), start, "Z", TraceId("XX", "SYN", "--", "HH"))
    open_store(root).create(sds_key(NEXT, trace=blank), body)
    archive = open_archive(ArchiveConfig(kind="sds", root=root))
    assert [holding.trace for holding in archive.holdings(NEXT, NEXT + timedelta(days=1))] == [
        blank
    ]
    reading = archive.read(blank, start, start + DAY_NS)
    assert len(reading.fragments) == 1 and not reading.detail


@pytest.mark.parametrize(
    ("network", "station", "band", "trace"),
    [
        ("XX", "syn\N{LATIN SMALL LETTER E WITH ACUTE}", "HH", "XX.syn_xE9_.00.HH"),
        ("XX", "SYN", "hh", "XX.SYN.00.HH"),
    ],
)
def test_codes_that_are_spelled_otherwise_are_held_and_read(
    root: str, network: str, station: str, band: str, trace: str
) -> None:
    body = bytearray(miniseed(noise(2000, 1), day_start_ns(NEXT)))
    for at in range(0, len(body), 512):
        codes = station.ljust(5).encode("latin-1"), f"00{band}z", network.ljust(2)
        body[at + 8 : at + 20] = codes[0] + codes[1].encode() + codes[2].encode()
    name = f"{network}.{station}.00.{band}z.D.{NEXT:%Y.%j}"
    open_store(root).create(f"{NEXT.year}/{network}/{station}/{band}z.D/{name}", bytes(body))
    archive = open_archive(ArchiveConfig(kind="sds", root=root))
    (holding,) = archive.holdings(DAY, NEXT + timedelta(days=1))
    assert (str(holding.trace), holding.day) == (trace, NEXT)
    start = day_start_ns(NEXT)
    (fragment,) = archive.read(holding.trace, start, start + DAY_NS).fragments
    assert fragment.component == "Z" and np.array_equal(fragment.samples, noise(2000, 1))


def test_bands_of_both_spellings_are_one(root: str) -> None:
    """A station that changed how it writes its channels loses none of them."""
    store, start = open_store(root), day_start_ns(NEXT)
    for component in "ZN":
        store.create(sds_key(NEXT, component), miniseed(noise(2000, 1), start, component))
    key = sds_key(NEXT, "E").replace("HHE", "hhE")
    store.create(key, miniseed(noise(2000, 1), start, "E").replace(b"HHE", b"hhE"))
    reading = open_archive(ArchiveConfig(kind="sds", root=root)).read(HH, start, start + DAY_NS)
    assert sorted(fragment.component for fragment in reading.fragments) == ["E", "N", "Z"]


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ({"pattern": "*.mseed"}, "pattern '\\*.mseed': only with kind = files; sds has its own"),
        ({"region": "us-west-2"}, "region: only with a root such as s3://bucket/prefix"),
        ({"profile": "seismic"}, "profile: only with a root such as s3://"),
        ({"anonymous": True}, "anonymous: only with a root such as s3://"),
        ({"endpoint_url": "http://127.0.0.1:9000"}, "endpoint_url: only with a root such as s3://"),
    ],
)
def test_what_would_have_no_effect_is_refused(keys: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        ArchiveConfig.model_validate({"kind": "sds", "root": "/archive", **keys})
