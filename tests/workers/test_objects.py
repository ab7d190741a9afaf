"""Objects of every make: mixed, with control headers and logs, or no waveform at all."""

from __future__ import annotations

import bz2
import gzip
import io
import pickle
from pathlib import Path

import numpy as np
import pytest
from obspy import Trace, UTCDateTime

from tests.workers.records import (
    ORIGIN,
    RECORD,
    START,
    STEP,
    Z,
    miniseed,
    noise,
    records_of,
    signal,
    version_3,
)
from workers.decode import BadFormat, decode


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("exploded"),))  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"", "the object is empty"),
        (b"<!DOCTYPE html><html>Sign in</html>", "HTML"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "HTML or XML"),
        (b'{"error": "expired token"}', "JSON"),
        (gzip.compress(miniseed(noise(1000), START)), "a gzip file: unpack it"),
        (bz2.compress(miniseed(noise(1000), START)), "a bzip2 file"),
        (bytes(4096), "no known waveform format"),
        (b"000001V 0100", "no known waveform format|inside"),
        (b"not a waveform at all, only words", "no known waveform format"),
        (miniseed(noise(100), ORIGIN * STEP)[:300], "end inside the first record"),
        (pickle.dumps(Bomb()), "no known waveform format"),
    ],
)
def test_what_is_no_waveform_is_named(
    body: bytes, word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadFormat, match=word) as caught:
        decode(body, "s3://bucket/object")
    assert "s3://bucket/object" in str(caught.value)
    assert not list(tmp_path.iterdir())  # no pickle was opened


def test_an_object_of_an_encoding_that_nothing_reads_is_bad() -> None:
    parts = records_of(miniseed(signal(3000), START))
    for part in parts:
        part[52] = 2  # 24-bit integers
    with pytest.raises(BadFormat, match="encoding 2") as told:
        decode(b"".join(parts), "object")
    assert str(told.value).count("object") == 1


def test_a_full_seed_volume_loses_nothing_and_flags_nothing() -> None:
    samples = signal(3000)
    control = [
        f"{number:06d}{kind}".encode().ljust(4096, b" ")
        for number, kind in enumerate(["V ", "A ", "A*", "S ", "S*", "T "], 1)
    ]
    data = miniseed(samples, START, reclen=4096)
    decoded = decode(b"".join(control) + data + control[-1], "object")
    (fragment,) = decoded.channels[Z].fragments
    np.testing.assert_array_equal(fragment.samples, samples)
    assert not decoded.channels[Z].flags and not decoded.detail
    with pytest.raises(BadFormat):
        decode(b"".join(control), "dataless")


def test_encodings_lengths_byte_orders_and_versions_in_one_file() -> None:
    parts = [signal(900, k) for k in range(6)]
    codes = {"network": "XX", "station": "SYN", "channel": "HHZ", "sampling_rate": 100.0}
    little = io.BytesIO()
    Trace(parts[5], {**codes, "starttime": UTCDateTime(ns=START + 4500 * STEP)}).write(
        little, "MSEED", encoding="INT32", reclen=RECORD, byteorder="<"
    )
    body = b"".join(
        [
            miniseed(parts[0], START, encoding="STEIM1"),
            miniseed(parts[1], START + 900 * STEP, encoding="INT32", reclen=4096),
            miniseed(parts[2], START + 1800 * STEP, encoding="STEIM2", reclen=256),
            version_3(parts[3], START + 2700 * STEP, 0),
            miniseed(parts[4], START + 3600 * STEP, reclen=8192),
            little.getvalue(),
        ]
    )
    decoded = decode(body, "object")
    (fragment,) = decoded.channels[Z].fragments
    np.testing.assert_array_equal(fragment.samples, np.concatenate(parts))
    assert not decoded.detail and not decoded.channels[Z].flags


def test_logs_and_records_without_samples_are_no_damage() -> None:
    parts = records_of(miniseed(signal(5000), START))
    log = bytearray(parts[3])
    log[8:18] = b"SYN    LOG"
    log[30:36] = bytes(6)
    log[52] = 0
    empty = bytearray(parts[4])
    empty[30:32] = bytes(2)
    decoded = decode(b"".join([*parts[:4], log, empty, *parts[4:]]), "object")
    (fragment,) = decoded.channels[Z].fragments
    np.testing.assert_array_equal(fragment.samples, signal(5000))
    assert not decoded.detail and not decoded.channels[Z].flags
    later = miniseed(signal(5000), START + 3600 * 10**9)  # and none where data pause
    decoded = decode(b"".join([*parts, empty]) + later, "object")
    assert not decoded.detail and not decoded.channels[Z].flags
