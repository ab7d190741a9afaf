"""Was a candidate trained on what it is judged by? Asked of events, not of trace names.

Another trace of a trained event, or the same earthquake in another catalogue, is leaked as well.
Traces belong together that share an event id, or whose origins lie within 2 s and 10 km (both
inclusive, epicentres); what belongs together is one connected component, so one chain of links
suffices. An event that cannot be verified is neither leaked nor clean, and is left out of scores.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from eval.intervals import Codes, columns
from eval.metrics import proportion
from eval.traces import KEY, Numbers, Truths, few, keys, spoken

SAME_S = 2.0
SAME_KM = 10.0
EARTH_RADIUS_KM = 6371.0

LEAKED, CLEAN, UNVERIFIABLE = "leaked", "clean", "unverifiable"

INDEX_SCHEMA = pa.schema(
    [
        ("dataset", pa.string()),
        ("chunk", pa.string()),
        ("trace_name", pa.string()),
        ("event_id", pa.string()),
        ("origin_time", pa.timestamp("ns", tz="UTC")),
        ("latitude", pa.float64()),
        ("longitude", pa.float64()),
    ]
)
"""Every trace of every data set that a candidate was trained on or is judged by; nulls allowed."""

STATUS_SCHEMA = pa.schema(
    [
        ("candidate", pa.string()),
        ("dataset", pa.string()),
        ("chunk", pa.string()),
        ("trace_name", pa.string()),
        ("component", pa.int64()),
        ("status", pa.string()),  # leaked, clean, unverifiable
    ]
)

FRACTION_SCHEMA = pa.schema(
    [
        ("candidate", pa.string()),
        ("dataset", pa.string()),
        ("traces", pa.int64()),
        ("events", pa.int64()),  # components
        ("leaked", pa.int64()),
        ("clean", pa.int64()),
        ("unverifiable", pa.int64()),
        ("unresolved", pa.int64()),  # entries of the manifest that the index does not know
        ("value", pa.float64()),  # leaked of those verified; null where none is
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("n", pa.int64()),
    ]
)


@dataclass(frozen=True, slots=True)
class Audit:
    """status: STATUS_SCHEMA, a row a candidate and trace. fractions: FRACTION_SCHEMA."""

    status: pa.Table
    fractions: pa.Table


def components(index: pa.Table) -> Codes:
    """The component [rows] of each trace of an index (INDEX_SCHEMA), numbered from 0."""
    rows = index.num_rows
    row = np.arange(rows)
    edges = [np.empty((2, 0), np.int64)]
    nodes = rows

    named = index["event_id"].is_valid().to_numpy()
    if named.any():
        ids = np.unique(np.array(index["event_id"].drop_null().to_pylist()), return_inverse=True)[1]
        edges.append(np.stack([row[named], nodes + ids]))
        nodes += int(ids.max()) + 1

    located, origins = _origins(index)
    if located.any():
        unique, at = np.unique(origins[located], axis=0, return_inverse=True)
        edges.append(np.stack([row[located], nodes + at.ravel()]))
        edges.append(nodes + _near(unique))
        nodes += len(unique)

    first, second = np.concatenate(edges, axis=1)
    graph = coo_array((np.ones(len(first), bool), (first, second)), shape=(nodes, nodes))
    labels = connected_components(graph, directed=False)[1][:rows]
    return np.unique(labels, return_inverse=True)[1].astype(np.int64)


def trace_sha256(dataset: str, chunk: str | None, trace_name: str) -> str:
    """The hash by which a manifest may name a trace: of `dataset/chunk/trace_name` in UTF-8."""
    return hashlib.sha256(f"{dataset}/{chunk or ''}/{trace_name}".encode()).hexdigest()


def audit(benchmark: pa.Table, index: pa.Table, manifests: Mapping[str, pa.Table | None]) -> Audit:
    """Which events of the benchmark each candidate was trained on.

    benchmark: rows with `dataset`, `chunk`, `trace_name`, all of them in the index. manifests:
    what a candidate was trained on, a table with the same columns (`chunk` may lack, and then
    stands for every chunk) or with `sha256` (`trace_sha256`); None where it registered none.
    Raises ValueError, naming the traces, for a benchmark that the index does not know.
    """
    index = pa.table(
        {
            field.name: index[field.name].cast(field.type)
            if field.name in index.column_names
            else pa.nulls(index.num_rows, field.type)
            for field in INDEX_SCHEMA
        }
    )
    part_of = components(index)
    rows = _rows_of(benchmark, index)
    data = np.array(pc.fill_null(index["dataset"], "").to_pylist(), object)
    statuses, fractions = [], []
    for candidate, manifest in sorted(manifests.items()):
        trained, unresolved = (
            (np.zeros(index.num_rows, bool), 0) if manifest is None else _trained(manifest, index)
        )
        leaked = np.isin(part_of, part_of[trained])[rows]
        known = np.zeros(len(rows), bool)
        if manifest is not None and unresolved == 0:
            known = _verifiable(index, part_of, trained)[rows]
        status = np.where(leaked, LEAKED, np.where(known, CLEAN, UNVERIFIABLE))
        chosen = index.take(rows)
        given = [pa.repeat(candidate, len(rows)), *(chosen[name] for name in KEY)]
        statuses.append(
            pa.table([*given, part_of[rows], pa.array(status.tolist(), pa.string())],
                     names=STATUS_SCHEMA.names).cast(STATUS_SCHEMA)
        )  # fmt: skip
        for dataset in sorted(set(data[rows])):
            own = data[rows] == dataset
            fractions.append(
                {"candidate": candidate, "dataset": dataset, "unresolved": unresolved}
                | _fraction(part_of[rows][own], status[own])
            )
    return Audit(
        pa.concat_tables([STATUS_SCHEMA.empty_table(), *statuses]),
        pa.Table.from_pylist(fractions, FRACTION_SCHEMA),
    )


def check_manifest(manifest: pa.Table) -> None:
    """Raises ValueError where its columns name no trace."""
    names = set(manifest.column_names)
    if "sha256" not in names and not {"dataset", "trace_name"} <= names:
        raise ValueError(
            f"manifest: columns {manifest.column_names}; give 'sha256', or 'dataset', 'chunk' and "
            "'trace_name'"
        )


def clean_only(traces: pa.Table, status: pa.Table, candidates: Sequence[str]) -> pa.Table:
    """The traces that are clean for every one of the candidates, so that all keep the same ones.

    Raises ValueError for a candidate that the audit does not know.
    """
    kept: set[str] | None = None
    for candidate in candidates:
        own = status.filter(pc.field("candidate") == candidate)
        if own.num_rows == 0:
            raise ValueError(f"candidate {candidate!r} is not in the leakage audit; audit it first")
        clean = set(keys(own.filter(pc.field("status") == CLEAN)).to_pylist())
        kept = clean if kept is None else kept & clean
    return traces.filter(pc.is_in(keys(traces), pa.array(sorted(kept or ()), pa.string())))


def without_label_errors(traces: pa.Table, errors: pa.Table) -> tuple[pa.Table, list[str]]:
    """The traces whose labels are not known to be wrong, and the listed errors that are no trace.

    errors: `dataset`, `chunk`, `trace_name`; all three must agree, for a name may stand in two
    chunks. Scores are given with and without: call with each table.
    """
    wrong = keys(errors)
    strange = wrong.filter(pc.invert(pc.is_in(wrong, keys(traces))))
    kept = traces.filter(pc.invert(pc.is_in(keys(traces), wrong)))
    return kept, [spoken(key) for key in strange.to_pylist()]


def _origins(index: pa.Table) -> tuple[Truths, npt.NDArray[np.float64]]:
    """(known [rows], [rows, 3]: seconds from the first origin, latitude, longitude)."""
    known = np.ones(index.num_rows, bool)
    for name in ("origin_time", "latitude", "longitude"):
        known &= index[name].is_valid().to_numpy()
    times = pc.fill_null(index["origin_time"].cast(pa.int64()), 0).to_numpy()
    first = times[known].min() if known.any() else 0
    seconds = (times - first) / 1e9
    places = [pc.fill_null(index[name], np.nan).to_numpy() for name in ("latitude", "longitude")]
    return known, np.stack([seconds, *places], axis=1)


def _near(origins: Numbers) -> npt.NDArray[np.int64]:
    """Pairs [2, pairs] of origins [n, 3], sorted by time, within SAME_S and SAME_KM."""
    seconds = origins[:, 0]
    # A microsecond more, for what the difference of two float64 seconds may lose.
    last = np.searchsorted(seconds, seconds + SAME_S + 1e-6, side="right")
    later = last - np.arange(len(seconds)) - 1
    first = np.repeat(np.arange(len(seconds)), later)
    second = first + 1 + np.arange(len(first)) - np.repeat(np.cumsum(later) - later, later)
    close = _kilometres(origins[first, 1:], origins[second, 1:]) <= SAME_KM
    return np.stack([first[close], second[close]])


def _kilometres(first: Numbers, second: Numbers) -> Numbers:
    """Great-circle distance of (latitude, longitude) [n, 2] in degrees, by the haversine."""
    (lat1, lon1), (lat2, lon2) = np.radians(first).T, np.radians(second).T
    half = np.sin((lat2 - lat1) / 2) ** 2
    half += np.cos(lat1) * np.cos(lat2) * np.sin((lon2 - lon1) / 2) ** 2
    distance: Numbers = 2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.minimum(half, 1.0)))
    return distance


def _rows_of(benchmark: pa.Table, index: pa.Table) -> npt.NDArray[np.int64]:
    """The index rows of the benchmark's traces, each once."""
    wanted = pc.unique(keys(benchmark))
    at = pc.index_in(wanted, keys(index))
    if at.null_count:
        lost = wanted.filter(at.is_null()).to_pylist()
        raise ValueError(
            f"index: lacks {few([spoken(key) for key in lost])} of the benchmark; an event that is "
            "not in the index cannot be audited"
        )
    return np.asarray(at.to_numpy(), np.int64)


def _trained(manifest: pa.Table, index: pa.Table) -> tuple[Truths, int]:
    """(trained on [rows], entries of the manifest that the index does not know)."""
    check_manifest(manifest)
    if "sha256" in manifest.column_names:
        names = (index[name].to_pylist() for name in KEY)
        known = pa.array([trace_sha256(*key) for key in zip(*names, strict=True)], pa.string())
        listed = pc.unique(manifest["sha256"].cast(pa.string()))
    elif "chunk" in manifest.column_names:
        known, listed = keys(index), pc.unique(keys(manifest))
    else:
        known, listed = (
            pc.binary_join_element_wise(
                pc.fill_null(table["dataset"].cast(pa.string()), ""),
                table["trace_name"].cast(pa.string()),
                "\x00",
            ).combine_chunks()
            for table in (index, manifest)
        )
        listed = pc.unique(listed)
    unresolved = int(pc.sum(pc.invert(pc.is_in(listed, known))).as_py() or 0)
    return pc.is_in(known, listed).to_numpy(zero_copy_only=False), unresolved


def _verifiable(index: pa.Table, part_of: Codes, trained: Truths) -> Truths:
    """Rows whose event can be told from all that was trained on, by any of the event's traces.

    Within a data set event ids can be compared, across data sets only origins: one trained trace
    without an origin may be any event of another data set.
    """
    data = np.array(pc.fill_null(index["dataset"], "").to_pylist(), object)
    named = index["event_id"].is_valid().to_numpy()
    located, _ = _origins(index)
    can: Truths = np.isin(part_of, part_of[named | located])
    for dataset in sorted(set(data[trained])):
        its = trained & (data == dataset)
        by_name = (data == dataset) & named & bool(named[its].all())
        by_origin = located & bool(located[its].all())
        can = can & np.isin(part_of, part_of[by_name | by_origin])
    return can


def _fraction(part_of: Codes, status: npt.NDArray[np.str_]) -> dict[str, object]:
    counts = {name: len(set(part_of[status == name])) for name in (LEAKED, CLEAN, UNVERIFIABLE)}
    verified = counts[LEAKED] + counts[CLEAN]
    return {
        "traces": len(part_of),
        "events": len(set(part_of)),
        "n": verified,
        **counts,
        **columns(proportion(counts[LEAKED], verified)),
    }
