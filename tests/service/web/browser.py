"""A real Chromium, driven over its DevTools protocol; all that its page receives is kept."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp

PATIENCE_S = 30.0
KEYS = {"ArrowLeft": 37, "ArrowRight": 39, "Enter": 13}


def chromium() -> str | None:
    """The browser's executable, None where none is installed."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for path in map(shutil.which, names) if path), None)


@dataclass
class Page:
    """One tab. wire: everything its requests sent and got: URLs, headers, bodies, frames."""

    socket: aiohttp.ClientWebSocketResponse
    session: str
    wire: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    _numbers: Any = field(default_factory=lambda: count(1))
    _replies: dict[int, asyncio.Future[Any]] = field(default_factory=dict)
    _tasks: set[asyncio.Task[Any]] = field(default_factory=set)
    _bodies: set[asyncio.Task[Any]] = field(default_factory=set)

    async def call(self, method: str, **parameters: Any) -> Any:
        number = next(self._numbers)
        self._replies[number] = asyncio.get_running_loop().create_future()
        message = {"id": number, "method": method, "params": parameters}
        await self.socket.send_json(message | {"sessionId": self.session})
        return await asyncio.wait_for(self._replies[number], PATIENCE_S)

    async def listen(self) -> None:
        async for message in self.socket:
            told = json.loads(message.data)
            if (waiting := self._replies.pop(told.get("id", 0), None)) is not None:
                if not waiting.done():
                    waiting.set_result(told.get("result", told.get("error")))
            elif told.get("sessionId") == self.session:
                self._note(told["method"], told["params"])

    def _note(self, method: str, about: dict[str, Any]) -> None:
        if method.startswith("Network."):
            self.wire.append(json.dumps(about))
        if method == "Network.loadingFinished":
            task = asyncio.create_task(self._body(about["requestId"]))
            self._bodies.add(task)
        if method == "Runtime.exceptionThrown":
            self.problems.append(json.dumps(about))
        if method == "Log.entryAdded" and about["entry"]["level"] == "error":
            self.problems.append(json.dumps(about))

    async def _body(self, request: str) -> None:
        reply = await self.call("Network.getResponseBody", requestId=request)
        text = reply.get("body", "")
        if reply.get("base64Encoded"):
            text = base64.b64decode(text).decode("latin-1")
        self.wire.append(text)

    async def heard(self) -> str:
        """All that came over the wire until now."""
        await asyncio.gather(*self._bodies)
        return "\n".join(self.wire)

    async def evaluate(self, expression: str) -> Any:
        reply = await self._evaluated(expression)
        return reply["result"].get("value")

    async def _evaluated(self, expression: str) -> Any:
        """Without a result where the page is being left for another one."""
        reply = await self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in reply, reply
        return reply

    async def until(self, expression: str) -> None:
        """Wait for it to be true."""
        deadline = time.monotonic() + PATIENCE_S
        while not (await self._evaluated(expression)).get("result", {}).get("value"):
            if time.monotonic() > deadline:
                text = await self.evaluate("document.body.innerText")
                raise AssertionError(f"never: {expression}; the page says {text}; {self.problems}")
            await asyncio.sleep(0.02)

    async def open(self, url: str) -> None:
        await self.call("Page.navigate", url=url)
        await self.until("document.readyState === 'complete'")

    async def press(self, key: str) -> None:
        code = KEYS.get(key, ord(key.upper()[0]))
        more = {"text": key} if len(key) == 1 else {}
        if key == "Enter":
            more = {"text": "\r"}
        for kind in ("keyDown", "keyUp"):
            await self.call(
                "Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **more
            )
            more = {}

    async def type(self, text: str) -> None:
        await self.call("Input.insertText", text=text)

    async def picture(self, path: Path) -> None:
        reply = await self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(reply["data"]))


@asynccontextmanager
async def browsing(
    executable: str, profile: Path, width: int = 1400, height: int = 900, dark: bool = False
) -> AsyncIterator[Page]:
    """A fresh browser with one empty tab."""
    process = await asyncio.create_subprocess_exec(
        executable,
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--remote-debugging-port=0",
        f"--user-data-dir={profile}",
        "about:blank",
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        address = await asyncio.wait_for(_address(process), PATIENCE_S)
        async with (
            aiohttp.ClientSession() as http,
            http.ws_connect(address, max_msg_size=0) as socket,
        ):
            page = Page(socket, "")
            listening = asyncio.create_task(page.listen())
            target = await _first(socket, page)
            page.session = target
            for domain in ("Page", "Network", "Runtime", "Log"):
                await page.call(f"{domain}.enable")
            await page.call(
                "Emulation.setDeviceMetricsOverride",
                width=width,
                height=height,
                deviceScaleFactor=1,
                mobile=False,
            )
            await page.call("Emulation.setScrollbarsHidden", hidden=True)
            scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
            await page.call("Emulation.setEmulatedMedia", features=[scheme])
            yield page
            listening.cancel()
    finally:
        process.terminate()
        await process.wait()


async def _address(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None
    while line := (await process.stderr.readline()).decode():
        if line.startswith("DevTools listening on "):
            return line.split()[-1]
    raise AssertionError("the browser did not start")


async def _first(socket: aiohttp.ClientWebSocketResponse, page: Page) -> str:
    """The session of a new tab."""

    async def call(method: str, **parameters: Any) -> Any:
        number = next(page._numbers)
        page._replies[number] = asyncio.get_running_loop().create_future()
        await socket.send_json({"id": number, "method": method, "params": parameters})
        return await asyncio.wait_for(page._replies[number], PATIENCE_S)

    target = (await call("Target.createTarget", url="about:blank"))["targetId"]
    return str((await call("Target.attachToTarget", targetId=target, flatten=True))["sessionId"])
