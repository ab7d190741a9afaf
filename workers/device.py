"""The device that torch computes on: whether it is there, what it is, and waiting for it."""

from __future__ import annotations

import resource
import sys

import torch

from catalog.errors import Refusal

DEVICES = ("cpu", "cuda")


class DeviceError(Refusal):
    """A device that this machine does not have."""


def device_at_hand() -> str:
    """The fastest of DEVICES here."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def checked_device(name: str) -> str:
    """The same name. Raises DeviceError where torch finds no such device."""
    if name not in DEVICES:
        raise DeviceError(f"device {name!r}: use {' or '.join(DEVICES)}")
    if name == "cuda" and not torch.cuda.is_available():
        raise DeviceError("device 'cuda': torch finds no GPU on this machine; use cpu")
    return name


def synchronise(device: str) -> None:
    """Wait until the device has done all that it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def gpu_name() -> str:
    """As its driver calls it."""
    return torch.cuda.get_device_name()


def gpu_memory() -> tuple[int, int]:
    """Bytes of the GPU in use, by all processes together, and bytes that it has."""
    free, total = torch.cuda.mem_get_info()
    return total - free, total


def peak_memory() -> int:
    """The most bytes of main memory that this process has held at a time."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
