"""tidepick: the command line. Every command takes --json, and exits non-zero on failure."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.table import Table

from service.terminal import rows_table

if TYPE_CHECKING:
    from catalog.schema import Outcome

OK, INCOMPLETE, REFUSED, STOPPED, INTERRUPTED = 0, 1, 2, 3, 130

CODES = """
exit codes: 0 every planned station-day has an outcome, none failed or was refused; 1 some have
none, or failed, or were refused (--retry); 2 refused input, or a limit that was reached before;
3 stopped at max_hours or max_cost; 130 interrupted. The same command goes on where it was.
"""

CAMPAIGN = """
A campaign file:

  name = "cascadia-2022"
  catalog = "s3://bucket/cascadia"     # or a path
  [archive]
  kind = "sds"                         # sds, files, zarr; scedc, ncedc, earthscope, geonet
  root = "s3://bucket/archive"         # or a path; public archives know their own
  [select]
  stations = ["UW.*", "PB.B204"]       # NET.STA[.LOC[.BAND]] globs
  start = 2022-02-06                   # half-open [start, end), UTC days
  end = 2022-02-07
  epochs = "stations.xml"              # optional: StationXML or csv; days outside are not planned
  bands = ["HH", "BH", "EH"]           # optional: a day's first that exists; else every band
  locations = ["", "00", "10"]         # optional, likewise
  [[candidate]]
  name = "original"
  weights = "original.safetensors"     # or "seisbench:jma_wc", "builtin:synthetic"
  P_threshold = 0.1                    # the floor from which picks are stored
  S_threshold = 0.1
  [compute]
  engine = "auto"                      # exact, fast, fp16
  workers = 2
  gpus_per_worker = 0
  price_per_hour = 3.50                # $, all the workers together: the machine or the cluster
  max_cost = 50                        # stop there; so does max_hours: all invocations together

Relative paths start at the campaign file's folder.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    out = Console(soft_wrap=options.json, markup=False, emoji=False)  # data are never markup
    try:
        code = int(options.command(options, out))
        sys.stdout.flush()
        return code
    except _refusals() as error:
        message = " ".join(str(getattr(error, "strerror", None) or error).split())
        if options.json:
            print(json.dumps({"error": message}))
        else:
            print(f"tidepick: {message}", file=sys.stderr)
        return REFUSED
    except BrokenPipeError:  # who reads us, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except KeyboardInterrupt:
        print("tidepick: interrupted", file=sys.stderr)
        return INTERRUPTED


def _refusals() -> tuple[type[Exception], ...]:
    """What a user can mend: told in one line, without a traceback."""
    import duckdb

    from catalog.errors import Refusal
    from catalog.store import StoreError

    return (Refusal, StoreError, duckdb.Error)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tidepick", description="Cloud-scale batch phase picking, with an honest scoreboard."
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(
        name: str, call: Callable[..., int], summary: str, example: str
    ) -> argparse.ArgumentParser:
        sub = commands.add_parser(
            name,
            help=summary,
            description=summary,
            epilog=example,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.add_argument("--json", action="store_true", help="print JSON for machines")
        sub.set_defaults(command=call)
        return sub

    demo = command(
        "demo",
        _demo,
        "Synthetic station-days, two candidates, picks, scores: no network, about two minutes.",
        "example:\n  tidepick demo --out tidepick-demo",
    )
    demo.add_argument("--out", type=Path, default=Path("tidepick-demo"), help="a folder of its own")
    demo.add_argument("--seed", type=int, default=0, help="of the synthetic earthquakes")

    plan = command(
        "plan",
        _plan,
        "What a campaign would do: stations, station-days, bytes, time; nothing is spent.",
        "example:\n  tidepick plan campaign.toml\n" + CAMPAIGN,
    )
    plan.add_argument("campaign", type=Path)

    run = command(
        "run",
        _run,
        "Pick a campaign; what is committed already is not done again.",
        "example:\n  tidepick run campaign.toml\n"
        "  tidepick run campaign.toml --retry failed,no_data\n" + CODES + CAMPAIGN,
    )
    run.add_argument("campaign", type=Path)
    run.add_argument("--address", help="a Ray cluster to join (auto, HOST:6379); else a local Ray")
    run.add_argument("--retry", default="", help="outcomes to try again: failed,access_denied,...")

    submit = command(
        "submit",
        _submit,
        "Run a campaign as a Ray job on a cluster.",
        "example:\n  tidepick submit campaign.toml --address http://127.0.0.1:8265",
    )
    submit.add_argument("campaign", type=Path)
    submit.add_argument("--address", required=True, help="the Ray dashboard, http://HEAD:8265")
    submit.add_argument("--retry", default="", help="outcomes to try again: failed,...")
    submit.add_argument("--no-wait", action="store_true", help="return once it is submitted")

    status = command(
        "status",
        _status,
        "What a catalogue covers: runs, their rate, cost and time left; what failed and why.",
        "example:\n  tidepick status s3://bucket/cascadia --watch",
    )
    status.add_argument("catalog")
    status.add_argument(
        "--watch",
        nargs="?",
        type=float,
        const=5.0,
        metavar="SECONDS",
        help="show it anew every so often (default 5) while a run is running",
    )

    check = command(
        "check-store",
        _check_store,
        "Whether a catalogue may live in a store: whether it keeps what commits rest on.",
        "example:\n  tidepick check-store s3://bucket/scratch\n\n"
        "Writes a few small objects below a new prefix, and removes them; see docs/s3.md.",
    )
    check.add_argument("url", help="where: a path, or s3://bucket/prefix (AWS_ENDPOINT_URL)")

    query = command(
        "query",
        _query,
        "SQL over the committed picks; views picks, coverage, runs, stations, candidates.",
        "example:\n  tidepick query catalog "
        '"SELECT station, phase, count(*) FROM picks_at(0.3) GROUP BY ALL"\n\n'
        "picks_at(t) gives SeisBench's picks at threshold t; picks_at2(p, s) one a phase;\n"
        "picks_default() those at the thresholds that the weights recommend.",
    )
    query.add_argument("catalog")
    query.add_argument("sql")
    query.add_argument("--output", type=Path, help="write all rows to a .parquet or .csv file")
    query.add_argument("--rows", type=int, default=50, help="rows to print (default 50)")

    bench = command(
        "bench",
        _bench,
        "How fast this machine picks, or with --parity what another engine does to the picks.",
        "example:\n  tidepick bench --price 3.50\n"
        "  tidepick bench --parity campaign.toml --engine fp16 --station-days 20\n\n"
        "Speed: synthetic station-days (40 MB each as miniSEED, 30 MB as Zarr) in a temporary\n"
        "folder (TMPDIR chooses where), a Ray of its own, and SeisBench beside it.\n"
        "Parity: both engines pick the same station-days; nothing is written to a catalogue.\n"
        "Thresholds below a candidate's floor are left out.",
    )
    bench.add_argument(
        "--parity",
        nargs="?",
        const="",
        metavar="CAMPAIGN",
        help="compare two engines over its archive and candidates; over synthetic days if none",
    )
    bench.add_argument("--device", help="cpu or cuda (default: cuda where there is one)")
    bench.add_argument(
        "--engine",
        choices=("exact", "fast", "fp16"),
        help="default: fp16; for speed on a CPU fast",
    )
    bench.add_argument(
        "--against",
        choices=("exact", "fast", "fp16"),
        help="the engine that --parity compares with (default fast)",
    )
    bench.add_argument(
        "--station-days", type=int, help="how many (default: 8 a worker; 4 with --parity)"
    )
    bench.add_argument("--workers", type=int, help="processes of one core (default: all cores)")
    bench.add_argument("--price", type=float, help="of this machine in $ an hour: gives the costs")

    ingest = command(
        "ingest",
        _ingest,
        "miniSEED (or SAC, SEG-Y, WIN...) -> Zarr v3, one shard object a station-day.",
        "example:\n  tidepick ingest /data/sds s3://bucket/zarr --kind sds "
        "--start 2022-02-06 --end 2022-02-07",
    )
    ingest.add_argument("source")
    ingest.add_argument("destination")
    ingest.add_argument(
        "--kind",
        choices=("sds", "files", "scedc", "ncedc", "earthscope", "geonet"),
        default="sds",
        help="of the source",
    )
    ingest.add_argument("--pattern", default="**/*", help="of files: a glob below the source")
    ingest.add_argument("--start", type=date.fromisoformat, required=True, help="first day")
    ingest.add_argument("--end", type=date.fromisoformat, required=True, help="day after the last")
    ingest.add_argument("--stations", default="*.*", help="comma-separated NET.STA[.LOC[.BAND]]")
    return parser


def _demo(options: argparse.Namespace, out: Console) -> int:
    from service.demo import demo

    return demo(options.out, options.seed, options.json)


def _plan(options: argparse.Namespace, out: Console) -> int:
    from service.campaign import load_campaign
    from service.forecast import forecast, show_forecast
    from service.plan import make_plan
    from service.prepare import candidate_weights
    from workers.archives import open_archive

    campaign = load_campaign(options.campaign)
    for config in campaign.candidate:
        candidate_weights(config)
    facts = forecast(campaign, make_plan(campaign, open_archive(campaign.archive)))
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
    }
    _show(out, options.json, f"run of {campaign.name}", facts)
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
    return OK if not status["left"] and not status["lost"] else INCOMPLETE


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
        print(json.dumps(rows.to_pylist(), default=str, indent=1))
    else:
        out.print(rows_table(rows.slice(0, max(options.rows, 0)).to_pylist(), rows.column_names))
        if rows.num_rows > options.rows:
            out.print(f"{rows.num_rows - options.rows:,} more rows; see --rows and --output")
    return OK


def _ingest(options: argparse.Namespace, out: Console) -> int:
    from catalog.errors import Refusal
    from catalog.store import refuse_credentials
    from service.ingest import ingest_archive
    from workers.archives import ArchiveConfig

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


if __name__ == "__main__":
    sys.exit(main())
