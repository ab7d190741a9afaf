"""Names of day objects: written, read back, and listed under as few prefixes as hold them."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.schema import TraceId
from workers.archives.archive import ArchiveConfig
from workers.archives.earthscope import EARTHSCOPE
from workers.archives.geonet import GEONET
from workers.archives.layout import Layout, Named, Wanted
from workers.archives.ncedc import NCEDC
from workers.archives.scedc import SCEDC
from workers.archives.sds import SDS
from workers.waveform import ALIASES

LAYOUTS = {
    "sds": SDS,
    "scedc": SCEDC,
    "ncedc": NCEDC,
    "earthscope": EARTHSCOPE,
    "geonet": GEONET,
}

PUBLISHED = {
    # what the archives' own pages show
    ("scedc", "2017/2017_101/CIRIO__BHE___2017101.ms"): ("CI", "RIO", "", "BHE", "2017-04-11"),
    ("scedc", "2016/2016_366/CIADO__HHZ10_2016366.ms"): ("CI", "ADO", "10", "HHZ", "2016-12-31"),
    ("ncedc", "BK/2017/2017.101/CMB.BK.BHE.00.D.2017.101"): (
        "BK",
        "CMB",
        "00",
        "BHE",
        "2017-04-11",
    ),
    ("ncedc", "NC/2022/2022.001/GAX.NC.EHZ..D.2022.001"): ("NC", "GAX", "", "EHZ", "2022-01-01"),
    ("geonet", "2017/2017.101/WEL.NZ/2017.101.WEL.10-HHZ.NZ.D"): (
        *("NZ", "WEL", "10", "HHZ"),
        "2017-04-11",
    ),
    ("earthscope", "UW/2022/037/SHW.UW.2022.037"): ("UW", "SHW", "", "", "2022-02-06"),
    ("sds", "2022/UW/SHW/HHZ.D/UW.SHW..HHZ.D.2022.037"): ("UW", "SHW", "", "HHZ", "2022-02-06"),
}

OTHERS = {
    "scedc": [
        "2017/2017_101/CIRIO_BHE___2017101.ms",  # a station of four
        "2017/2017_101/CIRIO__BHE___2017102.ms",  # of another day
        "2017/2017_366/CIRIO__BHE___2017366.ms",  # no such day
        "2017/2017_000/CIRIO__BHE___2017000.ms",
        "0000/0000_001/CIRIO__BHE___0000001.ms",
        "index/csv/year=2017/2017_101_waveform_index.csv",
    ],
    "ncedc": [
        "BK/2017/2017.101/CMB.NC.BHE.00.D.2017.101",
        "BK/2017/2017.101/CMB.BK.BHE.00.D.2017.102",
        "BK/2017/2017.101/CMB.BK.BHE.00.L.2017.101",
        "CMB.BK.BHE.00.D.2017.101",
    ],
    "geonet": [
        "2017/2017.101/WEL.NZ/2017.101.WEL.10-HHZ.NZ.L",
        "2017/2017.101/WEL.NZ/2017.101.KHZ.10-HHZ.NZ.D",
    ],
    "earthscope": ["UW/2022/037/SHW.UW.2022.038", "UW/2022/037/SHW.UW.2022.037.md5"],
    "sds": ["2022/UW/SHW/HHZ.D/UW.SHW..HHZ.D.2022.37", "2022/UW/SHW/LOG.L/UW.SHW..LOG.L.2022.037"],
}

codes = st.text("ABCXYZ0189", min_size=1, max_size=5)
days = st.dates(date(1970, 1, 1), date(2199, 12, 31))
components = st.sampled_from(sorted(ALIASES))
traces = st.builds(
    TraceId,
    st.text("ABCXYZ0189", min_size=1, max_size=2),
    codes,
    st.sampled_from(["", "00", "10", "H1"]),
    st.text("BEHLNS", min_size=2, max_size=2),
)


def named(layout: Layout, trace: TraceId, component: str, day: date) -> Named:
    whole = Named(trace.network, trace.station, trace.location, trace.band + component, day)
    return whole if "{cha" in layout.template else whole._replace(location="", channel="")


@pytest.mark.parametrize(("kind", "key"), PUBLISHED)
def test_keys_as_the_archives_write_them(kind: str, key: str) -> None:
    *codes, day = PUBLISHED[kind, key]
    assert LAYOUTS[kind].parse(key) == Named._make([*codes, date.fromisoformat(day)])


@pytest.mark.parametrize(("kind", "key"), [(k, key) for k, keys in OTHERS.items() for key in keys])
def test_what_is_no_key_of_a_layout(kind: str, key: str) -> None:
    assert LAYOUTS[kind].parse(key) is None


@pytest.mark.parametrize("kind", LAYOUTS)
@given(traces, components, days)
def test_a_key_is_read_back(kind: str, trace: TraceId, component: str, day: date) -> None:
    layout = LAYOUTS[kind]
    whole = named(layout, trace, component, day)
    key = layout.key(whole)
    assert layout.parse(key) == whole
    assert layout.key(whole) == key
    assert key.startswith(layout.prefix(trace, day))
    if "{cha" not in layout.template or (kind == "geonet" and not trace.location):
        return  # a blank location, which may be spelled otherwise, stands before the band
    other = TraceId(trace.network, trace.station, trace.location, "QQ")
    assert not key.startswith(layout.prefix(other, day))


@pytest.mark.parametrize("kind", LAYOUTS)
@given(
    st.sets(traces, min_size=1, max_size=4),
    st.dates(date(2015, 12, 1), date(2017, 1, 31)),
    st.integers(1, 500),
    st.sampled_from(["*.*", "{net}.*", "{net}.{sta}", "{net}.{sta}.*.HH"]),
    st.data(),
)
def test_prefixes_hold_the_days_that_are_asked_for(
    kind: str, held: set[TraceId], start: date, length: int, glob: str, data: st.DataObject
) -> None:
    """Every wanted key under one prefix, in order of days; of other days not one."""
    layout, end = LAYOUTS[kind], start + timedelta(days=length)
    near = st.integers(-15, length + 15).map(lambda n: start + timedelta(days=n))
    keys = {}
    for trace in held:
        for day in data.draw(st.sets(near, max_size=6)):
            keys[layout.key(named(layout, trace, "Z", day))] = day

    def folders(prefix: str) -> list[str]:
        below = (key.removeprefix(prefix) for key in keys if key.startswith(prefix))
        return sorted({rest.partition("/")[0] for rest in below if "/" in rest})

    globs = [glob.format(net=trace.network, sta=trace.station) for trace in held]
    prefixes = list(layout.prefixes(start, end, Wanted.of(globs), folders))
    assert len(prefixes) == len(set(prefixes))
    for key, day in keys.items():
        hits = sum(key.startswith(prefix) for prefix in prefixes)
        assert hits == (1 if start <= day < end else hits), key
        if kind != "sds":
            assert hits == (start <= day < end), key
    for trace in held:
        of_trace = [
            day
            for prefix in prefixes
            for key, day in sorted(keys.items())
            if key.startswith(prefix) and layout.parse(key) == named(layout, trace, "Z", day)
        ]
        assert of_trace == sorted(of_trace)


def test_a_year_is_few_prefixes_and_a_station_is_listed_by_name() -> None:
    def none(prefix: str) -> list[str]:
        raise AssertionError(prefix)

    year = date(2017, 1, 1), date(2018, 1, 1)
    every = list(SCEDC.prefixes(*year, Wanted.of(["*.*"]), none))
    assert every == [f"2017/2017_{ten:02d}" for ten in range(37)]
    own = list(NCEDC.prefixes(*year, Wanted.of(["BK.*", "NC.G*"]), none))
    assert own == [f"{net}/2017/2017.{ten:02d}" for net in ("BK", "NC") for ten in range(37)]
    one = list(SCEDC.prefixes(date(2017, 4, 9), date(2017, 4, 11), Wanted.of(["CI.RIO"]), none))
    assert one == ["2017/2017_099/CIRIO__", "2017/2017_100/CIRIO__"]
    assert list(SDS.prefixes(*year, Wanted.of(["UW.SHW..HH"]), none)) == ["2017/UW/SHW/"]


@pytest.mark.parametrize("kind", ["scedc", "ncedc", "earthscope", "geonet"])
def test_a_public_archive_is_its_kind_alone(kind: str, tmp_path: Path) -> None:
    home = LAYOUTS[kind].home
    assert home is not None
    own = ArchiveConfig.model_validate({"kind": kind})
    assert (own.root, own.region, own.anonymous) == (home.root, home.region, True)
    there = ArchiveConfig.model_validate({"kind": kind, "root": f"s3://{home.bucket}/elsewhere"})
    assert (there.region, there.anonymous) == (home.region, True)
    signed = ArchiveConfig.model_validate({"kind": kind, "profile": "mine"})
    assert (signed.region, signed.anonymous, signed.profile) == (home.region, False, "mine")
    asked = ArchiveConfig.model_validate({"kind": kind, "region": "eu-west-1", "anonymous": False})
    assert (asked.root, asked.region, asked.anonymous) == (home.root, "eu-west-1", False)
    for root in (str(tmp_path), "s3://a-copy/of-it", f"s3://{home.bucket}-not/x"):
        copied = ArchiveConfig.model_validate({"kind": kind, "root": root})
        assert (copied.root, copied.region, copied.anonymous) == (root, None, False)


def test_what_an_archive_table_may_not_say() -> None:
    with pytest.raises(ValueError, match="root"):
        ArchiveConfig.model_validate({"kind": "sds"})
    with pytest.raises(ValueError, match="keep one"):
        ArchiveConfig.model_validate({"kind": "scedc", "profile": "mine", "anonymous": True})
