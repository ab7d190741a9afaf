"""What a pick is: traces, station-days, shards, outcomes, and the columns of what a run writes.

Columns are named here, and in three files beside it: truth.py (what picks are judged by),
examined.py (what judging is handed) and battles.py (votes). Times are int64 nanoseconds since the
Unix epoch, UTC; days are UTC days.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum

import pyarrow as pa

from catalog.codes import BLANK, CODE, safe_code, upper

SCHEMA_VERSION = 3
"""Layout of the catalogue; a catalogue of another layout is refused."""

SEMANTICS_VERSION = 6
"""Meaning of a pick: windows, stacking, peaks. It is part of every shard's identity."""

DAY_NS = 86_400_000_000_000
EPOCH = date(1970, 1, 1)


@dataclass(frozen=True, order=True, slots=True)
class TraceId:
    """The components of one instrument: network, station, location and band (`HH`, `EH`...)."""

    network: str
    station: str
    location: str
    band: str

    def __post_init__(self) -> None:
        for code in (self.network, self.station, self.location, self.band):
            if not CODE.fullmatch(code):
                raise ValueError(f"trace code {code!r}: use letters, digits, '-' and '_' only")

    @classmethod
    def parse(cls, text: str) -> TraceId:
        """`NET.STA.LOC.BAND`, the inverse of `str`. Raises ValueError."""
        codes = text.split(".")
        if len(codes) != 4:
            raise ValueError(f"trace {text!r}: write it as NET.STA.LOC.BAND")
        return cls(*codes)

    @classmethod
    def spelled(cls, network: str, station: str, location: str, band: str) -> TraceId:
        """The trace whose codes are spelled so in an archive, whatever characters they have.

        See `safe_code`; a blank network or station is BLANK, `--` and `__` are a blank location,
        and a band is in upper case.
        """
        location = "" if location in ("--", "__") else location
        network, station = (safe_code(code) or BLANK for code in (network, station))
        return cls(network, station, safe_code(location), safe_code(upper(band)))

    def __str__(self) -> str:
        return f"{self.network}.{self.station}.{self.location}.{self.band}"


@dataclass(frozen=True, order=True, slots=True)
class StationDay:
    """One trace over one UTC day."""

    trace: TraceId
    day: date

    @property
    def start_ns(self) -> int:
        """Of its first nanosecond."""
        return day_start_ns(self.day)

    @property
    def end_ns(self) -> int:
        """Of the next day's first nanosecond."""
        return day_start_ns(self.day) + DAY_NS


@dataclass(frozen=True, order=True, slots=True)
class Shard:
    """The unit of work: every day of [start, end) of every trace, inside one calendar month."""

    traces: tuple[TraceId, ...]
    start: date
    end: date

    def __post_init__(self) -> None:
        if not self.traces or list(self.traces) != sorted(set(self.traces)):
            raise ValueError("shard: traces must be sorted, distinct and at least one")
        if self.end <= self.start:
            raise ValueError(f"shard: end {self.end} is not after start {self.start}")
        last = self.end - timedelta(days=1)
        if (last.year, last.month) != (self.start.year, self.start.month):
            raise ValueError(f"shard: {self.start}..{last} crosses a month")

    @property
    def days(self) -> tuple[date, ...]:
        """Every day, ascending."""
        return tuple(days_between(self.start, self.end))

    @property
    def station_days(self) -> tuple[StationDay, ...]:
        """By trace, then by day."""
        return tuple(StationDay(trace, day) for trace in self.traces for day in self.days)

    def to_json(self) -> dict[str, object]:
        """As in plans and commits; part of the shard's identity."""
        return {
            "traces": [str(trace) for trace in self.traces],
            "start": self.start.isoformat(),
            "end": self.end.isoformat(),
        }


class Outcome(StrEnum):
    """How a planned station-day ended. Every one ends with exactly one of these."""

    PICKED = "picked"  # the network ran over it; there may be zero picks
    NO_DATA = "no_data"  # the archive holds nothing for it
    TOO_SHORT = "too_short"  # no stretch as long as one window
    DEAD = "dead"  # every component is constant
    WRONG_RATE = "wrong_rate"  # a sampling rate that is not resampled to the model's
    BAD_FORMAT = "bad_format"  # the objects hold no waveform of it that can be read
    ACCESS_DENIED = "access_denied"  # the store refused
    FAILED = "failed"  # given up after bounded attempts; `detail` says why


PHASES = ("P", "S")
COMPONENTS = "ZNE"
"""Order of the rows of every waveform array."""


class Flag:
    """Bits of the column `flags`, of a pick (at its peak) or of a station-day (any)."""

    CONFLICT = 1  # overlapping records disagreed; the samples were masked
    SALVAGED = 2  # some records of the object could not be read and were skipped
    NOT_FINITE = 4  # NaN or Inf samples were masked
    DEAD_COMPONENT = 8  # at least one component is constant over the day
    TRUNCATED = 16  # an object ended inside a record
    OTHER_RATE = 32  # part of the day has a rate that is not resampled and was left out
    RESAMPLED = 64  # within half a window of the pick data were resampled (workers/resampling.py)
    HALO_LOST = 128  # a neighbouring object that the halo needs was refused or unreadable
    FILLED = 256  # a short gap was filled within half a window
    SPIKE = 512  # samples that stand out from all around them were masked
    CLIPPED = 1024  # samples stand at a limit: onsets hold, amplitudes do not
    CALIBRATION = 2048  # a calibration or a recentring was masked
    CLOCK = 4096  # the record says that its time is questionable, or a leap second is near
    RATE_CORRECTED = 8192  # the header's rate contradicts the record times, which were trusted
    FRAGMENTED = 16384  # more than a hundred stretches were too short to be picked
    ROTATED = 32768  # components were turned to Z, N, E, or mapped by a guess at their orientation
    HALO_REFUSED = 65536  # HALO_LOST, and it was refused: --retry access_denied may bring it
    INCOMPLETE = 131072  # SALVAGED or HALO_LOST by a whole object: --retry bad_format may bring it
    BREAKS_OFF = 262144  # of a station-day: a day beside it is not there, or its data end or begin
    # at a midnight; no fault


_text = pa.string()  # dictionary-encoded in the files (catalog/writer.py)

PICK_SCHEMA = pa.schema(
    [
        ("network", _text),
        ("station", _text),
        ("location", _text),
        ("band", _text),
        ("phase", _text),
        ("time", pa.timestamp("ns", tz="UTC")),  # the grid sample of the peak
        ("offset_ns", pa.int32()),  # true sample time minus `time`, from the record of the peak
        ("probability", pa.float32()),
        ("saddle", pa.float32()),  # see workers/peaks.py
        ("onset", pa.int32()),  # ms from the peak to the start of its run at the floor, <= 0
        ("offset", pa.int32()),  # ms from the peak to the end of its run at the floor, >= 0
        ("amplitude", pa.float32()),  # see workers/amplitude.py; the unit of the data
        ("noise_amplitude", pa.float32()),
        ("n_components", pa.uint8()),  # components with live data at the peak
        ("flags", pa.uint32()),
        ("run", _text),
        ("shard", _text),
    ]
)
"""A file of picks; its partition `candidate=/year=/month=` adds those three columns."""

PICK_ORDER = ("network", "station", "location", "band", "time", "phase")

COVERAGE_SCHEMA = pa.schema(
    [
        ("candidate", _text),
        ("network", _text),
        ("station", _text),
        ("location", _text),
        ("band", _text),
        ("day", pa.date32()),
        ("outcome", _text),
        ("detail", pa.string()),  # why, in words; empty where the outcome says it all
        ("picks", pa.int64()),
        ("seconds", pa.float64()),  # of data inside the day, any component
        ("gap_fraction", pa.float64()),  # of the day, without data; null where it was not read
        ("segments", pa.int32()),  # contiguous stretches inside the day, short gaps filled
        ("fragments", pa.int32()),  # as recorded, of the component that has most
        ("repaired", pa.int32()),  # records skipped or put right
        ("n_components", pa.uint8()),  # live components
        ("sampling_rate", pa.float64()),  # Hz, of the data as recorded; 0 where there are none
        ("resampled_from", pa.float64()),  # Hz, the highest rate that was resampled; 0: none
        ("saturated", pa.int32()),  # runs over 60 s, which give no pick (workers/peaks.py)
        ("flags", pa.uint32()),
        ("run", _text),
        ("shard", _text),
        ("generation", pa.int32()),
    ]
)

LEDGER_SCHEMA = pa.schema(
    [
        *COVERAGE_SCHEMA,
        ("file", _text),  # the picks of the whole commit; empty where it has none
        ("standing", pa.bool_()),  # this row speaks for its candidate and station-day
    ]
)
"""Every row of every commit, those that a later commit took over included (catalog/ledger.py)."""

RUN_SCHEMA = pa.schema(
    [
        ("run", pa.string()),
        ("invocation", pa.string()),
        ("started", pa.timestamp("us", tz="UTC")),
        ("news", pa.timestamp("us", tz="UTC")),  # when something was heard of it last
        ("ended", pa.timestamp("us", tz="UTC")),
        ("state", pa.string()),  # running, died (no news), complete, incomplete...
        ("reason", pa.string()),  # why it stopped, or could not go on
        ("done", pa.int64()),  # station-days x candidates that this invocation committed
        ("picks", pa.int64()),
        ("seconds", pa.float64()),  # that it took, until its end or its last news
        ("rate", pa.float64()),  # station-days x candidates an hour, over the last minutes
        ("cost", pa.float64()),  # of those seconds at its price_per_hour; null without one
        ("file", pa.string()),  # the campaign file, as it was named
        ("campaign", pa.string()),  # the campaign as json
        ("candidates", pa.string()),  # name -> weights sha256, settings, default thresholds; json
        ("engine", pa.string()),
        ("versions", pa.string()),  # json
        ("machine", pa.string()),  # json: host class, CPUs, GPUs
        ("station_days", pa.int64()),
        ("unlooked", pa.int64()),  # objects that told nothing when it was planned: in no plan
        ("unlooked_objects", pa.string()),  # the first of them, and why; json
    ]
)


def day_start_ns(day: date) -> int:
    """The first nanosecond of a UTC day."""
    return (day - EPOCH).days * DAY_NS


def day_of(ns: int) -> date:
    """The UTC day that holds a time."""
    return EPOCH + timedelta(days=ns // DAY_NS)


def days_between(start: date, end: date) -> Iterator[date]:
    """Days of the half-open range [start, end)."""
    for offset in range((end - start).days):
        yield start + timedelta(days=offset)


def month_of(day: date) -> str:
    """Calendar month of a day, `YYYY-MM`: what plans, shards and the ledger are divided by."""
    return day.isoformat()[:7]


def digest(value: object) -> str:
    """128 bits of SHA-256 over canonical JSON, in hex: the source of every identity."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def shard_id(shard: Shard, weights_sha256: str, settings: Mapping[str, object]) -> str:
    """Identity of one shard for one candidate: what changes its picks, and nothing else.

    Its month stands before the hash, so that the commits of a month are one listing.
    `settings` is the configuration that changes picks (engine, floors, stacking, blinding...).
    Not in it: the version of the code, the objects' ETags, the run, the other candidates.
    """
    what = {
        "shard": shard.to_json(),
        "weights": weights_sha256,
        "settings": dict(settings),
        "semantics": SEMANTICS_VERSION,
    }
    return f"{month_of(shard.start)}-{digest(what)}"


def utc_now() -> str:
    """This moment in ISO 8601, UTC, to a microsecond."""
    return datetime.now(UTC).isoformat(timespec="microseconds")
