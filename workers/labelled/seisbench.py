"""A SeisBench dataset's folder: `metadata<chunk>.csv` beside `waveforms<chunk>.hdf5`.

Labels come from the columns `trace_<phase>_arrival_sample`. One chunk's metadata are held at a
time, and one trace's samples.
"""

from __future__ import annotations

import hashlib
import logging
import math
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from catalog.schema import Outcome, digest
from workers.labelled.columns import check_strata, described
from workers.labelled.traces import (
    BenchmarkError,
    Description,
    LabelledTrace,
    Piece,
    Unreadable,
    pieces_of,
    three_rows,
)

_EDGE = 1 << 20
"""Bytes at either end of a waveform file that its fingerprint is made of, with its size."""

_GARBLED = (OSError, KeyError, IndexError, ValueError, TypeError, RuntimeError)
"""What h5py and SeisBench have been seen to raise for a damaged or missing trace."""


class SeisBenchFolder:
    """strata: columns of the metadata to take along. Raises BenchmarkError."""

    def __init__(self, path: str, strata: Sequence[str] = ()) -> None:
        self._folder = Path(path).expanduser()
        if not self._folder.is_dir():
            raise BenchmarkError(f"benchmark {path}: no such folder; a SeisBench dataset is one")
        self._strata = strata
        self.chunks = self._chunks()
        self.fingerprint = digest([[c, *map(_print_of, self._files(c))] for c in self.chunks])
        self._held: tuple[str, pd.DataFrame] | None = None
        self._open: tuple[str, Any] | None = None
        if strata:  # one chunk may lack a column that another has
            check_strata(
                strata, {str(c) for k in self.chunks for c in self._read_csv(k, nrows=0)}, path
            )

    def pieces(self, size: int) -> Iterator[Piece]:
        for chunk in self.chunks:
            yield from pieces_of(chunk, len(self._metadata(chunk)), size)

    def describe(self, piece: Piece) -> Iterator[Description]:
        frame = self._metadata(piece.chunk).iloc[piece.start : piece.stop]
        return described(frame, piece.chunk, self._strata)

    def read(self, piece: Piece) -> Iterator[LabelledTrace | Unreadable]:
        try:
            data = self._waveforms(piece.chunk)
        except _GARBLED as error:
            missing = not self._files(piece.chunk)[1].exists()
            outcome = Outcome.NO_DATA if missing else Outcome.BAD_FORMAT
            why = f"{self._files(piece.chunk)[1].name}: {_line(error)}"
            yield from (Unreadable(about, outcome, why) for about in self.describe(piece))
            return
        for index, about in enumerate(self.describe(piece), piece.start):
            try:
                yield self._trace(data, index, about)
            except _GARBLED as error:
                yield Unreadable(about, Outcome.BAD_FORMAT, _line(error))

    def _trace(self, data: Any, index: int, about: Description) -> LabelledTrace:
        row = data.metadata.iloc[index]
        rate, order = float(row["trace_sampling_rate_hz"]), str(row["trace_component_order"])
        if not (math.isfinite(rate) and rate > 0):
            raise ValueError("no sampling rate: trace_sampling_rate_hz, trace_dt_s, or the hdf5's")
        if data.component_order != order:
            data.component_order = order  # as it is: SeisBench drops components it is not asked for
        samples = np.asarray(data.get_waveforms(index))
        return LabelledTrace(about, rate, three_rows(order, samples.shape), samples)

    def _waveforms(self, chunk: str) -> Any:
        if self._open is None or self._open[0] != chunk:
            self._open = None
            self._open = chunk, _opened(self._folder, chunk)
        return self._open[1]

    def _chunks(self) -> list[str]:
        """By the metadata, so that a chunk whose waveforms are missing is not passed over."""
        names = self._folder.glob("metadata*.csv")
        chunks = sorted(name.name[len("metadata") : -len(".csv")] for name in names)
        if not chunks:
            raise BenchmarkError(f"benchmark {self._folder}: no metadata*.csv in this folder")
        return chunks

    def _files(self, chunk: str) -> tuple[Path, Path]:
        return self._folder / f"metadata{chunk}.csv", self._folder / f"waveforms{chunk}.hdf5"

    def _metadata(self, chunk: str) -> pd.DataFrame:
        if self._held is None or self._held[0] != chunk:
            path, _ = self._files(chunk)
            self._held = None
            frame = self._read_csv(chunk)
            if "trace_name" not in frame.columns:
                raise BenchmarkError(f"benchmark {path}: no column 'trace_name'")
            self._held = chunk, frame
        return self._held[1]

    def _read_csv(self, chunk: str, nrows: int | None = None) -> pd.DataFrame:
        path, _ = self._files(chunk)
        try:
            return pd.read_csv(path, dtype=str, keep_default_na=False, nrows=nrows)  # NA: a network
        except (OSError, ValueError) as error:
            raise BenchmarkError(f"benchmark {path}: {_line(error)}") from error


def _opened(folder: Path, chunk: str) -> Any:
    """SeisBench's reader of one chunk of a folder on this machine."""
    from seisbench.data import WaveformDataset

    logger = logging.getLogger("seisbench")  # what it warns of becomes an outcome here
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return WaveformDataset(
                folder,
                chunks=[chunk],
                component_order="ZNE",
                dimension_order="NCW",
                missing_components="pad",
            )
    finally:
        logger.setLevel(level)


def _print_of(path: Path) -> list[object]:
    """Of the metadata all bytes count, of waveforms their size and both ends."""
    if not path.exists():
        return ["none"]
    size = path.stat().st_size
    with path.open("rb") as file:
        if path.suffix == ".csv":
            return [size, hashlib.file_digest(file, "sha256").hexdigest()]
        head = file.read(_EDGE)
        file.seek(max(0, size - _EDGE))
        return [size, hashlib.sha256(head + file.read(_EDGE)).hexdigest()]


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
