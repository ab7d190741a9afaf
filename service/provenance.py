"""What an invocation of a run records of itself, so that its picks can be made again."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict
from importlib import metadata
from itertools import islice
from typing import Any

from service.prepare import Prepared

VERSIONED = ("tidepick", "torch", "seisbench", "obspy", "numpy", "pymseed", "ray", "pyarrow")

UNLOOKED = 100
"""Of the objects that could not be looked into while planning, so many are named."""


def provenance(prepared: Prepared, machine: Mapping[str, Any], file: str) -> dict[str, Any]:
    """Campaign, candidates, versions, machine. No environment, hence no credential."""
    unlooked = prepared.plan.findings.unlooked
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
        "unlooked": len(unlooked),
        "unlooked_objects": dict(islice(unlooked.items(), UNLOOKED)),
    }


def version(package: str) -> str:
    """Of an installed package."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed as a package"
