"""What an answer buys, and what a bad one costs."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shield.demo.solver import solve
from shield.model import Action
from shield.policy.challenge.challenge import Challenge, Challenger, Redeemed, solved
from shield.policy.challenge.settings import ChallengeSettings
from shield.policy.keys import Keys
from shield.policy.request import Request
from shield.policy.table import TableSettings

CLIENT = b"c" * 16
NOW = 5_000.0
CHEAP = ChallengeSettings(least_hashes=64, most_hashes=256)
ALWAYS = replace(CHEAP, mode="always")


def challenger(settings: ChallengeSettings = CHEAP, keys: Keys | None = None, spent: int = 16) -> Challenger:
    count = iter(range(1 << 30))
    keys = keys or Keys(b"\x01" * 32)
    return Challenger(settings, keys, lambda n: next(count).to_bytes(n, "big"), spent, 1e9, solved)


def answer(challenge: Challenge) -> list[int]:
    return solve(challenge.token, challenge.k, challenge.target)


def challenged(world: Any, client: Any) -> Challenge:
    request: Request = world.ask(client)
    assert request.verdict.action is Action.CHALLENGE
    challenge: Challenge = world.engine.mint(request, world.now)
    return challenge


def test_a_solved_challenge_buys_a_pass_and_counts_nothing_against_its_client(make: Any) -> None:
    world = make(challenge=ALWAYS)
    client = world.client()
    _, token = world.buy(client)
    assert client.entry.score == 0.0
    assert client.entry.offered_until == 0.0
    assert world.visit(client, shown=token).verdict.action is Action.FORWARD


@pytest.mark.parametrize("how", ["forged", "wrong"])
def test_four_false_answers_ban(make: Any, how: str) -> None:
    world = make(challenge=replace(ALWAYS, least_hashes=2**30, most_hashes=2**30))
    client = world.client()
    challenge = challenged(world, client)
    results = []
    for _ in range(4):
        token = challenge.token if how == "wrong" else "AAAA" + challenge.token[4:]
        results.append(world.engine.redeem(client, token, [0] * 16, world.now).result)
    assert results == [Redeemed(how)] * 4
    assert client.entry.banned_until == world.now + 60
    assert world.engine.redeem(client, challenge.token, [0] * 16, world.now).result is Redeemed.BUSY


def test_a_simulation_may_check_the_work_itself(make: Any) -> None:
    expensive = replace(ALWAYS, least_hashes=2**30, most_hashes=2**30)
    world = make(challenge=expensive, check_work=lambda token, target, nonces: nonces[0])
    client = world.client()
    challenge = challenged(world, client)
    assert world.engine.redeem(client, challenge.token, [15] + [0] * 15, world.now).result is Redeemed.WRONG
    assert world.engine.redeem(client, challenge.token, [16] + [0] * 15, world.now).result is Redeemed.ACCEPTED


def test_a_late_or_doubled_answer_is_charged_and_not_held_against_anybody(make: Any) -> None:
    world = make(challenge=ALWAYS)
    client = world.client()
    challenge = challenged(world, client)
    nonces = solve(challenge.token, challenge.k, challenge.target)
    world.engine.redeem(client, challenge.token, nonces, world.now)
    debt = client.entry.tat
    assert world.engine.redeem(client, challenge.token, nonces, world.now).result is Redeemed.SPENT
    world.now += 120
    assert world.engine.redeem(client, challenge.token, nonces, world.now).result is Redeemed.EXPIRED
    assert world.engine.redeem(client, "?", [], world.now).result is Redeemed.MALFORMED
    assert client.entry.tat > debt
    assert client.entry.score == 0.0


def test_another_programs_answer_is_charged_and_not_held_against_anybody(make: Any) -> None:
    world = make(challenge=ALWAYS)
    challenge = challenged(world, world.client("192.0.2.1"))
    nonces = solve(challenge.token, challenge.k, challenge.target)
    moved = world.client("192.0.2.1", agent="Another/1.0")
    for _ in range(5):
        assert world.engine.redeem(moved, challenge.token, nonces, world.now).result is Redeemed.FOREIGN
    assert moved.entry.score == 0.0
    assert moved.entry.tat - world.now == pytest.approx(5 * 0.02)


def test_a_change_of_keys_voids_no_challenge_that_is_being_solved(make: Any) -> None:
    old, new, newer = (bytes([n]) * 32 for n in (1, 2, 3))
    world = make(keys=Keys(old), challenge=ALWAYS)
    challenge = challenged(world, world.client())
    nonces = solve(challenge.token, challenge.k, challenge.target)
    restarted = make(keys=Keys(new, old), challenge=ALWAYS)
    client = restarted.client()
    assert restarted.engine.redeem(client, challenge.token, nonces, restarted.now).result is Redeemed.ACCEPTED
    assert restarted.engine.redeem(client, challenge.token, nonces, restarted.now).result is Redeemed.SPENT
    other = restarted.client(agent="Another/1.0")
    assert restarted.engine.redeem(other, challenge.token, nonces, restarted.now).result is Redeemed.FOREIGN
    later = make(keys=Keys(newer, new), challenge=ALWAYS)
    assert later.engine.redeem(later.client(), challenge.token, nonces, later.now).result is Redeemed.FORGED


def test_who_has_nothing_left_to_pay_with_is_not_heard(make: Any) -> None:
    world = make(challenge=ALWAYS)
    client = world.client()
    for _ in range(1500):
        world.engine.redeem(client, "?", [], world.now)
    assert world.engine.redeem(client, "?", [], world.now).result is Redeemed.BUSY


def test_a_busy_moment_is_not_the_client_s_fault(make: Any) -> None:
    world = make(challenge=ALWAYS, tables=TableSettings(spent=16))
    for i in range(16):
        world.buy(world.client(f"192.0.2.{i}"))
    client = world.client("192.0.2.99")
    challenge = challenged(world, client)
    debt = client.entry.tat
    nonces = solve(challenge.token, challenge.k, challenge.target)
    assert world.engine.redeem(client, challenge.token, nonces, world.now).result is Redeemed.BUSY
    assert client.entry.tat == debt
    assert client.entry.score == 0.0


def test_a_handle_that_was_forgotten_while_solving_is_renewed(make: Any) -> None:
    world = make(challenge=ALWAYS, tables=TableSettings(clients=16))
    client = world.client()
    challenge = challenged(world, client)
    world.pass_time(1)
    for i in range(100):
        world.client(f"198.51.100.{i}")
    assert not client.live
    nonces = solve(challenge.token, challenge.k, challenge.target)
    assert world.engine.redeem(client, challenge.token, nonces, world.now).result is Redeemed.ACCEPTED


def test_a_bad_score_and_a_known_network_set_the_price(make: Any) -> None:
    world = make(challenge=replace(ALWAYS, most_hashes=2**20))
    plain = challenged(world, world.client()).expected_hashes
    bad = world.client("198.51.100.1")
    bad.source.score, bad.source.scored_at = 8.0, world.now
    assert plain == 64
    assert challenged(world, bad).expected_hashes == 256
    known = world.client("203.0.113.1")
    _, token = world.buy(known)
    world.settle_down(known, shown=token)
    world.engine._pricing.hashes = 2.0**18
    assert (
        challenged(world, world.client("203.0.113.2")).expected_hashes
        < challenged(world, world.client("198.18.0.1")).expected_hashes
    )


def test_who_is_known_by_one_of_two_addresses_gets_in_at_the_first_try(make: Any) -> None:
    """IPv6 was known, so the challenge cost an eighth; IPv4 was not, and the answer from there was foreign."""
    world = make(challenge=replace(CHEAP, least_hashes=16, most_hashes=1024))
    known, unknown = "2001:db8:1::5", "198.51.100.5"
    world.settle_down(world.client(known, "Family"))
    world.engine._pricing.hashes = 128.0
    challenge = world.engine.mint(world.ask(world.client(known)), world.now)
    assert challenge.expected_hashes == 16
    result = world.engine.redeem(world.client(unknown), challenge.token, answer(challenge), world.now)
    assert result.result is Redeemed.ACCEPTED


def test_a_botnet_gets_one_pass_of_twenty_at_the_price_of_a_network_that_is_known(make: Any) -> None:
    world = make(challenge=replace(CHEAP, least_hashes=16, most_hashes=1024))
    world.settle_down(world.client("192.0.2.9", "Family"))
    world.engine._pricing.hashes = 128.0

    def move(asking: str, answering: str) -> Redeemed:
        world.engine.clients.challenger._time.tat = 0.0  # as if each were verified at leisure
        challenge = world.engine.mint(world.request(world.client(asking)), world.now)
        client = world.client(answering)
        result: Redeemed = world.engine.redeem(client, challenge.token, answer(challenge), world.now).result
        return result

    got = [move("192.0.2.1", f"10.0.{n}.1") for n in range(30)]
    assert got == [Redeemed.ACCEPTED] * 20 + [Redeemed.FOREIGN] * 10
    assert {move(f"10.1.{n}.1", f"10.1.{n}.1") for n in range(21)} == {Redeemed.ACCEPTED}
    got = [move("192.0.2.1", f"10.2.{n}.1") for n in range(3)]
    assert got == [Redeemed.ACCEPTED, Redeemed.FOREIGN, Redeemed.FOREIGN]
    world.engine.clients.challenger._movers = 5.0
    cheaper = world.engine.mint(world.request(world.client("192.0.2.1")), world.now)
    world.engine._pricing.hashes = 1024.0  # the price has risen meanwhile
    late = world.engine.redeem(world.client("10.3.0.1"), cheaper.token, answer(cheaper), world.now)
    assert late.result is Redeemed.FOREIGN


def test_how_many_points_double_the_price_is_a_setting(make: Any) -> None:
    world = make(challenge=replace(CHEAP, doubling=1.0, most_hashes=2**20))
    world.storm(0.5)
    client = world.client()
    client.entry.score, client.entry.scored_at = 3.0, world.now
    assert world.engine.mint(world.ask(client), world.now).expected_hashes == pytest.approx(64 * 8, rel=0.01)


@pytest.mark.parametrize(("stand_in", "after", "stands"), [(10.0, 9.0, True), (10.0, 10.0, False), (0.0, 0.0, False)])
def test_for_how_long_a_bought_pass_stands_in_is_a_setting(
    make: Any, stand_in: float, after: float, stands: bool
) -> None:
    world = make(challenge=replace(CHEAP, stand_in=stand_in))
    world.storm(0.5)
    client = world.client()
    _, bought = world.buy(client)
    world.now += after
    assert (world.ask(client).shown_pass is bought) is stands


_worlds: list[Any] = []
_sites = (f"10.{number % 250}" for number in count())


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.sampled_from([0.0, 0.1, 1.0])), max_size=40))
def test_nobodys_answer_goes_unheard_for_those_of_others(make: Any, steps: list[tuple[int, int, float]]) -> None:
    """The guarantee of the time for verification: a client has as much of it as its own bucket pays for, and at most
    what four false answers take; and whatever others send in whatever order, a right answer is heard."""
    if not _worlds:
        _worlds.append(make(challenge=ALWAYS))
    (world,) = _worlds
    site = next(_sites)  # networks of this example's own
    forged = "AAAA" + challenged(world, world.client(f"{site}.201.1")).token[4:]

    def heard(client: Any) -> bool:
        result: Redeemed = world.engine.redeem(client, forged, [0] * 16, world.now).result
        assert result in {Redeemed.FORGED, Redeemed.BUSY}
        return result is Redeemed.FORGED

    counts: Counter[Any] = Counter()
    for address, agent, seconds in steps:
        client = world.client(f"{site}.{address}.1", f"Robot/{agent}")
        counts[client.key] += heard(client)
        world.now += seconds
    assert max(counts.values(), default=0) <= 4
    world.buy(world.client(f"{site}.202.1"))
