"""Arrays of a station-day's size, used again and again.

A fresh one costs a page fault for every page, and on a virtual machine, which hands memory back to
its host, that takes several times as long as filling it.
"""

from __future__ import annotations

import ctypes
import math
import weakref
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

SMALLEST = 1 << 20
"""Bytes. Smaller arrays are malloc's affair."""

KEPT = 360 << 20
"""Bytes that may lie unused; what comes back beyond them is freed."""

MALLOC_TRIM, MALLOC_MMAP = -1, -3  # glibc's M_TRIM_THRESHOLD and M_MMAP_THRESHOLD
FREED_KEPT, LARGEST_KEPT = 64 << 20, 32 << 20

_unused: dict[int, memoryview] = {}


def keep_freed() -> None:
    """Has malloc keep what this process frees, up to FREED_KEPT, where it is glibc's.

    A forward pass of torch frees its activations and asks for as much again. With fresh pages each
    time it took half as long again.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(MALLOC_MMAP, LARGEST_KEPT)
        mallopt(MALLOC_TRIM, FREED_KEPT)


def empty(shape: tuple[int, ...] | int, kind: DTypeLike) -> NDArray[Any]:
    """An uninitialised array, whose memory comes back when no view of it is left."""
    dtype = np.dtype(kind)
    count = math.prod(shape) if isinstance(shape, tuple) else shape
    size = count * dtype.itemsize
    if size < SMALLEST:
        return np.empty(shape, dtype)
    memory = _taken(size)
    whole = np.frombuffer(memory, dtype, count)
    weakref.finalize(whole, _put_back, memory).atexit = False
    return whole.reshape(shape)


def zeros(shape: tuple[int, ...] | int, kind: DTypeLike) -> NDArray[Any]:
    """As `empty`, filled with zeros."""
    array = empty(shape, kind)
    array.fill(0)
    return array


def _taken(size: int) -> memoryview:
    """The smallest memory that fits and is not mostly waste, else new one, in whole MiB."""
    for key, memory in sorted(_unused.items(), key=lambda item: item[1].nbytes):
        if size <= memory.nbytes <= 2 * size and _unused.pop(key, None) is not None:
            return memory
    return np.empty(-(-size // SMALLEST) * SMALLEST, np.uint8).data


def _put_back(memory: memoryview) -> None:
    if sum(other.nbytes for other in list(_unused.values())) + memory.nbytes <= KEPT:
        _unused[id(memory)] = memory
