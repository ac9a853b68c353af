"""Waiting instead of solving, on the wire: the ticket, the refresh, the way in, and what the upstream sees of it."""

from __future__ import annotations

import re
from typing import Any

from shield.client.peer import Recognition
from shield.model import Reason, Verdict
from shield.policy.challenge.challenge import Redeemed, Redemption
from tests.harness import PermissiveEngine, Shield, get

NEWCOMER = Verdict(Reason.NEWCOMER, retry_after=3)
PAGE = "Accept: text/html"
PLACES = ("/", "//evil.example/x?y=1", "/in?to=//evil.example", "/\\evil.example/", "/in\\to")


class Porter(PermissiveEngine):
    """Has newcomers wait for 12 s, and lets in whoever shows the ticket "ripe"."""

    def __init__(self) -> None:
        super().__init__()
        self.tickets: list[str] = []

    def wait(self, request: Any, ticket: str, now: float) -> Redemption:
        self.tickets.append(ticket)
        if ticket == "ripe":
            return Redemption(Redeemed.ACCEPTED, "a-pass", 300)
        return Redemption(Redeemed.WAITING if ticket == "green" else Redeemed.EXPIRED, wait=12)


async def test_a_ticket_comes_with_the_challenge_and_opens_the_door() -> None:
    porter = Porter()
    for place in PLACES:
        porter.verdicts[place.partition("?")[0]] = NEWCOMER
    async with Shield("http://127.0.0.1:9", engine=porter) as shield, await shield.client() as client:
        for fields in ((PAGE,), ()):
            first = await client.ask(get("/", *fields))
            assert (first.status, first.get("Retry-After")) == (503, "12")
            cookie = first.get("Set-Cookie") or ""
            assert re.fullmatch(r"shield_pass_wait=[\w-]+; Path=/; Max-Age=\d+; HttpOnly; SameSite=Lax", cookie)
            assert (b'content="12; url=/"' if fields else b'"wait":12') in first.body
            again = await client.ask(get("/", "Cookie: a=b; shield_pass_wait=green", *fields))
            assert (again.status, again.get("Set-Cookie")) == (503, None)
            for place in PLACES:
                door = await client.ask(get(place, "Cookie: shield_pass_wait=ripe; a=b", *fields))
                assert door.status == 307
                assert door.get("Location") == ("/." if place[1:2] in ("/", "\\") else "") + place
                assert door.all("Set-Cookie") == [
                    "shield_pass=a-pass; Path=/; Max-Age=300; HttpOnly; SameSite=Lax",
                    "shield_pass_wait=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax",
                ]
    assert shield.metrics.passes_granted["waited"] == 2 * len(PLACES)


async def test_a_page_without_scripts_leads_to_where_it_was_asked_for_and_nowhere_else() -> None:
    """At an address with a fragment, a refresh that names no address only scrolled (Chromium): nobody got in."""
    porter = Porter()
    porter.verdicts |= {place.partition("?")[0]: NEWCOMER for place in (*PLACES, '/"><script>', "/long", "/a")}
    async with Shield("http://127.0.0.1:9", engine=porter) as shield, await shield.client() as client:
        for asked, led in (
            ("/a?b=c&d='e'", "; url=/a?b=c&amp;d=&#x27;e&#x27;"),
            ('/"><script>', "; url=/&quot;&gt;&lt;script&gt;"),
            ("//evil.example/x?y=1", "; url=/.//evil.example/x?y=1"),
            ("/\\evil.example/", "; url=/./\\evil.example/"),
            ("/long?" + "q" * 1024, ""),
        ):
            page = await client.ask(get(asked, PAGE))
            assert f'content="12{led}">'.encode() in page.body


async def test_who_cannot_ask_again_or_has_to_solve_gets_no_ticket() -> None:
    porter = Porter()
    porter.verdicts |= {"/": NEWCOMER, "/old": Verdict(Reason.OVERSUBSCRIBED, retry_after=3)}
    async with Shield("http://127.0.0.1:9", engine=porter) as shield, await shield.client() as client:
        for head in (
            get("/old", PAGE),
            get("/", PAGE).replace(b"GET", b"POST").replace(b"\r\n\r\n", b"\r\nContent-Length: 0\r\n\r\n"),
            get("/", "Accept: image/png", "Sec-Fetch-Mode: no-cors"),
            get("/", "Sec-Fetch-Mode: cors"),
        ):
            response = await client.ask(head)
            assert (response.status, response.get("Set-Cookie")) == (503, None)
            assert b'http-equiv="refresh"' not in response.body
    assert porter.tickets == []


def test_the_upstream_sees_no_ticket() -> None:
    recognition: Any = Recognition(None, None, None, b"shield_pass")  # type: ignore[arg-type] - it asks none of them
    cookies = b"a=b; shield_pass_wait=green; c=d; __Host-shield_pass_wait=old; shield_pass=x; my_shield_pass_wait=1"
    assert recognition.split_cookie(cookies) == (b"x", b"a=b; c=d; my_shield_pass_wait=1")
