"""One station-day of a catalogue, examined: its noise, its arrivals, and these in other windows.

What is asked and of which day stands in a table's key: its folder is the question, its name the
day and a hash of what was read and asked there. A station-day that is picked anew is another.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from catalog.examined import SHIFT_SCHEMA
from catalog.schema import StationDay, digest
from catalog.store import AccessDenied
from catalog.truth import NOISE_SCHEMA
from catalog.verbs import CredentialsRefused
from workers.archives import ArchiveConfig
from workers.at_arrivals import SEEN_RULE, seen
from workers.decoded import BadFormat
from workers.examiner import Examiner
from workers.noise_windows import NoiseRule, noise_windows
from workers.picker import StoredCandidate
from workers.quality import Quality
from workers.samples import spans_over
from workers.shift import SHIFT_RULE, shift_picks
from workers.waveform import NS

RATE = 100
"""Hz, of the samples that noise and arrivals are looked at in."""

AROUND_NS = 5 * NS

WHY = b"tidepick_why"
"""In a table's metadata, as JSON: of noise windows, why how many others are none; of arrivals in
other windows, network, station, location, phase, ns and why of each that could not be read."""

SEEN_SCHEMA = pa.schema(
    [
        ("time", pa.timestamp("ns", tz="UTC")),
        ("recorded", pa.bool_()),  # whether any component has a sample there
        ("snr_db", pa.float64()),  # null where it is no number
    ]
)

Arrival = tuple[str, str, str, str, int]
"""Network, station, location, phase, and ns."""

SHIFTED_SCHEMA = pa.schema([field for field in SHIFT_SCHEMA if field.name != "candidate"])


@dataclass(frozen=True, slots=True)
class PickedDay:
    """A station-day and where it was read from.

    version: what is new when it is picked anew, be it again, in another catalogue, or with another
    meaning of a pick (`SEMANTICS_VERSION`).
    """

    day: StationDay
    archive: ArchiveConfig
    quality: Quality
    version: str

    @property
    def name(self) -> str:
        return f"{self.day.trace} {self.day.day}"

    def key(self, folder: str, asked: object) -> str:
        """Of a table in a folder. asked: as JSON."""
        where = self.archive.model_dump(mode="json", include={"kind", "root", "pattern"})
        what = digest([where, self.quality, self.version, asked])
        return f"{folder}/{self.day.trace}-{self.day.day}-{what}.parquet"


@dataclass(frozen=True, slots=True)
class NoiseDay:
    """Noise windows of a station-day. busy: [k, 2] ns, [from, to), where waves may be.

    Its table is NOISE_SCHEMA, with WHY in its metadata.
    """

    picked: PickedDay
    busy: NDArray[np.int64]
    rule: NoiseRule
    seed: int
    keys: Mapping[str, str]

    @classmethod
    def of(cls, picked: PickedDay, busy: NDArray[np.int64], rule: NoiseRule, seed: int) -> NoiseDay:
        """busy: of any time; what is outside the day does not count."""
        day = picked.day
        own = busy[(busy[:, 0] < day.end_ns) & (busy[:, 1] > day.start_ns)]
        own = np.unique(own, axis=0)
        folder = f"noise/{digest([rule.facts(), seed, RATE, NOISE_SCHEMA.names])}"
        return cls(picked, own, rule, seed, {"": picked.key(folder, own.tolist())})

    @property
    def name(self) -> str:
        return self.picked.name

    def tables(self, examiner: Examiner) -> dict[str, pa.Table]:
        day = self.picked.day
        spans = spans_over(
            examiner.archive(self.picked.archive), day.trace, day.start_ns, day.end_ns, RATE,
            self.picked.quality,
        )  # fmt: skip
        windows, why = noise_windows(spans, self.busy, self.rule, self.seed)
        return {"": windows.replace_schema_metadata({WHY: json.dumps(why, sort_keys=True)})}


def why_none(windows: pa.Table) -> Counter[str]:
    """Of a NoiseDay's table: why how many other windows are no noise."""
    return Counter(json.loads(windows.schema.metadata[WHY]))


@dataclass(frozen=True, slots=True)
class ArrivalDay:
    """What a station-day holds at the times (ns, distinct, in order) of arrivals: SEEN_SCHEMA."""

    picked: PickedDay
    times: tuple[int, ...]
    keys: Mapping[str, str]

    @classmethod
    def of(cls, picked: PickedDay, times: NDArray[np.int64]) -> ArrivalDay:
        asked = tuple(np.unique(times).tolist())
        folder = f"arrivals/{digest([SEEN_RULE, RATE, SEEN_SCHEMA.names])}"
        return cls(picked, asked, {"": picked.key(folder, asked)})

    @property
    def name(self) -> str:
        return self.picked.name

    def tables(self, examiner: Examiner) -> dict[str, pa.Table]:
        day, times = self.picked.day, np.array(self.times, np.int64)
        start = max(day.start_ns, self.times[0] - AROUND_NS)
        end = min(day.end_ns, self.times[-1] + AROUND_NS)
        archive, quality = examiner.archive(self.picked.archive), self.picked.quality
        there = np.minimum(times, day.end_ns - NS // RATE)  # no later than the day's last sample
        found = seen(spans_over(archive, day.trace, start, end, RATE, quality), there)
        snr_db = pa.array(found.snr_db, mask=np.isnan(found.snr_db))
        stamps = pa.array(times, SEEN_SCHEMA.field("time").type)
        return {"": pa.table([stamps, pa.array(found.recorded), snr_db], schema=SEEN_SCHEMA)}


@dataclass(frozen=True, slots=True)
class ShiftDay:
    """Arrivals (phase, ns) of a station-day, picked under `count` sets of windows over 1 s:
    SHIFTED_SCHEMA, a table a candidate, with WHY in its metadata.

    An arrival that cannot be read (beside midnight it takes the next day's object too) costs no
    other; where none can, the day cannot.
    """

    picked: PickedDay
    arrivals: tuple[tuple[str, int], ...]
    count: int
    keys: Mapping[str, str]

    @classmethod
    def of(
        cls,
        picked: PickedDay,
        arrivals: Sequence[tuple[str, int]],
        count: int,
        candidates: Sequence[StoredCandidate],
    ) -> ShiftDay:
        asked = tuple(sorted(set(arrivals)))
        keys = {}
        for each in candidates:
            what = [SHIFT_RULE, SHIFTED_SCHEMA.names, each.weights_sha256, dict(each.settings)]
            keys[each.name] = picked.key(f"shift/{digest(what)}", [count, asked])
        return cls(picked, asked, count, keys)

    @property
    def name(self) -> str:
        return self.picked.name

    def tables(self, examiner: Examiner) -> dict[str, pa.Table]:
        archive, trace = examiner.archive(self.picked.archive), self.picked.day.trace
        candidates = [examiner.candidate(name) for name in self.keys]
        where = {
            "network": trace.network, "station": trace.station, "location": trace.location,
        }  # fmt: skip
        rows: dict[str, list[dict[str, object]]] = {name: [] for name in self.keys}
        lost: list[tuple[object, ...]] = []
        for phase, time in self.arrivals:
            try:
                every = list(shift_picks(archive, trace, phase, time, candidates, self.count))
            except CredentialsRefused:  # it is not about these samples
                raise
            except (AccessDenied, BadFormat) as error:
                lost.append((*where.values(), phase, time, str(error)))
                if len(lost) == len(self.arrivals):
                    raise
                continue
            for found in every:
                nothing = np.isnan(found.probability)
                rows[found.candidate].append(
                    where
                    | {
                        "phase": phase,
                        "time": time,
                        "shift_s": found.shift_s,
                        "residual_s": None if nothing else found.residual_s,
                        "probability": None if nothing else found.probability,
                    }
                )
        schema = SHIFTED_SCHEMA.with_metadata({WHY: json.dumps(lost)})
        return {name: pa.Table.from_pylist(each, schema) for name, each in rows.items()}


def lost_arrivals(shifted: Iterable[pa.Table]) -> Iterator[tuple[Arrival, str]]:
    """Of ShiftDays' tables: arrivals that could not be read, and why."""
    for table in shifted:
        for network, station, location, phase, time, why in json.loads(table.schema.metadata[WHY]):
            yield (network, station, location, phase, time), why
