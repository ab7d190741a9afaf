"""A catalogue's candidates, loaded to run once more: for windows to look at, and shifted ones."""

from __future__ import annotations

from collections.abc import Sequence

from catalog.commits import read_candidates
from service.campaign import CandidateConfig
from service.evaluate.station_days import StationDays
from service.prepare import candidate_weights
from workers.candidate import Candidate
from workers.engines import Engine, open_engine


def ready(days: StationDays, configs: Sequence[CandidateConfig]) -> list[Candidate]:
    """As the catalogue holds them. What fp16 picked on a GPU runs `fast` here."""
    records, engines = read_candidates(days.catalog.store), dict[str, Engine]()
    found = []
    for config in configs:
        settings = records[config.name].settings
        name = "fast" if settings["engine"] == "fp16" else settings["engine"]
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
