"""A csv of traces beside a Zarr group of the same name: `pnw.csv` and `pnw.zarr`, on disk or S3.

The csv has `trace_name` and arrivals, its columns named as SeisBench's (`trace_P_arrival_sample`)
or short (`P_arrival_sample`). The group has an array [components, samples] for each trace, called
by its name, or one array `data` [traces, components, samples] in the order of the csv. Sampling
rate and components come from the csv (`trace_sampling_rate_hz` or `sampling_rate`;
`trace_component_order` or `components`), else from the array's or the group's attributes.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import zarr

from catalog.schema import Outcome, digest
from catalog.store import AccessDenied, MissingObject, open_store
from workers.archives.zarr import zarr_store
from workers.labelled.columns import check_strata, described, number, text
from workers.labelled.traces import (
    BenchmarkError,
    Description,
    LabelledTrace,
    Piece,
    Unreadable,
    pieces_of,
    three_rows,
)

_GARBLED = (ValueError, KeyError, TypeError, RuntimeError, zarr.errors.BaseZarrError)

STACKED = "data"


class CsvZarr:
    """strata: columns of the csv to take along. Raises BenchmarkError."""

    def __init__(self, path: str, strata: Sequence[str] = ()) -> None:
        folder, _, name = path.rpartition("/")
        store, group = open_store(folder or "."), f"{name.removesuffix('.csv')}.zarr"
        if not name.endswith(".csv"):
            raise BenchmarkError(f"benchmark {path}: name the .csv, beside which its .zarr lies")
        try:
            body, _ = store.fetch(name)
            self._frame = pd.read_csv(io.BytesIO(body), dtype=str, keep_default_na=False)
        except (MissingObject, ValueError) as error:
            raise BenchmarkError(f"benchmark {path}: cannot be read: {error}") from error
        if "trace_name" not in self._frame.columns:
            raise BenchmarkError(f"benchmark {path}: no column 'trace_name'")
        check_strata(strata, self._frame.columns, path)
        try:
            self._group = zarr.open_group(zarr_store(store, group), mode="r")
        except (OSError, *_GARBLED) as error:
            raise BenchmarkError(
                f"benchmark {path}: no Zarr group {store.url_of(group)}: {error}"
            ) from error
        there = [(found.key, found.size, found.etag) for found in store.list(f"{group}/")]
        self.fingerprint = digest([hashlib.sha256(body).hexdigest(), there])
        self._stacked = STACKED in self._group
        self._strata = strata

    def pieces(self, size: int) -> Iterator[Piece]:
        return pieces_of("", len(self._frame), size)

    def describe(self, piece: Piece) -> Iterator[Description]:
        return described(self._frame.iloc[piece.start : piece.stop], "", self._strata)

    def read(self, piece: Piece) -> Iterator[LabelledTrace | Unreadable]:
        for index, about in enumerate(self.describe(piece), piece.start):
            try:
                yield self._trace(index, about)
            except AccessDenied as error:
                yield Unreadable(about, Outcome.ACCESS_DENIED, str(error.strerror))
            except _GARBLED as error:
                why = f"{type(error).__name__}: {' '.join(str(error).split())}"
                yield Unreadable(about, Outcome.BAD_FORMAT, why[:300])

    def _trace(self, index: int, about: Description) -> LabelledTrace:
        found: Any = self._group[STACKED if self._stacked else about.trace_name]
        row = {str(key): value for key, value in self._frame.iloc[index].items()}
        said = {**dict(self._group.attrs), **dict(found.attrs)}
        rate = number(row, "trace_sampling_rate_hz", "sampling_rate") or number(
            said, "sampling_rate"
        )
        order = text(row, "trace_component_order", "components") or text(said, "components")
        if rate is None or rate <= 0 or order is None:
            raise ValueError("no sampling_rate or components, neither in the csv nor in the array")
        samples = np.asarray(found[index] if self._stacked else found[:])
        return LabelledTrace(about, rate, three_rows(order, samples.shape), samples)
