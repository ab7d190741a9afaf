"""Codes of networks, stations, locations and channels: how any of them is spelled safely."""

from __future__ import annotations

import re

BLANK = "_"
"""Stands for a blank network or station."""

CODE = re.compile(r"[A-Za-z0-9_-]{0,64}")
"""A code names folders and files, so that nothing but these letters is one; FDSN's are shorter."""


def safe_code(code: str) -> str:
    """A code in letters, digits, `-` and `_` alone, different for different codes.

    A code of such characters stays as it is. In any other each character but letters, digits and
    `-` is written `_xHH_`, by its number in hexadecimal: `SÉN` is `S_xC9_N`. So are the `_` of a
    code that might be taken for BLANK or for one that was written so.
    """
    if CODE.fullmatch(code) and code != BLANK and "_x" not in code:
        return code
    return "".join(c if CODE.fullmatch(c) and c != "_" else f"_x{ord(c):02X}_" for c in code)


def spelled_code(code: str) -> str:
    """What `safe_code` was given; nothing for BLANK."""
    if code == BLANK:
        return ""
    return re.sub("_x([0-9A-F]{2,6})_", lambda found: chr(int(found[1], 16)), code)


def upper(code: str) -> str:
    """A channel code in upper case; letters beyond ASCII, whose case may change length, stay."""
    return "".join(c.upper() if c.isascii() else c for c in code)
