"""What an archive is: it says which station-days it holds, and reads a span of one trace."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, model_validator

from catalog.schema import StationDay, TraceId
from catalog.store import S3Options, Store, open_store
from workers.waveform import Reading

ENDPOINT = r"^https?://[^@/\s]+/?$"
"""http(s)://HOST[:PORT]; credentials have no place in it."""


class ArchiveConfig(BaseModel):
    """The `[archive]` table of a campaign: which layout, and where."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["sds", "files", "zarr"]
    root: str = Field(min_length=1)
    """A path, or an s3://bucket/prefix URL."""
    pattern: str = "**/*"
    """Of `files` only: a glob below the root; `**` stands for any number of folders."""
    anonymous: bool = False
    endpoint_url: str | None = Field(default=None, pattern=ENDPOINT)
    region: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _glob_in_root(cls, values: Any) -> Any:
        """`files` may carry its glob in the root: /data/2022/*.mseed."""
        if not isinstance(values, dict) or values.get("kind") != "files":
            return values
        root = str(values.get("root", ""))
        folders = root.split("/")
        first = next((k for k, part in enumerate(folders) if set(part) & set("*?")), None)
        if first is None or "pattern" in values:
            return values
        fixed = "/".join(folders[:first]) or ("/" if root.startswith("/") else ".")
        return {**values, "root": fixed, "pattern": "/".join(folders[first:])}

    def store(self) -> Store:
        options = S3Options(self.anonymous, self.endpoint_url, self.region)
        return open_store(self.root, options)


@dataclass(frozen=True, order=True, slots=True)
class Holding:
    """One station-day that the archive's listing says exists, and its size in bytes.

    Whether samples of it can be read is known only after reading.
    """

    trace: TraceId
    day: date
    size: int

    @property
    def station_day(self) -> StationDay:
        return StationDay(self.trace, self.day)


class Archive(Protocol):
    """Waveforms of many traces. One instance serves one thread."""

    def holdings(self, start: date, end: date) -> Iterator[Holding]:
        """Station-days of the half-open range [start, end), sorted by trace and day.

        Raises StoreError where the root cannot be listed; an empty root holds nothing.
        """
        ...

    def read(self, trace: TraceId, start_ns: int, end_ns: int) -> Reading:
        """Everything of a trace that overlaps [start_ns, end_ns), in whichever object it is kept.

        Fragments may reach beyond the span. Nothing found: no fragments. The samples inside the
        span do not depend on where the span begins and ends. Raises AccessDenied and
        StoreUnavailable, and BadFormat where objects exist and none gave data.
        """
        ...
