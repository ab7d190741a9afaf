"""What the runs of a catalogue recorded of themselves: their archives, and the weights they ran."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from catalog.query import Coverage
from workers.archives import ArchiveConfig
from workers.picker import StoredCandidate, StoredWeights


@dataclass(frozen=True, slots=True)
class Recorded:
    """archives: by run. candidates: by name, those whose weights can be read again."""

    archives: Mapping[str, ArchiveConfig]
    candidates: Mapping[str, StoredCandidate]

    @classmethod
    def of(cls, catalog: Coverage) -> Recorded:
        archives: dict[str, ArchiveConfig] = {}
        candidates: dict[str, StoredCandidate] = {}
        for row in catalog.sql("SELECT run, campaign, candidates FROM runs").to_pylist():
            archives[row["run"]] = ArchiveConfig(**json.loads(row["campaign"])["archive"])
            for name, known in json.loads(row["candidates"]).items():
                if members := known.get("members"):
                    candidates[name] = StoredCandidate(
                        name,
                        known["weights_sha256"],
                        tuple(StoredWeights(**member) for member in members),
                        _on_a_cpu(known["settings"]),
                    )
        return cls(archives, candidates)


def _on_a_cpu(settings: Mapping[str, object]) -> dict[str, object]:
    """Curves are for looking at: half precision, which needs a GPU, gives way to `fast`."""
    engine = "fast" if settings["engine"] == "fp16" else settings["engine"]
    return {**settings, "engine": engine}
