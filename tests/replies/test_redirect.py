"""From plain HTTP to https, and nowhere else."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import pytest

from tests.harness import get, post, shielded, soon

NAMES = frozenset({"a.example", "xn--bcher-kva.example", "192.0.2.1", "2001:db8::1"})


def redirect(port: int = 443, acme: bool = False) -> tuple[int, bool, Callable[[str], bool]]:
    """As shielded() takes it."""
    return port, acme, NAMES.__contains__


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


HOSTILE_HOSTS = (
    "a.example@evil.example",
    "user:pass@a.example",
    "evil.example/a.example",
    "evil.example\\\\a.example",
    "evil.example?a.example",
    "evil.example#a.example",
    "evil.example, a.example",
    "a.example evil.example",
    "a.example:80@evil.example",
    "a.example:evil.example",
    "a.example:80:90",
    "a.example:65536",
    "a.example:99999",
    "a.example:-1",
    "a.example:0x50",
    "a.example:\u0661",
    "[2001:db8::1",
    "2001:db8::1",
    "[2001:db8::1]evil.example",
    "[2001:db8::1%25eth0]",
    "[v1.evil]",
    "//a.example",
    "https://a.example",
    "",
)


@pytest.mark.parametrize("host", HOSTILE_HOSTS)
async def test_a_host_that_is_none_leads_nowhere(host: str) -> None:
    async with shielded(redirect=redirect()) as (shield, origin), await shield.client() as client:
        answer = await client.ask(b"GET / HTTP/1.1\r\nHost: " + host.encode() + b"\r\n\r\n")
        assert (answer.status, answer.get("Location")) == (400, None)
        assert await client.gone()
        assert not origin.requests


@pytest.mark.parametrize(
    "host",
    [
        "a.example%2eevil.example",
        "a.example%00.evil.example",
        "%61.example",
        "a.example;evil.example",
        "a_example",
        "evil.example:443",
        "[::ffff:192.0.2.1]",
        "[2001:db8::2]:80",
        "3221225985",  # 192.0.2.1 as one number
        "0300.0.2.1",
        "192.0.2.1.",
        "*.a.example",
    ],
)
async def test_a_host_that_only_looks_like_ours_leads_nowhere(host: str) -> None:
    async with shielded(redirect=redirect()) as (shield, _), await shield.client() as client:
        answer = await client.ask(b"GET / HTTP/1.1\r\nHost: " + host.encode() + b"\r\n\r\n")
        assert (answer.status, answer.get("Location")) == (421, None)
        assert host.encode() not in answer.body, "nothing of it is repeated"


@pytest.mark.parametrize(
    "head",
    [
        b"GET /\r\nLocation:https://evil.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n",
        b"GET /\rX HTTP/1.1\r\nHost: a.example\r\n\r\n",
        b"GET /\nX: y HTTP/1.1\r\nHost: a.example\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.example\r\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.example\nX: y\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.example\r\n .evil.example\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.example\x00.evil.example\r\n\r\n",
        b"GET /\xe4 HTTP/1.1\r\nHost: a.example\r\n\r\n",
        b"GET /#evil HTTP/1.1\r\nHost: a.example\r\n\r\n",
        b"GET http://a.example@evil.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n",
        b"GET http://a.example:80@evil.example/ HTTP/1.1\r\nHost: a.example:80\r\n\r\n",
        b"GET ftp://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n",
        b"GET //evil.example@a.example HTTP/0.9\r\nHost: a.example\r\n\r\n",
        b"CONNECT evil.example:443 HTTP/1.1\r\nHost: a.example\r\n\r\n",
        b"TRACE / HTTP/1.1\r\nHost: a.example\r\n\r\n",
    ],
)
async def test_a_head_that_would_write_a_line_or_another_host_is_refused(head: bytes) -> None:
    async with shielded(redirect=redirect()) as (shield, origin), await shield.client() as client:
        await client.send(head)
        answer = await client.response()
        assert answer.status in (400, 405, 505)
        assert answer.get("Location") is None
        assert b"evil" not in answer.body
        assert await client.gone()
        assert not origin.requests


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/\\evil.example", "/\\evil.example"),
        ("/.evil.example", "/.evil.example"),
        ("/@evil.example", "/@evil.example"),
        ("/:x@evil.example/", "/:x@evil.example/"),
        ("/..//evil.example/..", "/..//evil.example/.."),
        ("/%2f%2fevil.example", "/%2f%2fevil.example"),
        ("/?next=https://evil.example", "/?next=https://evil.example"),
        ('/"><script>', '/"><script>'),
        ("http://a.example?x", "/?x"),
        ("HTTP://a.example//evil.example", "//evil.example"),
    ],
)
async def test_whatever_the_path_the_host_is_ours(target: str, path: str) -> None:
    async with shielded(redirect=redirect()) as (shield, _), await shield.client() as client:
        answer = await client.ask(f"GET {target} HTTP/1.1\r\nHost: a.example\r\n\r\n".encode())
        assert (answer.status, answer.get("Location")) == (308, f"https://a.example{path}")
        assert answer.body == b""


async def test_a_head_byte_by_byte_and_one_that_never_ends() -> None:
    async with shielded(redirect=redirect()) as (shield, _):
        async with await shield.client() as client:
            await client.send_slowly(get("/slow"))
            assert (await client.response()).get("Location") == "https://a.example/slow"
        async with await shield.client() as client:
            await client.send(get("/never")[:-2])
            await soon(lambda: shield.accepted[-1]._heads.partial)
            shield.advance(shield.timeouts.header + 1)
            assert (await client.response()).status == 408
            assert await client.gone()
        async with await shield.client() as client:
            assert (await client.ask(get("/"))).status == 308
            shield.advance(shield.timeouts.keep_alive + 1)
            assert await client.gone()
        assert shield.metrics.faults["head_timeout"] == 1


async def test_a_large_head_and_a_long_target() -> None:
    async with shielded(redirect=redirect()) as (shield, _):
        for head, status in (
            (get("/" + "x" * 9000), 414),
            (get("/", "X: " + "y" * 33_000), 431),
            (get("/", *[f"X-{n}: y" for n in range(120)]), 431),
        ):
            async with await shield.client() as client:
                await client.feed(head)
                answer = await client.response()
                assert (answer.status, answer.get("Location")) == (status, None)


async def test_an_endless_body_is_not_read_to_its_end() -> None:
    async with shielded(redirect=redirect()) as (shield, _), await shield.client() as client:
        await client.send(get("/", "Content-Length: 60000", method="POST") + b"x" * 1000)
        assert (await client.response()).status == 308
        shield.advance(shield.timeouts.progress + 1)
        assert await client.gone()
        async with await shield.client() as other:
            await other.send(get("/", "Transfer-Encoding: chunked", method="POST") + b"5\r\nhello\r\n")
            answer = await other.response()
            assert (answer.status, answer.get("Connection")) == (308, "close")


async def test_pipelined_requests_are_answered_in_order_and_not_all_in_one_turn() -> None:
    async with shielded(redirect=redirect()) as (shield, _), await shield.client() as client:
        await client.send(b"".join(get(f"/{n}") for n in range(300)) + get("/", host="evil.example") + get("/last"))
        for n in range(300):
            assert (await client.response()).get("Location") == f"https://a.example/{n}"
        assert (await client.response()).status == 421
        assert (await client.response()).get("Location") == "https://a.example/last"


async def test_who_reads_no_answers_is_served_no_further() -> None:
    asked = get("/" + "x" * 8000)
    async with shielded(redirect=redirect()) as (shield, _), await shield.client(receive_buffer=4096) as client:
        sending = asyncio.create_task(client.feed(asked * 2000))
        await soon(lambda: shield.accepted and shield.accepted[0].flow.blocked)
        assert shield.accepted[0].transport.get_write_buffer_size() < 1 << 20
        shield.advance(shield.timeouts.progress + 1)
        await soon(lambda: shield.metrics.connections_open == 0)
        assert shield.metrics.faults["read_timeout"] == 1
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


async def test_an_addresss_connections_are_limited_there_too() -> None:
    async with shielded(redirect=redirect(), per_address=4) as (shield, _), contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(await shield.client()) for _ in range(12)]
        for client in clients:
            await client.feed(get("/"))
        closed = shield.metrics.connections_closed
        await soon(lambda: closed["displaced_address"] + closed["refused_address"] == 8)
        assert shield.metrics.connections_open == 4


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
