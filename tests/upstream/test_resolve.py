"""Names of upstream servers, from a name server of our own whose answers change."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from typing import Any

import pytest

from shield.operator.metrics import Metrics
from shield.upstream.connection import UpstreamConnection
from shield.upstream.pool import Pool
from shield.upstream.resolve import MAX_TTL, STALE, Resolver
from shield.upstream.settings import UpstreamSettings


class NameServer(asyncio.DatagramProtocol):
    """Answers A and AAAA for any name with `addresses` and `ttl`; says nothing, or NXDOMAIN, when told to."""

    def __init__(self) -> None:
        self.addresses = ["127.0.0.1"]
        self.ttl = 1
        self.mode = "answer"
        self.queries: list[tuple[str, int]] = []
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address: Any) -> None:
        at, labels = 12, []
        while data[at]:
            labels.append(data[at + 1 : at + 1 + data[at]].decode())
            at += 1 + data[at]
        kind = struct.unpack("!H", data[at + 1 : at + 3])[0]
        question = data[12 : at + 5]
        self.queries.append((".".join(labels), kind))
        if self.mode == "silent":
            return
        records = b""
        count = 0
        for text in self.addresses if self.mode == "answer" else []:
            family = socket.AF_INET6 if ":" in text else socket.AF_INET
            if kind == (28 if ":" in text else 1):
                packed = socket.inet_pton(family, text)
                records += b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, self.ttl, len(packed)) + packed
                count += 1
        flags = 0x8183 if self.mode == "nxdomain" else 0x8180
        self.transport.sendto(data[:2] + struct.pack("!HHHHH", flags, 1, count, 0, 0) + question + records, address)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def server() -> AsyncIterator[NameServer]:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(NameServer, local_addr=("127.0.0.1", 0))
    yield protocol
    transport.close()


@pytest.fixture
async def resolver(server: NameServer) -> AsyncIterator[tuple[Resolver, Clock]]:
    clock = Clock()
    host, port = server.transport.get_extra_info("sockname")
    made = Resolver(f"{host}:{port}", clock)
    yield made, clock
    await made.close()


async def test_an_answer_is_used_until_its_record_expires(server: NameServer, resolver: tuple[Resolver, Clock]) -> None:
    resolve, clock = resolver
    server.ttl = 10
    assert await resolve.lookup("app.example") == ["127.0.0.1"]
    asked = len(server.queries)
    server.addresses = ["127.0.0.2", "127.0.0.3"]
    clock.now += 9.9
    assert await resolve.lookup("app.example") == ["127.0.0.1"]
    assert len(server.queries) == asked
    clock.now += 0.2
    assert sorted(await resolve.lookup("app.example")) == ["127.0.0.2", "127.0.0.3"]
    assert {name for name, _ in server.queries} == {"app.example"}


@pytest.mark.parametrize(("ttl", "kept"), [(0, 1.0), (1, 1.0), (86_400, MAX_TTL)])
async def test_lifetimes_have_bounds(
    server: NameServer, resolver: tuple[Resolver, Clock], ttl: int, kept: float
) -> None:
    resolve, clock = resolver
    server.ttl = ttl
    await resolve.lookup("app.example")
    asked = len(server.queries)
    clock.now += kept - 0.01
    await resolve.lookup("app.example")
    assert len(server.queries) == asked
    clock.now += 0.02
    await resolve.lookup("app.example")
    assert len(server.queries) > asked


async def test_ipv6_is_resolved_too(server: NameServer, resolver: tuple[Resolver, Clock]) -> None:
    resolve, _ = resolver
    server.addresses = ["::1", "127.0.0.1"]
    assert sorted(await resolve.lookup("app.example")) == ["127.0.0.1", "::1"]


async def test_a_name_that_does_not_exist(server: NameServer, resolver: tuple[Resolver, Clock]) -> None:
    resolve, _ = resolver
    server.mode = "nxdomain"
    with pytest.raises(OSError, match=r"cannot resolve app\.example"):
        await resolve.lookup("app.example")


async def test_the_last_answer_outlives_a_name_server_that_fails(
    server: NameServer, resolver: tuple[Resolver, Clock]
) -> None:
    resolve, clock = resolver
    await resolve.lookup("app.example")
    server.mode = "nxdomain"
    clock.now += 60
    assert await resolve.lookup("app.example") == ["127.0.0.1"]
    clock.now += STALE
    with pytest.raises(OSError, match="cannot resolve"):
        await resolve.lookup("app.example")


async def test_the_pool_follows_a_name_that_moves(server: NameServer, resolver: tuple[Resolver, Clock]) -> None:
    resolve, clock = resolver
    name = "http://app.example:9"
    pool = Pool(UpstreamSettings(), [name], Metrics(), resolve, UpstreamConnection, lambda event, server: None)
    assert await pool.dialer.addresses(pool.servers[0]) == ["127.0.0.1"]
    server.addresses = ["127.0.0.9"]
    clock.now += 1.1
    assert await pool.dialer.addresses(pool.servers[0]) == ["127.0.0.9"]


async def test_an_address_needs_no_name_server(server: NameServer, resolver: tuple[Resolver, Clock]) -> None:
    pool = Pool(
        UpstreamSettings(), ["http://[::1]:9"], Metrics(), resolver[0], UpstreamConnection, lambda event, server: None
    )
    assert await pool.dialer.addresses(pool.servers[0]) == ["::1"]
    assert server.queries == []
