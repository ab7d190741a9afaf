"""Every engine against SeisBench's curves, on data that are not kind."""

import numpy as np
import obspy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import workers.tensors
from tests.peer import seisbench
from workers.captured import Forward
from workers.compiled import CompiledEngine, Instructions, instructions
from workers.engines import Engine, open_engine, use_threads
from workers.phasenet import WINDOW
from workers.recipe import Recipe
from workers.tensors import Folded, TensorEngine
from workers.weights import from_bytes, resolve
from workers.windows import STEP, window_starts

WEIGHTS = resolve("builtin:synthetic")
ORIGIN = obspy.UTCDateTime(1_083_721 * STEP / 100)  # a multiple of the step, at a full second
ENGINES: dict[str, tuple[Engine, float]] = {
    "exact": (open_engine("exact"), 5e-6),  # SeisBench's own small batches differ by as much
    "fast": (open_engine("fast"), 1e-5),
    "fast, torch": (TensorEngine(Folded(), "cpu", 64), 1e-5),
    "half": (TensorEngine(Folded(torch.float16), "cpu", 64), 0.05),
}
KINDS = ("quakes", "offset", "drift", "spikes", "steps", "silence", "absent")


def component(kind: str, n: int, rng: np.random.Generator) -> NDArray[np.int32]:
    noise = rng.normal(0, 200, n)
    for at in rng.integers(0, n, max(1, n // 2000)):
        length = min(n - at, 800)
        noise[at : at + length] += (
            20_000 * np.exp(-np.arange(length) / 150) * rng.normal(size=length)
        )
    if kind == "offset":
        noise += rng.choice([-8_000_000, 3_000_000])
    elif kind == "drift":
        noise += np.linspace(0, 2_000_000, n)
    elif kind == "spikes":
        noise[rng.integers(0, n, 3)] = [2**30, -(2**30), 2**31 - 1]
    elif kind == "steps":
        noise[n // 3 :] += 1_000_000
    elif kind in ("silence", "absent"):
        noise[:] = 0
    return np.clip(noise, -(2**31), 2**31 - 1).astype(np.int32)


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(WINDOW, 9 * STEP + 700),
    kinds=st.tuples(*[st.sampled_from(KINDS)] * 3).filter(lambda k: set(k) - {"silence", "absent"}),
    seed=st.integers(0, 1000),
)
def test_the_curves_are_seisbenchs(n: int, kinds: tuple[str, str, str], seed: int) -> None:
    rng = np.random.default_rng(seed)
    data = np.stack([component(kind, n, rng) for kind in kinds])
    stream = obspy.Stream(
        obspy.Trace(
            row.copy(),
            {
                "network": "XX",
                "station": "S",
                "channel": f"HH{code}",
                "sampling_rate": 100,
                "starttime": ORIGIN,
            },
        )
        for row, code, kind in zip(data, "ZNE", kinds, strict=True)
        if kind != "absent"
    )
    annotated = {trace.id[-1]: trace.data for trace in seisbench(WEIGHTS).annotate(stream)}
    expected = np.stack([annotated["P"], annotated["S"]])
    length = expected.shape[1]
    assert n - 1 <= length <= n  # SeisBench's int() loses the last sample of some lengths
    starts = window_starts(0, length)
    for name, (engine, tolerance) in ENGINES.items():
        recipe = Recipe((engine.load(WEIGHTS),))
        (curves,) = engine.curves(data[:, :length], starts, [recipe])
        assert np.abs(curves.numpy() - expected).max() <= tolerance, name


@pytest.mark.parametrize("these", instructions(), ids=lambda each: each.name)
def test_every_instruction_set_gives_the_same_bits(these: Instructions) -> None:
    """Also whatever windows are beside a window, and where in a vector it lies."""
    rng = np.random.default_rng(5)
    data = np.stack([component(kind, 60_000, rng) for kind in ("quakes", "offset", "drift")])
    starts = window_starts(0, data.shape[1])

    def curve(engine: CompiledEngine, starts: NDArray[np.int64]) -> torch.Tensor:
        return engine.curves(data, starts, [Recipe((engine.load(WEIGHTS),))])[0]

    engine = CompiledEngine(these)
    whole, best = curve(engine, starts), curve(CompiledEngine(instructions()[0]), starts)
    if these.name == "plain" and len(instructions()) > 1:  # it lacks fused multiply-adds
        assert (whole - best).abs().max() < 1e-5
    else:
        assert torch.equal(whole, best)
    total, count = torch.zeros_like(whole), torch.zeros(whole.shape[1])
    for k, start in enumerate(starts.tolist()):
        total += curve(engine, starts[k : k + 1])
        count[start : start + WINDOW] += 1
    assert torch.equal(total / count.clamp(min=1), whole)


@pytest.mark.parametrize("name", ENGINES)
def test_networks_that_share_a_call_do_not_touch_each_other(name: str) -> None:
    """Also where they want their windows otherwise than the one before."""
    model = dict(WEIGHTS.metadata, model_args={**WEIGHTS.metadata["model_args"], "norm": "peak"})
    other = from_bytes(WEIGHTS.body, model, "peak")
    engine, rng = ENGINES[name][0], np.random.default_rng(6)
    data = np.stack([component("quakes", 20_000, rng) for _ in "ZNE"])
    starts = window_starts(0, data.shape[1])
    recipes = [
        Recipe((engine.load(WEIGHTS),)),
        Recipe((engine.load(WEIGHTS),), "max", (100, 50)),
        Recipe((engine.load(other), engine.load(WEIGHTS))),
        Recipe((engine.load(other),)),
        Recipe((engine.load(WEIGHTS),)),
    ]
    together = engine.curves(data, starts, recipes)
    for recipe, curve in zip(recipes, together, strict=True):
        assert torch.equal(engine.curves(data, starts, [recipe])[0], curve)
    assert not torch.equal(together[0], together[3])
    assert torch.equal(together[2], (together[3] + together[0]) / 2)


class _OneBatch:
    """What a captured forward is to its caller: one place for the batch, one for the result."""

    def __init__(self, forward: Forward, shape: tuple[int, ...], device: torch.device) -> None:
        self._forward = forward
        self._batch = torch.full(shape, torch.nan, device=device)
        self._result = torch.full((shape[0], 3, WINDOW), torch.nan, device=device)

    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        self._batch.copy_(batch)
        self._result.copy_(self._forward(self._batch))
        return self._result


def test_a_result_may_be_overwritten_by_the_next_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a CUDA graph does, whose memory is its own."""
    rng = np.random.default_rng(8)
    data = np.stack([component("quakes", 150_000, rng) for _ in "ZNE"])
    starts = window_starts(0, data.shape[1])
    engine = TensorEngine(Folded(), "cpu", 16)

    def curves() -> list[torch.Tensor]:
        one, two = engine.load(WEIGHTS), engine.load(resolve("builtin:synthetic_early"))
        return engine.curves(data, starts, [Recipe((one,)), Recipe((two, one))])

    expected = curves()
    monkeypatch.setattr(workers.tensors, "replayed", _OneBatch)
    for got, curve in zip(curves(), expected, strict=True):
        assert torch.equal(got, curve)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize(("name", "tolerance"), [("exact", 1e-5), ("fast", 1e-5), ("fp16", 0.05)])
def test_a_gpu_gives_the_same_curves(name: str, tolerance: float) -> None:
    rng = np.random.default_rng(9)
    data = np.stack([component(kind, 3_000_000, rng) for kind in ("quakes", "offset", "quakes")])
    starts = window_starts(0, data.shape[1])

    def curve(engine: Engine) -> torch.Tensor:
        return engine.curves(data, starts, [Recipe((engine.load(WEIGHTS),))])[0].cpu()

    assert (curve(open_engine(name, "cuda")) - curve(open_engine("exact"))).abs().max() < tolerance


def test_torch_takes_the_threads_that_are_asked_for() -> None:
    before = torch.get_num_threads()
    try:
        for count in (3, 1, 2):
            use_threads(count)
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(before)
