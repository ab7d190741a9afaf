"""campaign.toml -> Campaign: read, checked, and nothing unknown let through."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from catalog.store import S3Options
from service.documents import CampaignError, Table, anchored, load
from workers.archives import ENDPOINT, ArchiveConfig
from workers.quality import Quality

EXAMPLE = "see `tidepick run --help`"


FIRST_DAY, LAST_DAY = date(1900, 1, 1), date(2200, 1, 1)
"""Far inside what int64 nanoseconds reach; a mistyped century is refused, not planned."""


def _midnight(value: object) -> object:
    """Days only: a catalogue's coverage is kept by UTC day."""
    if not isinstance(value, str | date):
        raise ValueError(f"{value!r}: write a day as 2022-02-06")
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError as error:
            raise ValueError(f"{value!r}: write a day as 2022-02-06") from error
    if isinstance(value, datetime):
        if value.utcoffset() or (value.hour, value.minute, value.second, value.microsecond) != (
            0,
            0,
            0,
            0,
        ):
            raise ValueError(f"{value}: give whole UTC days, such as 2022-02-06")
        value = value.date()
    if not FIRST_DAY <= value <= LAST_DAY:
        raise ValueError(f"{value}: not between {FIRST_DAY} and {LAST_DAY}")
    return value


Day = Annotated[date, BeforeValidator(_midnight)]
Floor = Annotated[float, Field(gt=0, lt=1)]
WeightsName = Annotated[str, Field(min_length=1)]


class Select(Table):
    """Which station-days: NET.STA[.LOC[.BAND]] globs (or a file of them), [start, end)."""

    stations: list[str] | str
    start: Day
    end: Day
    epochs: str | None = Field(default=None, min_length=1)
    """Station metadata (StationXML or csv): a file, a glob or a folder. Days outside are not
    planned."""
    bands: list[str] = Field(default=[])
    locations: list[str] = Field(default=[])
    """In order of preference: of a station's bands and locations the first that exists on a day is
    picked, the band decides before the location. Empty: every one is picked for itself."""

    @field_validator("bands", "locations")
    @classmethod
    def _each_once(cls, codes: list[str]) -> list[str]:
        codes = ["" if code == "--" else code for code in codes]
        for code in codes:
            if not re.fullmatch(r"[A-Za-z0-9_-]*", code):
                raise ValueError(f"{code!r}: a code such as HH or 00, no glob")
            if codes.count(code) > 1:
                raise ValueError(f"{code!r} stands twice")
        return codes

    @model_validator(mode="after")
    def _ordered(self) -> Select:
        if self.end <= self.start:
            raise ValueError(
                f"end {self.end} is not after start {self.start}; the range is half-open, so one "
                "day needs the day after it as its end"
            )
        return self


class CandidateConfig(Table):
    """A named weight set, or an ensemble of several, and the floors of the picks it stores.

    average: the several are checkpoints of one training, and their mean is one weight set. Else
    their probability curves are averaged.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    weights: WeightsName | Annotated[list[WeightsName], Field(min_length=1)]
    P_threshold: Floor = 0.1
    S_threshold: Floor = 0.1
    average: bool = False
    stacking: Literal["avg", "max"] | None = None
    blinding: tuple[int, int] | None = None

    @property
    def members(self) -> list[str]:
        """Names of its weights: one, or those of an ensemble."""
        return [self.weights] if isinstance(self.weights, str) else self.weights

    def renamed(self, members: Sequence[str]) -> CandidateConfig:
        """The same candidate, its weights under other names."""
        weights = members[0] if isinstance(self.weights, str) else list(members)
        return self.model_copy(update={"weights": weights})

    @model_validator(mode="after")
    def _several_are_averaged(self) -> CandidateConfig:
        if self.average and len(self.members) < 2:
            raise ValueError("average: weights must be a list of two checkpoints or more")
        return self

    @model_validator(mode="after")
    def _blinding_fits(self) -> CandidateConfig:
        if self.blinding and (min(self.blinding) < 0 or sum(self.blinding) > 1500):
            raise ValueError("blinding is two counts >= 0, together at most 1500 samples")
        return self


class Compute(Table):
    """How the work is spread, and what it may take. Nothing here but the engine changes picks.

    max_attempts: tries of a shard of one station-day; a larger one is tried twice whole, then each
    of its station-days by itself. Each invocation counts anew. patience_minutes: a worker that
    ends no station-day for so long hangs; it is killed, which counts as a try. price_per_hour: in
    $, of all the workers together, that is of the whole machine or cluster. max_hours, max_cost:
    where a run stops, over all invocations of all campaigns of this name in the catalogue, whatever
    their plans, limits and workers.
    """

    engine: Literal["auto", "exact", "fast", "fp16"] = "auto"
    workers: int = Field(1, ge=1)
    cpus_per_worker: float = Field(1, gt=0)
    gpus_per_worker: float = Field(0, ge=0)
    station_days_per_shard: int = Field(32, ge=1)
    max_attempts: int = Field(3, ge=1)
    patience_minutes: float = Field(60, ge=0.1)
    price_per_hour: float | None = Field(None, ge=0)
    max_hours: float | None = Field(None, gt=0)
    max_cost: float | None = Field(None, gt=0)

    @property
    def resolved_engine(self) -> str:
        """The engine's name, `auto` settled by whether workers have GPUs."""
        if self.engine != "auto":
            return self.engine
        return "fp16" if self.gpus_per_worker else "fast"

    @property
    def device(self) -> str:
        """torch's name of what workers run on."""
        return "cuda" if self.gpus_per_worker else "cpu"

    @model_validator(mode="after")
    def _half_needs_gpu(self) -> Compute:
        if self.engine == "fp16" and not self.gpus_per_worker:
            raise ValueError("engine fp16 needs gpus_per_worker > 0; on CPUs use fast or exact")
        return self

    @model_validator(mode="after")
    def _cost_needs_price(self) -> Compute:
        if self.max_cost is not None and not self.price_per_hour:
            raise ValueError(
                "max_cost needs price_per_hour, what all the workers together cost in $ an hour"
            )
        return self


class Campaign(Table):
    """One campaign file, whole."""

    name: str = Field(min_length=1)
    catalog: str = Field(min_length=1)
    catalog_endpoint_url: str | None = Field(default=None, pattern=ENDPOINT)
    archive: ArchiveConfig
    select: Select
    candidate: list[CandidateConfig] = Field(min_length=1)
    quality: Quality = "strict"
    compute: Compute = Compute()  # type: ignore[call-arg]

    @model_validator(mode="after")
    def _names_differ(self) -> Campaign:
        names = [candidate.name for candidate in self.candidate]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"candidate.name {name!r} stands twice; names must differ")
        return self

    @property
    def catalog_options(self) -> S3Options:
        """How the catalogue's store is reached."""
        return S3Options(endpoint_url=self.catalog_endpoint_url)


def load_campaign(path: Path) -> Campaign:
    """A campaign file, with its relative paths taken from the file's own folder.

    Raises CampaignError in one line: a missing file, broken TOML, unknown or unfit fields.
    """
    return _anchored(load(Campaign, path, "campaign", EXAMPLE), path.absolute().parent)


def _anchored(campaign: Campaign, base: Path) -> Campaign:
    select = campaign.select
    if isinstance(select.stations, str):
        listed = read_stations(Path(anchored(select.stations, base)))
        select = select.model_copy(update={"stations": listed})

    if select.epochs is not None:
        select = select.model_copy(update={"epochs": anchored(select.epochs, base)})
    archive = campaign.archive
    return campaign.model_copy(
        update={
            "catalog": anchored(campaign.catalog, base),
            "archive": archive.model_copy(update={"root": anchored(archive.root, base)}),
            "select": select,
            "candidate": [anchored_weights(each, base) for each in campaign.candidate],
        }
    )


def anchored_weights(candidate: CandidateConfig, base: Path) -> CandidateConfig:
    """The same candidate, the files of its weights taken from the folder `base`."""
    return candidate.renamed(
        [
            name if re.match(r"(builtin|seisbench):", name) else anchored(name, base)
            for name in candidate.members
        ]
    )


def read_stations(path: Path) -> list[str]:
    """Globs from a file: one a line, or a csv whose header has `network` and `station`."""
    import csv

    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except OSError as error:
        raise CampaignError(
            f"select.stations: no file {path} ({error.strerror}); name a file, or write a list of "
            'globs: ["UW.*"]'
        ) from error
    except UnicodeDecodeError as error:
        raise CampaignError(f"select.stations {path}: not UTF-8 text: {error}") from error
    lines = [line for line in lines if line and not line.startswith("#")]
    is_csv = bool(lines) and {"network", "station"} <= set(lines[0].lower().split(","))
    if len(lines) <= is_csv:
        raise CampaignError(f"select.stations {path}: no station in it; write a glob a line: UW.*")
    if not is_csv:
        return lines
    patterns = set()
    for row in csv.DictReader([lines[0].lower(), *lines[1:]]):
        if not row["network"] or not row["station"]:
            raise CampaignError(f"select.stations {path}: a row without network or station: {row}")
        codes = row["network"], row["station"], row.get("location") or "*", row.get("band") or "*"
        patterns.add(".".join(codes))
    return sorted(patterns)
