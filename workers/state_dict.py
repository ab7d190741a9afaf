"""The tensors of a weight file: read so that no code runs, and held against PhaseNet's layout."""

from __future__ import annotations

import io
import pickle
import struct
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from workers.phasenet import ROOT, PhaseNet
from workers.preparation import WeightsError

MOST_BYTES = 300_000_000
"""Of a weight file, unpacked: the widest network takes 275 MB."""

WIDEST = 16
"""Filter factor; `jma_wc` has 2. Cost and size grow with its square."""


def tensors_of(body: bytes, source: str) -> dict[str, Tensor]:
    """The state dict of a file's bytes, on the CPU.

    Raises WeightsError for a file that could run code when read, one that swells past MOST_BYTES,
    and a broken one.
    """
    if body[8:9] == b"{":
        try:
            return safetensors.torch.load(body)
        except safetensors.SafetensorError as error:
            raise WeightsError(f"weights {source!r}: broken safetensors file: {error}") from error
    try:
        unpacked = _unpacked(body)
        with warnings.catch_warnings():  # of a pickle's protocol: it is refused, in one line
            warnings.simplefilter("ignore", UserWarning)
            if unpacked <= MOST_BYTES:
                loaded = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
    except (  # all that a garbled archive or pickle has been seen to raise
        *(pickle.UnpicklingError, RuntimeError, EOFError, ValueError, TypeError),
        *(LookupError, AttributeError, struct.error, zipfile.BadZipFile),
        *(MemoryError, RecursionError, OverflowError),
    ) as error:
        raise WeightsError(
            f"weights {source!r}: not a plain state dict (pickled modules are refused because "
            "they can run code); save model.state_dict() or use safetensors"
        ) from error
    if unpacked > MOST_BYTES:
        raise WeightsError(
            f"weights {source!r}: {unpacked:,} bytes, at most {MOST_BYTES:,} are read"
        )
    if not isinstance(loaded, dict) or not all(isinstance(v, Tensor) for v in loaded.values()):
        raise WeightsError(f"weights {source!r}: not a state dict; save model.state_dict()")
    return dict(loaded)


def _unpacked(body: bytes) -> int:
    """Bytes of a weight file, those of a zip (which `torch.save` writes) when it is unpacked."""
    if not zipfile.is_zipfile(io.BytesIO(body)):
        return len(body)
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        return sum(part.file_size for part in archive.infolist())


def filter_factor_of(
    tensors: Mapping[str, Tensor], arguments: Mapping[str, Any], source: str
) -> int:
    """Width of the network, from the tensors; the whole layout is checked against it.

    Raises WeightsError for tensors that are not those of a PhaseNet with the phases of `arguments`
    (the json's model_args), or are not finite.
    """
    first = tensors.get("inc.weight")
    if first is None or first.ndim != 3 or first.shape[0] % ROOT:
        raise WeightsError(
            f"weights {source!r}: not a PhaseNet state dict (no fitting inc.weight; it begins "
            f"with {next(iter(tensors), 'nothing')!r})"
        )
    factor = first.shape[0] // ROOT
    if not 1 <= factor <= WIDEST:
        raise WeightsError(
            f"weights {source!r}: inc.weight has {first.shape[0]} filters; {ROOT} to "
            f"{WIDEST * ROOT} are run"
        )
    said = arguments.get("filter_factor", factor)
    if said != factor:
        raise WeightsError(
            f"weights {source!r}: model_args.filter_factor is {said}, the tensors say {factor}"
        )
    phases = len("".join(arguments.get("phases") or "NPS"))
    with torch.device("meta"):  # shapes, without memory
        wanted = PhaseNet(phases, 3, factor).state_dict()
    for key in sorted(wanted.keys() ^ tensors.keys()):
        word = "lacks" if key in wanted else "has an unknown"
        raise WeightsError(f"weights {source!r}: not a PhaseNet state dict: {word} {key!r}")
    for key, tensor in wanted.items():
        if tensors[key].shape != tensor.shape:
            raise WeightsError(
                f"weights {source!r}: {key} has shape {tuple(tensors[key].shape)}, a PhaseNet with "
                f"{phases} phases and three components has {tuple(tensor.shape)}"
            )
        if tensor.is_floating_point() and not torch.isfinite(tensors[key]).all():
            raise WeightsError(f"weights {source!r}: {key} holds NaN or Inf")
    return factor


def mean_of(sets: Sequence[Mapping[str, Tensor]]) -> bytes:
    """A safetensors file of the mean of several state dicts of one layout, summed as float64."""
    mean = {
        name: (
            torch.stack([tensors[name].double() for tensors in sets]).mean(0).to(tensor.dtype)
            if tensor.is_floating_point()
            else tensor  # a count of batches, without effect on picks
        )
        for name, tensor in sets[0].items()
    }
    return safetensors.torch.save(mean)
