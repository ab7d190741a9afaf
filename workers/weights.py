"""Name or path -> Weights: the tensors, and what the SeisBench json says about using them.

Three kinds of name: a path to a `.safetensors` file or `.pt` state dict with its SeisBench json
beside it, `seisbench:NAME` (SeisBench's cache or hub), and `builtin:NAME` (shipped in
`workers/builtin`).
"""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import struct
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from catalog.errors import Refusal
from catalog.schema import PHASES, digest
from workers.phasenet import ROOT, PhaseNet
from workers.waveform import ALIASES, NS, TILTED

BLINDED = 1500
"""Samples that windows share: blinding more than these leaves holes in the curve."""

MOST_BYTES = 300_000_000
"""Of a weight file, unpacked: the widest network takes 275 MB."""

MOST_JSON = 1_000_000
"""Bytes of the json beside it."""

WIDEST = 16
"""Filter factor; `jma_wc` has 2. Cost and size grow with its square."""

FASTEST_HZ = 1000

BUILTIN = Path(__file__).parent / "builtin"

_ARCHITECTURE = {"in_channels", "classes", "filter_factor"}
_PREPARATION = {
    "phases",
    "sampling_rate",
    "norm",
    "norm_detrend",
    "norm_amp_per_comp",
    "component_order",
    "filter_args",
    "filter_kwargs",
}
_IGNORED = {"citation", "allow_padding", "grouping"}
"""Saved by SeisBench, without effect on one station's picks (grouping is checked)."""


class WeightsError(Refusal):
    """Weights that cannot be used; the message names the file, the field and the fix."""


@dataclass(frozen=True, slots=True)
class Preparation:
    """How a window is prepared for these weights, and how their output reads (SeisBench json)."""

    phases: str
    components: str  # Z, N, E in the network's order
    sampling_rate: int
    norm: str  # std or peak
    detrend: bool
    per_component: bool  # norm_amp_per_comp: peak of each component, whatever `norm` says
    filter_args: tuple[Any, ...] | None
    filter_kwargs: Mapping[str, Any] | None

    @property
    def peak(self) -> bool:
        """Scaled by the largest amplitude of each component, not by its deviation."""
        return self.per_component or self.norm == "peak"

    @property
    def windows(self) -> str:
        """What a window looks like to the network; networks that agree on it share windows."""
        return f"{self.components} {self.peak} {self.detrend}"

    def to_json(self) -> dict[str, object]:
        return {
            "phases": self.phases,
            "component_order": self.components,
            "sampling_rate": self.sampling_rate,
            "norm": self.norm,
            "norm_detrend": self.detrend,
            "norm_amp_per_comp": self.per_component,
            "filter_args": self.filter_args,
            "filter_kwargs": self.filter_kwargs,
        }


@dataclass(frozen=True, slots=True)
class Weights:
    """One weight set, as bytes and as meaning.

    sha256 is of the weight file's bytes. `body` and `metadata` are the two files; every other
    field is read from them.
    """

    source: str
    sha256: str
    body: bytes = field(repr=False)
    metadata: Mapping[str, Any] = field(repr=False)
    preparation: Preparation
    filter_factor: int
    thresholds: Mapping[str, float]  # the default thresholds that the json recommends
    blinding: tuple[int, int]
    stacking: str

    def network(self) -> PhaseNet:
        """The network with these weights, in evaluation mode."""
        network = PhaseNet(len(self.preparation.phases), 3, self.filter_factor)
        network.load_state_dict(_tensors(self.body, self.source))
        return network.eval()

    @property
    def identity(self) -> str:
        """Hash of everything that these weights bring to a pick: tensors and preparation."""
        return digest({"sha256": self.sha256, "preparation": self.preparation.to_json()})


def resolve(name: str, base: Path | None = None) -> Weights:
    """Weights for a name of the campaign; relative paths start at `base`.

    Raises WeightsError for a missing file or json, a pickled module, another architecture, or an
    unknown model argument.
    """
    kind, _, rest = name.partition(":")
    if kind == "builtin":
        path = BUILTIN / f"{rest}.safetensors"
        if not path.exists():
            known = ", ".join(sorted(f"builtin:{p.stem}" for p in BUILTIN.glob("*.safetensors")))
            raise WeightsError(f"weights {name!r}: there is no such builtin; use one of {known}")
        return load(path, source=name)
    if kind == "seisbench":
        return load(_seisbench_file(rest), source=name)
    path = Path(name).expanduser()
    return load(path if path.is_absolute() or base is None else base / path)


def load(path: Path, source: str | None = None) -> Weights:
    """Weights from a file and the json beside it."""
    source = source or str(path)
    if not path.is_file():
        raise WeightsError(f"weights {source!r}: no such file; give a .safetensors or .pt file")
    # SeisBench's cache appends the version: original.pt.v1, original.json.v1
    for ending in (".safetensors", ".pth", ".pt"):
        if ending in path.name:
            sidecar = path.with_name(path.name.replace(ending, ".json"))
            break
    else:
        raise WeightsError(
            f"weights {source!r}: use .safetensors or .pt (a state dict), not {path.suffix!r}"
        )
    if not sidecar.is_file():
        raise WeightsError(
            f"weights {source!r}: no {sidecar.name} beside it; SeisBench's json names the phases, "
            "norm and component order (model.save(path) writes both)"
        )
    for file, most in ((path, MOST_BYTES), (sidecar, MOST_JSON)):
        if file.stat().st_size > most:
            raise WeightsError(f"weights {source!r}: {file.name} has more than {most:,} bytes")
    try:
        metadata = json.loads(sidecar.read_text())
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"weights json {sidecar}: not JSON: {error}") from error
    return from_bytes(path.read_bytes(), metadata, source)


def from_bytes(body: bytes, metadata: Mapping[str, Any], source: str) -> Weights:
    """Weights from the two files' contents, checked."""
    if not isinstance(metadata, dict) or not isinstance(metadata.get("model_args", {}), dict):
        raise WeightsError(f"weights {source!r}: the json has no object `model_args`")
    arguments, defaults = dict(metadata.get("model_args", {})), metadata.get("default_args") or {}
    if not isinstance(defaults, dict):
        raise WeightsError(f"weights {source!r}: default_args is not an object of the json")
    try:
        return _weights(body, metadata, arguments, defaults, source)
    except (TypeError, OverflowError) as error:
        raise WeightsError(f"weights {source!r}: an unfit value in the json: {error}") from error


def averaged(checkpoints: Sequence[Weights], source: str) -> Weights:
    """One weight set, the mean of several checkpoints of one training, as a candidate of its own.

    Batch-norm statistics are averaged like all other tensors. Raises WeightsError where there are
    fewer than two, or they prepare windows differently or are of another width: then they are not
    checkpoints of one training.
    """
    if len(checkpoints) < 2:
        raise WeightsError(f"weights {source!r}: an average needs two checkpoints or more")
    first = checkpoints[0]
    for other in checkpoints[1:]:
        if (other.preparation, other.filter_factor) != (first.preparation, first.filter_factor):
            raise WeightsError(
                f"weights {source!r}: {first.source!r} and {other.source!r} differ in preparation "
                "or width; average checkpoints of one training"
            )
    sets = [_tensors(each.body, each.source) for each in checkpoints]
    mean = {
        name: (
            torch.stack([tensors[name].double() for tensors in sets]).mean(0).to(tensor.dtype)
            if tensor.is_floating_point()
            else tensor  # a count of batches, without effect on picks
        )
        for name, tensor in sets[0].items()
    }
    return from_bytes(safetensors.torch.save(mean), first.metadata, source)


def _weights(
    body: bytes,
    metadata: Mapping[str, Any],
    arguments: dict[str, Any],
    defaults: dict[str, Any],
    source: str,
) -> Weights:
    unknown = set(arguments) - _ARCHITECTURE - _PREPARATION - _IGNORED
    if unknown:
        raise WeightsError(
            f"weights {source!r}: model_args {sorted(unknown)} are not PhaseNet's; "
            "tidepick runs PhaseNet only"
        )
    if arguments.get("grouping", "instrument") != "instrument":
        raise WeightsError(f"weights {source!r}: grouping must be 'instrument'")
    if defaults.get("overlap", 1500) not in (1500, 1500 / 3001):
        raise WeightsError(f"weights {source!r}: default_args.overlap must be 1500")
    tensors = _tensors(body, source)
    return Weights(
        source=source,
        sha256=hashlib.sha256(body).hexdigest(),
        body=body,
        metadata=dict(metadata),
        preparation=_preparation(arguments, source),
        filter_factor=_filter_factor(tensors, arguments, source),
        thresholds={phase: _threshold(defaults, phase, source) for phase in PHASES},
        blinding=_blinding(defaults.get("blinding", (0, 0)), source),
        stacking=_stacking(defaults.get("stacking", "avg"), source),
    )


def _preparation(arguments: Mapping[str, Any], source: str) -> Preparation:
    def refuse(field: str, fix: str) -> WeightsError:
        return WeightsError(f"weights {source!r}: model_args.{field} {arguments[field]!r}: {fix}")

    phases = "".join(arguments.get("phases") or "NPS")
    if len(set(phases)) != len(phases) or not set(phases) & set(PHASES) or len(phases) > 4:
        raise refuse("phases", "name each phase once, P or S among them, four at most")
    order = "".join(arguments.get("component_order") or "ZNE")
    components = "".join("?" if c in TILTED else ALIASES.get(c, "?") for c in order)
    if sorted(components) != ["E", "N", "Z"]:
        raise refuse("component_order", "an order of Z, N and E (or Z, 1 and 2)")
    norm = arguments.get("norm") or "std"
    if norm not in ("std", "peak"):
        raise refuse("norm", "std or peak")
    rate = arguments.get("sampling_rate") or 100
    if rate != int(rate) or not 0 < rate <= FASTEST_HZ or NS % int(rate):
        raise refuse(
            "sampling_rate",
            f"a whole number of Hz, {FASTEST_HZ} at most, that divides a second into whole ns",
        )
    filter_args = arguments.get("filter_args")
    filter_kwargs = arguments.get("filter_kwargs")
    for name, value, kind in (
        ("filter_args", filter_args, (list, tuple)),
        ("filter_kwargs", filter_kwargs, dict),
    ):
        if value is not None and not isinstance(value, kind):
            raise refuse(name, "one filter for all channels (obspy's arguments)")
    return Preparation(
        phases=phases,
        components=components,
        sampling_rate=int(rate),
        norm=norm,
        detrend=bool(arguments.get("norm_detrend", False)),
        per_component=bool(arguments.get("norm_amp_per_comp", False)),
        filter_args=tuple(filter_args) if filter_args is not None else None,
        filter_kwargs=dict(filter_kwargs) if filter_kwargs is not None else None,
    )


def _filter_factor(tensors: Mapping[str, Tensor], arguments: Mapping[str, Any], source: str) -> int:
    """Width of the network, from the tensors; the whole layout is checked against it."""
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


def _threshold(defaults: Mapping[str, Any], phase: str, source: str) -> float:
    value = defaults.get(f"{phase}_threshold", 0.3)
    if not isinstance(value, int | float) or not 0 < value < 1:
        raise WeightsError(
            f"weights {source!r}: default_args.{phase}_threshold {value!r}: between 0 and 1"
        )
    return float(value)


def _stacking(value: Any, source: str) -> str:
    if value not in ("avg", "max"):
        raise WeightsError(f"weights {source!r}: default_args.stacking {value!r}: avg or max")
    return str(value)


def _blinding(value: Any, source: str) -> tuple[int, int]:
    try:
        before, after = (int(v) for v in value)
    except (TypeError, ValueError) as error:
        raise WeightsError(
            f"weights {source!r}: default_args.blinding {value!r}: two sample counts"
        ) from error
    if min(before, after) < 0 or before + after > BLINDED:
        raise WeightsError(
            f"weights {source!r}: default_args.blinding {value!r}: two counts >= 0, together at "
            f"most {BLINDED} samples"
        )
    return before, after


def _tensors(body: bytes, source: str) -> dict[str, Tensor]:
    """The state dict; a file that could run code when read is refused, and one that swells."""
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


def _seisbench_file(name: str) -> Path:
    """SeisBench's cached file for a pretrained PhaseNet, fetched by SeisBench where it is not."""
    import seisbench.models

    try:
        seisbench.models.PhaseNet.from_pretrained(name)
        versions = seisbench.models.PhaseNet.list_versions(name, remote=False)
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"weights 'seisbench:{name}': SeisBench could not provide it ({error}); put it in "
            "SeisBench's cache or give a path"
        ) from error
    latest = max(versions, key=_version_key)
    path, _ = seisbench.models.PhaseNet._pretrained_path(name, latest)
    return Path(path)


def _version_key(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
