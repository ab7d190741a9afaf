"""Station epochs: which traces an operator says there were, and on which days."""

from __future__ import annotations

import csv
import glob
import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from catalog.codes import upper
from catalog.errors import Refusal
from catalog.schema import TraceId
from workers.station_xml import NotStationXml, inventory_of
from workers.waveform import ALIASES

Days = tuple[date, date]
"""Half-open, [first, stop)."""

EVER = (date.min, date.max)
FIX = "give StationXML, or a csv with network, station, location, channel (or band), start, end"


class EpochsError(Refusal):
    """Station metadata that cannot be read; the message names the file and the fix."""


class Epochs:
    """Days on which each trace existed, according to metadata."""

    def __init__(self, epochs: Iterable[tuple[TraceId, Days]]) -> None:
        spans: dict[TraceId, list[Days]] = defaultdict(list)
        for trace, days in epochs:
            spans[trace].append(days)
        self.spans: Mapping[TraceId, Sequence[Days]] = {
            trace: joined(found) for trace, found in spans.items()
        }
        self._of_station: dict[tuple[str, str], list[TraceId]] = defaultdict(list)
        for trace in sorted(self.spans):
            self._of_station[trace.network, trace.station].append(trace)

    def of_station(self, network: str, station: str) -> Sequence[TraceId]:
        """Traces of a station, ever; none where the metadata do not know it."""
        return self._of_station.get((network, station), ())

    def on(self, network: str, station: str, day: date) -> tuple[TraceId, ...]:
        """Traces of a station on a day."""
        return tuple(
            trace for trace in self.of_station(network, station) if self.covers(trace, day)
        )

    def covers(self, trace: TraceId, day: date) -> bool:
        """Whether a trace existed on a day."""
        spans = self.spans.get(trace, ())
        k = bisect_right(spans, (day, date.max)) - 1
        return k >= 0 and spans[k][0] <= day < spans[k][1]


def joined(spans: Iterable[Days]) -> list[Days]:
    """The same days as spans that neither meet nor overlap, sorted."""
    whole: list[Days] = []
    for first, stop in sorted(spans):
        if whole and first <= whole[-1][1]:
            whole[-1] = whole[-1][0], max(stop, whole[-1][1])
        else:
            whole.append((first, stop))
    return whole


def epoch_files(where: str) -> list[Path]:
    """The files that a path, a glob or a folder stands for. Raises EpochsError where none."""
    path = Path(where)
    if path.is_dir():
        found = [p for p in sorted(path.rglob("*")) if p.suffix.lower() in (".xml", ".csv")]
    elif path.is_file():
        found = [path]
    else:
        found = [Path(name) for name in sorted(glob.glob(where, recursive=True))]
        found = [path for path in found if path.is_file()]
    if not found:
        none = "no .xml or .csv in this folder" if path.is_dir() else "no such file"
        raise EpochsError(f"select.epochs {where}: {none}; {FIX}")
    return found


def read_epochs(where: str) -> Epochs:
    """StationXML or csv: a file, a glob, or a folder of them. Raises EpochsError."""
    found: list[tuple[TraceId, Days]] = []
    for path in epoch_files(where):
        try:
            head = path.read_bytes()[:1000].lstrip(b"\xef\xbb\xbf \t\r\n")
        except OSError as error:
            raise EpochsError(f"select.epochs {path}: cannot be read: {error.strerror}") from error
        try:
            found += _of_xml(path) if head[:1] == b"<" else _of_csv(path)
        except csv.Error as error:
            raise EpochsError(f"select.epochs {path}: not csv ({error}); {FIX}") from error
    if not found:
        raise EpochsError(f"select.epochs {where}: no channel in it; StationXML of level channel")
    return Epochs(found)


def _of_xml(path: Path) -> Iterator[tuple[TraceId, Days]]:
    try:
        inventory = inventory_of(path, "channel")
    except NotStationXml as error:
        raise EpochsError(f"select.epochs {path}: not StationXML ({error}); {FIX}") from error
    for network in inventory:
        for station in network:
            for channel in station:
                if upper(channel.code[-1:]) not in ALIASES:
                    continue
                codes = network.code, station.code, channel.location_code, channel.code[:-1]
                start, end = (
                    time and time.datetime.replace(tzinfo=UTC)
                    for time in (channel.start_date, channel.end_date)
                )
                yield _trace(codes, str(path)), _days(start, end)


def _of_csv(path: Path) -> Iterator[tuple[TraceId, Days]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise EpochsError(f"select.epochs {path}: not UTF-8 text; {FIX}") from error
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    header = [name.strip().lower() for name in next(csv.reader(lines), [])]
    band = "channel" if "channel" in header else "band"
    for name in ("network", "station", "location", band, "start", "end"):
        if name not in header:
            raise EpochsError(f"select.epochs {path}: no column {name}; {FIX}")
    for number, row in enumerate(csv.DictReader(lines[1:], header, restval=""), 2):
        where = f"{path}, row {number}"
        network, station, location, code = (
            row[name].strip() for name in ("network", "station", "location", band)
        )
        if not network or not station or not code:
            raise EpochsError(f"select.epochs {where}: no network, station or {band}")
        if band == "channel":
            if upper(code[-1]) not in ALIASES:
                continue
            code = code[:-1]
        codes = network, station, location, code
        start, end = (_time(row[name].strip(), name, where) for name in ("start", "end"))
        if start and end and end <= start:
            raise EpochsError(f"select.epochs {where}: end {end} is not after start {start}")
        yield _trace(codes, where), _days(start, end)


def _trace(codes: tuple[str, str, str, str], where: str) -> TraceId:
    try:
        return TraceId.spelled(*codes)
    except ValueError as error:
        raise EpochsError(f"select.epochs {where}: {error}") from error


def _time(text: str, name: str, where: str) -> datetime | None:
    """UTC; None where nothing stands. What lies beyond the calendar is open."""
    if not text:
        return None
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}([T ].*)?", text):
        try:
            time = datetime.fromisoformat(text)
        except ValueError:
            pass
        else:
            return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    raise EpochsError(f"select.epochs {where}: {name} {text!r}: write it as 2022-02-06T12:00:00")


def _days(start: datetime | None, end: datetime | None) -> Days:
    """Every day that an epoch touches."""
    first = start.date() if start else EVER[0]
    if end is None or end.year >= date.max.year:
        return first, EVER[1]
    whole = (end.hour, end.minute, end.second, end.microsecond) == (0, 0, 0, 0)
    stop = end.date() if whole else end.date() + timedelta(days=1)
    return first, max(stop, first + timedelta(days=1))
