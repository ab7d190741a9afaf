"""An npz of labelled traces, as PhaseNet's training sets are kept in: all of it in memory.

| array | what |
| --- | --- |
| `data` | [traces, samples, components] |
| `itp`, `its` | [traces], samples of P and S; negative: none |
| `name` | [traces]; `NET_STA_...` gives the station |
| `sampling_rate`, `order` | Hz (100 if absent), codes of the components (ENZ if absent) |
| `event_id`, `station`, `distance_km`, `depth_km`, `magnitude`, `split` | [traces], optional |
"""

from __future__ import annotations

import hashlib
import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

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

_NEEDED = ("data", "itp", "its", "name")
_NAME = re.compile(r"([A-Z0-9]{1,2})_([A-Z0-9]{1,5})_.+")


class Npz:
    """strata: names of arrays [traces] to take along. Raises BenchmarkError."""

    def __init__(self, path: str, strata: Sequence[str] = ()) -> None:
        file = Path(path).expanduser()
        try:
            with file.open("rb") as body:
                self.fingerprint = hashlib.file_digest(body, "sha256").hexdigest()
            opened = np.load(file, allow_pickle=False)
            if not isinstance(opened, np.lib.npyio.NpzFile):
                raise ValueError("one array alone, an npy")
            with opened as arrays:
                held: dict[str, Any] = {name: arrays[name] for name in arrays.files}
        except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
            why = " ".join(str(error).split())
            raise BenchmarkError(
                f"benchmark {path}: not an npz that can be read: {why}; write it with np.savez"
            ) from error
        for name in _NEEDED:
            if name not in held:
                raise BenchmarkError(f"benchmark {path}: no array {name!r}; it needs {_NEEDED}")
        self._data = held["data"]
        if self._data.ndim != 3:
            raise BenchmarkError(
                f"benchmark {path}: data has {self._data.ndim} dimensions; give [traces, samples, "
                "components]"
            )
        self._rate = float(held.get("sampling_rate", 100))
        self._order = str(held.get("order", "ENZ"))
        self._strata = strata
        self._frame = _frame(held, len(self._data), path)
        check_strata(strata, self._frame.columns, path)

    def pieces(self, size: int) -> Iterator[Piece]:
        return pieces_of("", len(self._data), size)

    def describe(self, piece: Piece) -> Iterator[Description]:
        return described(self._frame.iloc[piece.start : piece.stop], "", self._strata)

    def read(self, piece: Piece) -> Iterator[LabelledTrace | Unreadable]:
        for index, about in enumerate(self.describe(piece), piece.start):
            samples = self._data[index].T
            order = three_rows(self._order, samples.shape)
            yield LabelledTrace(about, self._rate, order, samples)


def _frame(held: dict[str, Any], count: int, path: str) -> pd.DataFrame:
    columns: dict[str, Any] = {}
    for name, array in held.items():
        if name == "data" or np.ndim(array) != 1:
            continue
        if len(array) != count:
            raise BenchmarkError(
                f"benchmark {path}: array {name!r} has {len(array)} entries, data {count} traces"
            )
        columns[name] = array
    frame = pd.DataFrame(columns).rename(columns={"name": "trace_name"})
    for phase, name in (("P", "itp"), ("S", "its")):
        samples = frame.pop(name).astype(float)
        frame[f"{phase}_arrival_sample"] = samples.where(samples >= 0)
    if "station" not in frame:
        names = (_NAME.fullmatch(str(name)) for name in frame["trace_name"])
        frame["station"] = [f"{match[1]}.{match[2]}" if match else None for match in names]
    return frame
