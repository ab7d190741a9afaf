"""The site: its pages, and what they ask for. Pages never vary; all that does is JSON."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from string import Template
from typing import Any, TypeVar

import duckdb
import pyarrow as pa
from aiohttp import web
from aiohttp.typedefs import Handler

from catalog.errors import Refusal
from catalog.query import Catalog
from catalog.votes import Votes
from eval.arena.agreement import alpha_of
from eval.arena.answers import Answers
from eval.arena.board import leaderboard, matrix, side_test
from service.evaluate.battles.agreement import agreement_beside
from service.status import read_status
from service.web.arena import Arena
from service.web.bodies import Asked, Ballot, Curious, Looking, Undoing, body_of
from service.web.days import day_of_words, day_picks, station_days, stretch
from service.web.desk import Desk
from service.web.gate import gate
from service.web.ground import UNREADABLE

STATIC, CONTENTS = (Path(__file__).parent / name for name in ("static", "pages"))
PAGES = {
    "/": ("index", "Coverage"),
    "/arena": ("arena", "Arena"),
    "/arena/battle/{battle}": ("battle", "Battle"),
    "/board": ("board", "Board"),
    "/day": ("day", "Station-day"),
}

FRESH_S = 15.0
"""The catalogue is opened anew after so long, which costs seconds where it is large."""

LARGEST_BODY = 4096

Result = TypeVar("Result")


class Site:
    """What the handlers share. Archives, networks and DuckDB are of the one thread of `_desk`."""

    def __init__(
        self,
        url: str,
        desk: Desk,
        votes: Votes,
        arena: Arena | None,
        rulings: Callable[[], pa.Table],
    ) -> None:
        self._url = url
        self._rulings = rulings
        self._desk = desk
        self._votes = votes
        self._arena = arena
        self._catalog: tuple[float, Catalog] | None = None
        self._one: Executor = ThreadPoolExecutor(1, "desk")
        self._many: Executor = ThreadPoolExecutor(8, "votes")

    def app(self, token: str | None) -> web.Application:
        app = web.Application(middlewares=[gate(token), _told], client_max_size=LARGEST_BODY)
        for path, (name, title) in PAGES.items():
            app.router.add_get(path, functools.partial(_page, _framed(name, title)))
        app.router.add_static("/static", STATIC)
        app.router.add_get("/api/status", self.status)
        app.router.add_get("/api/days", self.days)
        app.router.add_get("/api/day", self.day)
        app.router.add_get("/api/stretch", self.stretch)
        app.router.add_get("/api/board", self.board)
        app.router.add_post("/api/arena/next", self.next)
        app.router.add_post("/api/arena/vote", self.vote)
        app.router.add_post("/api/arena/undo", self.undo)
        app.router.add_post("/api/arena/reveal", self.reveal)
        app.router.add_post("/api/arena/battle", self.battle)
        app.on_cleanup.append(self._close)
        return app

    async def _close(self, app: web.Application) -> None:
        self._one.shutdown()
        self._many.shutdown()
        self._catalog = None

    async def status(self, request: web.Request) -> web.Response:
        return web.json_response(await self._with_desk(read_status, self._url))

    async def days(self, request: web.Request) -> web.Response:
        return web.json_response(await self._with_desk(lambda: station_days(self._now())))

    async def day(self, request: web.Request) -> web.Response:
        day = day_of_words(request.query.get("trace", ""), request.query.get("day", ""))
        return web.json_response(await self._with_desk(lambda: day_picks(self._now(), day)))

    async def stretch(self, request: web.Request) -> web.Response:
        day = day_of_words(request.query.get("trace", ""), request.query.get("day", ""))
        start, seconds = (_number(request, name) for name in ("start", "seconds"))
        return web.json_response(
            await self._with_desk(lambda: stretch(self._now(), self._desk, day, start, seconds))
        )

    async def board(self, request: web.Request) -> web.Response:
        return web.json_response(await self._with_votes(_board, self._votes, self._rulings))

    async def next(self, request: web.Request) -> web.Response:
        asked = await body_of(request, Asked)
        return web.json_response(await self._with_desk(self._arena_here.next, asked.annotator))

    async def vote(self, request: web.Request) -> web.Response:
        asked = await body_of(request, Ballot)
        given = str(asked.vote), str(asked.battle), asked.annotator, asked.answer, asked.latency_ms
        return web.json_response(await self._with_votes(self._arena_here.vote, *given))

    async def undo(self, request: web.Request) -> web.Response:
        asked = await body_of(request, Undoing)
        given = str(asked.vote), str(asked.undoes), asked.annotator
        return web.json_response(await self._with_desk(self._arena_here.undo, *given))

    async def reveal(self, request: web.Request) -> web.Response:
        asked = await body_of(request, Curious)
        given = str(asked.vote), asked.annotator
        return web.json_response(await self._with_desk(self._arena_here.reveal, *given))

    async def battle(self, request: web.Request) -> web.Response:
        asked = await body_of(request, Looking)
        given = asked.battle, asked.annotator
        return web.json_response(await self._with_desk(self._arena_here.look, *given))

    @property
    def _arena_here(self) -> Arena:
        if self._arena is None:
            raise Refusal(
                "no arena: it needs station-days that at least two candidates have picked, and "
                "their weights (see `tidepick status`), or labelled traces that two have been "
                "judged on (--evaluation)"
            )
        return self._arena

    def _now(self) -> Catalog:
        """The catalogue, not older than FRESH_S."""
        if self._catalog is None or time.monotonic() - self._catalog[0] > FRESH_S:
            self._catalog = time.monotonic(), Catalog(self._url)
        return self._catalog[1]

    async def _with_desk(self, do: Callable[..., Result], *given: Any) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._one, do, *given)

    async def _with_votes(self, do: Callable[..., Result], *given: Any) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._many, do, *given)


@web.middleware
async def _told(request: web.Request, handler: Handler) -> web.StreamResponse:
    """What a user can mend is told as JSON; anything else is a defect, and says nothing outside."""
    try:
        return await handler(request)
    except Refusal as error:
        return web.json_response({"error": str(error)}, status=409)
    except (*UNREADABLE, duckdb.Error) as error:
        return web.json_response({"error": str(error)}, status=503)


def _framed(name: str, title: str) -> str:
    """A page's contents in what all pages share; `stage` is where two sides are drawn, `tools` the
    buttons that move a drawing."""

    def read(part: str) -> str:
        return (CONTENTS / f"{part}.html").read_text(encoding="utf-8")

    tools = read("tools")
    stage = Template(read("stage")).substitute(tools=tools)
    main = Template(read(name)).substitute(stage=stage, tools=tools)
    return Template(read("frame")).substitute(name=name, title=title, main=main)


async def _page(page: str, request: web.Request) -> web.Response:
    return web.Response(text=page, content_type="text/html")


def _number(request: web.Request, name: str) -> float:
    try:
        return float(request.query.get(name, ""))
    except ValueError as error:
        raise Refusal(f"{name}: give seconds") from error


def _board(votes: Votes, rulings: Callable[[], pa.Table]) -> dict[str, Any]:
    """The leaderboard of people, who beat whom, and how far they can be trusted."""
    people = Answers.of_people(votes.judged())
    if not len(people):
        return {"battles": 0}
    alpha = alpha_of(people)
    agreed = agreement_beside(people, rulings())
    return {
        "battles": len(people),
        "board": leaderboard(people).to_pylist(),
        "pairs": matrix(people).to_pylist(),
        "sides": side_test(people).to_pylist()[0],
        "alpha": None if alpha != alpha else alpha,
        "agreement": None if agreed is None else agreed.to_pylist(),
    }
