"""A connection over which another proxy asks."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from shield.http.forwarded import Forwarding
from shield.model import Tier
from tests.harness import BANNED, CHALLENGED, LIMITED, SHED, Client, Response, Shield

FOR = "X-Forwarded-For: 198.51.100.7"
PAGE = "Accept: text/html"
POLITE = "Accept-Language: en"


@pytest.fixture
async def shield() -> AsyncIterator[Shield]:
    async with Shield(forwarding=Forwarding(["127.0.0.1"], "x-forwarded-for"), gate=True) as made:
        yield made


def question(proxy: str, path: str = "/", *fields: str, method: str = "GET") -> bytes:
    target = f"/shield-gate/{proxy}"
    own = method
    told: tuple[str, ...] = ()
    if proxy == "envoy":
        target += path
    elif proxy == "nginx":
        told, own = (f"X-Original-URI: {path}", f"X-Original-Method: {method}"), "GET"
    else:
        told = (f"X-Forwarded-Uri: {path}", f"X-Forwarded-Method: {method}", "X-Forwarded-Host: shop.example")
        own = "GET"
    return "\r\n".join([f"{own} {target} HTTP/1.1", "Host: shop.example", *told, *fields, "", ""]).encode("latin-1")


async def asked(client: Client, proxy: str, path: str = "/", *fields: str, method: str = "GET") -> Response:
    await client.send(question(proxy, path, FOR, *fields, method=method))
    return await client.response(method if proxy == "envoy" else "GET")


@pytest.mark.parametrize("proxy", ["nginx", "caddy", "traefik", "envoy"])
async def test_a_request_that_may_pass_is_judged_once_and_never_forwarded(shield: Shield, proxy: str) -> None:
    shield.engine.tiers["/shop"] = Tier.T1
    async with await shield.client() as client:
        answer = await asked(client, proxy, "/shop?a=1", "X-Request-Id: from-the-proxy", method="PUT")
        assert (answer.status, answer.body, answer.get("Content-Length")) == (200, b"", "0")
        said = [answer.get(f"X-{name}") for name in ("Shield-Action", "Shield-Reason", "Shield-Tier", "Request-Id")]
        assert said == ["forward", "ok", "1", "from-the-proxy"]
        (request,) = shield.engine.decided
        assert (request.method, request.path, request.client.address) == ("PUT", "/shop", "198.51.100.7")
        assert request.headers["Host"] == "shop.example"
        assert "X-Original-URI" not in request.headers
        assert "X-Forwarded-Uri" not in request.headers
        ((learned, outcome),) = shield.engine.learned
        assert (learned, outcome.status, outcome.stream) == (request, 200, True)
        assert shield.log.requests == [("PUT", "/shop", 200, 0.0, 0, "", "from-the-proxy", "")]
        assert shield.metrics.verdicts["forward"]["ok"] == 1
        # and the next one on the same connection is another client's
        await client.send(question(proxy, "/two", "X-Forwarded-For: 198.51.100.8", "User-Agent: two"))
        assert (await client.response()).status == 200
        assert shield.engine.decided[1].client.address == "198.51.100.8"


@pytest.mark.parametrize(
    ("verdict", "usual"), [(LIMITED, 429), (SHED, 503), (BANNED, 403), (CHALLENGED, 503)], ids=lambda v: str(v)[:40]
)
async def test_each_proxy_gets_the_answer_that_it_can_carry(shield: Shield, verdict: Any, usual: int) -> None:
    shield.engine.verdicts["/no"] = verdict
    async with await shield.client() as client:
        for proxy in ("caddy", "traefik", "envoy"):
            status = 429 if proxy == "envoy" and usual == 503 else usual
            program = await asked(client, proxy, "/no")
            document = json.loads(program.body)
            assert (program.status, document["status"]) == (status, status)
            assert document["reason"] == verdict.reason.value
            assert ("challenge" in document) is (verdict is CHALLENGED)
            assert (program.get("Retry-After") is None) is (verdict is BANNED)
            person = await asked(client, proxy, "/no", PAGE, POLITE)
            assert (person.status, (person.get("Content-Type") or "")[:9]) == (status, "text/html")
            assert int(person.get("Content-Length") or 0) == len(person.body) > 500
        assert [status for _, status, _ in shield.log.refusals] == [usual] * 6


async def test_the_status_of_each_is_logged_as_where_shield_carries_the_requests(shield: Shield) -> None:
    shield.engine.verdicts["/no"] = CHALLENGED
    async with await shield.client() as client:
        await asked(client, "nginx", "/no", PAGE, POLITE)
    ((path, status, request_id),) = shield.log.refusals
    assert (path, status) == ("/no", 503)
    assert request_id


@pytest.mark.parametrize(
    ("verdict", "told", "status"),
    [(LIMITED, 401, 429), (SHED, 401, 503), (BANNED, 403, 403), (CHALLENGED, 401, 503)],
    ids=lambda v: str(v)[:40],
)
async def test_nginx_is_told_the_verdict_and_asks_for_the_answer(
    shield: Shield, verdict: Any, told: int, status: int
) -> None:
    shield.engine.verdicts["/no"] = verdict
    async with await shield.client() as client:
        answer = await asked(client, "nginx", "/no", PAGE, POLITE, method="POST")
        assert (answer.status, answer.body) == (told, b"")
        said = answer.get("X-Shield-Verdict")
        assert (said or "").startswith(f"{verdict.reason.value};tier=3;wait=")
        form = b"a=1"
        fields = [FOR, PAGE, POLITE, "Content-Type: application/x-www-form-urlencoded", "Origin: http://shop.example"]
        lines = ["POST /no HTTP/1.1", "Host: shop.example", *fields, f"Content-Length: {len(form)}"]
        await client.send("\r\n".join([*lines, f"X-Shield-Verdict: {said}", "", ""]).encode() + form)
        page = await client.response()
        assert (page.status, page.get("Content-Type")) == (status, "text/html; charset=utf-8")
        assert (b'name="a"' in page.body) is (verdict is CHALLENGED)
        (logged,) = shield.log.refusals
        assert logged[2].encode() in page.body, "the page quotes the id that is in the log"
        if verdict is LIMITED:
            assert page.get("RateLimit") == '"client_rate";r=0;t=3'
    assert len(shield.engine.decided) == 1
    assert shield.metrics.verdicts[verdict.action.value][verdict.reason.value] == 1


async def test_a_client_cannot_answer_its_own_question(shield: Shield) -> None:
    """What a client may write is passed on in questions, but at the path of each proxy only its own fields count."""
    shield.engine.verdicts["/no"] = CHALLENGED
    forged = ("X-Shield-Verdict: limit;wait=0", "X-Rewrite-URL: /", "X-HTTP-Method-Override: GET")
    async with await shield.client() as client:
        for proxy in ("caddy", "traefik", "envoy"):
            fields = ("X-Original-URI: /yes", "X-Original-Method: GET", *forged)
            assert (await asked(client, proxy, "/no", *fields)).status in (429, 503)
        fields = ("X-Forwarded-Uri: /yes", "X-Forwarded-Method: GET", "X-Forwarded-Host: other.example", *forged)
        assert (await asked(client, "nginx", "/no", *fields)).status == 401
        for request in shield.engine.decided:
            assert (request.path, request.headers["Host"]) == ("/no", "shop.example")


async def test_the_path_of_shields_own_pages_is_let_through_and_served(shield: Shield) -> None:
    shield.engine.verdicts["/.well-known/shield/banned"] = BANNED
    async with await shield.client() as client:
        path = "/.well-known/shield/answer"
        assert (await asked(client, "caddy", path)).status == 200
        assert (await asked(client, "caddy", "/.well-known/shield/banned")).status == 403
        assert not shield.engine.learned
        await client.send(f"GET {path} HTTP/1.1\r\nHost: a\r\n{FOR}\r\n\r\n".encode())
        answer = await client.response()
        assert (answer.status, answer.get("Allow")) == (405, "POST")
    assert not shield.engine.decided


@pytest.mark.parametrize(
    "path",
    ["../../admin", "..%2f..%2fadmin", "%2e%2e/%2e%2e/admin", "..;/..;/admin", ".//../../admin"],
)
async def test_who_begins_at_shields_own_pages_and_leaves_them_is_judged_as_anybody(shield: Shield, path: str) -> None:
    """nginx and Caddy resolve dot segments to find where a request belongs, and send the service what was written: so
    they ask about it, and the service reads it as a page of its own."""
    written = "/.well-known/shield/" + path
    shield.engine.verdicts[written] = CHALLENGED
    async with await shield.client() as client:
        assert (await asked(client, "nginx", written)).status == 401
        assert (await asked(client, "caddy", written)).status == 503
    assert [request.path for request in shield.engine.decided] == [written] * 2


async def test_a_request_that_breaks_http_is_refused_and_nobody_is_blamed(shield: Shield) -> None:
    async with await shield.client() as client:
        assert (await asked(client, "caddy", "/a b")).status == 400
        assert await client.gone()
    async with await shield.client() as client:
        assert (await asked(client, "caddy", "/", method="TRACE")).status == 405
    async with await shield.client() as client:
        nginx = await asked(client, "nginx", "/a\\x b")
        assert (nginx.status, nginx.body) == (403, b"")
    assert not shield.engine.decided
    assert shield.engine.signals == []
    assert shield.log.faults == ["bad_target", "method_not_allowed", "bad_target"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            b"GET /shop HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n",
            "ask below /shield-gate/, or bring the",
        ),
        (b"GET /shop HTTP/1.1\r\nHost: a\r\n%b\r\nX-Shield-Verdict: ok\r\n\r\n", "the field X-Shield-Verdict holds no"),
        (b"GET /shield-gate/caddy HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n", "the field X-Forwarded-Method is needed, once"),
        (b"GET /shield-gate/envoy/x HTTP/1.1\r\nHost: a\r\nX: %b\r\n\r\n", "no field names the client"),
        (
            b"GET /shield-gate/envoy/x HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: unknown\r\nX: %b\r\n\r\n",
            "no field names",
        ),
    ],
)
async def test_what_is_no_question_is_refused_with_the_reason_in_the_log(shield: Shield, text: bytes, why: str) -> None:
    async with await shield.client() as client:
        await client.send(text % FOR.encode())
        assert (await client.response()).status == 400
        assert (await asked(client, "envoy", "/yes")).status == 200, "the connection goes on"
    assert shield.log.faults == ["gate_question"]
    assert shield.log.details[0].startswith(why)
    assert [request.path for request in shield.engine.decided] == ["/yes"]


async def test_nobody_else_may_ask() -> None:
    async with (
        Shield(forwarding=Forwarding(["192.0.2.1"], "x-forwarded-for"), gate=True) as shield,
        await shield.client() as client,
    ):
        answer = await asked(client, "caddy", "/")
        assert (answer.status, json.loads(answer.body)["reason"]) == (403, "gate_peer")
        await client.send(b"GET /.well-known/shield/answer HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await client.response()).status == 403
        assert not shield.engine.decided
        assert set(shield.log.details) == {"listen.trusted_proxies does not name this address"}


async def test_envoy_asks_with_the_method_of_the_request(shield: Shield) -> None:
    shield.engine.verdicts["/no"] = CHALLENGED
    async with await shield.client() as client:
        for path, status in (("/one", 200), ("/no", 429), ("/two", 200)):
            answer = await asked(client, "envoy", path, method="HEAD")
            assert (answer.status, answer.body) == (status, b"")
    assert [request.method for request in shield.engine.decided] == ["HEAD"] * 3
