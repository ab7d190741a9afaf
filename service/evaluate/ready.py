"""Candidates, loaded to run once more: for windows to look at, and shifted ones."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from catalog.commits import read_candidates
from catalog.schema import PHASES
from service.campaign import CandidateConfig
from service.evaluate.config import Evaluation
from service.evaluate.station_days import StationDays
from service.prepare import candidate_weights
from workers.engines import Engine, open_engine
from workers.span import Candidate


def ready(days: StationDays, configs: Sequence[CandidateConfig]) -> list[Candidate]:
    """As the catalogue holds them."""
    records, engines = read_candidates(days.catalog.store), dict[str, Engine]()
    found = []
    for config in configs:
        settings = records[config.name].settings
        name = _on_a_cpu(settings["engine"])
        if name not in engines:
            engines[name] = open_engine(name)
        before, after = settings["blinding"]
        found.append(
            Candidate.of(
                config.name,
                candidate_weights(config).members,
                engines[name],
                settings["floors"],
                settings["stacking"],
                (before, after),
                settings["quality"],
            )
        )
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
