"""Memory that comes back is used again, and never while anything still looks at it."""

import gc

import numpy as np
import torch

from workers import shelf


def test_memory_is_used_again_once_nothing_looks_at_it() -> None:
    shelf._unused.clear()
    first = shelf.zeros((3, 1_000_000), np.int32)
    place = first.ctypes.data
    view = torch.from_numpy(first)[1:, 5:]
    first[:] = 7
    del first
    gc.collect()
    other = shelf.zeros((3, 1_000_000), np.int32)
    assert other.ctypes.data != place and (view == 7).all() and not other.any()
    del view
    gc.collect()
    again = shelf.zeros((2, 1_300_000), np.float32)
    assert again.ctypes.data == place and not again.any()


def test_what_lies_unused_is_bounded() -> None:
    shelf._unused.clear()
    arrays = [shelf.empty(shelf.KEPT // 4, np.uint8) for _ in range(6)]
    del arrays
    gc.collect()
    assert sum(memory.nbytes for memory in shelf._unused.values()) <= shelf.KEPT
    small = shelf.empty(100, np.float32)
    del small
    assert len(shelf._unused) == 4
