"""WebSocket load: a fixed number of connections, each sending its next small message when the last came back.

wrk speaks no WebSocket, so this is the generator of all peers, whether wrk is there or not. Every message that comes
back is compared with what its connection sent, so bytes that reach another connection, or change, are failures.

    python -m bench.load.websocket --target http://127.0.0.1:8080/echo --connections 64 --seconds 4
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import json
import os
import sys
import time
from dataclasses import asdict
from typing import Any, Final

import uvloop

from bench.common.guard import MOST_REQUESTS, target
from bench.common.stats import quantile
from bench.load.plan import BROWSER_FIELDS, Plan, Result, add_arguments, reported

MESSAGE_BYTES: Final = 32  # of payload, such as a line of chat or a position in a game
TEXT: Final = 0x81  # a final frame of text (RFC 6455, section 5.2)
CLOSE: Final = b"\x88\x80\0\0\0\0"  # masked with zeros
PATIENCE: Final = 5.0  # s for all connections to be upgraded


def run(plan: Plan, cores: frozenset[int]) -> Result:
    """In a process of its own on these cores. Of the result, `requests` are messages, `upgrades` connections."""
    argv = [sys.executable, "-m", "bench.load.websocket", "--target", plan.target.url]
    argv += ["--connections", str(plan.connections), "--seconds", str(plan.seconds), "--requests", str(plan.requests)]
    return reported(argv, cores, plan.seconds)


def masked(payload: bytes) -> bytes:
    """A client's frame of text. At most 125 bytes."""
    mask = os.urandom(4)
    body = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))
    return bytes([TEXT, 0x80 | len(payload)]) + mask + body


class Generator:
    """The state that the connections of one run share."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.left = plan.requests or MOST_REQUESTS
        self.failed = self.bytes = self.open = 0
        self.statuses: dict[str, int] = {}
        self.latencies: list[float] = []
        self.stopping = False
        self.done = asyncio.Event()

    def take(self) -> bool:
        """Whether one more message may be sent."""
        if self.stopping or self.left <= 0:
            return False
        self.left -= 1
        return True

    async def run(self) -> Result:
        connections = [Connection(self, number) for number in range(self.plan.connections)]
        await asyncio.gather(*(connection.open() for connection in connections))
        upgraded = [connection for connection in connections if connection.upgraded.is_set()]
        self.failed += len(connections) - len(upgraded)
        self.open = len(upgraded)
        began = time.perf_counter()
        for connection in upgraded:
            connection.send()
        if upgraded:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.done.wait(), self.plan.seconds)
        self.stopping = True
        ended, counted = time.perf_counter(), len(self.latencies)
        if self.open:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.done.wait(), 2.0)  # what is under way still comes back, and counts below
        self.failed += self.open
        if self.plan.requests:
            counted = len(self.latencies)
        refused = sum(number for status, number in self.statuses.items() if status >= "400")
        spent = self.latencies[:counted]
        return Result(
            counted,
            ended - began,
            self.bytes,
            refused,
            self.failed,
            quantile(spent, 0.5),
            quantile(spent, 0.99),
            self.statuses,
            upgrades=len(upgraded),
        )

    def closed(self) -> None:
        self.open -= 1
        if self.open == 0:
            self.done.set()


class Connection(asyncio.Protocol):
    """One WebSocket: upgrade, then one message after the other."""

    def __init__(self, generator: Generator, number: int) -> None:
        self.generator = generator
        payload = f"{number:08d} ".encode().ljust(MESSAGE_BYTES, b"x")
        self.frame = masked(payload)
        self.expected = bytes([TEXT, len(payload)]) + payload
        self.buffer = b""
        self.upgraded = asyncio.Event()
        self.answered = asyncio.Event()
        self.waiting = False

    async def open(self) -> None:
        """Until it is upgraded, refused, or PATIENCE is over."""
        where = self.generator.plan.target
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await asyncio.get_running_loop().create_connection(lambda: self, where.host, where.port)
                await self.answered.wait()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        where = self.generator.plan.target
        key = base64.b64encode(os.urandom(16)).decode()
        transport.write(  # type: ignore[attr-defined]
            f"GET {where.path} HTTP/1.1\r\nHost: {where.host}:{where.port}\r\n{BROWSER_FIELDS}Upgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
        )

    def send(self) -> None:
        if self.generator.take():
            self.waiting = True
            self.sent = time.perf_counter()
            self.transport.write(self.frame)
        else:
            self.transport.write(CLOSE)
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        self.generator.bytes += len(data)
        if data == self.expected and self.waiting and not self.buffer:  # nearly always
            self.came_back()
            return
        self.buffer += data
        if not self.answered.is_set():
            self.head()
        elif not self.waiting or not self.expected.startswith(self.buffer):
            self.transport.abort()  # not what was sent: connection_lost counts it
        elif self.buffer == self.expected:
            self.buffer = b""
            self.came_back()

    def head(self) -> None:
        if b"\r\n\r\n" not in self.buffer:
            return
        status = self.buffer[9:12].decode("latin-1")
        self.generator.statuses[status] = self.generator.statuses.get(status, 0) + 1
        if status == "101" and self.buffer.endswith(b"\r\n\r\n"):
            self.upgraded.set()
        else:
            self.transport.abort()
        self.buffer = b""
        self.answered.set()

    def came_back(self) -> None:
        self.generator.latencies.append(time.perf_counter() - self.sent)
        self.waiting = False
        self.send()

    def connection_lost(self, error: Exception | None) -> None:
        self.answered.set()
        if self.waiting:
            self.generator.failed += 1
        if self.upgraded.is_set():
            self.generator.closed()


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.load.websocket", description="WebSocket load, loopback only."
    )
    add_arguments(parser, target, "messages")
    plan = Plan(**vars(parser.parse_args()))
    print(json.dumps(asdict(uvloop.run(_run(plan)))))


async def _run(plan: Plan) -> Result:
    return await Generator(plan).run()


if __name__ == "__main__":
    main()
