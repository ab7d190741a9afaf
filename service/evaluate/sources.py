"""Where an evaluation's numbers come from: weights, settings, versions, data by their hashes."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from catalog.query import Catalog
from eval.report.honesty import PROVENANCE_SCHEMA
from eval.semantics import SEMANTICS
from service.evaluate.config import Evaluation
from service.prepare import candidate_weights
from service.provenance import VERSIONED, version

Fact = tuple[str, str, str]

_SOFTWARE = "software"


def provenance(evaluation: Evaluation) -> pa.Table:
    """PROVENANCE_SCHEMA. Raises WeightsError or CatalogError where a source is not there."""
    return _table(_facts(evaluation))


def with_unfinished(sources: pa.Table, whats: Sequence[str]) -> pa.Table:
    """Provenance of tables some of which lack what workers were lost over: no other is the same."""
    lacking = _table((f"eval {what}", "unfinished", "run it again") for what in whats)
    return pa.concat_tables([sources, lacking])


def _table(facts: Iterable[Fact]) -> pa.Table:
    rows = [dict(zip(PROVENANCE_SCHEMA.names, fact, strict=True)) for fact in facts]
    return pa.Table.from_pylist(rows, PROVENANCE_SCHEMA)


def same_sources(first: pa.Table, second: pa.Table) -> bool:
    """Whether two tables of provenance name the same settings and data, and nothing unfinished.

    Versions may differ: each table says itself what made it (service/evaluate/tables.py).
    """

    def sources(table: pa.Table) -> list[dict[str, str]]:
        return [row for row in table.to_pylist() if row["about"] != _SOFTWARE]

    return sources(first) == sources(second)


def _facts(evaluation: Evaluation) -> Iterator[Fact]:
    settings = evaluation.model_dump(mode="json")
    about = "evaluation"
    if (errors := settings["label_errors"]) is not None:
        yield about, "label_errors, data", fingerprint(errors)
    for name in (
        *("threshold", "thresholds", "seed", "replicates", "muenchmeyer"),
        *("splits", "label_errors"),
    ):
        if settings.get(name) is not None:
            yield about, name, str(settings[name])
    yield about, "baseline", evaluation.against
    yield about, "engine", evaluation.compute.resolved_engine
    for config in evaluation.candidate:
        about = f"candidate {config.name}"
        yield about, "weights", ", ".join(config.members)
        yield about, "weights sha256", candidate_weights(config).sha256
        yield about, "settings", _text(config.model_dump(mode="json", exclude={"name", "weights"}))
    for benchmark in evaluation.benchmark:
        yield f"benchmark {benchmark.name}", "path", benchmark.path
        yield f"benchmark {benchmark.name}", "data", fingerprint(benchmark.path)
        how = benchmark.model_dump(mode="json", exclude={"name", "path"})
        yield f"benchmark {benchmark.name}", "settings", _text(how)
    for manifest in evaluation.manifest:
        about = f"candidate {manifest.candidate}"
        yield about, "trained on", f"{manifest.path}, {fingerprint(manifest.path)}"
    for table in evaluation.index:
        yield "training index", table, fingerprint(table)
    for family in evaluation.family:
        yield "family", family.kind, ", ".join(family.candidates)
    if evaluation.arena is not None:
        yield "arena", "strata", _text(evaluation.arena.strata)
    catalogs = set()
    if evaluation.noise is not None:
        catalogs.add(evaluation.noise.catalog)
        yield from _section("noise", settings["noise"])
    if evaluation.continuous is not None:
        catalogs.add(evaluation.continuous.catalog)
        yield from _section("continuous", settings["continuous"])
    for url in sorted(catalogs):
        yield from _runs(url)
    frozen = Path(evaluation.out) / "thresholds.json"
    if frozen.exists():
        yield "thresholds", "frozen", _text(json.loads(frozen.read_text()))
    yield _SOFTWARE, "python", platform.python_version()
    for package in VERSIONED:
        yield _SOFTWARE, package, version(package)
    yield _SOFTWARE, "semantics of evaluation", str(SEMANTICS)


def _section(about: str, settings: dict[str, object]) -> Iterator[Fact]:
    """Every setting, and of every file that one names its fingerprint."""
    for name, value in settings.items():
        if value is None or value == []:
            continue
        yield about, name, value if isinstance(value, str) else _text(value)
        if name == "catalog":
            continue
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, str) and Path(each).is_file():
                yield about, f"{name}, data", fingerprint(each)


def _runs(url: str) -> Iterator[Fact]:
    catalog = Catalog(url)
    for row in catalog.sql("FROM runs ORDER BY started").to_pylist():
        about = f"run {row['run']}"
        yield about, "engine", row["engine"] or "unknown"
        yield about, "versions", row["versions"] or "unknown"
        yield about, "machine", row["machine"] or "unknown"
    [found] = catalog.sql(
        "SELECT count(*) AS days, sum(picks)::BIGINT AS picks FROM coverage"
    ).to_pylist()
    yield f"catalog {url}", "station-days x candidates", str(found["days"])
    yield f"catalog {url}", "picks stored", str(found["picks"])


def fingerprint(path: str) -> str:
    """SHA-256 of a file; of a folder's file names and sizes; of neither where it is elsewhere."""
    place = Path(path)
    if place.is_file():
        with place.open("rb") as file:
            return f"sha256 {hashlib.file_digest(file, 'sha256').hexdigest()}"
    if place.is_dir():
        listed = sorted(
            (str(each.relative_to(place)), each.stat().st_size)
            for each in place.rglob("*")
            if each.is_file()
        )
        digest = hashlib.sha256(_text(listed).encode()).hexdigest()
        return f"{len(listed)} files, names and sizes sha256 {digest}"
    return "not a local file: no fingerprint"


def _text(value: object) -> str:
    return json.dumps(value, sort_keys=True)
