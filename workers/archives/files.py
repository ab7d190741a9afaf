"""Any files: every object below a root that matches a glob, in whatever format can be decoded.

Names say nothing here, so every object is fetched once to learn what it holds. That index is small
and plain, to be handed to other processes.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence, Set
from datetime import date, timedelta
from typing import Any

from catalog.schema import DAY_NS, TraceId, day_of, day_start_ns, days_between
from catalog.store import AccessDenied, MissingObject
from catalog.verbs import CredentialsRefused
from workers.archives.archive import ArchiveConfig, Holding, version_of
from workers.archives.objects import NamedObject, Objects, require_root
from workers.decode import BadFormat, extents
from workers.waveform import ALIASES, Reading

_DAY = timedelta(days=1)

log = logging.getLogger(__name__)

Index = dict[str, dict[str, Any]]
"""Key -> {"size": bytes, "etag": ETag, "spans": [[trace, start ns, end ns], ...]}; or "error" for
spans."""


class FilesArchive:
    """Objects of any name below a root; what each holds is known by looking into all of them."""

    def __init__(self, config: ArchiveConfig) -> None:
        self.store = config.store()
        self._pattern = glob_pattern(config.pattern)
        self._objects = Objects(self.store)
        self._index: Index | None = None
        self._readable: frozenset[str] | None = None
        self._versions: dict[str, int] = {}
        self._by_trace: dict[TraceId, list[NamedObject]] = {}

    @property
    def index(self) -> Index:
        """What every object holds, as plain JSON; made on first use by fetching all of them."""
        if self._index is None:
            require_root(self.store)
            entries = [one for one in self.store.list() if self._pattern.fullmatch(one.key)]
            self._versions = {entry.key: version_of(entry) for entry in entries}
            self.index = {
                entry.key: {
                    "size": entry.size,
                    "etag": entry.etag,
                    **self._look_into(entry.key),
                }
                for entry in entries
            }
        assert self._index is not None
        return self._index

    @index.setter
    def index(self, index: Index) -> None:
        self._index = index
        self._readable = None
        self._by_trace = {}
        for key, entry in index.items():
            for trace, start, end in entry.get("spans", ()):
                codes = TraceId.parse(trace)
                held = NamedObject(key, start, end, codes, claim="when it was looked into held")
                self._by_trace.setdefault(codes, []).append(held)

    @property
    def readable(self) -> Set[str]:
        """URLs of the objects that hold a waveform."""
        if self._readable is None:
            of_use = (key for key, entry in self.index.items() if "spans" in entry)
            self._readable = frozenset(map(self.store.url_of, of_use))
        return self._readable

    @property
    def unreadable(self) -> Mapping[str, str]:
        """Objects that match the pattern and hold no waveform, and why."""
        return {key: entry["error"] for key, entry in self.index.items() if "error" in entry}

    def holdings(self, start: date, end: date, stations: Sequence[str] = ()) -> Iterator[Holding]:
        """An object's bytes are shared out among its traces and days by time."""
        self._index = None  # what has changed since the last listing is seen
        sizes: dict[tuple[TraceId, date], tuple[float, int]] = {}
        for key, entry in self.index.items():
            spans = entry.get("spans", ())
            total = sum(high - low for _, low, high in spans) or 1
            for name, low, high in spans:
                trace = TraceId.parse(name)
                for day in days_between(max(start, day_of(low)), min(end, day_of(high - 1) + _DAY)):
                    begin = day_start_ns(day)
                    inside = min(high, begin + DAY_NS) - max(low, begin)
                    share = entry["size"] * inside / total
                    size, version = sizes.get((trace, day), (0.0, 0))
                    sizes[trace, day] = size + share, version ^ self._versions[key]
        for (trace, day), (size, version) in sorted(sizes.items()):
            yield Holding(trace, day, round(size), version)

    def read(self, trace: TraceId, start_ns: int, end_ns: int) -> Reading:
        _ = self.index
        return self._objects.gather(trace, self._by_trace.get(trace, ()), start_ns, end_ns)

    def _look_into(self, key: str) -> dict[str, Any]:
        try:
            found = self._objects.look_into(key)
        except CredentialsRefused:
            raise
        except (BadFormat, AccessDenied, MissingObject) as error:
            log.warning("%s", error)
            return {"error": str(error)}
        for problem in found.said:
            log.warning("%s", problem)
        spans: dict[str, tuple[int, int]] = {}
        for codes, low, high in extents(found):
            trace = str(codes.trace)
            if codes.component in ALIASES:
                known = spans.get(trace, (low, high))
                spans[trace] = min(low, known[0]), max(high, known[1])
        return {"spans": [[trace, low, high] for trace, (low, high) in sorted(spans.items())]}


def glob_pattern(glob: str) -> re.Pattern[str]:
    """A glob over keys: `*` and `?` stay inside a folder, `**/` is any number of folders."""
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", glob)
    meaning = {"**/": "(?:[^/]+/)*", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(meaning.get(part, re.escape(part)) for part in parts))
