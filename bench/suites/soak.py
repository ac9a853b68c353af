"""A soak: honest and hostile traffic for minutes, connections killed at random, a service that keeps falling over.

    python -m bench soak [--seconds 600]        (make soak, SOAK_SECONDS=600)

Everything plays twice: a fifth of the time to warm up, then, after a rest in which everybody has left, the rest. What
Shield holds in the two rests is compared: connections, descriptors, tasks, memory.

Honest people (127.2.0.0/16, 20 of them) fetch, upload and talk over WebSockets. Each request has an id of its own, and
each answer must be whole, their own, and the right one. The service counts ids: whatever was answered with 200 must
have come to it once. A GET may come again, up to `upstream.retries` times and once more for a stale connection, when a
server fell over before it answered (README.md of the bench). Of a POST that is never true. What a falling server takes
with it is an error in the answer, or a cut answer, and is counted apart.

The hostile (127.16.0.0/16, 200 addresses) open connections faster than there are places for, and are slow, silent,
greedy or wrong in each of the ways below; half of them leave with a reset.

On loopback, bounded in number, rate and time.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import collections
import contextlib
import hashlib
import json
import random
import re
import signal
import socket
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import httptools
import uvloop

from bench.common.guard import Target, bounded
from bench.common.processes import Process, ask, free_ports, launch, own_cores, running, wait_until_answers
from bench.common.progress import Bar, bar
from bench.load.users import AGENTS, LANGUAGES, Link
from bench.plots import report

WARM: Final = 0.2  # of the time
USERS: Final = 20
THINK: Final = 0.35  # s between a user's requests, on average
PATIENCE: Final = 30.0  # s for an answer
HOSTILE_RATE: Final = 120.0  # new connections a second
HOSTILE_AT_ONCE: Final = 600  # more than there are places
HOSTILE_ADDRESSES: Final = 200
PLACES: Final = 200  # listen.max_connections
FALLS: Final = (9.0, 16.0)  # s between two falls of a server, and for how long it lies there:
LIES: Final = (0.3, 2.5)
AFTERMATH: Final = 15.0  # s after a fall in which an error may still be its doing
REST_SECONDS: Final = 60.0  # at most, until all have left
MOST_GROWTH: Final = 24 << 20  # bytes between the rests; the log's and the allocator's breath
RETRIES: Final = 2  # upstream.retries, and one for a stale connection

LARGE: Final = bytes(range(256)) * 2048
CONFIG: Final = """\
[listen]
address = "127.0.0.1:{port}"
max_connections = {places}
[upstream]
servers = ["http://127.0.0.1:{one}", "http://127.0.0.1:{other}"]
[admin]
address = "127.0.0.1:{admin}"
[history]
window = 1
[timeouts]
header = 3
progress = 4
keep_alive = 10
connection = 30
linger = 1
[log]
requests = false
"""


# the service


class Origin:
    """A server that can fall over and get up again. `seen` counts ids, and is shared by all servers."""

    def __init__(self, port: int, seen: collections.Counter[str], lost: set[str]) -> None:
        self.port = port
        self.seen = seen
        self.lost = lost  # ids that were being worked on when it fell
        self.lines: set[Line] = set()
        self.server: asyncio.Server | None = None

    async def rise(self) -> None:
        loop = asyncio.get_running_loop()
        self.server = await loop.create_server(lambda: Line(self), "127.0.0.1", self.port, backlog=1024)

    async def fall(self) -> None:
        if self.server is not None:
            self.server.close()
            self.server = None
        for line in list(self.lines):
            if line.at_work:
                self.lost.add(line.at_work)
            line.transport.abort()


class Line(asyncio.Protocol):
    """One connection of a server."""

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self.tunnel = False
        self.at_work = ""
        self.url = b""
        self.fields: dict[bytes, bytes] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.parser = httptools.HttpRequestParser(self)
        self.origin.lines.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.origin.lines.discard(self)

    def data_received(self, data: bytes) -> None:
        if self.tunnel:
            self.transport.write(data)
            return
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self.switch(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self.transport.abort()

    def on_message_begin(self) -> None:
        self.url, self.fields, self.digest = b"", {}, hashlib.sha256()

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields[name.lower()] = value

    def on_headers_complete(self) -> None:
        self.at_work = self.fields.get(b"x-id", b"").decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self.digest.update(body)

    def on_message_complete(self) -> None:
        if self.fields.get(b"upgrade") == b"websocket":
            return
        if self.at_work:
            self.origin.seen[self.at_work] += 1
        if self.url.startswith(b"/slow"):
            asyncio.get_running_loop().call_later(random.uniform(0.0, 0.4), self.answer)
        else:
            self.answer()

    def answer(self) -> None:
        if self.transport.is_closing():
            return
        body = LARGE if self.url.startswith(b"/large") else self.digest.hexdigest().encode()
        head = (
            f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nCache-Control: private\r\nX-Id: {self.at_work}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        if len(body) < len(LARGE):
            self.at_work = ""  # a large answer may be cut after it was written, too

    def switch(self, rest: bytes) -> None:
        self.tunnel = True
        key = self.fields.get(b"sec-websocket-key", b"") + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key, usedforsecurity=False).digest()).decode()
        head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        self.transport.write(f"{head}Sec-WebSocket-Accept: {accept}\r\n\r\n".encode() + rest)


# honest people


class Person:
    """One user, with up to two kept connections."""

    def __init__(self, soak: Soak, number: int) -> None:
        self.soak = soak
        self.number = number
        self.address = f"127.2.{number}.1"
        self.random = random.Random(number)
        self.idle: list[KeptLink] = []

    async def live(self, until: float) -> None:
        """Ask until the time has come."""
        count = 0
        try:
            while time.monotonic() < until:
                count += 1
                await self.ask(f"{self.soak.phase}-{self.number}-{count}")
                await asyncio.sleep(self.random.expovariate(1 / THINK))
        finally:
            for link in self.idle:
                link.close()
            self.idle.clear()

    async def ask(self, name: str) -> None:
        kind = self.random.choices(["get", "slow", "large", "post", "chunked", "websocket"], [8, 3, 2, 4, 2, 1])[0]
        soak = self.soak
        soak.asked[kind] += 1
        if kind == "websocket":
            soak.outcome(kind, name, await self.talk(), self.address)
            return
        body = self.random.randbytes(self.random.randrange(1, 40_000)) if kind in ("post", "chunked") else b""
        request = self.render(kind, name, body)
        link = await self.exchange(request)
        if link is None or not link.complete:
            soak.outcome(kind, name, "cut" if link is not None and link.began else "unanswered", self.address)
        elif link.status == 200:
            right = LARGE if kind == "large" else hashlib.sha256(body).hexdigest().encode()
            soak.outcome(kind, name, "ok" if link.body == right and link.name == name else "wrong", self.address)
        else:
            soak.outcome(kind, name, str(link.status), self.address)
        if link is not None and link.alive and link.complete and len(self.idle) < 2:
            self.idle.append(link)
        elif link is not None:
            link.close()

    async def exchange(self, request: bytes) -> KeptLink | None:
        """The connection with the answer. One that was kept may have been closed meanwhile: then a new one is tried,
        as browsers do (RFC 9110 section 9.2.2)."""
        while self.idle:
            link = self.idle.pop()
            if link.alive and (await self.send(link, request) or link.began):
                return link
        with contextlib.suppress(OSError):
            loop = asyncio.get_running_loop()
            site = self.soak.site
            _, link = await loop.create_connection(KeptLink, site.host, site.port, local_addr=(self.address, 0))
            await self.send(link, request)
            return link
        return None

    async def send(self, link: KeptLink, request: bytes) -> bool:
        link.name, link.complete = "", False
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(PATIENCE):
                link.complete = await link.ask(request)
        return link.complete

    async def talk(self) -> str:
        """A WebSocket: what is said comes back. (Not one frame of the protocol: Shield passes bytes on.)"""
        site = self.soak.site
        head = self.fields("GET /ws") + "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        try:
            async with asyncio.timeout(PATIENCE):
                reader, writer = await asyncio.open_connection(site.host, site.port, local_addr=(self.address, 0))
                try:
                    writer.write(f"{head}Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode())
                    answer = await reader.readuntil(b"\r\n\r\n")
                    if not answer.startswith(b"HTTP/1.1 101 "):
                        return answer[9:12].decode("latin-1")
                    for _ in range(10):
                        said = self.random.randbytes(self.random.randrange(1, 5000))
                        writer.write(said)
                        if await reader.readexactly(len(said)) != said:
                            return "wrong"
                        await asyncio.sleep(0.05)
                finally:
                    writer.transport.abort()
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            return "cut"
        return "ok"

    def fields(self, line: str) -> str:
        site = self.soak.site
        return (
            f"{line} HTTP/1.1\r\nHost: {site.host}:{site.port}\r\nUser-Agent: {AGENTS[self.number % len(AGENTS)]}\r\n"
            f"Accept: text/html\r\nAccept-Language: {LANGUAGES[self.number % len(LANGUAGES)]}\r\n"
        )

    def render(self, kind: str, name: str, body: bytes) -> bytes:
        method = "POST" if body else "GET"
        path = {"slow": "/slow", "large": "/large"}.get(kind, "/page")
        head = self.fields(f"{method} {path}") + f"X-Id: {name}\r\n"
        if kind == "chunked":
            cut = len(body) // 2
            pieces = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (body[:cut], body[cut:]) if piece)
            return f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + pieces + b"0\r\n\r\n"
        if body:
            head += f"Content-Length: {len(body)}\r\n"
        return f"{head}\r\n".encode() + body


class KeptLink(Link):
    """A connection that notes whose answer came."""

    name = ""
    complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        if name.lower() == b"x-id":
            self.name = value.decode("latin-1")


# the hostile

HEAD: Final = "GET /page HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: flood\r\n"
KILLER: Final = "Range: bytes=0-" + "".join(f",5-{at}" for at in range(1000)) + "\r\n"
MALFORMED: Final = (
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET / HTTP/1.1\nHost: a\n\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
)


def hostile(soak: Soak) -> list[Callable[[Any], Any]]:
    """Ways to be a nuisance: each is given a connected socket, and may go on until it is cancelled."""
    loop = asyncio.get_running_loop()
    dice = soak.random

    async def drip(sock: socket.socket, first: bytes, piece: bytes, pause: float) -> None:
        await loop.sock_sendall(sock, first)
        while True:
            await asyncio.sleep(pause)
            await loop.sock_sendall(sock, piece)

    async def silent(sock: socket.socket) -> None:
        await loop.sock_recv(sock, 1)

    async def slow_head(sock: socket.socket) -> None:
        await drip(sock, HEAD.encode(), b"X-a: b\r\n", 0.5)

    async def slow_body(sock: socket.socket) -> None:
        await drip(sock, b"POST /page HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n", b"abcdefgh", 0.3)

    async def slow_reader(sock: socket.socket) -> None:
        await loop.sock_sendall(sock, HEAD.replace("/page", "/large").encode() + b"\r\n")
        while await loop.sock_recv(sock, 512):  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.5)

    async def pipeline(sock: socket.socket) -> None:
        await loop.sock_sendall(sock, (HEAD + "\r\n").encode() * 500)
        while await loop.sock_recv(sock, 65_536):
            pass

    async def once(sock: socket.socket) -> None:
        version = dice.choice(["HTTP/1.0\r\n", "HTTP/1.1\r\nConnection: close\r\n"])
        await loop.sock_sendall(sock, (HEAD.replace("HTTP/1.1\r\n", version) + "\r\n").encode())
        while await loop.sock_recv(sock, 65_536):
            pass

    async def ranges(sock: socket.socket) -> None:
        await loop.sock_sendall(sock, (HEAD.replace("/page", "/large") + KILLER + "\r\n").encode())
        while await loop.sock_recv(sock, 65_536):
            pass

    async def fields(sock: socket.socket) -> None:
        await loop.sock_sendall(sock, (HEAD + "".join(f"X-{n}: {n}\r\n" for n in range(4000))).encode())
        await loop.sock_recv(sock, 65_536)

    async def malformed(sock: socket.socket) -> None:
        await loop.sock_sendall(sock, dice.choice(MALFORMED))
        await loop.sock_recv(sock, 65_536)

    async def half_closed(sock: socket.socket) -> None:
        await loop.sock_sendall(sock, (HEAD.replace("/page", "/slow") + "\r\n").encode())
        sock.shutdown(socket.SHUT_WR)
        await loop.sock_recv(sock, 65_536)

    async def upload(sock: socket.socket) -> None:
        await loop.sock_sendall(
            sock, b"POST /page HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n" + bytes(200_000)
        )
        await loop.sock_recv(sock, 65_536)

    async def tunnel(sock: socket.socket) -> None:
        key = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        await drip(sock, (HEAD + key).encode(), b"x" * 100, 0.2)

    return [
        silent, slow_head, slow_body, slow_reader, pipeline, once, ranges, fields, malformed, half_closed, upload,
        tunnel,
    ]  # fmt: skip


# the run


class Soak:
    """What all share. `problems` is the verdict."""

    def __init__(self, site: Target, seed: int) -> None:
        self.site = site
        self.random = random.Random(seed)
        self.phase = "warm"
        self.seen: collections.Counter[str] = collections.Counter()
        self.lost: set[str] = set()
        self.asked: collections.Counter[str] = collections.Counter()
        self.outcomes: collections.Counter[str] = collections.Counter()
        self.answered: dict[str, tuple[str, str]] = {}  # id: kind, outcome
        self.attacks: collections.Counter[str] = collections.Counter()
        self.fell_at = float("-inf")
        self.falls = 0
        self.problems: list[str] = []

    def outcome(self, kind: str, name: str, what: str, address: str) -> None:
        self.outcomes[what] += 1
        if kind != "websocket":
            self.answered[name] = (kind, what)
        of_the_fall = time.monotonic() - self.fell_at < AFTERMATH
        excused = what == "ok" or (of_the_fall and (what in ("502", "503", "504") or what == "cut"))
        if not excused and len(self.problems) < 50:
            self.problems.append(f"{kind} {name} of {address}: {what}")

    async def harass(self, until: float) -> None:
        """Hostile connections, at a rate, each for up to 5 s."""
        ways = hostile(self)
        open_now: set[asyncio.Task[None]] = set()
        while time.monotonic() < until:
            await asyncio.sleep(self.random.expovariate(HOSTILE_RATE))
            if len(open_now) < HOSTILE_AT_ONCE:
                task = asyncio.create_task(self.one(self.random.choice(ways)))
                open_now.add(task)
                task.add_done_callback(open_now.discard)
        for task in open_now:
            task.cancel()
        await asyncio.gather(*open_now, return_exceptions=True)

    async def one(self, way: Callable[[Any], Any]) -> None:
        number = self.random.randrange(HOSTILE_ADDRESSES)
        sock = socket.socket()
        sock.setblocking(False)
        self.attacks[way.__name__] += 1
        try:
            sock.bind((f"127.16.{number // 8}.{1 + number % 8}", 0))
            async with asyncio.timeout(self.random.uniform(0.05, 5.0)):
                await asyncio.get_running_loop().sock_connect(sock, (self.site.host, self.site.port))
                await way(sock)
        except (OSError, TimeoutError):
            pass
        finally:
            if self.random.random() < 0.5:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()

    async def topple(self, origins: list[Origin], until: float) -> None:
        """Let one server after the other fall over and get up again."""
        turn = 0
        while True:
            await asyncio.sleep(min(self.random.uniform(*FALLS), max(0.0, until - time.monotonic())))
            if time.monotonic() >= until - 1.0:
                return
            self.fell_at = time.monotonic()
            self.falls += 1
            await origins[turn % 2].fall()
            await asyncio.sleep(self.random.uniform(*LIES))
            await origins[turn % 2].rise()
            turn += 1

    async def play(self, phase: str, seconds: float, origins: list[Origin], say: Callable[[str], None]) -> None:
        """All at once."""
        self.phase = phase
        until = time.monotonic() + seconds
        people = [asyncio.create_task(Person(self, number).live(until)) for number in range(USERS)]
        others = [asyncio.create_task(self.harass(until)), asyncio.create_task(self.topple(origins, until))]
        tasks = people + others
        while not all(task.done() for task in tasks):
            await asyncio.wait(tasks, timeout=1.0)
            asked, attacks = sum(self.asked.values()), sum(self.attacks.values())
            say(f"{phase}: {asked:,} requests, {attacks:,} attacks, {self.falls} falls, {len(self.problems)} problems")
            if any(task.done() and task.exception() for task in tasks):
                break
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result

    def count_up(self) -> None:
        """Hold what was answered against what the service saw."""
        for name, (kind, what) in self.answered.items():
            times = self.seen[name]
            most = 1 if kind in ("post", "chunked") else 1 + RETRIES
            if times > most or (what == "ok" and not times):
                self.problems.append(f"{kind} {name}, answered {what}, came to the service {times} times")


def held(admin: int, pid: int) -> dict[str, int]:
    """What Shield holds now."""
    found = json.loads(ask(admin, "/api/status")[1])
    proc = Path("/proc") / str(pid)
    resident = re.search(r"VmRSS:\s+(\d+)", (proc / "status").read_text())
    return {
        "connections": int(found["connections"]["open"]),
        "streams": int(found["connections"]["streams"]),
        "in_flight": int(found["in_flight"]),
        "waiting": int(found["waiting"]),
        "files": len(list((proc / "fd").iterdir())) - sum(server["idle"] for server in found["upstream"]),
        "tasks": int(found["tasks"]),
        "resident": int(resident[1]) * 1024 if resident else 0,
    }


async def rest(admin: int, pid: int, wanted: dict[str, int] | None) -> dict[str, int]:
    """What Shield holds when all have left."""
    end = time.monotonic() + REST_SECONDS
    while True:
        await asyncio.sleep(0.5)
        found = await asyncio.to_thread(held, admin, pid)
        quiet = not (found["connections"] or found["streams"] or found["in_flight"] or found["waiting"])
        same = wanted is None or (found["files"] <= wanted["files"] and found["tasks"] <= wanted["tasks"])
        if (quiet and same) or time.monotonic() > end:
            return found


def judge(before: dict[str, int], after: dict[str, int]) -> list[str]:
    found = [
        f"{after[name]} {name} are left" for name in ("connections", "streams", "in_flight", "waiting") if after[name]
    ]
    found += [
        f"{after[name]} {name}, {before[name]} before" for name in ("files", "tasks") if after[name] > before[name]
    ]
    grown = after["resident"] - before["resident"]
    return found + ([f"memory has grown by {grown / 2**20:.1f} MiB"] if grown > MOST_GROWTH else [])


async def play(seconds: float, seed: int, folder: Path, started: list[Process], shown: Bar) -> dict[str, Any]:
    port, admin, one, other = free_ports(4)
    soak = Soak(Target("127.0.0.1", port), seed)
    origins = [Origin(number, soak.seen, soak.lost) for number in (one, other)]
    for origin in origins:
        await origin.rise()
    config = folder / "shield.toml"
    config.write_text(CONFIG.format(port=port, admin=admin, one=one, other=other, places=PLACES))
    argv = [sys.executable, "-m", "shield", "run", "--config", str(config)]
    shield = launch("shield", argv, folder, frozenset(own_cores()))
    started.append(shield)
    await asyncio.to_thread(wait_until_answers, shield, port)
    begin = time.monotonic()

    def say(text: str) -> None:
        shown.step(min(time.monotonic() - begin, seconds), text)

    await soak.play("warm", WARM * seconds, origins, say)
    say("rest")
    before = await rest(admin, shield.pid, None)
    await soak.play("soak", (1 - WARM) * seconds, origins, say)
    say("rest")
    after = await rest(admin, shield.pid, before)
    soak.count_up()
    status = json.loads((await asyncio.to_thread(ask, admin, "/api/status"))[1])
    log = shield.log.read_text(errors="replace")
    bugs = [line for line in log.splitlines() if '"event":"exception"' in line or '"level":"error"' in line]
    for origin in origins:
        await origin.fall()
    return {
        "seconds": seconds,
        "asked": dict(soak.asked),
        "outcomes": dict(soak.outcomes),
        "attacks": dict(soak.attacks),
        "falls": soak.falls,
        "more_than_once": sum(times > 1 for times in soak.seen.values()),
        "before": before,
        "after": after,
        "status": {key: status[key] for key in ("requests", "responses", "faults", "connections")},
        "problems": soak.problems + judge(before, after) + [f"Shield said: {line[:500]}" for line in bugs[:10]],
    }


def markdown(results: dict[str, Any]) -> str:
    rows = [
        [name, f"{results['before'][name]:,}", f"{results['after'][name]:,}"]
        for name in ("connections", "streams", "in_flight", "waiting", "files", "tasks", "resident")
    ]
    asked, attacks = sum(results["asked"].values()), sum(results["attacks"].values())
    lines = [
        f"# Soak of {results['seconds']:.0f} s",
        "",
        f"{asked:,} honest requests, {attacks:,} hostile connections, {results['falls']} falls of a server.",
        "",
        report.table(["what Shield held", "after the warm-up", "at the end"], rows),
        "",
        f"Honest requests: {results['outcomes']}. {results['more_than_once']} came to the service more than once.",
        "",
        f"Crowding: {results['status']['connections']}.",
    ]
    lines += [f"\n**Problem**: {problem}." for problem in results["problems"]]
    return "\n".join(lines)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=bounded(float, 10, 36_000), default=600.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--json", type=Path, help="where the raw results go (default: nowhere)")
    parser.add_argument("--keep-log", type=Path, help="where Shield's log goes")


def run(arguments: argparse.Namespace) -> int:
    """Prints the table and returns the exit status."""
    print(f"seed {arguments.seed}", file=sys.stderr)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that Shield is not left behind
    with tempfile.TemporaryDirectory(prefix="soak-") as name, running([]) as started:
        with bar("soak", arguments.seconds) as shown:
            results = uvloop.run(play(arguments.seconds, arguments.seed, Path(name), started, shown))
        if arguments.keep_log:
            arguments.keep_log.write_bytes(started[0].log.read_bytes())
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")
    print(markdown(results))
    return 1 if results["problems"] else 0
