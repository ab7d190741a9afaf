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


MOST_SAMPLES = 36_000_000
"""Of one reading, all components: a day at 125 Hz and its halo. More are read in shorter spans."""


class TooMuch(Exception):
    """A span holds more samples than one reading may have; ask for a shorter one."""

    def __init__(self, source: str, samples: int) -> None:
        super().__init__(source, samples)
        self.source = source
        self.samples = samples

    def __str__(self) -> str:
        return f"{self.source}: {self.samples} samples in one span, at most {MOST_SAMPLES} are read"


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
        """Each station-day of the half-open range [start, end) once.

        A trace's days come in order; which trace comes when is the listing's affair, so that no
        archive need be held in memory whole. Raises StoreError where the root cannot be listed; an
        empty root holds nothing.
        """
        ...

    def read(self, trace: TraceId, start_ns: int, end_ns: int) -> Reading:
        """Everything of a trace that overlaps [start_ns, end_ns), in whichever object it is kept.

        Fragments may reach beyond the span. Nothing found: no fragments. The samples inside the
        span do not depend on where the span begins and ends; where objects are refused or
        unreadable this holds for what the others give, and `Reading.lost` names those with the
        spans that they are named for: who reads knows which part of the span is a halo. Raises
        AccessDenied where the listing is refused, StoreUnavailable, and TooMuch where the span
        holds more than MOST_SAMPLES.
        """
        ...
