"""No vote is lost, none is counted twice, and none goes to somebody else's battle."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from catalog.battles import ANSWERS, BATTLE_SCHEMA, JUDGED_SCHEMA, VOTE_SCHEMA
from catalog.votes import VoteError, Votes, read_export
from eval.arena.answers import Answers
from eval.arena.ratings import rate

PAIRS = (("a", "b"), ("b", "c"), ("c", "a"))


def battle_of(annotator, k=0, **more):
    left, right = PAIRS[k % 3]
    return {
        **{"annotator": annotator, "window": f"w{k % 7}", "stratum": 'near, "SE" | UW'},
        **{"left": left, "right": right, "left_sha256": "1f", "right_sha256": "2e"},
        **{"left_thresholds": '{"P": 0.3}', "right_thresholds": "{}", "probability": 1 / 3},
        **{"repeat_of": None, "version": "0.1.0"},
    } | more


def new_id():
    return str(uuid.uuid4())


@pytest.fixture
def votes(tmp_path):
    return Votes(tmp_path / "votes.sqlite")


def test_a_vote_stands_until_it_is_taken_back_and_nothing_is_ever_changed(votes):
    battle = votes.issue(battle_of("ann"))
    first = new_id()
    votes.cast(first, battle, "ann", "left", latency_ms=1_200)
    [stands] = votes.judged().to_pylist()
    assert (stands["vote"], stands["answer"], stands["left"]) == (first, "left", "a")
    assert votes.undo(new_id(), first, "ann") == battle
    assert votes.judged().num_rows == 0
    votes.cast(new_id(), battle, "ann", "tie")
    assert votes.judged()["answer"].to_pylist() == ["tie"]
    assert votes.log()["answer"].to_pylist() == ["left", "undo", "tie"]
    assert votes.log().schema == VOTE_SCHEMA and votes.battles().schema == BATTLE_SCHEMA
    for statement in ("UPDATE votes SET answer = 'right'", "DELETE FROM battles"):
        with sqlite3.connect(votes.path) as connection, pytest.raises(sqlite3.DatabaseError):
            connection.execute(statement)


def test_a_vote_sent_again_counts_once(votes):
    battle, vote, undo = votes.issue(battle_of("ann")), new_id(), new_id()
    for _ in range(3):
        votes.cast(vote, battle, "ann", "left")
    assert votes.judged().num_rows == 1
    for _ in range(3):
        votes.undo(undo, vote, "ann")
    assert votes.log().num_rows == 2
    votes.cast(vote, battle, "ann", "left")  # a late copy of what was taken back
    assert votes.judged().num_rows == 0


def test_check_3_self_battles_and_stale_or_duplicate_ids_are_rejected(votes, monkeypatch):
    with pytest.raises(VoteError, match="'a' against itself"):
        votes.issue(battle_of("ann", right="a"))
    battle, vote = votes.issue(battle_of("ann")), new_id()
    with pytest.raises(VoteError, match="none of that id"):
        votes.cast(vote, new_id(), "ann", "left")
    with pytest.raises(VoteError, match="not issued to 'bob'"):
        votes.cast(vote, battle, "bob", "left")
    with pytest.raises(VoteError, match="answer 'A'"):
        votes.cast(vote, battle, "ann", "A")
    votes.cast(vote, battle, "ann", "left")
    with pytest.raises(VoteError, match=f"answered by vote {vote}"):
        votes.cast(new_id(), battle, "ann", "right")
    with pytest.raises(VoteError, match="belongs to another vote"):
        votes.cast(vote, battle, "ann", "right")
    with pytest.raises(VoteError, match="no vote of annotator 'bob'"):
        votes.undo(new_id(), vote, "bob")
    votes.undo(new_id(), vote, "ann")
    with pytest.raises(VoteError, match="taken back already"):
        votes.undo(new_id(), vote, "ann")
    yesterday = datetime.now(UTC) - timedelta(hours=25)
    stale = votes.issue(battle_of("ann", issued=yesterday))
    with pytest.raises(VoteError, match="stale"):
        votes.cast(new_id(), stale, "ann", "left")
    assert votes.judged().num_rows == 0


def test_a_battle_without_a_column_is_refused(votes):
    battle = battle_of("ann")
    del battle["window"]
    with pytest.raises(VoteError, match=r"columns \['window'\] lack"):
        votes.issue(battle)
    with pytest.raises(VoteError, match=r"\['window'\] must have a value"):
        votes.issue(battle | {"window": None})


def session(path, annotator, count):
    """One voter: (vote, battle, answer) of all that were acknowledged; some sent twice."""
    votes = Votes(path)
    done = []
    for k in range(count):
        battle, vote = votes.issue(battle_of(annotator, k)), new_id()
        answer = ANSWERS[hash((annotator, k)) % 4]
        for _ in range(1 + k % 2):
            votes.cast(vote, battle, annotator, answer)
        done.append((vote, battle, answer))
    return annotator, done


def test_check_7_fifty_concurrent_voters_lose_and_mix_up_nothing(votes):
    with ThreadPoolExecutor(50) as pool:
        sessions = list(pool.map(lambda k: session(votes.path, f"ann{k}", 6), range(50)))
    stands = {row["vote"]: row for row in votes.judged().to_pylist()}
    assert len(stands) == 300
    for annotator, done in sessions:
        for vote, battle, answer in done:
            row = stands[vote]
            assert (row["annotator"], row["battle"], row["answer"]) == (annotator, battle, answer)


VOTER = """
import sys, uuid
from pathlib import Path
from catalog.votes import Votes
from tests.catalog.test_votes import battle_of
votes, annotator = Votes(Path(sys.argv[1])), sys.argv[2]
for k in range(100_000):
    battle, vote = votes.issue(battle_of(annotator, k)), str(uuid.uuid4())
    votes.cast(vote, battle, annotator, "left")
    print(vote, battle, flush=True)
"""


def test_check_7_kill_9_loses_no_acknowledged_vote(votes, tmp_path):
    outputs = [tmp_path / f"{k}.out" for k in range(3)]
    root = str(Path(__file__).parents[2])
    voters = []
    for k, path in enumerate(outputs):
        with path.open("w") as out:
            command = [sys.executable, "-c", VOTER, str(votes.path), f"ann{k}"]
            voters.append(subprocess.Popen(command, stdout=out, cwd=root))
    deadline = time.monotonic() + 60
    while any(path.read_text().count("\n") < 20 for path in outputs):
        assert time.monotonic() < deadline and all(v.poll() is None for v in voters)
        time.sleep(0.02)
    for voter in voters:
        os.kill(voter.pid, signal.SIGKILL)
        voter.wait()
    stands = {row["vote"]: row for row in votes.judged().to_pylist()}
    for k, path in enumerate(outputs):
        lines = path.read_text().rpartition("\n")[0].splitlines()  # the last may be cut
        acknowledged = [line.split() for line in lines]
        assert len(acknowledged) >= 20
        for vote, battle in acknowledged:
            assert (stands[vote]["battle"], stands[vote]["annotator"]) == (battle, f"ann{k}")
    votes.cast(new_id(), votes.issue(battle_of("after")), "after", "tie")  # and it goes on


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_check_14_an_export_restored_gives_identical_ratings(votes, tmp_path, ending):
    for k in range(40):
        annotator = f'Zoë, "{k % 3}"\n'
        battle, vote = votes.issue(battle_of(annotator, k)), new_id()
        votes.cast(vote, battle, annotator, ANSWERS[(k * k) % 4])
        if k % 5 == 0:
            votes.undo(new_id(), vote, annotator)
            votes.cast(new_id(), battle, annotator, ANSWERS[k % 2])
    votes.export(tmp_path / "export")
    restored = Votes(tmp_path / "restored.sqlite")
    restored.restore(*read_export(tmp_path / "export", ending))
    assert restored.log().equals(votes.log()) and restored.battles().equals(votes.battles())
    assert restored.judged().equals(votes.judged())
    assert votes.judged().schema == JUDGED_SCHEMA
    before, after = (rate(Answers.of_people(each.judged())) for each in (votes, restored))
    assert before.status == "rated"
    assert before.ratings.tolist() == after.ratings.tolist()
    assert before.covariance.tolist() == after.covariance.tolist()
    with pytest.raises(VoteError, match="holds battles"):
        restored.restore(votes.battles(), votes.log())


def test_a_restore_is_whole_or_nothing(votes, tmp_path):
    votes.cast(new_id(), votes.issue(battle_of("ann")), "ann", "left")
    twice = pa.concat_tables([votes.log(), votes.log()])
    fresh = Votes(tmp_path / "fresh.sqlite")
    with pytest.raises(sqlite3.IntegrityError):
        fresh.restore(votes.battles(), twice)
    assert fresh.battles().num_rows == 0
