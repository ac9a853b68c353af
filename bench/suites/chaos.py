"""Everything that can happen to Shield's processes, with honest people beside it.

    python -m bench chaos [--seconds 300]        (make chaos, CHAOS_SECONDS=300)

A manager runs Shield as systemd would, with sockets of its own (common/manager.py). One thing after another happens: a
worker, the supervisor or all processes are killed (SIGKILL); a worker hangs; the config is read again, also a broken
one; new code is started, also with a config that cannot be used; no file can be written; one of two servers falls over.
Honest people (load/honest.py) ask meanwhile, over kept connections and new ones, with WebSockets and event streams open
all the time.

No request may fail, but one that was under way when its worker was killed, or at a server when that fell over. No ban
that is 0.3 s old may be forgotten. On loopback, bounded in number, rate and time.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import json
import os
import random
import resource
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import uvloop

from bench.common.guard import Target, add_seed_and_files, bounded
from bench.common.manager import Manager
from bench.common.processes import ask, free_ports
from bench.common.progress import Bar, bar
from bench.common.stats import median
from bench.load.honest import Honest
from bench.load.ledger import Ledger
from bench.origins.falling_origin import FallingOrigin
from bench.peers.insides import status
from bench.plots import report

USERS: Final = 30
TALKERS: Final = 4  # WebSockets that stay open
LISTENERS: Final = 4  # event streams that stay open
PROBES: Final = 8  # networks: of two workers, one meets none of them in one run of 128
PAUSE: Final = 1.0  # s between two things that happen
FULL_SECONDS: Final = 3.0
LIES: Final = 1.5  # s, of a server
HANG_SECONDS: Final = 20.0  # until a worker that hangs is replaced, at most
KEPT_SECONDS: Final = 0.3  # after which a ban has been written down
BAN_SECONDS: Final = 50.0  # for which it holds at least
WANTED_BACK: Final = 1.0  # s until somebody is served after a kill
ORPHANED: Final = 65.0  # s after which streams at workers without a supervisor have ended: orphans.py, timeouts.drain
TRAP: Final = "/trap"
SWITCH: Final = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)

CONFIG: Final = """\
[listen]
address = "127.0.0.1:{port}"
workers = {workers}
[upstream]
servers = ["http://127.0.0.1:{one}", "http://127.0.0.1:{other}"]
[admin]
address = "127.0.0.1:{admin}"
[state]
directory = "{folder}/state"
[limits]
honeypots = ["/trap"]
[history]
windows = {windows}
[log]
requests = false
"""


class ChaosLedger(Ledger):
    """What honest people got, and what happened meanwhile: spans of time in which a request may have been broken."""

    def __init__(self) -> None:
        super().__init__()
        self.broken: list[tuple[float, float]] = []
        self.orphaned = float("-inf")  # when the main process was killed last
        self.excused: collections.Counter[str] = collections.Counter()
        self.began: dict[str, float] = {}

    def write(self, kind: str, name: str, what: str, address: str) -> None:
        """What became of a request that has ended now."""
        self.outcomes[what] += 1
        began, now = self.began.pop(name, time.monotonic()), time.monotonic()
        broken = self.under_way(began, now)
        if kind != "websocket" and not broken:  # it may have come to the service, and been sent again
            self.answered[name] = (kind, what)
        if what == "ok":
            return
        if broken:
            self.excused[what] += 1
        elif len(self.problems) < 50:
            self.problems.append(f"{kind} {name} of {address}: {what}, after {now - began:.2f} s")

    def under_way(self, began: float, now: float) -> bool:
        """Whether a request between these times was under way when something broke."""
        return any(began <= end and begin <= now for begin, end in self.broken)

    @contextlib.contextmanager
    def breaking(self) -> Any:
        """What is under way until the end of this context may break."""
        begin = time.monotonic()
        self.broken.append((begin, float("inf")))
        index = len(self.broken) - 1
        try:
            yield
        finally:
            self.broken[index] = (begin, time.monotonic())


class Person(Honest):
    """One who notes when a request began."""

    ledger: ChaosLedger

    async def ask(self, name: str) -> None:
        self.ledger.began[name] = time.monotonic()
        await super().ask(name)


class Chaos:
    """What all share. It has many attributes because it is the whole run."""

    def __init__(self, site: Target, admin: int, manager: Manager, servers: list[FallingOrigin], seed: int) -> None:
        self.site = site
        self.admin = admin
        self.manager = manager
        self.servers = servers
        self.random = random.Random(seed)
        self.ledger = ChaosLedger()
        self.happened: collections.Counter[str] = collections.Counter()
        self.back: dict[str, list[float]] = collections.defaultdict(list)
        self.streams: collections.Counter[str] = collections.Counter()
        self.bans: dict[str, float] = {}  # address: when
        self.config = ""
        self.facts: dict[str, Any] = {}  # that the config has
        self.workers_expected = 0

    # What happens

    async def workers(self) -> list[int]:
        found = await asyncio.to_thread(status, self.admin)
        return [worker["pid"] for worker in found.get("workers", []) if worker["pid"]]

    async def kill(self, what: str, pids: list[int], breaks: bool = True) -> None:
        """Kill these, and wait until new clients are served. `breaks`: they have requests of clients."""
        with self.ledger.breaking() if breaks else contextlib.nullcontext():
            began = time.monotonic()
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            await asyncio.gather(*(gone(pid) for pid in pids))
            if self.manager.main in pids:
                while self.manager.main in pids or not self.manager.main:  # noqa: ASYNC110 - it is this that is waited for
                    await asyncio.sleep(0.005)
        await self.served()
        self.back[what].append(time.monotonic() - began)
        await self.settled()

    async def kill_a_worker(self) -> None:
        pids = await self.workers()
        await self.kill("a worker is killed", [self.random.choice(pids)] if pids else [self.manager.main])

    async def kill_the_main_process(self) -> None:
        """Its workers go on until the next one's serve, so not even what is under way may break."""
        self.ledger.orphaned = time.monotonic()
        await self.kill("the main process is killed", [self.manager.main], breaks=self.workers_expected == 1)

    async def kill_all(self) -> None:
        await self.kill("all processes are killed", self.manager.processes())

    async def hang_a_worker(self) -> None:
        """Stopped, it says nothing any more; its supervisor kills it."""
        pids = await self.workers()
        if not pids:
            return
        pid = self.random.choice(pids)
        with self.ledger.breaking():
            os.kill(pid, signal.SIGSTOP)
            async with asyncio.timeout(HANG_SECONDS):
                await gone(pid)
        await self.settled()

    async def reload(self) -> None:
        self.write_config(windows=self.random.randrange(2, 6))
        os.kill(self.manager.main, signal.SIGHUP)
        await asyncio.sleep(0.3)
        await self.settled()

    async def reload_what_is_broken(self) -> None:
        await self.with_broken_config(signal.SIGHUP)

    async def upgrade(self) -> None:
        before = self.manager.main
        os.kill(before, signal.SIGUSR2)
        async with asyncio.timeout(60.0):
            while self.manager.main == before:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.02)
        await self.settled()

    async def upgrade_to_what_is_broken(self) -> None:
        before = self.manager.main
        await self.with_broken_config(signal.SIGUSR2)
        if self.manager.main != before:
            self.ledger.problems.append("a Shield with a broken config has taken over")

    async def with_broken_config(self, number: signal.Signals) -> None:
        """Until Shield has said that it goes on."""
        good, said = self.config, self.manager.log.read_text(errors="replace").count("_refused")
        Path(self.manager.folder, "shield.toml").write_text("[listen\n")
        os.kill(self.manager.main, number)
        async with asyncio.timeout(60.0):
            while self.manager.log.read_text(errors="replace").count("_refused") == said:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.05)
        Path(self.manager.folder, "shield.toml").write_text(good)
        await self.settled()

    async def fill_the_disk(self) -> None:
        """No file of Shield's can grow (RLIMIT_FSIZE)."""
        limited = self.manager.processes()
        for pid in limited:
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        await self.ban()
        await asyncio.sleep(FULL_SECONDS)
        for pid in limited:
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    async def lose_a_server(self) -> None:
        server = self.random.choice(self.servers)
        with self.ledger.breaking():
            await server.fall()
            await asyncio.sleep(LIES)
            await server.rise()
            await asyncio.sleep(0.5)  # connections that were about to be made

    # What is looked at

    def write_config(self, **more: int) -> None:
        self.config = CONFIG.format(**{**self.facts, **more})
        Path(self.manager.folder, "shield.toml").write_text(self.config)

    async def served(self) -> None:
        """Wait until new clients over new connections get their page, whichever worker they meet."""

        async def one(address: str) -> None:
            while await self.scan(address, "/page") != 200:  # noqa: ASYNC110 - it is this that is waited for
                await asyncio.sleep(0.01)

        await asyncio.gather(*(one(f"127.7.{number}.1") for number in range(PROBES)))

    async def settled(self) -> None:
        """Wait until the service is ready, with all workers."""
        await self.manager.ready()
        async with asyncio.timeout(60.0):
            while True:
                with contextlib.suppress(OSError, ValueError):
                    if (await asyncio.to_thread(ask, self.admin, "/readyz"))[0] == 200:
                        return
                await asyncio.sleep(0.05)

    async def ban(self) -> None:
        """Have one more address banned."""
        address = f"127.5.{len(self.bans)}.1"
        code = await self.scan(address, TRAP)
        if code != 403:
            self.ledger.problems.append(f"{address} at the honeypot: {code}")
        self.bans[address] = time.monotonic()

    async def look_at_bans(self) -> None:
        """Whether those that must have been saved still hold."""
        now = time.monotonic()
        for address, at in list(self.bans.items()):
            if KEPT_SECONDS <= now - at < BAN_SECONDS and (code := await self.scan(address, "/page")) != 403:
                self.ledger.problems.append(f"the ban of {address}, {now - at:.1f} s old, was forgotten: {code}")
                self.bans[address] = float("-inf")  # it is told once

    async def scan(self, address: str, path: str) -> int:
        """The status that a scanner gets; 0 for none."""
        site = self.site
        with contextlib.suppress(OSError, ValueError, IndexError, TimeoutError):
            async with asyncio.timeout(30.0):
                reader, writer = await asyncio.open_connection(site.host, site.port, local_addr=(address, 0))
                writer.write(
                    f"GET {path} HTTP/1.1\r\nHost: {site.host}:{site.port}\r\nUser-Agent: scanner/1.0\r\n"
                    "Connection: close\r\n\r\n".encode()
                )
                answer = await reader.read()
                writer.close()
                return int(answer.split(b" ", 2)[1])
        return 0

    # Who is there all the time

    async def hold(self, kind: str, number: int, until: float) -> None:
        """Keep a WebSocket or an event stream open; when it breaks, open the next one."""
        while time.monotonic() < until:
            began = time.monotonic()
            why = ""
            try:
                async for _ in self.talk(number) if kind == "websocket" else self.listen(number):
                    if time.monotonic() >= until:
                        break
                    began = time.monotonic()
            except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError) as error:
                why = repr(error)
            self.streams[kind] += 1
            now = time.monotonic()
            if why and not self.ledger.under_way(began, now) and now > self.ledger.orphaned + ORPHANED:
                self.ledger.problems.append(f"a {kind} was cut: {why}")
            await asyncio.sleep(0.05)

    async def talk(self, number: int) -> AsyncIterator[None]:
        reader, writer = await self.opened(number, "/ws", SWITCH, b"HTTP/1.1 101 ")
        try:
            while True:
                said = self.random.randbytes(100)
                writer.write(said)
                async with asyncio.timeout(10.0):
                    if await reader.readexactly(len(said)) != said:
                        raise ValueError("something else came back")
                yield
                await asyncio.sleep(0.2)
        finally:
            writer.transport.abort()

    async def listen(self, number: int) -> AsyncIterator[None]:
        accept = "Accept: text/event-stream\r\n"
        reader, writer = await self.opened(100 + number, "/events", accept, b"HTTP/1.1 200 ")
        try:
            while True:
                async with asyncio.timeout(10.0):
                    await reader.readuntil(b"\n\n")
                yield
        finally:
            writer.transport.abort()

    async def opened(
        self, number: int, path: str, fields: str, wanted: bytes
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        site = self.site
        async with asyncio.timeout(30.0):
            reader, writer = await asyncio.open_connection(site.host, site.port, local_addr=(f"127.6.{number}.1", 0))
            head = f"GET {path} HTTP/1.1\r\nHost: {site.host}:{site.port}\r\nUser-Agent: Mozilla/5.0\r\n{fields}\r\n"
            writer.write(head.encode())
            answer = await reader.readuntil(b"\r\n\r\n")
        if not answer.startswith(wanted):
            writer.transport.abort()
            raise ValueError(answer[:40])
        return reader, writer

    async def play(self, seconds: float, actions: list[str], say: Callable[[str], None]) -> None:
        """All at once, until the time is over or everything has happened once, whichever is later."""
        until = time.monotonic() + seconds
        never = float("inf")
        people = [Person(self.site, self.ledger, number).live("chaos", never) for number in range(USERS)]
        holders = [self.hold("websocket", number, never) for number in range(TALKERS)]
        holders += [self.hold("event stream", number, never) for number in range(LISTENERS)]
        tasks = [asyncio.create_task(each) for each in (*people, *holders)]
        try:
            await asyncio.sleep(PAUSE)
            left: list[str] = []
            while time.monotonic() < until or left or not self.happened:
                if not left:
                    left = actions.copy()
                    self.random.shuffle(left)
                await self.ban()
                what = left.pop()
                say(f"{sum(self.ledger.asked.values()):,} requests, {len(self.ledger.problems)} problems; {what}")
                if what in SAVED_FIRST:
                    await asyncio.sleep(KEPT_SECONDS)
                action: Callable[[], Awaitable[None]] = ACTIONS[what].__get__(self)
                await action()
                self.happened[what] += 1
                await self.look_at_bans()
                await asyncio.sleep(PAUSE)
                for task in tasks:
                    if task.done():
                        task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


ACTIONS: Final[dict[str, Callable[[Chaos], Awaitable[None]]]] = {
    "a worker is killed": Chaos.kill_a_worker,
    "the main process is killed": Chaos.kill_the_main_process,
    "all processes are killed": Chaos.kill_all,
    "a worker hangs": Chaos.hang_a_worker,
    "the config is read again": Chaos.reload,
    "a broken config is read again": Chaos.reload_what_is_broken,
    "new code is started": Chaos.upgrade,
    "new code with a broken config is started": Chaos.upgrade_to_what_is_broken,
    "the disk is full": Chaos.fill_the_disk,
    "a server falls over": Chaos.lose_a_server,
}
SHORT: Final = ("a worker is killed", "the main process is killed", "the config is read again", "new code is started")
"""What a short run has, each once."""
SAVED_FIRST: Final = ("a worker is killed", "the main process is killed", "all processes are killed", "a worker hangs")
"""Before which bans are given the time to be saved."""


async def gone(pid: int) -> None:
    """Wait until a process has ended, whoever its parent is."""
    while True:
        try:
            text = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return
        if text.rpartition(")")[2].split()[0] in ("Z", "X"):
            return
        await asyncio.sleep(0.005)


def bound(port: int, workers: int) -> list[socket.socket]:
    """Listening sockets as in a .socket unit, one for each worker."""
    made = []
    for _ in range(workers):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(("127.0.0.1", port))
        sock.listen(1024)
        made.append(sock)
    return made


async def play(arguments: argparse.Namespace, folder: Path, shown: Bar) -> dict[str, Any]:
    """The raw results."""
    port, admin, one, other = free_ports(4)
    ledger_log = folder / "shield.log"
    command = [sys.executable, "-m", "shield", "run", "--config", str(folder / "shield.toml")]
    sockets = bound(port, arguments.workers)
    manager = Manager(command, folder, ledger_log, sockets)
    chaos = Chaos(Target("127.0.0.1", port), admin, manager, [], arguments.seed)
    chaos.servers += [FallingOrigin(number, chaos.ledger.seen) for number in (one, other)]
    for server in chaos.servers:
        await server.rise()
    chaos.facts = {
        "port": port, "admin": admin, "one": one, "other": other, "folder": folder, "workers": arguments.workers,
        "windows": 2,
    }  # fmt: skip
    chaos.workers_expected = arguments.workers
    chaos.write_config()
    begin = time.monotonic()

    def say(text: str) -> None:
        shown.step(min(time.monotonic() - begin, arguments.seconds), text)

    try:
        await manager.start()
        await chaos.play(arguments.seconds, list(SHORT if arguments.short else ACTIONS), say)
    finally:
        await manager.stop()
        for sock in sockets:
            sock.close()
        for server in chaos.servers:
            await server.fall()
    ledger = chaos.ledger
    log = manager.log.read_text(errors="replace")
    missed = [
        f"{what}: served again after {max(seconds):.2f} s, wanted {WANTED_BACK:g}"
        for what, seconds in chaos.back.items()
        if max(seconds) > WANTED_BACK
    ]
    return {
        "suite": "chaos",
        "machine": report.machine(),
        "seconds": time.monotonic() - begin,
        "workers": arguments.workers,
        "asked": dict(ledger.asked),
        "outcomes": dict(ledger.outcomes),
        "excused": dict(ledger.excused),
        "happened": dict(chaos.happened),
        "back": dict(chaos.back),
        "streams": dict(chaos.streams),
        "bans": len(chaos.bans),
        "starts": manager.starts,
        "missed": missed,
        "problems": ledger.problems + ledger.miscounted() + manager.problems + errors(log),
    }


def errors(log: str, most: int = 10) -> list[str]:
    """What Shield logged and ought not to have to."""
    expected = ("reload_refused", "upgrade_refused", "worker_hangs", "not_saved")
    bugs = [
        line
        for line in log.splitlines()
        if '"event":"exception"' in line
        or line.startswith("Traceback")
        or ('"level":"error"' in line and not any(each in line for each in expected))
    ]
    return [f"Shield said: {line[:500]}" for line in bugs[:most]]


def markdown(results: dict[str, Any]) -> str:
    """The tables."""
    asked, excused = sum(results["asked"].values()), sum(results["excused"].values())
    rows = []
    for what, times in results["happened"].items():
        back = results["back"].get(what)
        shown = ["-", "-"] if back is None else [report.figure(median(back)), report.figure(max(back))]
        rows.append([what, str(times), *shown])
    cut = sum(results["streams"].values())
    about = (
        f"\n{results['workers']} workers; {asked:,} honest requests; {TALKERS} WebSockets and {LISTENERS} "
        f"event streams, which had to be opened again {cut} times; {results['bans']} bans; {results['starts']} "
        f"starts; load average {results['machine']['load_average']:.1f}.\n"
    )
    outcome = (
        f"\nOf the requests, {excused} broke that were under way when a process was killed or a server fell: "
        f"{results['excused']}. Others that failed: {len(results['problems'])}."
    )
    heads = ["what happened", "times", "served again after, s: median", "most"]
    lines = [f"# Chaos of {results['seconds']:.0f} s", about, report.table(heads, rows), outcome]
    lines += [f"\n**Not as wanted**: {miss}." for miss in results["missed"]]
    lines += [f"\n**Problem**: {problem}." for problem in results["problems"]]
    return "\n".join(lines)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=bounded(float, 1, 36_000), default=300.0)
    parser.add_argument("--short", action="store_true", help="four things only, for the tests")
    parser.add_argument("--workers", type=bounded(int, 1, 8), default=2)
    add_seed_and_files(parser)


def run(arguments: argparse.Namespace) -> int:
    """Prints the table and returns the exit status."""
    print(f"seed {arguments.seed}", file=sys.stderr)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that Shield is not left behind
    with tempfile.TemporaryDirectory(prefix="chaos-") as name, bar("chaos", arguments.seconds) as shown:
        results = uvloop.run(play(arguments, Path(name), shown))
        if arguments.keep_log:
            arguments.keep_log.write_bytes(Path(name, "shield.log").read_bytes())
    if arguments.json:
        arguments.json.write_text(json.dumps(report.clean(results), indent=1) + "\n")
    print(markdown(results))
    return 1 if results["problems"] else 0
