"""Who is banned for a honeypot, and who was only led there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from shield.model import Action, Reason
from shield.policy.challenge.challenge import Redeemed
from shield.policy.limits.settings import LimitsSettings
from shield.policy.provoked import could_answer
from shield.policy.request import Request
from shield.policy.tiers import OPEN
from shield.readers import Reader, reader_of
from tests.policy.conftest import CHEAP, nonces

HONEYPOT = LimitsSettings(honeypots=("/wp-login.php",))


def test_who_asks_for_a_honeypot_is_banned(make: Any, says: Any) -> None:
    world = make(limits=HONEYPOT)
    client = world.client()
    request = world.ask(client, "/wp-login.php")
    assert says(request) == (Action.BAN, Reason.HONEYPOT)
    assert request.verdict.retry_after == 60
    assert says(world.ask(client)) == (Action.BAN, Reason.CLIENT_BANNED)


PAGE = {"Host": "shop.example", "Accept-Language": "de", "Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
IMAGE = {"Host": "shop.example", "Accept-Language": "de", "Accept": "image/avif,image/webp,*/*;q=0.8"}
SCRIPT = {"Host": "shop.example", "Accept-Language": "de", "Accept": "*/*"}
TOOL = {"Host": "shop.example", "Accept": "*/*", "User-Agent": "Mozilla/5.0"}
ELSEWHERE = {"Referer": "https://forum.example/thread"}
HERE = {"Referer": "https://SHOP.example/cart"}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        TOOL,
        TOOL | HERE,
        TOOL | {"Cookie": "a=b"},
    ],
)
def test_who_means_to_ask_for_a_honeypot_is_banned(make: Any, headers: dict[str, str]) -> None:
    world = make(limits=HONEYPOT)
    assert world.ask(world.client(), "/wp-login.php", headers=headers).verdict.action is Action.BAN


@pytest.mark.parametrize(
    "headers",
    [
        PAGE | {"Sec-Fetch-Site": "none", "Sec-Fetch-Dest": "document"},  # typed in, or a link in a mail
        PAGE | {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Dest": "document"},  # a link in a comment here
        SCRIPT | {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Dest": "empty"},  # fetched ahead for such a link
        TOOL | {"Sec-Fetch-Site": "none"},  # a browser whose language an extension hides
        TOOL | {"Origin": "https://forum.example"},  # a report, or a preflight
        PAGE | HERE,
        PAGE | {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "document"},
        PAGE | {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Dest": "document"},
        IMAGE | {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "image"},
        IMAGE | {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Dest": "image"},  # in a comment here
        PAGE | {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Dest": "iframe"},
        PAGE | ELSEWHERE,
        IMAGE | ELSEWHERE,
        TOOL | ELSEWHERE,
        IMAGE | HERE,  # in a comment here, over plain HTTP
        PAGE,  # from elsewhere over plain HTTP, the Referer suppressed: a link or a frame,
        IMAGE,  # an image,
        SCRIPT,  # or a script
        {"Referer": "https://shop.example/"},
    ],
)
def test_what_somebody_else_put_on_a_page_gets_no_reader_banned(make: Any, headers: dict[str, str]) -> None:
    world = make(limits=HONEYPOT)
    request = world.ask(world.client(), "/wp-login.php", headers=headers)
    assert request.verdict.action is Action.FORWARD
    assert request.client.entry.score == 0.0


NAVIGATION = PAGE | {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"}
FETCH = SCRIPT | {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}


@pytest.mark.parametrize(
    ("headers", "points"),
    [
        ({}, 1.0),  # a program
        (TOOL, 1.0),
        (PAGE, 1.0),
        (NAVIGATION, 1.0),
        (NAVIGATION | {"Sec-Fetch-Site": "cross-site"}, 0.0),  # a frame in a page elsewhere, or a link there
        (FETCH, 0.0),
        (SCRIPT, 0.0),  # over plain HTTP
        (IMAGE, 0.0),
    ],
)
def test_only_who_could_answer_ignores_a_challenge(world: Any, headers: dict[str, str], points: float) -> None:
    """A page that polled by fetch() once a second had its visitor's next challenge cost four times as much."""
    client = world.client()
    world.storm()
    insist(world, client, OPEN + 2, headers=headers)
    assert client.entry.score == points


def insist(world: Any, client: Any, times: int, wait: float = 1.0, **more: Any) -> None:
    """Ask, be challenged each time, and ask again after a while."""
    for number in range(times):
        world.now += wait if number else 0.0
        request = world.ask(client, **more)
        assert request.verdict.action is Action.CHALLENGE
        world.engine.mint(request, world.now)


def test_who_reloads_a_page_whose_script_was_challenged_ignores_nothing(world: Any) -> None:
    """The script's challenges lay open, and the visitor, who had never seen one, paid for the reload."""
    client = world.client()
    world.storm()
    insist(world, client, OPEN + 5, headers=FETCH)
    insist(world, client, 1, headers=NAVIGATION)
    assert client.entry.score == 0.0


def test_a_health_check_ignores_nothing(world: Any) -> None:
    """It comes back later than it was told, and never answers."""
    check = world.client(agent="probe/1.0", language="")
    world.storm()
    insist(world, check, 3 * OPEN, wait=10.0, method="HEAD", headers={"User-Agent": "probe/1.0"})
    assert check.entry.score == 0.0


def test_colleagues_with_the_same_browser_do_not_ignore_each_others_challenges(world: Any) -> None:
    """They are one client. One a second came, each answered after three, and the price rose with each of them."""
    client = world.client()
    world.storm()
    prices = set()
    open_challenges = []
    for _ in range(40):
        request = world.ask(client, headers=NAVIGATION)
        assert request.verdict.action is Action.CHALLENGE
        open_challenges.append(world.engine.mint(request, world.now))
        prices.add(open_challenges[-1].expected_hashes)
        if len(open_challenges) > 3:
            challenge = open_challenges.pop(0)
            answer = world.engine.redeem(client, challenge.token, nonces(challenge), world.now)
            assert answer.result in (Redeemed.ACCEPTED, Redeemed.WAITING)
            client.entry.bought = None  # the next one is somebody else
        world.now += 1.0
    assert client.entry.score == 0.0
    assert len(prices) == 1


PREFLIGHT = {
    "Accept": "*/*",
    "Accept-Language": "de",
    "Origin": "https://app.example",
    "Access-Control-Request-Method": "PUT",
    "Sec-Fetch-Site": "cross-site",
    "Sec-Fetch-Mode": "cors",
    "Sec-Fetch-Dest": "empty",
}


@pytest.mark.parametrize("mode", ["auto", "always"])
def test_a_preflight_is_never_challenged(make: Any, mode: str) -> None:
    """It cannot answer and carries no cookie. It was challenged, and the call of a visitor with a pass failed."""
    world = make(challenge=replace(CHEAP, mode=mode))
    client = world.client()
    world.storm()
    assert world.ask(client, "/api", method="PUT", headers={}).verdict.action is Action.CHALLENGE
    request = world.ask(client, "/api", method="OPTIONS", headers=PREFLIGHT)
    assert request.verdict.action is Action.FORWARD
    plain = {"Origin": "https://app.example"}
    assert world.ask(client, "/api", method="OPTIONS", headers=plain).verdict.action is Action.CHALLENGE
    assert world.ask(client, "/api", method="GET", headers=PREFLIGHT).verdict.action is Action.CHALLENGE


def test_preflights_are_held_to_the_limits(world: Any) -> None:
    """A flood of them gets no more than a newcomer where challenges are off, and no ban of an address spares one."""
    flood = world.client(agent="Flood")
    world.storm()
    verdicts = [world.ask(flood, method="OPTIONS", headers=PREFLIGHT).verdict for _ in range(2000)]
    assert verdicts[0].action is Action.FORWARD
    assert verdicts[-1].action is Action.LIMIT
    assert sum(verdict.action is Action.FORWARD for verdict in verdicts) < 1000
    assert Action.CHALLENGE not in {verdict.action for verdict in verdicts}
    world.engine.mint(world.ask(world.client()), world.now)
    flood.source.banned_until = world.now + 60.0
    stranger = world.client(agent="Another")
    assert world.ask(stranger, method="OPTIONS", headers=PREFLIGHT).verdict.action is Action.BAN


@pytest.mark.parametrize("headers", [PAGE, SCRIPT, TOOL])
def test_who_reads_the_answer_is_found_out_once(world: Any, headers: dict[str, str]) -> None:
    request = Request(world.client(), "GET", "/", headers, None, False, None)
    could = could_answer(request)
    assert request.reader is reader_of("GET", headers)
    request.headers = {}  # it is not looked at again
    assert could_answer(request) is could
    assert not could_answer(Request(world.client(), "GET", "/", headers, None, False, None, Reader.NOBODY))
