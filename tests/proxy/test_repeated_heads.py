"""A connection that repeats its fields to the letter: what was understood once holds, and nothing else does."""

from __future__ import annotations

import pytest

from tests.proxy.harness import get, shielded

FIELDS = (
    "User-Agent: A",
    "Accept-Language: de",
    "Cookie: a=1; shield_pass=good-1; b=2",
    "Connection: keep-alive, X-Hop",
)


async def test_every_repetition_is_forwarded_like_the_first() -> None:
    async with shielded() as (shield, origin):
        async with await shield.client() as client:
            for n in range(5):
                answer = await client.ask(get(f"/{n}?q={n}", *FIELDS, "X-Hop: 1", "X-One: 1"))
                assert answer.body == f"GET /{n}?q={n}".encode()
        assert [request.target for request in origin.requests] == [f"/{n}?q={n}" for n in range(5)]
        for request in origin.requests:
            assert request.get("Cookie") == "a=1; b=2"
            assert (request.get("X-One"), request.get("X-Hop"), request.get("User-Agent")) == ("1", None, "A")
            assert request.get("Host") == "a.example"
        assert len({request.get("X-Request-Id") for request in origin.requests}) == 5
        assert shield.engine.tokens == ["good-1"]
        assert [request.path for request in shield.engine.decided] == [f"/{n}" for n in range(5)]
        assert all(request.token == ("pass", "good-1") for request in shield.engine.decided)


@pytest.mark.parametrize("repetitions", [1, 2, 3])
@pytest.mark.parametrize(
    ("bad", "status"),
    [("/a#b", 400), ("http://b.example/", 400), ("http://a.example", 200), ("/" + "a" * 9000, 414), ("*", 400)],
)
async def test_the_target_is_checked_each_time(repetitions: int, bad: str, status: int) -> None:
    async with shielded() as (shield, origin):
        async with await shield.client() as client:
            for _ in range(repetitions):
                assert (await client.ask(get("/", *FIELDS))).status == 200
            assert (await client.ask(get(bad, *FIELDS))).status == status
        assert len(origin.requests) == repetitions + (status == 200)


async def test_a_change_of_method_version_or_field_is_seen() -> None:
    async with shielded() as (shield, origin):
        async with await shield.client() as client:
            for _ in range(3):
                await client.ask(get("/", *FIELDS))
            await client.send(get("/head", *FIELDS, method="HEAD"))
            assert (await client.response("HEAD")).body == b""
            for _ in range(2):
                assert (await client.ask(get("/other", *FIELDS[:-1], "Connection: keep-alive"))).status == 200
            await client.ask(get("/post", *FIELDS[:-1], "Connection: keep-alive", method="POST"))
            old = await client.ask(get("/old", *FIELDS[:-1], "Connection: keep-alive", version="1.0"))
            assert old.get("Connection") == "keep-alive"
        targets = [(request.method, request.target) for request in origin.requests]
        assert targets[3:] == [
            ("HEAD", "/head"),
            ("GET", "/other"),
            ("GET", "/other"),
            ("POST", "/post"),
            ("GET", "/old"),
        ]
        assert origin.requests[6].get("Content-Length") == "0"


async def test_the_spelling_of_an_absolute_form_is_not_kept_for_the_next_request() -> None:
    async with shielded() as (shield, origin):
        async with await shield.client() as client:
            for target in ("/", "http://A.EXAMPLE/1", "/2", "/3", "http://A.EXAMPLE/4", "http://A.EXAMPLE/5", "/6"):
                assert (await client.ask(get(target, *FIELDS))).status == 200
        hosts = [request.get("Host") for request in origin.requests]
        assert hosts == ["a.example", "A.EXAMPLE", "a.example", "a.example", "A.EXAMPLE", "A.EXAMPLE", "a.example"]


async def test_repeated_fields_with_a_body_are_framed_each_time() -> None:
    async with shielded() as (shield, origin):
        async with await shield.client() as client:
            for n in range(4):
                data = get(f"/{n}", "Content-Length: 2", method="POST") + b"%02d" % n
                assert (await client.ask(data)).status == 200
        assert [request.body for request in origin.requests] == [b"%02d" % n for n in range(4)]


LINES = (
    b"GET / HTTP/1.1",
    b"GET /?a=b&c=%20 HTTP/1.1",
    b"GET //evil.example/x HTTP/1.1",
    b"GET /..;/a HTTP/1.1",
    b'GET /"<>^`{|}\\ HTTP/1.1',
    b"HEAD / HTTP/1.1",
    b"OPTIONS * HTTP/1.1",
    b"GET  / HTTP/1.1",
    b"GET /  HTTP/1.1",
    b"GET / HTTP/1.1 ",
    b" GET / HTTP/1.1",
    b"GET / HTTP/1.0",
    b"GET / HTTP/1.2",
    b"GET / HTTP/2.0",
    b"GET / http/1.1",
    b"GET /",
    b"get / HTTP/1.1",
    b"GETS / HTTP/1.1",
    b"GET /a b HTTP/1.1",
    b"GET /a\tb HTTP/1.1",
    b"GET /\x00 HTTP/1.1",
    b"GET /\x7f HTTP/1.1",
    b"GET /\xc3\xa9 HTTP/1.1",
    b"GET /# HTTP/1.1",
    b"GET a HTTP/1.1",
    b"GET /\rX HTTP/1.1",
    b"GET /\nX HTTP/1.1",
    b"GET http://a.example/x?y HTTP/1.1",
    b"GET http://b.example/x HTTP/1.1",
    b"GET http://[::1/ HTTP/1.1",
    b"TRACE / HTTP/1.1",
    b"CONNECT a:1 HTTP/1.1",
)


@pytest.mark.parametrize("line", LINES, ids=repr)
async def test_a_line_means_the_same_whether_its_fields_were_seen_before_or_not(line: bytes) -> None:
    """The short cut for repeated fields accepts nothing that the parser refuses, and reads nothing differently."""
    plain = get("/", *FIELDS)
    data = line + plain[plain.index(b"\r\n") :]
    outcomes = []
    for before in (0, 3):
        async with shielded() as (shield, origin):
            async with await shield.client() as client:
                for _ in range(before):
                    await client.ask(plain)
                await client.send(data)
                answer = await client.response("HEAD" if line.startswith(b"HEAD") else "GET")
            seen = [(request.method, request.target, request.get("Host")) for request in origin.requests[before:]]
            outcomes.append((answer.status, seen))
    assert outcomes[0] == outcomes[1]
