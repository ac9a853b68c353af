"""A real Chromium for the tests here, driven over the DevTools protocol, and tiny servers for it to visit."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.integration import conftest as processes
from tests.integration.conftest import Fork, Warm

WAIT = 90.0
"""Seconds until a test gives up on something that takes a fraction of one. The machine may be busy."""

warm = processes.warm

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
    "--no-default-browser-check",
    "--no-proxy-server",
    "--remote-debugging-port=0",
    # Nothing but loopback is ever asked for, whatever the browser has in mind.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost, EXCLUDE *.localhost",
)


def find_chromium() -> str:
    """The path of Chromium. Without one the test is skipped, or fails when SHIELD_REQUIRE_BROWSER=1."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        missing = "no chromium on PATH (Debian: apt-get install chromium)"
        if os.environ.get("SHIELD_REQUIRE_BROWSER") == "1":
            pytest.fail(missing)
        pytest.skip(missing)
    return path


@contextlib.contextmanager
def launch(profile: Path, *flags: str) -> Iterator[str]:
    """Runs Chromium with `profile` and more `flags`, and gives the address of its DevTools."""
    command = [find_chromium(), *FLAGS, *flags, f"--user-data-dir={profile}", "about:blank"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        told = profile / "DevToolsActivePort"
        deadline = time.monotonic() + WAIT
        while not (told.exists() and len(lines := told.read_text().splitlines()) == 2):
            assert process.poll() is None, "chromium did not start"
            assert time.monotonic() < deadline, "chromium did not open its DevTools"
            time.sleep(0.02)
        yield f"ws://127.0.0.1:{lines[0]}{lines[1]}"
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Browser:
    """One DevTools connection and one browser context of its own: no cookies, no cache from elsewhere."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._ids = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.context = ""
        self.events: list[dict[str, Any]] = []
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for message in self._socket:
            data = json.loads(message.data)
            if "id" in data:
                self._answers.pop(data["id"]).set_result(data)
            else:
                self.events.append(data)

    async def call(self, method: str, session: str | None = None, /, **parameters: Any) -> dict[str, Any]:
        number = next(self._ids)
        self._answers[number] = answer = asyncio.get_running_loop().create_future()
        message = {"id": number, "method": method, "params": parameters}
        await self._socket.send_json(message | ({"sessionId": session} if session else {}))
        data = await asyncio.wait_for(answer, WAIT)
        if "error" in data:
            raise RuntimeError(f"{method}: {data['error']['message']}")
        result: dict[str, Any] = data["result"]
        return result

    async def tab(self) -> Tab:
        """A new tab, empty."""
        context = {"browserContextId": self.context} if self.context else {}
        target = await self.call("Target.createTarget", url="about:blank", **context)
        attached = await self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        tab = Tab(self, attached["sessionId"])
        for domain in ("Page", "Runtime", "Log"):
            await tab.call(f"{domain}.enable")
        return tab

    async def close(self) -> None:
        await self._socket.close()
        await self._reader


class Tab:
    """One tab: go somewhere, evaluate JavaScript in it, wait until an expression is true."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session

    async def call(self, method: str, /, **parameters: Any) -> dict[str, Any]:
        return await self._browser.call(method, self._session, **parameters)

    async def go(self, url: str) -> None:
        answer = await self.call("Page.navigate", url=url)
        assert not answer.get("errorText"), answer

    async def evaluate(self, expression: str) -> Any:
        answer = await self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    async def call_with(self, argument: Any, function: str) -> Any:
        """What the JavaScript `function` returns for `argument`."""
        return await self.evaluate(f"({function})({json.dumps(argument)})")

    async def until(self, expression: str) -> None:
        """Waits until `expression` is true; documents may come and go meanwhile."""
        deadline = time.monotonic() + WAIT
        while True:
            try:
                if await self.evaluate(f"Boolean({expression})"):
                    return
            except (RuntimeError, AssertionError):
                pass  # between two documents
            if time.monotonic() > deadline:
                text = await self.evaluate("location.href + ': ' + document.body?.innerText")
                pytest.fail(f"never true: {expression}\nthe tab shows {text}")
            await asyncio.sleep(0.02)

    async def state(self, *states: str) -> None:
        """Waits until the challenge page is in one of these states."""
        await self.until(f"{json.dumps(states)}.includes(document.getElementById('challenge')?.dataset.now)")

    async def text(self) -> str:
        """What a reader sees."""
        shown: str = await self.evaluate("document.body.innerText")
        return shown

    def violations(self) -> list[str]:
        """What the Content-Security-Policy stopped in this tab."""
        entries = [
            event["params"]["entry"]["text"]
            for event in self._browser.events
            if event["method"] == "Log.entryAdded" and event.get("sessionId") == self._session
        ]
        return [entry for entry in entries if "Content Security Policy" in entry]

    async def screenshot(self, path: Path) -> None:
        picture = await self.call("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(picture["data"]))


@pytest.fixture(scope="session")
def devtools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One Chromium for all tests of a process."""
    with launch(tmp_path_factory.mktemp("chromium")) as address:
        yield address


@contextlib.asynccontextmanager
async def connect(address: str) -> AsyncIterator[Browser]:
    async with aiohttp.ClientSession() as session, session.ws_connect(address, max_msg_size=0) as socket:
        browser = Browser(socket)
        try:
            yield browser
        finally:
            await browser.close()


@pytest.fixture
async def browser(devtools: str) -> AsyncIterator[Browser]:
    """A browser context of this test's own in the shared Chromium."""
    async with connect(devtools) as browser:
        context = await browser.call("Target.createBrowserContext", disposeOnDetach=True)
        browser.context = context["browserContextId"]
        yield browser
        await browser.call("Target.disposeBrowserContext", browserContextId=browser.context)


@pytest.fixture
async def cookieless(tmp_path: Path) -> AsyncIterator[Browser]:
    """A Chromium whose owner blocks all cookies."""
    profile = tmp_path / "profile"
    (profile / "Default").mkdir(parents=True)
    blocking = {"profile": {"default_content_setting_values": {"cookies": 2}}}
    (profile / "Default" / "Preferences").write_text(json.dumps(blocking))
    with launch(profile) as address:
        async with connect(address) as browser:
            yield browser


Handler = Callable[[str, str, dict[str, str], bytes], Awaitable[bytes]]


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[Callable[[Handler], Awaitable[str]]]:
    """Starts tiny HTTP servers that say exactly the bytes that their handler(method, target, fields, body) returns."""
    servers: list[asyncio.Server] = []
    tasks: set[asyncio.Task[None]] = set()

    async def start(handler: Handler) -> str:
        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
                while True:
                    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                    method, target, _ = head[0].split(" ")
                    lines = (line.partition(":") for line in head[1:])
                    fields = {name.lower(): value.strip() for name, _, value in lines}
                    body = await reader.readexactly(int(fields.get("content-length", 0)))
                    writer.write(await handler(method, target, fields, body))
                    await writer.drain()
            writer.close()

        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        servers.append(server)
        return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    try:
        yield start
    finally:
        for server in servers:
            server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[Handler], Awaitable[str]]]:
    """The same for a test."""
    async with serving() as start:
        yield start


@pytest.fixture
def page() -> Callable[..., bytes]:
    """Makes complete replies with a small page."""
    return make_page


def make_page(title: str, body: str = "") -> bytes:
    text = f"<!doctype html><title>{title}</title><link rel=icon href='data:,'><h1>{title}</h1>{body}".encode()
    return (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nCache-Control: no-store\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(text), text)
    )


@pytest.fixture
async def run_shield(tmp_path: Path, warm: Warm) -> AsyncIterator[Callable[..., Awaitable[str]]]:
    """Starts `shield run` in front of an upstream, challenging everybody, and gives its address."""
    processes: list[Fork] = []

    async def start(upstream: str, more: str = "") -> str:
        config = tmp_path / "config.toml"
        config.write_text(
            '[listen]\naddress = "127.0.0.1:0"\n[admin]\naddress = ""\n[challenge]\nmode = "always"\n'
            f"{more}\n[upstream]\nservers = [{json.dumps(upstream)}]\n"
        )
        process = await warm.start(["run", "--config", str(config)], tmp_path)
        processes.append(process)
        said = []
        async with asyncio.timeout(WAIT):
            async for line in process.stderr:
                said.append(line)
                if line.startswith(b"{") and (event := json.loads(line)).get("event") == "started":
                    drain = asyncio.create_task(process.stderr.read())
                    drains.append(drain)
                    return f"http://{event['listen'][0]}"
        pytest.fail("shield did not start:\n" + b"".join(said).decode())

    drains: list[asyncio.Task[bytes]] = []
    yield start
    for process in processes:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), WAIT) == 0
    for said in await asyncio.gather(*drains):
        assert b"Traceback" not in said, said.decode()
