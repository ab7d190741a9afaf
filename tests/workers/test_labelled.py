"""Labelled traces: every reader gives the same trace, and what cannot be read is an outcome."""

from __future__ import annotations

import math
from pathlib import Path

import h5py  # type: ignore[import-untyped]
import numpy as np
import pandas as pd
import pytest
import zarr
from seisbench.data import WaveformDataWriter

from catalog.schema import Outcome
from catalog.store import open_store
from workers.archives.zarr import zarr_store
from workers.candidate import Candidate
from workers.engines import open_engine
from workers.labelled import open_labelled
from workers.labelled.columns import described
from workers.labelled.traces import (
    BenchmarkError,
    Description,
    LabelledTrace,
    Unreadable,
    snr_db,
)
from workers.oracle import examine
from workers.tasks import task_windows
from workers.weights import resolve

RATE = 100


def noisy_event(p: int, s: int, n: int, seed: int = 0) -> np.ndarray:
    """float32 [3, n], rows Z N E: noise, P on Z from `p`, S on N and E from `s`."""
    rng = np.random.default_rng(seed)
    data = rng.normal(0, 1, (3, n))
    for onset, gains in ((p, (40, 8, 8)), (s, (15, 90, 90))):
        t = np.arange(n - onset) / RATE
        pulse = np.exp(-t / 1.5) * np.sin(2 * np.pi * 6 * t)
        data[:, onset:] += np.array(gains)[:, None] * pulse
    return data.astype(np.float32)


def write_dataset(folder: Path, traces, chunk: str = "", order: str = "ZNE") -> None:
    """traces: (metadata, samples). One hdf5 dataset a trace, so that names stay."""
    with WaveformDataWriter(
        folder / f"metadata{chunk}.csv", folder / f"waveforms{chunk}.hdf5"
    ) as writer:
        writer.bucket_size = 1
        writer.data_format = {"dimension_order": "CW", "component_order": order}
        for metadata, samples in traces:
            writer.add_trace(dict(metadata), samples)


def metadata(name: str, **more):
    return {
        "trace_name": name,
        "source_id": "quake",
        "station_network_code": "NA",
        "station_code": "ABC",
        "trace_sampling_rate_hz": 100.0,
        "trace_P_arrival_sample": 2000,
        "trace_S_arrival_sample": 2600,
        "path_ep_distance_km": 40.0,
        "source_depth_km": 7.0,
        "source_magnitude": 2.5,
    } | more


def read_all(labelled):
    return [trace for piece in labelled.pieces(2) for trace in labelled.read(piece)]


@pytest.fixture(scope="module")
def candidate() -> Candidate:
    floors = {"P": 0.1, "S": 0.1}
    return Candidate.of("it", [resolve("builtin:synthetic")], open_engine("exact"), floors)


def examined(traces, candidate):
    return examine(traces, [candidate])[candidate.name].to_pylist()


def test_chunks_are_read_and_a_broken_trace_spoils_no_other(tmp_path, candidate):
    event = noisy_event(2000, 2600, 6000)
    write_dataset(
        tmp_path,
        [
            (metadata("good"), event),
            (metadata("no number"), np.where(np.arange(6000) == 2100, np.nan, event)),
            (metadata("gone"), event),
            (metadata("flat"), np.ones((3, 6000), np.float32)),
            (metadata("short"), event[:, :3000]),
            (metadata("rateless", trace_sampling_rate_hz=math.nan), event),
            (
                metadata("unlabelled", trace_P_arrival_sample=None, trace_S_arrival_sample=None),
                event,
            ),
            (metadata("outside", trace_P_arrival_sample=7000, trace_S_arrival_sample=None), event),
            (metadata("quiet", trace_category="noise"), event),
        ],
        "_a",
    )
    write_dataset(tmp_path, [(metadata("lost"), event)], "_b")
    with h5py.File(tmp_path / "waveforms_a.hdf5", "a") as file:
        del file["data/gone"]
    (tmp_path / "waveforms_b.hdf5").unlink()

    rows = examined(read_all(open_labelled("seisbench", str(tmp_path))), candidate)

    assert {row["trace_name"]: (row["chunk"], row["outcome"]) for row in rows} == {
        "good": ("_a", "picked"),
        "no number": ("_a", "bad_format"),
        "gone": ("_a", "bad_format"),
        "flat": ("_a", "dead"),
        "short": ("_a", "too_short"),
        "rateless": ("_a", "bad_format"),
        "unlabelled": ("_a", "no_data"),
        "outside": ("_a", "bad_format"),
        "lost": ("_b", "no_data"),
    }
    for row in rows:
        assert (row["outcome"] == "picked") == (row["detail"] is None)
        assert (row["p_in_window"] >= 0) == (row["outcome"] == "picked")
    good = rows[0]
    assert (good["event_id"], good["station"]) == ("quake", "NA.ABC")
    assert (good["distance_km"], good["depth_km"], good["magnitude"]) == (40.0, 7.0, 2.5)
    assert good["n_components"] == 3
    assert (good["p_in_window"], good["s_in_window"]) == (1000, 1600)


def test_the_planted_onsets_are_found(tmp_path, candidate):
    traces = [(metadata(f"t{k}"), noisy_event(2000, 2600, 6000, k)) for k in range(8)]
    write_dataset(tmp_path, traces)
    rows = examined(read_all(open_labelled("seisbench", str(tmp_path))), candidate)
    for p in ("p", "s"):
        assert np.median([row[f"{p}_prob"] for row in rows]) > 0.5
        assert np.median([abs(row[f"{p}_residual_s"]) for row in rows]) < 0.2


def test_the_probabilities_are_the_networks_own(tmp_path, candidate):
    """One window, by hand through the network, as SeisBench would."""
    import torch

    event = noisy_event(2000, 2600, 6000)
    write_dataset(tmp_path, [(metadata("one"), event)])
    (row,) = examined(read_all(open_labelled("seisbench", str(tmp_path))), candidate)
    weights = resolve("builtin:synthetic")
    use = weights.preparation
    window = torch.from_numpy(event[["ZNE".index(c) for c in use.components], 1000:4001])[None]
    window = window - window.mean(-1, keepdim=True)
    scale = window.abs().amax(-1, keepdim=True) if use.peak else window.std(-1, keepdim=True)
    with torch.inference_mode():
        curves = weights.network()(window / (scale + 1e-10))[0].numpy()
    for phase, label in (("P", 1000), ("S", 1600)):
        curve = curves[use.phases.index(phase), label - 500 : label + 501]
        p = phase.lower()
        assert row[f"{p}_prob"] == pytest.approx(curve.max(), abs=1e-5)
        assert row[f"{p}_residual_s"] == (int(curve.argmax()) - 500) / 100


@pytest.mark.parametrize("order", ["ENZ", "Z12", "21Z"])
def test_components_are_told_by_their_codes(tmp_path, candidate, order):
    event = noisy_event(2000, 2600, 6000)
    rows = {"Z": event[0], "N": event[1], "1": event[1], "E": event[2], "2": event[2]}
    write_dataset(tmp_path / "plain", [(metadata("one"), event)])
    turned = np.stack([rows[code] for code in order])
    write_dataset(tmp_path / order, [(metadata("one"), turned)], order=order)
    plain, other = (
        examined(read_all(open_labelled("seisbench", str(tmp_path / name))), candidate)
        for name in ("plain", order)
    )
    assert [row | {"snr_db": 0} for row in plain] == [row | {"snr_db": 0} for row in other]


def test_another_rate_is_brought_to_the_candidates(candidate):
    from obspy import Trace

    event = noisy_event(2000, 2600, 6000)
    fine = np.stack([Trace(row.astype(float), {"sampling_rate": 100.0}).data for row in event])
    fine = np.stack([np.interp(np.arange(11999) / 2, np.arange(6000), row) for row in fine])
    about = Description("x", arrivals=(("P", 4000.0), ("S", 5200.0)))
    plain = Description("x", arrivals=(("P", 2000.0), ("S", 2600.0)))
    at_200, at_100, at_5 = examined(
        [
            LabelledTrace(about, 200.0, "ZNE", fine.astype(np.float32)),
            LabelledTrace(plain, 100.0, "ZNE", event),
            LabelledTrace(plain, 5.0, "ZNE", event),
        ],
        candidate,
    )
    assert (at_200["p_in_window"], at_200["s_in_window"]) == (1000, 1600)
    assert at_200["p_residual_s"] == pytest.approx(at_100["p_residual_s"], abs=0.05)
    assert at_5["outcome"] == Outcome.WRONG_RATE


def test_a_label_near_an_end_moves_the_window_as_little_as_it_must(candidate):
    event = noisy_event(2000, 2600, 6000)
    traces = [
        LabelledTrace(Description("a", arrivals=(("P", 300.0),)), 100.0, "ZNE", event),
        LabelledTrace(Description("b", arrivals=(("P", 5900.4),)), 100.0, "ZNE", event),
        LabelledTrace(Description("c", arrivals=(("S", 2600.0),)), 100.0, "ZNE", event),
    ]
    first, last, only_s = examined(traces, candidate)
    assert first["p_in_window"] == 300
    assert last["p_in_window"] == 5900 - (6000 - 3001)
    assert abs(last["p_residual_s"]) <= 5.0
    assert (only_s["p_in_window"], only_s["s_in_window"]) == (-1, 1000)
    assert only_s["p_prob"] is None


def test_peaks_are_looked_for_within_five_seconds_on_both_sides(candidate):
    """The same onset from labels 4 s before and after it, and from one that is too far."""
    event = noisy_event(3000, 3150, 7000)
    shifts = (0, 400, -400, 700)
    rows = examined(
        [
            LabelledTrace(Description(f"{s}", arrivals=(("P", 3000.0 + s),)), 100.0, "ZNE", event)
            for s in shifts
        ],
        candidate,
    )
    true, after, before, far = rows
    assert true["p_prob"] > 0.5 and abs(true["p_residual_s"]) < 0.2
    assert after["p_residual_s"] == pytest.approx(-4.0, abs=0.3)
    assert before["p_residual_s"] == pytest.approx(4.0, abs=0.3)
    assert far["p_prob"] < 0.3 and abs(far["p_residual_s"]) <= 5.0


def test_batches_of_any_size_give_the_same_rows(candidate):
    traces = [
        LabelledTrace(
            Description(f"t{k}", arrivals=(("P", 2000.0 + 7 * k), ("S", 2600.0))),
            100.0,
            "ZNE",
            noisy_event(2000 + 7 * k, 2600, 6000, k),
        )
        for k in range(5)
    ]
    together = examined(traces, candidate)
    alone = [row for trace in traces for row in examined([trace], candidate)]
    assert together == alone


def test_the_earliest_first_arrival_is_the_label():
    frame = pd.DataFrame(
        [
            {
                "trace_name": "x",
                "trace_Pn_arrival_sample": 900.5,
                "trace_Pg_arrival_sample": 1200,
                "trace_PmP_arrival_sample": 100,
                "trace_pP_arrival_sample": 50,
                "trace_Sg_arrival_sample": None,
                "trace_sP_arrival_sample": 5,
            }
        ]
    )
    (about,) = described(frame, "", ())
    assert about.labels == {"P": 900.5}


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"trace_snr_db": 12.5}, 12.5),
        ({"trace_snr_db": "[56.0 55.0 48.0]"}, 53.0),
        ({"trace_Z_snr_db": 10.0, "trace_E_snr_db": 20.0}, 15.0),
        ({"trace_snr_db": None}, None),
    ],
)
def test_signal_to_noise_as_data_sets_give_it(given, wanted):
    (about,) = described(pd.DataFrame([{"trace_name": "x"} | given]), "", ())
    assert about.snr_db == wanted


def test_signal_to_noise_from_the_samples():
    rng = np.random.default_rng(1)
    samples = rng.normal(0, 1, (3, 4000))
    samples[:, 2000:] *= 10
    at = LabelledTrace(Description("x", arrivals=(("P", 2000.0),)), 100.0, "ZNE", samples)
    assert snr_db(at) == pytest.approx(20, abs=1)
    early = LabelledTrace(Description("x", arrivals=(("P", 100.0),)), 100.0, "ZNE", samples)
    assert snr_db(early) is None


def test_the_real_npz_with_real_weights(data, candidate):
    labelled = open_labelled("npz", str(data / "labelled" / "ncedc_labelled.npz"))
    piece = next(iter(labelled.pieces(16)))
    original = Candidate.of(
        "original",
        [resolve(str(data / "weights" / "original.safetensors"))],
        open_engine("fast"),
        {"P": 0.1, "S": 0.1},
    )
    rows = examined(labelled.read(piece), original)
    assert [row["station"] for row in rows][:2] == ["BG.BRP", "BG.BRP"]
    assert {row["outcome"] for row in rows} == {"picked"}
    assert np.mean([row["p_prob"] >= 0.3 for row in rows]) > 0.8
    assert np.median([abs(row["p_residual_s"]) for row in rows]) < 0.1
    assert sum(piece.stop - piece.start for piece in labelled.pieces(50)) == 78


def test_what_is_no_benchmark_is_refused_by_name(tmp_path):
    np.savez(tmp_path / "odd.npz", data=np.zeros((1, 5, 3)), itp=[1], name=["a"])
    (tmp_path / "metadata.csv").write_text("trace_nome\nx\n")
    with pytest.raises(BenchmarkError, match="no array 'its'"):
        open_labelled("npz", str(tmp_path / "odd.npz"))
    with pytest.raises(BenchmarkError, match="no column 'trace_name'"):
        list(open_labelled("seisbench", str(tmp_path)).pieces(10))
    with pytest.raises(BenchmarkError, match="no such folder"):
        open_labelled("seisbench", str(tmp_path / "nowhere"))


def test_the_fingerprint_follows_labels_and_samples(tmp_path):
    event = noisy_event(2000, 2600, 6000)
    prints = set()
    for name, row, samples in (
        ("a", metadata("x"), event),
        ("b", metadata("x", trace_P_arrival_sample=2001), event),
        ("c", metadata("x"), event + 1),
    ):
        write_dataset(tmp_path / name, [(row, samples)])
        prints.add(open_labelled("seisbench", str(tmp_path / name)).fingerprint)
    assert len(prints) == 3


@pytest.mark.parametrize("where", ["disk", "s3"])
@pytest.mark.parametrize("stacked", [False, True])
def test_csv_and_zarr_give_the_rows_of_seisbench(tmp_path, candidate, where, stacked, request):
    event = noisy_event(2000, 2600, 6000)
    write_dataset(tmp_path, [(metadata("one"), event), (metadata("two"), event[:, ::-1])])
    wanted = examined(read_all(open_labelled("seisbench", str(tmp_path))), candidate)

    root = str(tmp_path) if where == "disk" else request.getfixturevalue("s3").url("set")
    store = open_store(root)
    store.create("pnw.csv", (tmp_path / "metadata.csv").read_bytes())
    group = zarr.open_group(zarr_store(store, "pnw.zarr"), mode="w")
    group.attrs.update({"components": "ZNE", "sampling_rate": 100})
    if stacked:
        group.create_array("data", data=np.stack([event, event[:, ::-1]]))
    else:
        group.create_array("one", data=event)
    labelled = open_labelled("csv_zarr", f"{root}/pnw.csv")
    one, two = examined(read_all(labelled), candidate)
    assert one == wanted[0]
    if stacked:
        assert two == wanted[1]
    else:
        assert two["outcome"] == "bad_format" and "two" in two["detail"]


def test_windows_of_the_tasks_hold_one_arrival_and_noise_is_what_is_said_to_be(candidate):
    event = noisy_event(3000, 3300, 7000)
    noise = np.random.default_rng(5).normal(0, 1, (3, 7000))
    close = Description("close", arrivals=(("P", 3000.0), ("S", 3300.0)), split="test")
    quiet = Description("quiet", noise=True, split="dev")
    rows = task_windows(
        [
            LabelledTrace(close, 100.0, "ZNE", event),
            LabelledTrace(quiet, 100.0, "ZNE", noise),
            Unreadable(Description("torn", noise=True), Outcome.BAD_FORMAT, "torn"),
            LabelledTrace(Description("no label"), 100.0, "ZNE", noise),
            LabelledTrace(
                Description("too close", arrivals=(("P", 3000.0), ("Pg", 3010.0), ("S", 3020.0))),
                100.0,
                "ZNE",
                event,
            ),
        ],
        [candidate],
    )[candidate.name].to_pylist()
    of = {(row["trace_name"], row["task"], row["phase"]): row for row in rows}
    assert set(of) == {
        ("close", "detection", None),
        *(("close", task, phase) for task in ("phase_id", "onset") for phase in "PS"),
        ("quiet", "detection", None),
        ("torn", "detection", None),
        ("too close", "detection", None),
    }
    assert of["close", "detection", None]["score"] > of["quiet", "detection", None]["score"]
    assert [of[name, "detection", None]["positive"] for name in ("close", "quiet")] == [True, False]
    torn = of["torn", "detection", None]
    assert (torn["score"], torn["outcome"], torn["detail"]) == (None, "bad_format", "torn")
    assert of["close", "phase_id", "P"]["score"] > 1 > of["close", "phase_id", "S"]["score"]
    for phase in "PS":
        assert abs(of["close", "onset", phase]["residual_s"]) < 0.3
    assert of["close", "onset", "P"]["split"] == "test"


@pytest.mark.parametrize("wrong", ["empty", "cut", "flipped", "npy"])
def test_a_file_that_is_no_npz_is_refused_by_name(wrong, tmp_path):
    path = tmp_path / "traces.npz"
    data = np.random.default_rng(0).normal(size=(4, 3001, 3))
    np.savez_compressed(path, data=data, itp=[1] * 4, its=[2] * 4, name=list("abcd"))
    body = bytearray(path.read_bytes())
    body[5000:5200] = b"x" * 200
    path.write_bytes({"empty": b"", "cut": body[:3000], "flipped": body, "npy": b""}[wrong])
    if wrong == "npy":
        with path.open("wb") as file:
            np.save(file, np.zeros(3))
    with pytest.raises(
        BenchmarkError, match=r"traces\.npz: not an npz .*; write it with np\.savez"
    ):
        open_labelled("npz", str(path))
