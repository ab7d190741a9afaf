"""Name or path -> Weights: the tensors, and what the SeisBench json says about using them.

Three kinds of name: a path to a `.safetensors` file or `.pt` state dict with its SeisBench json
beside it, `seisbench:NAME` (SeisBench's cache or hub), and `builtin:NAME` (shipped in
`workers/builtin`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from catalog.schema import PHASES, digest
from workers.phasenet import PhaseNet
from workers.preparation import (
    Preparation,
    WeightsError,
    blinding_of,
    preparation_of,
    refuse_unknown,
    stacking_of,
    threshold_of,
)
from workers.state_dict import MOST_BYTES, filter_factor_of, mean_of, tensors_of

MOST_JSON = 1_000_000
"""Bytes of the json beside it."""

BUILTIN = Path(__file__).parent / "builtin"


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
        network.load_state_dict(tensors_of(self.body, self.source))
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
    """Weights from a file and the json beside it; `source`, else the path, is what errors call it.

    Raises WeightsError, as `resolve`.
    """
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
    """Weights from the two files' contents, checked. Raises WeightsError."""
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
    mean = mean_of([tensors_of(each.body, each.source) for each in checkpoints])
    return from_bytes(mean, first.metadata, source)


def _weights(
    body: bytes,
    metadata: Mapping[str, Any],
    arguments: dict[str, Any],
    defaults: dict[str, Any],
    source: str,
) -> Weights:
    refuse_unknown(arguments, defaults, source)
    tensors = tensors_of(body, source)
    return Weights(
        source=source,
        sha256=hashlib.sha256(body).hexdigest(),
        body=body,
        metadata=dict(metadata),
        preparation=preparation_of(arguments, source),
        filter_factor=filter_factor_of(tensors, arguments, source),
        thresholds={phase: threshold_of(defaults, phase, source) for phase in PHASES},
        blinding=blinding_of(defaults.get("blinding", (0, 0)), source),
        stacking=stacking_of(defaults.get("stacking", "avg"), source),
    )


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
