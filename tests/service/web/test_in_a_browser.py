"""A seismologist's browser: votes by keyboard arrive, and no name is seen before them."""

import asyncio
import json
from collections import Counter

import pytest

from tests.service.web.browser import browsing, chromium
from tests.service.web.conftest import NAMES
from tests.service.web.test_arena import secrets_of

BROWSER = chromium()
pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="no Chromium here: apt-get install chromium"
)


def in_a_browser(profile, scene, **window):
    assert BROWSER is not None

    async def play():
        async with browsing(BROWSER, profile, **window) as page:
            return await scene(page)

    return asyncio.run(play())


async def begin(page, server, name="ann"):
    await page.open(server.url + "arena")
    await page.until("document.activeElement.id === 'annotator'")
    await page.type(name)
    await page.press("Enter")
    await page.until("!document.getElementById('stage').hidden")


async def shown(page):
    """Wait until a window stands there to be judged."""
    await page.until("!document.querySelector('#ballot button').disabled")


async def message(page, beginning):
    await page.until(f"document.getElementById('message').textContent.startsWith({beginning!r})")


def test_votes_by_keyboard_arrive_and_names_come_after_them(serve, picked, tmp_path):
    server = serve()

    async def scene(page):
        await begin(page, server)
        assert await page.evaluate(INK) > 1000  # something is drawn on both sides
        await page.press("ArrowLeft")
        await message(page, "Left is better")
        before = await page.heard()
        seen = await page.evaluate("document.documentElement.outerHTML")
        await page.press("Enter")  # who was it?
        await page.until("!document.getElementById('told').hidden")
        told = await page.evaluate("document.getElementById('told').innerText")
        heard = await page.heard()
        await page.press("u")  # too late, and refused without a word to the server
        await page.press("n")
        for key, said in (("ArrowRight", "Right is better"), ("t", "A tie"), ("b", "Both are")):
            await shown(page)
            await page.press(key)
            await message(page, said)
            if key != "b":
                await page.press("n")
        await page.press("u")
        await shown(page)
        await page.press("t")
        await message(page, "A tie")
        await page.press("n")
        await shown(page)
        await page.press("s")
        await page.until("document.getElementById('progress').textContent.includes('ann: 4')")
        await shown(page)
        return before, seen, told, heard, page.problems

    before, seen, told, heard, problems = in_a_browser(tmp_path / "profile", scene)
    assert problems == []
    assert "webSocket" not in before  # there is none; were there one, its frames are in `wire`
    assert '"view"' in before and "Which picks" in before  # bodies are there, and were searched
    for secret in set(secrets_of(picked)) - SCRIPT_WORDS:
        assert secret.lower() not in before.lower(), secret
        assert secret.lower() not in seen.lower(), secret
    assert sum(name in told for name in NAMES) >= 2
    assert any(name in heard for name in NAMES)
    judged = server.log().judged().to_pylist()
    assert [row["answer"] for row in judged] == ["left", "right", "tie", "tie"]
    assert Counter(server.log().log()["answer"].to_pylist()) == Counter(
        ["left", "reveal", "right", "tie", "both_bad", "undo", "tie", "skip"]
    )
    assert all(row["annotator"] == "ann" and row["latency_ms"] > 0 for row in judged)
    sides = server.log().battles().to_pylist()[0]
    assert told.index(sides["left"]) < told.rindex(sides["right"])


SCRIPT_WORDS = {"threshold", "stratum"}
"""Fields that the script names, for what comes after the vote."""

INK = """
Math.min(...['left', 'right'].map((side) => {
  const canvas = document.querySelector(`#${side} canvas`);
  const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  let dots = 0;
  for (let i = 3; i < data.length; i += 4) dots += data[i] > 100;
  return dots;
}))"""

HASHES = """
['left', 'right'].map((side) => document.querySelector(`#${side} canvas`).toDataURL())"""


def test_both_sides_zoom_pan_and_filter_as_one(serve, tmp_path):
    server = serve()

    async def scene(page):
        await begin(page, server)
        pictures = [await page.evaluate(HASHES)]
        for key in ("+", ".", "f", "ArrowUp"):
            await page.press(key)
            await page.evaluate("new Promise((done) => setTimeout(done, 100))")
            pictures.append(await page.evaluate(HASHES))
        await page.evaluate("document.getElementById('reset').click()")
        filtered = await page.evaluate("document.getElementById('filter-name').textContent")
        buttons = await page.evaluate(
            "JSON.stringify([...document.querySelectorAll('button')]"
            ".map((b) => b.getAttribute('aria-label') || b.innerText.trim()))"
        )
        return pictures, filtered, json.loads(buttons), page.problems

    pictures, filtered, buttons, problems = in_a_browser(tmp_path / "profile", scene, dark=True)
    assert problems == [] and all(buttons)
    assert filtered == "Filter: 1\u201320 Hz"
    for k in (0, 1):
        assert len({picture[k] for picture in pictures}) == len(pictures)


@pytest.mark.parametrize(
    ("path", "expected"),
    [("", "HERON"), ("board", "Nobody"), ("day?trace=QX.HERON..HH&day=2024-03-01", "UTC")],
)
def test_the_other_pages_are_drawn(shared, tmp_path, path, expected):
    async def scene(page):
        await page.open(shared.url + path)
        await page.until(f"document.body.innerText.includes({expected!r})")
        wide = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
        return wide, page.problems

    wide, problems = in_a_browser(tmp_path / "profile", scene, width=390)
    assert problems == []
    assert wide <= 0  # nothing sticks out on a telephone
