"""NET.STA[.LOC[.BAND]] globs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from catalog.schema import TraceId
from service.documents import CampaignError


def select_traces(traces: Iterable[TraceId], patterns: Sequence[str]) -> list[TraceId]:
    """The traces that match any NET.STA[.LOC[.BAND]] glob, sorted. `--` is an empty location."""
    globs = [_pattern(text) for text in patterns]
    return sorted({trace for trace in traces if any(_matches(trace, glob) for glob in globs)})


def _pattern(text: str) -> list[str]:
    parts = text.split(".")
    if not 2 <= len(parts) <= 4:
        raise CampaignError(f"select.stations {text!r}: write it as NET.STA[.LOC[.BAND]]")
    return parts + ["*"] * (4 - len(parts))


def _matches(trace: TraceId, pattern: Sequence[str]) -> bool:
    codes = (trace.network, trace.station, trace.location, trace.band)
    return all(
        fnmatchcase(code, "" if glob == "--" else glob)
        for code, glob in zip(codes, pattern, strict=True)
    )
