"""What a pick is: traces, station-days, shards, outcomes, and every column of every table.

This is the only place that names columns. Times are int64 nanoseconds since the Unix epoch, UTC;
days are UTC days.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum

import pyarrow as pa

SCHEMA_VERSION = 3
"""Layout of the catalogue; a catalogue of another layout is refused."""

SEMANTICS_VERSION = 3
"""Meaning of a pick: windows, stacking, peaks. It is part of every shard's identity."""

DAY_NS = 86_400_000_000_000
EPOCH = date(1970, 1, 1)

BLANK = "_"
"""Stands for a blank network or station."""

_CODE = re.compile(r"[A-Za-z0-9_-]{0,64}")
"""A code names folders and files, so that nothing but these letters is one; FDSN's are shorter."""

_TEMPORARY = re.compile(r"[1-9XYZ].")


@dataclass(frozen=True, order=True, slots=True)
class TraceId:
    """The components of one instrument: network, station, location and band (`HH`, `EH`...)."""

    network: str
    station: str
    location: str
    band: str

    def __post_init__(self) -> None:
        for code in (self.network, self.station, self.location, self.band):
            if not _CODE.fullmatch(code):
                raise ValueError(f"trace code {code!r}: use letters, digits, '-' and '_' only")

    @classmethod
    def parse(cls, text: str) -> TraceId:
        """`NET.STA.LOC.BAND`, the inverse of `str`."""
        codes = text.split(".")
        if len(codes) != 4:
            raise ValueError(f"trace {text!r}: write it as NET.STA.LOC.BAND")
        return cls(*codes)

    @classmethod
    def spelled(cls, network: str, station: str, location: str, band: str) -> TraceId:
        """The trace whose codes are spelled so in an archive, whatever characters they have.

        See `safe_code`; a blank network or station is BLANK, and a band is in upper case.
        """
        network, station = (safe_code(code) or BLANK for code in (network, station))
        return cls(network, station, safe_code(location), safe_code(upper(band)))

    def __str__(self) -> str:
        return f"{self.network}.{self.station}.{self.location}.{self.band}"


def safe_code(code: str) -> str:
    """A code in letters, digits, `-` and `_` alone, different for different codes.

    A code of such characters stays as it is. In any other each character but letters, digits and
    `-` is written `_xHH_`, by its number in hexadecimal: `SÉN` is `S_xC9_N`. So are the `_` of a
    code that might be taken for BLANK or for one that was written so.
    """
    if _CODE.fullmatch(code) and code != BLANK and "_x" not in code:
        return code
    return "".join(c if _CODE.fullmatch(c) and c != "_" else f"_x{ord(c):02X}_" for c in code)


def spelled_code(code: str) -> str:
    """What `safe_code` was given; nothing for BLANK."""
    if code == BLANK:
        return ""
    return re.sub("_x([0-9A-F]{2,6})_", lambda found: chr(int(found[1], 16)), code)


def upper(code: str) -> str:
    """A channel code in upper case; letters beyond ASCII, whose case may change length, stay."""
    return "".join(c.upper() if c.isascii() else c for c in code)


def extended_network(code: str, year: int) -> str:
    """A network code that no other network has: a temporary one is given its year, `XA2010`.

    Codes that begin with X, Y, Z or a digit from 1 on are lent anew in other years (FDSN).
    """
    return f"{code}{year:04d}" if _TEMPORARY.fullmatch(code) else code


@dataclass(frozen=True, order=True, slots=True)
class StationDay:
    """One trace over one UTC day."""

    trace: TraceId
    day: date

    @property
    def start_ns(self) -> int:
        return day_start_ns(self.day)

    @property
    def end_ns(self) -> int:
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
        return tuple(days_between(self.start, self.end))

    @property
    def station_days(self) -> tuple[StationDay, ...]:
        return tuple(StationDay(trace, day) for trace in self.traces for day in self.days)

    def to_json(self) -> dict[str, object]:
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
    BAD_FORMAT = "bad_format"  # the objects hold no readable waveform
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
        (
            "state",
            pa.string(),
        ),  # running, died (no news), complete, incomplete...
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

ARRIVAL_SCHEMA = pa.schema(
    [
        ("network", pa.string()),
        ("station", pa.string()),
        ("location", pa.string()),
        ("phase", pa.string()),
        ("time", pa.timestamp("ns", tz="UTC")),
        ("event", pa.string()),
    ]
)
"""Reference arrivals (analysts' or planted), the truth that picks are judged by."""

NOISE_COLUMNS = ("network", "station", "location", "start", "end")
"""What a table of noise needs: one row a window [start, end) of a station, timestamps in UTC."""

NOISE_SCHEMA = pa.schema(
    [
        ("network", pa.string()),
        ("station", pa.string()),
        ("location", pa.string()),
        ("band", pa.string()),
        ("start", pa.timestamp("ns", tz="UTC")),
        ("end", pa.timestamp("ns", tz="UTC")),
        ("energy_ratio", pa.float64()),  # loudest second over the level around it
    ]
)
"""Noise as workers/noise_windows.py finds it. Its metadata say by which rule, seed and events."""

EVENT_SCHEMA = pa.schema(
    [
        ("event", pa.string()),
        ("time", pa.timestamp("ns", tz="UTC")),  # of origin
        ("latitude", pa.float64()),
        ("longitude", pa.float64()),
        ("depth_km", pa.float64()),  # 0 where the catalogue has none
        ("magnitude", pa.float64()),  # null where the catalogue has none
    ]
)

SITE_SCHEMA = pa.schema(
    [
        ("network", pa.string()),
        ("station", pa.string()),
        ("latitude", pa.float64()),
        ("longitude", pa.float64()),
        ("elevation_m", pa.float64()),  # 0 where the metadata have none
    ]
)
"""Where stations are, one row each."""

TRACE_SCHEMA = pa.schema(
    [
        ("weight", pa.string()),  # the candidate
        ("trace_name", pa.string()),  # as its dataset calls it; with dataset and chunk, unique
        ("dataset", pa.string()),
        ("chunk", pa.string()),
        ("event_id", pa.string()),
        ("station", pa.string()),  # NET.STA
        ("dist_bin", pa.string()),  # where null, eval/strata.py makes the bins from the numbers
        ("depth_bin", pa.string()),
        ("mag_bin", pa.string()),
        ("distance_km", pa.float64()),
        ("depth_km", pa.float64()),
        ("magnitude", pa.float64()),
        ("snr_db", pa.float64()),
        ("p_in_window", pa.int64()),  # sample of the label in the window; -1 where there is none
        ("s_in_window", pa.int64()),
        ("p_prob", pa.float64()),  # highest probability within 5 s of the label
        ("s_prob", pa.float64()),
        ("p_residual_s", pa.float64()),  # that peak minus the label
        ("s_residual_s", pa.float64()),
        ("outcome", pa.string()),  # an Outcome: `picked`, or why there is no probability
        ("detail", pa.string()),
    ]
)
"""One candidate on one labelled trace: what running a model hands to judging it (eval/oracle.py).

A table may have further columns to stratify by. Probabilities and residuals are float64: 0.7 as a
float32 is below 0.7, and a threshold of 0.7 would miss it.
"""

SNIPPET_SCHEMA = pa.schema(
    [
        ("kind", pa.string()),  # miss, or extra
        ("candidate", pa.string()),  # whose miss or extra it is
        ("phase", pa.string()),
        ("trace", pa.string()),  # NET.STA.LOC.BAND
        ("start", pa.timestamp("ns", tz="UTC")),  # of the first sample
        ("sampling_rate", pa.float64()),
        ("waveform", pa.list_(pa.float32())),  # Z, N, E one after another; NaN without data
        (
            "curves",  # probabilities at the samples
            pa.list_(
                pa.struct(
                    [
                        ("candidate", pa.string()),
                        ("phase", pa.string()),
                        ("probability", pa.list_(pa.float32())),
                    ]
                )
            ),
        ),
        (
            "marks",  # picks; arrivals where the candidate is null
            pa.list_(
                pa.struct(
                    [
                        ("candidate", pa.string()),
                        ("phase", pa.string()),
                        ("time", pa.timestamp("ns", tz="UTC")),
                    ]
                )
            ),
        ),
    ]
)
"""Windows that a reader of an evaluation should see: what was missed, what nothing explains."""


SHIFT_SCHEMA = pa.schema(
    [
        ("candidate", pa.string()),
        ("network", pa.string()),
        ("station", pa.string()),
        ("location", pa.string()),
        ("phase", pa.string()),
        ("time", pa.timestamp("ns", tz="UTC")),  # of the arrival
        ("shift_s", pa.float64()),  # of the windows
        ("residual_s", pa.float64()),  # pick minus arrival; null where there is no pick
        ("probability", pa.float64()),
    ]
)
"""One arrival picked under one set of windows (workers/shift.py)."""

EXAMINED_SCHEMA = pa.schema(
    [
        *(field for field in TRACE_SCHEMA if field.name not in ("weight", "dataset")),
        ("n_components", pa.int64()),  # components that vary in the window; null where none was cut
        ("strata", pa.map_(pa.string(), pa.string())),  # further columns of the benchmark
    ]
)
"""TRACE_SCHEMA as it is committed: what candidate and benchmark are called is added on reading, so
that neither name is part of what was computed."""

TASK_WINDOW_SCHEMA = pa.schema(
    [
        ("trace_name", pa.string()),
        ("chunk", pa.string()),
        ("event_id", pa.string()),
        ("station", pa.string()),
        ("split", pa.string()),  # the benchmark's own: train, dev, test; null where it has none
        ("task", pa.string()),  # detection, phase_id, onset
        ("phase", pa.string()),  # of the one pick; null for detection
        ("positive", pa.bool_()),  # an event (detection), or P (phase_id)
        ("score", pa.float64()),
        ("residual_s", pa.float64()),  # of an onset
        ("outcome", pa.string()),  # as in TRACE_SCHEMA
        ("detail", pa.string()),
    ]
)
"""One window of one candidate for the tasks of Muenchmeyer et al. (eval/muenchmeyer.py)."""


ANSWERS = ("left", "right", "tie", "both_bad")
"""What a judge can answer about the two sides of a battle."""

SKIP, UNDO, REVEAL = "skip", "undo", "reveal"
"""Rows of VOTE_SCHEMA that are no answer: nothing to say; an earlier vote is taken back; the voter
was told who stood on the sides, after which the vote cannot be taken back."""

BATTLE_SCHEMA = pa.schema(
    [
        ("battle", pa.string()),  # a random UUID: it says nothing of the candidates
        ("issued", pa.timestamp("us", tz="UTC")),
        ("annotator", pa.string()),  # who alone may vote on it
        ("window", pa.string()),  # its trace and span, as eval/arena/windows.py calls it
        ("stratum", pa.string()),  # "regional (150-1500km) | 10-20 dB | UW", see eval/arena
        ("left", pa.string()),  # the candidates, as the sides were drawn
        ("right", pa.string()),
        ("left_sha256", pa.string()),  # of their weights
        ("right_sha256", pa.string()),
        ("left_thresholds", pa.string()),  # phase -> probability, json
        ("right_thresholds", pa.string()),
        ("probability", pa.float64()),  # with which this window, pair and turn was drawn
        ("repeat_of", pa.string()),  # the battle it repeats to measure agreement, or null
        ("version", pa.string()),  # of the code
    ]
)
"""One pair of candidates on one window, shown to one annotator; written before it is shown."""

VOTE_SCHEMA = pa.schema(
    [
        ("vote", pa.string()),  # a UUID made where the vote was cast; sent twice, it counts once
        ("battle", pa.string()),
        ("annotator", pa.string()),
        ("answer", pa.string()),  # one of ANSWERS, SKIP, UNDO or REVEAL
        ("undoes", pa.string()),  # the vote that an UNDO takes back; else null
        ("latency_ms", pa.int64()),  # from the window being shown to the answer
        ("cast", pa.timestamp("us", tz="UTC")),
    ]
)
"""The log of a voters' arena, append-only: nothing in it is ever changed (catalog/votes.py)."""

JUDGED_SCHEMA = pa.schema(
    [*VOTE_SCHEMA, *(f for f in BATTLE_SCHEMA if f.name not in VOTE_SCHEMA.names)]
)
"""Every vote that stands, with its battle: what people said."""

RULED_SCHEMA = pa.schema(
    [
        ("rule", pa.string()),  # `auto:` and the rule's name and numbers; never a person
        ("window", pa.string()),
        ("stratum", pa.string()),
        ("left", pa.string()),
        ("right", pa.string()),
        ("answer", pa.string()),  # one of ANSWERS
        ("left_errors", pa.int64()),  # misses and extras
        ("right_errors", pa.int64()),
        ("left_residual_s", pa.float64()),  # mean |pick - arrival| of what it matched, or null
        ("right_residual_s", pa.float64()),
        ("thresholds", pa.string()),  # how they were solved, in words
    ]
)
"""A battle decided by rule against reference arrivals (eval/arena/battles.py)."""


def day_start_ns(day: date) -> int:
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
    return datetime.now(UTC).isoformat(timespec="microseconds")
