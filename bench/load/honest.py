"""People who ask for what they want and know what they must get, for the soak.

They fetch, upload and talk over WebSockets. Each request has an id of its own, and each answer must be whole, theirs,
and the right one; what became of it is written into a ledger.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import time
from typing import Final

from bench.common.guard import Target
from bench.load.ledger import ONCE, Ledger
from bench.load.users import AGENTS, LANGUAGES, Link
from bench.origins.falling_origin import LARGE

THINK: Final = 0.35  # s between a user's requests, on average
PATIENCE: Final = 30.0  # s for an answer


class Honest:
    """One user, with up to two kept connections."""

    def __init__(self, site: Target, ledger: Ledger, number: int) -> None:
        self.site = site
        self.ledger = ledger
        self.number = number
        self.address = f"127.2.{number}.1"
        self.random = random.Random(number)
        self.idle: list[KeptLink] = []

    async def live(self, phase: str, until: float) -> None:
        """Ask until the time has come, a monotonic one. Ids begin with the phase."""
        count = 0
        try:
            while time.monotonic() < until:
                count += 1
                await self.ask(f"{phase}-{self.number}-{count}")
                await asyncio.sleep(self.random.expovariate(1 / THINK))
        finally:
            for link in self.idle:
                link.close()
            self.idle.clear()

    async def ask(self, name: str) -> None:
        kind = self.random.choices(["get", "slow", "large", "post", "chunked", "websocket"], [8, 3, 2, 4, 2, 1])[0]
        self.ledger.asked[kind] += 1
        if kind == "websocket":
            self.ledger.write(kind, name, await self.talk(), self.address)
            return
        body = self.random.randbytes(self.random.randrange(1, 40_000)) if kind in ONCE else b""
        link = await self.exchange(self.render(kind, name, body))
        right = LARGE if kind == "large" else hashlib.sha256(body).hexdigest().encode()
        self.ledger.write(kind, name, judged(link, name, right), self.address)
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
            where = (self.site.host, self.site.port)
            _, link = await loop.create_connection(KeptLink, *where, local_addr=(self.address, 0))
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
        site = self.site
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
        site = self.site
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


def judged(link: KeptLink | None, name: str, right: bytes) -> str:
    """What became of a request: ok, wrong, cut, unanswered, or its status."""
    if link is None or not link.complete:
        return "cut" if link is not None and link.began else "unanswered"
    if link.status != 200:
        return str(link.status)
    return "ok" if link.body == right and link.name == name else "wrong"
