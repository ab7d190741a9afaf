"""Whoever was told of a window judges no other pair on it, and is told of none that waits."""

import uuid
from collections.abc import Mapping
from itertools import pairwise

import pyarrow as pa
import pytest

from catalog.battles import REVEAL, RULED_SCHEMA
from catalog.errors import Refusal
from catalog.votes import Votes
from eval.arena.battles import DISAGREEMENT_SCHEMA, ruling_id
from service.web.arena import Arena
from service.web.contenders import Contender

NAMES = ("a", "b", "c")


class Plain:
    """A ground of windows without waveforms."""

    what = "nothing"

    def __init__(self, *windows):
        self.windows: Mapping[str, str] = dict.fromkeys(windows, "all")
        pairs = [(left, right) for left in NAMES for right in NAMES if left < right]
        rows = [
            {"window": window, "left": left, "right": right, "score": 0.5}
            for window in windows
            for left, right in pairs
        ]
        self.disagreements = pa.Table.from_pylist(rows, DISAGREEMENT_SCHEMA)

    def holds(self, window):
        return window in self.windows

    def view(self, window, sides):
        return {"sides": list(sides)}

    def told(self, window):
        return {"arrivals": []}


def ruled(*windows):
    """The rule's battle of a against b on each window."""
    row = {"rule": "auto:plain", "stratum": "all", "left": "a", "right": "b", "answer": "left"}
    return pa.Table.from_pylist([row | {"window": each} for each in windows], RULED_SCHEMA)


def arena_of(path, *windows, seed=0, names=NAMES, ruled_on=()):
    votes = Votes(path / "votes.sqlite")
    contenders = {name: Contender(name, name, {"P": 0.3, "S": 0.3}) for name in names}
    return votes, Arena([Plain(*windows)], votes, contenders, seed, lambda: ruled(*ruled_on))


def judge(arena, votes):
    """(vote, window), or None where nothing is left."""
    battle = arena.next("ann")["battle"]
    if battle is None:
        return None
    vote = str(uuid.uuid4())
    arena.vote(vote, battle, "ann", "left", 1)
    rows = {row["battle"]: row["window"] for row in votes.battles().to_pylist()}
    return vote, rows[battle]


def test_a_window_that_was_told_is_not_drawn_again(tmp_path):
    votes, arena = arena_of(tmp_path, "one", "two", "three")
    seen = []
    while (judged := judge(arena, votes)) is not None:
        arena.reveal(judged[0], "ann")
        seen.append(judged[1])
    assert sorted(seen) == ["one", "three", "two"]


@pytest.mark.parametrize("seed", range(4))
def test_the_window_that_was_just_judged_comes_later_and_is_not_lost(tmp_path, seed):
    votes, arena = arena_of(tmp_path, "one", "two", seed=seed)
    seen = []
    while (judged := judge(arena, votes)) is not None:
        seen.append(judged[1])
    assert sorted(seen) == ["one"] * 3 + ["two"] * 3
    assert all(first != second for first, second in pairwise(seen))


def test_nothing_is_told_of_a_window_that_waits(tmp_path):
    votes, arena = arena_of(tmp_path, "one")
    judged = judge(arena, votes)
    assert judged is not None
    waiting = arena.next("ann")["battle"]
    voted = votes.judged()["battle"][0].as_py()
    for ask in (lambda: arena.reveal(judged[0], "ann"), lambda: arena.look(voted, "ann")):
        with pytest.raises(Refusal, match="waits for you"):
            ask()
    arena.vote(str(uuid.uuid4()), waiting, "ann", "skip", 1)
    assert arena.look(voted, "ann")["told"]["left"]["name"] in NAMES
    assert arena.next("ann")["battle"] is None


def test_who_saw_a_battle_of_the_rule_never_judges_its_window(tmp_path):
    votes, arena = arena_of(tmp_path, "one", "two", ruled_on=("one",))
    link = ruling_id(ruled("one").to_pylist()[0])
    with pytest.raises(Refusal, match="who you are"):
        arena.look(link, None)
    for _ in range(2):
        assert arena.look(link, "ann")["told"]["left"]["name"] == "a"
    assert votes.log().num_rows == 1
    _, arena = arena_of(tmp_path, "one", "two")  # as after a restart, and another run of the rule
    drawn = []
    while (judged := judge(arena, votes)) is not None:
        drawn.append(judged[1])
    assert drawn == ["two"] * 3
    assert arena.next("bob")["battle"] is not None


def test_a_vote_stands_once_the_rule_has_told_its_window(tmp_path):
    votes, arena = arena_of(tmp_path, "one", ruled_on=("one",))
    judged = judge(arena, votes)
    assert judged is not None
    arena.look(ruling_id(ruled("one").to_pylist()[0]), "ann")
    with pytest.raises(Refusal, match="have been shown"):
        arena.undo(str(uuid.uuid4()), judged[0], "ann")


def test_nobody_is_told_of_a_battle_that_cannot_be_shown(tmp_path):
    votes, arena = arena_of(tmp_path, "one", ruled_on=("one",))
    judge(arena, votes)
    battle = votes.judged().to_pylist()[0]
    _, restarted = arena_of(tmp_path, "one", names=[battle["left"]], ruled_on=("one",))
    for link in (battle["battle"], ruling_id(ruled("one").to_pylist()[0])):
        with pytest.raises(Refusal, match="no weights here"):
            restarted.look(link, "ann")
    assert REVEAL not in votes.log()["answer"].to_pylist()
