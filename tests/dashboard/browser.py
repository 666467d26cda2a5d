"""A real browser for tests: headless Chromium, driven over its debugging protocol."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WAIT_S = 60

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: apt-get install -y chromium")


class Page:
    """One tab. `errors` holds what its console complained of."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.errors: list[str] = []
        self._socket = socket
        self._calls = 0
        self._is_loaded = False

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command of the protocol, answered."""
        self._calls += 1
        await self._socket.send_json({"id": self._calls, "method": method, "params": params})
        async with asyncio.timeout(WAIT_S):
            while True:
                message = await self._socket.receive_json()
                if message.get("id") == self._calls:
                    assert "error" not in message, message
                    return dict(message["result"])
                self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        params = message.get("params", {})
        match message.get("method"):
            case "Page.loadEventFired":
                self._is_loaded = True
            case "Runtime.exceptionThrown":
                self.errors.append(json.dumps(params["exceptionDetails"]))
            case "Log.entryAdded" if params["entry"]["level"] == "error":
                self.errors.append(params["entry"]["text"])
            case "Runtime.consoleAPICalled" if params["type"] in ("error", "assert"):
                self.errors.append(json.dumps(params["args"]))

    async def open(self, url: str, *, width: int = 1280, is_dark: bool = False) -> None:
        """Goes to `url` in a window of that width."""
        for domain in ("Runtime", "Log", "Page"):
            await self.call(f"{domain}.enable")
        await self.resize(width)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
        await self.call("Emulation.setEmulatedMedia", features=[scheme])
        await self.call("Page.navigate", url=url)
        async with asyncio.timeout(WAIT_S):
            while not self._is_loaded:  # before it, what is asked would be asked of the empty page
                self._note(await self._socket.receive_json())

    async def resize(self, width: int) -> None:
        """Gives the window another width; scroll bars take no room of it."""
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
        )
        await self.call("Emulation.setScrollbarsHidden", hidden=True)

    async def ask(self, expression: str) -> Any:
        """The value of a JavaScript expression, a promise's once it is kept."""
        answer = await self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def until(self, condition: str) -> None:
        """Waits for a JavaScript condition, which may name what is not there yet."""
        attempt = f"(() => {{ try {{ return Boolean({condition}); }} catch {{ return false; }} }})()"
        await self.ask(
            f"new Promise((done) => {{ const look = () => {attempt} ? done() : setTimeout(look, 20); look(); }})"
        )


@asynccontextmanager
async def browser(profile: Path) -> AsyncIterator[Page]:
    """A browser with one empty tab; `profile` is a folder of its own."""
    assert CHROMIUM is not None
    process = await asyncio.create_subprocess_exec(
        CHROMIUM,
        *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        *("--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with aiohttp.ClientSession() as session:
            address = await _tab_address(process, session)
            async with session.ws_connect(address, max_msg_size=0) as socket:
                yield Page(socket)
    finally:
        process.terminate()
        await process.communicate()


async def _tab_address(process: asyncio.subprocess.Process, session: aiohttp.ClientSession) -> str:
    assert process.stderr is not None
    async with asyncio.timeout(WAIT_S):
        async for line in process.stderr:
            if found := re.search(rb"DevTools listening on ws://([0-9.:]+)/", line):
                break
        else:
            pytest.fail("the browser ended before it listened")
        async with session.get(f"http://{found[1].decode()}/json/list") as response:
            tabs = await response.json(content_type=None)
    return next(str(tab["webSocketDebuggerUrl"]) for tab in tabs if tab["type"] == "page")
