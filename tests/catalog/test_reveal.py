"""Who has been told the names cannot take the vote back, and so vote twice on what is known."""

import uuid

import pytest

from catalog.votes import VoteError, Votes, read_export

BATTLE = {
    "annotator": "ann",
    "window": "w",
    "stratum": "all",
    **{"left": "a", "right": "b", "left_sha256": "1", "right_sha256": "2"},
    **{"left_thresholds": "{}", "right_thresholds": "{}"},
    **{"probability": 0.5, "repeat_of": None, "version": "1"},
}


def test_a_revealed_vote_stands(tmp_path):
    votes = Votes(tmp_path / "votes.sqlite")
    battle, vote = votes.issue(BATTLE), str(uuid.uuid4())
    with pytest.raises(VoteError, match="no vote of annotator"):
        votes.reveal(vote, "ann")
    votes.cast(vote, battle, "ann", "left")
    with pytest.raises(VoteError, match="no vote of annotator 'bob'"):
        votes.reveal(vote, "bob")
    assert [votes.reveal(vote, "ann")[side] for side in ("left", "right")] == ["a", "b"]
    votes.reveal(vote, "ann")
    assert votes.log()["answer"].to_pylist() == ["left", "reveal"]
    with pytest.raises(VoteError, match="shown"):
        votes.undo(str(uuid.uuid4()), vote, "ann")
    with pytest.raises(VoteError, match="answered"):
        votes.cast(str(uuid.uuid4()), battle, "ann", "right")
    assert votes.judged()["answer"].to_pylist() == ["left"]
    votes.export(tmp_path / "export")
    again = Votes(tmp_path / "again.sqlite")
    again.restore(*read_export(tmp_path / "export", "csv"))
    assert again.log().equals(votes.log())


def test_what_was_taken_back_is_not_revealed(tmp_path):
    votes = Votes(tmp_path / "votes.sqlite")
    battle, vote = votes.issue(BATTLE), str(uuid.uuid4())
    votes.cast(vote, battle, "ann", "left")
    votes.undo(str(uuid.uuid4()), vote, "ann")
    with pytest.raises(VoteError, match="taken back"):
        votes.reveal(vote, "ann")
