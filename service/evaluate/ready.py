"""A catalogue's candidates to run once more: over windows to look at, and shifted ones."""

from __future__ import annotations

from collections.abc import Sequence

from catalog.commits import read_candidates
from catalog.store import Store
from service.campaign import CandidateConfig
from service.evaluate.station_days import StationDays
from service.prepare import candidate_weights
from workers.candidate import Candidate
from workers.engines import Engine, open_engine
from workers.picker import StoredCandidate, load_candidate, store_weights


def as_picked(
    store: Store, days: StationDays, configs: Sequence[CandidateConfig], device: str
) -> list[StoredCandidate]:
    """As the catalogue holds them, their weights in a store. What fp16 picked on a GPU runs `fast`
    on a CPU."""
    records, found = read_candidates(days.catalog.store), []
    for config in configs:
        settings = dict(records[config.name].settings)
        if settings["engine"] == "fp16" and device == "cpu":
            settings["engine"] = "fast"
        ensemble = candidate_weights(config)
        kept = tuple(store_weights(store, member) for member in ensemble.members)
        found.append(StoredCandidate(config.name, ensemble.sha256, kept, settings))
    return found


def ready(store: Store, days: StationDays, configs: Sequence[CandidateConfig]) -> list[Candidate]:
    """The same, loaded in this process."""
    engines: dict[str, Engine] = {}
    found = []
    for stored in as_picked(store, days, configs, "cpu"):
        name = stored.settings["engine"]
        if name not in engines:
            engines[name] = open_engine(name)
        found.append(load_candidate(store, stored, engines[name]))
    return found
