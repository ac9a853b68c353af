"""What raises a score, what earns it back, who is banned and who is not."""

from __future__ import annotations

from typing import Any

import pytest

from shield.model import Action, Reason, Signal, Tier
from shield.policy.challenge.settings import ChallengeSettings
from shield.policy.identity import IdentitySettings
from shield.policy.reputation import ReputationSettings
from shield.policy.tiers import OPEN


def score(world: Any, client: Any) -> float:
    return world.engine._reputation.of_client(client.entry, world.now)


def test_a_client_with_a_bad_record_of_responses_is_never_banned_for_them(world: Any) -> None:
    client = world.client()
    for _ in range(200):
        world.visit(client, status=404)
    assert score(world, client) == 8.0
    assert world.ask(client).verdict.action is Action.FORWARD
    assert world.ask(client).tier is Tier.T3


def test_what_cannot_add_to_a_score_costs_no_work(world: Any) -> None:
    client = world.client()
    for _ in range(200):
        world.visit(client, status=404)
    world.now += 1.0
    world.visit(client, status=404)
    assert client.entry.scored_at == world.now - 1.0
    world.now += 10.0
    world.visit(client, status=404)
    assert score(world, client) == 8.0


@pytest.mark.parametrize(
    ("status", "points"), [(404, 0.5), (400, 0.5), (401, 0.5), (403, 0.0), (500, 0.0), (200, -0.05)]
)
def test_what_a_response_says_of_its_client(world: Any, status: int, points: float) -> None:
    client = world.client()
    world.visit(client, status=status)
    assert score(world, client) == pytest.approx(points)


@pytest.mark.parametrize("status", [502, 503, 504])
def test_the_failures_of_the_upstream_are_not_the_client_s(world: Any, status: int) -> None:
    client = world.client()
    world.visit(client, status=status)
    assert score(world, client) == 0.0


def test_good_responses_earn_back_but_only_so_much(world: Any) -> None:
    client = world.client()
    for _ in range(100):
        world.visit(client)
        world.pass_time(0.1, step=0.1)
    world.now += 5
    for _ in range(100):
        world.visit(client)
    assert score(world, client) == -4.0


def test_a_score_decays_by_half_in_ten_minutes(world: Any) -> None:
    client = world.client()
    world.engine.report(client, Signal.MALFORMED, world.now)
    world.now += 600
    assert score(world, client) == pytest.approx(1.5)
    reputation = world.engine._reputation
    assert reputation.slowing_of_client(client.entry, world.now) == pytest.approx(2 ** (-0.375))
    client.entry.score = 100.0
    assert reputation.slowing_of_client(client.entry, world.now) == 2**-4
    client.entry.score = -4.0
    assert reputation.slowing_of_client(client.entry, world.now) == 1.0


def test_six_malformed_requests_ban_for_a_minute_and_relapses_for_longer(world: Any, says: Any) -> None:
    client = world.client()
    expected = 60
    for _ in range(14):
        while client.entry.banned_until <= world.now:
            world.engine.report(client, Signal.MALFORMED, world.now)
        assert client.entry.banned_until - world.now == pytest.approx(min(expected, 86_400))
        request = world.ask(client)
        assert says(request) == (Action.BAN, Reason.CLIENT_BANNED)
        assert request.verdict.retry_after == min(expected, 86_400) + 1
        world.engine.report(client, Signal.MALFORMED, world.now)  # adds nothing to a ban that runs
        world.now = client.entry.banned_until
        expected *= 2


def test_a_day_without_a_ban_forgets_the_relapses(world: Any) -> None:
    client = world.client()
    for _ in range(3):
        while client.entry.banned_until <= world.now:
            world.engine.report(client, Signal.MALFORMED, world.now)
        world.now = client.entry.banned_until
    assert client.entry.relapses == 3
    world.now += 86_400
    while client.entry.banned_until <= world.now:
        world.engine.report(client, Signal.MALFORMED, world.now)
    assert client.entry.relapses == 1


def test_a_ban_is_an_event_for_the_log_and_a_flood_of_bans_is_bounded(world: Any) -> None:
    for i in range(100):
        client = world.client(f"192.0.2.{i}")
        for _ in range(6):
            world.engine.report(client, Signal.MALFORMED, world.now)
    events = world.engine.events()
    assert len(events) == 64
    assert events[-1] == (
        "ban",
        {
            "address": "192.0.2.99",
            "client": client.entry.key.hex(),
            "seconds": 60.0,
            "relapses": 1,
            "signal": "malformed",
            "score": 18.0,
        },
    )
    assert world.engine.events() == []


def test_four_programs_that_attack_from_one_address_ban_it_and_spare_who_is_known(world: Any, says: Any) -> None:
    known, stranger = world.client(agent="Known"), world.client(agent="Stranger")
    world.settle_down(known)
    for i in range(4):
        client = world.client(agent=f"Attack/{i}")
        for _ in range(3):
            world.engine.report(client, Signal.MALFORMED, world.now)
    assert says(world.ask(stranger)) == (Action.CHALLENGE, Reason.BAD_NEIGHBOUR)
    assert says(world.ask(known)) == (Action.FORWARD, Reason.OK)
    assert "client" not in dict(world.engine.events())["ban"]


def test_what_nobody_in_particular_did_is_the_address_s(world: Any, says: Any) -> None:
    """Malformed heads on fresh connections were charged to a client without a User-Agent, that nobody ever was."""
    attacker = world.client(agent="Attack/1")
    for _ in range(5):
        world.engine.report("192.0.2.1", Signal.MALFORMED, world.now)
    assert says(world.ask(attacker))[0] is Action.FORWARD
    world.engine.report("192.0.2.1", Signal.MALFORMED, world.now)
    assert says(world.ask(attacker)) == (Action.CHALLENGE, Reason.BAD_NEIGHBOUR)
    assert attacker.entry.score == 0.0
    assert attacker.source.network.score == 0.0
    (ban,) = world.engine.events()
    assert ban == (
        "ban",
        {"address": "192.0.2.1", "seconds": 60.0, "relapses": 1, "signal": "malformed", "score": 18.0},
    )


def test_what_nobody_in_particular_did_spares_those_who_are_known(world: Any, says: Any) -> None:
    crowd = [world.client(agent=f"User/{i}") for i in range(3)]
    world.settle_down(*crowd)
    request = world.ask(crowd[0])
    token = world.engine.present(world.engine.grant(request, world.now), world.now)
    for _ in range(15):
        world.engine.report("192.0.2.1", Signal.MALFORMED, world.now)
    assert crowd[0].source.hard == pytest.approx(15.0)  # a third of each
    world.engine.report("192.0.2.1", Signal.MALFORMED, world.now)
    stranger = world.client(agent="Stranger")
    assert says(world.ask(stranger)) == (Action.CHALLENGE, Reason.BAD_NEIGHBOUR)
    assert says(world.ask(stranger, shown=token)) == (Action.FORWARD, Reason.OK)
    for user in crowd:
        assert says(world.ask(user)) == (Action.FORWARD, Reason.OK)


def test_an_address_that_the_operator_allows_is_not_reported(make: Any) -> None:
    world = make(identity=IdentitySettings(allow=("192.0.2.1",)))
    for _ in range(20):
        world.engine.report("192.0.2.1", Signal.MALFORMED, world.now)
    assert world.client().source.hard == 0.0
    assert world.client().source.banned_until == 0.0


def test_a_report_of_a_forgotten_client_reaches_the_one_it_is_now(make: Any) -> None:
    world = make(identity=IdentitySettings(idle=60))
    client = world.client()
    world.pass_time(120)
    assert not client.live
    world.engine.report(client, Signal.MALFORMED, world.now)
    assert world.client().entry.score == 3.0


def test_soft_signals_never_ban_an_address(world: Any) -> None:
    for i in range(16):
        client = world.client(agent=f"Crawl/{i}")
        for _ in range(30):
            world.visit(client, status=404)
    assert client.source.score >= 16.0
    assert client.source.hard == 0.0
    assert client.source.banned_until == 0.0


def test_a_crowd_with_a_history_behind_one_address_is_no_criminal(world: Any) -> None:
    crowd = [world.client(agent=f"User/{i}") for i in range(8)]
    world.settle_down(*crowd)
    assert crowd[0].source.score == 0.0
    for _ in range(20):
        world.visit(crowd[0], status=404)
    assert crowd[0].source.score == pytest.approx(4.0 / 8)
    assert crowd[0].source.network.score == pytest.approx(4.0)


def test_of_a_client_s_score_only_a_part_reaches_its_networks(world: Any) -> None:
    client = world.client("2001:db8::1")
    for _ in range(5):
        world.engine.report(client, Signal.MALFORMED, world.now)
    assert score(world, client) == 15.0
    assert [client.source.score, client.source.network.score, client.source.site.score] == [4.0, 4.0, 4.0]
    world.now += 3600
    world.engine.report(client, Signal.MALFORMED, world.now)
    assert client.source.network.score == pytest.approx(2.0 + 2.0)  # as much as has faded


def test_a_score_has_a_ceiling(world: Any) -> None:
    client = world.client()
    for _ in range(50):
        world.engine.report(client, Signal.MALFORMED, world.now)
    assert score(world, client) == 32.0


def test_the_allowlisted_are_not_reported(make: Any) -> None:
    world = make(identity=IdentitySettings(allow=("192.0.2.1",)))
    client = world.client()
    world.engine.report(client, Signal.MALFORMED, world.now)
    assert client.entry.score == 0.0


@pytest.mark.parametrize(("site", "points"), [("cross-site", 0.0), ("same-site", 0.0), ("none", 8.0)])
def test_what_another_site_made_a_browser_ask_raises_no_score(world: Any, site: str, points: float) -> None:
    """A page elsewhere with images that do not exist here slowed its reader to a quarter, and the address by half."""
    client = world.client()
    for _ in range(600):
        world.visit(client, status=404, rtt=0.050, headers={"Sec-Fetch-Site": site})
    request = world.ask(client, headers={"Sec-Fetch-Site": site})
    assert request.verdict.reason is Reason.CLIENT_RATE  # limits hold all the same
    assert score(world, client) == pytest.approx(points, abs=0.3)
    assert (client.source.score > 0.0) is bool(points)


def test_slowness_never_bans(world: Any, says: Any) -> None:
    """A page that fetches a large file and does not read it, a paused player, a phone in a tunnel."""
    client = world.client()
    for _ in range(200):
        world.engine.report(client, Signal.SLOW_ABORT, world.now)
        world.engine.report("192.0.2.1", Signal.SLOW_ABORT, world.now)
        world.engine.report("192.0.2.9", Signal.SLOW_ABORT, world.now)
    assert score(world, client) == 8.0
    quiet = world.client("192.0.2.9")
    assert client.source.score <= 8.0  # of nobody in particular, and of one client
    assert client.source.hard == 0.0
    assert (quiet.source.score, quiet.source.hard) == (4.0, 0.0)
    assert says(world.ask(client)) == (Action.FORWARD, Reason.OK)
    assert says(world.ask(quiet)) == (Action.FORWARD, Reason.OK)


def test_one_client_bans_no_address_however_long_it_goes_on(world: Any) -> None:
    client = world.client()
    for _ in range(6 * 60):
        world.pass_time(60.0, step=60.0)
        world.engine.report(client, Signal.MALFORMED, world.now)
        assert client.source.hard <= 4.0 + 1e-9
    assert client.source.banned_until == 0.0


def ban_address(world: Any, address: str = "192.0.2.1") -> None:
    for _ in range(6):
        world.engine.report(address, Signal.MALFORMED, world.now)


def test_a_newcomer_at_a_banned_address_pays_its_way_out_at_a_dear_price(world: Any, says: Any) -> None:
    ban_address(world)
    newcomer, elsewhere = world.client(), world.client("198.51.100.1")
    assert says(world.ask(newcomer)) == (Action.CHALLENGE, Reason.BAD_NEIGHBOUR)
    assert world.engine.toll(world.request(newcomer), world.now).action is Action.FORWARD
    _, token = world.buy(newcomer)
    assert says(world.ask(newcomer, shown=token)) == (Action.FORWARD, Reason.OK)
    world.storm(0.9)
    dear = world.engine.mint(world.ask(world.client(agent="Other")), world.now)
    cheap = world.engine.mint(world.ask(elsewhere), world.now)
    assert dear.k * 2**64 / dear.target >= 3.9 * cheap.k * 2**64 / cheap.target  # as dear as CHEAP allows


def test_challenges_at_a_banned_address_end_with_its_bucket(world: Any) -> None:
    ban_address(world)
    crowd = [world.client(agent=f"Attack/{number}") for number in range(30)]
    reasons = [world.ask(client).verdict.reason for _ in range(100) for client in crowd]
    assert reasons[0] is Reason.BAD_NEIGHBOUR
    assert reasons.count(Reason.BAD_NEIGHBOUR) <= 2000  # 400 units at 0.2
    assert reasons[-1] is Reason.ADDRESS_BANNED


def test_a_banned_client_stays_refused(world: Any, says: Any) -> None:
    client = world.client()
    for _ in range(6):
        world.engine.report(client, Signal.MALFORMED, world.now)
    ban_address(world)
    assert says(world.ask(client)) == (Action.BAN, Reason.CLIENT_BANNED)
    assert world.engine.toll(world.request(client), world.now).reason is Reason.CLIENT_BANNED


def test_where_nobody_is_challenged_nobody_pays_its_way_out(make: Any, says: Any) -> None:
    world = make(challenge=ChallengeSettings(mode="off"))
    ban_address(world)
    assert says(world.ask(world.client())) == (Action.BAN, Reason.ADDRESS_BANNED)


def test_ignoring_a_challenge_counts_at_most_once_a_second(world: Any) -> None:
    client = world.client()
    world.storm()
    for _ in range(OPEN + 1):  # so many may lie open
        world.now += 1.0
        world.engine.mint(world.ask(client), world.now)
        assert score(world, client) == 0.0
    for _ in range(10):
        world.ask(client)
    assert score(world, client) == 1.0
    world.now += 1.0
    world.ask(client)
    assert score(world, client) == pytest.approx(2.0, abs=0.01)


def test_a_limit_hit_is_held_against_the_client_whose_limit_it_is(world: Any) -> None:
    greedy = world.client(agent="Greedy")
    for _ in range(300):
        world.visit(greedy, rtt=0.050)
    assert score(world, greedy) > 3.0


def test_a_limit_of_the_address_is_nobody_s_fault(world: Any) -> None:
    crowd = [world.client(agent=f"User/{i}") for i in range(10)]
    reasons = {world.visit(client, rtt=0.050).verdict.reason for _ in range(60) for client in crowd}
    assert reasons == {Reason.OK, Reason.ADDRESS_RATE}
    assert max(client.entry.score for client in crowd) <= 0.0


def test_by_how_much_a_relapse_lengthens_a_ban_is_a_setting(make: Any) -> None:
    world = make(reputation=ReputationSettings(least_ban=10.0, relapse=3.0, most_ban=100.0))
    client, seconds = world.client(), []
    for _ in range(4):
        for _ in range(6):
            world.engine.report(client, Signal.MALFORMED, world.now)
        seconds.append(client.entry.banned_until - world.now)
        world.now = client.entry.banned_until
    assert seconds == pytest.approx([10.0, 30.0, 90.0, 100.0])
