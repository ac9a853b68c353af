"""One person with several addresses, and one address of many people: everybody gets in at the first try.

Challenge, answer, pass and the form afterwards may come from another address each.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from shield.model import Action, Reason
from shield.policy.challenge.challenge import Redeemed
from shield.policy.engine import Engine
from tests.policy.conftest import CHEAP, nonces
from tests.policy.fleet import Fleet

AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
TAB = {
    "Accept": "text/html,*/*;q=0.8",
    "Accept-Language": "en",
    "Sec-Fetch-Site": "none",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
}
FORM = TAB | {"Sec-Fetch-Site": "same-origin", "Origin": "https://site.example"}
PAYMENT = TAB | {"Sec-Fetch-Site": "cross-site", "Origin": "https://bank.example"}

DUAL_STACK = ["2001:db8:1::5", "198.51.100.5"]  # connections race, and each request takes the winner
TWO_UPLINKS = ["192.0.2.77", "203.0.113.9"]
CARRIER = [f"100.64.{pool}.{host}" for pool in (1, 2) for host in (7, 8, 9)]  # another way out for each connection
VPN = ["192.0.2.77", "198.18.5.5", "192.0.2.77"]


@pytest.fixture(params=[Engine, Fleet], ids=["one", "three"])
def make(make: Any, request: pytest.FixtureRequest) -> Any:
    """One worker's engine, or three over the board: a visitor sees no difference."""
    return partial(make, engine=request.param)


@pytest.mark.parametrize(
    "addresses",
    [DUAL_STACK, DUAL_STACK[::-1], TWO_UPLINKS, CARRIER, VPN],
    ids=["dual stack", "dual stack, the other way", "two uplinks", "carrier's pool", "VPN"],
)
@pytest.mark.parametrize("flood", [False, True], ids=["always", "under attack"])
def test_a_visitor_with_several_addresses_gets_in_at_the_first_try(
    make: Any, says: Any, addresses: list[str], flood: bool
) -> None:
    """The answer came from the other address, was foreign, and the visitor solved one challenge after the other."""
    world = make(challenge=CHEAP if flood else replace(CHEAP, mode="always"))
    if flood:
        world.storm()
    turn = iter(addresses * 9)

    def visitor() -> Any:
        return world.client(next(turn), AGENT)

    asked = world.ask(visitor(), headers=TAB)
    assert asked.verdict.action is Action.CHALLENGE
    challenge = world.engine.mint(asked, world.now)
    world.now += 2.0
    result = world.engine.redeem(visitor(), challenge.token, nonces(challenge), world.now)
    while result.result is Redeemed.WAITING:
        world.pass_time(1.0)
        result = world.engine.claim(visitor(), result.ticket, world.now)
    assert result.result is Redeemed.ACCEPTED
    for method, headers in (("GET", TAB), ("GET", TAB), ("POST", FORM), ("POST", PAYMENT)):
        shown = world.engine.present(result.pass_token, world.now)
        assert shown is not None
        request = world.ask(visitor(), "/order", method=method, headers=headers, shown=shown)
        assert says(request) == (Action.FORWARD, Reason.OK)
        world.end(request)
        world.now += 1.0


@pytest.mark.parametrize("points", [5.0, 12.0])
def test_who_moves_to_an_address_with_a_bad_name_gets_in_at_the_first_try(make: Any, points: float) -> None:
    """Others had misbehaved at the address that the carrier gave out next: the visitor had to solve a second challenge,
    eight times as dear."""
    world = make(challenge=replace(CHEAP, mode="always", least_hashes=16))
    bad = world.client("203.0.113.9", AGENT)
    bad.source.score, bad.source.scored_at = points, world.now
    challenge = world.engine.mint(world.ask(world.client("192.0.2.1", AGENT)), world.now)
    result = world.engine.redeem(bad, challenge.token, nonces(challenge), world.now)
    assert result.result is Redeemed.ACCEPTED
    shown = world.engine.present(result.pass_token, world.now)
    assert world.visit(bad, headers=TAB, shown=shown).verdict.action is Action.FORWARD


def test_who_has_moved_pays_for_what_it_did_in_the_new_place(make: Any) -> None:
    """Else whoever misbehaves would ask where it has a good name."""
    world = make(challenge=replace(CHEAP, mode="always", least_hashes=16))
    flooded = world.client("203.0.113.9", AGENT)
    flooded.entry.score, flooded.entry.scored_at = 12.0, world.now  # three doublings
    challenge = world.engine.mint(world.ask(world.client("192.0.2.1", AGENT)), world.now)
    answer = nonces(challenge)
    assert world.engine.redeem(flooded, challenge.token, answer, world.now).result is Redeemed.FOREIGN
    assert flooded.entry.score == 12.0  # it is not held against anybody
    again = world.engine.redeem(world.client("192.0.2.1", AGENT), challenge.token, answer, world.now)
    assert again.result is Redeemed.ACCEPTED


@pytest.mark.parametrize("same", [True, False], ids=["one browser for all", "each another browser"])
@pytest.mark.parametrize("flood", [False, True], ids=["always", "under attack"])
def test_many_people_behind_one_address_get_in_at_the_first_try(make: Any, same: bool, flood: bool) -> None:
    """Those with the same browser were taken for one client: the pass of the first paid for all of them, until its
    budget was gone and they met "too many requests"."""
    world = make(challenge=CHEAP if flood else replace(CHEAP, mode="always"))
    prices = set()
    for number in range(60):
        if flood:
            world.storm()
        person = world.client("192.0.2.9", AGENT if same else f"Browser/{number}")
        asked = world.ask(person, headers=TAB)
        assert asked.verdict.action is Action.CHALLENGE, (number, asked.verdict)
        challenge = world.engine.mint(asked, world.now)
        prices.add(challenge.expected_hashes)
        result = world.engine.redeem(person, challenge.token, nonces(challenge), world.now)
        assert result.result in (Redeemed.ACCEPTED, Redeemed.WAITING), number
        if result.result is Redeemed.ACCEPTED:
            shown = world.engine.present(result.pass_token, world.now)
            request = world.visit(person, headers=TAB, shown=shown)
            assert request.verdict.action is Action.FORWARD, (number, request.verdict)
        world.now += 1.0
    assert len(prices) == 1 or flood


def test_a_pass_stands_in_where_a_browser_sends_no_cookie(make: Any) -> None:
    world = make(challenge=replace(CHEAP, mode="always"))
    client = world.client(agent=AGENT)
    challenge = world.engine.mint(world.ask(client, headers=TAB), world.now)
    world.engine.redeem(client, challenge.token, nonces(challenge), world.now)
    manifest = TAB | {"Accept": "*/*", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "manifest"}
    frame = TAB | {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "iframe"}
    for method, headers in (("POST", PAYMENT), ("GET", manifest), ("GET", frame), ("GET", {})):
        assert world.visit(client, method=method, headers=headers).verdict.action is Action.FORWARD
    search = TAB | {"Sec-Fetch-Site": "cross-site"}  # a link elsewhere: the cookie would have come
    for headers in (TAB, search):
        assert world.visit(client, headers=headers).verdict.action is Action.CHALLENGE
