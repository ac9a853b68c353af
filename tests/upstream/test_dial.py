"""Connections to servers: which address, how long, whose certificate."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import replace
from typing import Any

import pytest

from shield.operator.metrics import Metrics
from shield.upstream.connection import UpstreamConnection
from shield.upstream.dial import CONNECT_ERRORS
from shield.upstream.pool import Pool
from shield.upstream.server import Server
from shield.upstream.settings import UpstreamSettings
from tests.harness import Origin, Shield, get


class FakeResolver:
    def __init__(self, *addresses: str) -> None:
        self.addresses = list(addresses)

    async def lookup(self, name: str) -> list[str]:
        return self.addresses


def pool(name: str, *addresses: str, **settings: Any) -> Pool:
    return Pool(
        UpstreamSettings(servers=(name,), **settings),
        [name],
        Metrics(),
        FakeResolver(*addresses),
        UpstreamConnection,
        lambda event, server: None,
    )


async def test_connecting_takes_no_longer_than_its_limit() -> None:
    made = pool("http://127.0.0.1:1", connect_timeout=0.05)

    async def never(server: Server, preamble: bytes) -> UpstreamConnection:
        await asyncio.Event().wait()
        raise AssertionError

    made.dialer.connect = never  # type: ignore[method-assign]
    with pytest.raises(TimeoutError):
        await made.connect(made.servers[0])
    assert TimeoutError in CONNECT_ERRORS


async def test_every_address_of_a_name_is_tried_and_the_good_one_remembered() -> None:
    async with Origin() as origin:
        made = pool(f"http://app.example:{origin.port}", "127.0.0.2", "127.0.0.1")
        server = made.servers[0]
        for _ in range(2):
            connection = await made.connect(server)
            assert connection.transport.get_extra_info("peername")[0] == "127.0.0.1"
            assert connection.address == "127.0.0.1"
            connection.close()
        assert server.next_address == 1


async def test_a_name_without_an_address() -> None:
    made = pool("http://app.example:9")
    with pytest.raises(OSError, match=r"app\.example: no address"):
        await made.connect(made.servers[0])


async def test_https_is_verified_with_the_name_asked_for(tls: Any) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tls.certificate, tls.key)
    seen: list[str | None] = []
    context.sni_callback = lambda _, name, __: seen.append(name)  # type: ignore[assignment]
    async with Origin(context=context) as origin:
        trusting = UpstreamSettings(ca=str(tls.authority))
        for settings, status in (
            (trusting, 200),
            (UpstreamSettings(), 502),
            (replace(trusting, server_name="other.example"), 502),
            (UpstreamSettings(verify=False, server_name="other.example"), 200),
        ):
            async with Shield(origin.url, upstream=settings) as shield, await shield.client() as client:
                assert (await client.ask(get("/tls"))).status == status
        assert seen == ["localhost", "localhost", "other.example", "other.example"]
