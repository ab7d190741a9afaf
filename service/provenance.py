"""What an invocation of a run records of itself, so that its picks can be made again."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict
from importlib import metadata
from typing import Any

from service.prepare import Prepared

VERSIONED = ("tidepick", "torch", "seisbench", "obspy", "numpy", "pymseed", "ray", "pyarrow")


def provenance(prepared: Prepared, machine: Mapping[str, Any], file: str) -> dict[str, Any]:
    """Campaign, candidates, versions, machine. No environment, hence no credential."""
    return {
        "campaign": prepared.campaign.model_dump(mode="json"),
        "file": file,
        "candidates": {
            c.name: {
                "weights_sha256": c.weights_sha256,
                "settings": dict(c.settings),
                "members": [asdict(member) for member in c.members],
            }
            for c in prepared.assignment.candidates
        },
        "engine": prepared.campaign.compute.resolved_engine,
        "versions": {"python": platform.python_version()} | {v: version(v) for v in VERSIONED},
        "machine": dict(machine),
        "station_days": prepared.plan.station_days,
    }


def version(package: str) -> str:
    """Of an installed package."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed as a package"
