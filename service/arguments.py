"""The words of the command line: every command, its arguments and its help."""

from __future__ import annotations

import argparse
from datetime import date
from pathlib import Path

from service.arena.arguments import add_arena
from service.commands import add_command, add_family
from service.evaluate.arguments import add_evaluations

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


def parser() -> argparse.ArgumentParser:
    """`command` of what it parses is the command's name."""
    every = argparse.ArgumentParser(
        prog="tidepick", description="Cloud-scale batch phase picking, with an honest scoreboard."
    )
    commands = every.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, summary: str, example: str) -> argparse.ArgumentParser:
        return add_command(commands, name, summary, example, command=name)

    demo = command(
        "demo",
        "Synthetic station-days, two candidates, picks, scores: no network, about two minutes.",
        "example:\n  tidepick demo --out tidepick-demo",
    )
    demo.add_argument("--out", type=Path, default=Path("tidepick-demo"), help="a folder of its own")
    demo.add_argument("--seed", type=int, default=0, help="of the synthetic earthquakes")

    plan = command(
        "plan",
        "What a campaign would do: stations, station-days, bytes, time; nothing is spent.",
        "example:\n  tidepick plan campaign.toml\n" + CAMPAIGN,
    )
    plan.add_argument("campaign", type=Path)

    run = command(
        "run",
        "Pick a campaign; what is committed already is not done again.",
        "example:\n  tidepick run campaign.toml\n"
        "  tidepick run campaign.toml --retry failed,no_data\n" + CODES + CAMPAIGN,
    )
    run.add_argument("campaign", type=Path)
    run.add_argument("--address", help="a Ray cluster to join (auto, HOST:6379); else a local Ray")
    run.add_argument("--retry", default="", help="outcomes to try again: failed,access_denied,...")

    submit = command(
        "submit",
        "Run a campaign as a Ray job on a cluster.",
        "example:\n  tidepick submit campaign.toml --address http://127.0.0.1:8265",
    )
    submit.add_argument("campaign", type=Path)
    submit.add_argument("--address", required=True, help="the Ray dashboard, http://HEAD:8265")
    submit.add_argument("--retry", default="", help="outcomes to try again: failed,...")
    submit.add_argument("--no-wait", action="store_true", help="return once it is submitted")

    status = command(
        "status",
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
        "Whether a catalogue may live in a store: whether it keeps what commits rest on.",
        "example:\n  tidepick check-store s3://bucket/scratch\n\n"
        "Writes a few small objects below a new prefix, and removes them; see docs/s3.md.",
    )
    check.add_argument("url", help="where: a path, or s3://bucket/prefix (AWS_ENDPOINT_URL)")

    query = command(
        "query",
        "SQL over the committed picks; views picks, coverage, runs, stations, candidates.",
        "example:\n  tidepick query catalog "
        '"SELECT station, phase, count(*) FROM picks_at(0.3) GROUP BY ALL"\n\n'
        "picks_at(t) gives SeisBench's picks at threshold t; picks_at2(p, s) one a phase;\n"
        "picks_default() those at the thresholds that the weights recommend.\n"
        "superseded has the coverage that gave way to a later plan's bands; no other view has it.",
    )
    query.add_argument("catalog")
    query.add_argument("sql")
    query.add_argument("--output", type=Path, help="write all rows to a .parquet or .csv file")
    query.add_argument("--rows", type=int, default=50, help="rows to print (default 50)")

    bench = command(
        "bench",
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

    judge = add_family(
        commands,
        "eval",
        "Judge candidates: benchmarks, noise, continuous days, comparison, one report.",
        "Judge the candidates of an evaluation file.",
        "example:\n  tidepick eval report evaluation.toml",
    )
    add_evaluations(judge)

    serve = command(
        "serve",
        "A site on this machine: coverage, station-days, and the arena where people judge.",
        "example:\n  tidepick serve s3://bucket/cascadia --votes cascadia.sqlite\n\n"
        "The arena shows windows that at least two candidates have picked. Waveforms are read\n"
        "where the runs read them. With an evaluation it also shows the labelled traces that\n"
        "`tidepick eval oracle` judged, and how often people say what the rule says.",
    )
    serve.add_argument("catalog")
    serve.add_argument("--host", default="127.0.0.1", help="others than loopback need --token")
    serve.add_argument("--port", type=int, default=8080, help="0 takes a free one (default 8080)")
    serve.add_argument(
        "--token", type=Path, metavar="FILE", help="a secret that visitors must give"
    )
    serve.add_argument(
        "--votes",
        type=Path,
        default=Path("votes.sqlite"),
        metavar="FILE",
        help="where battles and votes are kept, append-only (default votes.sqlite)",
    )
    serve.add_argument(
        "--arrivals",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="reference arrivals, shown after the vote: QuakeML, csv or parquet",
    )
    serve.add_argument(
        "--evaluation",
        type=Path,
        metavar="FILE",
        help="also its labelled traces, at thresholds of equal false picks, beside its rule",
    )
    serve.add_argument("--seed", type=int, default=0, help="of windows, pairs and sides")

    fights = add_family(
        commands,
        "arena",
        "Ratings of what people said of pairs of candidates, battles by rule, exports.",
        "Rate candidates by battles: people's votes, or a rule, never together.",
        "example:\n  tidepick arena rate arena.db",
    )
    add_arena(fights)

    ingest = command(
        "ingest",
        "miniSEED (or SAC, SEG-Y, WIN...) -> Zarr v3, one shard object a station-day.",
        "example:\n  tidepick ingest /data/sds s3://bucket/zarr --kind sds "
        "--start 2022-02-06 --end 2022-02-07",
    )
    ingest.add_argument("source")
    ingest.add_argument("destination")
    ingest.add_argument("--kind", default="sds", help="of the source, as in [archive]; default sds")
    ingest.add_argument("--pattern", default="**/*", help="of files: a glob below the source")
    ingest.add_argument("--start", type=date.fromisoformat, required=True, help="first day")
    ingest.add_argument("--end", type=date.fromisoformat, required=True, help="day after the last")
    ingest.add_argument("--stations", default="*.*", help="comma-separated NET.STA[.LOC[.BAND]]")
    return every
