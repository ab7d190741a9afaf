"""tidepick serve: a catalogue in, a site on one port until it is told to stop."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web
from rich.console import Console

from catalog.commits import read_candidates
from catalog.errors import Refusal
from catalog.query import Catalog
from catalog.truth import ARRIVAL_SCHEMA
from catalog.votes import Votes
from service.evaluate.arrivals import read_arrivals
from service.web.arena import Arena
from service.web.desk import Desk
from service.web.gate import is_loopback
from service.web.pool import Pool
from service.web.recorded import Recorded
from service.web.site import Site


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
    catalog = Catalog(asked.catalog)
    recorded = Recorded.of(catalog)
    desk = Desk(asked.catalog, recorded)
    votes = _votes(asked.votes)
    records = {
        name: record
        for name, record in read_candidates(catalog.store).items()
        if name in recorded.candidates
    }
    reference = ARRIVAL_SCHEMA.empty_table()
    if asked.arrivals:
        reference = read_arrivals([str(path) for path in asked.arrivals]).table
    pool = Pool.of(catalog, sorted(records), reference, asked.seed)
    say.print(
        f"{asked.catalog}: {len(records)} candidates; {len(pool.windows):,} windows and "
        f"{pool.disagreements.num_rows:,} battles to judge; votes go to {asked.votes}"
    )
    arena = Arena(pool, votes, desk, records, asked.seed) if pool.windows else None
    return Site(asked.catalog, desk, votes, arena)


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
