"""Any codes in a header name a trace and a component."""

from __future__ import annotations

import numpy as np
import pytest

from catalog.schema import TraceId
from tests.workers.records import (
    START,
    miniseed,
    noise,
)
from workers.decode import decode


@pytest.mark.parametrize(
    ("network", "station", "location", "code", "trace"),
    [
        (b"XX", b"S\xe9N  ", b"  ", b"HHZ", "XX.S_xE9_N..HH"),
        (b"  ", b"     ", b"  ", b"HHZ", "_._..HH"),
        (b"\0\0", b"AB\0\0\0", b"00", b"bhz", "_.AB.00.BH"),
        (b"..", b"../..", b"..", b"HHZ", "_x2E__x2E_._x2E__x2E__x2F__x2E__x2E_._x2E__x2E_.HH"),
        (b"X/", b"A\0B\n\x7f", b"10", b"H/Z", "X_x2F_.A_x00_B_x0A__x7F_.10.H_x2F_"),
        (b"XX", b"_    ", b"__", b"HHZ", "XX._x5F_..HH"),
    ],
)
def test_any_codes_name_a_trace_that_is_safe_in_a_path(
    network: bytes, station: bytes, location: bytes, code: bytes, trace: str
) -> None:
    body = bytearray(miniseed(noise(100), START))
    body[8:20] = station + location + code + network
    decoded = decode(bytes(body), "object")
    ((codes, channel),) = decoded.channels.items()
    assert str(codes.trace) == trace and codes.component == "Z"
    np.testing.assert_array_equal(channel.fragments[0].samples, noise(100))
    assert not decoded.detail
    assert TraceId.parse(trace) == codes.trace


@pytest.mark.parametrize(
    ("code", "component"),
    [(b"bhz", "Z"), (b"bh1", "1"), (b"HHu", "U"), (b"HHV", "V"), (b"HH3", "3")],
)
def test_components_are_in_upper_case_and_none_is_dropped(code: bytes, component: str) -> None:
    body = bytearray(miniseed(noise(100), START))
    body[15:18] = code
    ((codes, channel),) = decode(bytes(body), "object").channels.items()
    assert (channel.fragments[0].component, codes.trace.band) == (
        component,
        code[:2].decode().upper(),
    )
