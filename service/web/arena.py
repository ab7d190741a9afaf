"""The arena without its pages: which battle somebody is shown, and what becomes of the answer.

Before the vote a battle is its id, samples, curves and picks, with sides called left and right. No
name, hash, threshold, stratum, station or time of day leaves it: any of them could tell who stands
where, here or on another page.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from catalog.battles import ANSWERS, REVEAL, SKIP
from catalog.errors import Refusal
from catalog.votes import LIFETIME, Votes
from eval.arena.agreement import alpha_of
from eval.arena.answers import Answers
from eval.arena.battles import ruling_id
from eval.arena.sampling import Draw, draw
from eval.report.blind import SIDES
from service.provenance import version
from service.web.contenders import Contender
from service.web.ground import UNREADABLE, Ground, Json

MOST_UNREADABLE = 10
"""Windows in a row that cannot be read until somebody is told."""

log = logging.getLogger(__name__)


class Unreadable(Refusal):
    """Window after window could not be read from the archive."""


class Arena:
    """Battles over the windows of some grounds. `next`, `undo`, `reveal` and `look` are for one
    thread, the rest for any.

    contenders: by name. rulings: what the rule said, RULED_SCHEMA, as it stands now.
    """

    def __init__(
        self,
        grounds: Sequence[Ground],
        votes: Votes,
        contenders: Mapping[str, Contender],
        seed: int,
        rulings: Callable[[], pa.Table],
    ) -> None:
        self._grounds = grounds
        self._votes = votes
        self._contenders = contenders
        self._seed = seed
        self._rulings = rulings
        strata = {name: stratum for each in grounds for name, stratum in each.windows.items()}
        self._windows = pa.table({"window": list(strata), "stratum": list(strata.values())})
        self._disagreements = pa.concat_tables(each.disagreements for each in grounds)
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
        """Who stood on the sides, where and when it was, and what the reference has there.

        Raises Refusal while the annotator has another battle on that window to judge: it would no
        longer be blind. None is drawn there afterwards.
        """
        [row] = self._votes.log().filter(pc.field("vote") == vote).to_pylist() or [None]
        if row is not None:
            battle = self._battle(row["battle"])
            if battle["window"] in self._open_windows(annotator):
                raise Refusal("another battle on this window waits for you; judge or skip it first")
        return self._told(self._votes.reveal(vote, annotator))

    def look(self, battle: str, annotator: str | None) -> Json:
        """A battle as it may be seen afterwards: view, sides, reference, votes and the rule.

        Of the annotator who voted on it, or one of the rule. It is written down as told. Raises
        Refusal for any other, and while somebody who could see it has its window to judge.
        """
        if annotator is None:
            raise Refusal("say who you are: what you are shown you are not asked about afterwards")
        if battle.startswith("rule-"):
            return self._look_at_ruling(battle, annotator)
        judged = self._votes.judged()
        voted = judged.filter(
            (pc.field("battle") == battle) & (pc.field("annotator") == annotator)
        ).to_pylist()
        if not voted:
            raise Refusal(f"no vote of {annotator!r} stands on this battle; it is shown after one")
        seen = self._seen(voted[0], judged)
        told = self.reveal(voted[0]["vote"], annotator)
        return seen | {"told": told, "answer": voted[0]["answer"]}

    def _look_at_ruling(self, battle: str, annotator: str) -> Json:
        ruling = next((r for r in self._rulings().to_pylist() if ruling_id(r) == battle), None)
        if ruling is None:
            raise Refusal("the rule has no such battle; run `tidepick arena battle` again")
        if ruling["window"] in self._open_windows(None):
            raise Refusal("somebody is judging this window; it is shown once they have")
        seen = self._seen(ruling, self._votes.judged())
        for side in SIDES:
            contender = self._contenders[ruling[side]]
            ruling[f"{side}_sha256"] = contender.weights_sha256
            ruling[f"{side}_thresholds"] = json.dumps(dict(contender.thresholds))
        self._votes.tell(ruling["window"], annotator)
        return seen | {"told": self._told(ruling)}

    def _seen(self, battle: Mapping[str, Any], judged: pa.Table) -> Json:
        """All but what is told, so that nobody is held to be told of what cannot be shown."""
        ground = self._ground(battle["window"])
        if ground is None:
            raise Refusal("the window of this battle is not among those that this server can show")
        pair = {battle[side] for side in SIDES}
        if lacking := pair - self._contenders.keys():
            log.warning("battle on %s: no weights of %s here", battle["window"], sorted(lacking))
            raise Refusal(
                "a side of this battle has no weights here; the server's log names it: start the "
                "server with that candidate"
            )
        votes = [
            {
                "annotator": row["annotator"],
                "said": row.get(row["answer"], row["answer"]),
                "cast": row["cast"].isoformat(timespec="minutes"),
            }
            for row in judged.filter(pc.field("window") == battle["window"]).to_pylist()
            if {row[side] for side in SIDES} == pair
        ]
        same = self._rulings().filter(pc.field("window") == battle["window"]).to_pylist()
        rulings = [
            {
                "rule": row["rule"],
                "said": row.get(row["answer"], row["answer"]),
                "thresholds": row["thresholds"],
                "sides": {
                    row[side]: {
                        "errors": row[f"{side}_errors"],
                        "residual_s": row[f"{side}_residual_s"],
                    }
                    for side in SIDES
                },
            }
            for row in same
            if {row[side] for side in SIDES} == pair
        ]
        sides = {side: battle[side] for side in SIDES}
        view = ground.view(battle["window"], sides)
        return {"view": view, "votes": votes, "rulings": rulings}

    def _told(self, battle: Mapping[str, Any]) -> Json:
        told: Json = {"stratum": battle["stratum"]}
        for side in SIDES:
            told[side] = {
                "name": battle[side],
                "weights": battle[f"{side}_sha256"],
                "thresholds": json.loads(battle[f"{side}_thresholds"]),
            }
        ground = self._ground(battle["window"])
        return told if ground is None else told | ground.told(battle["window"])

    def _ground(self, window: str) -> Ground | None:
        return next((each for each in self._grounds if each.holds(window)), None)

    def _battle(self, battle: str) -> Json:
        [row] = self._votes.battles().filter(pc.field("battle") == battle).to_pylist()
        return dict(row)

    def _open_windows(self, annotator: str | None) -> set[str]:
        """Windows that the annotator, or anybody, has to judge now."""
        battles, votes = self._votes.battles(), self._votes.log()
        people = battles["annotator"].unique().to_pylist() if annotator is None else [annotator]
        return {row["window"] for each in people for row in _open(battles, votes, each)}

    def progress(self, annotator: str) -> Json:
        """Votes that stand, of this annotator and of all, and how far people agree."""
        judged = self._votes.judged()
        own = pc.sum(pc.equal(judged["annotator"], annotator)).as_py() or 0
        alpha = alpha_of(Answers.of_people(judged))
        return {
            "mine": own,
            "all": judged.num_rows,
            "annotators": len(set(judged["annotator"].to_pylist())),
            "possible": self._disagreements.num_rows,
            "repeats": judged.num_rows - judged["repeat_of"].null_count,
            "alpha": None if math.isnan(alpha) else round(alpha, 3),
        }

    def _draw(self, annotator: str) -> Draw | None:
        """Not on a window that this annotator has been told of; one that may be asked about next,
        for it was just judged, only where there is no other."""
        battles, votes = self._votes.battles(), self._votes.log()
        told, last = _known(battles, votes, annotator)
        for lost in (self._unreadable | told | last, self._unreadable | told):
            drawn = draw(
                self._windows,
                self._disagreements.filter(_not_in(self._disagreements, lost)),
                battles.filter(
                    pc.and_(
                        pc.is_in(battles["window"], self._windows["window"]),
                        _not_in(battles, lost),
                    )
                ),
                self._votes.judged(),
                annotator,
                np.random.default_rng([self._seed, battles.num_rows]),
            )
            if drawn is not None:
                return drawn
        return None

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
            contender = self._contenders[name]
            row[side] = name
            row[f"{side}_sha256"] = contender.weights_sha256
            row[f"{side}_thresholds"] = json.dumps(dict(contender.thresholds), sort_keys=True)
        return row

    def _shown(self, battle: Mapping[str, Any]) -> Json | None:
        """A battle as it may be seen before the vote; None where its window cannot be read."""
        window = battle["window"]
        ground = self._ground(window)
        if ground is None or window in self._unreadable:
            return None
        sides = {side: battle[side] for side in SIDES}
        if lacking := set(sides.values()) - self._contenders.keys():
            log.warning("battle %s: no weights of %s here", battle["battle"], sorted(lacking))
            return None
        try:
            view = ground.view(window, sides)
        except UNREADABLE as error:
            log.warning("window %s: left out, %s", window, error)
            self._unreadable.add(window)
            return None
        return {
            "battle": battle["battle"],
            "view": view,
            "progress": self.progress(battle["annotator"]),
        }


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


def _known(battles: pa.Table, votes: pa.Table, annotator: str) -> tuple[set[str], set[str]]:
    """Windows that an annotator has been told of, and the one that they voted on last."""
    window_of = dict(zip(battles["battle"].to_pylist(), battles["window"].to_pylist(), strict=True))
    own = votes.filter(pc.field("annotator") == annotator).to_pylist()
    revealed = [row["battle"] for row in own if row["answer"] == REVEAL]
    told = {window_of.get(name, name) for name in revealed}  # a window by its own name
    last = [window_of[row["battle"]] for row in own if row["answer"] in ANSWERS][-1:]
    return told, set(last)


def _not_in(table: pa.Table, windows: set[str]) -> pa.Array:
    return pc.invert(pc.is_in(table["window"], pa.array(sorted(windows), pa.string())))
