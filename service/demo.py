"""tidepick demo: the main job on synthetic station-days, judged against the planted truth.

Everything is the product's own path: archive, campaign, Ray, commits, DuckDB, evaluation.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

from catalog.errors import Refusal
from catalog.query import Catalog
from catalog.schema import TraceId
from eval.continuous import matched, score
from eval.report.figure import Mark, WindowView, draw_windows
from eval.report.score_figure import draw_scores
from eval.report.terminal import scores_table
from service.campaign import load_campaign
from service.evaluate.command import WHATS
from service.evaluate.config import load_evaluation
from service.evaluate.report import make_tables, write_page
from service.prepare import Prepared, prepare
from service.run import run
from service.terminal import rows_table
from workers.archives import open_archive
from workers.picker import Picker
from workers.snippets import snippet
from workers.synthetic import demo_archive, quiet_windows

MARKER = "made-by-tidepick-demo"
WINDOW_S = 45

CAMPAIGN = """\
name = "demo"
catalog = "catalog"

[archive]
kind = "sds"
root = "archive"

[select]
stations = ["XX.*"]
start = 2024-03-01
end = 2024-03-02

[[candidate]]
name = "synthetic"
weights = "builtin:synthetic"

[[candidate]]
name = "synthetic_early"
weights = "builtin:synthetic_early"

[compute]
workers = 2
"""

EVALUATION = """\
name = "demo"
out = "evaluation"

[[candidate]]
name = "synthetic"
weights = "builtin:synthetic"

[[candidate]]
name = "synthetic_early"
weights = "builtin:synthetic_early"

[noise]
catalog = "catalog"
windows = "noise.parquet"

[continuous]
catalog = "catalog"
arrivals = ["truth.parquet"]
complete = true
"""

QUERY = """\
SELECT candidate, station, phase, count(*) AS picks, round(avg(probability), 3) AS probability
FROM picks_default() GROUP BY ALL ORDER BY ALL"""

COVERAGE = """\
SELECT candidate, station, outcome, picks, round(seconds / 3600, 2) AS hours, n_components AS live,
       flags, regexp_replace(detail, '.*/', '') AS detail FROM coverage ORDER BY ALL"""


def demo(folder: Path, seed: int, as_json: bool) -> int:
    """Make, pick, query, score, draw, report; all of it in `folder`. Returns the exit code."""
    _fresh(folder)
    say = Console(stderr=as_json)
    say.print(f"[bold]1[/] writing three synthetic station-days to {folder}/archive")
    truth = demo_archive(folder / "archive", seed)
    pq.write_table(truth, folder / "truth.parquet")
    (folder / "campaign.toml").write_text(CAMPAIGN)

    say.print(f"[bold]2[/] picking them: tidepick run {folder}/campaign.toml")
    prepared = prepare(load_campaign(folder / "campaign.toml"))
    summary = run(prepared, say)
    if summary.state != "complete" or summary.failures:
        raise Refusal(f"demo: the run ended {summary.state}: {summary.failures or 'run it again'}")

    catalog = Catalog(str(folder / "catalog"))
    for number, title, query in ((3, "coverage", COVERAGE), (4, "picks", QUERY)):
        say.print(f'[bold]{number}[/] {title}: tidepick query {folder}/catalog "{query}"')
        rows = catalog.sql(query)
        say.print(rows_table(rows.to_pylist(), rows.column_names))

    picks = catalog.sql("SELECT * FROM picks_default()")
    hours = catalog.sql("SELECT candidate, seconds / 3600 AS hours FROM coverage")
    scores = score(picks, truth, hours)
    pairs = matched(picks, truth)
    pq.write_table(scores, folder / "scores.parquet")
    say.print("[bold]5[/] against the planted truth, at the thresholds that the weights recommend")
    say.print(scores_table(scores))

    draw_scores(folder / "scores.png", scores, pairs)
    draw_windows(folder / "picks.png", _windows(prepared, catalog, picks, truth))
    say.print(f"[bold]6[/] figures: {folder}/picks.png, {folder}/scores.png")
    page = _evaluated(folder, truth, say)
    if as_json:
        found = {"folder": str(folder), "scores": scores.to_pylist(), "report": str(page)}
        print(json.dumps(found, indent=1))
    return 0


def _evaluated(folder: Path, truth: pa.Table, say: Console) -> Path:
    """The evaluation's report; what the tables say in the terminal stands there too."""
    path = folder / "evaluation.toml"
    path.write_text(EVALUATION)
    pq.write_table(quiet_windows(truth), folder / "noise.parquet")
    say.print(f"[bold]7[/] all of it with intervals: tidepick eval report {path}")
    evaluation = load_evaluation(path)
    make_tables(evaluation, path, Console(quiet=True), WHATS)
    page = write_page(evaluation, path)
    say.print(f"   open {page}")
    return page


def _fresh(folder: Path) -> None:
    """An empty folder of the demo's own; anything else there is left alone."""
    if folder.exists():
        if not folder.is_dir() or (any(folder.iterdir()) and not (folder / MARKER).exists()):
            raise Refusal(f"--out {folder}: it is not empty and not the demo's; name another")
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    (folder / MARKER).touch()


def _windows(
    prepared: Prepared, catalog: Catalog, picks: pa.Table, truth: pa.Table
) -> list[WindowView]:
    """Where the candidates differ, and where they agree: the story in two windows."""
    picker = Picker(prepared.assignment)
    archive = open_archive(prepared.campaign.archive)
    names = [candidate.name for candidate in prepared.assignment.candidates]
    thresholds = {
        row["candidate"]: {"P": row["P_threshold"], "S": row["S_threshold"]}
        for row in catalog.sql("SELECT * FROM candidates").to_pylist()
    }
    views = []
    for station, phase_p in _chosen(picks, truth, names):
        trace = next(t for t in prepared.plan.traces if t.station == station)
        start = phase_p - 10 * 10**9
        end = start + WINDOW_S * 10**9
        seen = snippet(archive, trace, start, end, [picker.candidate(name) for name in names])
        views.append(
            WindowView(
                waveform=seen.waveform,
                rate=seen.rate,
                start_ns=seen.start_ns,
                title=str(trace),
                curves=seen.curves,
                picks={name: _marks(picks, trace, start, end, name) for name in names},
                arrivals=_marks(truth, trace, start, end),
                thresholds=thresholds,
            )
        )
    return views


def _chosen(picks: pa.Table, truth: pa.Table, names: list[str]) -> list[tuple[str, int]]:
    """Planted P onsets worth showing: one that both found, one that only the first found."""
    pairs = matched(picks, truth)
    found = {
        name: {
            (row["station"], row["event"]) for row in pairs.to_pylist() if row["candidate"] == name
        }
        for name in names
    }
    onsets = {
        (row["station"], row["event"]): row["time"]
        for row in truth.cast(_as_integers(truth.schema)).to_pylist()
        if row["phase"] == "P"
    }
    both = sorted(onsets.keys() & found[names[0]] & found[names[1]])
    single = sorted((onsets.keys() & found[names[0]]) - found[names[1]])
    middle = both[len(both) // 2 : len(both) // 2 + 1]
    return [(station, onsets[station, event]) for station, event in middle + single[:1]]


def _marks(
    table: pa.Table, trace: TraceId, start: int, end: int, candidate: str | None = None
) -> list[Mark]:
    rows: list[dict[str, Any]] = table.cast(_as_integers(table.schema)).to_pylist()
    return [
        Mark(row["phase"], row["time"])
        for row in rows
        if row["station"] == trace.station
        and start <= row["time"] < end
        and (candidate is None or row["candidate"] == candidate)
    ]


def _as_integers(schema: pa.Schema) -> pa.Schema:
    """Times as int64 nanoseconds."""
    position = schema.get_field_index("time")
    return schema.set(position, pa.field("time", pa.int64()))
