"""Firefox without a window, driven by WebDriver BiDi."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import shutil
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest

WAIT = 120.0
"""Seconds for its start, and for one command."""

# Nothing but loopback is ever asked for: all else is sent to a proxy that is not there.
PREFERENCES: dict[str, bool | int | str] = {
    "network.proxy.type": 1,
    "network.proxy.http": "127.0.0.1",
    "network.proxy.http_port": 9,
    "network.proxy.ssl": "127.0.0.1",
    "network.proxy.ssl_port": 9,
    "network.proxy.no_proxies_on": "127.0.0.1",
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "app.update.disabledForTesting": True,
    "browser.shell.checkDefaultBrowser": False,
}


class Firefox:
    """One tab."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self.context = ""

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        async with asyncio.timeout(WAIT):
            while (answer := await self._socket.receive_json()).get("id") != number:
                pass
        assert answer["type"] == "success", answer
        result: dict[str, Any] = answer["result"]
        return result

    async def go(self, url: str) -> None:
        """Until the page and its parts are there."""
        await self.call("browsingContext.navigate", context=self.context, url=url, wait="complete")

    async def call_with(self, argument: Any, function: str) -> Any:
        """What the JavaScript `function` returns for `argument`."""
        expression = f"Promise.resolve(({function})({json.dumps(argument)})).then(JSON.stringify)"
        answer = await self.call(
            "script.evaluate", expression=expression, target={"context": self.context}, awaitPromise=True
        )
        assert answer["type"] == "success", answer
        return json.loads(answer["result"]["value"])

    async def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, or of its promise."""
        return await self.call_with(None, f"async () => (await ({expression})) ?? null")

    async def until(self, expression: str) -> None:
        """Wait until `expression` is true; documents may come and go meanwhile."""
        async with asyncio.timeout(WAIT):
            while True:
                with contextlib.suppress(AssertionError):  # between two documents
                    if await self.evaluate(f"Boolean({expression})"):
                        return
                await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def launched(profile: Path, preferences: Mapping[str, bool | int | str] = {}) -> AsyncIterator[Firefox]:
    """Firefox with a fresh profile, which knows no authority of ours, and further `preferences`. Without it the test is
    skipped."""
    path = shutil.which("firefox-esr") or shutil.which("firefox")
    if path is None:
        pytest.skip("firefox is not installed")
    profile.mkdir()
    wanted = {**PREFERENCES, **preferences}
    lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in wanted.items()]
    (profile / "user.js").write_text("\n".join(lines))
    process = await asyncio.create_subprocess_exec(
        path,
        *("--headless", "--no-remote", "--profile", str(profile), "--remote-debugging-port", "0", "about:blank"),
        env={"HOME": str(profile), "MOZ_CRASHREPORTER_DISABLE": "1"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        told = profile / "WebDriverBiDiServer.json"
        async with asyncio.timeout(WAIT):
            while not (told.exists() and told.read_text().endswith("}")):
                assert process.returncode is None, "firefox did not start"
                await asyncio.sleep(0.05)
        where = f"ws://127.0.0.1:{json.loads(told.read_text())['ws_port']}/session"
        async with aiohttp.ClientSession() as session, session.ws_connect(where, max_msg_size=0) as socket:
            firefox = Firefox(socket)
            await firefox.call("session.new", capabilities={"alwaysMatch": {"acceptInsecureCerts": True}})
            firefox.context = (await firefox.call("browsingContext.getTree"))["contexts"][0]["context"]
            yield firefox
            await firefox.call("browser.close")
        await asyncio.wait_for(process.wait(), WAIT)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
