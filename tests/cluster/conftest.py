"""A real store (Debian's redis-server, or valkey-server) and nodes in this process: engines with clocks of their own,
each with its rounds, made by hand or by themselves."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import itertools
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from shield.cluster.settings import ClusterSettings
from shield.model import Action, Outcome, Signal
from shield.policy.challenge.settings import ChallengeSettings
from shield.policy.cluster.changes import Change
from shield.policy.cluster.leases import Leases
from shield.policy.cluster.side import Side
from shield.policy.concurrency.settings import ConcurrencySettings
from shield.policy.engine import Engine
from shield.policy.keys import Keys
from shield.policy.request import Request
from shield.policy.rules.rule import Rule
from shield.policy.settings import EngineSettings
from shield.policy.sites import Sites

SERVER = shutil.which("valkey-server") or shutil.which("redis-server")
KEYS = Keys(b"\x07" * 32)
SETTINGS = EngineSettings(
    concurrency=ConcurrencySettings(adaptive=False), challenge=ChallengeSettings(least_hashes=64, most_hashes=256)
)
WITHIN = 10.0  # seconds for what takes a fraction of one


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Without a store, or the client of one, nothing here can be tried."""
    missing = []
    if SERVER is None:
        missing.append("there is no valkey-server or redis-server")
    if importlib.util.find_spec("redis") is None:
        missing.append("the extra `cluster` is not installed")
    if missing:
        for item in items:
            if Path(__file__).parent in item.path.parents and "store" in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.skip(reason="; ".join(missing)))


class Store:
    """One server, which tests can stop and let go on."""

    def __init__(self, folder: Path, port: int, *options: str) -> None:
        self.port = port
        argv = [str(SERVER), "--port", str(port), "--save", "", "--appendonly", "no", "--bind", "127.0.0.1", *options]
        self.process = subprocess.Popen(
            argv, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        until = time.monotonic() + WITHIN
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
                return
            assert time.monotonic() < until
            assert self.process.poll() is None
            time.sleep(0.01)

    @property
    def url(self) -> str:
        return f"valkey://127.0.0.1:{self.port}"

    def hang(self) -> None:
        os.kill(self.process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)

    def do(self, *words: str | bytes | int) -> bytes:
        """Send a command; what comes back first."""
        parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        data = b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)
        with socket.create_connection(("127.0.0.1", self.port), 2.0) as connection:
            connection.sendall(data)
            return connection.recv(65_536)

    def close(self) -> None:
        self.go_on()
        self.process.kill()
        self.process.wait()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    made = Store(tmp_path_factory.mktemp("store"), free_port())
    yield made
    made.close()


@pytest.fixture
def store(server: Store) -> Store:
    """The store, empty."""
    server.go_on()
    server.do("CONFIG", "SET", "maxmemory", "0")
    assert server.do("FLUSHALL").startswith(b"+OK")
    return server


class Proxy:
    """TCP between a node and the store, which may be slow, silent, or cut."""

    def __init__(self, to: int) -> None:
        self._to = to
        self.delay = 0.0
        self.silent = False
        self.cut = False
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> Proxy:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            if self.cut:
                return
            there, to = await asyncio.open_connection("127.0.0.1", self._to)
            self._writers.add(to)
            await asyncio.gather(self._pump(reader, to), self._pump(there, writer))
        except OSError:
            pass
        finally:
            writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                if self.delay:
                    await asyncio.sleep(self.delay)
                while self.silent:
                    await asyncio.sleep(0.01)
                writer.write(data)
        writer.close()

    def drop(self) -> None:
        """Reset all connections."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def close(self) -> None:
        self.silent = False
        self._server.close()
        self.drop()
        await self._server.wait_closed()


class Book:
    """The operator's rules of one node."""

    def __init__(self) -> None:
        self.held: dict[tuple[str, str], Rule] = {}
        self.said: list[str] = []
        self.pardoned: list[str] = []
        self.follow: Callable[[], None] = lambda: None
        self.watch: Callable[[], None] | None = None

    def _changed(self) -> None:
        self.follow()
        if self.watch is not None:
            self.watch()

    def rules(self) -> Sequence[Rule]:
        return tuple(self.held.values())

    def pardons(self) -> list[str]:
        said, self.said = self.said, []
        return said

    def put(self, rule: Rule) -> None:
        self.held[rule.slot] = rule
        self._changed()

    def lift(self, rule: Rule) -> None:
        del self.held[rule.slot]
        self._changed()

    def adopt(self, changes: Sequence[Change], pardons: Sequence[str]) -> None:
        self.pardoned += pardons
        for slot, rule in changes:
            if rule is None:
                self.held.pop(slot, None)
            else:
                self.held[slot] = rule
        self._changed()


class Log:
    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def event(self, name: str, **fields: Any) -> None:
        self.events.append((name, fields))

    def names(self) -> list[str]:
        return [name for name, _ in self.events]


class Machine:
    """One node: an engine that serves, and its rounds. `shift`: what its clock is ahead."""

    def __init__(self, node: str, url: str, concurrency: int = 64, keys: Keys = KEYS, **settings: Any) -> None:
        from shield.cluster.node import Node

        limits = SETTINGS.limits
        side = Side(Leases(limits.client, limits.address, limits.wide, limits.least_factor, keys))
        self.clock = time.monotonic
        self.wall_offset = time.time() - time.monotonic()
        entropy = random.Random(node).randbytes
        self.engine = Engine(SETTINGS, keys, entropy, self.wall_offset, concurrency, side=side)
        self.side = side
        self.book, self.log = Book(), Log()
        self.book.follow = lambda: self.engine.follow(self.book.rules(), self.now)
        self.node = Node(
            ClusterSettings(store=url, node=node, **{"deadline": 5.0, **settings}),
            Sites([self.engine]),
            keys,
            self.book,
            self.log,
            self.clock,
            self.wall_offset,
        )
        self.task: asyncio.Task[None] | None = None
        self.gone = False
        self.engine.tick(self.now)

    @property
    def now(self) -> float:
        return self.clock()

    def start(self) -> None:
        self.task = asyncio.create_task(self.node.run())

    async def close(self) -> None:
        """Leave, once."""
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
        if not self.gone:
            self.gone = True
            await self.node.leave(True)

    def ask(self, address: str, agent: str = "Browser/1.0", path: str = "/", rtt: float = 0.01) -> Request:
        """Ask, and if it is forwarded, end at once."""
        request = self.enter(address, agent, path)
        if request.verdict.action is Action.FORWARD:
            self.engine.learn(request, Outcome(200, rtt, False), self.now)
        return request

    def enter(self, address: str, agent: str = "Browser/1.0", path: str = "/") -> Request:
        client = self.engine.identify(address, agent, "en", "", self.now)
        request = Request(client, "GET", path, {}, None, False, None)
        self.engine.decide(request, self.now)
        return request


Machines = Callable[..., Machine]


@pytest.fixture
async def machines(store: Store) -> AsyncIterator[Machines]:
    """machines(name, ...) makes one; it is closed at the end."""
    made: list[Machine] = []

    def make(node: str, url: str = "", **settings: Any) -> Machine:
        made.append(Machine(node, url or store.url, **settings))
        return made[-1]

    yield make
    for one in made:
        await one.close()
    await asyncio.sleep(0.01)  # until the library's transports are closed


async def rounds(*nodes: Machine, times: int = 2) -> None:
    """Let each make a round, so often: with two each has heard of the others."""
    for _, one in itertools.product(range(times), nodes):
        await one.node.round()


async def until(what: Callable[[], Any], within: float = WITHIN) -> None:
    async with asyncio.timeout(within):
        while not what():
            await asyncio.sleep(0.01)


BAD = "203.0.113.9"


def banned(one: Machine, address: str = BAD) -> bool:
    return any(ban is not None and ban.address == address for ban in one.engine.bans(one.now))


def misbehave(one: Machine, address: str = BAD) -> None:
    """Until it is banned."""
    for _ in range(20):
        one.engine.report(one.engine.identify(address, "Bad/1.0", "", "", one.now), Signal.MALFORMED, one.now)
