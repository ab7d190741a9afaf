"""The arena over an evaluation: labelled traces, the rule beside people, and battles afterwards."""

import asyncio
import json
import re
import subprocess
import sys
import uuid
from base64 import b64decode
from typing import Any

import numpy as np
import pytest

from eval.arena.windows import Stretch, stretch_of
from service.cli import main
from service.evaluate.config import load_evaluation
from service.evaluate.report import write_page
from service.evaluate.tables import kept
from tests.service.web.browser import browsing, chromium
from tests.service.web.conftest import LABEL, NAMES, ROOT, THRESHOLDS, TRACES
from tests.service.web.test_arena import Voter, secrets_of, voting

SECRETS = ["shoreline", "bittern"]
"""What would tell a trace, beside `secrets_of`."""


async def judged(voter, count, told=False):
    """Votes on so many battles: (battle, vote, what is told, or None)."""
    found = []
    for turn in range(count):
        battle = await voter.post("next")
        vote = await voter.vote(battle["battle"], ("left", "right", "tie")[turn % 3])
        found.append((battle, vote, await voter.post("reveal", vote=vote) if told else None))
    return found


def test_labelled_traces_are_judged_blind_where_the_oracle_saw_them(
    serve, picked, evaluation, examined
):
    server = serve("--evaluation", str(evaluation))

    async def scene(voter):
        for path in ("arena", "static/tidepick.css"):
            assert (await voter.get(path))[0] == 200
        found, heard = [], []
        for _ in range(40):
            battle = await voter.post("next")
            heard.append(voter.heard[-1])
            vote = await voter.vote(battle["battle"], "tie")
            heard.append(voter.heard[-1])
            found.append((battle, await voter.post("reveal", vote=vote)))
            if sum("trace_name" in told for _, told in found) >= 4 and "trace" in told_keys(found):
                break
        return found, "\n".join([*voter.heard[:2], *heard])

    found, before = voting(server, scene)
    for secret in [*secrets_of(picked), *SECRETS]:
        assert secret.lower() not in before.lower(), secret
    traces = [(battle["view"], told) for battle, told in found if "trace_name" in told]
    days = [battle["view"] for battle, told in found if "trace" in told]
    assert len(traces) >= 4 and days
    assert traces[0][0].keys() == days[0].keys()
    rows = {row["battle"]: row for row in server.log().battles().to_pylist()}
    for battle, told in found:
        row = rows[battle["battle"]]
        for side in ("left", "right"):
            assert json.loads(row[f"{side}_thresholds"]) == THRESHOLDS[row[side]]
            assert told[side]["thresholds"] == THRESHOLDS[row[side]]
        if "trace_name" in told:
            assert row["window"] == f"shoreline//{told['trace_name']}"
            assert row["stratum"].endswith(" | QX")
        else:
            stretch = stretch_of(row["window"])
            assert stretch is not None and str(stretch.trace) == told["trace"]
    with np.load(picked / "shoreline.npz") as arrays:
        samples = dict(zip(arrays["name"].tolist(), arrays["data"], strict=True))
    oracle = {(r["weight"], r["trace_name"]): r for r in examined.to_pylist()}
    places = set()
    for view, told in traces:
        [p] = [mark["time"] for mark in told["arrivals"] if mark["phase"] == "P"]
        places.add(p)
        at = round(p * view["rate"])
        shown = np.frombuffer(b64decode(view["components"][0]["samples"]), "<f4")
        whole = samples[told["trace_name"]][LABEL - at : LABEL - at + len(shown), 0]
        np.testing.assert_allclose(shown, whole - whole.mean(), atol=1.0)
        for side in ("left", "right"):
            curve = np.frombuffer(b64decode(view["sides"][side]["curves"]["P"]), np.uint8)
            high = curve[max(at - 400, 0) : at + 500].max() / 250
            assert high == pytest.approx(
                oracle[told[side]["name"], told["trace_name"]]["p_prob"], abs=0.003
            )
            picks = view["sides"][side]["picks"]
            lowest = THRESHOLDS[told[side]["name"]]
            assert all(pick["probability"] >= lowest[pick["phase"]] - 0.005 for pick in picks)
    assert len(places) == len(traces)  # the label stands somewhere else in each


def table(out, name):
    found = kept(out, name)
    assert found is not None, name
    return found


def told_keys(found):
    return {key for _, told in found for key in told}


def test_people_and_the_rule_agree_over_what_both_judged(serve, evaluation, tmp_path, capsys):
    server = serve("--evaluation", str(evaluation))

    async def scene(voter):
        await judged(voter, 12)
        return json.loads((await voter.get("api/board"))[1])

    assert voting(server, scene)["agreement"] is None  # the rule has not been asked
    elsewhere = voted_elsewhere(server.log())
    assert main(["arena", "battle", str(evaluation), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert {row["judge"] for row in facts["voted_board"]} == {"people"}
    for name in ("ruled_board", "day_ruled_board"):
        assert {row["judge"][:5] for row in facts[name]} == {"auto:"}
    out = tmp_path / "out"
    asked = table(out, "voted_rulings")["window"].to_pylist()
    assert elsewhere in asked
    assert elsewhere not in table(out, "day_rulings")["window"].to_pylist()
    every, _ = facts["arena_agreement"]
    assert every["votes"] == facts["votes"] == 13  # traces and days: all that people judged
    assert "votes at other thresholds than the rule's" not in facts
    votes = str(server.votes)
    assert main(["arena", "rate", votes, "--evaluation", str(evaluation), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["agreement"] == facts["arena_agreement"]
    board = voting(server, lambda voter: voter.get("api/board"))
    assert json.loads(board[1])["agreement"] == facts["arena_agreement"]
    assert main(["arena", "rate", votes, "--evaluation", str(evaluation)]) == 0
    assert "of 13 votes" in capsys.readouterr().out


def voted_elsewhere(votes):
    """A vote on a window of the days that nobody proposes."""
    start = 1_709_251_200 * 10**9 + 1_234_560_000_000
    name = Stretch(TRACES[0], start, start + 60 * 10**9).name
    row: dict[str, Any] = {
        **{"annotator": "bob", "window": name, "stratum": "", "repeat_of": None},
        **{"left": "gannet", "right": "fulmar", "probability": 0.5, "version": "0"},
    }
    for side in ("left", "right"):
        row |= {f"{side}_sha256": "", f"{side}_thresholds": json.dumps(THRESHOLDS[row[side]])}
    votes.cast(str(uuid.uuid4()), votes.issue(row), "bob", "left")
    return name


def test_a_battle_has_a_page_for_who_voted_on_it_and_none_before(serve, evaluation, tmp_path):
    server = serve("--evaluation", str(evaluation))
    assert main(["arena", "battle", str(evaluation), "--json"]) == 0

    async def scene(voter):
        other = Voter(voter.http, voter.url, "bob")
        first = await voter.post("next")
        await voter.post("battle", 409, battle=first["battle"])
        vote = await voter.vote(first["battle"], "left")
        ahead = await voter.post("next")  # as the page asks before anybody is told
        closed = await other.post("battle", 409, battle=first["battle"])
        nobody = await other.post("battle", 409, battle=str(uuid.uuid4()))
        page = await voter.get(f"arena/battle/{first['battle']}")
        assert page[0] == 200 and not any(name in page[1] for name in NAMES)
        seen = await voter.post("battle", battle=first["battle"])
        await voter.post("undo", 409, vote=str(uuid.uuid4()), undoes=vote)  # it was told
        drawn = [ahead["battle"]]
        for _ in range(8):
            await voter.vote(drawn[-1], "skip")
            drawn.append((await voter.post("next"))["battle"])
        return first, seen, [closed, nobody], drawn

    first, seen, refused, drawn = voting(server, scene)
    rows = {row["battle"]: row for row in server.log().battles().to_pylist()}
    row = rows[first["battle"]]
    assert seen["answer"] == "left" and seen["view"] == first["view"]
    assert (seen["told"]["left"]["name"], seen["told"]["right"]["name"]) == (
        row["left"],
        row["right"],
    )
    assert [vote["said"] for vote in seen["votes"]] == [row["left"]]
    assert seen["rulings"][0]["rule"].startswith("auto:")
    assert not any(name in json.dumps(refused) for name in NAMES)
    assert row["window"] not in {rows[battle]["window"] for battle in drawn}


def test_the_report_links_battles_that_the_server_shows(serve, evaluation, tmp_path):
    server = serve("--evaluation", str(evaluation))
    voting(server, lambda voter: judged(voter, 3))
    assert main(["arena", "battle", str(evaluation), "--json"]) == 0
    page = write_page(load_evaluation(evaluation), evaluation).read_text()
    links = re.findall(r'href="http://127\.0\.0\.1:1/arena/battle/([^"]+)"', page)
    rules = [link for link in links if link.startswith("rule-")]
    voted = set(links) - set(rules)
    assert voted == {row["battle"] for row in server.log().judged().to_pylist()}
    assert len(rules) >= 20

    async def scene(voter):
        waiting = (await voter.post("next"))["battle"]
        shown: list[Any] = []
        refused: list[Any] = []
        async with asyncio.timeout(60):
            for link in [*rules, *voted]:
                async with voter.http.post(
                    f"{voter.url}api/arena/battle", json={"battle": link, "annotator": "ann"}
                ) as reply:
                    (shown if reply.status == 200 else refused).append((link, await reply.json()))
        return waiting, shown, refused

    waiting, shown, refused = voting(server, scene)
    issued = {row["battle"]: row["window"] for row in server.log().battles().to_pylist()}
    for link, told in shown:
        assert {told["told"][side]["name"] for side in ("left", "right")} < set(NAMES)
        assert told["rulings"] and told["told"]["arrivals"] is not None, link
    assert len(refused) <= 2  # the window that is being judged
    assert all("judging" in told["error"] or "waits" in told["error"] for _, told in refused)
    assert issued[waiting] not in {issued.get(link) for link, _ in shown}


def test_other_weights_under_a_name_of_the_catalogue_are_refused(picked, evaluation, tmp_path):
    text = evaluation.read_text()
    evaluation.write_text(text.replace('"builtin:synthetic_early"\n[', '"builtin:synthetic"\n['))
    command = [sys.executable, "-m", "service.cli", "serve", str(picked / "catalog"), "--port=0"]
    ended = subprocess.run(
        [*command, "--evaluation", str(evaluation), "--votes", str(tmp_path / "votes.sqlite")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 2 and "'kittiwake': other weights" in ended.stderr


@pytest.mark.skipif(chromium() is None, reason="no Chromium here: apt-get install chromium")
def test_a_browser_judges_a_trace_and_opens_its_battle(serve, picked, evaluation, tmp_path):
    server = serve("--evaluation", str(evaluation))
    browser = chromium()
    assert browser is not None

    async def scene():
        async with browsing(browser, tmp_path / "profile") as page:
            await page.open(server.url + "arena")
            await page.until("document.activeElement.id === 'annotator'")
            await page.type("ann")
            await page.press("Enter")
            before = told = ""
            for _ in range(40):
                await page.until(
                    "!document.querySelector('#ballot button').disabled"
                    " && !document.getElementById('stage').hidden"
                    " && document.getElementById('told').hidden"
                )
                await page.press("ArrowRight")
                await page.until("!document.getElementById('reveal').disabled")
                before = await page.heard() + await page.evaluate(
                    "document.documentElement.outerHTML"
                )
                page.wire.clear()
                await page.press("Enter")
                await page.until("!document.getElementById('told').hidden")
                told = await page.evaluate("document.getElementById('told').innerText")
                if "BITTERN" in told:
                    break
                page.wire.clear()
                await page.press("n")
            link = "document.querySelector('#told a[href^=\"/arena/battle/\"]')"
            await page.evaluate(f"{link}.click()")
            await page.until("document.getElementById('judges')?.innerText.includes('ann')")
            after = await page.evaluate("document.body.innerText")
            return before, told, after, page.problems

    before, told, after, problems = asyncio.run(scene())
    assert problems == []
    for secret in [*secrets_of(picked), *SECRETS]:
        if secret not in ("threshold", "stratum"):  # words of the script
            assert secret.lower() not in before.lower(), secret
    assert "BITTERN" in told and "Reference" in told
    assert sum(name in after for name in NAMES) >= 2 and "You said: right is better" in after
