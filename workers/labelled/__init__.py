"""Labelled traces of a benchmark, whatever it is kept in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from workers.labelled.csv_zarr import CsvZarr
from workers.labelled.npz import Npz
from workers.labelled.seisbench import SeisBenchFolder
from workers.labelled.traces import Labelled

READERS: Mapping[str, Callable[[str, Sequence[str]], Labelled]] = {
    "seisbench": SeisBenchFolder,
    "npz": Npz,
    "csv_zarr": CsvZarr,
}


def open_labelled(kind: str, path: str, strata: Sequence[str] = ()) -> Labelled:
    """kind: of READERS. Raises BenchmarkError, naming file and column."""
    return READERS[kind](path, strata)
