"""A connection that repeats its fields to the letter: what was understood once holds, and nothing else does."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shield.http.forwarded import Forwarding
from shield.http.head import Examiner
from shield.http.head_reader import REPEATED_LIMIT, HeadReader
from shield.http.plain_head import PlainHeads
from shield.http.rules import Broken
from shield.http.settings import HttpSettings
from shield.model import Action
from shield.upstream.settings import UpstreamSettings
from tests.harness import QUEUED, Link, Received, get, post, reply, shielded, soon

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
        assert all(request.shown_pass == ("pass", "good-1") for request in shield.engine.decided)


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


async def test_a_long_head_in_between_is_not_kept_and_forgets_the_one_before() -> None:
    async with shielded() as (shield, origin), await shield.client() as client:
        for n in range(2):
            assert (await client.ask(get("/same", *FIELDS[:3]))).status == 200
            long = get("/long", *FIELDS[:3], "X-Long: " + "x" * 5000)
            assert (await client.ask(long)).body == b"GET /long"
            assert (await client.ask(get("/same", *FIELDS[:3]))).body == b"GET /same"
            assert origin.requests[-1].get("X-Long") is None, n


async def test_an_empty_line_before_each_repetition_is_forgiven() -> None:
    """Old browsers put one behind a form."""
    request = get("/", "Content-Length: 2", method="POST")
    async with shielded() as (shield, origin):
        async with await shield.client() as client:
            for n in range(5):
                await client.send(request)
                await soon(lambda n=n: len(shield.engine.decided) > n)
                await client.send(b"%02d" % n)
                assert (await client.response()).status == 200
                await client.send(b"\r\n")
                await soon(lambda: shield.accepted[0]._heads.blank)
        assert [request.body for request in origin.requests] == [b"%02d" % n for n in range(5)]


@pytest.mark.parametrize("way", ["queued", "connecting", "retried", "held"])
async def test_a_waiting_request_is_not_changed_by_the_next_one(way: str) -> None:
    """They share what is understood of their fields; the next head is read when the exchange before it has ended."""
    silent = asyncio.Event()

    async def handle(link: Link, request: Received) -> None:
        if way == "retried" and not silent.is_set():
            silent.set()
            await soon(lambda: shield.accepted[0]._pending)
            link.reset()
            return
        await link.send(reply(request.target.encode()))

    fields = FIELDS[:3]
    async with shielded(None, handle, upstream=UpstreamSettings(retries=2)) as (shield, _):
        engine, connect = shield.engine, shield.pool.connect

        async def connect_late(*asked: Any) -> Any:
            await soon(lambda: shield.accepted[0]._pending)
            return await connect(*asked)

        if way == "connecting":
            shield.pool.connect = connect_late  # type: ignore[method-assign]
        async with await shield.client() as client:
            engine.verdicts = {"/first": QUEUED} if way == "queued" else {}
            if way == "held":
                await client.send(post("/zero", b"x" * 10, *fields)[:-5])
                await asyncio.sleep(0)
                await client.send(b"x" * 5 + post("/one", b"x" * 10, *fields) + post("/two", b"x" * 10, *fields))
                answers = [(await client.response()).body for _ in range(3)]
                assert answers == [b"/zero", b"/one", b"/two"]
            else:
                await client.send(get("/first", *fields))
                await soon(lambda: engine.decided)
                await client.send(get("/second/with/a/longer/target?and=query", *fields) + get("/third", *fields))
                if way == "queued":
                    await soon(lambda: shield.accepted[0]._pending)
                    request = engine.let_in()
                    assert request.path == "/first"
                    assert request.verdict.action is Action.FORWARD
                    shield.forwarder.resume([request], shield.clock())
                answers = [(await client.response()).body for _ in range(3)]
                assert answers == [b"/first", b"/second/with/a/longer/target?and=query", b"/third"]
        logged = [entry[1] for entry in shield.log.requests]
        assert logged == [answer.decode().partition("?")[0] for answer in answers]
        assert [request.path for request, _ in engine.learned] == logged


async def test_methods_alternate_over_the_same_fields() -> None:
    async with shielded() as (shield, origin):
        async with await shield.client() as client:
            for n in range(6):
                method = ("GET", "HEAD", "DELETE")[n % 3]
                await client.send(get(f"/{n}", *FIELDS[:3], method=method))
                assert (await client.response(method)).body == (b"" if method == "HEAD" else f"{method} /{n}".encode())
        seen = [(request.method, request.target) for request in origin.requests]
        assert seen == [(("GET", "HEAD", "DELETE")[n % 3], f"/{n}") for n in range(6)]


async def test_a_pass_in_a_field_and_one_in_a_cookie_take_turns() -> None:
    in_cookie = ("Cookie: a=1; shield_pass=good-1",)
    in_field = ("Cookie: a=1; shield_pass=good-1", "Shield-Pass: good-2")
    none = ("Cookie: b=2",)
    async with shielded() as (shield, origin):
        async with await shield.client() as client:
            for fields in (in_cookie, in_cookie, in_field, in_field, none, none, in_cookie, (), (), in_field):
                assert (await client.ask(get("/", *fields))).status == 200
        held = [request.shown_pass and request.shown_pass[1] for request in shield.engine.decided]
        assert held == ["good-1"] * 2 + ["good-2"] * 2 + [None] * 2 + ["good-1"] + [None] * 2 + ["good-2"]
        cookies = [request.get("Cookie") for request in origin.requests]
        assert cookies == ["a=1"] * 4 + ["b=2"] * 2 + ["a=1"] + [None] * 2 + ["a=1"]
        assert all(request.get("Shield-Pass") is None for request in origin.requests)


async def test_a_pass_that_is_void_now_is_looked_at_again_with_each_request() -> None:
    """The engine is handed the pass each time and knows best; what the connection keeps is which pass it was."""
    async with shielded() as (shield, _):
        async with await shield.client() as client:
            for _ in range(3):
                await client.ask(get("/", "Cookie: shield_pass=good-1"))
        assert shield.engine.tokens == ["good-1"]
        assert [request.shown_pass for request in shield.engine.decided] == [("pass", "good-1")] * 3


async def test_a_trusted_proxy_brings_another_client_with_each_request() -> None:
    forwarding = Forwarding(("127.0.0.1",), "x-forwarded-for")
    clients = ("192.0.2.1", "192.0.2.2", "192.0.2.2", "192.0.2.1", "", "192.0.2.1")
    async with shielded(forwarding=forwarding) as (shield, origin):
        async with await shield.client() as proxy:
            for n, address in enumerate(clients):
                fields = [f"X-Forwarded-For: {address}", f"X-Request-Id: r{n // 2}"] if address else []
                assert (await proxy.ask(get("/", *FIELDS[:3], *fields))).status == 200
                assert (await proxy.ask(get(f"/{n}", *FIELDS[:3], *fields))).status == 200
                assert (await proxy.ask(get(f"/{n}", *FIELDS[:3], *fields))).status == 200
        expected = [address or "127.0.0.1" for address in clients for _ in range(3)]
        assert [request.client.address for request in shield.engine.decided] == expected
        chains = [f"{address}, 127.0.0.1" if address else "127.0.0.1" for address in clients for _ in range(3)]
        assert [request.get("X-Forwarded-For") for request in origin.requests] == chains
        ids = [request.get("X-Request-Id") for request in origin.requests]
        assert ids[:12] == ["r0"] * 6 + ["r1"] * 6
        assert ids[15:] == ["r2"] * 3


async def test_our_own_paths_between_repetitions() -> None:
    async with shielded() as (shield, origin):
        async with await shield.client() as client:
            for n in range(3):
                assert (await client.ask(get(f"/{n}", *FIELDS[:3]))).status == 200
                assert (await client.ask(get("/.well-known/shield/none", *FIELDS[:3]))).status == 404
        assert [request.target for request in origin.requests] == ["/0", "/1", "/2"]


COOKIES = (
    "Cookie: a=1; shield_pass=good-1; b=2",
    "Cookie: a=2",
    "Cookie:  a=2\t ",
    "Cookie:a=2",
    "Cookie: a=\x002",
    "Cookie: a=2\rX: 1",
    "Cookie : a=2",
    "cookie: a=3",
    "Cookie: ",
    "Cookie: a=1\r\nCookie: b=2",
    "Cookie: a=1\r\nTransfer-Encoding: chunked",
    "Cookie: a=1\r\n\r\n",
    "X-Cookie: a=1",
    "X: 1",
)
AROUND = ("", "X: 1", "Cookie: a=2", "Cookie: c=9", "Content-Length: 0")


def heads_of(messages: list[bytes], fresh: bool) -> list[Any]:
    """What one connection makes of them, or as many connections."""
    plain = PlainHeads(Examiner(HttpSettings(), "Shield-Pass"))
    reader, told = HeadReader(plain), []
    for message in messages:
        if fresh:
            reader = HeadReader(plain)
        try:
            head = reader.read(message)
        except Broken as broken:
            told.append(broken.rule)
            reader = HeadReader(plain)  # the connection ends with it
            continue
        told.append(
            {name: value for name, value in vars(head).items() if name not in ("fields", "headers")}
            | {
                "forwarded": b"".join(head.fields),
                "said": [head.headers.getall(name, None) for name in ("Cookie", "X")],
            }
        )
        head.fields = [b"".join(head.fields)]  # as the exchange leaves it
    return told


@given(
    st.lists(
        st.tuples(
            st.sampled_from(COOKIES),
            st.sampled_from(AROUND),
            st.sampled_from(AROUND),
            st.sampled_from(["/", "/a?b", "http://a.example/", "/" + "x" * 9000]),
        ),
        min_size=2,
        max_size=5,
    )
)
@example([(COOKIES[0], "X: 1", "X: 1", "/"), (COOKIES[1], "X: 1", "X: 1", "/a?b"), (COOKIES[2], "X: 1", "X: 1", "/")])
@example([("Cookie: a=1\r\nCookie: b=2", "", "", "/"), ("Cookie: c=1\r\nCookie: b=2", "", "", "/")])
@example([("Cookie: ab", "", "Cookie: ab", "/"), ("Cookie: ab", "", "", "/")])
@example([("Cookie: ", "", "Cookie: ", "/"), ("Cookie: a=2", "", "Cookie: ", "/")])
def test_a_head_means_the_same_whatever_cookie_came_before(heads: list[tuple[str, str, str, str]]) -> None:
    messages = []
    for cookie, before, behind, target in heads:
        fields = [field for field in (before, "User-Agent: A", cookie, behind) if field]
        messages.append(get(target, *fields))
    assert heads_of(messages, fresh=False) == heads_of(messages, fresh=True)


async def test_another_cookie_is_another_pass() -> None:
    async with shielded() as (shield, origin):
        async with await shield.client() as client:
            for cookie in ("a=1", "a=2; shield_pass=good-1", "a=3; shield_pass=good-2", "shield_pass=good-2", "a=4"):
                assert (await client.ask(get("/", "Cookie: " + cookie, "X: 1"))).status == 200
        tokens = [request.shown_pass for request in shield.engine.decided]
        assert tokens == [None, ("pass", "good-1"), ("pass", "good-2"), ("pass", "good-2"), None]
        assert [request.get("Cookie") for request in origin.requests] == ["a=1", "a=2", "a=3", None, "a=4"]
        assert {request.get("X") for request in origin.requests} == {"1"}


def test_repeated_fields_under_a_long_target_are_not_remembered() -> None:
    """The fields are those of the last head, so only the target is read; its bytes count for the limit all the same."""
    reader = HeadReader(PlainHeads(Examiner(HttpSettings(), "Shield-Pass")))
    assert reader.read(get("/")).target == "/"
    long = "/" + "x" * REPEATED_LIMIT
    assert reader.read(get(long)).target == long
    assert reader.last == b""
    assert reader.kept is None
    assert reader.read(get("/again")).target == "/again"
