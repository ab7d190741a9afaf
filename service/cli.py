"""tidepick: the command line. Every command takes --json, and exits non-zero on failure."""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.table import Table

from service.arguments import parser
from service.ray_auth import refuse_secrets
from service.terminal import rows_table

if TYPE_CHECKING:
    from catalog.schema import Outcome

OK, INCOMPLETE, REFUSED, STOPPED, INTERRUPTED = 0, 1, 2, 3, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what a command line says, by default this process's own; the exit code."""
    options = parser().parse_args(arguments)
    out = Console(soft_wrap=options.json, markup=False, emoji=False)  # data are never markup
    terminated = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if getattr(options, "address", None):
            refuse_secrets(options.address)
        code = int(COMMANDS[options.command](options, out))
        sys.stdout.flush()
        return code
    except _refusals() as error:
        message = in_one_line(str(getattr(error, "strerror", None) or error))
        if options.json:
            print(json.dumps({"error": message}))
        else:
            print(f"tidepick: {message}", file=sys.stderr)
        return int(getattr(error, "exit_code", REFUSED))
    except BrokenPipeError:  # who reads us, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except KeyboardInterrupt:
        print("tidepick: interrupted", file=sys.stderr)
        return INTERRUPTED
    finally:
        signal.signal(signal.SIGTERM, terminated or signal.SIG_DFL)  # None: not set by Python


def in_one_line(text: str) -> str:
    """Of what DuckDB says of a file system that failed under it, which is written in Python, the
    error alone."""
    if "Traceback (most recent call last)" in text:
        text = text.strip().splitlines()[-1]
    return " ".join(text.split())


def finite(value: Any) -> Any:
    """The same with null for NaN and Inf, which JSON has not."""
    if isinstance(value, dict):
        return {key: finite(each) for key, each in value.items()}
    if isinstance(value, list):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _refusals() -> tuple[type[Exception], ...]:
    """What a user can mend: told in one line, without a traceback."""
    import duckdb

    from catalog.errors import Refusal
    from catalog.store import StoreError

    return (Refusal, StoreError, duckdb.Error)


def _demo(options: argparse.Namespace, out: Console) -> int:
    from service.demo import demo

    return demo(options.out, options.seed, options.json)


def _plan(options: argparse.Namespace, out: Console) -> int:
    from catalog.store import StoreError
    from service.campaign import load_campaign
    from service.forecast import forecast, show_forecast
    from service.plan import make_plan
    from service.prepare import displaced_runs, resolve_candidates
    from workers.archives import open_archive

    campaign = load_campaign(options.campaign)
    candidates = [record for record, _ in resolve_candidates(campaign)]
    plan = make_plan(campaign, open_archive(campaign.archive))
    try:
        displaced: Sequence[str] | StoreError = displaced_runs(campaign, plan, candidates)
    except StoreError as error:  # who plans need not be who runs
        displaced = error
    facts = forecast(campaign, plan, displaced)
    if options.json:
        print(json.dumps(facts, indent=1))
    else:
        show_forecast(facts, out)
    return OK


def _run(options: argparse.Namespace, out: Console) -> int:
    from service.campaign import load_campaign
    from service.prepare import prepare
    from service.run import run

    retry = _outcomes(options.retry)
    campaign = load_campaign(options.campaign)
    prepared = prepare(campaign)
    for pattern in prepared.plan.unmatched:
        print(f"tidepick: select.stations {pattern!r} matches nothing held", file=sys.stderr)
    console = Console(stderr=True) if options.json else out
    # Ray's own notices go to stdout, which belongs to the JSON
    with redirect_stdout(sys.stderr if options.json else sys.stdout):
        file = str(options.campaign)
        summary = run(prepared, console, options.address, retry, file)
    facts = {
        "run": summary.run,
        "state": summary.state,
        "reason": summary.reason,
        "catalog": campaign.catalog,
        "planned": summary.planned,
        "already_committed": summary.already,
        "done_now": summary.done,
        "left": summary.left,
        "picks": summary.picks,
        "seconds": round(summary.seconds, 1),
        "station_days_per_hour": summary.per_hour and round(summary.per_hour, 1),
        "cost": summary.cost,
        "cost_per_station_day": summary.cost_each,
        "outcomes": dict(summary.outcomes),
        "failures": summary.failures,
        "unlooked": len(summary.unlooked),
        "held_without_data": summary.held_without_data,
    }
    _show(out, options.json, f"run of {campaign.name}", facts)
    if summary.held_without_data:
        print(
            f"tidepick: {summary.held_without_data:,} station-days x candidates stand as no_data "
            "that the archive lists by now: --retry no_data picks what has come since",
            file=sys.stderr,
        )
    for name, why in islice(summary.unlooked.items(), 1):
        print(
            f"tidepick: {len(summary.unlooked):,} objects of the archive could not be looked into "
            f"and have no outcome, such as {name}: {why}; mend them, or leave them out by "
            "archive.pattern",
            file=sys.stderr,
        )
    if summary.state == "interrupted":
        print("tidepick: interrupted; run the same command to go on", file=sys.stderr)
        return INTERRUPTED
    if summary.state == "stopped":
        field = summary.reason.split()[0]
        print(
            f"tidepick: {summary.reason}; {summary.left:,} station-days are left: raise {field} "
            "and run the same command to go on",
            file=sys.stderr,
        )
        return STOPPED
    return OK if summary.state == "complete" else INCOMPLETE


def _outcomes(words: str) -> frozenset[Outcome]:
    """Of a comma-separated list. Raises Refusal."""
    from catalog.errors import Refusal
    from catalog.schema import Outcome

    for word in filter(None, words.split(",")):
        if word not in set(Outcome):
            raise Refusal(f"--retry {word!r}: use {', '.join(Outcome)}")
    return frozenset(Outcome(word) for word in filter(None, words.split(",")))


def _submit(options: argparse.Namespace, out: Console) -> int:
    from service.campaign import load_campaign
    from service.jobs import submit

    campaign, retry = load_campaign(options.campaign), _outcomes(options.retry)

    def follow(text: str) -> None:
        print(text, end="", file=sys.stderr if options.json else sys.stdout, flush=True)

    job, state = submit(
        campaign, options.address, None if options.no_wait else follow, sorted(retry)
    )
    _show(out, options.json, "job", {"job": job, "state": state, "catalog": campaign.catalog})
    return OK if options.no_wait or state == "SUCCEEDED" else INCOMPLETE


def _status(options: argparse.Namespace, out: Console) -> int:
    from catalog.errors import Refusal
    from service.status import read_status
    from service.status_screen import status_screen, watch_status

    if options.watch is not None:
        if options.json or not options.watch > 0:
            raise Refusal("--watch: takes seconds, more than 0, and not --json")
        status = watch_status(lambda: read_status(options.catalog), options.watch, out)
    else:
        status = read_status(options.catalog)
        if options.json:
            print(json.dumps(status, indent=1))
        else:
            out.print(status_screen(status), crop=False)  # commands are whole, to be copied
    return INCOMPLETE if status["left"] or status["lost"] or status["unlooked"] else OK


def _check_store(options: argparse.Namespace, out: Console) -> int:
    from catalog.fitness import try_store
    from catalog.store import open_store

    findings = list(try_store(open_store(options.url)))
    fit = all(finding.kept for finding in findings)
    if options.json:
        facts = {finding.promise: finding.seen for finding in findings}
        print(json.dumps({"store": options.url, "fit": fit, "findings": facts}, indent=1))
    else:
        for finding in findings:
            out.print(f"{'yes' if finding.kept else 'NO ':4}{finding.promise}: {finding.seen}")
        verdict = "a catalogue may live here" if fit else "no catalogue may live here: docs/s3.md"
        out.print(f"{options.url}: {verdict}")
    return OK if fit else INCOMPLETE


def _query(options: argparse.Namespace, out: Console) -> int:
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    from catalog.errors import Refusal
    from catalog.query import Catalog

    writers = {".parquet": pyarrow.parquet.write_table, ".csv": pyarrow.csv.write_csv}
    if options.output is not None and options.output.suffix not in writers:
        raise Refusal(f"--output {options.output}: end it in .parquet or .csv")
    rows = Catalog(options.catalog).sql(options.sql)
    if options.output is not None:
        try:
            writers[options.output.suffix](rows, options.output)
        except (OSError, pa.ArrowException) as error:
            raise Refusal(f"--output {options.output}: {error}") from error
        _show(out, options.json, "written", {"file": str(options.output), "rows": rows.num_rows})
    elif options.json:
        print(json.dumps(finite(rows.to_pylist()), default=str, indent=1, allow_nan=False))
    else:
        out.print(rows_table(rows.slice(0, max(options.rows, 0)).to_pylist(), rows.column_names))
        if rows.num_rows > options.rows:
            out.print(f"{rows.num_rows - options.rows:,} more rows; see --rows and --output")
    return OK


def _ingest(options: argparse.Namespace, out: Console) -> int:
    from catalog.errors import Refusal
    from catalog.store import refuse_credentials
    from service.ingest import ingest_archive
    from workers.archives import ARCHIVES, ArchiveConfig

    kinds = [kind for kind in ARCHIVES if kind != "zarr"]
    if options.kind not in kinds:
        raise Refusal(f"--kind {options.kind}: a source is one of {', '.join(kinds)}")
    if options.end <= options.start:
        raise Refusal(f"--end {options.end}: not after --start {options.start}")
    root = refuse_credentials(options.source)
    source = ArchiveConfig(kind=options.kind, root=root, pattern=options.pattern)
    tally = ingest_archive(
        source,
        options.destination,
        options.stations.split(","),
        options.start,
        options.end,
        Console(stderr=True) if options.json else out,
    )
    for problem in tally.problems:
        print(f"tidepick: {problem}", file=sys.stderr)
    facts = {"destination": options.destination, "station_days": dict(tally.states)}
    _show(out, options.json, "ingest", facts)
    return OK if tally.complete else INCOMPLETE


def _bench(options: argparse.Namespace, out: Console) -> int:
    from catalog.errors import Refusal
    from service.bench.parity import parity
    from service.bench.report import bench_tables, parity_table
    from service.bench.speed import bench, bench_compute, cores
    from workers.device import device_at_hand

    device = options.device or device_at_hand()
    shown: Table | Group
    say = Console(stderr=True, soft_wrap=True, markup=False) if options.json else out
    speed_only, parity_only = ("workers", "price"), ("against",)
    for name in speed_only if options.parity is not None else parity_only:
        if getattr(options, name) is not None:
            raise Refusal(f"--{name}: {'not with' if name in speed_only else 'only with'} --parity")
    if options.parity is None:
        workers = cores() if options.workers is None else options.workers
        compute = bench_compute(device, options.engine, workers)
        facts = bench(compute, options.station_days, options.price, say)
        shown = bench_tables(facts)
    else:
        path = Path(options.parity) if options.parity else None
        engine, against = options.engine or "fp16", options.against or "fast"
        facts = parity(path, engine, against, device, options.station_days, say)
        shown = parity_table(facts)
    if options.json:
        print(json.dumps(facts, indent=1))
    else:
        out.print(shown)
    return OK


def _eval(options: argparse.Namespace, out: Console) -> int:
    from service.evaluate.command import evaluate

    return evaluate(options, out)


def _serve(options: argparse.Namespace, out: Console) -> int:
    from service.web.server import Serving, serve

    asked = Serving(
        options.catalog,
        options.host,
        options.port,
        options.token,
        options.votes,
        options.arrivals,
        options.seed,
        options.evaluation,
    )
    say = Console(stderr=True, soft_wrap=True, markup=False) if options.json else out
    return serve(asked, say, options.json)


def _arena(options: argparse.Namespace, out: Console) -> int:
    from service.arena.command import arena

    return arena(options, out)


def _show(out: Console, as_json: bool, title: str, facts: dict[str, Any]) -> None:
    if as_json:
        print(json.dumps(facts, indent=1))
        return
    table = Table(title=title, show_header=False, title_justify="left")
    for name, value in facts.items():
        if isinstance(value, dict):
            value = ", ".join(f"{key}: {count:,}" for key, count in value.items())
        if isinstance(value, list):
            value = ", ".join(map(str, value))
        if isinstance(value, float):
            value = f"{value:,.6g}"
        if value not in ("", None):
            table.add_row(
                name.replace("_", " "), f"{value:,}" if isinstance(value, int) else str(value)
            )
    out.print(table)


COMMANDS: dict[str, Callable[[argparse.Namespace, Console], int]] = {
    "demo": _demo,
    "plan": _plan,
    "run": _run,
    "submit": _submit,
    "status": _status,
    "check-store": _check_store,
    "query": _query,
    "bench": _bench,
    "eval": _eval,
    "serve": _serve,
    "arena": _arena,
    "ingest": _ingest,
}


if __name__ == "__main__":
    sys.exit(main())
