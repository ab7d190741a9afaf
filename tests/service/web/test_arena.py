"""The arena over HTTP: every vote counts once, and no name is told before it."""

import asyncio
import json
import subprocess
import sys
import uuid
from collections import Counter

import aiohttp
import pytest

from catalog.query import Catalog
from eval.arena.answers import Answers
from tests.service.web.conftest import NAMES, ROOT, TRACES

VOTERS, EACH = 50, 2


class Voter:
    """Somebody with a browser. heard: everything that the server has sent."""

    def __init__(self, http, url, name):
        self.http, self.url, self.name = http, url, name
        self.heard = []

    async def get(self, path, **headers):
        async with self.http.get(self.url + path, headers=headers, allow_redirects=False) as reply:
            text = await reply.text()
            self.heard.append(f"{reply.raw_headers!r}\n{text}")
            return reply.status, text

    async def post(self, what, status=200, headers=None, **body):
        body = {"annotator": self.name, **body}
        async with self.http.post(
            f"{self.url}api/arena/{what}", json=body, headers=headers
        ) as reply:
            text = await reply.text()
            self.heard.append(f"{reply.raw_headers!r}\n{text}")
            assert reply.status == status, text[:300]
            return json.loads(text)

    async def vote(self, battle, answer, vote=None):
        vote = vote or str(uuid.uuid4())
        await self.post("vote", vote=vote, battle=battle, answer=answer, latency_ms=5)
        return vote


def voting(server, scene, name="ann"):
    """Runs a scene with one voter, or with several."""

    async def play():
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
            if isinstance(name, str):
                return await scene(Voter(http, server.url, name))
            return await scene([Voter(http, server.url, each) for each in name])

    return asyncio.run(play())


def test_fifty_people_at_once_lose_no_vote_and_count_none_twice(serve):
    server = serve()
    sent = {}

    async def one(voter, number):
        for turn in range(EACH):
            battle = (await voter.post("next"))["battle"]
            vote = str(uuid.uuid4())
            answer = ("left", "right", "tie", "both_bad")[(number + turn) % 4]
            # as a browser does that has lost the answer: sent again, here all at the same time
            await asyncio.gather(*(voter.vote(battle, answer, vote) for _ in range(2)))
            sent[vote] = battle, voter.name, answer

    async def scene(voters):
        await asyncio.gather(*(one(voter, k) for k, voter in enumerate(voters)))

    voting(server, scene, [f"person {k}" for k in range(VOTERS)])
    server.kill()
    judged = server.log().judged().to_pylist()
    assert {row["vote"]: (row["battle"], row["annotator"], row["answer"]) for row in judged} == sent
    assert len(judged) == len(sent) == VOTERS * EACH
    assert server.log().log().num_rows == VOTERS * EACH
    issued = server.log().battles().to_pylist()
    first = [row for row in issued if row["repeat_of"] is None]
    shown = Counter((row["window"], frozenset((row["left"], row["right"]))) for row in first)
    assert max(shown.values()) == 1  # nobody was given what another was judging
    assert all(0 < row["probability"] <= 1 for row in issued)
    assert all(row["left_sha256"] != row["right_sha256"] for row in issued)
    sides = Counter(row["left"] for row in issued)
    assert set(sides) == set(NAMES)
    lefts = sum(row["left"] < row["right"] for row in issued)
    assert 0.3 < lefts / len(issued) < 0.7  # sides are shuffled
    Answers.of_people(server.log().judged())


def secrets_of(picked):
    """What would tell a candidate, or where else to look it up."""
    candidates = Catalog(str(picked / "catalog")).sql("FROM candidates").to_pylist()
    hashes = [row["weights_sha256"][:12] for row in candidates]
    stations = [trace.station for trace in TRACES]
    return [*NAMES, *hashes, *stations, "synthetic", "2024-03-01", "threshold", "sha256", "stratum"]


def test_nothing_on_the_wire_tells_a_name_before_the_vote(serve, picked):
    server = serve()

    async def scene(voter):
        for path in ("arena", "static/tidepick.css", "static/icon.svg"):
            assert (await voter.get(path))[0] == 200
        found = await voter.post("next")
        await voter.post("vote", 409, vote=str(uuid.uuid4()), battle=found["battle"], answer="best")
        await voter.post("reveal", 409, vote=str(uuid.uuid4()))
        vote = await voter.vote(found["battle"], "left")
        await voter.post("next")
        before = "\n".join(voter.heard)
        told = await voter.post("reveal", vote=vote)
        return found, before, told, voter.heard[-1]

    found, before, told, after = voting(server, scene)
    for secret in secrets_of(picked):
        assert secret.lower() not in before.lower(), secret
    assert set(found["view"]["sides"]) == {"left", "right"}
    assert {told["left"]["name"], told["right"]["name"]} < set(NAMES)
    assert told["trace"] in map(str, TRACES) and told["arrivals"]
    for secret in (told["left"]["name"], told["left"]["weights"], told["trace"]):
        assert secret in after
    script = (ROOT / "service/web/static/tidepick.js").read_text()
    assert not any(name in script for name in NAMES)


def test_a_vote_is_taken_back_until_the_names_are_known(serve):
    server = serve()

    async def scene(voter):
        first = await voter.post("next")
        assert (await voter.post("next"))["battle"] == first["battle"]  # as after a reload
        wrong = await voter.vote(first["battle"], "left")
        undo = {"vote": str(uuid.uuid4()), "undoes": wrong}
        again = await voter.post("undo", **undo)
        assert again["battle"] == first["battle"] and again["view"] == first["view"]
        await voter.post("undo", **undo)  # sent again: the same
        right = await voter.vote(first["battle"], "right")
        await voter.post("vote", 409, vote=str(uuid.uuid4()), battle=first["battle"], answer="tie")
        other = Voter(voter.http, voter.url, "bob")
        await other.post("undo", 409, vote=str(uuid.uuid4()), undoes=right)
        await other.post("reveal", 409, vote=right)
        await voter.post("reveal", vote=right)
        refused = await voter.post("undo", 409, vote=str(uuid.uuid4()), undoes=right)
        second = await voter.post("next")
        await voter.vote(second["battle"], "skip")
        third = await voter.post("next")
        assert len({first["battle"], second["battle"], third["battle"]}) == 3
        return right, refused, third["progress"]

    right, refused, progress = voting(server, scene)
    assert "shown" in refused["error"]
    assert [row["vote"] for row in server.log().judged().to_pylist()] == [right]
    assert progress["mine"] == progress["all"] == 1
    answers = server.log().log()["answer"].to_pylist()
    assert answers == ["left", "undo", "right", "reveal", "skip"]


def test_windows_that_cannot_be_read_are_told_without_a_name(serve, picked):
    server = serve()
    archive, away = picked / "archive", picked / "away"
    archive.rename(away)
    try:
        refused = voting(server, lambda voter: voter.post("next", 409))
    finally:
        away.rename(archive)
    assert "could not be read" in refused["error"]
    assert not any(secret in refused["error"] for secret in secrets_of(picked))


def test_strangers_are_turned_away(serve, picked, tmp_path):
    server = serve()
    port = server.url.rsplit(":", 1)[1].rstrip("/")

    async def scene(voter):
        assert (await voter.get("arena", Host=f"rebound.example:{port}"))[0] == 403
        assert (await voter.get("arena", Host=f"localhost:{port}"))[0] == 200
        await voter.post("next", 403, headers={"Origin": "http://elsewhere.example"})
        async with voter.http.post(f"{voter.url}api/arena/next", data='{"annotator":"x"}') as form:
            assert form.status == 409  # a form of another site could send no JSON
        assert (await voter.get("static/../server.py"))[0] == 404
        assert "default-src 'self'" in voter.heard[0]

    voting(server, scene)
    assert not server.log().battles().num_rows
    public = subprocess.run(
        [sys.executable, "-m", "service.cli", "serve", str(picked / "catalog"), "--host=0.0.0.0"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert public.returncode == 2 and "--token" in public.stderr


def test_with_a_token_the_site_is_for_those_who_have_it(serve, tmp_path):
    (tmp_path / "token").write_text("a-secret-of-some-length\n")
    server = serve("--token", str(tmp_path / "token"))

    async def scene(voter):
        assert (await voter.get("arena"))[0] == 401
        await voter.post("next", 401)
        assert (await voter.get("arena?token=another-secret-of-it"))[0] == 401
        assert (await voter.get("arena?token=a-secret-of-some-length"))[0] == 303
        assert (await voter.get("arena"))[0] == 200
        assert (await voter.post("next"))["battle"]

    voting(server, scene)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("api/day?trace=QX.HERON..HH&day=2024-03-01", 200),
        ("api/day?trace=QX.HERON'--..HH&day=2024-03-01", 409),
        ("api/day?trace=QX.HERON..HH&day=1999-01-01", 409),
        ("api/stretch?trace=QX.HERON..HH&day=2024-03-01&start=60&seconds=60", 200),
        ("api/stretch?trace=QX.HERON..HH&day=2024-03-01&start=60&seconds=nan", 409),
        ("api/status", 200),
        ("api/days", 200),
        ("api/board", 200),
    ],
)
def test_the_other_pages_answer(shared, path, status):
    async def scene(voter):
        return await voter.get(path)

    found, text = voting(shared, scene)
    assert found == status, text[:300]
    if "stretch" in path and status == 200:
        assert set(json.loads(text)["sides"]) == set(NAMES)
