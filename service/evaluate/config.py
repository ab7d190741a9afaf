"""evaluation.toml -> Evaluation: what is judged, on which data, against which truth.

Read with the campaign's own rules: unknown keys are refused, relative paths start at the file's
folder, no URL may carry credentials.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from service.campaign import CandidateConfig, Compute, Floor, anchored_weights
from service.documents import Table, anchored, load

EXAMPLE = "see `tidepick eval report --help`"


Tolerance = Annotated[float, Field(gt=0, lt=60)]


class Benchmark(Table):
    """Labelled traces. kind: a SeisBench dataset's folder, an npz, a csv beside a Zarr group, or
    `table`: a per-trace table (parquet or csv) that was made elsewhere."""

    name: str = Field(min_length=1)
    kind: Literal["seisbench", "npz", "csv_zarr", "table"]
    path: str = Field(min_length=1)
    regional: bool = False
    """Whether an onset is an outlier from 0.45 s on, as in Muenchmeyer's regional data sets."""
    strata: list[str] = Field(default=[])
    """Columns to stratify by beside distance, depth, magnitude and signal to noise."""


class Judged(CandidateConfig):
    """A candidate as in a campaign. engine: where it is not that of [compute], so that precisions
    can be compared like weights."""

    engine: Literal["exact", "fast", "fp16"] | None = None


class Manifest(Table):
    """What a candidate was trained on: csv or parquet with `dataset`, `chunk`, `trace_name`, or
    `sha256` (see eval/leakage.py)."""

    candidate: str = Field(min_length=1)
    path: str = Field(min_length=1)


class Noise(Table):
    """Verified noise of a catalogue that picked it.

    windows: a table of them (station, start, end), or built from `events` and `stations` by origin
    time and travel time: no candidate's opinion enters.
    """

    catalog: str = Field(min_length=1)
    windows: str | None = None
    events: str | None = None
    stations: str | None = None
    arrivals: list[str] = Field(default=[])
    """What analysts read there: no window is near one of these either."""
    seed: int = 0
    windows_per_hour: int = Field(30, ge=1)
    """Windows of 30 s that are drawn of a station and hour at most."""
    energy_ratio: float = Field(3.0, gt=1)
    """The loudest second of a window over the level of the minutes around it, at most."""
    station_days: int = Field(200, ge=1)
    """Station-days that windows are looked for on, at most; drawn by the seed."""
    target_rate: float = Field(1.0, gt=0)
    """False picks a station-hour and phase, at which candidates are compared."""

    @model_validator(mode="after")
    def _one_source(self) -> Noise:
        if (self.windows is None) == (self.events is None):
            raise ValueError("give windows, or events and stations to build them from")
        if self.events is not None and self.stations is None:
            raise ValueError("stations: missing; travel times need StationXML or a csv of places")
        return self


class Continuous(Table):
    """Station-days of a catalogue, and the arrivals that analysts read there."""

    catalog: str = Field(min_length=1)
    arrivals: list[str] = Field(min_length=1)
    """Files: QuakeML, csv or parquet."""
    complete: bool = False
    """Whether every arrival is among them (planted truth): then extras are false."""
    waveforms: bool = True
    """Whether the archive is read at the arrivals: those without data are left out, the others get
    their signal to noise. Else an arrival in a gap counts as missed."""
    stations: str | None = None
    """StationXML or csv of places: then extras are associated across stations."""
    shifts: int = Field(0, ge=0, le=100)
    """Offsets between 0 and 1 s at which the arrivals' minutes are picked again; 0: not."""
    tolerances_s: list[Tolerance] = Field(default=[0.1, 0.25, 0.5, 1.0], min_length=1)
    reviewed: str | None = None
    """The sheet that `tidepick eval audit` drew, with the reviewers' answers."""


class Family(Table):
    """Candidates that ought to score alike: how much they differ is noise of training.

    checkpoints: of one training, the last ones in order; seeds: trainings that differ by chance
    alone, three or more. As a signal a family is one candidate: the one that averages its weights
    (`average = true`) if there is one, else its last.
    """

    candidates: list[str] = Field(min_length=2)
    kind: Literal["checkpoints", "seeds"] = "checkpoints"

    @model_validator(mode="after")
    def _enough(self) -> Family:
        if len(set(self.candidates)) < len(self.candidates):
            raise ValueError("candidates: one stands twice")
        if self.kind == "seeds" and len(self.candidates) < 3:
            raise ValueError("candidates: noise of seeds takes three trainings or more")
        return self


class Arena(Table):
    """Battles by rule over the labelled traces, and what people said beside them."""

    votes: str | None = None
    """The arena's votes: its file (SQLite), or an export (parquet, csv)."""
    strata: list[str] = Field(default=["dist_bin", "snr_bin"])
    """Columns of the per-trace table of whose bins there are boards."""
    serve: str | None = Field(None, pattern=r"^https?://")
    """Where `tidepick serve` shows the battles, to be linked from the report."""


class Evaluation(Table):
    """One evaluation file, whole."""

    name: str = Field(min_length=1)
    out: str = Field(min_length=1)
    """The folder of the tables and the report."""
    traces: str | None = Field(None, min_length=1)
    """Where pieces are committed, of traces and of station-days: a path or s3://bucket/prefix that
    all workers reach; `out`/traces if none."""
    candidate: list[Judged] = Field(default=[])
    """None are needed to judge tables that were made elsewhere; then `baseline` is."""
    baseline: str | None = None
    """The candidate that others are compared with; the first if none is named."""
    threshold: Floor = 0.3
    thresholds: Literal["fixed", "equal_emitted", "f1_optimal", "equal_false_picks"] = "fixed"
    """fixed: `threshold` for all. The others are each candidate's and phase's own, solved once and
    frozen. equal_emitted: where it finds as many labelled arrivals of the tuning split as the
    baseline does at `threshold`. f1_optimal: of the best F1 on the tuning split, a peak within
    0.5 s of its label being a hit. equal_false_picks: where verified noise has `target_rate`."""
    seed: int = 0
    replicates: int = Field(2000, ge=2000)
    splits: str | None = None
    """Where `tidepick eval splits` keeps development, tuning and test."""
    muenchmeyer: bool = False
    """Whether the three tasks of Muenchmeyer et al. are judged beside, at three times the cost."""
    label_errors: str | None = None
    """A csv of `dataset`, `chunk`, `trace_name`: scores are given with these traces and without."""
    benchmark: list[Benchmark] = Field(default=[])
    manifest: list[Manifest] = Field(default=[])
    index: list[str] = Field(default=[])
    """Tables (csv or parquet, eval.leakage.INDEX_SCHEMA) of traces that manifests name and no
    benchmark holds."""
    noise: Noise | None = None
    continuous: Continuous | None = None
    family: list[Family] = Field(default=[])
    """Checkpoints and seeds, whose differences are the noise of `tidepick eval snr`."""
    arena: Arena | None = None
    compute: Compute = Compute()  # type: ignore[call-arg]

    @property
    def names(self) -> list[str]:
        """Of the candidates, in the file's order."""
        return [candidate.name for candidate in self.candidate]

    @property
    def ready_made(self) -> bool:
        """Whether all that is judged are tables that were made elsewhere."""
        kinds = {benchmark.kind for benchmark in self.benchmark}
        return kinds == {"table"} and self.noise is None and self.continuous is None

    @property
    def against(self) -> str:
        """The baseline's name."""
        return self.baseline or self.candidate[0].name

    @model_validator(mode="after")
    def _names_differ(self) -> Evaluation:
        for called, names in (
            ("candidate", [candidate.name for candidate in self.candidate]),
            ("benchmark", [benchmark.name for benchmark in self.benchmark]),
        ):
            for name in names:
                if names.count(name) > 1:
                    raise ValueError(f"{called}.name {name!r} stands twice; names must differ")
        if not self.candidate and not (self.ready_made and self.baseline):
            raise ValueError(f"candidate: missing; {EXAMPLE}")
        known = [candidate.name for candidate in self.candidate]
        if not self.ready_made and self.against not in known:
            raise ValueError(f"baseline {self.baseline!r}: no candidate has that name")
        return self

    @model_validator(mode="after")
    def _solved_on_a_split(self) -> Evaluation:
        if self.thresholds == "equal_false_picks":
            if self.noise is None:
                raise ValueError("thresholds 'equal_false_picks' are solved on noise; name [noise]")
        elif self.thresholds != "fixed" and self.splits is None:
            raise ValueError(
                f"thresholds {self.thresholds!r} are solved on a tuning split; name `splits`, and "
                "make them with `tidepick eval splits`"
            )
        return self

    @model_validator(mode="after")
    def _families_are_of_candidates(self) -> Evaluation:
        known = self.names
        members = [name for family in self.family for name in family.candidates]
        for name in members:
            if known and name not in known:
                raise ValueError(
                    f"family.candidates {name!r}: no candidate has that name; there are {known}"
                )
            if members.count(name) > 1:
                raise ValueError(f"family.candidates {name!r}: of one family only")
        return self

    @model_validator(mode="after")
    def _manifests_are_of_candidates(self) -> Evaluation:
        known = [candidate.name for candidate in self.candidate]
        for manifest in self.manifest:
            if manifest.candidate not in known:
                raise ValueError(
                    f"manifest.candidate {manifest.candidate!r}: no candidate has that name; "
                    f"there are {known}"
                )
        return self


def load_evaluation(path: Path) -> Evaluation:
    """Raises CampaignError in one line: a missing file, broken TOML, unknown or unfit fields."""
    return _anchored(load(Evaluation, path, "evaluation", EXAMPLE), path.absolute().parent)


def _anchored(evaluation: Evaluation, base: Path) -> Evaluation:
    def rooted(table: Table, *fields: str) -> dict[str, str | None]:
        values = {field: getattr(table, field) for field in fields}
        return {k: v if v is None else anchored(v, base) for k, v in values.items()}

    noise, continuous = evaluation.noise, evaluation.continuous
    if noise is not None:
        arrivals = [anchored(path, base) for path in noise.arrivals]
        paths = rooted(noise, "catalog", "windows", "events", "stations")
        noise = noise.model_copy(update=paths | {"arrivals": arrivals})
    if continuous is not None:
        arrivals = [anchored(path, base) for path in continuous.arrivals]
        paths = rooted(continuous, "catalog", "reviewed", "stations")
        continuous = continuous.model_copy(update=paths | {"arrivals": arrivals})
    arena = evaluation.arena
    if arena is not None:
        arena = arena.model_copy(update=rooted(arena, "votes"))
    return evaluation.model_copy(
        update={
            **rooted(evaluation, "out", "traces", "splits", "label_errors"),
            "candidate": [anchored_weights(each, base) for each in evaluation.candidate],
            "index": [anchored(path, base) for path in evaluation.index],
            "manifest": [m.model_copy(update=rooted(m, "path")) for m in evaluation.manifest],
            "benchmark": [b.model_copy(update=rooted(b, "path")) for b in evaluation.benchmark],
            "noise": noise,
            "continuous": continuous,
            "arena": arena,
        }
    )
