"""An ensemble: the mean of its members' curves, whatever the engine; and who may be a member."""

import json
from pathlib import Path

import numpy as np
import obspy
import pytest

from catalog.schema import DAY_NS, TraceId, day_of, day_start_ns
from tests.peer import aggregated, assert_same, at, on_grid, seisbench
from tests.spans import pick_span
from workers.archives import ArchiveConfig, open_archive
from workers.candidate import Candidate
from workers.engines import open_engine
from workers.ensemble import Ensemble
from workers.preparation import WeightsError
from workers.weights import load, resolve

FILE = "continuous/chile_1h/CX_20140301/CX.PB01..HH.mseed"


@pytest.mark.parametrize(("engine", "tolerance"), [("exact", 2e-7), ("fast", 1e-5)])
def test_it_is_the_mean_of_seisbenchs_curves(
    data: Path, tmp_path: Path, engine: str, tolerance: float
) -> None:
    """Two weight sets of other norm statistics, and one of the two again beside them."""
    members = [load(data / f"weights/{name}.safetensors") for name in ("original", "volpick")]
    stream = on_grid(obspy.read(str(data / FILE)))
    models = [seisbench(weights) for weights in members]
    mean, other = (model.annotate(stream) for model in models)
    alone = aggregated(models[1], other, 0.2)
    for phase in "PS":
        (one,), (two,) = (
            [trace for trace in found if trace.id.endswith(f"_{phase}")] for found in (mean, other)
        )
        assert one.stats.starttime == two.stats.starttime
        one.data = (one.data + two.data) / np.float32(2)
    stream.write(str(tmp_path / "data.mseed"), format="MSEED", encoding="STEIM2")
    archive = open_archive(ArchiveConfig(kind="files", root=str(tmp_path)))
    start = day_start_ns(day_of(stream[0].stats.starttime.ns))
    kind, floors = open_engine(engine), {"P": 0.1, "S": 0.1}
    candidates = [
        Candidate.of("both", members, kind, floors),
        Candidate.of("one", members[1:], kind, floors),
    ]
    picked = pick_span(archive, TraceId("CX", "PB01", "", "HH"), start, start + DAY_NS, candidates)
    expected = aggregated(models[0], mean, 0.2)
    assert len(expected) > 5 and expected != alone
    assert_same(at(picked["both"].picks.to_pandas(), 0.2), expected, tolerance)
    assert_same(at(picked["one"].picks.to_pandas(), 0.2), alone, tolerance)


def test_members_must_want_the_same_samples(tmp_path: Path) -> None:
    good = resolve("builtin:synthetic")
    path = tmp_path / "slow.safetensors"
    path.write_bytes(good.body)
    model = dict(good.metadata, model_args={**good.metadata["model_args"], "sampling_rate": 50})
    path.with_suffix(".json").write_text(json.dumps(model))
    with pytest.raises(WeightsError, match=r"sampling_rate is 100 and 50; members"):
        Ensemble.of([good, load(path)])
    with pytest.raises(WeightsError, match="stand twice"):
        Ensemble.of([good, good])


def test_its_identity_is_its_members_in_order() -> None:
    one, two = resolve("builtin:synthetic"), resolve("builtin:synthetic_early")
    assert Ensemble.of([one]).sha256 == one.sha256
    assert Ensemble.of([one]).preparation == one.preparation.to_json()
    assert len({Ensemble.of(m).sha256 for m in ([one], [one, two], [two, one])}) == 3
    mean = Ensemble.of([one, two]).thresholds
    assert mean["P"] == (one.thresholds["P"] + two.thresholds["P"]) / 2
