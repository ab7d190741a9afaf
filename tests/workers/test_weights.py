"""Weights: every kind that people use, and a clear refusal of every other."""

import io
import json
import pickle
import resource
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import seisbench.models as sbm
import torch
from numpy.typing import NDArray

from catalog.schema import PHASES
from workers.engines import open_engine
from workers.phasenet import WINDOW
from workers.preparation import WeightsError
from workers.recipe import Recipe
from workers.weights import Weights, averaged, from_bytes, load, resolve

KINDS: list[dict[str, Any]] = [
    {"phases": "NPS", "norm": "std", "component_order": "ENZ"},
    {"phases": "PSN", "norm": "peak", "component_order": "ZNE"},
    {"phases": "SNP", "norm": "std", "component_order": "Z12", "filter_factor": 2},
    {"phases": "PSN", "norm": "peak", "norm_detrend": True, "norm_amp_per_comp": True},
    {"phases": "PSN", "norm": "std", "sampling_rate": 50},
]


def save(folder: Path, arguments: dict[str, Any], ending: str = ".safetensors") -> tuple[Path, Any]:
    """A random model of SeisBench, its weights and json on disk."""
    torch.manual_seed(3)
    model = sbm.PhaseNet(**arguments).eval()
    for norm in model.modules():
        if isinstance(norm, torch.nn.BatchNorm1d):
            for values, low in (
                (norm.weight, 0.5),
                (norm.bias, -0.5),
                (norm.running_mean, -0.5),
                (norm.running_var, 0.5),
            ):
                assert values is not None
                torch.nn.init.uniform_(values, low, low + 1)
    path = folder / f"model{ending}"
    if ending == ".safetensors":
        safetensors.torch.save_file(model.state_dict(), path)
    else:
        torch.save(model.state_dict(), path)
    metadata = {"model_args": arguments, "default_args": {"P_threshold": 0.4}, "version": "1"}
    path.with_name("model.json").write_text(json.dumps(metadata))
    return path, model


def probabilities(engine: str, weights: Weights, raw: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of windows [b, 3, 3001] that lie side by side: [b, PHASES, 3001]."""
    kind = open_engine(engine)
    side_by_side = np.concatenate(raw, axis=1)
    starts = np.arange(len(raw)) * WINDOW
    (curves,) = kind.curves(side_by_side, starts, [Recipe((kind.load(weights),))])
    return curves.numpy().reshape(len(PHASES), len(raw), WINDOW).transpose(1, 0, 2)


@pytest.mark.parametrize("arguments", KINDS, ids=lambda a: "-".join(map(str, a.values())))
@pytest.mark.parametrize("ending", [".safetensors", ".pt"])
def test_engines_are_seisbench(tmp_path: Path, arguments: dict[str, Any], ending: str) -> None:
    path, model = save(tmp_path, arguments, ending)
    weights = load(path)
    rng = np.random.default_rng(0)
    raw = rng.normal(0, 1000, (64, 3, WINDOW)).cumsum(axis=-1).astype(np.float32)
    order = ["ZNE".index(c) for c in weights.preparation.components]
    with torch.no_grad():
        expected = model(model.annotate_batch_pre(torch.from_numpy(raw)[:, order], {})).numpy()
    rows = [weights.preparation.phases.find(phase) for phase in PHASES]
    for name, tolerance in (("exact", 0.0), ("fast", 1e-5)):
        got = probabilities(name, weights, raw)
        np.testing.assert_allclose(got, expected[:, rows], rtol=0, atol=tolerance)
    assert weights.thresholds == {"P": 0.4, "S": 0.3}
    assert weights.filter_factor == arguments.get("filter_factor", 1)


def test_the_same_bytes_are_the_same_identity_and_other_json_is_another(tmp_path: Path) -> None:
    path, _ = save(tmp_path, KINDS[0])
    first = load(path)
    assert load(path).identity == first.identity
    sidecar = path.with_name("model.json")
    sidecar.write_text(sidecar.read_text().replace("ENZ", "ZNE"))
    assert load(path).sha256 == first.sha256
    assert load(path).identity != first.identity


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return (Path.touch, (self.path,))


class Room:
    """A terabyte and more, of a type that torch allows in a state dict."""

    def __reduce__(self) -> tuple[Any, tuple[int]]:
        return (bytearray, (2**60,))


def pickled_module() -> bytes:
    sink = io.BytesIO()
    torch.save(sbm.PhaseNet(), sink)
    return sink.getvalue()


def another_architecture() -> bytes:
    sink = io.BytesIO()
    torch.save(torch.nn.Linear(2, 2).state_dict(), sink)
    return sink.getvalue()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "state dict"),
        (b"<html>not found</html>", "state dict"),
        (b"\x10\0\0\0\0\0\0\0{garbage garbage", "safetensors"),
        (pickle.dumps(Room(), 2), "plain state dict"),
        (pickled_module(), "pickled modules are refused"),
        (another_architecture(), "not a PhaseNet"),
    ],
    ids=["empty", "html", "broken", "room", "module", "architecture"],
)
def test_other_files_are_refused_by_name(tmp_path: Path, body: bytes, words: str) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(body)
    path.with_name("model.json").write_text('{"model_args": {"phases": "NPS"}}')
    with pytest.raises(WeightsError, match=words) as refusal:
        load(path)
    assert str(path) in str(refusal.value)


@pytest.mark.parametrize("wrapped", ["pickle", "torch", "torch, old"])
def test_a_pickle_runs_no_code(tmp_path: Path, wrapped: str) -> None:
    made = tmp_path / "made"
    sink = io.BytesIO()
    if wrapped == "pickle":
        pickle.dump(Bomb(made), sink)
    else:
        zipped = wrapped == "torch"
        torch.save({"inc.weight": Bomb(made)}, sink, _use_new_zipfile_serialization=zipped)
    pickle.loads(pickle.dumps(Bomb(made)))
    assert made.exists(), "the bomb works"
    made.unlink()
    with pytest.raises(WeightsError, match="pickled modules are refused"):
        from_bytes(sink.getvalue(), {}, "bomb")
    assert not made.exists()


def safetensors_of(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def inc(shape: list[int], size: int = 0) -> dict[str, Any]:
    return {"inc.weight": {"dtype": "F32", "shape": shape, "data_offsets": [0, size]}}


def swelling() -> bytes:
    """Half a megabyte of zip that unpacks to half a gigabyte."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model/data/0", bytes(2**29))
    return sink.getvalue()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (struct.pack("<Q", 2**62) + b"{}", "header too large"),
        (safetensors_of(inc([2**38], 2**40)), "not fully covered"),
        (safetensors_of(inc([2**63, 2])), "overflow"),
        (safetensors_of(inc([2**40, 0, 3])), "filters; 8 to 128"),
        (safetensors_of(inc([8 * 900, 3, 7], 604_800), bytes(604_800)), "filters; 8 to 128"),
        (safetensors_of(b'{"a":' + b"[" * 100_000), "broken safetensors"),
        (swelling(), "536,870,912 bytes"),
    ],
    ids=["header", "data", "shape", "nothing", "wide", "deep", "zip"],
)
def test_what_a_header_claims_is_not_allocated(body: bytes, words: str) -> None:
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**30, before[1]))
    try:
        with pytest.raises(WeightsError, match=words):
            from_bytes(body, {"model_args": {"phases": "NPS"}}, "weights")
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"model_args": {"phases": "' + "N" * 2**20])
def test_a_json_without_end_is_refused(tmp_path: Path, text: str) -> None:
    path, _ = save(tmp_path, KINDS[0])
    path.with_name("model.json").write_text(text)
    with pytest.raises(WeightsError, match=r"model\.json"):
        load(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path: Path, value: float) -> None:
    _, model = save(tmp_path, KINDS[0])
    tensors = {k: v.clone() for k, v in model.state_dict().items()}
    tensors["out.weight"][0, 0, 0] = value
    with pytest.raises(WeightsError, match=r"out\.weight holds NaN or Inf"):
        from_bytes(safetensors.torch.save(tensors), {"model_args": KINDS[0]}, "weights")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"norm": "l2"}, "norm"),
        ({"component_order": "ZNEH"}, "component_order"),
        ({"phases": "N"}, "phases"),
        ({"sampling_rate": 99.5}, "sampling_rate"),
        ({"sampling_rate": 10**9}, "sampling_rate"),
        ({"in_samples": 6000}, "in_samples"),
        ({"filter_factor": 2}, "filter_factor"),
        ({"phases": "PS"}, "out.weight"),
    ],
)
def test_unfit_arguments_are_refused_by_name(
    tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    path, _ = save(tmp_path, KINDS[0])
    path.with_name("model.json").write_text(json.dumps({"model_args": KINDS[0] | change}))
    with pytest.raises(WeightsError, match=words):
        load(path)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nowhere/model.safetensors", "no such file"),
        ("builtin:nothing", "builtin:synthetic"),
        ("model.h5", "no such file"),
    ],
)
def test_missing_weights_name_the_fix(tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(WeightsError, match=words):
        resolve(name, tmp_path)


def test_a_missing_json_is_named(tmp_path: Path) -> None:
    path, _ = save(tmp_path, KINDS[0])
    path.with_name("model.json").unlink()
    with pytest.raises(WeightsError, match=r"model\.json"):
        load(path)


def test_seisbenchs_own_cache_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`seisbench:NAME` through SeisBench itself, with its cache in place and no network."""
    import seisbench

    path, model = save(tmp_path, KINDS[1], ".pt")
    monkeypatch.setattr(seisbench, "cache_model_root", tmp_path / "cache")
    folder = tmp_path / "cache" / "phasenet"
    folder.mkdir(parents=True)
    (folder / "mine.pt.v1").write_bytes(path.read_bytes())
    (folder / "mine.json.v1").write_text(path.with_name("model.json").read_text())
    weights = resolve("seisbench:mine")
    assert weights.preparation.phases == "PSN"
    for key, tensor in weights.network().state_dict().items():
        assert torch.equal(tensor, model.state_dict()[key])


@pytest.mark.parametrize("arguments", KINDS, ids=lambda a: "-".join(map(str, a.values())))
@pytest.mark.parametrize("unit", [1e-6, 1e-13, 1e15])
def test_fast_is_exact_in_any_unit(tmp_path: Path, arguments: dict[str, Any], unit: float) -> None:
    """Metres a second: SeisBench's 1e-10 beside a deviation or a peak of that size counts."""
    weights = load(save(tmp_path, arguments)[0])
    rng = np.random.default_rng(0)
    raw = (rng.normal(0, 1000, (40, 3, WINDOW)).cumsum(axis=-1) * unit).astype(np.float32)
    raw += (np.linspace(-1, 1, WINDOW) * 1e7 * unit).astype(np.float32)  # a drift
    exact, fast = (probabilities(name, weights, raw) for name in ("exact", "fast"))
    assert np.abs(fast - exact).max() <= 1e-5


def test_samples_that_overflow_are_probable_nowhere(tmp_path: Path) -> None:
    """SeisBench's curve is NaN there: no pick."""
    weights = load(save(tmp_path, KINDS[0])[0])
    raw = np.random.default_rng(0).normal(0, 1, (40, 3, WINDOW)).astype(np.float32)
    raw[7, 1, 100:102] = 3e38
    exact, fast = (probabilities(name, weights, raw) for name in ("exact", "fast"))
    assert np.isnan(exact[7]).all() and np.isnan(fast[7]).all()
    assert np.isfinite(fast[[6, 8]]).all()


@pytest.mark.parametrize(("offset", "spread"), [(8e6, 30.0), (8e6, 10.0), (1e6, 10.0)])
def test_fast_is_exact_on_a_large_offset(tmp_path: Path, offset: float, spread: float) -> None:
    """What rounding leaves of an offset is no deviation (raw accelerometers look like this)."""
    path, _ = save(tmp_path, KINDS[0])
    weights = load(path)
    rng = np.random.default_rng(2)
    raw = np.rint(offset + rng.normal(0, spread, (64, 3, WINDOW))).astype(np.float32)
    exact, fast = (probabilities(name, weights, raw) for name in ("exact", "fast"))
    assert np.abs(fast - exact).max() <= 1e-5


def test_checkpoints_are_averaged_into_a_candidate(data):
    names = ("e05", "e07", "e09")
    epochs = [load(data / "weights" / f"220103-155334_{name}.safetensors") for name in names]
    mean = averaged(epochs, "mean of three epochs")
    assert mean.sha256 not in {each.sha256 for each in epochs}
    assert mean.preparation == epochs[0].preparation
    tensors = [safetensors.torch.load(each.body) for each in (*epochs, mean)]
    drifted = 0
    for name, found in tensors[3].items():
        if found.is_floating_point():
            wanted = torch.stack([each[name].double() for each in tensors[:3]]).mean(0)
            assert torch.allclose(found.double(), wanted, rtol=1e-6, atol=0)
            drifted += not torch.equal(found, tensors[0][name])
    assert drifted  # the epochs are not the same weights
    mean.network()
    assert averaged(epochs, "again").sha256 == mean.sha256
    with pytest.raises(WeightsError, match="two checkpoints or more"):
        averaged(epochs[:1], "one")
    other = load(data / "weights" / "volpick.safetensors")
    with pytest.raises(WeightsError, match="checkpoints of one training"):
        averaged([epochs[0], other], "mixed")
