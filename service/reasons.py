"""Why station-days failed: said in one line, and put together where only a name differs."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping

LONGEST = 300

NAMES = (
    r"https?://\S+|s3://\S+|(?:^|[\s'\"(])/[^\s'\"]+"  # objects and files
    r"|'[^']*'|\"[^\"]*\""
    r"|\b[A-Z0-9]{1,8}\.[A-Z0-9]{1,8}\.[A-Z0-9-]{0,8}\.[A-Z0-9]{1,3}\b"  # traces
    r"|\b[0-9a-fA-F]{8,}\b|[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?"
)
"""What differs between reasons of one kind. As DuckDB and Python read it alike (RE2)."""

_SECRETS = re.compile(r"(?<=://)[^/\s@]+@|\?[^\s'\"]*|\b(?:AKIA|ASIA)[A-Z0-9]{12,}\b")


def kind(reason: str) -> str:
    """A reason without the names and numbers in it."""
    return re.sub(NAMES, "#", reason)


def grouped(reasons: Mapping[str, int]) -> Counter[str]:
    """Reasons of one kind as one, under the most frequent (or first) of them; counts are summed."""
    kinds: dict[str, Counter[str]] = defaultdict(Counter)
    for reason, count in reasons.items():
        kinds[kind(reason)][reason] += count
    return Counter({min(k, key=lambda r: (-k[r], r)): k.total() for k in kinds.values()})


def in_a_line(error: BaseException) -> str:
    """What a worker failed of: the exception itself, without frames and without credentials."""
    cause = getattr(error, "cause", None) or error
    lines = str(cause).strip().splitlines() or [""]
    text = _SECRETS.sub("", f"{type(cause).__name__}: {lines[-1].strip()}")
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."
