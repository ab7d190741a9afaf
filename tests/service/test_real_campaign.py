"""The main job on real data: campaigns in, a catalogue out, held against SeisBench run live."""

import json
from pathlib import Path

import obspy
import pytest

from catalog.query import Catalog
from service.cli import main
from tests.peer import THRESHOLDS, aggregated, assert_same, at, on_grid, seisbench
from workers.weights import load

WEIGHTS = ("original", "volpick", "volpick_95train")
SETS = {
    "2022-02-06 2022-02-07": ("pnsn_2022-037/PB.B204..EH.ms", "pnsn_2022-037/UW.SHW..HH.ms"),
    "2014-03-01 2014-04-02": (
        "chile_1h/CX_20140301/CX.PB01..HH.mseed",
        "chile_1h/CX_20140301/CX.PB02..HH.mseed",
        "chile_1h/CX_20140401/CX.PB01..HH.mseed",
        "chile_1h/CX_20140401/CX.PB02..HH.mseed",
    ),
}


@pytest.fixture(scope="module", params=["fast", "exact"])
def catalogue(
    request: pytest.FixtureRequest, data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str]:
    """Two campaigns over trimmed files into one catalogue, three candidates each."""
    folder = tmp_path_factory.mktemp("real")
    candidates = "".join(
        f'[[candidate]]\nname = "{name}"\nweights = "{data}/weights/{name}.safetensors"\n'
        for name in WEIGHTS
    )
    for dates, files in SETS.items():
        for file in files:
            path = folder / "archive" / file
            path.parent.mkdir(parents=True, exist_ok=True)
            stream = on_grid(obspy.read(str(data / "continuous" / file)))
            stream.write(str(path), format="MSEED", encoding="STEIM2")
        start, end = dates.split()
        (folder / "campaign.toml").write_text(
            f'name = "real"\ncatalog = "catalogue"\n[archive]\nkind = "files"\nroot = "archive"\n'
            f'[select]\nstations = ["*.*"]\nstart = {start}\nend = {end}\n{candidates}'
            f'[compute]\nengine = "{request.param}"\nworkers = 2\n'
        )
        assert main(["run", str(folder / "campaign.toml"), "--json"]) == 0
    return folder, request.param


def test_every_station_and_candidate_at_every_threshold(
    catalogue: tuple[Path, str], data: Path
) -> None:
    folder, engine = catalogue
    picks = Catalog(str(folder / "catalogue")).sql("SELECT * FROM picks").to_pandas()
    compared = 0
    for name in WEIGHTS:
        model = seisbench(load(data / "weights" / f"{name}.safetensors"))
        for file in (file for files in SETS.values() for file in files):
            stream = obspy.read(str(folder / "archive" / file))
            begin, end = stream[0].stats.starttime, stream[0].stats.endtime
            rows = picks[
                (picks.candidate == name)
                & (picks.station == stream[0].stats.station)
                & (picks.time.astype("int64") >= begin.ns - 10**7)
                & (picks.time.astype("int64") <= end.ns + 10**7)
            ]
            annotations = model.annotate(stream)
            for threshold in THRESHOLDS:
                expected = aggregated(model, annotations, threshold)
                assert_same(at(rows, threshold), expected, 2e-7 if engine == "exact" else 1e-5)
                compared += len(expected)
    assert compared > 1_500


def test_every_planned_station_day_has_one_outcome(
    catalogue: tuple[Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = catalogue
    assert main(["status", str(folder / "catalogue"), "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    for name in WEIGHTS:
        assert status["candidates"][name]["outcomes"] == {"picked": 6, "no_data": 60}
