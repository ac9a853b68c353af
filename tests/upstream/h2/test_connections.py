"""Connections of HTTP/2 to a server: over TLS, in the health check, in the config."""

from __future__ import annotations

import ssl
from typing import Any

import pytest

from shield.config.load import ConfigError, parse
from shield.upstream.health import probe
from shield.upstream.settings import UpstreamSettings
from tests.harness import Shield, get
from tests.upstream.h2.origin import Asked, Http2Origin


def _context(tls: Any, *protocols: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls.certificate, tls.key)
    context.set_alpn_protocols(list(protocols))
    return context


async def test_over_tls_it_is_agreed_on(tls: Any) -> None:
    upstream = UpstreamSettings(ca=str(tls.authority))
    async with (
        Http2Origin(context=_context(tls, "h2", "http/1.1")) as origin,
        Shield(origin.url, upstream=upstream) as shield,
        await shield.client() as client,
    ):
        assert (await client.ask(get("/"))).body == b"GET / 0"
        assert origin.requests[0].get(":scheme") == "https"


async def test_a_server_that_agrees_to_http_1_alone_is_502(tls: Any) -> None:
    upstream = UpstreamSettings(ca=str(tls.authority))
    async with (
        Http2Origin(context=_context(tls, "http/1.1")) as origin,
        Shield(origin.url, upstream=upstream) as shield,
        await shield.client() as client,
    ):
        assert (await client.ask(get("/"))).status == 502


@pytest.mark.parametrize(("status", "well"), [(200, True), (302, True), (503, False)])
async def test_the_health_check_asks_over_http_2(status: int, well: bool) -> None:
    async def handle(asked: Asked) -> None:
        assert (asked.path, asked.get("user-agent")) == ("/healthz", "shield-health-check")
        await asked.head(status, ended=True)

    upstream = UpstreamSettings(health_path="/healthz")
    async with Http2Origin(handle) as origin, Shield(origin.url, upstream=upstream) as shield:
        assert await probe(shield.pool, shield.pool.servers[0]) is well


async def test_without_a_path_it_connects() -> None:
    async with Http2Origin() as origin, Shield(origin.url) as shield:
        assert await probe(shield.pool, shield.pool.servers[0]) is True
        assert not shield.pool.servers[0].multiplexed
    assert await probe(shield.pool, shield.pool.servers[0]) is False


def test_no_proxy_header_goes_before_it() -> None:
    """It would name one client, and the connection has the requests of many."""
    with pytest.raises(ConfigError, match="carries the requests of many clients"):
        parse('[upstream]\nservers = ["h2c://127.0.0.1:9000"]\nproxy_protocol = "v1"\n')
