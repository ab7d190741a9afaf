"""Promise 1 and 6: the rows of SeisBench `classify`, run live, on the same segments."""

from pathlib import Path
from typing import Any

import numpy as np
import obspy
import pandas as pd
import pytest
import torch

from catalog.schema import DAY_NS, Flag, TraceId, day_of, day_start_ns
from tests.peer import THRESHOLDS, aggregated, assert_same, at, on_grid, seisbench, theirs
from tests.spans import pick_span
from workers.archives import ArchiveConfig, open_archive
from workers.candidate import Candidate
from workers.engines import open_engine
from workers.phasenet import WINDOW
from workers.waveform import grid_index
from workers.weights import Weights, load
from workers.windows import STEP

FLOOR = 0.1
WEIGHTS = ("original", "volpick", "volpick_95train")
FILES = (
    "pnsn_2022-037/PB.B204..EH.ms",
    "pnsn_2022-037/UW.SHW..HH.ms",
    "chile_1h/CX_20140301/CX.PB01..HH.mseed",
    "chile_1h/CX_20140301/CX.PB02..HH.mseed",
    "chile_1h/CX_20140401/CX.PB01..HH.mseed",
    "chile_1h/CX_20140401/CX.PB02..HH.mseed",
)


def candidate(weights: Weights, engine: str, **changes: Any) -> Candidate:
    values = {"floors": {"P": FLOOR, "S": FLOOR}} | changes
    return Candidate.of("c", [weights], open_engine(engine), **values)


def ours(folder: Path, stream: obspy.Stream, one: Candidate) -> pd.DataFrame:
    """Our picks of a stream, through miniSEED and the files archive, over its days."""
    stream.write(str(folder / "data.mseed"), format="MSEED", encoding="STEIM2")
    network, station, location, channel = stream[0].id.split(".")
    trace = TraceId(network, station, location, channel[:2])
    archive = open_archive(ArchiveConfig(kind="files", root=str(folder)))
    start = day_start_ns(day_of(stream[0].stats.starttime.ns))
    table = pick_span(archive, trace, start, start + DAY_NS, [one])["c"].picks
    frame: pd.DataFrame = table.to_pandas()
    return frame


@pytest.mark.parametrize("file", FILES)
def test_real_data_at_every_threshold(data: Path, tmp_path: Path, file: str) -> None:
    stream = on_grid(obspy.read(str(data / "continuous" / file)))
    for name in WEIGHTS:
        weights = load(data / "weights" / f"{name}.safetensors")
        model = seisbench(weights)
        annotations = model.annotate(stream)  # once; classify is this and the aggregation
        expected = {t: aggregated(model, annotations, t) for t in THRESHOLDS}
        assert len(expected[FLOOR]) > 10
        for engine, tolerance in (("exact", 2e-7), ("fast", 1e-5)):
            rows = ours(tmp_path, stream, candidate(weights, engine))
            for threshold in THRESHOLDS:
                assert_same(at(rows, threshold), expected[threshold], tolerance)


def test_exact_is_bit_for_bit_at_full_batches(data: Path, tmp_path: Path) -> None:
    """SeisBench's last, smaller batch differs in the last bit by itself; here there is none."""
    weights = load(data / "weights/original.safetensors")
    stream = on_grid(obspy.read(str(data / "continuous" / FILES[0])))
    windows = 4 * 64
    for trace in stream:
        trace.data = trace.data[: WINDOW + (windows - 1) * STEP]
    rows = ours(tmp_path, stream, candidate(weights, "exact"))
    assert_same(at(rows, FLOOR), theirs(seisbench(weights), stream, FLOOR, batch_size=64), 0.0)


@pytest.mark.parametrize(
    ("stacking", "blinding"), [("max", (0, 0)), ("avg", (250, 250)), ("max", (500, 100))]
)
def test_stacking_and_blinding(
    data: Path, tmp_path: Path, stacking: str, blinding: tuple[int, int]
) -> None:
    weights = load(data / "weights/volpick.safetensors")
    stream = on_grid(obspy.read(str(data / "continuous" / FILES[2])))
    one = candidate(weights, "exact", stacking=stacking, blinding=blinding)
    expected = theirs(seisbench(weights), stream, 0.2, stacking=stacking, blinding=blinding)
    assert_same(at(ours(tmp_path, stream, one), 0.2), expected, 2e-7)


def test_each_segment_of_data_with_gaps(data: Path, tmp_path: Path) -> None:
    """Two segments, the second with one component missing at first: zero fill inside."""
    weights = load(data / "weights/original.safetensors")
    whole = on_grid(obspy.read(str(data / "continuous" / FILES[0])))
    t0, rate = whole[0].stats.starttime, 100
    parts = [(0, 40 * STEP), (50 * STEP, 90 * STEP + 77)]
    stream, expected = obspy.Stream(), []
    for low, high in parts:
        part = whole.slice(t0 + low / rate, t0 + (high - 1) / rate)
        expected += theirs(seisbench(weights), part, 0.2)
        stream += part
    rows = ours(tmp_path, stream, candidate(weights, "exact"))
    assert_same(at(rows, 0.2), sorted(expected), 2e-7)


def test_one_component_is_zero_filled(data: Path, tmp_path: Path) -> None:
    weights = load(data / "weights/original.safetensors")
    stream = on_grid(obspy.read(str(data / "continuous" / FILES[2]))).select(component="Z")
    rows = ours(tmp_path, stream, candidate(weights, "exact"))
    assert_same(at(rows, 0.2), theirs(seisbench(weights), stream, 0.2), 2e-7)
    assert set(rows.n_components) == {1}


def test_a_dead_component_is_zero_where_seisbench_amplifies_rounding(
    data: Path, tmp_path: Path
) -> None:
    """SeisBench divides what demeaning leaves of a constant by 1e-10; ours is silence."""
    weights = load(data / "weights/original.safetensors")
    stream = on_grid(obspy.read(str(data / "continuous" / FILES[2])))
    silent = stream.copy()
    for trace in stream.select(component="E"):
        trace.data = np.full_like(trace.data, 16_777_301)
    for trace in silent.select(component="E"):
        trace.data = np.zeros_like(trace.data)
    rows = ours(tmp_path, stream, candidate(weights, "exact"))
    model = seisbench(weights)
    assert_same(at(rows, 0.2), theirs(model, silent, 0.2), 2e-7)
    assert set(rows.n_components) == {2} and (rows["flags"] & Flag.DEAD_COMPONENT).all()
    batch = torch.full((1, 3, WINDOW), 16_777_301.0)
    assert model.annotate_batch_pre(batch, {}).abs().max() > 1


def test_seisbench_loses_a_sample_where_int_truncates(data: Path) -> None:
    """Upstream: int((t - t0) * fs) is one short for about 6 % of lengths; ours rounds."""
    short = [
        n
        for n in range(3001, 9001)
        if int(
            (obspy.UTCDateTime(2022, 2, 6) + (n - 1) / 100 - obspy.UTCDateTime(2022, 2, 6)) * 100
        )
        != n - 1
    ]
    assert 0.03 < len(short) / 6000 < 0.09
    begin = obspy.UTCDateTime(2022, 2, 6)
    for n in short[:20]:
        assert grid_index((begin + (n - 1) / 100).ns, 100) - grid_index(begin.ns, 100) == n - 1


def test_original_finds_the_analysts_picks(data: Path, tmp_path: Path) -> None:
    """All six PNSN picks of the four hours within 0.1 s, from the files as they are."""
    weights = load(data / "weights/original.safetensors")
    archive = open_archive(
        ArchiveConfig(kind="files", root=str(data / "continuous/pnsn_2022-037"), pattern="*.ms")
    )
    found = 0
    for trace in (TraceId("PB", "B204", "", "EH"), TraceId("UW", "SHW", "", "HH")):
        start = day_start_ns(day_of(1_644_113_700 * 10**9))
        table = pick_span(archive, trace, start, start + DAY_NS, [candidate(weights, "fast")])
        rows = at(table["c"].picks.to_pandas(), 0.3)
        analysts = pd.read_csv(
            data / f"continuous/pnsn_2022-037/{trace.network}.{trace.station}.2022.037.csv"
        )
        inside = analysts[analysts.timestamp * 1e9 < start + 4 * 3600 * 10**9]
        for row in inside.to_dict("records"):
            near = [
                abs(time / 1e9 - row["timestamp"])
                for phase, time, _ in rows
                if phase == row["phase"]
            ]
            assert min(near) <= 0.1
            found += 1
    assert found == 6
