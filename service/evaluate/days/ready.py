"""Candidates, loaded to run once more: for windows to look at, and shifted ones."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from catalog.commits import read_candidates
from catalog.schema import PHASES
from catalog.store import Store
from service.campaign import CandidateConfig
from service.evaluate.config import Evaluation
from service.evaluate.days.station_days import StationDays
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
        if device == "cpu":
            settings["engine"] = _on_a_cpu(settings["engine"])
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


def ready_for_traces(evaluation: Evaluation, names: Collection[str]) -> dict[str, Candidate]:
    """Some of an evaluation's candidates by name, as `tidepick eval oracle` runs them: each window
    for itself, so that neither stacking nor blinding counts."""
    engines, found = dict[str, Engine](), {}
    for config in evaluation.candidate:
        if config.name not in names:
            continue
        name = _on_a_cpu(config.engine or evaluation.compute.resolved_engine)
        if name not in engines:
            engines[name] = open_engine(name)
        floors = {phase: getattr(config, f"{phase}_threshold") for phase in PHASES}
        members = candidate_weights(config).members
        found[config.name] = Candidate.of(config.name, members, engines[name], floors)
    return found


def _on_a_cpu(engine: str) -> str:
    """Curves are for looking at: half precision, which needs a GPU, gives way to `fast`."""
    return "fast" if engine == "fp16" else engine
