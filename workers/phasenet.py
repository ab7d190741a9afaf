"""PhaseNet (Zhu & Beroza 2019), in SeisBench's layout and folded for inference.

Windows go in as [b, 3, 3001], probabilities come out as [b, phases, 3001].
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, cast

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
        """Normalised windows [b, 3, n] -> probabilities [b, phases, n]."""
        return torch.softmax(self.logits(x), dim=1)


class Layer(NamedTuple):
    """One convolution with its batch norm folded in, float32.

    weight: [out, in, taps], of a transposed one (`up*`) [in, out, taps]; bias: [out].
    """

    name: str
    weight: Tensor
    bias: Tensor


def folded(network: PhaseNet) -> Iterator[Layer]:
    """All layers, in the order of the forward pass: inc, down0, stride0 ... up0, merge0 ... out."""
    yield _fold("inc", network.inc, network.in_bn)
    for level, part in enumerate(network.down_branch):
        same, same_norm, down, down_norm = cast(Any, part)
        yield _fold(f"down{level}", same, same_norm)
        if down is not None:
            yield _fold(f"stride{level}", down, down_norm)
    for level, part in enumerate(network.up_branch):
        up, up_norm, same, same_norm = cast(Any, part)
        yield _fold(f"up{level}", up, up_norm)
        yield _fold(f"merge{level}", same, same_norm)
    bias = cast(Tensor, network.out.bias)
    yield Layer("out", network.out.weight.detach().float(), bias.detach().float())


def _fold(name: str, conv: nn.Module, norm: nn.BatchNorm1d) -> Layer:
    """y = gamma (conv(x) - mean) / sqrt(var + eps) + beta, as one convolution (in float64)."""
    assert isinstance(conv, nn.Conv1d | nn.ConvTranspose1d)
    mean, variance = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
    scale = norm.weight.double() / torch.sqrt(variance.double() + BN_EPS)
    bias = conv.bias.double() if conv.bias is not None else torch.zeros_like(scale)
    bias = norm.bias.double() + (bias - mean.double()) * scale
    shape = [1, -1, 1] if isinstance(conv, nn.ConvTranspose1d) else [-1, 1, 1]
    weight = conv.weight.double() * scale.reshape(shape)
    return Layer(name, weight.detach().float(), bias.detach().float())


class FoldedPhaseNet(nn.Module):
    """PhaseNet for inference: [b, 3, 1, n] -> logits [b, phases, 1, n].

    Convolutions are 2-D with a height of one and channels last, 1.5 times as fast as the 1-D ones
    on an AVX-512 Xeon with torch 2.13 (contiguous 2-D ones gain nothing there).
    """

    def __init__(self, network: PhaseNet) -> None:
        super().__init__()
        for name, weight, bias in folded(network):
            flat = weight.unsqueeze(2).contiguous(memory_format=torch.channels_last)
            self.register_buffer(f"{name}_weight", flat)
            self.register_buffer(f"{name}_bias", bias)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised windows [b, 3, 1, n] -> logits [b, phases, 1, n]."""
        x = self._conv("inc", x).relu_()
        skips = []
        for level in range(DEPTH):
            x = self._conv(f"down{level}", x).relu_()
            if level == DEPTH - 1:
                break
            skips.append(x)
            weight, bias = self._kernel(f"stride{level}")
            if level in DOWN_PADDING:
                padded = F.pad(x, DOWN_PADDING[level])
                x = F.conv2d(padded, weight, bias, stride=(1, STRIDE)).relu_()
            else:
                x = F.conv2d(x, weight, bias, stride=(1, STRIDE), padding=(0, KERNEL // 2)).relu_()
        for level, skip in enumerate(reversed(skips)):
            weight, bias = self._kernel(f"up{level}")
            x = F.conv_transpose2d(x, weight, bias, stride=(1, STRIDE)).relu_()
            surplus = 1 + (x.shape[-1] - 3 - skip.shape[-1]) // 2
            x = torch.cat([skip, x[..., surplus : surplus + skip.shape[-1]]], dim=1)
            x = self._conv(f"merge{level}", x).relu_()
        weight, bias = self._kernel("out")
        return F.conv2d(x, weight, bias)

    def _conv(self, name: str, x: Tensor) -> Tensor:
        weight, bias = self._kernel(name)
        return F.conv2d(x, weight, bias, padding=(0, KERNEL // 2))

    def _kernel(self, name: str) -> tuple[Tensor, Tensor]:
        return self.get_buffer(f"{name}_weight"), self.get_buffer(f"{name}_bias")
