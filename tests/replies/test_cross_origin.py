"""A page on one origin that calls an API on another: what its script can read of what Shield itself says.

The story: a visitor's call was refused, and the page's script saw a broken line, since the refusal lacked the fields by
which the service lets that origin read.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from shield.model import Verdict
from shield.policy.challenge.challenge import Redeemed, Redemption
from shield.policy.upkeep import Upkeep
from tests.harness import BANNED, CHALLENGED, LIMITED, SHED, PermissiveEngine, Response, get, post, shielded

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
        for path in ("solver.js", "renew.js", "problems/limit", "nothing"):
            assert permission(await client.ask(get(f"/.well-known/shield/{path}", *CALL))) == {}


async def test_a_call_over_a_connection_of_its_own_is_told_as_much() -> None:
    async with shielded({"/api": ALLOWS}) as (shield, _):
        shield.engine.verdicts["/refused"] = LIMITED
        async with await shield.client() as client:
            await client.ask(get("/api", *CALL))
        async with await shield.client() as client:
            assert permission(await client.ask(get("/refused", *CALL, "Connection: close"))) == ALL


class Seller(PermissiveEngine):
    """Takes every answer, and says of a pass what it is told to."""

    told = Upkeep(False, 0, 60, True)

    def redeem(self, client: Any, token: str, nonces: list[int], now: float) -> Redemption:
        return Redemption(Redeemed.ACCEPTED, "a-pass", 300)

    def upkeep(self, request: Any, now: float) -> Upkeep:
        return self.told


PASS, ANSWER = "/.well-known/shield/pass", "/.well-known/shield/answer"
RIGHT = b'{"token": "t", "nonces": [1]}'
JSON = "Content-Type: application/json"


async def test_a_page_of_an_origin_that_acts_for_its_visitors_renews_their_pass_there() -> None:
    """The visitor had to open the API's own host, since nothing but a page of that could bring an answer."""
    async with shielded({"/api": ALLOWS}, engine=Seller()) as (shield, _), await shield.client() as client:
        assert (await client.ask(post(ANSWER, RIGHT, JSON, *CALL))).status == 403  # nothing is known of the service yet
        await client.ask(get("/api", *CALL))
        asked = await client.ask(get(PASS, *CALL))
        assert (asked.status, permission(asked)) == (200, ALL)
        told = json.loads(asked.body)
        assert (told["pass"], told["again_in"], told["challenge"]["answer_to"]) == (False, 60, ANSWER)
        for path, method in ((PASS, "GET"), (ANSWER, "POST")):
            may = await client.ask(get(path, *ASKS, method="OPTIONS"))
            assert (may.status, may.get("Access-Control-Allow-Methods")) == (204, method)
            assert may.get("Access-Control-Allow-Headers") == "content-type"
            assert may.get("Access-Control-Allow-Origin") == "https://app.example"
        answered = await client.ask(post(ANSWER, RIGHT, JSON, *CALL))
        assert (answered.status, permission(answered)) == (200, ALL)
        assert (await client.ask(get(PASS, *CALL, method="DELETE"))).status == 405
    assert shield.metrics.challenges_minted == 1


@pytest.mark.parametrize(
    "says", ["Access-Control-Allow-Origin: *", "Access-Control-Allow-Origin: https://app.example"], ids=["*", "without"]
)
async def test_an_origin_that_may_send_no_credentials_learns_of_no_pass_and_brings_no_answer(says: str) -> None:
    """Else any page could have its visitors buy passes, read them, and hand them to a flood."""
    service = f"HTTP/1.1 200 OK\r\n{says}\r\nContent-Length: 2\r\n\r\n{{}}".encode()
    async with shielded({"/api": service}, engine=Seller()) as (shield, _), await shield.client() as client:
        await client.ask(get("/api", *CALL))
        asked = await client.ask(get(PASS, *CALL))
        assert (asked.status, permission(asked)) == (200, {})
        assert (await client.ask(get(ANSWER, *ASKS, method="OPTIONS"))).status == 405
        refused = await client.ask(post(ANSWER, RIGHT, JSON, *CALL))
        assert (refused.status, permission(refused)) == (403, {})


async def test_a_page_of_the_site_itself_asks_for_its_pass() -> None:
    engine = Seller()
    engine.told = Upkeep(True, 540, 60, False)
    async with shielded({}, engine=engine) as (shield, _), await shield.client() as client:
        asked = await client.ask(get(PASS, "Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: cors"))
        assert json.loads(asked.body) == {"pass": True, "ends_in": 540, "again_in": 60}
        assert (asked.get("Cache-Control"), asked.get("Vary")) == ("no-store", "Origin, Cookie")
