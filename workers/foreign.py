"""Formats other than miniSEED, through obspy: SAC, GSE2, SEG-Y and a few more.

Some of its readers are C that crashes on damaged files, so all but those that are plain numpy run
in a process of their own, with bounded memory and time, and no environment but what it needs.
"""

from __future__ import annotations

import io
import json
import os
import resource
import subprocess
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workers.miniseed.rates import LEAST_HZ, MOST_HZ
from workers.miniseed.records import NS, ChannelId
from workers.miniseed.strays import EARLIEST, LATEST

if TYPE_CHECKING:
    from obspy import Stream

PLAIN = ("SAC",)
"""Formats read in this process: plain numpy, and a second saved for each object."""

LCALDA = slice(432, 436)
"""Of SAC's header: that distances are to be computed of its coordinates. obspy does it when it
reads, and turns for ever about a longitude of 1e30."""

FORMATS = (
    *("SAC", "SEGY", "SEISAN", "WIN", "REFTEK130", "SEG2", "KNET", "Y", "AH"),
    *("GSE1", "GSE2", "GCF", "SLIST", "TSPAIR"),
)
"""What is read. Not: PICKLE (even recognising one runs the code in it); CSS, NNSA_KB_CORE and Q,
which open whatever other files they name; MSEED, which has been tried by then; formats that no
continuous data come in."""

DENSEST = 2
"""Samples a byte that any format packs, GSE2's compression included. A header that claims more is
not believed: its reader would take the memory."""

MOST = 50_000_000
"""Samples that are read at once."""

MEMORY, SECONDS = 4 << 30, 300
"""Bytes of address space, and seconds, that a reader may take."""

NEEDED = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH")
"""Of the environment; nothing else, no credential, is given to a reader."""


@dataclass(frozen=True, slots=True)
class ForeignTrace:
    """One contiguous trace. samples: int32 or float32 [n]; valid: bool [n], or None: all are."""

    codes: ChannelId
    start_ns: int
    rate: float
    samples: NDArray[np.int32] | NDArray[np.float32]
    valid: NDArray[np.bool_] | None

    @property
    def end_ns(self) -> int:
        """When the sample after the last is due."""
        return self.start_ns + round(len(self.samples) * NS / self.rate)


def read_foreign(body: bytes) -> tuple[list[ForeignTrace], list[str]]:
    """Traces of an object, none where no format reads it, and what obspy says, in words."""
    traces, said = read_here(body, PLAIN)
    return (traces, said) if traces or said else _read_apart(body)


def _read_apart(body: bytes) -> tuple[list[ForeignTrace], list[str]]:
    """As `read_foreign`, in another process, which may crash."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "workers.foreign"],
            input=body,
            capture_output=True,
            timeout=SECONDS,
            cwd=Path(__file__).resolve().parents[1],
            env={name: os.environ[name] for name in NEEDED if name in os.environ},
        )
    except subprocess.TimeoutExpired:
        return [], [f"obspy did not read it in {SECONDS} s"]
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        return [], [f"obspy crashed on it ({done.returncode}): {''.join(last)}"]
    return _unpacked(done.stdout)


def _packed(traces: list[ForeignTrace], said: list[str]) -> bytes:
    """Arrays and JSON: nothing that runs code when it is read."""
    heads = [(trace.codes, trace.start_ns, trace.rate) for trace in traces]
    arrays: dict[str, Any] = {"head": np.frombuffer(json.dumps([heads, said]).encode(), np.uint8)}
    for k, trace in enumerate(traces):
        arrays[f"samples{k}"] = trace.samples
        if trace.valid is not None:
            arrays[f"valid{k}"] = trace.valid
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def _unpacked(packed: bytes) -> tuple[list[ForeignTrace], list[str]]:
    with np.load(io.BytesIO(packed), allow_pickle=False) as arrays:
        heads, said = json.loads(arrays["head"].tobytes())
        traces = [
            ForeignTrace(
                ChannelId(*codes),
                start_ns,
                rate,
                arrays[f"samples{k}"],
                arrays.get(f"valid{k}"),
            )
            for k, (codes, start_ns, rate) in enumerate(heads)
        ]
    return traces, said


def read_here(body: bytes, only: Sequence[str] = FORMATS) -> tuple[list[ForeignTrace], list[str]]:
    """As `read_foreign`, in this process. only: these of FORMATS."""
    # Here, for most archives hold nothing but miniSEED.
    from obspy.core.util.base import ENTRY_POINTS, buffered_load_entry_point

    said: list[str] = []
    for name in only:
        point = ENTRY_POINTS["waveform"][name]
        plugin = f"obspy.plugin.waveform.{point.name}"
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            recognised = False
            try:
                is_format = buffered_load_entry_point(point.dist.name, plugin, "isFormat")
                recognised = is_format(io.BytesIO(body))
                if recognised:
                    told = _without_distances(body) if name == "SAC" else body
                    read = buffered_load_entry_point(point.dist.name, plugin, "readFormat")
                    claimed = sum(t.stats.npts for t in read(io.BytesIO(told), headonly=True))
                    if claimed > min(DENSEST * len(body), MOST):
                        said.append(
                            f"{name}: its headers claim {claimed} samples in {len(body)} bytes; "
                            f"at most {MOST} are read"
                        )
                        continue
                    traces = _traces(read(io.BytesIO(told)))
            except Exception as error:
                # Its readers raise anything on bytes that are not theirs, `Exception` itself too.
                if recognised:
                    said.append(f"{name}: {type(error).__name__}: {error}")
                continue
        if recognised and traces:
            return traces, [f"{name}: {warning.message}" for warning in caught]
    return [], said


def _without_distances(body: bytes) -> bytes:
    return body[: LCALDA.start] + bytes(LCALDA.stop - LCALDA.start) + body[LCALDA.stop :]


def _traces(stream: Stream) -> list[ForeignTrace]:
    traces = []
    for trace in stream:
        stats = trace.stats
        if not len(trace.data) or trace.data.dtype.kind not in "iuf":
            continue
        if not LEAST_HZ < stats.sampling_rate < MOST_HZ:
            continue
        if not EARLIEST <= stats.starttime.ns < LATEST:
            continue
        codes = ChannelId(
            *(
                code.strip(" \x00")
                for code in (stats.network, stats.station, stats.location, stats.channel)
            )
        )
        valid = None
        if isinstance(trace.data, np.ma.MaskedArray):
            valid = ~np.ma.getmaskarray(trace.data)
        samples = _narrow(np.ma.getdata(trace.data))
        traces.append(
            ForeignTrace(codes, stats.starttime.ns, float(stats.sampling_rate), samples, valid)
        )
    return traces


def _narrow(data: NDArray[np.generic]) -> NDArray[np.int32] | NDArray[np.float32]:
    """int32 where every value fits, float32 otherwise; floats too large for it become Inf."""
    limits = np.iinfo(np.int32)
    if data.dtype.kind in "iu" and data.min() >= limits.min and data.max() <= limits.max:
        return data.astype(np.int32, copy=False)
    with np.errstate(over="ignore"):
        return data.astype(np.float32, copy=False)


def main() -> None:
    """An object from the standard input, what it holds to the standard output."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    body = sys.stdin.buffer.read()
    out = os.dup(1)
    os.dup2(2, 1)  # what readers print is no part of the answer
    packed = _packed(*read_here(body))
    with os.fdopen(out, "wb") as answer:
        answer.write(packed)


if __name__ == "__main__":
    main()
