"""From a campaign to everything a run needs: weights resolved and stored, names bound, plan made.

This happens once, in the driver; workers never touch a hub or list an archive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from catalog.commits import (
    HEADER,
    CandidateRecord,
    check_catalog,
    create_catalog,
    register_candidates,
    write_plan,
)
from catalog.plans import displaced
from catalog.runs import runs_table
from catalog.schema import PHASES
from catalog.store import MissingObject, Store, open_store
from service.campaign import Campaign, CandidateConfig
from service.documents import CampaignError
from service.plan import Plan, make_plan
from workers.archives import FilesArchive, open_archive
from workers.ensemble import Ensemble
from workers.picker import Assignment, StoredCandidate, store_weights
from workers.preparation import WeightsError
from workers.weights import Weights, averaged, resolve


@dataclass(frozen=True, slots=True)
class Prepared:
    """A campaign that is ready to run."""

    campaign: Campaign
    store: Store
    plan: Plan
    assignment: Assignment


def prepare(campaign: Campaign) -> Prepared:
    """Check everything that can be checked before work begins, then bind it in the catalogue.

    Raises CampaignError, WeightsError, CatalogError or StoreError; until all checks have passed
    nothing is written.
    """
    resolved = resolve_candidates(campaign)
    archive = open_archive(campaign.archive)
    plan = make_plan(campaign, archive)
    store = open_store(campaign.catalog, campaign.catalog_options)
    create_catalog(store)
    register_candidates(store, [record for record, _ in resolved])
    stored = []
    for record, ensemble in resolved:
        kept = tuple(store_weights(store, member) for member in ensemble.members)
        stored.append(StoredCandidate(record.name, record.weights_sha256, kept, record.settings))
    run = plan.run_id(stored)
    write_plan(store, run, plan.to_json(stored))
    compute = campaign.compute
    assignment = Assignment(
        run=run,
        catalog=campaign.catalog,
        catalog_options=campaign.catalog_options,
        archive=campaign.archive,
        candidates=stored,
        device=compute.device,
        file_index=archive.index if isinstance(archive, FilesArchive) else None,
        threads=max(1, int(compute.cpus_per_worker)),
    )
    return Prepared(campaign, store, plan, assignment)


def resolve_candidates(campaign: Campaign) -> list[tuple[CandidateRecord, Ensemble]]:
    """What the names of a campaign's candidates will stand for. Nothing is written.

    Raises CampaignError and WeightsError.
    """
    found: list[tuple[CandidateRecord, Ensemble]] = []
    for config in campaign.candidate:
        ensemble = candidate_weights(config)
        record = candidate_record(campaign, config, ensemble)
        for other, _ in found:
            if other.identity == record.identity:
                raise CampaignError(
                    f"candidate.name: {other.name!r} and {record.name!r} are the same weights with "
                    "the same settings; keep one"
                )
        found.append((record, ensemble))
    return found


def displaced_runs(
    campaign: Campaign, plan: Plan, candidates: Sequence[CandidateRecord]
) -> list[str]:
    """Runs in the campaign's catalogue whose place this plan would take; none where there is no
    catalogue yet. Raises CatalogError and StoreError."""
    store = open_store(campaign.catalog, campaign.catalog_options)
    try:
        store.fetch(HEADER)
    except MissingObject:
        return []
    check_catalog(store)
    stored = [StoredCandidate(c.name, c.weights_sha256, (), c.settings) for c in candidates]
    names = [candidate.name for candidate in candidates]
    facts = campaign.model_dump(mode="json")
    return displaced(runs_table(store), plan.run_id(stored), facts, names)


def candidate_weights(config: CandidateConfig) -> Ensemble:
    """The weights of a candidate, all members of an ensemble in agreement."""
    members = [member_weights(config, name) for name in config.members]
    try:
        if config.average:
            members = [averaged(members, f"mean of {', '.join(config.members)}")]
        ensemble = Ensemble.of(members)
        _ = config.stacking or ensemble.stacking, config.blinding or ensemble.blinding
    except WeightsError as error:
        raise WeightsError(f"candidate {config.name!r}: {error}") from error
    return ensemble


def member_weights(config: CandidateConfig, name: str) -> Weights:
    """One weight set of a candidate, by its name in the campaign."""
    try:
        return resolve(name, Path.cwd())
    except WeightsError as error:
        raise WeightsError(f"candidate {config.name!r}: {error}") from error


def candidate_record(
    campaign: Campaign, config: CandidateConfig, ensemble: Ensemble
) -> CandidateRecord:
    """What the candidate's name will stand for."""
    names = ", ".join(Path(name).name if "/" in name else name for name in config.members)
    return CandidateRecord(
        name=config.name,
        weights_sha256=ensemble.sha256,
        source=f"mean of {names}" if config.average else names,
        settings={
            "engine": campaign.compute.resolved_engine,
            "floors": {phase: getattr(config, f"{phase}_threshold") for phase in PHASES},
            "stacking": config.stacking or ensemble.stacking,
            "blinding": list(config.blinding or ensemble.blinding),
            "preparation": ensemble.preparation,
            "quality": campaign.quality,
        },
        thresholds=ensemble.thresholds,
    )
