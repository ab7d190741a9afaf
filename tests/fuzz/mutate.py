"""Files made bad on purpose: the same number and seed give the same bytes."""

from __future__ import annotations

import random
import re
import struct
from collections.abc import Callable

import google_crc32c

from tests.fuzz.seeds import seeds

KINDS = ("mseed2", "mseed3", "written", "shipped", "random")
WEIGHTS = (40, 15, 15, 20, 10)
"""Of a hundred files, how many begin as each kind."""

MOST = 100_000
"""Bytes of a file."""

EXTREMES = (0, 1, 2, 3, 7, 8, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1)

MAGIC = (
    *(b"000001D ", b"000001R*", b"MS\x03\x04", b"000001V ", b"WID2 ", b"WID1 ", b"XW01"),
    *(b"BEGIN ", b"DATAFILE", b"RIFF\x20\0\0\0WAVEfmt ", b"\x55\x3a", b"\x3a\x55", b"KMI"),
    *(
        b"Origin Time",
        b"\x80\x02cobspy",
        b"\x80\x04\x95",
        b"EH",
        b"DT",
        b"Y",
        b"C 1 ",
        b"PK\x03\x04",
    ),
    *(b"43020  1  40", b"\x0e\x05\x10\x01", b"# S.SRS", b"DELTA: 5.0e-2\n", b"<html><body>"),
    b"TIMESERIES XX_SYN__BHZ_D, 9 samples, 1 sps, 2003-05-29T02:13:22.0, SLIST, INTEGER, Counts\n",
    b"DATASET DS\nFILE_TYPE",
)
"""How files of many formats begin (bytes; some only nearly)."""


def mutated(number: int, seed: int) -> tuple[str, bytes]:
    """The name of what it was made from, and the bytes of one file."""
    rng = random.Random(f"{seed}/{number}")
    (kind,) = rng.choices(KINDS, WEIGHTS)
    if kind == "random":
        return "random", _random(rng)
    name, body = rng.choice(sorted(seeds()[kind].items()))
    changed = bytearray(body)
    names = []
    if kind in ("mseed2", "mseed3") and rng.random() < 0.5:
        changed = _fewer(rng, changed)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 5, 8))):
        change = rng.choice(CHANGES + HEADERS[kind])
        names.append(change.__name__.strip("_"))
        changed = change(rng, changed)[:MOST]
    if rng.random() < 0.7:
        sign3(changed)
    return f"{kind}:{name}:{'+'.join(names)}", bytes(changed)


def _random(rng: random.Random) -> bytes:
    magic = rng.choice(MAGIC) if rng.random() < 0.9 else b""
    body = rng.choice((rng.randbytes, bytes))(rng.choice((0, 1, 40, 48, 64, 600, 5000)))
    whole = bytearray(magic + body)
    if rng.random() < 0.3:
        whole = bytearray(rng.choice((b" ", b"\n", b"0")) * rng.choice((1, 7, 8, 512))) + whole
    return bytes(_field(rng, whole)) if rng.random() < 0.5 else bytes(whole)


def _fewer(rng: random.Random, body: bytearray) -> bytearray:
    """A few of its records."""
    starts = records_of(body)
    first = rng.randrange(len(starts))
    ends = [*starts, len(body)][first + 1 :]
    return body[starts[first] : rng.choice(ends[:8])]


def _bits(rng: random.Random, body: bytearray) -> bytearray:
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        if body:
            body[rng.randrange(len(body))] ^= 1 << rng.randrange(8)
    return body


def _run(rng: random.Random, body: bytearray) -> bytearray:
    """A run of bytes becomes another."""
    at = rng.randrange(len(body) + 1)
    length = rng.choice((1, 2, 4, 16, 512, 4096))
    fill = rng.choice((b"\0", b"\xff", b" ", b"9", b"-", b"."))
    body[at : at + length] = rng.choice((rng.randbytes(length), fill * length))
    return body


def _cut(rng: random.Random, body: bytearray) -> bytearray:
    return body[: rng.randrange(len(body) + 1)]


def _hole(rng: random.Random, body: bytearray) -> bytearray:
    at = rng.randrange(len(body) + 1)
    del body[at : at + rng.randrange(1, 1000)]
    return body


def _splice(rng: random.Random, body: bytearray) -> bytearray:
    """Bytes of another seed in the middle."""
    kind = rng.choice(KINDS[:-1])
    _, other = rng.choice(sorted(seeds()[kind].items()))
    low = rng.randrange(len(other) + 1)
    at = rng.randrange(len(body) + 1)
    body[at:at] = other[low : low + rng.choice((16, 512, 4096))]
    return body


def _field(rng: random.Random, body: bytearray) -> bytearray:
    """A number of the first bytes becomes an extreme one."""
    size = rng.choice((1, 2, 4, 8))
    if len(body) < size:
        return body
    at = rng.randrange(min(len(body) - size + 1, rng.choice((64, 400, 4000))))
    value = rng.choice(EXTREMES) & ((1 << 8 * size) - 1)
    body[at : at + size] = value.to_bytes(size, rng.choice(("big", "little")))
    return body


def _digits(rng: random.Random, body: bytearray) -> bytearray:
    """A number that is written out becomes another: formats that are text."""
    numbers = [*re.finditer(rb"\d+", bytes(body[:4000]))]
    if numbers:
        chosen = rng.choice(numbers)
        value = rng.choice((b"0", b"-1", b"99999999", b"2147483647", b"1e30", b"nan", b"9" * 40))
        body[chosen.start() : chosen.end()] = value
    return body


def records_of(body: bytes | bytearray) -> list[int]:
    """Where records begin."""
    return [m.start() for m in re.finditer(rb"[0-9 ]{6}[DRQM] |MS\x03", bytes(body))] or [0]


def _shuffle(rng: random.Random, body: bytearray) -> bytearray:
    starts = records_of(body)
    parts = [body[a:b] for a, b in zip(starts, [*starts[1:], len(body)], strict=True)]
    rng.shuffle(parts)
    return bytearray(b"".join(parts))


def _again(rng: random.Random, body: bytearray) -> bytearray:
    """Some records a second time, up to a file that is full of one."""
    starts = [*records_of(body), len(body)]
    chosen = rng.randrange(len(starts) - 1)
    part = body[starts[chosen] : starts[chosen + 1]]
    return body + part * rng.choice((1, 1, 2, MOST // max(len(part), 1)))


def _header2(rng: random.Random, body: bytearray) -> bytearray:
    """Fields of miniSEED 2 headers: codes, time, counts, rates, offsets, blockettes."""
    starts = records_of(body)
    for start in rng.sample(starts, min(len(starts), rng.choice((1, 1, 3, 1000)))):
        at, size = rng.choice(
            (
                *((0, 1), (6, 1), (7, 1), (8, 4), (13, 1), (15, 1), (18, 1), (20, 2), (22, 2)),
                *((24, 1), (25, 1), (26, 1), (28, 2), (30, 2), (32, 2), (34, 2), (36, 1), (39, 1)),
                *((40, 4), (44, 2), (46, 2), (48, 2), (50, 2), (52, 1), (53, 1), (54, 1), (56, 2)),
                *((58, 2), (60, 4), (64, 4), (68, 4), (72, 4), (76, 4)),
            )
        )
        value = rng.choice((rng.choice(EXTREMES), rng.getrandbits(32), rng.randrange(300)))
        value &= (1 << 8 * size) - 1
        if start + at + size <= len(body):
            body[start + at : start + at + size] = value.to_bytes(
                size, rng.choice(("big", "little"))
            )
    return body


def _chain2(rng: random.Random, body: bytearray) -> bytearray:
    """The blockettes of a record lead anywhere: backwards, around, out of it."""
    starts = records_of(body)
    start = rng.choice(starts)
    at = rng.choice((46, 48 + 2, 56 + 2))
    if start + at + 2 <= len(body):
        to = rng.choice((0, 1, 46, 48, 52, 56, 64, 508, 510, 511, 512, 4000, 65535))
        struct.pack_into(rng.choice("<>") + "H", body, start + at, to)
    return body


def _header3(rng: random.Random, body: bytearray) -> bytearray:
    """Fields of miniSEED 3 headers: flags, time, encoding, rate, count, lengths."""
    starts = records_of(body)
    for start in rng.sample(starts, min(len(starts), rng.choice((1, 1, 3, 1000)))):
        at, size = rng.choice(
            (
                *((2, 1), (3, 1), (4, 4), (8, 2), (10, 2), (12, 1), (13, 1), (14, 1), (15, 1)),
                *((16, 8), (24, 4), (28, 4), (32, 1), (33, 1), (34, 2), (36, 4), (40, 1), (50, 1)),
            )
        )
        value = rng.choice((rng.choice(EXTREMES), rng.getrandbits(64), rng.randrange(300)))
        if rng.random() < 0.2:
            doubles = (0.0, -1.0, 1e-300, 1e300, float("nan"), float("inf"), 1e9, -1e-9)
            value = int.from_bytes(struct.pack("<d", rng.choice(doubles)), "little")
        value &= (1 << 8 * size) - 1
        if start + at + size <= len(body):
            body[start + at : start + at + size] = value.to_bytes(size, "little")
    return body


def sign3(body: bytearray) -> None:
    """Give every miniSEED 3 record the checksum of what it now is: libmseed believes it then."""
    for match in re.finditer(rb"MS\x03", bytes(body)):
        start = match.start()
        if len(body) < start + 40:
            return
        identifier, extra, data = struct.unpack_from("<BHI", body, start + 33)
        stop = start + 40 + identifier + extra + data
        if stop <= len(body):
            body[start + 28 : start + 32] = bytes(4)
            checksum = google_crc32c.value(bytes(body[start:stop]))
            struct.pack_into("<I", body, start + 28, checksum)


Change = Callable[[random.Random, bytearray], bytearray]
CHANGES: tuple[Change, ...] = (_bits, _run, _cut, _hole, _splice, _field)
HEADERS: dict[str, tuple[Change, ...]] = {
    "mseed2": (_header2, _header2, _header2, _chain2, _chain2, _shuffle, _again),
    "mseed3": (_header3, _header3, _header3, _header3, _shuffle, _again),
    "written": (_digits, _digits, _field),
    "shipped": (_digits, _digits, _field),
}
