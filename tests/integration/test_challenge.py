"""The challenge as a program meets it: docs/protocol.md, step by step, and everything that may go wrong with it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from shield.demo import solver
from shield.replies.hashwx import DIGEST, NONCES, HashWX

ANSWER = "/.well-known/shield/answer"
PROGRAM = {"User-Agent": "feed-reader/2.1", "Accept": "application/json"}
CHEAP = {"mode": "always", "least_hashes": 256, "most_hashes": 1024}

Client = Callable[..., aiohttp.ClientSession]


@pytest.fixture
async def origin(serve: Callable[..., Awaitable[str]], site: web.Application) -> str:
    async def show(request: web.Request) -> web.Response:
        return web.json_response(dict(request.headers))

    site.router.add_get("/headers", show)
    return await serve(site)


async def challenged(session: aiohttp.ClientSession, shield: Any, path: str = "/headers") -> dict[str, Any]:
    """The challenge that a request gets."""
    async with session.get(shield.url(path)) as response:
        assert response.status == 503
        assert response.content_type == "application/problem+json"
        assert response.headers["Cache-Control"] == "no-store"
        assert 1 <= int(response.headers["Retry-After"]) <= 6
        problem = await response.json(content_type=None)
    assert problem["type"] == "/.well-known/shield/problems/challenge"
    assert problem["status"] == 503
    challenge: dict[str, Any] = problem["challenge"]
    assert challenge["algorithm"] == "sha256"
    assert challenge["answer_to"] == ANSWER
    return challenge


def solved(challenge: dict[str, Any]) -> dict[str, Any]:
    token = challenge["token"]
    return {"token": token, "nonces": solver.solve(token, challenge["k"], int(challenge["target"], 16))}


async def answer(session: aiohttp.ClientSession, shield: Any, body: Any, **headers: str) -> tuple[int, dict[str, Any]]:
    """Status and document that an answer gets."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", **{name.replace("_", "-"): text for name, text in headers.items()}}
    async with session.post(shield.url(ANSWER), data=data, headers=headers) as response:
        return response.status, await response.json(content_type=None)


async def test_a_program_buys_a_pass_and_uses_it_as_header_and_as_cookie(
    start: Callable[..., Any], origin: str, client: Client
) -> None:
    shield = await start(challenge=CHEAP, upstream={"servers": [origin]})
    session = client(headers=PROGRAM, jar=False)
    challenge = await challenged(session, shield)
    assert challenge["k"] == 16
    assert challenge["expected_hashes"] == 256
    assert challenge["expires_in"] == 120
    async with session.post(shield.url(ANSWER), json=solved(challenge)) as response:
        assert response.status == 200
        bought = await response.json()
        cookie = response.cookies["shield_pass"]
    assert bought["header"] == "Shield-Pass"
    assert bought["cookie"] == "shield_pass"
    assert cookie.value == bought["pass"]
    assert (cookie["path"], cookie["httponly"], cookie["samesite"], cookie["secure"]) == ("/", True, "Lax", "")
    assert int(cookie["max-age"]) == bought["lifetime"]

    # For a while it also stands in for requests of its buyer that come without it; so these come from elsewhere.
    elsewhere = client("127.4.9.1", headers=PROGRAM, jar=False)
    for headers in ({"Shield-Pass": bought["pass"]}, {"Cookie": f"a=1; shield_pass={bought['pass']}; b=2"}):
        async with elsewhere.get(shield.url("/headers"), headers=headers) as response:
            assert response.status == 200
            arrived = await response.json()
        assert bought["pass"] not in str(arrived), "the pass is for Shield, not for the service"
        assert arrived.get("Cookie") in (None, "a=1; b=2")
    await challenged(elsewhere, shield)
    async with session.get(shield.url("/headers")) as response:
        assert response.status == 200
    status = await shield.status()
    assert status["challenges"] == {"minted": 2, "redeemed": {"accepted": 1}}
    assert status["passes"]["bought"] == 1


async def test_answers_that_buy_nothing(start: Callable[..., Any], origin: str, client: Client) -> None:
    """One client for each story, since a bad answer is held against its client."""
    shield = await start(challenge=CHEAP, upstream={"servers": [origin]})

    def newcomer(n: int) -> aiohttp.ClientSession:
        return client(f"127.4.0.{n}", PROGRAM)

    async def replayed() -> None:
        session = newcomer(1)
        right = solved(await challenged(session, shield))
        assert (await answer(session, shield, right))[0] == 200
        status, problem = await answer(session, shield, right)
        assert (status, problem["reason"]) == (400, "spent")

    async def foreign() -> None:
        right = solved(await challenged(newcomer(2), shield))
        another_program = client("127.4.0.2", {**PROGRAM, "User-Agent": "curl/8"})
        status, problem = await answer(another_program, shield, right)
        assert (status, problem["reason"]) == (400, "foreign")
        elsewhere = client("127.4.0.3", PROGRAM)  # whoever is challenged may have several addresses
        assert (await answer(elsewhere, shield, right))[0] == 200

    async def made_up() -> None:
        session = newcomer(4)
        right = solved(await challenged(session, shield))
        cheaper = "B" + right["token"][1:]
        status, problem = await answer(session, shield, {**right, "token": cheaper})
        assert (status, problem["reason"]) == (400, "forged")

    async def wrong() -> None:
        session = newcomer(5)
        right = solved(await challenged(session, shield))
        status, problem = await answer(session, shield, {**right, "nonces": [0] * 16})
        assert (status, problem["reason"]) == (400, "wrong")
        assert (await answer(session, shield, right))[0] == 200, "the challenge is not spent by it"

    async def malformed() -> None:
        session = newcomer(6)
        right = solved(await challenged(session, shield))
        for body in (
            b"",
            b"{",
            b"[]",
            b"\xff\xfe",
            b'{"token": "x"}',
            {**right, "token": 7},
            {**right, "token": "x" * 52},
            {**right, "token": "\u00e4" * 52},
            {**right, "nonces": "1"},
            {**right, "nonces": right["nonces"][:-1]},
            {**right, "nonces": [-1] * 16},
            {**right, "nonces": [2**53] * 16},
            {**right, "nonces": [True] * 16},
            {**right, "padding": "x" * 9000},
            b"[" * 5000,
        ):
            status, problem = await answer(session, shield, body)
            assert (status, problem["reason"]) in ((400, "malformed"), (400, "forged")), body
        assert (await answer(newcomer(7), shield, b"x" * 1_000_000))[1]["reason"] == "malformed"

    async def refused_unread() -> None:
        session = newcomer(8)
        right = solved(await challenged(session, shield))
        assert (await answer(session, shield, right, Content_Type="text/plain"))[0] == 415
        assert (await answer(session, shield, right, Sec_Fetch_Site="cross-site"))[0] == 403
        async with session.get(shield.url(ANSWER)) as response:
            assert (response.status, response.headers["Allow"]) == (405, "POST")
        async with session.get(shield.url("/.well-known/shield/nothing")) as response:
            assert response.status == 404
        assert (await answer(session, shield, right, Sec_Fetch_Site="same-origin"))[0] == 200

    await asyncio.gather(replayed(), foreign(), made_up(), wrong(), malformed(), refused_unread())
    redeemed = (await shield.status())["challenges"]["redeemed"]
    assert redeemed["accepted"] == 4
    assert redeemed["spent"] == redeemed["wrong"] == 1


async def test_challenges_and_passes_expire(start: Callable[..., Any], origin: str, client: Client) -> None:
    settings = {**CHEAP, "lifetime": 1, "pass_lifetime": 1.5}
    shield = await start(challenge=settings, upstream={"servers": [origin]})
    late, punctual = client("127.4.1.1", PROGRAM), client("127.4.1.2", PROGRAM)
    right = solved(await challenged(late, shield))
    asked = time.time()

    async def until_refused() -> float:
        while True:
            async with punctual.get(shield.url("/headers")) as response:
                if response.status != 200:
                    assert response.status == 503, "a challenge"
                    return time.time()
            await asyncio.sleep(0.02)  # too many at once would be limited

    assert (await answer(punctual, shield, solved(await challenged(punctual, shield))))[0] == 200
    async with asyncio.timeout(30):
        refused = await until_refused()
        assert refused - asked > 0.5, "it was good for a while"
        while time.time() < asked + 1.1:
            await asyncio.sleep(0.05)
    status, problem = await answer(late, shield, right)
    assert (status, problem["reason"]) == (400, "expired")


async def test_a_pass_that_is_not_ours_is_no_pass(start: Callable[..., Any], origin: str, client: Client) -> None:
    shield = await start(challenge=CHEAP, upstream={"servers": [origin]})
    session = client(headers=PROGRAM, jar=False)
    _, bought = await answer(session, shield, solved(await challenged(session, shield)))
    good = bought["pass"]
    bad = [good[:n] + ("A" if good[n] != "A" else "B") + good[n + 1 :] for n in range(0, len(good), 5)]
    bad += ["", "x", good + "A", good[:-1], "A" * len(good), "%s%n" * 10, good * 100, "ä" * len(good)]

    elsewhere = client("127.4.9.1", PROGRAM, jar=False)

    async def status_with(**headers: str) -> int:
        async with elsewhere.get(shield.url("/headers"), headers=headers) as response:
            return response.status

    assert await status_with(Cookie=f"shield_pass={good}") == 200
    for token in bad:
        assert await status_with(Cookie=f"shield_pass={token}") == 503, token
        assert await status_with(**{"Shield-Pass": token}) == 503, token
    assert await status_with(Cookie=f"shield_pass={good}") == 200


async def test_browsers_get_a_page_and_everybody_else_a_document(
    start: Callable[..., Any], origin: str, client: Client
) -> None:
    shield = await start(challenge=CHEAP, upstream={"servers": [origin]})
    session = client()
    async with session.get(shield.url("/page")) as response:
        assert (response.status, response.content_type) == (503, "text/html")
        page = await response.text()
        policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "'unsafe-" not in policy
    assert "'self'" not in policy.partition("script-src")[2].partition(";")[0]
    assert page.count("<script") == 3
    assert "?v=" not in page
    async with session.get(shield.url("/page"), headers={"Accept-Encoding": "identity"}) as response:
        page = await response.text()
        assert "unsafe" not in response.headers["Content-Security-Policy"]
    links = re.findall(r'(?:src|href|data-[a-z]+)="(/.well-known/shield/[^"]+\?v=[^"]+)"', page)
    assert links
    for path in links:
        async with session.get(shield.url(path)) as response:
            assert response.status == 200, path
            assert "immutable" in response.headers["Cache-Control"]
    for headers, media in (
        ({"Sec-Fetch-Dest": "image"}, "text/plain"),
        ({"Accept": "*/*"}, "application/problem+json"),
        ({"Sec-Fetch-Dest": "empty"}, "application/problem+json"),
    ):
        async with session.get(shield.url("/page"), headers=headers) as response:
            assert (response.status, response.content_type) == (503, media)


async def test_a_challenge_in_hashwx_is_answered_in_it_or_in_sha_256(
    start: Callable[..., Any], origin: str, client: Client
) -> None:
    cheap = {**CHEAP, "least_hashes": 4096, "most_hashes": 4096, "algorithm": "hashwx"}
    shield = await start(challenge=cheap, upstream={"servers": [origin]})
    session = client(headers=PROGRAM, jar=False)
    plain = await challenged(session, shield)
    challenge = plain["hashwx"]
    assert (challenge["k"], challenge["expected_hashes"], challenge["nonces_per_function"]) == (4, 128, NONCES)
    async with session.get(shield.url(challenge["module"]), headers={"Accept-Encoding": "gzip"}) as response:
        assert response.content_type == "application/wasm"
        assert "immutable" in response.headers["Cache-Control"]
        assert hashlib.sha256(await response.read()).hexdigest() == DIGEST
    machine, token, target = HashWX(), challenge["token"], int(challenge["target"], 16)
    seed = hashlib.sha256(token.encode()).digest()
    nonces = []
    for index in range(challenge["k"]):
        made = hashlib.sha256(seed + index.to_bytes(4, "big") + bytes(8)).digest()
        nonces.append(next(n for n in range(NONCES) if machine.value(made, n) < target))
    wrong = [nonces[0] + 1, *nonces[1:]]
    status, document = await answer(session, shield, {"token": token, "nonces": wrong})
    assert (status, document["reason"]) == (400, "wrong")
    for said in ({"token": token, "nonces": nonces}, solved(plain)):
        status, document = await answer(session, shield, said)
        assert status == 200
        async with session.get(shield.url("/headers"), headers={"Shield-Pass": document["pass"]}) as response:
            assert response.status == 200
