"""Bad files stay in bounds, some hundred of every kind; `python -m tests.fuzz` reads 100,000."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from rich.console import Console

from catalog.schema import Flag
from tests.fuzz.__main__ import fuzz
from tests.fuzz.check import read
from tests.fuzz.mutate import mutated, records_of, sign3
from tests.fuzz.seeds import seeds
from workers.decode import BadFormat, Contents, decode, look_into
from workers.miniseed.body import Held

MOST_SAMPLES = 2**31 - 1


def test_bad_files_stay_in_bounds(tmp_path: Path) -> None:
    facts = fuzz(300, 1, 2, tmp_path, Console(quiet=True))
    assert facts["found"] == []
    assert min(facts["verdicts"]["read"], facts["verdicts"]["refused"]) > 80
    assert set(facts["kinds"]) == {"mseed2", "mseed3", "written", "shipped", "random"}


def test_a_file_is_the_same_every_time() -> None:
    assert [mutated(k, 5) for k in range(50)] == [mutated(k, 5) for k in range(50)]


def announcing(kind: str, count: int, whole: bytes) -> bytes:
    """The first record, and the second announcing more samples than it can hold."""
    first, second, third = records_of(whole)[:3]
    body = bytearray(whole[first:third])
    if kind == "mseed2":
        struct.pack_into(">H", body, second + 30, count)
    else:
        struct.pack_into("<I", body, second + 24, count)
        sign3(body)
    return bytes(body)


@pytest.mark.parametrize(
    ("kind", "name", "count"),
    [("mseed2", "STEIM2-512->", 65535), ("mseed3", "STEIM2", MOST_SAMPLES)],
)
def test_a_record_cannot_announce_more_than_it_holds(kind: str, name: str, count: int) -> None:
    """Half a kilobyte that stands for 8 GB: it is skipped and flagged, the other is read."""
    body = announcing(kind, count, seeds()[kind][name])
    found = look_into(Held(body), "bomb")
    assert isinstance(found, Contents)
    assert sum(len(rows) for _, rows in found.groups) == 1
    decoded = decode(body, "bomb")
    (channel,) = decoded.channels.values()
    (fragment,) = channel.fragments
    assert 0 < len(fragment.samples) < 1000
    assert [flag[0] for flag in channel.flags] == [Flag.SALVAGED]
    assert "announce more samples than they can hold" in decoded.said[0]
    with pytest.raises(BadFormat, match="more samples than they can hold"):
        decode(body[records_of(body)[1] :], "bomb")


@pytest.mark.parametrize("name", ["WAV", "SH_ASC", "SU", "SACXY", "PICKLE"])
def test_formats_whose_readers_are_not_safe_are_refused(name: str) -> None:
    with pytest.raises(BadFormat, match="no known waveform format"):
        decode(seeds()["written"][name], "object")


def test_a_css_file_opens_no_other(tmp_path: Path) -> None:
    """A .wfdisc row names a folder and a file, which obspy opens wherever they are."""
    examples = {k: v for k, v in seeds()["shipped"].items() if k.endswith(".wfdisc")}
    assert examples
    for name, body in examples.items():
        with pytest.raises(BadFormat):
            decode(body, name)


def test_a_damaged_record_among_records_without_a_name() -> None:
    """A name is lost between records whose channel has none: there is nobody to tell of it."""
    assert read(*mutated(2262, 1)) == "read"


def test_a_longitude_that_no_place_has_holds_nobody_up() -> None:
    """obspy subtracts 360 from it until it fits, which it never does."""
    assert read(*mutated(93638, 1)) in ("read", "refused")
