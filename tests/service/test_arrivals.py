"""What analysts wrote, in every form that is read; what does not fit is told, never dropped."""

from pathlib import Path

import obspy
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from obspy.core.event import Arrival, Event, Origin, Pick, ResourceIdentifier, WaveformStreamID
from obspy.core.event import Catalog as Events

from catalog.errors import Refusal
from catalog.truth import ARRIVAL_SCHEMA
from service.evaluate.read.arrivals import read_arrivals
from service.evaluate.read.events import read_events, read_sites

ROWS = [  # network, station, location, phase as written, P or S, time, event
    ("XX", "A", "", "Pg", "P", "2024-03-01T00:00:01.000000", "ev1"),
    ("XX", "A", "", "Sn", "S", "2024-03-01T00:00:02.345678", "ev1"),
    ("XX", "B", "00", "P", "P", "2024-03-01T00:10:00.500000", "ev2"),
]
NS = [obspy.UTCDateTime(row[5]).ns for row in ROWS]
EXPECTED = pa.Table.from_pylist(
    [
        dict(zip(ARRIVAL_SCHEMA.names, (n, s, loc, phase, ns, event), strict=True))
        for (n, s, loc, _, phase, _, event), ns in zip(ROWS, NS, strict=True)
    ],
    ARRIVAL_SCHEMA,
)


def as_csv(path: Path) -> Path:
    lines = ["Event_ID,Net,Station,Location,Phase,Time,Analyst"]
    lines += [f"{e},{n},{s},{loc or '--'},{p},{t},me" for n, s, loc, p, _, t, e in ROWS]
    path.write_text("# from the bulletin\n" + "\n".join(lines))
    return path


def as_pnsn(path: Path) -> Path:
    lines = ["pick_id,source_id,network,station,location,channel,timestamp,phase,evaluation_mode"]
    lines += [
        f"{k},{e},{n},{s},{loc or '--'},HHZ,{ns // 10**9}.{ns % 10**9:09d},{p},manual"
        for k, ((n, s, loc, p, _, _, e), ns) in enumerate(zip(ROWS, NS, strict=True))
    ]
    path.write_text("\n".join(lines))
    return path


def as_parquet(path: Path) -> Path:
    written = pa.array([row[3] for row in ROWS])
    pq.write_table(EXPECTED.set_column(3, "phase", written), path)
    return path


def as_seisbench(path: Path) -> Path:
    """One trace a row, its arrivals in samples after its start."""
    lines = [
        "source_id,station_network_code,station_code,station_location_code,trace_start_time,"
        "trace_sampling_rate_hz,trace_Pg_arrival_sample,trace_Sn_arrival_sample,"
        "trace_P_arrival_sample",
        "ev1,XX,A,,2024-03-01T00:00:00Z,1000000,1000000,2345678,",
        "ev2,XX,B,00,2024-03-01T00:10:00.5Z,100,,,0",
    ]
    path.write_text("\n".join(lines))
    return path


def as_quakeml(path: Path) -> Path:
    """The phase stands in the arrival, as SeisComP writes it, or as the pick's own hint."""
    events: dict[str, Event] = {}
    for n, s, loc, phase, _, time, name in ROWS:
        event = events.setdefault(
            name, Event(resource_id=ResourceIdentifier(name), origins=[Origin()])
        )
        pick = Pick(
            time=obspy.UTCDateTime(time), waveform_id=WaveformStreamID(n, s, loc, channel_code="HZ")
        )
        event.picks.append(pick)
        if phase == "Pg":
            pick.phase_hint = "P"
        else:
            event.origins[0].arrivals.append(Arrival(pick_id=pick.resource_id, phase=phase))
    Events(list(events.values())).write(str(path), format="QUAKEML")
    return path


@pytest.mark.parametrize(
    ("write", "name"),
    [
        (as_csv, "a.csv"),
        (as_pnsn, "a.csv"),
        (as_parquet, "a.parquet"),
        (as_seisbench, "a.csv"),
        (as_quakeml, "a.xml"),
    ],
)
def test_one_truth_in_every_form(tmp_path: Path, write, name: str) -> None:
    found = read_arrivals([str(write(tmp_path / name))])
    names = [n for n in ARRIVAL_SCHEMA.names if write is not as_quakeml or n != "event"]
    assert found.table.select(names).equals(EXPECTED.select(names))
    assert [event[-3:] for event in found.table["event"].to_pylist()] == ["ev1", "ev1", "ev2"]
    assert not found.left_out


def test_what_is_no_arrival_is_counted(tmp_path: Path) -> None:
    path = as_pnsn(tmp_path / "a.csv")
    with path.open("a") as file:
        file.write("\n7,ev3,XX,A,--,HHZ,1709251300.0,PcP,manual")
        file.write("\n8,ev3,XX,A,--,HHZ,1709251400.0,P,automatic")
    found = read_arrivals([str(path), str(as_csv(tmp_path / "b.csv"))])
    assert found.table.equals(EXPECTED)
    assert found.left_out == {
        "phase 'PcP' is neither P nor S": 1,
        "picked by a machine": 1,
        "stands twice": 3,
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("network,station,time\nXX,A,2024-03-01T00:00:00", "no column for the phase; name it"),
        ("network,station,phase,time,timestamp\n", "columns ['time', 'timestamp'] both mean"),
        ("network,network,station,phase,time\n", "column 'network' stands twice"),
        ("network,station,phase,time\nXX,,P,1.5", "row 2: no station; fill it in"),
        ("network,station,phase,time\nXX,A,P", "row 2: 3 fields under 4 columns"),
        ("network,station,phase,time\nXX,A,P,noon", "row 2: time 'noon': write 2022-02-06T"),
        ("network,station,phase,time\nXX,A,P,1e30", "row 2: time '1e30'"),
        ("network,station,phase,time\nXX,A,P,2024-02-30T00:00:00", "row 2: time '2024-02-30"),
        ("network,station,phase,time\nXX,A,LR,1.5", "none is P or S (1 rows: phase 'LR'"),
        ("network,station,phase,time\n", "none is P or S (no rows)"),
    ],
)
def test_a_csv_that_does_not_fit(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "picks.csv"
    path.write_text(text)
    with pytest.raises(Refusal) as refused:
        read_arrivals([str(path)])
    assert str(path) in str(refused.value) and said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_files_that_are_something_else(tmp_path: Path) -> None:
    for name, body in (
        ("a.xml", b"<html>"),
        ("a.parquet", b"no"),
        ("a.txt", b"x"),
        ("b.csv", b"\xff"),
    ):
        (tmp_path / name).write_bytes(body)
        with pytest.raises(Refusal, match=name):
            read_arrivals([str(tmp_path / name)])
    with pytest.raises(Refusal, match="cannot be read"):
        read_arrivals([str(tmp_path / "none.csv")])


def test_the_analysts_of_the_pnsn(data: Path) -> None:
    files = sorted((data / "continuous" / "pnsn_2022-037").glob("*.csv"))
    found = read_arrivals([str(file) for file in files])
    assert found.table.num_rows == sum(len(f.read_text().splitlines()) - 1 for f in files)
    first = found.table.slice(0, 1).cast(ARRIVAL_SCHEMA).to_pandas().iloc[0]
    assert (first.network, first.station, first.location, first.phase) == ("UW", "SHW", "", "P")
    assert first.event == "uw61815141"
    assert first.time.isoformat() == "2022-02-06T02:14:59.730000+00:00"
    assert not found.left_out


def test_events_and_stations_as_others_write_them(tmp_path: Path) -> None:
    comcat = tmp_path / "query.csv"
    comcat.write_text(
        "time,latitude,longitude,depth,mag,magType,id\n"
        "2014-04-01T23:46:47.260Z,-19.6097,-70.7691,25,8.2,mww,usc000nzvd\n"
        "2014-04-01T01:00:00Z,-20,-70,,,,x\n"
    )
    first, second = read_events(str(comcat)).to_pylist()
    assert (first["event"], first["depth_km"], first["magnitude"]) == ("usc000nzvd", 25.0, 8.2)
    assert (second["depth_km"], second["magnitude"]) == (0.0, None)

    origin = Origin(time=obspy.UTCDateTime(1e9), latitude=1.0, longitude=2.0, depth=5000.0)
    quakeml = tmp_path / "events.xml"
    Events([Event(origins=[origin])]).write(str(quakeml), format="QUAKEML")
    [row] = read_events(str(quakeml)).to_pylist()
    assert (row["latitude"], row["depth_km"], row["magnitude"]) == (1.0, 5.0, None)

    sites = tmp_path / "stations.csv"
    sites.write_text("network,station,latitude,longitude\nCX,PB01,-21.04,-69.49\n")
    inventory = obspy.core.inventory.Inventory(
        [
            obspy.core.inventory.Network(
                "CX", [obspy.core.inventory.Station("PB01", -21.04, -69.49, 900.0)]
            )
        ]
    )
    inventory.write(str(tmp_path / "stations.xml"), format="STATIONXML")
    rows = [
        read_sites(str(tmp_path / f"stations.{kind}")).to_pylist()[0] for kind in ("csv", "xml")
    ]
    assert [row.pop("elevation_m") for row in rows] == [0.0, 900.0]
    assert rows[0] == rows[1]

    sites.write_text("network,station,latitude,longitude\nCX,A,1,1\nCX,A,1,2\n")
    with pytest.raises(Refusal, match=r"CX\.A is in two places"):
        read_sites(str(sites))
    sites.write_text("network,station,latitude,longitude\nCX,A,91,1\n")
    with pytest.raises(Refusal, match="row 2: latitude '91': write a number from -90 to 90"):
        read_sites(str(sites))
