"""The arena without its pages: which battle somebody is shown, and what becomes of the answer.

Before the vote a battle is its id, samples, curves and picks, with sides called left and right. No
name, hash, threshold, stratum, station or time of day leaves it: any of them could tell who stands
where, here or on another page.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from catalog.battles import ANSWERS, SKIP
from catalog.commits import CandidateRecord
from catalog.errors import Refusal
from catalog.store import MissingObject, StoreError
from catalog.votes import LIFETIME, Votes
from eval.arena.agreement import alpha_of
from eval.arena.answers import Answers
from eval.arena.sampling import Draw, draw
from eval.report.blind import SIDES
from service.provenance import version
from service.web.desk import Desk
from service.web.drawing import drawing
from service.web.pool import MARGIN_S, WINDOW_S, Pool, Window
from workers.archives import TooMuch
from workers.decode import BadFormat
from workers.waveform import NS

UNREADABLE = (BadFormat, TooMuch, StoreError)

MOST_UNREADABLE = 10
"""Windows in a row that cannot be read until somebody is told."""

log = logging.getLogger(__name__)

Json = dict[str, Any]


class Unreadable(Refusal):
    """Window after window could not be read from the archive."""


class Arena:
    """Battles over the windows of a pool. `next` and `undo` are for one thread, the rest for any.

    records: by name, of the candidates that are shown.
    """

    def __init__(
        self,
        pool: Pool,
        votes: Votes,
        desk: Desk,
        records: Mapping[str, CandidateRecord],
        seed: int,
    ) -> None:
        self._pool = pool
        self._votes = votes
        self._desk = desk
        self._records = records
        self._seed = seed
        self._unreadable: set[str] = set()

    def next(self, annotator: str) -> Json:
        """The battle that was issued to the annotator and has no answer yet, else a new one.

        `battle` is null where nothing is left to show. Raises Unreadable.
        """
        battles, votes = self._votes.battles(), self._votes.log()
        for row in _open(battles, votes, annotator):
            if (shown := self._shown(row)) is not None:
                return shown
        for _ in range(MOST_UNREADABLE):
            drawn = self._draw(annotator)
            if drawn is None:
                return {"battle": None, "progress": self.progress(annotator)}
            row = self._row(drawn, annotator)
            row["battle"] = self._votes.issue(row)
            if (shown := self._shown(row)) is not None:
                return shown
        raise Unreadable(
            f"{MOST_UNREADABLE} windows in a row could not be read; the server's log says why"
        )

    def vote(self, vote: str, battle: str, annotator: str, answer: str, latency_ms: int) -> Json:
        self._votes.cast(vote, battle, annotator, answer, latency_ms)
        return {"vote": vote, "progress": self.progress(annotator)}

    def undo(self, vote: str, undoes: str, annotator: str) -> Json:
        """Take a vote back, and show its battle again."""
        battle = self._votes.undo(vote, undoes, annotator)
        issued = self._votes.battles()
        [row] = issued.filter(pc.field("battle") == battle).to_pylist()
        shown = self._shown(row)
        if shown is None:
            raise Unreadable(f"battle {battle}: the vote is taken back; its window is gone")
        return shown

    def reveal(self, vote: str, annotator: str) -> Json:
        """Who stood on the sides, where and when it was, and what the reference has there."""
        battle = self._votes.reveal(vote, annotator)
        told: Json = {"stratum": battle["stratum"]}
        for side in SIDES:
            told[side] = {
                "name": battle[side],
                "weights": battle[f"{side}_sha256"],
                "thresholds": json.loads(battle[f"{side}_thresholds"]),
            }
        window = self._pool.windows.get(battle["window"])
        if window is not None:
            told |= {
                "trace": str(window.trace),
                "start": datetime.fromtimestamp(window.start / NS, UTC).isoformat(),
                "arrivals": [
                    {"phase": mark["phase"], "time": round((mark["ns"] - window.start) / NS, 4)}
                    for mark in self._pool.arrivals_near(window)
                ],
            }
        return told

    def progress(self, annotator: str) -> Json:
        """Votes that stand, of this annotator and of all, and how far people agree."""
        judged = self._votes.judged()
        own = pc.sum(pc.equal(judged["annotator"], annotator)).as_py() or 0
        alpha = alpha_of(Answers.of_people(judged))
        return {
            "mine": own,
            "all": judged.num_rows,
            "annotators": len(set(judged["annotator"].to_pylist())),
            "possible": self._pool.disagreements.num_rows,
            "repeats": judged.num_rows - judged["repeat_of"].null_count,
            "alpha": None if math.isnan(alpha) else round(alpha, 3),
        }

    def _draw(self, annotator: str) -> Draw | None:
        battles = self._votes.battles()
        pool = self._pool
        lost = pa.array(sorted(self._unreadable), pa.string())
        here = pc.is_in(battles["window"], pa.array(list(pool.windows), pa.string()))
        return draw(
            pool.table(),
            pool.disagreements.filter(pc.invert(pc.is_in(pool.disagreements["window"], lost))),
            battles.filter(pc.and_(here, pc.invert(pc.is_in(battles["window"], lost)))),
            self._votes.judged(),
            annotator,
            np.random.default_rng([self._seed, battles.num_rows]),
        )

    def _row(self, drawn: Draw, annotator: str) -> Json:
        row: Json = {
            "annotator": annotator,
            "window": drawn.window,
            "stratum": drawn.stratum,
            "probability": drawn.probability,
            "repeat_of": drawn.repeat_of,
            "version": version("tidepick"),
        }
        for side, name in (("left", drawn.left), ("right", drawn.right)):
            record = self._records[name]
            row[side] = name
            row[f"{side}_sha256"] = record.weights_sha256
            row[f"{side}_thresholds"] = json.dumps(dict(record.thresholds), sort_keys=True)
        return row

    def _shown(self, battle: Mapping[str, Any]) -> Json | None:
        """A battle as it may be seen before the vote; None where its window cannot be read."""
        window = self._pool.windows.get(battle["window"])
        if window is None or window.name in self._unreadable:
            return None
        sides = {side: battle[side] for side in SIDES}
        if lacking := set(sides.values()) - self._records.keys():
            log.warning("battle %s: no weights of %s here", battle["battle"], sorted(lacking))
            return None
        try:
            view = self._view(window, sides)
        except UNREADABLE as error:
            log.warning("window %s %s: left out, %s", window.trace, window.start, error)
            self._unreadable.add(window.name)
            return None
        return {
            "battle": battle["battle"],
            "view": view,
            "progress": self.progress(battle["annotator"]),
        }

    def _view(self, window: Window, sides: Mapping[str, str]) -> Json:
        margin = MARGIN_S * NS
        names = sorted(sides.values())
        snippets = self._desk.snippets(
            window.run, window.trace, window.start - margin, window.end + margin, names
        )
        if not any(np.isfinite(each.waveform).any() for each in snippets):
            raise MissingObject("the archive has no sample there any more")
        picks = {name: self._pool.picks_near(window, name) for name in names}
        return drawing(snippets, sides, picks, window.start) | {"seconds": WINDOW_S}


def _open(battles: pa.Table, votes: pa.Table, annotator: str) -> Iterator[Json]:
    """Battles of an annotator without an answer that stands, and not stale; the newest first."""
    rows = votes.to_pylist()
    undone = {row["undoes"] for row in rows}
    closed = {
        row["battle"]
        for row in rows
        if row["answer"] in (*ANSWERS, SKIP) and row["vote"] not in undone
    }
    now = datetime.now(UTC)
    own = battles.filter(pc.field("annotator") == annotator).to_pylist()
    for row in reversed(own):
        if row["battle"] not in closed and now - row["issued"] < LIFETIME:
            yield row
