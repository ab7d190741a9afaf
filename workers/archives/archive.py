"""What an archive is: it says which station-days it holds, and reads a span of one trace."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, model_validator

from catalog.schema import StationDay, TraceId
from catalog.store import Listed, S3Options, Store, open_store
from workers.archives.earthscope import EARTHSCOPE
from workers.archives.geonet import GEONET
from workers.archives.layout import Home
from workers.archives.ncedc import NCEDC
from workers.archives.scedc import SCEDC
from workers.waveform import Reading

HOMES: dict[str, Home | None] = {
    "scedc": SCEDC.home,
    "ncedc": NCEDC.home,
    "earthscope": EARTHSCOPE.home,
    "geonet": GEONET.home,
}
"""What `root`, `region` and `anonymous` are where a campaign leaves them out."""

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

    kind: Literal["sds", "files", "zarr", "scedc", "ncedc", "earthscope", "geonet"]
    root: str = Field(min_length=1)
    """A path, or an s3://bucket/prefix URL; the archive's own bucket where the kind has one."""
    pattern: str = "**/*"
    """Of `files` only: a glob below the root; `**` stands for any number of folders."""
    anonymous: bool = False
    endpoint_url: str | None = Field(default=None, pattern=ENDPOINT)
    region: str | None = None
    profile: str | None = Field(default=None, min_length=1)
    """A named AWS profile to take credentials from; a `credential_process` in it is run again when
    they expire."""

    @model_validator(mode="before")
    @classmethod
    def _at_home(cls, values: Any) -> Any:
        """An archive that has a bucket is read there, as it wants to be read there."""
        if not isinstance(values, dict):
            return values
        home = HOMES.get(str(values.get("kind")))
        if home is None:
            return values
        known = {"root": home.root} | {k: v for k, v in values.items() if v is not None}
        if (str(known["root"]) + "/").startswith(f"s3://{home.bucket}/"):
            signed = known.get("profile") is not None
            known = {"region": home.region, "anonymous": home.anonymous and not signed} | known
        return known

    @model_validator(mode="after")
    def _one_identity(self) -> ArchiveConfig:
        if self.anonymous and self.profile is not None:
            raise ValueError("anonymous and profile: keep one; a profile is for signed requests")
        return self

    @model_validator(mode="after")
    def _nothing_without_effect(self) -> ArchiveConfig:
        if self.kind != "files" and self.pattern != "**/*":
            raise ValueError(
                f"pattern {self.pattern!r}: only with kind = files; {self.kind} has its own"
            )
        of_s3 = ("anonymous", "endpoint_url", "region", "profile")
        if not self.root.startswith("s3://"):
            for name in of_s3:
                if getattr(self, name):
                    raise ValueError(f"{name}: only with a root such as s3://bucket/prefix")
        return self

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
        """The store of its root. Raises Refusal for a root that is none."""
        options = S3Options(self.anonymous, self.endpoint_url, self.region, self.profile)
        return open_store(self.root, options)


@dataclass(frozen=True, order=True, slots=True)
class Holding:
    """One station-day that the archive's listing says exists, and its size in bytes.

    Whether samples of it can be read is known only after reading. version: of its objects, by
    `version_of`, combined by exclusive or: another where one comes, goes or changes.
    """

    trace: TraceId
    day: date
    size: int
    version: int = field(default=0, compare=False)

    @property
    def station_day(self) -> StationDay:
        """Which it is."""
        return StationDay(self.trace, self.day)


def version_of(entry: Listed) -> int:
    """64 bits that are others for an object of another key, size or ETag."""
    named = f"{entry.key}\0{entry.size}\0{entry.etag}".encode(errors="surrogateescape")
    return int.from_bytes(hashlib.blake2b(named, digest_size=8).digest())


class Archive(Protocol):
    """Waveforms of many traces. One instance serves one thread."""

    def holdings(self, start: date, end: date, stations: Sequence[str] = ()) -> Iterator[Holding]:
        """Each station-day of the half-open range [start, end) once.

        stations: NET.STA[.LOC[.BAND]] globs; what matches none of them may be left out.

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
        StoreUnavailable, and TooMuch where the span holds more than MOST_SAMPLES.
        """
        ...
