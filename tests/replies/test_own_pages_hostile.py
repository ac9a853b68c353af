"""What Shield says itself, attacked: other sites' pages, caches, odd paths, odd bodies, stolen and planted cookies."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from shield.http.browser import MAX_ANSWER_BYTES
from shield.http.forwarded import Forwarding
from shield.http.settings import HttpSettings
from shield.model import Tier
from shield.policy.challenge.challenge import Redeemed, Redemption
from tests.harness import (
    BANNED,
    CHALLENGED,
    LIMITED,
    SHED,
    Client,
    PermissiveEngine,
    Response,
    Shield,
    chunked,
    get,
    post,
    shielded,
)

PREFIX = "/.well-known/shield/"
ANSWER = PREFIX + "answer"
TYPE = "Content-Type: application/json"
RIGHT = b'{"token": "t", "nonces": [1]}'
NOBODY = "http://127.0.0.1:9"


class Clerk(PermissiveEngine):
    """Accepts every answer that it is shown."""

    def __init__(self, result: Redeemed = Redeemed.ACCEPTED) -> None:
        super().__init__()
        self.shown: list[Any] = []
        self.result = result

    def redeem(self, client: Any, token: str, nonces: list[int], now: float) -> Redemption:
        self.shown.append((token, nonces))
        return Redemption(self.result, "a-pass", 300, "a-ticket", 20, 5)

    claim = redeem


def own(response: Response) -> None:
    """What holds for everything that Shield says itself, files of the challenge page aside."""
    assert response.get("Cache-Control") == "no-store"
    assert response.get("X-Content-Type-Options") == "nosniff"
    for name in ("ETag", "Age", "Expires", "Last-Modified", "Location", "Server", "Refresh"):
        assert not response.all(name)
    assert not [name for name, _ in response.fields if name.lower().startswith("access-control-")]
    assert not re.search(r"[\r\n\0]", "".join(name + value for name, value in response.fields))
    media = response.get("Content-Type") or ""
    assert media in (
        "application/problem+json",
        "application/json",
        "text/html; charset=utf-8",
        "text/plain; charset=utf-8",
    )
    if media.startswith("text/html"):
        policy = {
            rule.split()[0]: rule.split()[1:] for rule in (response.get("Content-Security-Policy") or "").split(";")
        }
        assert policy["default-src"] == policy["base-uri"] == ["'none'"]
        assert policy["frame-ancestors"] == ["'self'"]
        assert policy["form-action"] in (["'self'"], ["'none'"])
        for sources in policy.values():
            assert not {"*", "http:", "https:", "'unsafe-inline'", "'unsafe-eval'"} & set(sources)
        assert set(policy.get("img-src", [])) <= {"data:"}
        assert response.get("Referrer-Policy") == "same-origin"


# other sites


@pytest.mark.parametrize(
    "fields",
    [
        ("Sec-Fetch-Site: cross-site",),
        ("Sec-Fetch-Site: same-site",),
        ("Sec-Fetch-Site: SAME-ORIGIN",),
        ("Sec-Fetch-Site:",),
        ("Sec-Fetch-Site: cross-site", "Origin: http://a.example"),
        ("Origin: https://evil.example",),
        ("Origin: http://a.example.evil.example",),
        ("Origin: http://evil.example@a.example",),
        ("Origin: http://a.example:8080",),
        ("Origin: null",),
        ("Origin:",),
    ],
)
async def test_an_answer_that_another_sites_page_sends(fields: tuple[str, ...]) -> None:
    """Else a page elsewhere could have its readers use a pass, and spend its budget, that somebody else has bought."""
    clerk = Clerk()
    async with Shield(NOBODY, engine=clerk) as shield, await shield.client() as client:
        response = await client.ask(post(ANSWER, RIGHT, TYPE, *fields))
        assert (response.status, json.loads(response.body)["reason"]) == (403, "cross_site")
        assert not response.all("Set-Cookie")
        own(response)
    assert not clerk.shown
    assert not clerk.signals


@pytest.mark.parametrize(
    "fields",
    [
        (),
        ("Sec-Fetch-Site: same-origin",),
        ("Sec-Fetch-Site: none",),
        ("Origin: http://a.example",),
        ("Origin: https://A.example",),
        ("Sec-Fetch-Site: same-origin", "Origin: null"),
    ],
)
async def test_an_answer_that_this_sites_page_or_a_program_sends(fields: tuple[str, ...]) -> None:
    clerk = Clerk()
    async with Shield(NOBODY, engine=clerk) as shield, await shield.client() as client:
        assert (await client.ask(post(ANSWER, RIGHT, TYPE, *fields))).status == 200
    assert clerk.shown == [("t", [1])]


@pytest.mark.parametrize(
    "media",
    [
        ("Content-Type: text/plain",),
        ("Content-Type: application/x-www-form-urlencoded",),
        ("Content-Type: multipart/form-data; boundary=application/json",),
        ("Content-Type: text/plain; application/json",),
        ("Content-Type: text/plain, application/json",),
        ("Content-Type: application/jsonp",),
        ("Content-Type:",),
        (),
    ],
)
async def test_what_a_form_can_send_is_no_answer(media: tuple[str, ...]) -> None:
    """A page may send these types anywhere without asking. For JSON its browser asks first, and is told no."""
    clerk = Clerk()
    async with Shield(NOBODY, engine=clerk) as shield, await shield.client() as client:
        response = await client.ask(post(ANSWER, RIGHT, *media))
        assert response.status == 415
        own(response)
        asked = await client.ask(
            get(ANSWER, "Origin: https://evil.example", "Access-Control-Request-Method: POST", method="OPTIONS")
        )
        assert (asked.status, asked.get("Allow")) == (405, "POST")
        own(asked)
    assert not clerk.shown


async def test_behind_a_trusted_proxy_host_may_be_another() -> None:
    """nginx writes the upstream's name into Host unless told otherwise."""
    clerk = Clerk()
    trusting = Forwarding(("127.0.0.1",), "x-forwarded-for")
    async with Shield(NOBODY, engine=clerk, forwarding=trusting) as shield, await shield.client() as client:
        assert (await client.ask(post(ANSWER, RIGHT, TYPE, "Origin: https://site.example"))).status == 200
        assert (await client.ask(post(ANSWER, RIGHT, TYPE, "Sec-Fetch-Site: cross-site"))).status == 403
    assert len(clerk.shown) == 1


# bodies


def bodies() -> Iterator[tuple[str, bytes]]:
    deep = MAX_ANSWER_BYTES // 2 - 8
    yield from {
        "empty": b"",
        "not JSON": b"token=t&nonces=1",
        "cut short": RIGHT[:-1],
        "something behind": RIGHT + b"{}",
        "deep arrays": b"[" * deep + b"]" * deep,
        "deep objects": b'{"a":' * 1300,
        "a deep token": b'{"token":' + b"[" * 2000 + b"]" * 2000 + b',"nonces":[1]}',
        "a list": b"[" + RIGHT + b"]",
        "NaN": b'{"token": "t", "nonces": [NaN]}',
        "Infinity": b'{"token": "t", "nonces": [Infinity]}',
        "too much for a float": b'{"token": "t", "nonces": [1e999]}',
        "a float": b'{"token": "t", "nonces": [1.0]}',
        "a long number": b'{"token": "t", "nonces": [' + b"9" * 4000 + b"]}",
        "above 2^53": b'{"token": "t", "nonces": [9007199254740992]}',
        "below 0": b'{"token": "t", "nonces": [-1]}',
        "true": b'{"token": "t", "nonces": [true]}',
        "too many": orjson.dumps({"token": "t", "nonces": [1] * 256}),
        "a long token": orjson.dumps({"token": "t" * 129, "nonces": [1]}),
        "a token that is not ASCII": '{"token": "\u00e9", "nonces": [1]}'.encode(),
        "UTF-16": '{"token": "t", "nonces": [1]}'.encode("utf-16"),
        "Latin-1": b'{"token": "\xe9", "nonces": [1]}',
        "half a pair": b'{"token": "\\ud800", "nonces": [1]}',
        "a byte order mark": b"\xef\xbb\xbf" + RIGHT,
        "NUL": b"\0" + RIGHT,
        "the last of two nonces counts": b'{"token": "t", "nonces": [1], "nonces": null}',
        "a ticket that is none": b'{"ticket": 5}',
        "a long ticket": orjson.dumps({"ticket": "t" * 129}),
        "one byte too much": RIGHT + b" " * (MAX_ANSWER_BYTES + 1 - len(RIGHT)),
        "64 KiB too much": RIGHT + b" " * (1 << 16),
    }.items()


@pytest.mark.parametrize("framed", [False, True], ids=["length", "chunks"])
@pytest.mark.parametrize("body", [pytest.param(body, id=name) for name, body in bodies()])
async def test_a_body_that_is_no_answer(body: bytes, framed: bool) -> None:
    """Bounds: 8 KiB of body, orjson's own 1,024 levels of nesting, then the form. Nothing of it is said again."""
    clerk = Clerk()
    data = get(ANSWER, TYPE, "Transfer-Encoding: chunked", method="POST") + chunked(body) if framed and body else None
    async with Shield(NOBODY, engine=clerk) as shield, await shield.client() as client:
        await client.feed(data or post(ANSWER, body, TYPE))
        response = await client.response()
        assert (response.status, json.loads(response.body)["reason"]) == (400, "malformed")
        assert len(response.body) < 400
        own(response)
    assert not clerk.shown


async def test_a_body_that_is_just_not_too_long() -> None:
    clerk = Clerk()
    async with Shield(NOBODY, engine=clerk) as shield, await shield.client() as client:
        body = RIGHT + b" " * (MAX_ANSWER_BYTES - len(RIGHT))
        assert (await client.ask(post(ANSWER, body, TYPE))).status == 200


async def test_of_two_content_types_none_counts() -> None:
    clerk = Clerk()
    async with Shield(NOBODY, engine=clerk) as shield, await shield.client() as client:
        assert (await client.ask(post(ANSWER, RIGHT, TYPE, "Content-Type: text/plain"))).status in (400, 415)
    assert not clerk.shown


# paths


@pytest.mark.parametrize(
    "path",
    [
        "", "..%2f", "..%2fanswer", "../", "../../", "../../secret", "..;/secret", "%2e%2e/secret", "./answer",
        "/answer", "answer/", "answer%20", "answer%00", "answer;x", "Answer", "%61nswer", "..\\..\\secret",
        "static/../solver.js", "solver.js%3f", "solver.js/", "problems/", "problems/../solver.js", "problems/nothing",
        "__init__.py",
        "challenge.html", "error.css",
    ],
)  # fmt: skip
async def test_nothing_below_the_prefix_reaches_the_site(path: str) -> None:
    """Whatever the site would make of the path: to its server "..%2f" may be the root."""
    async with shielded() as (shield, origin), await shield.client() as client:
        for data in (get(PREFIX + path), get(f"http://a.example{PREFIX}{path}"), get(PREFIX + path + "?v=1")):
            response = await client.ask(data)
            assert (response.status, json.loads(response.body)["reason"]) == (404, "not_found")
            own(response)
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
            response = await client.ask(get(PREFIX + path, method=method))
            assert (response.status, response.get("Allow")) == (405, "GET, HEAD")
        assert not origin.requests
        assert not shield.engine.decided


@pytest.mark.parametrize(
    "path",
    [
        "/.well-known/shield", "//.well-known/shield/answer", "/.well-known%2fshield/answer",
        "/%2ewell-known/shield/answer",
        "/.Well-Known/shield/answer", "/x/../.well-known/shield/answer", "/.well-known//shield/answer",
        "/.well-known/./shield/answer", "/.well-known/shieldx/answer", "/;/.well-known/shield/answer",
    ],
)  # fmt: skip
async def test_what_looks_like_the_prefix_is_the_sites_and_judged_like_all_of_it(path: str) -> None:
    """Below the prefix nobody is challenged. So no other path may be taken for one below it and still be forwarded."""
    async with shielded() as (shield, origin), await shield.client() as client:
        assert (await client.ask(get(path))).status == 200
        assert [request.target for request in origin.requests] == [path]
        assert [request.path for request in shield.engine.decided] == [path]


async def test_files_are_kept_for_ever_only_under_the_name_of_their_content() -> None:
    async with Shield(NOBODY) as shield, await shield.client() as client:
        version = shield.serving.replies.version
        for query, kept in ((f"?v={version}", True), ("", False), ("?v=0", False), (f"?v={version}&x", False)):
            response = await client.ask(get(PREFIX + "solver.js" + query))
            assert response.status == 200
            assert ("immutable" in (response.get("Cache-Control") or "")) is kept
            assert response.get("Cross-Origin-Resource-Policy") == "cross-origin"
            assert response.get("X-Content-Type-Options") == "nosniff"
        tag = response.get("ETag")
        for none_match, status in ((f'W/{tag}, "x"', 304), ("*", 304), ('"x"', 200), (",,,", 200), ("\xff" * 500, 200)):
            assert (await client.ask(get(PREFIX + "solver.js", f"If-None-Match: {none_match}"))).status == status


# caches, and reflection

MARK = "zq9<svg/onload=1>%0d%0aX:1"


def refusals() -> Iterator[tuple[str, bytes]]:
    """Requests that Shield answers itself, with MARK wherever a client may write."""
    marked = ("User-Agent: " + MARK, "Referer: http://" + MARK, "Cookie: " + MARK, "X-Request-Id: " + MARK)
    page = ("Accept: text/html", *marked)
    for kind in ("limit", "ban", "shed", "challenge"):
        yield f"{kind}, as a page", get(f"/{kind}?", *page)
        yield f"{kind}, for a program", get(f"/{kind}", *marked)
        yield f"{kind}, to HEAD", get(f"/{kind}", *page, method="HEAD")
    form = b"a=zq9"
    media = "Content-Type: application/x-www-form-urlencoded"
    yield "challenge, to a form of another site", post("/challenge", form, media, "Origin: http://zq9.example", *page)
    yield "challenge, to a PUT", post("/challenge", form, media, "Origin: http://a.example", *page, method="PUT")
    for fields in (page, marked):
        yield "a malformed head", get("/" + MARK.replace("<", "").replace(">", ""), "no colon", *fields)
        yield "a bad target", get("/\x80zq9", *fields)
        yield "a bad Host", get("/", *fields, host="zq9@a.example")
        yield "a method that nobody knows", get("/", *fields, method="ZQ9")
        yield "TRACE", get("/", *fields, method="TRACE")
        yield "a version that nobody speaks", get("/", *fields, version="9.9")
        yield "an expectation", get("/", "Expect: zq9", *fields)
        yield "a long target", get("/" + "zq9" * 3000, *fields)
        yield "a long head", get("/", "X: " + "zq9" * 12000, *fields)
        yield "a long body", post("/", b"", "X: y", *fields).replace(b"Content-Length: 0", b"Content-Length: 99999")
        yield "no server", get("/zq9", *fields)
        yield "nothing there", get(PREFIX + "zq9", *fields)


@pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data in refusals()])
async def test_no_answer_of_our_own_may_be_kept_or_says_what_was_asked(data: bytes) -> None:
    engine = Clerk()
    for path, verdict in (("/limit", LIMITED), ("/ban", BANNED), ("/shed", SHED), ("/challenge", CHALLENGED)):
        engine.verdicts[path] = verdict
    http = HttpSettings(max_body_bytes=90_000)
    async with Shield(NOBODY, engine=engine, http=http) as shield, await shield.client() as client:
        await client.feed(data)
        response = await client.response(data.partition(b" ")[0].decode())
        assert response.status >= 400
        own(response)
        assert not response.all("Set-Cookie")
        varies = {"Accept", "Accept-Encoding", "Accept-Language", "Origin", "Sec-Fetch-Mode", "Sec-Fetch-Dest"}
        assert set((response.get("Vary") or "").split(", ")) == varies
        said = repr(response.fields).encode() + response.body
        assert b"zq9" not in said.lower()


@pytest.mark.parametrize("result", Redeemed)
async def test_no_reply_to_an_answer_may_be_kept(result: Redeemed) -> None:
    async with Shield(NOBODY, engine=Clerk(result)) as shield, await shield.client() as client:
        response = await client.ask(post(ANSWER, b'{"token": "zq9", "nonces": [1]}', TYPE, "Accept: text/html"))
        own(response)
        assert b"zq9" not in response.body
        assert bool(response.all("Set-Cookie")) is (result is Redeemed.ACCEPTED)


async def test_a_form_is_shown_again_as_text_only() -> None:
    engine = PermissiveEngine()
    engine.verdicts["/"] = CHALLENGED
    fields = ("Content-Type: application/x-www-form-urlencoded", "Sec-Fetch-Site: same-origin", "Accept: text/html")
    body = b"%3C%2Fscript%3E=%22%3E%3Csvg+onload%3D1%3E%27%3C%2Fform%3E&submit=%26quot%3B&action=javascript%3A"
    async with Shield(NOBODY, engine=engine) as shield, await shield.client() as client:
        response = await client.ask(post("/", body, *fields))
    own(response)
    page = response.body.decode()
    assert page.count("<form") == page.count("</form>") == 1
    assert page.count("<script") == 3
    assert "<svg" not in page
    assert re.search(r"<form [^>]*action", page) is None
    assert 'value="&amp;quot;"' in page


# cookies


async def accepted(client: Client, *fields: str) -> tuple[str, str]:
    response = await client.ask(post(ANSWER, RIGHT, TYPE, *fields))
    assert response.status == 200
    return response.get("Set-Cookie") or "", json.loads(response.body)["cookie"]


async def test_the_cookie_says_over_tls_that_no_other_host_has_set_it() -> None:
    """TLS may end before Shield: the proxy says so, if it is trusted."""
    plain = "shield_pass=a-pass; Path=/; Max-Age=300; HttpOnly; SameSite=Lax"
    told = ("X-Forwarded-For: 192.0.2.7", "X-Forwarded-Proto: https")
    async with Shield(NOBODY, engine=Clerk()) as shield, await shield.client() as client:
        assert await accepted(client, *told) == (plain, "shield_pass")
    trusting = Forwarding(("127.0.0.1",), "x-forwarded-for")
    async with Shield(NOBODY, engine=Clerk(), forwarding=trusting) as shield, await shield.client() as client:
        assert await accepted(client) == (plain, "shield_pass")
        assert await accepted(client, *told) == (f"__Host-{plain}; Secure", "__Host-shield_pass")
        assert await accepted(client, "X-Forwarded-Proto: http") == (plain, "shield_pass")


async def test_a_silent_pass_behind_a_tls_proxy_is_secure() -> None:
    engine = PermissiveEngine()
    engine.grants["/"] = "token1"
    engine.tiers["/"] = Tier.T1
    page = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nCache-Control: private\r\nContent-Length: 0\r\n\r\n"
    trusting = Forwarding(("127.0.0.1",), "x-forwarded-for")
    async with (
        shielded({"/": page}, engine=engine, forwarding=trusting) as (shield, _),
        await shield.client() as client,
    ):
        response = await client.ask(get("/", "X-Forwarded-Proto: https"))
        cookie = response.get("Set-Cookie") or ""
        assert cookie.startswith("__Host-shield_pass=token1; Path=/;")
        assert cookie.endswith("; Secure")
        assert "domain" not in cookie.lower()


async def test_a_cookie_planted_by_another_host_of_the_domain_does_not_displace_ours() -> None:
    """evil.site.example may set cookies for all of site.example, and theirs may come first: a longer path does."""
    async with shielded() as (shield, origin), await shield.client() as client:
        await client.ask(get("/", "Cookie: shield_pass=bad; a=1; __Host-shield_pass=good-1; shield_pass=worse"))
        assert shield.engine.tokens == ["good-1"]
        assert origin.requests[0].all("Cookie") == ["a=1"]


# what goes into fields


@pytest.mark.parametrize("told", ["a b", 'a"b', "a,b", "a;b", "é", "a\tb", "x" * 129, "", "<svg>"])
async def test_an_id_from_a_trusted_proxy_is_passed_on_only_if_it_is_one(told: str) -> None:
    trusting = Forwarding(("127.0.0.1",), "x-forwarded-for")
    async with shielded(forwarding=trusting) as (shield, origin), await shield.client() as client:
        await client.ask(get("/", f"X-Request-Id: {told}"))
        assert re.fullmatch("id-[0-9a-f]+", origin.requests[0].get("X-Request-Id") or "")
