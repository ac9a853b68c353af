"""From plain HTTP to https, and nowhere else."""

from __future__ import annotations

import pytest

from shield.proxy.redirect import Redirect
from tests.proxy.harness import get, post, shielded

NAMES = frozenset({"a.example", "xn--bcher-kva.example", "192.0.2.1", "2001:db8::1"})


def redirect(port: int = 443, acme: bool = False) -> Redirect:
    return Redirect(port, acme, NAMES.__contains__)


@pytest.mark.parametrize(
    ("host", "target", "location"),
    [
        ("a.example", "/", "https://a.example/"),
        ("A.Example:80", "/x/y?z=%20&a=//b", "https://A.Example/x/y?z=%20&a=//b"),
        ("a.example:8080", "//evil.example/", "https://a.example//evil.example/"),
        ("192.0.2.1", "/", "https://192.0.2.1/"),
        ("[2001:DB8::1]:80", "/", "https://[2001:DB8::1]/"),
        ("[2001:db8::1]", "/", "https://[2001:db8::1]/"),
        ("a.example", "http://a.example/there?x", "https://a.example/there?x"),
        ("a.example", "/%0d%0aSet-Cookie:x", "https://a.example/%0d%0aSet-Cookie:x"),
        ("xn--bcher-kva.example:", "/", "https://xn--bcher-kva.example/"),
    ],
)
async def test_the_same_host_and_path(host: str, target: str, location: str) -> None:
    async with shielded(redirect=redirect()) as (shield, origin), await shield.client() as client:
        for request in (f"GET {target}", f"HEAD {target}"):
            head = f"{request} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
            answer = await client.ask(head)
            assert answer.status == 308
            assert answer.get("Location") == location
            assert answer.get("Content-Length") == "0"
            assert answer.get("Cache-Control") == "no-store"
            assert answer.get("Strict-Transport-Security") is None, "RFC 6797 section 7.2"
        assert not origin.requests
        assert not shield.engine.decided
        assert shield.metrics.own_responses[3] == 2


async def test_another_port() -> None:
    async with shielded(redirect=redirect(8443)) as (shield, _), await shield.client() as client:
        assert (await client.ask(get("/x"))).get("Location") == "https://a.example:8443/x"


@pytest.mark.parametrize("host", ["evil.example", "a.example.evil.example", "192.0.2.2", "a.example.", ".a.example"])
async def test_no_open_redirect(host: str) -> None:
    async with shielded(redirect=redirect()) as (shield, _), await shield.client() as client:
        answer = await client.ask(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert answer.status == 421
        assert answer.get("Location") is None
        assert shield.metrics.faults["misdirected"] == 1
        assert (await client.ask(get("/"))).status == 308, "the connection goes on"


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.example@evil.example\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.example/evil\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.example\r\nHost: evil.example\r\n\r\n",
        b"GET http://evil.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n",
        b"GET @evil.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n",
    ],
)
async def test_what_is_no_request_is_refused_as_ever(head: bytes) -> None:
    async with shielded(redirect=redirect()) as (shield, _), await shield.client() as client:
        assert (await client.ask(head)).status == 400
        assert await client.gone()


async def test_a_client_that_names_no_host_is_told_of_none() -> None:
    async with shielded(redirect=redirect()) as (shield, _), await shield.client() as client:
        assert (await client.ask(b"GET / HTTP/1.0\r\n\r\n")).status == 421


async def test_a_body_is_read_or_the_connection_closed() -> None:
    async with shielded(redirect=redirect()) as (shield, _), await shield.client() as client:
        assert (await client.ask(post("/", b"x" * 1000))).status == 308
        answer = await client.ask(post("/", b"x" * 200_000))
        assert answer.status == 308
        assert answer.get("Connection") == "close"


async def test_everything_at_an_asterisk() -> None:
    async with shielded(redirect=redirect()) as (shield, _), await shield.client() as client:
        answer = await client.ask(b"OPTIONS * HTTP/1.1\r\nHost: a.example\r\n\r\n")
        assert answer.get("Location") == "https://a.example/"


async def test_challenges_of_acme_are_left_to_the_service_if_it_is_to_answer_them() -> None:
    path = "/.well-known/acme-challenge/token"
    async with shielded(redirect=redirect(acme=True)) as (shield, origin), await shield.client() as client:
        answer = await client.ask(f"GET {path} HTTP/1.1\r\nHost: new.example\r\n\r\n".encode())
        assert answer.body == b"GET " + path.encode(), "for a host that has no certificate yet"
        assert len(shield.engine.decided) == 1, "as any other request"
        assert (await client.ask(get("/.well-known/acme"))).status == 308
        assert [request.target for request in origin.requests] == [path]
    async with shielded(redirect=redirect()) as (shield, _), await shield.client() as client:
        assert (await client.ask(get(path))).status == 308
