"""Waveforms of a station-day, written as the arrays that workers/archives/zarr.py reads."""

from __future__ import annotations

import uuid
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.errors import ZarrUserWarning

from catalog.schema import COMPONENTS
from catalog.store import Store, writing
from workers.archives.zarr import zarr_store
from workers.waveform import Waveform, grid_time

CHUNK_SECONDS = 7200
"""Measured on a noisy 100 Hz day, 1-4 h: reading it all takes the same; a halo 6, 10, 18 ms."""

FILL = {"i": -(2**31), "f": float("nan")}
"""What zarr gives for an object that is not there; hardly a sample has it."""


def write_waveforms(destination: Store, path: str, waveforms: Sequence[Waveform]) -> list[str]:
    """A group for each below a station-day's path; the folders, which no other writing shares.

    Raises AccessDenied and StoreUnavailable: a full disk too.
    """
    attempt = uuid.uuid4().hex[:12]
    folders = [f"{attempt}/{waveform.rate:.12g}Hz" for waveform in waveforms]
    with writing(destination.url_of(path)):
        for folder, waveform in zip(folders, waveforms, strict=True):
            _write_rate(destination, f"{path}/{folder}", waveform)
    return folders


def _write_rate(destination: Store, path: str, waveform: Waveform) -> None:
    store, rate = zarr_store(destination, path), waveform.rate
    zarr.create_group(
        store,
        attributes={
            "rate": rate,
            "start": waveform.start,
            "start_time": str(np.datetime64(grid_time(waveform.start, rate), "ns")),
            "components": list(COMPONENTS),
            "samples": waveform.mask.sum(axis=1).tolist(),
        },
    )
    n = waveform.data.shape[1]
    chunk = max(1, round(CHUNK_SECONDS * rate))
    shard = -(-n // chunk) * chunk
    fill = FILL[waveform.data.dtype.kind]
    table = np.concatenate(
        [np.insert(rows, 0, row, axis=1) for row, rows in enumerate(waveform.offsets)]
    )
    arrays: dict[str, tuple[NDArray[Any], tuple[str, ...], Any]] = {
        "data": (waveform.data, ("component", "time"), fill),
        "mask": (waveform.mask, ("component", "time"), False),
        "offsets": (table, ("record", "field"), 0),
    }
    if waveform.conflict is not None:
        arrays["conflict"] = (waveform.conflict, ("time",), False)
    for key, (values, dimensions, filling) in arrays.items():
        chunks, shards = _chunking(values.shape, dimensions, chunk, shard)
        array = zarr.create_array(
            store,
            name=key,
            shape=values.shape,
            dtype=values.dtype,
            chunks=chunks,
            shards=shards,
            compressors=[BloscCodec(cname="zstd", clevel=5, shuffle="bitshuffle"), Crc32cCodec()],
            fill_value=filling,
            dimension_names=dimensions,
        )
        array[...] = values
    with warnings.catch_warnings():
        # zarr-python and xarray read it in one request; the specification does not name it yet.
        warnings.simplefilter("ignore", ZarrUserWarning)
        zarr.consolidate_metadata(store)


def _chunking(
    shape: tuple[int, ...], dimensions: tuple[str, ...], chunk: int, shard: int
) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
    """Chunks and shards: hours of one component, a station-day an object; a table is one chunk."""
    if "time" not in dimensions:
        return tuple(max(1, size) for size in shape), None
    other = shape[:-1]
    return (*(1 for _ in other), chunk), (*other, shard)
