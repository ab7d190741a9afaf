"""Engines: samples in, probability curves out; what differs is the arithmetic and the device.

`exact` runs SeisBench's operations in SeisBench's order, `fast` the same function within 1e-5,
`fp16` the same in half precision on a GPU.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workers.compiled import CompiledEngine, Instructions, instructions
from workers.recipe import Recipe
from workers.shelf import keep_freed
from workers.tensors import Eager, Folded, TensorEngine
from workers.weights import Weights

ENGINES = ("exact", "fast", "fp16")

CPU_BATCH = 64
"""Windows a forward pass of torch on a CPU: SeisBench's fastest, and half the memory of more."""

GPU_BATCH = 1024
"""Windows a forward pass on a GPU: enough that its kernels, not their launches, take the time."""

GPU_TOGETHER = 4
"""Station-days of a call there: 23,000 windows, of which the last batch wastes 2 % at most."""


class Engine(Protocol):
    """One kind of arithmetic on one device.

    together: station-days that are best given in one call, so that batches stay full.
    runs_on: what does the work, in words; between CPUs `fast` differs by it in the last bits.
    """

    together: int
    runs_on: str

    def load(self, weights: Weights) -> Any:
        """The network of some weights, ready for `curves` of this engine."""
        ...

    def curves(
        self,
        samples: NDArray[np.int32] | NDArray[np.float32],
        starts: NDArray[np.int64],
        recipes: Sequence[Recipe],
    ) -> list[Tensor]:
        """Curves of every recipe, which share the windows: float32 [PHASES, n] on the device.

        samples: [3, n], rows Z N E. starts: columns at which windows of 3001 begin, ascending.
        """
        ...


def open_engine(name: str, device: str = "cpu") -> Engine:
    """An engine by its name in the campaign (`auto` is settled before). Raises ValueError."""
    on_gpu = torch.device(device).type != "cpu"
    batch, together = (GPU_BATCH, GPU_TOGETHER) if on_gpu else (CPU_BATCH, 1)
    if on_gpu:  # torch lets convolutions round to ten bits of mantissa unless told
        torch.backends.cudnn.allow_tf32 = False
    if name == "exact":
        return TensorEngine(Eager(), device, batch, together)
    if name == "fast":
        kernel = None if on_gpu else kernel_instructions()
        return CompiledEngine(kernel) if kernel else TensorEngine(Folded(), device, batch, together)
    if name == "fp16":
        return TensorEngine(Folded(torch.float16), device, batch, together)
    raise ValueError(f"engine {name!r}: use one of {', '.join(ENGINES)}")


def kernel_instructions() -> Instructions | None:
    """What the compiled kernel runs with here; None where torch is the faster or the only way."""
    best = next(iter(instructions()), None)
    if best is not None and best.name == "plain" and platform.machine() in ("x86_64", "AMD64"):
        return None  # without fused multiply-adds torch is faster
    return best


def use_threads(count: int) -> None:
    """CPU threads of torch in this process, which keeps what torch frees. More than cores a worker
    has are slower."""
    torch.set_num_threads(count)
    keep_freed()
