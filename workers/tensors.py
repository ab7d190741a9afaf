"""The engines of torch: windows, networks and stacking on any device that torch knows.

Every forward has one batch shape, padded with zeros: a batch's shape changes the last bits of the
result, and rows must not depend on where a span was cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from catalog.schema import COMPONENTS, PHASES
from workers.captured import Forward, replayed
from workers.phasenet import WINDOW, FoldedPhaseNet
from workers.preparation import Preparation
from workers.recipe import Recipe, mean, phase_rows
from workers.weights import Weights
from workers.windows import Stack, cut, normalise


class Arithmetic(Protocol):
    """Which operations, in which precision and order."""

    def network(self, weights: Weights) -> nn.Module:
        """What `probabilities` runs, on the CPU."""
        ...

    def probabilities(self, network: nn.Module, batch: Tensor) -> Tensor:
        """Normalised windows [b, 3, 3001] -> float32 [b, phases, 3001]."""
        ...


class Eager:
    """SeisBench's operations in SeisBench's order: the same bits on the same class of hardware."""

    def network(self, weights: Weights) -> nn.Module:
        return weights.network()

    def probabilities(self, network: nn.Module, batch: Tensor) -> Tensor:
        result: Tensor = network(batch)
        return result


@dataclass(frozen=True)
class Folded:
    """The same function within rounding of `dtype`: batch norm folded, channels last."""

    dtype: torch.dtype = torch.float32

    def network(self, weights: Weights) -> nn.Module:
        return FoldedPhaseNet(weights.network()).to(self.dtype)

    def probabilities(self, network: nn.Module, batch: Tensor) -> Tensor:
        flat = batch.to(self.dtype).unsqueeze(2).contiguous(memory_format=torch.channels_last)
        logits: Tensor = network(flat).squeeze(2)
        return torch.softmax(logits.float(), dim=1)


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """One weight set on the device. forward: normalised windows -> probabilities."""

    forward: Forward
    preparation: Preparation


class TensorEngine:
    """`batch` windows at a time; samples go to the device once, as they are."""

    def __init__(self, arithmetic: Arithmetic, device: str, batch: int, together: int = 1) -> None:
        self.together = together
        self.runs_on = f"torch, {device}"
        self._arithmetic = arithmetic
        self._device = torch.device(device)
        self._batch = batch

    def load(self, weights: Weights) -> Network:
        module = self._arithmetic.network(weights).to(self._device)

        def forward(batch: Tensor) -> Tensor:
            return self._arithmetic.probabilities(module, batch)

        shape = (self._batch, len(COMPONENTS), WINDOW)
        return Network(replayed(forward, shape, self._device), weights.preparation)

    @torch.inference_mode()
    def curves(
        self,
        samples: NDArray[np.int32] | NDArray[np.float32],
        starts: NDArray[np.int64],
        recipes: Sequence[Recipe],
    ) -> list[Tensor]:
        """See `workers.engines.Engine`."""
        here = torch.from_numpy(np.ascontiguousarray(samples)).to(self._device)
        shape = (len(PHASES), samples.shape[1])
        stacks = [
            [Stack(shape, r.stacking, r.blinding, self._device) for _ in r.networks]
            for r in recipes
        ]
        windows = torch.empty((self._batch, len(COMPONENTS), WINDOW), device=self._device)
        for begin in range(0, len(starts), self._batch):
            batch = starts[begin : begin + self._batch]
            cut(here, batch, windows)
            prepared: dict[str, Tensor] = {}
            for recipe, members in zip(recipes, stacks, strict=True):
                for network, stack in zip(recipe.networks, members, strict=True):
                    probabilities = self._probabilities(network, windows, prepared)
                    stack.add(batch, probabilities, phase_rows(network.preparation))
        return [mean([stack.curves() for stack in members]) for members in stacks]

    def _probabilities(
        self, network: Network, windows: Tensor, prepared: dict[str, Tensor]
    ) -> Tensor:
        """Networks that want their windows alike share them, by what they want."""
        wanted = network.preparation.windows
        if wanted not in prepared:
            prepared[wanted] = normalise(windows, network.preparation)
        return network.forward(prepared[wanted])
