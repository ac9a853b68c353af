"""A page on one origin that calls an API on another: what its script can read of what Shield itself says.

The story: a visitor's call was refused, and the page's script saw a broken line, since the refusal lacked the fields by
which the service lets that origin read.
"""

from __future__ import annotations

import json

import pytest

from shield.model import Verdict
from tests.harness import BANNED, CHALLENGED, LIMITED, SHED, Response, get, shielded

APP = "Origin: https://app.example"
CALL = (APP, "Accept-Language: en", "Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty", "Sec-Fetch-Site: cross-site")
ASKS = (*CALL, "Access-Control-Request-Method: PUT")
ALLOWS = (
    b"HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: https://app.example\r\n"
    b"Access-Control-Allow-Credentials: true\r\nContent-Length: 2\r\n\r\n{}"
)
SAYS_NOTHING = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


def permission(response: Response) -> dict[str, str]:
    return {name: value for name, value in response.fields if name.startswith("Access-Control-")}


ALL = {
    "Access-Control-Allow-Origin": "https://app.example",
    "Access-Control-Allow-Credentials": "true",
    "Access-Control-Expose-Headers": "Retry-After, RateLimit, RateLimit-Policy",
}


@pytest.mark.parametrize("taught_by", [("GET", CALL), ("OPTIONS", ASKS)], ids=["a call", "a preflight"])
@pytest.mark.parametrize(
    ("verdict", "status"), [(LIMITED, 429), (SHED, 503), (CHALLENGED, 503), (BANNED, 403)], ids=str
)
async def test_a_script_elsewhere_reads_why_its_call_was_refused(
    verdict: Verdict, status: int, taught_by: tuple[str, tuple[str, ...]]
) -> None:
    async with shielded({"/api": ALLOWS}) as (shield, _), await shield.client() as client:
        shield.engine.verdicts["/refused"] = verdict
        before = await client.ask(get("/refused", *CALL))
        assert (before.status, permission(before)) == (status, {})  # nothing is known of the service yet
        method, fields = taught_by
        answer = await client.ask(get("/api", *fields, method=method))
        assert answer.get("Access-Control-Allow-Origin") == "https://app.example"
        refused = await client.ask(get("/refused", *CALL))
        assert (refused.status, permission(refused)) == (status, ALL)
        assert "Origin" in (refused.get("Vary") or "")
        assert json.loads(refused.body)["reason"] == verdict.reason.value
        assert ("challenge" in json.loads(refused.body)) == (verdict is CHALLENGED)


async def test_no_permission_is_invented() -> None:
    async with shielded({"/api": ALLOWS, "/silent": SAYS_NOTHING}) as (shield, _), await shield.client() as client:
        shield.engine.verdicts["/refused"] = LIMITED
        for path in ("/silent", "/api"):
            await client.ask(get(path, "Origin: https://evil.example"))  # who is not named
        await client.ask(get("/api", APP, host="other.example"))
        await client.ask(get("/api"))
        for fields in (("Origin: https://evil.example",), (APP,), ("Origin: null",), ()):
            assert permission(await client.ask(get("/refused", *fields))) == {}


async def test_a_fault_is_read_by_the_same_rule_and_a_file_of_shields_own_never() -> None:
    async with (
        shielded({"/api": ALLOWS, "/broken": b"no HTTP\r\n\r\n"}) as (shield, _),
        await shield.client() as client,
    ):
        await client.ask(get("/api", *CALL))
        broken = await client.ask(get("/broken", *CALL))
        assert (broken.status, permission(broken)) == (502, ALL)
        for path in ("answer", "solver.js", "problems/limit", "nothing"):
            assert permission(await client.ask(get(f"/.well-known/shield/{path}", *CALL))) == {}


async def test_a_call_over_a_connection_of_its_own_is_told_as_much() -> None:
    async with shielded({"/api": ALLOWS}) as (shield, _):
        shield.engine.verdicts["/refused"] = LIMITED
        async with await shield.client() as client:
            await client.ask(get("/api", *CALL))
        async with await shield.client() as client:
            assert permission(await client.ask(get("/refused", *CALL, "Connection: close"))) == ALL
