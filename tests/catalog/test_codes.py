"""Spelling of codes: any text, different and safe."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from catalog.codes import safe_code


@given(st.text(max_size=8), st.text(max_size=8))
def test_different_codes_stay_different_and_safe(one: str, other: str) -> None:
    assert (safe_code(one) == safe_code(other)) == (one == other)
    assert set(safe_code(one)) <= set(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
    )
    assert safe_code(safe_code(one)) == safe_code(one) or "_" in safe_code(one)
    assert safe_code(one) != "_"
