"""Waiting instead of solving: for whom, how long, how many, and what the pass is worth."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from shield.model import Action, Reason, Tier
from shield.policy.challenge.challenge import Redeemed, Redemption
from shield.policy.challenge.settings import ChallengeSettings
from shield.policy.entries import PassKind
from shield.policy.pricing.settings import PricingSettings
from shield.policy.pricing.waiting import AGAIN, Waiting
from shield.policy.settings import EngineSettings
from shield.policy.table import TableSettings
from tests.policy.conftest import nonces

CHEAP = ChallengeSettings(least_hashes=64, most_hashes=256)
ALWAYS = replace(CHEAP, mode="always")


def ticket(world: Any, client: Any) -> str:
    request = world.ask(client)
    assert request.verdict.action is Action.CHALLENGE
    token: str = world.engine.mint(request, world.now).token
    return token


def turn(world: Any, client: Any, token: str) -> Redemption:
    redemption: Redemption = world.engine.wait(world.request(client), token, world.now)
    return redemption


def test_the_wait_grows_with_pressure_score_and_the_networks_passes() -> None:
    waiting = Waiting(PricingSettings(waited_least=5.0, waited_most=50.0), CHEAP)
    assert waiting.seconds(0.0, 0.0, 0) == 5.0
    assert waiting.seconds(0.5, 0.0, 0) == pytest.approx(5.0 * 10**0.5)
    assert waiting.seconds(1.0, 0.0, 0) == pytest.approx(50.0)
    assert waiting.seconds(0.0, 4.0, 0) == 10.0
    assert waiting.seconds(0.0, -4.0, 0) == 5.0
    assert waiting.seconds(0.0, 0.0, 2) == 15.0
    assert waiting.seconds(1.0, 16.0, 9) == 50.0
    # A ticket must outlive the wait.
    assert Waiting(PricingSettings(), replace(CHEAP, lifetime=8.0)).seconds(1.0, 0.0, 0) == 4.0


def test_passes_are_saved_up_for_a_while_only() -> None:
    waiting = Waiting(PricingSettings(waited_share=0.05, savings=5.0), CHEAP)
    assert all(waiting.take(0) for _ in range(1000))  # calm
    waiting.read(100.0, 0.5, 1.0)
    assert sum(waiting.take(0) for _ in range(100)) == 25  # 5 s of 5 a second
    waiting.read(100.0, 0.5, 0.5)
    assert sum(waiting.take(0) for _ in range(100)) == 1
    waiting.read(0.1, 0.5, 1.0)
    assert not waiting.take(0)
    for _ in range(1000):
        waiting.read(0.1, 0.5, 1.0)
    assert [waiting.take(0), waiting.take(0)] == [True, False]
    waiting.rest()
    assert waiting.take(0)


def test_who_has_waited_gets_a_pass_of_the_tier_below(make: Any) -> None:
    world = make(challenge=CHEAP)
    client = world.client()
    world.storm(0.5)
    token = ticket(world, client)
    needed = turn(world, client, "").wait
    assert turn(world, client, "") == Redemption(Redeemed.EXPIRED, wait=needed)
    assert 5 < needed < 60
    world.pass_time(2.0)
    world.storm(0.5)
    early = turn(world, client, token)
    assert early.result is Redeemed.WAITING
    assert needed - 5 <= early.wait < needed
    world.pass_time(needed)
    world.storm(0.5)
    got = turn(world, client, token)
    assert got.result is Redeemed.ACCEPTED
    shown = world.engine.present(got.pass_token, world.now)
    assert (shown.kind, shown.scarce) == (PassKind.WAITED, True)
    request = world.visit(client, shown=shown)
    assert (request.verdict.action, request.tier) == (Action.FORWARD, Tier.T3)
    assert world.visit(world.client("192.0.2.9")).verdict.reason is Reason.NEWCOMER
    # It slows instead of the client: a page comes at once, then it is a tenth of the rate.
    verdicts = (world.visit(client, shown=shown).verdict for _ in range(5000))
    assert next(each for each in verdicts if each.reason is not Reason.OK).reason is Reason.PASS_RATE


def test_a_ticket_is_good_once_and_for_its_client_alone(make: Any) -> None:
    world = make(challenge=ALWAYS)
    client = world.client()
    token = ticket(world, client)
    world.pass_time(6.0)
    assert turn(world, world.client("192.0.2.2"), token).result is Redeemed.EXPIRED
    assert turn(world, world.client(agent="Other/1.0"), token).result is Redeemed.EXPIRED
    assert turn(world, client, token[:-1] + ("A" if token[-1] != "A" else "B")).result is Redeemed.EXPIRED
    assert turn(world, client, "no token").result is Redeemed.EXPIRED
    first = turn(world, client, token)
    assert first.result is Redeemed.ACCEPTED
    assert turn(world, client, token) == Redemption(Redeemed.EXPIRED, wait=5)
    shown = world.engine.present(first.pass_token, world.now)
    assert not shown.scarce
    assert world.visit(client, shown=shown).verdict.action is Action.FORWARD


def test_a_ticket_ends_and_what_was_solved_is_none(make: Any) -> None:
    world = make(challenge=ALWAYS)
    client = world.client()
    token = ticket(world, client)
    world.pass_time(121.0, step=1.0)
    assert turn(world, client, token).result is Redeemed.EXPIRED
    request = world.ask(client)
    challenge = world.engine.mint(request, world.now)
    assert world.engine.redeem(client, challenge.token, nonces(challenge), world.now).result is Redeemed.ACCEPTED
    world.pass_time(6.0)
    assert turn(world, client, challenge.token).result is Redeemed.EXPIRED


def test_under_attack_there_are_only_so_many(make: Any) -> None:
    world = make(challenge=CHEAP)
    clients = [world.client(f"10.{number}.0.1") for number in range(200)]
    world.storm(0.5)
    tickets = [ticket(world, client) for client in clients]
    world.pass_time(55.0)
    world.storm(0.5)
    results = [turn(world, client, token) for client, token in zip(clients, tickets, strict=True)]
    let_in = sum(each.result is Redeemed.ACCEPTED for each in results)
    assert 0 < let_in < 100
    assert {each.wait for each in results if each.result is Redeemed.WAITING} == {AGAIN}


def test_where_the_operator_wants_none_nobody_waits(make: Any) -> None:
    world = make(challenge=ALWAYS, pricing=PricingSettings(waited_share=0.0))
    client = world.client()
    token = ticket(world, client)
    world.pass_time(20.0)
    assert turn(world, client, token) == Redemption(Redeemed.EXPIRED)


def test_without_room_for_passes_or_spent_tickets_one_goes_on_waiting(make: Any) -> None:
    world = make(challenge=CHEAP, tables=TableSettings(passes=1))
    one, other = world.client(), world.client("198.51.100.1")
    world.storm(0.5)
    tickets = [ticket(world, each) for each in (one, other)]
    world.pass_time(40.0)
    world.storm(0.5)
    for engine in world.engines:
        engine._pricing.waiting.rest()
    assert turn(world, one, tickets[0]).result is Redeemed.ACCEPTED
    assert turn(world, other, tickets[1]) == Redemption(Redeemed.WAITING, wait=AGAIN)
    world = make(challenge=ALWAYS, tables=TableSettings(spent=1))
    clients = [world.client(f"192.0.2.{number}") for number in (1, 2)]
    tickets = [ticket(world, each) for each in clients]
    world.pass_time(6.0)
    assert turn(world, clients[0], tickets[0]).result is Redeemed.ACCEPTED
    assert turn(world, clients[1], tickets[1]).result is Redeemed.EXPIRED


def test_a_pass_that_was_waited_for_outlives_a_restart_and_is_told_apart(make: Any) -> None:
    world = make(challenge=CHEAP)
    client = world.client()
    world.storm(0.5)
    token = ticket(world, client)
    world.pass_time(40.0)
    world.storm(0.5)
    got = turn(world, client, token)
    after = make(challenge=CHEAP)
    after.now = world.now
    after.engine.tick(after.now)
    after.storm(0.5)
    shown = after.engine.present(got.pass_token, after.now)
    assert (shown.kind, shown.scarce) == (PassKind.WAITED, True)


def test_limits_that_cross_are_told() -> None:
    complaints = dict(PricingSettings(waited_least=9.0, waited_most=8.0).complaints())
    assert ("waited_most",) in complaints
    assert EngineSettings().pricing.waited_share > 0


def test_networks_with_fewer_live_passes_are_asked_first() -> None:
    waiting = Waiting(PricingSettings(waited_share=1.0, savings=1.0), CHEAP)
    waiting.read(0.0, 0.5, 1.0)
    waiting.take(0)
    waiting.read(0.4, 2.5, 1.0)
    assert not waiting.take(1)
    for _ in range(2):
        waiting.read(0.4, 2.5, 1.0)
    assert not waiting.take(2)
    assert waiting.take(1)
    assert not waiting.take(0)
    waiting.read(0.4, 2.5, 1.0)
    assert waiting.take(0)
    together = Waiting(PricingSettings(waited_share=1.0, savings=1.0, by_network=False), CHEAP)
    together.read(0.0, 0.5, 1.0)
    assert together.take(1000)


def test_many_programs_of_one_address_take_no_waiters_pass(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred programs of one address, which asked twenty times a second, got 138 of 147 passes, and of twenty
    people elsewhere thirteen never had one in a quarter of an hour."""
    world = make(challenge=CHEAP)
    read = Waiting.read
    monkeypatch.setattr(Waiting, "read", lambda waiting, rate, seconds, part: read(waiting, 4.0, seconds, 1.0))
    people = [world.client(f"10.{number}.0.1", "Text/1") for number in range(8)]
    programs = [world.client("203.0.113.5", f"Program/{number}") for number in range(10)]
    tickets = {client.key: "" for client in (*people, *programs)}
    comes = dict.fromkeys((client.key for client in people), world.now)
    let_in: dict[bytes, int] = dict.fromkeys(tickets, 0)

    def come(client: Any) -> int:
        request = world.ask(client)
        assert request.verdict.action is Action.CHALLENGE
        got = world.engine.wait(request, tickets[client.key], world.now)
        if got.result is Redeemed.ACCEPTED:
            let_in[client.key] += 1
            tickets[client.key] = ""
        elif got.result is Redeemed.EXPIRED:
            tickets[client.key] = world.engine.mint(request, world.now).token
        return max(got.wait, 1)

    for turns in range(200):
        world.storm(0.5)
        for number in range(2):
            come(programs[(2 * turns + number) % 10])
        for person in people:
            if comes[person.key] <= world.now:
                comes[person.key] = world.now + come(person)
        world.pass_time(0.5)
    assert all(let_in[person.key] for person in people)
    theirs = sum(let_in[program.key] for program in programs)
    assert theirs < sum(let_in[person.key] for person in people) / 2, let_in
