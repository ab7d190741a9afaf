"""Station epochs from StationXML and from csv: the same days, and clear refusals."""

from __future__ import annotations

from datetime import date
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from obspy import UTCDateTime
from obspy.core.inventory import Channel, Inventory, Network, Station

from catalog.schema import TraceId
from workers.epochs import EVER, Epochs, EpochsError, joined, read_epochs

BH, HH = TraceId("CI", "GSC", "", "BH"), TraceId("CI", "GSC", "10", "HH")
HEADER = "network,station,location,channel,start,end,latitude,longitude,sampling_rate\n"
ROWS = """\
CI,GSC,--,BHZ,1995-03-01,2010-05-04T12:00:00,35.3,-116.8,20
CI,GSC,,BHN,1995-03-01T00:00:00Z,2010-05-04T00:00:00,35.3,-116.8,20
CI,GSC,10,HHZ,2010-05-04T12:00:00,,35.3,-116.8,100
CI,GSC,10,HHZ,2001-01-01,2001-01-02T00:00:00.000001,35.3,-116.8,100

CI,GSC,10,LOG,2001-01-01,,,,
"""
SPANS = {
    BH: [(date(1995, 3, 1), date(2010, 5, 5))],
    HH: [(date(2001, 1, 1), date(2001, 1, 3)), (date(2010, 5, 4), EVER[1])],
}


def station_xml(path: Path) -> None:
    def channel(code: str, location: str, start: str, end: str | None) -> Channel:
        return Channel(
            code,
            location,
            latitude=35.3,
            longitude=-116.8,
            elevation=0.0,
            depth=0.0,
            start_date=UTCDateTime(start),
            end_date=end and UTCDateTime(end),
        )

    channels = [
        channel("BHZ", "", "1995-03-01", "2010-05-04T12:00:00"),
        channel("BHN", "", "1995-03-01", "2010-05-04"),
        channel("HHZ", "10", "2010-05-04T12:00:00", None),
        channel("HHZ", "10", "2001-01-01", "2001-01-02T00:00:00.000001"),
        channel("LOG", "10", "2001-01-01", None),
    ]
    station = Station("GSC", latitude=35.3, longitude=-116.8, elevation=0.0, channels=channels)
    network = Network("CI", stations=[station])
    Inventory(networks=[network], source="test").write(str(path), format="STATIONXML")


def test_stationxml_and_csv_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    station_xml(tmp_path / "sub" / "CI_GSC.xml")
    (tmp_path / "a.csv").write_text("\ufeff" + HEADER + ROWS)
    (tmp_path / "readme.txt").write_text("no metadata")
    for where in ("a.csv", "sub", "sub/*.xml", "sub/CI_GSC.xml", "", "**/*.xml"):
        assert read_epochs(str(tmp_path / where)).spans == SPANS, where


def test_a_band_instead_of_a_channel(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("Band,Network,Station,Location,Start,End\nHH,CI,GSC,10,2001-01-01,\n")
    epochs = read_epochs(str(path))
    assert epochs.spans == {HH: [(date(2001, 1, 1), EVER[1])]}
    assert epochs.of_station("CI", "GSC") == [HH] and not epochs.of_station("CI", "XXX")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("network,station,channel,start,end\n", "no column location"),
        ("network,station,location,start,end\n", "no column band"),
        ("", "no column network"),
        (HEADER + "CI,GSC,,BHZ,2010.21,\n", "row 2: start '2010.21': write it as 2022-02-06"),
        (HEADER + "CI,GSC,,BHZ,2010-13-01,\n", "start '2010-13-01'"),
        (HEADER + "CI,GSC,,BHZ,2010-02-02,2010-02-01\n", "is not after start"),
        (HEADER + "CI,,,BHZ,2010-02-02,\n", "no network, station or channel"),
        (HEADER + f"CI,{'G' * 65},,BHZ,2010-02-02,\n", "trace code 'GGG"),
        (HEADER + f'CI,GSC,,"{"H" * 200_000}",2010-02-02,\n', "not csv (field larger"),
        (HEADER, "no channel in it"),
        ("<html>Not found</html>", "not StationXML"),
        ("<FDSNStationXML", "not StationXML"),
    ],
)
def test_metadata_that_cannot_be_read(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "x.csv"
    path.write_text(text)
    with pytest.raises(EpochsError, match=r"select\.epochs") as told:
        read_epochs(str(path))
    assert said in str(told.value) and "x.csv" in str(told.value)
    with pytest.raises(EpochsError, match="no such file"):
        read_epochs(str(tmp_path / "*.xml"))


spans = st.tuples(st.integers(1, 60), st.integers(1, 20)).map(
    lambda pair: (date.fromordinal(700_000 + pair[0]), date.fromordinal(700_000 + sum(pair)))
)


@given(st.lists(spans, max_size=6), st.integers(0, 90).map(lambda n: date.fromordinal(700_000 + n)))
def test_a_day_is_covered_where_any_epoch_has_it(found: list[tuple[date, date]], day: date) -> None:
    epochs = Epochs((BH, days) for days in found)
    inside = any(first <= day < stop for first, stop in found)
    assert epochs.covers(BH, day) == inside
    assert epochs.on("CI", "GSC", day) == ((BH,) if inside else ())
    whole = joined(found)
    assert all(a[1] < b[0] for a, b in pairwise(whole))


def test_a_folder_without_metadata_is_told_from_none(tmp_path: Path) -> None:
    with pytest.raises(EpochsError, match=r"no \.xml or \.csv in this folder"):
        read_epochs(str(tmp_path))
    with pytest.raises(EpochsError, match="no such file"):
        read_epochs(str(tmp_path / "none"))
