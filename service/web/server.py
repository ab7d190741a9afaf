"""tidepick serve: a catalogue in, a site on one port until it is told to stop."""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from aiohttp import web
from rich.console import Console

from catalog.battles import RULED_SCHEMA
from catalog.commits import read_candidates
from catalog.errors import Refusal
from catalog.query import Catalog
from catalog.truth import ARRIVAL_SCHEMA
from catalog.votes import Votes
from service.evaluate.battles.agreement import kept_rulings
from service.evaluate.config import Evaluation, load_evaluation
from service.evaluate.read.arrivals import read_arrivals
from service.web.arena import Arena
from service.web.contenders import Contenders
from service.web.day_windows import DayWindows
from service.web.desk import Desk
from service.web.gate import is_loopback
from service.web.ground import Ground
from service.web.pool import Pool
from service.web.recorded import Recorded
from service.web.site import Site
from service.web.trace_windows import TraceWindows
from workers.labelled import READERS


@dataclass(frozen=True, slots=True)
class Serving:
    """What `tidepick serve` was asked for."""

    catalog: str
    host: str = "127.0.0.1"
    port: int = 8080
    token: Path | None = None
    votes: Path = Path("votes.sqlite")
    arrivals: Sequence[Path] = ()
    seed: int = 0
    evaluation: Path | None = None


def serve(asked: Serving, say: Console, as_json: bool) -> int:
    """Serve until interrupted. Raises Refusal, CatalogError, WeightsError, StoreError."""
    token = None if asked.token is None else _token(asked.token)
    if token is None and not is_loopback(asked.host):
        raise Refusal(
            f"--host {asked.host}: others could reach it; give --token FILE, a file with a secret "
            "of 16 characters or more, or leave --host out"
        )
    site = open_site(asked, say)
    asyncio.run(_serve(site.app(token), asked, token is not None, say, as_json))
    return 0


def open_site(asked: Serving, say: Console) -> Site:
    """All that is read before the first page: the catalogue, the networks, the windows."""
    evaluation = None if asked.evaluation is None else load_evaluation(asked.evaluation)
    catalog = Catalog(asked.catalog)
    recorded = Recorded.of(catalog)
    desk = Desk(asked.catalog, recorded)
    votes = _votes(asked.votes)
    records = {
        name: record
        for name, record in read_candidates(catalog.store).items()
        if name in recorded.candidates
    }
    contenders = Contenders.of(records, evaluation)
    rulings = functools.partial(_rulings, evaluation, contenders.rule)
    judged = {*votes.battles()["window"].to_pylist(), *rulings()["window"].to_pylist()}
    days = contenders.on_days
    pool = Pool.of(catalog, days, _reference(asked, evaluation), asked.seed, judged)
    grounds: list[Ground] = [DayWindows(pool, desk)]
    if evaluation is not None and any(each.kind in READERS for each in evaluation.benchmark):
        grounds.append(TraceWindows(evaluation, contenders, asked.seed))
    say.print(
        f"{asked.catalog}: {len(contenders.all)} candidates at thresholds {contenders.rule}; "
        + "; ".join(f"{len(g.windows):,} windows of {g.what}" for g in grounds)
        + f"; {sum(g.disagreements.num_rows for g in grounds):,} battles to judge; votes go to "
        f"{asked.votes}"
    )
    if contenders.without:
        say.print(f"left out, for they have no such threshold: {', '.join(contenders.without)}")
    fought = any(ground.windows for ground in grounds)
    arena = Arena(grounds, votes, contenders.all, asked.seed, rulings) if fought else None
    return Site(asked.catalog, desk, votes, arena, rulings)


def _reference(asked: Serving, evaluation: Evaluation | None) -> pa.Table:
    """ARRIVAL_SCHEMA: of the files that were named, else of the evaluation's days."""
    paths = [str(path) for path in asked.arrivals]
    if not paths and evaluation is not None and evaluation.continuous is not None:
        paths = evaluation.continuous.arrivals
    return read_arrivals(paths).table if paths else ARRIVAL_SCHEMA.empty_table()


def _rulings(evaluation: Evaluation | None, rule: str) -> pa.Table:
    """RULED_SCHEMA: what `tidepick arena battle` has kept until now at thresholds of that rule."""
    if evaluation is None:
        return RULED_SCHEMA.empty_table()
    return kept_rulings(Path(evaluation.out)).filter(pc.field("thresholds") == rule)


async def _serve(
    app: web.Application, asked: Serving, secret: bool, say: Console, as_json: bool
) -> None:
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, asked.host, asked.port)
        try:
            await site.start()
        except OSError as error:
            raise Refusal(
                f"--port {asked.port}: {error.strerror or error}; name another, or 0"
            ) from error
        address = f"http://{_in_url(asked.host)}:{runner.addresses[0][1]}/"
        if as_json:
            print(json.dumps({"url": address}), flush=True)
        say.print(f"{address}{'?token=...' if secret else ''}  (Ctrl-C ends it)")
        await _told_to_stop()
    finally:
        await runner.cleanup()


async def _told_to_stop() -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _token(path: Path) -> str:
    try:
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Refusal(f"--token {path}: {error}") from error
    if (
        len(token) < 16
        or not token.isascii()
        or not token.isprintable()
        or set(token) & set(' ;,"\\')
    ):
        raise Refusal(
            f"--token {path}: at least 16 printable ASCII characters, no blanks or quotes; "
            "`openssl rand -hex 32` makes one"
        )
    return token


def _votes(path: Path) -> Votes:
    import sqlite3

    try:
        return Votes(path)
    except sqlite3.Error as error:
        raise Refusal(f"--votes {path}: {error}; name a file that can be written") from error
