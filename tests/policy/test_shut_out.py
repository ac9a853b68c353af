"""Whose requests need not be read: an address is banned, and nobody there could be spared but by what they show."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from shield.model import Action, Reason, Signal
from shield.policy.challenge.settings import ChallengeSettings
from shield.policy.identity import CrawlerSettings, IdentitySettings

ADDRESS = "203.0.113.9"
STRICT = ChallengeSettings(mode="always", least_hashes=64, most_hashes=64)


def ban(world: Any, address: str = ADDRESS, spent: bool = True) -> None:
    """Ban an address; `spent`: its bucket pays for no challenge any more."""
    source = world.engine._identity.source(address, world.now)
    if spent:
        source.tat = world.now + 600.0
    world.engine._reputation.hard_of(source, 20.0, "honeypot", world.now)


@pytest.mark.parametrize("address", [ADDRESS, "2001:db8::1"])
def test_a_banned_address_is_shut_out_as_long_as_its_ban_lasts(world: Any, address: str) -> None:
    assert world.engine.shut_out(address, world.now) is None
    ban(world, address)
    verdict = world.engine.shut_out(address, world.now)
    assert (verdict.action, verdict.reason) == (Action.BAN, Reason.ADDRESS_BANNED)
    assert verdict is world.ask(world.client(address)).verdict, "a request that is read is told the same"
    neighbour = "203.0.113.10" if address == ADDRESS else "2001:db8:0:1::1"
    for other in (neighbour, "nonsense:", ""):
        assert world.engine.shut_out(other, world.now) is None
    world.now += 61.0
    ban(world, "198.51.100.1")  # another ban is in force
    assert world.engine.shut_out(address, world.now) is None


def test_all_of_a_subscriber_line_is_shut_out_with_one_of_its_addresses(world: Any) -> None:
    ban(world, "2001:db8::1")
    assert world.engine.shut_out("2001:db8::2", world.now) is not None


def test_where_somebody_has_a_history_every_request_is_read(world: Any) -> None:
    user = world.client(ADDRESS)
    world.settle_down(user)
    for _ in range(2):
        ban(world, spent=False)
    assert world.engine._identity.source(ADDRESS, world.now).banned_until > world.now
    assert world.engine.shut_out(ADDRESS, world.now) is None
    assert world.ask(user).verdict.action is Action.FORWARD


def test_who_bought_a_pass_and_cannot_send_a_cookie_is_read_for_as_long_as_it_stands_in(make: Any) -> None:
    world = make(challenge=replace(STRICT, stand_in=10.0))
    payer = world.client(ADDRESS)
    world.buy(payer)
    ban(world)
    assert world.engine.shut_out(ADDRESS, world.now) is None
    assert world.ask(payer).verdict.action is Action.FORWARD
    world.now += 10.0
    assert world.engine.shut_out(ADDRESS, world.now) is not None
    assert world.ask(payer).verdict.reason is Reason.ADDRESS_BANNED


def test_while_newcomers_may_pay_their_way_out_they_are_read(world: Any) -> None:
    ban(world, spent=False)
    asked = 0
    while world.engine.shut_out(ADDRESS, world.now) is None:
        verdict = world.ask(world.client(ADDRESS, agent=f"Somebody/{asked % 30}")).verdict
        assert verdict.reason is Reason.BAD_NEIGHBOUR
        asked += 1
        assert asked <= 2000, "400 units at 0.2 each"
    assert world.ask(world.client(ADDRESS)).verdict.reason is Reason.ADDRESS_BANNED


def test_whom_the_operator_or_dns_names_is_read(make: Any) -> None:
    crawlers = (CrawlerSettings("Goodbot", ("good.example",)),)
    world = make(identity=IdentitySettings(allow=("192.0.2.0/24",), crawlers=crawlers))
    for address in ("192.0.2.1", ADDRESS):
        ban(world, address)
    world.engine.vouch(ADDRESS, True, world.now)
    assert world.engine.shut_out("192.0.2.1", world.now) is None
    assert world.engine.shut_out(ADDRESS, world.now) is None
    world.engine.vouch(ADDRESS, False, world.now)
    assert world.engine.shut_out(ADDRESS, world.now) is not None


def test_a_dry_run_reads_everything(make: Any) -> None:
    world = make(dry_run=True)
    ban(world)
    assert world.engine.shut_out(ADDRESS, world.now) is None


def test_the_ban_of_a_client_shuts_out_no_neighbour(world: Any) -> None:
    bad = world.client(ADDRESS, agent="bad")
    for _ in range(6):
        world.engine.report(bad, Signal.MALFORMED, world.now)
    assert world.ask(bad).verdict.reason is Reason.CLIENT_BANNED
    assert world.engine.shut_out(ADDRESS, world.now) is None


def test_what_is_refused_unread_is_counted_as_a_request(world: Any) -> None:
    before = world.engine.status(world.now).requests_by_tier["T0"]
    world.engine.refused_unread("192.0.2.200", world.now)
    assert world.engine.status(world.now).requests_by_tier["T0"] == before + 1


def test_nobody_is_banned_with_those_who_share_the_entry_of_a_full_table(world: Any) -> None:
    source = world.engine._identity.source(ADDRESS, world.now)
    source.overflow = True
    ban(world)
    assert world.engine.shut_out(ADDRESS, world.now) is None
