"""Windows on the absolute grid, normalised and stacked, against SeisBench's own code."""

import numpy as np
import pytest
import seisbench.models as sbm
import torch
from hypothesis import given
from hypothesis import strategies as st
from seisbench.ext import stack_windows

from workers.phasenet import WINDOW
from workers.preparation import Preparation
from workers.windows import STEP, Stack, cut, normalise, segments, window_starts


def preparation(**changes: object) -> Preparation:
    values: dict[str, object] = {
        "phases": "NPS",
        "components": "ENZ",
        "sampling_rate": 100,
        "norm": "std",
        "detrend": False,
        "per_component": False,
        "filter_args": None,
        "filter_kwargs": None,
    }
    return Preparation(**(values | changes))  # type: ignore[arg-type]


@given(first=st.integers(-50_000, 50_000), length=st.integers(0, 40_000))
def test_windows_cover_the_segment_from_the_epochs_grid(first: int, length: int) -> None:
    starts = window_starts(first, first + length)
    if length < WINDOW:
        assert len(starts) == 0
        return
    assert starts[0] == first and starts[-1] == first + length - WINDOW
    assert (np.diff(starts) > 0).all() and (np.diff(starts) <= STEP).all()
    assert (starts[1:-1] % STEP == 0).all()


@given(k=st.integers(-5, 5), length=st.integers(WINDOW, 40_000))
def test_from_a_grid_sample_they_are_seisbenchs(k: int, length: int) -> None:
    offsets = np.arange(0, length - WINDOW + 1, STEP)
    if offsets[-1] + WINDOW < length:
        offsets = np.append(offsets, length - WINDOW)
    assert (window_starts(k * STEP, k * STEP + length) - k * STEP).tolist() == offsets.tolist()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"norm": "peak"},
        {"per_component": True},
        {"detrend": True},
        {"detrend": True, "norm": "peak"},
        {"components": "ZNE"},
    ],
)
def test_normalise_is_seisbenchs_to_the_bit(changes: dict[str, object]) -> None:
    ours = preparation(**changes)
    model = sbm.PhaseNet(
        norm=ours.norm, norm_detrend=ours.detrend, norm_amp_per_comp=ours.per_component
    )
    raw = torch.from_numpy(
        np.random.default_rng(1).normal(500, 1e4, (8, 3, WINDOW)).astype(np.float32)
    )
    ordered = raw[:, ["ZNE".index(c) for c in ours.components]]
    expected = model.annotate_batch_pre(ordered, {})
    assert torch.equal(normalise(raw, ours), expected)


@pytest.mark.parametrize("method", ["avg", "max"])
@pytest.mark.parametrize("blinding", [(0, 0), (200, 300)])
@pytest.mark.parametrize("batches", [1, 3])
def test_stack_is_seisbenchs_to_the_bit(
    method: str, blinding: tuple[int, int], batches: int
) -> None:
    starts = window_starts(17, 17 + 12_345) - 17
    probabilities = np.random.default_rng(2).random((len(starts), 2, WINDOW), np.float32)
    stack = Stack((2, 12_345), method, blinding, torch.device("cpu"))
    for some in np.array_split(np.arange(len(starts)), batches):
        stack.add(starts[some], torch.from_numpy(probabilities[some]), (0, 1))
    blind = np.ascontiguousarray(probabilities.transpose(0, 2, 1))
    blind[:, : blinding[0]] = np.nan
    blind[:, WINDOW - blinding[1] :] = np.nan
    expected = np.nan_to_num(stack_windows(blind, starts.astype(np.intp), method)).T
    np.testing.assert_array_equal(stack.curves().numpy(), expected)


def test_a_constant_component_is_silence() -> None:
    data = np.zeros((3, WINDOW + 10), np.int32)
    data[0] = 123_456_789
    data[1] = np.arange(WINDOW + 10)
    out = torch.full((4, 3, WINDOW), 9.0)
    cut(torch.from_numpy(data), np.array([0, 10]), out)
    assert (out[:, 0] == 0).all() and (out[2:] == 0).all()
    assert torch.equal(out[1, 1], torch.arange(10.0, WINDOW + 10))


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), max_size=60))
def test_segments_split_where_no_component_has_a_sample(columns: list[tuple[bool, ...]]) -> None:
    mask = np.array(columns, bool).reshape(-1, 3).T
    found = np.zeros(mask.shape[1], bool)
    for start, stop in segments(mask):
        assert start < stop and not found[start - 1 : stop + 1].any()
        found[start:stop] = True
    assert (found == mask.any(axis=0)).all()
