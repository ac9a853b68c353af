"""Whole processes: `python -m shield run` between real clients and real services, watched as an operator watches it.

A Shield is forked by a process that has imported it already (warm.py); one with a prefix is a new interpreter.

Nothing sleeps: a test waits for a line of the log or for /api/status to say something, with a deadline. At the end of
every test each Shield must stop on SIGTERM with status 0, have written nothing but JSON lines and its welcome, and no
event that means a bug; `shield.expected` names the errors that a test provokes.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

import shield as package

DEADLINE = 30.0
"""Seconds a test waits for something that takes milliseconds on an idle machine."""

WELCOME = ("Shield is up", "To shield your own service", "dry_run = true: ")
BUGS = frozenset({"exception", "library"})

BROWSER = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/140.0",
    "Accept-Language": "de,en;q=0.5",
    "Accept": "text/html,application/xhtml+xml,*/*;q=0.8",
}


def toml(settings: dict[str, Any]) -> str:
    """Tables as TOML. JSON's literals are TOML's, except for inline tables."""

    def value(item: Any) -> str:
        if isinstance(item, dict):
            return "{ " + ", ".join(f"{json.dumps(key)} = {value(inner)}" for key, inner in item.items()) + " }"
        if isinstance(item, (list, tuple)):
            return "[" + ", ".join(map(value, item)) + "]"
        return json.dumps(str(item) if isinstance(item, Path) else item)

    several = {name: item for name, item in settings.items() if isinstance(item, list)}
    top = [f"{key} = {value(item)}" for key, item in settings.items() if not isinstance(item, (dict, list))]
    for name, table in settings.items():
        if isinstance(table, dict):
            top += ["", f"[{name}]", *(f"{key} = {value(item)}" for key, item in table.items())]
    for name, tables in several.items():
        for table in tables:
            top += ["", f"[[{name}]]", *(f"{key} = {value(item)}" for key, item in table.items())]
    return "\n".join(top) + "\n"


class Pipe:
    """What comes out of a pipe."""

    def __init__(self, descriptor: int) -> None:
        self.reader = asyncio.StreamReader(limit=1 << 20)
        self._file = os.fdopen(descriptor, "rb", buffering=0)

    async def open(self) -> Pipe:
        loop = asyncio.get_running_loop()
        self.transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(self.reader), self._file)
        return self


class Fork:
    """A Shield that warm.py has started, with what the tests need of asyncio.subprocess.Process."""

    def __init__(self, pid: int, stderr: Pipe, told: Pipe) -> None:
        self.pid = pid
        self.stderr = stderr.reader
        self.returncode: int | None = None
        self._pipes = (stderr, told)
        self._told = told.reader

    async def wait(self) -> int:
        """Its exit status, once it has ended and said all; negative for a signal."""
        if self.returncode is None:
            self.returncode = int(await self._told.read())
            for pipe in self._pipes:
                pipe.transport.close()
            await asyncio.sleep(0)  # and they are closed
        return self.returncode

    def send_signal(self, with_signal: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, with_signal)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Heir:
    """A Shield that came in the place of another one; its parent is this process, which takes in orphans."""

    def __init__(self, pid: int, stderr: asyncio.StreamReader | None) -> None:
        self.pid = pid
        self.stderr = stderr
        self.returncode: int | None = None

    async def wait(self) -> int:
        if self.returncode is None:
            status = (await asyncio.to_thread(os.waitpid, self.pid, 0))[1]
            self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def send_signal(self, with_signal: int) -> None:
        os.kill(self.pid, with_signal)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Warm:
    """warm.py, for all tests of this process."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            argv = [sys.executable, "-P", str(Path(__file__).with_name("warm.py")), str(theirs.fileno())]
            self._process = subprocess.Popen(argv, env=environment(), pass_fds=[theirs.fileno()])

    async def start(self, arguments: list[str], folder: Path) -> Fork:
        wanted = {"arguments": arguments, "folder": str(folder), "environment": environment()}
        (stderr, its_stderr), (told, its_told) = os.pipe(), os.pipe()
        try:
            socket.send_fds(self._socket, [json.dumps(wanted).encode()], [its_stderr, its_told])
        finally:
            os.close(its_stderr)
            os.close(its_told)
        lines, news = await Pipe(stderr).open(), await Pipe(told).open()
        return Fork(int(await news.reader.readline()), lines, news)

    def close(self) -> None:
        self._socket.close()
        self._process.wait()


@pytest.fixture(scope="session")
def warm() -> Iterator[Warm]:
    made = Warm()
    yield made
    made.close()


class Shield:
    """One process. `lines` are its log lines so far, `text` what else it said on stderr."""

    def __init__(self, process: asyncio.subprocess.Process | Fork) -> None:
        self.process: asyncio.subprocess.Process | Fork | Heir
        self.process = process
        self.pid = process.pid
        self.lines: list[dict[str, Any]] = []
        self.text: list[str] = []
        self.address = self.admin = ""
        self.expected: set[str] = set()
        self.config = Path()
        self.settings: dict[str, Any] = {}
        self._news = asyncio.Condition()
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stderr is not None
        while line := await self.process.stderr.readline():
            async with self._news:
                try:
                    self.lines.append(json.loads(line))
                except ValueError:
                    self.text.append(line.decode().rstrip("\n"))
                self._news.notify_all()
        async with self._news:
            self._news.notify_all()

    def reload(self, **settings: Any) -> None:
        """Have it read a config that differs from the first in these tables."""
        tables = {key: {**self.settings.get(key, {}), **table} for key, table in settings.items()}
        self.config.write_text(toml({**self.settings, **tables}))
        self.process.send_signal(signal.SIGHUP)

    async def upgrade(self) -> asyncio.subprocess.Process | Fork | Heir:
        """Have new code take over; the process from before, which may have ended."""
        number = len(self.seen("upgraded"))
        self.process.send_signal(signal.SIGUSR2)
        return await self.upgraded(number + 1)

    async def upgraded(self, count: int = 1) -> asyncio.subprocess.Process | Fork | Heir:
        """New code has taken over for the `count`th time; the process from before, which may have ended."""
        before, line = self.process, await self.logged("upgraded", count=count)
        self.pid = line["heir"]
        self.process = Heir(self.pid, before.stderr)
        return before

    async def begin(self) -> None:
        """Wait until it listens."""
        started = await self.logged("started")
        self.address, self.admin = started["listen"][0], started["admin"]

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def url(self, path: str = "/", scheme: str = "http", host: str = "127.0.0.1") -> str:
        return f"{scheme}://{host}:{self.port}{path}"

    def seen(self, event: str, **fields: Any) -> list[dict[str, Any]]:
        """The lines so far of this event with these fields."""
        wanted = {"event": event, **fields}
        return [line for line in self.lines if wanted.items() <= line.items()]

    async def logged(self, event: str, count: int = 1, within: float = DEADLINE, **fields: Any) -> dict[str, Any]:
        """The `count`th line of this event with these fields, when it has come."""
        async with asyncio.timeout(within), self._news:
            await self._news.wait_for(lambda: len(self.seen(event, **fields)) >= count or self._reader.done())
        lines = self.seen(event, **fields)
        assert len(lines) >= count, f"no {event} {fields} in {self.lines} {self.text}"
        return lines[count - 1]

    async def asked(self, path: str) -> tuple[int, str]:
        """Status and text of an answer of the admin listener."""
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session,
            session.get(f"http://{self.admin}{path}") as response,
        ):
            return response.status, await response.text()

    async def status(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads((await self.asked("/api/status"))[1])
        return answer

    async def until(self, what: Callable[[dict[str, Any]], Any], within: float = DEADLINE) -> dict[str, Any]:
        """/api/status, when `what` is true of it."""
        async with asyncio.timeout(within):
            while True:
                status = await self.status()
                if what(status):
                    return status
                await asyncio.sleep(0.03)

    def memory(self, field: str = "VmRSS") -> int:
        """Bytes of resident memory: now, or with "VmHWM" at most so far."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
        raise AssertionError(field)

    def files(self) -> int:
        """Descriptors it has open."""
        return sum(1 for _ in Path(f"/proc/{self.pid}/fd").iterdir())

    async def end(self, with_signal: signal.Signals = signal.SIGTERM) -> int:
        """Stop it; its exit status."""
        if self.process.returncode is None:
            self.process.send_signal(with_signal)
        return await self.ended()

    async def ended(self, within: float = 20.0) -> int:
        """Its exit status, once it has ended by itself."""
        try:
            async with asyncio.timeout(within):
                await asyncio.shield(self._reader)
                return await self.process.wait()
        except TimeoutError:
            pytest.fail(f"did not end within {within} s; its last lines: {self.lines[-5:]}")

    def check(self) -> None:
        """What no test may leave behind."""
        bugs = [
            line
            for line in self.lines
            if line["event"] not in self.expected and (line["event"] in BUGS or line.get("level") == "error")
        ]
        assert not bugs, "\n".join(str(bug.get("traceback", bug)) for bug in bugs)
        assert not [line for line in self.text if not line.startswith(WELCOME)], "\n".join(self.text)


Start = Callable[..., Awaitable[Shield]]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "shield", *arguments]


def environment() -> dict[str, str]:
    """Finds the package under test wherever it is, and makes every warning visible: it is no JSON.

    aiohttp reads the system's certificates twice when it is imported, a tenth of a second; no test needs them.
    """
    none = dict.fromkeys(("SSL_CERT_FILE", "SSL_CERT_DIR"), os.devnull)
    found = {"PYTHONPATH": str(Path(package.__file__).parents[1]), "PYTHONWARNINGS": "always"}
    return {**os.environ, **none, **found}


@pytest.fixture
async def launch(tmp_path: Path, warm: Warm) -> AsyncIterator[Start]:
    """launch(prefix=(...), dry_run=..., table={...}) runs Shield; the caller waits for its start or its end."""
    running: list[Shield] = []
    numbers = itertools.count()

    async def exec_one(prefix: tuple[str, ...], arguments: list[str]) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *prefix,
            *command(*arguments),
            cwd=tmp_path,
            env=environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            limit=1 << 20,
        )

    async def launch_one(prefix: tuple[str, ...] = (), **settings: Any) -> Shield:
        settings["listen"] = {"address": "127.0.0.1:0", **settings.get("listen", {})}
        settings["admin"] = {"address": "127.0.0.1:0", **settings.get("admin", {})}
        path = tmp_path / f"shield-{next(numbers)}.toml"
        path.write_text(toml(settings))
        arguments = ["run", "--config", str(path)]
        process = await (exec_one(prefix, arguments) if prefix else warm.start(arguments, tmp_path))
        running.append(Shield(process))
        running[-1].config, running[-1].settings = path, settings
        return running[-1]

    yield launch_one
    try:
        for one in running:
            started = bool(one.seen("started"))
            status = await one.end()
            if started:
                assert status == 0
                one.check()
    finally:
        for one in running:
            if one.process.returncode is None:
                one.process.kill()
                await one.ended()


@pytest.fixture
async def start(launch: Start) -> Start:
    """start(table={...}) runs Shield and returns it when it listens, on free ports of 127.0.0.1."""

    async def start_one(**settings: Any) -> Shield:
        one = await launch(**settings)
        await one.begin()
        return one

    return start_one


class Origins:
    """Origins in this process: origins(app) runs an aiohttp application and returns its URL."""

    def __init__(self) -> None:
        self._runners: dict[str, web.AppRunner] = {}

    async def __call__(
        self, app: web.Application, unix: Path | None = None, host: str = "127.0.0.1", port: int = 0, tls: Any = None
    ) -> str:
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        if unix is not None:
            await web.UnixSite(runner, str(unix)).start()
            url = f"unix:{unix}"
        else:
            await web.TCPSite(runner, host, port, ssl_context=tls).start()
            url = f"{'http' if tls is None else 'https'}://{host}:{runner.addresses[0][1]}"
        self._runners[url] = runner
        return url

    async def stop(self, url: str) -> None:
        """End one; nobody listens there any more."""
        await self._runners.pop(url).cleanup()


@pytest.fixture
async def serve() -> AsyncIterator[Origins]:
    origins = Origins()
    yield origins
    for url in list(origins._runners):
        await origins.stop(url)


@pytest.fixture
async def client() -> AsyncIterator[Callable[..., aiohttp.ClientSession]]:
    """client("127.3.0.1", headers...) is a session that connects from that address."""
    sessions: list[aiohttp.ClientSession] = []

    def new(
        address: str = "127.0.0.1", headers: dict[str, str] | None = None, limit: int = 100, jar: bool = True
    ) -> aiohttp.ClientSession:
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(local_addr=(address, 0), limit=limit),
            cookie_jar=aiohttp.CookieJar(unsafe=True) if jar else aiohttp.DummyCookieJar(),
            headers=BROWSER if headers is None else headers,
            timeout=aiohttp.ClientTimeout(total=30),
        )
        sessions.append(session)
        return session

    yield new
    for session in sessions:
        await session.close()


@pytest.fixture
def site() -> web.Application:
    """A small site: a private page at / and at every /page..., to which tests add more."""

    async def page(_: web.Request) -> web.Response:
        text = "<!doctype html><title>Hello</title><p>Hello"
        return web.Response(text=text, content_type="text/html", headers={"Cache-Control": "private, no-cache"})

    app = web.Application()
    app.router.add_route("*", "/", page)
    app.router.add_route("*", "/page{rest:.*}", page)
    return app


@pytest.fixture
async def echoing(serve: Callable[..., Awaitable[str]], site: web.Application) -> str:
    """The site, with a WebSocket that echoes."""

    async def echo(request: web.Request) -> web.WebSocketResponse:
        response = web.WebSocketResponse()
        await response.prepare(request)
        async for message in response:
            await response.send_str(message.data)
        return response

    site.router.add_get("/echo", echo)
    return await serve(site)
