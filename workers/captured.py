"""A network's forward pass on a GPU as one launch instead of some sixty: a CUDA graph.

It can be replayed because every forward has one batch shape. The kernels are those of the eager
pass, in the same order.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Forward = Callable[[Tensor], Tensor]

WARM_UP = 3
"""Passes before the capture: libraries choose their algorithms and take their workspace."""


def replayed(forward: Forward, shape: tuple[int, ...], device: torch.device) -> Forward:
    """`forward` for batches float32 of one shape; on a GPU captured, elsewhere as it is.

    What it returns there is overwritten by its next call.
    """
    return Captured(forward, shape, device) if device.type == "cuda" else forward


class Captured:
    """See https://pytorch.org/docs/stable/notes/cuda.html#cuda-graphs."""

    @torch.inference_mode()
    def __init__(self, forward: Forward, shape: tuple[int, ...], device: torch.device) -> None:
        self._batch = torch.zeros(shape, device=device)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.device(device):
            aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(aside):
                for _ in range(WARM_UP):
                    forward(self._batch)
            torch.cuda.current_stream().wait_stream(aside)
            with torch.cuda.graph(self._graph):
                self._result = forward(self._batch)

    def __call__(self, batch: Tensor) -> Tensor:
        self._batch.copy_(batch)
        self._graph.replay()
        return self._result
