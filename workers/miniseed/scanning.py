"""miniSEED 2 and 3 record headers -> one table, without unpacking a sample.

Stretches of equally long miniSEED 2 records, which is nearly all there is, are read at once with
numpy; all others record by record with libmseed, skipping what is no record. The object passes by
in pieces, and where these begin changes nothing.
Formats: SEED 2.4 manual; https://docs.fdsn.org/projects/miniseed3.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field

import numpy as np
from pymseed import MiniSEEDError, MS3Record, sourceid2nslc

from workers.miniseed.body import PIECE, Body
from workers.miniseed.equal import begins_record, codes_of, equal_records, length_of
from workers.miniseed.marks import marks_of_one
from workers.miniseed.records import COLUMNS, STEIM, ChannelId, Columns, Records

LOOKAHEAD = 2**17
"""Bytes that libmseed is shown of a record where there are so many: the longest miniSEED 2 record
has no more, and its end is sometimes known by the next one alone."""

LONGEST = 10 * 2**20
"""Bytes of the longest record that libmseed reads."""

FEW, MANY = 8, 64
"""Equal records in a row: below FEW, numpy is left alone for a while; after MANY, it is trusted."""

_START = re.compile(rb"[0-9 \x00]{6}[DRQM][ \x00]|MS\x03")
_CONTROL = re.compile(rb"[0-9]{6}[VAST][ *]")  # volume and dictionary headers of full SEED


def scan(body: Body) -> Records:
    """All records of an object; none where it is not miniSEED."""
    return _Scan(body).run()


@dataclass(frozen=True, slots=True)
class _Lost:
    """Where bytes that are no record begin. control: of a full SEED volume, no loss at all.

    cut: they begin like a record that goes on beyond the end of the object.
    """

    begin: int
    control: bool
    cut: bool


@dataclass(slots=True)
class _Scan:
    """How far a scan has come, and what it has found."""

    body: Body
    at: int = 0
    count: int = 0
    tables: list[Columns] = field(default_factory=list)
    numbers: dict[ChannelId, int] = field(default_factory=dict)
    junk: list[tuple[int, int, int]] = field(default_factory=list)
    lost: _Lost | None = None
    length: int = 0  # of the last record

    def run(self) -> Records:
        size, asked = self.body.size, PIECE
        while self.at < size:
            begin = self.at
            self._piece(self.body.read(begin, begin + asked), begin + asked >= size)
            asked = PIECE if self.at > begin else 2 * asked
        truncated = self.lost is not None and self.lost.cut
        if not truncated:
            self._recovered()
        columns: Columns = {}
        for name, kind in COLUMNS.items():  # one by one, so that never two tables are held
            parts = [table.pop(name) for table in self.tables]
            columns[name] = np.concatenate([np.empty(0, kind), *parts], dtype=kind)
        return Records(**columns, channels=[*self.numbers], junk=self.junk, truncated=truncated)

    def _piece(self, view: memoryview, final: bool) -> None:
        """On through a piece, as far as can be told without the bytes after it."""
        base, at = self.at, 0
        alone = 0  # records to read one by one before equal ones are looked for again
        pause, most = 1, len(view)
        single: list[tuple[float, ...]] = []
        while at < len(view):
            if not alone and self.lost is None:
                length = length_of(view[at:])
                if _misstates(view, at, length, self.length):
                    length = 0
                known = len(self.numbers)
                table = equal_records(view, at, length, most, self.numbers)
                if table and not _is_whole(view, table, final):
                    table = _without_last(table, self.numbers, known)
                count = len(table["at"]) if table else 0
                pause = 1 if count >= FEW else min(2 * pause, 256)
                alone = 0 if count == most else pause
                most = max(MANY, 4 * count)
                if table:
                    self._keep(_columns(single))
                    single.clear()
                    self.length = length
                    at += count * length
                    table["at"] += base
                    self._keep(table)
                    continue
            alone = max(alone - 1, 0)
            if not final and len(view) - at < LOOKAHEAD:
                break
            record, short = _parse(view, at)
            if record is not None and _misstates(view, at, record.reclen, self.length):
                record = None
            if record is None:
                if short and not final and len(view) - at <= LONGEST:
                    break
                if self.lost is None:
                    control = _CONTROL.match(view, at) is not None
                    short |= len(view) - at < 48  # less than any header
                    self.lost = _Lost(base + at, control, short and _is_cut(view, at))
                at = _next_start(view, at + 1, final)
                continue
            self.at = base + at
            self._recovered(len(single))
            single.append(_row(view, at, record, base, self.numbers))
            self.length = record.reclen
            at += record.reclen
        self._keep(_columns(single))
        self.at = base + at

    def _recovered(self, pending: int = 0) -> None:
        """A record, or the end, after bytes that were none."""
        if self.lost is not None and not self.lost.control:
            self.junk.append((self.lost.begin, self.at, self.count + pending))
        self.lost = None

    def _keep(self, table: Columns) -> None:
        if len(table["at"]):
            self.count += len(table["at"])
            self.tables.append(table)


def _misstates(view: memoryview, at: int, length: int, before: int) -> bool:
    """Whether a miniSEED 2 record is not as long as it says. before: the length of the last one.

    It is so where whole records begin inside, and where it is short of where the next one begins.
    A record as long as the last one which another follows is not looked into. miniSEED 3 has a
    checksum.
    """
    if not length or bytes(view[at : at + 2]) == b"MS":
        return False
    followed = _START.match(view, at + length) is not None
    if length == before and followed:
        return False
    if length < before and not followed:
        return begins_record(view[at + before :])
    inside = _START.finditer(view, at + 48, at + length + 7)  # a start has eight bytes
    return any(begins_record(view[found.start() :]) for found in inside)


def _is_whole(view: memoryview, table: Columns, final: bool) -> bool:
    """Whether the last of equal records is not cut, as far as the bytes at hand can tell."""
    at, length = int(table["at"][-1]), int(table["length"][-1])
    known = final or len(view) - at >= LOOKAHEAD
    return known and not _misstates(view, at, length, length)


def _without_last(table: Columns, numbers: dict[ChannelId, int], known: int) -> Columns | None:
    """Equal records but for the last. known: of `numbers`, how many came before them."""
    shorter = {name: column[:-1] for name, column in table.items()}
    last = int(table["channel"][-1])
    if last >= known and last not in shorter["channel"]:
        numbers.popitem()
    return shorter if len(shorter["at"]) else None


def _parse(view: memoryview, at: int) -> tuple[MS3Record | None, bool]:
    """The record at a position; without one, whether it only wants for bytes.

    How much more of the object is at hand changes nothing. Nor does what follows a record: one
    that cannot tell its own end is none.
    """
    for reach in (LOOKAHEAD, LONGEST):
        try:
            record = MS3Record.parse(view[at : at + reach])
            if record.formatversion == 2 and not length_of(view[at : at + record.reclen]):
                return None, False
        except MiniSEEDError as error:
            if error.status_code > 0 and len(view) - at > reach:
                continue
            return None, error.status_code > 0
        return record, False
    return None, True


def _is_cut(body: memoryview, at: int) -> bool:
    """Whether the rest of an object begins like a record, as far as it goes."""
    return 0 < len(body) - at < 8 or _START.match(body, at) is not None


def _row(
    view: memoryview, at: int, record: MS3Record, base: int, numbers: dict[ChannelId, int]
) -> tuple[float, ...]:
    """One record as libmseed reads it, in the order of COLUMNS."""
    length, last = record.reclen, 0
    payload = at + length - record.datalength
    if record.encoding in STEIM and record.datalength >= 12:
        (last,) = struct.unpack_from(
            ">i" if record.swapflag_dict()["payload_swapped"] else "<i", view, payload + 8
        )
    number = numbers.setdefault(_record_codes(view, at, record), len(numbers))
    count = min(record.samplecnt, 2**31 - 1)  # no record holds as many
    rate = record.samprate if record.samprate > 0 else 0.0
    marks = marks_of_one(view[at : at + length])
    return base + at, length, number, record.starttime, count, rate, record.encoding, last, marks


def _columns(rows: list[tuple[float, ...]]) -> Columns:
    columns = zip(*rows, strict=True) if rows else [()] * len(COLUMNS)
    return {
        name: np.array(column, kind)
        for (name, kind), column in zip(COLUMNS.items(), columns, strict=True)
    }


def _next_start(view: memoryview, at: int, final: bool) -> int:
    """Position from `at` on that looks like the start of a record, or that none is before."""
    found = _START.search(view, at)
    if found is not None:
        return found.start()
    return len(view) if final else max(at, len(view) - 7)  # a start has eight bytes


def _record_codes(body: memoryview, at: int, record: MS3Record) -> ChannelId:
    if record.formatversion == 2:
        return codes_of(bytes(body[at + 8 : at + 20]))
    identifier = bytes(body[at + 40 : at + 40 + body[at + 33]]).decode("latin-1").strip(" \x00")
    try:
        return ChannelId(*(part.strip() for part in sourceid2nslc(identifier)))
    except (MiniSEEDError, ValueError):
        return ChannelId("", identifier, "", "")
