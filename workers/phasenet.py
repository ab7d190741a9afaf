"""PhaseNet: the network (Zhu & Beroza 2019, in SeisBench's layout) and its inference engines.

Windows go in as [b, 3, 3001], probabilities come out as [b, phases, 3001].
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WINDOW = 3001
DEPTH = 5
KERNEL = 7
STRIDE = 4
ROOT = 8
BN_EPS = 1e-3
DOWN_PADDING = {1: (2, 3), 2: (1, 3), 3: (2, 3)}
"""Zeros before and after, at the levels whose strided convolution has no padding of its own."""


class PhaseNet(nn.Module):
    """The 1-D U-Net. Parameter names are SeisBench's, so that its state dicts load as they are.

    filter_factor multiplies every width (1: 268,443 parameters; 2: `jma_wc`, Naoi et al. 2024).
    """

    def __init__(self, phases: int = 3, components: int = 3, filter_factor: int = 1) -> None:
        super().__init__()
        width = ROOT * filter_factor
        self.inc = nn.Conv1d(components, width, KERNEL, padding="same")
        self.in_bn = nn.BatchNorm1d(width, eps=BN_EPS)
        self.down_branch = nn.ModuleList()
        self.up_branch = nn.ModuleList()
        for level in range(DEPTH):
            filters = 2**level * ROOT * filter_factor
            same = nn.Conv1d(width, filters, KERNEL, padding="same", bias=False)
            width = filters
            if level == DEPTH - 1:
                down, norm = None, None
            else:
                padding = 0 if level in DOWN_PADDING else KERNEL // 2
                down = nn.Conv1d(filters, filters, KERNEL, STRIDE, padding=padding, bias=False)
                norm = nn.BatchNorm1d(filters, eps=BN_EPS)
            self.down_branch.append(
                nn.ModuleList([same, nn.BatchNorm1d(filters, eps=BN_EPS), down, norm])  # type: ignore[list-item]
            )
        for level in range(DEPTH - 1):
            filters = 2 ** (3 - level) * ROOT * filter_factor
            up = nn.ConvTranspose1d(width, filters, KERNEL, STRIDE, bias=False)
            width = filters
            same = nn.Conv1d(2 * filters, filters, KERNEL, padding="same", bias=False)
            self.up_branch.append(
                nn.ModuleList(
                    [
                        up,
                        nn.BatchNorm1d(filters, eps=BN_EPS),
                        same,
                        nn.BatchNorm1d(filters, eps=BN_EPS),
                    ]
                )
            )
        self.out = nn.Conv1d(width, phases, 1, padding="same")

    def logits(self, x: Tensor) -> Tensor:
        """[b, components, n] -> [b, phases, n], before the softmax."""
        x = torch.relu(self.in_bn(self.inc(x)))
        skips = []
        for level, part in enumerate(self.down_branch):
            same, same_norm, down, down_norm = cast(Any, part)
            x = torch.relu(same_norm(same(x)))
            if down is not None:
                skips.append(x)
                if level in DOWN_PADDING:
                    x = F.pad(x, DOWN_PADDING[level])
                x = torch.relu(down_norm(down(x)))
        for part, skip in zip(self.up_branch, skips[::-1], strict=True):
            up, up_norm, same, same_norm = cast(Any, part)
            x = torch.relu(up_norm(up(x)))[:, :, 1:-2]
            surplus = (x.shape[-1] - skip.shape[-1]) // 2
            x = torch.cat([skip, x[:, :, surplus : surplus + skip.shape[-1]]], dim=1)
            x = torch.relu(same_norm(same(x)))
        logits: Tensor = self.out(x)
        return logits

    def forward(self, x: Tensor) -> Tensor:
        return torch.softmax(self.logits(x), dim=1)
