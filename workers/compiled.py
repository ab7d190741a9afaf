"""PhaseNet compiled for this machine's CPU (workers/kernel): samples -> probability curves.

One window a vector lane, one batch size for every level, no batch shape: a window's probabilities
depend on nothing but its samples, and are the same on every CPU with fused multiply-adds.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from catalog.schema import PHASES
from workers import shelf
from workers.phasenet import KERNEL, STRIDE, Layer, folded
from workers.preparation import Preparation
from workers.recipe import Recipe, mean, phase_rows
from workers.weights import Weights

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]

INTERFACE = 3
"""Of the kernel, raised with every change of it: both sides must say the same."""

SHORT = 4
"""Most phases that a network may have: the last layer is packed as one block of these."""


class _Network(ctypes.Structure):
    """`struct network` of workers/kernel/phasenet.c."""

    _fields_ = (
        ("weights", ctypes.POINTER(ctypes.c_float)),
        ("curves", ctypes.POINTER(ctypes.c_float)),
        ("factor", ctypes.c_int64),
        ("phases", ctypes.c_int64),
        ("rows", ctypes.c_int64 * 2),
        ("order", ctypes.c_int64 * 3),
        ("detrend", ctypes.c_int64),
        ("peak", ctypes.c_int64),
        ("largest", ctypes.c_int64),
        ("before", ctypes.c_int64),
        ("after", ctypes.c_int64),
    )


@dataclass(frozen=True, slots=True)
class Instructions:
    """A set of vector instructions that this CPU has."""

    name: str
    number: int
    block: int  # output channels that are summed at a time: weights are packed by it


@cache
def library() -> ctypes.CDLL | None:
    """The compiled kernel, or None where tidepick was installed without a C compiler.

    A job's working folder hides the installed package: the kernel is looked for in both.
    """
    folders = [Path(__file__).parent, *(Path(entry) / "workers" for entry in sys.path)]
    for folder in folders:
        for suffix in EXTENSION_SUFFIXES:
            path = folder / f"_phasenet{suffix}"
            if path.is_file() and (found := _load(path)):
                return found
    return None


def _load(path: Path) -> ctypes.CDLL | None:
    """The kernel in a file; None where it was built for another system or another version."""
    try:
        found = ctypes.CDLL(str(path))
        found.tidepick_instructions.restype = ctypes.c_char_p
        found.tidepick_instructions.argtypes = (ctypes.c_long, ctypes.POINTER(ctypes.c_int64))
        found.tidepick_curves.argtypes = (
            *(ctypes.c_long, ctypes.c_void_p, ctypes.c_int, ctypes.c_int64),  # set, samples
            *(ctypes.c_void_p, ctypes.c_int64),  # starts
            *(ctypes.POINTER(_Network), ctypes.c_int64, ctypes.c_void_p),  # networks, seconds
        )
        return found if found.tidepick_interface() == INTERFACE else None
    except (OSError, AttributeError):
        return None


@cache
def instructions() -> tuple[Instructions, ...]:
    """What the kernel and this CPU both know, the fastest first."""
    kernel, known = library(), []
    block = ctypes.c_int64()
    number = 0
    while (
        kernel and (name := kernel.tidepick_instructions(number, ctypes.byref(block))) is not None
    ):
        if name:
            known.append(Instructions(name.decode(), number, block.value))
        number += 1
    return tuple(known)


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """One weight set, packed for one set of instructions. weights: float32 [n], see `pack`."""

    weights: FloatArray
    factor: int
    preparation: Preparation


class CompiledEngine:
    """Windows, normalisation, forward pass and stacking in one pass over the samples.

    seconds: CPU time of windows, of forward passes and of stacking, over the engine's life.
    """

    together = 1

    def __init__(self, instructions: Instructions) -> None:
        self._instructions = instructions
        self.runs_on = f"kernel, {instructions.name}"
        self.seconds = np.zeros(3)

    def load(self, weights: Weights) -> Network:
        packed = pack(folded(weights.network()), self._instructions.block)
        return Network(packed, weights.filter_factor, weights.preparation)

    def curves(
        self,
        samples: NDArray[np.int32] | NDArray[np.float32],
        starts: IntArray,
        recipes: Sequence[Recipe],
    ) -> list[Tensor]:
        """See `workers.engines.Engine`."""
        kernel = library()
        assert kernel is not None
        if not samples.flags.c_contiguous:
            samples = samples.copy()
        starts = np.ascontiguousarray(starts, np.int64)
        shape = (len(PHASES), samples.shape[1])
        curves = [[shelf.zeros(shape, np.float32) for _ in r.networks] for r in recipes]
        networks = [
            _network(network, recipe, curve)
            for recipe, members in zip(recipes, curves, strict=True)
            for network, curve in zip(recipe.networks, members, strict=True)
        ]
        failed = kernel.tidepick_curves(
            self._instructions.number,
            samples.ctypes.data,
            samples.dtype == np.float32,
            samples.shape[1],
            starts.ctypes.data,
            len(starts),
            (_Network * len(networks))(*networks),
            len(networks),
            self.seconds.ctypes.data,
        )
        if failed:
            raise MemoryError(f"no memory for the activations of {len(networks)} networks")
        return [mean([torch.from_numpy(curve) for curve in members]) for members in curves]


def _network(network: Network, recipe: Recipe, curve: FloatArray) -> _Network:
    use = network.preparation
    pointer = ctypes.POINTER(ctypes.c_float)
    before, after = recipe.blinding
    return _Network(
        network.weights.ctypes.data_as(pointer),
        curve.ctypes.data_as(pointer),
        network.factor,
        len(use.phases),
        (ctypes.c_int64 * 2)(*phase_rows(use)),
        (ctypes.c_int64 * 3)(*("ZNE".index(component) for component in use.components)),
        use.detrend,
        use.peak,
        recipe.stacking == "max",
        before,
        after,
    )


def pack(layers: Iterable[Layer], block: int) -> FloatArray:
    """All layers in the order of the forward pass, as the kernel reads them: bias, then weights.

    Returns float32 [n]. block: output channels that its instructions sum at a time.
    """
    parts: list[FloatArray] = []
    for layer in layers:
        weight, bias = layer.weight.numpy(), layer.bias.numpy()
        if layer.name.startswith("up"):
            weight = weight.transpose(1, 0, 2)
            # outputs 4 i + phase: input i - 1 by tap phase + 4 where there is one, i by tap phase
            taps = [[t for t in (phase + STRIDE, phase) if t < KERNEL] for phase in range(STRIDE)]
            for each in taps:
                parts += [bias, _blocks(weight[:, :, each], block)]
        elif layer.name == "out":
            short = np.zeros((SHORT, *weight.shape[1:]), np.float32)
            short[: len(weight)] = weight
            parts += [np.pad(bias, (0, SHORT - len(bias))), _blocks(short, SHORT)]
        else:
            parts += [bias, _blocks(weight, block)]
    return np.concatenate([part.ravel() for part in parts], dtype=np.float32)


def _blocks(weight: FloatArray, block: int) -> FloatArray:
    """[out, in, taps] -> [out / block, taps, in, block]."""
    out, channels, taps = weight.shape
    return weight.reshape(out // block, block, channels, taps).transpose(0, 3, 2, 1)
