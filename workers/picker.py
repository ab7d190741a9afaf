"""One worker's share of a run: a shard in, attempts written and committed, a report out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from catalog.commits import Commit, commit, new_attempt, read_commit
from catalog.schema import DAY_NS, PICK_SCHEMA, Outcome, Shard, shard_id, utc_now
from catalog.store import S3Options, Store, open_store
from catalog.writer import partition, write_attempt
from workers.archives import Archive, ArchiveConfig, FilesArchive, open_archive
from workers.archives.files import Index
from workers.candidate import Candidate
from workers.engines import Engine, open_engine, use_threads
from workers.picked import Picked
from workers.pipeline import StationDayPicked, pick_shard
from workers.waveform import NS
from workers.weights import Weights, from_bytes


@dataclass(frozen=True, slots=True)
class StoredWeights:
    """Keys of the catalogue under which the two files of a weight set lie."""

    model: str
    metadata: str


@dataclass(frozen=True, slots=True)
class StoredCandidate:
    """A candidate whose weights lie in the catalogue. settings: all beside them that counts."""

    name: str
    weights_sha256: str
    members: tuple[StoredWeights, ...]
    settings: Mapping[str, Any]

    def shard_id(self, shard: Shard) -> str:
        """See `catalog.schema.shard_id`."""
        return shard_id(shard, self.weights_sha256, self.settings)


@dataclass(frozen=True, slots=True)
class Assignment:
    """What every worker of a run is told once. It travels; the weights are read from the store."""

    run: str
    catalog: str
    catalog_options: S3Options
    archive: ArchiveConfig
    candidates: Sequence[StoredCandidate]
    file_index: Index | None = None  # of a `files` archive: what the driver found in each object
    device: str = "cpu"
    threads: int = 1


@dataclass(frozen=True, slots=True)
class Work:
    """One shard for some candidates. generation 0 is the first; a retry writes the next."""

    shard: Shard
    candidates: tuple[str, ...]
    generation: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a Work: per candidate the outcomes and picks of the commit that stands.

    won: the candidates whose commit was made here, and not by another worker before. runs_on: what
    the engine of this worker computes with (see `workers.engines.Engine`).
    """

    work: Work
    outcomes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    picks: Mapping[str, int] = field(default_factory=dict)
    won: tuple[str, ...] = ()
    runs_on: str = ""


def store_weights(store: Store, weights: Weights) -> StoredWeights:
    """Keep weights in the catalogue, by hash."""
    model = f"weights/{weights.sha256}/model"
    metadata = f"weights/{weights.sha256}/{weights.identity}.json"
    store.create(model, weights.body)
    store.create(metadata, json.dumps(weights.metadata, sort_keys=True, indent=1).encode())
    return StoredWeights(model, metadata)


class Picker:
    """Holds the archive, the catalogue and the networks; picks and commits one shard at a time."""

    def __init__(self, assignment: Assignment) -> None:
        use_threads(assignment.threads)
        self._assignment = assignment
        self._store = open_store(assignment.catalog, assignment.catalog_options)
        self._archive: Archive = open_archive(assignment.archive)
        if isinstance(self._archive, FilesArchive) and assignment.file_index is not None:
            self._archive.index = assignment.file_index
        self._engines: dict[str, Engine] = {}
        self._stored = {candidate.name: candidate for candidate in assignment.candidates}
        self._ready = {
            candidate.name: load_candidate(
                self._store, candidate, self._engine(candidate.settings["engine"])
            )
            for candidate in assignment.candidates
        }

    def candidate(self, name: str) -> Candidate:
        """A candidate of the assignment, loaded."""
        return self._ready[name]

    def pick(self, work: Work) -> Report:
        """Every station-day of the shard, for each candidate that has no commit yet."""
        *_, report = self.picking(work)
        assert report is not None
        return report

    def picking(self, work: Work) -> Iterator[Report | None]:
        """As `pick`: None whenever a station-day is picked, and the report at the end."""
        standing = {name: self._standing(work, name) for name in work.candidates}
        wanted = [name for name, record in standing.items() if record is None]
        won = []
        if wanted:
            days = []
            for day in pick_shard(self._archive, work.shard, [self._ready[n] for n in wanted]):
                days.append(day)
                yield None
            for name in wanted:
                if self._commit(work, name, days):
                    won.append(name)
                standing[name] = self._standing(work, name)
        records = {name: record for name, record in standing.items() if record is not None}
        yield Report(
            work,
            {n: Counter(row["outcome"] for row in r.coverage) for n, r in records.items()},
            {n: sum(row["picks"] for row in r.coverage) for n, r in records.items()},
            tuple(won),
            ", ".join(sorted({engine.runs_on for engine in self._engines.values()})),
        )

    def _standing(self, work: Work, name: str) -> Commit | None:
        shard = self._stored[name].shard_id(work.shard)
        return read_commit(self._store, shard, work.generation)

    def _commit(self, work: Work, name: str, days: Sequence[StationDayPicked]) -> bool:
        """Write the attempt, then the commit that makes it count. A shard without picks too."""
        candidate = self._stored[name]
        shard, attempt = candidate.shard_id(work.shard), new_attempt()
        picks = _of_run(
            pa.concat_tables(day.picked[name].picks for day in days), self._assignment.run, shard
        )
        files = []
        if picks.num_rows:
            folder = partition(name, work.shard.start)
            files.append(write_attempt(self._store, f"{folder}/{shard}/{attempt}.parquet", picks))
        record = Commit(
            shard=shard,
            generation=work.generation,
            candidate=name,
            weights_sha256=candidate.weights_sha256,
            run=self._assignment.run,
            attempt=attempt,
            files=files,
            inputs={url: etag for day in days for url, etag in day.inputs.items()},
            coverage=[coverage_row(day, day.picked[name]) for day in days],
            created=utc_now(),
        )
        return commit(self._store, record)

    def _engine(self, name: str) -> Engine:
        """One engine for all candidates that name it: they share windows."""
        if name not in self._engines:
            self._engines[name] = open_engine(name, self._assignment.device)
        return self._engines[name]


def load_candidate(store: Store, candidate: StoredCandidate, engine: Engine) -> Candidate:
    """A candidate whose weights lie in a store, its networks loaded by the engine."""
    members = []
    for stored in candidate.members:
        body, _ = store.fetch(stored.model)
        metadata, _ = store.fetch(stored.metadata)
        members.append(from_bytes(body, json.loads(metadata), candidate.name))
    before, after = candidate.settings["blinding"]
    return Candidate.of(
        candidate.name,
        members,
        engine,
        candidate.settings["floors"],
        candidate.settings["stacking"],
        (before, after),
        candidate.settings["quality"],
    )


def quarantine(store: Store, assignment: Assignment, work: Work, reason: str) -> None:
    """Commit a shard as failed, with the reason, after its bounded attempts."""
    stored = {candidate.name: candidate for candidate in assignment.candidates}
    failed = Picked(Outcome.FAILED, reason)
    for name in work.candidates:
        days = [StationDayPicked(day, {name: failed}, {}) for day in work.shard.station_days]
        commit(
            store,
            Commit(
                shard=stored[name].shard_id(work.shard),
                generation=work.generation,
                candidate=name,
                weights_sha256=stored[name].weights_sha256,
                run=assignment.run,
                attempt=new_attempt(),
                files=[],
                inputs={},
                coverage=[coverage_row(day, failed) for day in days],
                created=utc_now(),
            ),
        )


def coverage_row(day: StationDayPicked, picked: Picked) -> dict[str, Any]:
    """One station-day as a commit records it."""
    trace = day.station_day.trace
    return {
        "network": trace.network,
        "station": trace.station,
        "location": trace.location,
        "band": trace.band,
        "day": day.station_day.day.isoformat(),
        "outcome": str(picked.outcome),
        "detail": picked.detail,
        "picks": picked.picks.num_rows,
        "seconds": picked.seconds,
        "gap_fraction": gap_fraction(picked),
        "segments": picked.segments,
        "fragments": picked.fragments,
        "repaired": picked.repaired,
        "n_components": picked.n_components,
        "sampling_rate": picked.sampling_rate,
        "resampled_from": picked.resampled_from,
        "saturated": picked.saturated,
        "flags": picked.flags,
    }


def gap_fraction(picked: Picked) -> float | None:
    """Of a day, what has no sample of any component; None where nothing could be read."""
    if picked.outcome in (Outcome.ACCESS_DENIED, Outcome.FAILED):
        return None
    return max(0.0, 1 - picked.seconds * NS / DAY_NS)


def _of_run(picks: pa.Table, run: str, shard: str) -> pa.Table:
    for name, value in (("run", run), ("shard", shard)):
        column = pa.array([value] * picks.num_rows, pa.string())
        picks = picks.append_column(name, column)
    return picks.cast(PICK_SCHEMA)
