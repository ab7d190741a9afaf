"""Exactly once: attempts, and the one atomic commit per shard and candidate.

Layout of a catalogue, every key written once and never changed:

    tidepick.json                          schema and semantics version
    candidates/<name>.json                 what a candidate's name stands for, for ever
    weights/<sha256>/                      the weights themselves: model, model.json
    runs/<run>/plan.json                   what was planned
    runs/<run>/<invocation>.{start,end}.json   who ran what where, and how it ended
    progress/<run>/<invocation>.<NNNNNN>.json   how far it had come; one a minute, later one in ten
    picks/candidate=/year=/month=/<shard>/<attempt>.parquet
    commits/<month>/<shard>.<generation>.json   the commit: which attempt counts, every outcome
    ledger/<month>/                        summaries of commits, to be made again at any time

An attempt that no commit names does not exist for any reader. A commit is one conditional PUT, so
of two workers at the same shard one wins whole, and a worker may die at any moment.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from catalog.errors import Refusal
from catalog.schema import (
    PICK_SCHEMA,
    SCHEMA_VERSION,
    SEMANTICS_VERSION,
    digest,
)
from catalog.store import MissingObject, Store, fetch_all

HEADER = "tidepick.json"
Record = TypeVar("Record")
COLUMNS = {"candidate", "year", "month", *PICK_SCHEMA.names}


class CatalogError(Refusal):
    """A catalogue that is missing, of another version, or at odds with what is asked of it."""


@dataclass(frozen=True, slots=True)
class CandidateRecord:
    """What a candidate's name stands for in a catalogue.

    settings: everything beside the weights that changes picks. thresholds: the defaults that the
    weights recommend, for queries; picks are stored from the floors in `settings`.
    """

    name: str
    weights_sha256: str
    source: str
    settings: Mapping[str, Any]
    thresholds: Mapping[str, float]
    semantics: int = SEMANTICS_VERSION

    @property
    def identity(self) -> str:
        """Hash of all that binds a name: weights, settings, semantics."""
        return digest([self.weights_sha256, dict(self.settings), self.semantics])


@dataclass(frozen=True, slots=True)
class Commit:
    """The outcome of one shard for one candidate, as committed.

    files: path, rows, bytes, sha256 of the one file; none where there are no picks. inputs:
    URL -> ETag of all that was read, halo included. coverage: one row per station-day, the columns
    of COVERAGE_SCHEMA but for candidate, run, shard and generation.
    """

    shard: str
    generation: int
    candidate: str
    weights_sha256: str
    run: str
    attempt: str
    files: Sequence[Mapping[str, Any]]
    inputs: Mapping[str, str]
    coverage: Sequence[Mapping[str, Any]]
    created: str

    def __post_init__(self) -> None:
        if len(self.files) > 1:
            raise ValueError(f"{len(self.files)} files; a shard's picks are one file")

    @property
    def key(self) -> str:
        """Where it is committed; who creates this key first has made the commit."""
        return commit_key(self.shard, self.generation)

    def to_json(self) -> bytes:
        """One line, as it is stored."""
        return (json.dumps(asdict(self), separators=(",", ":"), default=dict) + "\n").encode()


def commit_key(shard: str, generation: int) -> str:
    """A shard's month stands first in its name: the commits of a month are one listing."""
    return f"commits/{shard[:7]}/{shard}.{generation:06d}.json"


def new_attempt() -> str:
    """A name that no other attempt has."""
    return uuid.uuid4().hex


def create_catalog(store: Store) -> None:
    """Begin a catalogue, or check that the one there can be written by this version.

    Raises CatalogError where it cannot, or where a catalogue cannot be.
    """
    _check_place(store)
    header = _to_json({"schema": SCHEMA_VERSION, "semantics": SEMANTICS_VERSION})
    if not store.create(HEADER, header):
        check_catalog(store)
    elif store.create(HEADER, header + b"\n"):  # the same header still, should it be taken
        raise CatalogError(
            f"catalog {store.url}: this store ignores the condition of a conditional PUT "
            "(If-None-Match), so that two workers could commit the same shard; use another store "
            "(docs/s3.md; `tidepick check-store URL` tells)"
        )


def check_catalog(store: Store) -> None:
    """Raises CatalogError where there is no catalogue, or one of another version."""
    _check_place(store)
    try:
        body, _ = store.fetch(HEADER)
    except MissingObject as error:
        raise CatalogError(
            f"catalog {store.url}: no catalogue there ({HEADER} is missing); check the path, or "
            "make one with `tidepick run`"
        ) from error
    try:
        found = json.loads(body)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise CatalogError(f"catalog {store.url}: {HEADER} is not a catalogue's; check the path")
    wanted = {"schema": SCHEMA_VERSION, "semantics": SEMANTICS_VERSION}
    for name, version in wanted.items():
        if found.get(name) != version:
            raise CatalogError(
                f"catalog {store.url}: {name} version {found.get(name)}, this tidepick writes "
                f"{version}; use another catalogue, or the tidepick that made this one"
            )


def _check_place(store: Store) -> None:
    """DuckDB takes every `name=value` of a path for a column, the outermost first."""
    for part in store.url.split("/"):
        if "=" in part and part.partition("=")[0] in COLUMNS:
            raise CatalogError(
                f"catalog {store.url}: {part!r} in its path would be read as a column of the "
                "picks; put the catalogue elsewhere"
            )


def read_candidates(store: Store) -> dict[str, CandidateRecord]:
    """Every candidate of a catalogue, by name. Raises CatalogError for a record that is none."""
    keys = [entry.key for entry in store.list("candidates/")]
    records = [
        _candidate(body, store.url_of(key))
        for key, body in zip(keys, fetch_all(store, keys), strict=True)
    ]
    return {record.name: record for record in records}


def register_candidates(store: Store, records: Sequence[CandidateRecord]) -> None:
    """Bind each name to its weights and settings, for ever.

    Raises CatalogError if a name already stands for something else, or if another name already
    stands for the same: the same shard would then be picked twice.
    """
    known = read_candidates(store)
    for record in records:
        for other in known.values():
            if other.name != record.name and other.identity == record.identity:
                raise CatalogError(
                    f"candidate {record.name!r}: the same weights and settings are already "
                    f"candidate {other.name!r} of {store.url}; use that name"
                )
        if record.identity != known.setdefault(record.name, record).identity:
            raise CatalogError(_clash(store, known[record.name], record))
    for record in records:
        created = store.create(_candidate_key(record.name), _to_json(asdict(record)))
        standing = record if created else _read_candidate(store, record.name)
        if standing.identity != record.identity:
            raise CatalogError(_clash(store, standing, record))


def _clash(store: Store, standing: CandidateRecord, record: CandidateRecord) -> str:
    if standing.weights_sha256 != record.weights_sha256:
        what = f"weights {standing.weights_sha256[:12]}, not {record.weights_sha256[:12]}"
    else:
        what = ", ".join(
            f"{key} = {standing.settings.get(key)!r}, not {record.settings.get(key)!r}"
            for key in sorted({*standing.settings, *record.settings})
            if standing.settings.get(key) != record.settings.get(key)
        )
    return (
        f"candidate {record.name!r} already stands for {what} in {store.url}; "
        "give this candidate another name, or use another catalogue"
    )


def _candidate_key(name: str) -> str:
    return f"candidates/{name}.json"


def _read_candidate(store: Store, name: str) -> CandidateRecord:
    key = _candidate_key(name)
    return _candidate(store.fetch(key)[0], store.url_of(key))


def _candidate(body: bytes, source: str) -> CandidateRecord:
    return _record(CandidateRecord, body, source)


def _record(kind: type[Record], body: bytes, source: str) -> Record:
    """What an object of the catalogue says. Raises CatalogError where it is not whole."""
    try:
        return kind(**json.loads(body))
    except (ValueError, TypeError) as error:
        raise CatalogError(
            f"{source}: damaged ({error}); restore it from a copy of the catalogue"
        ) from error


def read_commits(store: Store, keys: Sequence[str]) -> list[Commit]:
    """The commits of some keys, in their order."""
    bodies = fetch_all(store, keys)
    return [_record(Commit, b, store.url_of(k)) for k, b in zip(keys, bodies, strict=True)]


def read_commit(store: Store, shard: str, generation: int) -> Commit | None:
    """The commit that stands, or None."""
    key = commit_key(shard, generation)
    try:
        body, _ = store.fetch(key)
    except MissingObject:
        return None
    return _record(Commit, body, store.url_of(key))


def commit(store: Store, record: Commit) -> bool:
    """Publish one attempt. False: another attempt was first, and this one does not count."""
    return store.create(record.key, record.to_json())


def write_plan(store: Store, run: str, plan: Mapping[str, Any]) -> None:
    """Keep the plan of a run, once. Raises CatalogError where it has another."""
    key = f"runs/{run}/plan.json"
    if not store.create(key, _to_json(plan)):
        raise CatalogError(f"{store.url_of(key)}: another plan under the same run id")


def _to_json(value: object) -> bytes:
    return (json.dumps(value, sort_keys=True, indent=1, default=dict) + "\n").encode()
