"""Who stands out under pressure, and who is limited for it."""

from __future__ import annotations

import random
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from shield.model import Action, Reason, Tier
from shield.policy import standouts
from shield.policy.challenge.settings import ChallengeSettings
from shield.policy.entries import Record
from shield.policy.limits.settings import LimitsSettings
from shield.policy.notes import Notes
from shield.policy.standouts import Standouts, StandoutsSettings, pattern
from shield.policy.status import StandoutsStatus

BOT = "Mozilla/5.0 (X11; Linux) Bot/7"
BROWSERS = [f"Mozilla/5.0 Browser/{i}" for i in range(4)]


@pytest.mark.parametrize(
    ("requests", "clients", "words"),
    [
        (5000, 4800, "many clients, few requests each"),
        (50_000, 500, "many clients, many requests each"),
        (5000, 3, "few clients, many requests each"),
        (5000, 250, ""),
        (1000, 100, ""),
        (30, 30, ""),
        (0, 0, ""),
    ],
)
def test_a_minute_in_words(requests: int, clients: int, words: str) -> None:
    assert pattern(requests, clients, StandoutsSettings()) == words


# Counting


class Floor:
    """Standouts by themselves, and requests that are no more than what they look at."""

    def __init__(self, **settings: Any) -> None:
        self.notes = Notes()
        self.standouts = Standouts(StandoutsSettings(**settings), self.notes)
        self.random = random.Random(3)
        self._people: dict[tuple[str, int], Any] = {}

    def ask(
        self,
        agent: str,
        who: int,
        known: bool = False,
        route: str = "GET/",
        network: str = "",
        ja4: str = "",
        tier: Tier = Tier.T3,
        shown: bytes = b"",
    ) -> Any:
        client = self._people.get((agent, who))
        if client is None:
            key = self.random.randbytes(16)
            client = self._people[agent, who] = SimpleNamespace(
                user_agent=agent,
                language="en",
                ja4=ja4,
                key=key,
                entry=SimpleNamespace(key=key),
                network=network or f"10.{who >> 8 & 255}.{who & 255}.0/24",
            )
        shown = shown or (client.key if tier is Tier.T2 else b"")
        request: Any = SimpleNamespace(
            client=client,
            route=SimpleNamespace(template=route),
            cost=1.0,
            tier=tier,
            shown_pass=SimpleNamespace(key=shown) if shown else None,
        )
        self.standouts.count(request, known)
        return request

    def people(self, n: int = 80, offset: int = 0) -> None:
        """So many known clients with usual browsers, once each."""
        for i in range(n):
            self.ask(BROWSERS[i % 4], offset + i, known=True)

    def window(self, pressed: bool = True, seconds: float = 0.5, capacity: float = 1000.0) -> None:
        self.standouts.close_window(seconds, pressed, capacity)

    @property
    def armed(self) -> set[str]:
        return {agent for agent, _, _ in self.standouts.armed}


def test_a_botnet_of_one_program_is_named_and_armed() -> None:
    floor = Floor()
    floor.people()
    for i in range(1800):
        floor.ask(BOT, i, route="GET/search", network=f"10.{i % 2}.0.0/24")
    for i in range(200):
        floor.ask(BROWSERS[i % 4], 5000 + i)
    floor.window()
    assert floor.armed == {BOT}
    figures = floor.standouts.status()
    assert figures.pattern == "many clients, few requests each"
    assert figures.clients == pytest.approx(2000, rel=0.02)
    assert figures.requests_per_client == pytest.approx(1.0, abs=0.02)
    first = figures.fingerprints[0]
    assert (first["user_agent"], first["share"], first["armed"]) == (BOT, 0.9, True)
    assert first["known"] == "seen at 0 of 80 known clients"
    assert len(first["fingerprint"]) == 12
    assert figures.networks == {"10.0.0.0/24": 0.45, "10.1.0.0/24": 0.45, "10.19.0.0/16": 0.06}
    assert figures.routes == {"GET/search": 0.9, "GET/": 0.1}
    ((name, fields),) = floor.notes.take()
    assert (name, fields["user_agent"], fields["share"]) == ("fingerprint_limited", BOT, 0.9)


def test_the_networks_that_ask_most_are_told_though_none_stands_out() -> None:
    floor = Floor()
    for i in range(1000):
        floor.ask(BOT, i, network=f"10.{i % 40}.0.0/24")
    floor.ask(BOT, 2000, network="10.7.0.0/24")
    floor.window(seconds=60.0)
    assert floor.standouts.status().networks == {}
    told = floor.standouts.networks()
    assert (len(told), next(iter(told))) == (standouts.MOST_NETWORKS, "10.7.0.0/24")
    assert told["10.7.0.0/24"] == 13.0  # of 26 half, as they are from a minute ago
    assert floor.standouts.asked == 500.5
    floor.standouts.clear()
    assert (floor.standouts.networks(), floor.standouts.asked) == ({}, 0.0)


def test_over_tls_a_program_is_named_by_its_hello_too() -> None:
    floor = Floor()
    floor.people()
    for i in range(1000):
        floor.ask(BOT, i, ja4="t13d180700_4b22cbed5bed_7af1ed941c26")
    floor.window()
    (named,) = floor.standouts.status().fingerprints
    assert (named["user_agent"], named["ja4_habit"]) == (BOT, "t13d180700_4b22cbed5bed_7af1ed941c26")


def test_all_who_have_an_armed_fingerprint_share_a_tenth_of_the_capacity() -> None:
    floor = Floor()
    floor.people()
    requests = [floor.ask(BOT, i) for i in range(1000)]
    floor.window(capacity=1000.0)
    assert floor.armed == {BOT}
    assert sum(not floor.standouts.refuses(request, 50.0) for request in requests) == 400  # four seconds at once
    assert sum(not floor.standouts.refuses(request, 51.0) for request in requests) == 100  # and then 100 units/s
    assert not floor.standouts.refuses(floor.ask(BROWSERS[0], 9999), 51.0)
    floor.window(capacity=100.0)
    assert sum(not floor.standouts.refuses(request, 62.0) for request in requests) == 40


def test_the_program_of_known_clients_is_not_armed_however_much_comes_with_it() -> None:
    floor = Floor()
    floor.people()
    for i in range(5000):
        floor.ask(BROWSERS[0], 1000 + i)
    floor.window()
    assert floor.armed == set()
    (named,) = floor.standouts.status().fingerprints
    assert (named["share"], named["known"], named["armed"]) == (1.0, "seen at 20 of 80 known clients", False)


@pytest.mark.untraced
def test_the_fewer_known_clients_there_are_the_less_can_be_said_of_their_programs() -> None:
    """Of 59 who do not have it, 3 / 59 may have it by chance; a weaker flood needs more of them."""

    def armed(known: int, share: float, with_it: int = 0) -> bool:
        floor = Floor()
        floor.people(known)
        for i in range(with_it):
            floor.ask(BOT, 50_000 + i, known=True)
        for i in range(2000):
            floor.ask(BOT if i < 2000 * share else BROWSERS[i % 4], i)
        floor.window()
        return BOT in floor.armed

    assert not armed(0, 1.0)
    assert not armed(58, 1.0)
    assert armed(61, 1.0)
    assert not armed(140, 0.1)
    assert armed(160, 0.1)
    assert not armed(160, 0.1, 1)
    assert armed(310, 0.1, 1)


def test_a_known_client_counts_once_a_minute_however_much_it_asks() -> None:
    floor = Floor()
    floor.people(160)
    for _ in range(500):
        floor.ask(BOT, 77_777, known=True)
    for i in range(1000):
        floor.ask(BOT, i)
    floor.window()
    assert floor.armed == {BOT}


def test_many_known_clients_are_told_apart_only_so_far() -> None:
    floor = Floor()
    floor.people(5000)
    assert len(floor.standouts._seen) == 4096
    assert floor.standouts._known.total == 4096


def test_two_hundred_requests_are_needed_before_anything_stands_out_and_a_thousand_to_be_limited() -> None:
    floor = Floor()
    floor.people()
    for n, named, armed in ((199, 0, False), (1, 1, False), (799, 1, False), (1, 1, True)):
        for i in range(n):
            floor.ask(BOT, i)
        fingerprints = floor.standouts.status().fingerprints
        floor.standouts._arm(1000.0)
        assert (len(fingerprints), BOT in floor.armed) == (named, armed)


@pytest.mark.untraced
def test_an_armed_fingerprint_is_released_late_and_armed_early() -> None:
    """5 % arms, 2.5 % releases; what may be 1 % of the known clients keeps it from being armed, twice that releases."""
    floor = Floor(half_life=0.25)  # what was counted before the last window weighs a quarter

    def window(share: float) -> set[str]:
        for _ in range(6):
            for i in range(2000):
                floor.ask(BOT if i < 2000 * share else BROWSERS[i % 4], i)
            floor.window()
            floor.standouts._known.scale(4.0)
        return floor.armed & {BOT}

    floor.people(1000)
    assert window(0.045) == set()
    assert window(0.055) == {BOT}
    assert window(0.03) == {BOT}
    assert window(0.02) == set()
    assert window(0.055) == {BOT}
    assert len(floor.notes.take()) == 2
    assert window(0.055) == {BOT}
    for i in range(25):
        floor.ask(BOT, 200_000 + i, known=True)
    assert window(0.055) == set()


def test_counts_decay() -> None:
    floor = Floor()
    floor.people()
    for i in range(4000):
        floor.ask(BOT, i)
    floor.window()
    for _ in range(8):
        for _ in range(118):
            floor.window()
        floor.people(80, 100_000)
        for i in range(400):
            floor.ask(BROWSERS[i % 4], 7000 + i)
        floor.window()
    assert floor.armed == set()
    assert BOT not in {named["user_agent"] for named in floor.standouts.status().fingerprints}


def test_counts_are_scaled_before_they_get_large() -> None:
    floor = Floor(half_life=1.0)
    floor.people()
    for i in range(1000):
        floor.ask(BOT, i)
    floor.window()
    for _ in range(5 * 240):
        floor.window(seconds=0.5)
        floor.ask(BOT, 1)
    assert floor.standouts._weight <= 2.0**40
    assert floor.standouts._programs.total < 2.0**44


def test_a_large_flood_is_sampled_and_its_clients_are_counted_all() -> None:
    floor = Floor(per_second=100)
    floor.people()
    for _ in range(2):
        for i in range(3000):
            floor.ask(BOT if i % 3 else BROWSERS[0], i)
        floor.window()
    assert floor.standouts._stride == 60
    floor.standouts.clear()
    assert floor.standouts._stride == 1
    for round_ in range(2):
        before = floor.standouts._programs.total
        for i in range(3001):
            floor.ask(BOT if i % 3 else BROWSERS[0], i)
        floor.window()
        if round_:
            assert (floor.standouts._programs.total - before) / 2 ** (0.5 / 60) == pytest.approx(3001, rel=0.03)
    figures = floor.standouts.status()
    assert figures.clients == pytest.approx(3001, rel=0.02)


def test_clients_are_those_of_this_minute_or_of_the_one_before_while_it_is_young() -> None:
    floor = Floor()
    for i in range(1000):
        floor.ask(BOT, i)
    for _ in range(120):
        floor.window()
    floor.ask(BOT, 1)
    assert floor.standouts.status().clients == pytest.approx(1000, rel=0.02)
    for _ in range(20):
        floor.window()
    assert floor.standouts.status().clients == 1


def test_the_known_clients_of_the_minute_before_count_too() -> None:
    floor = Floor()
    floor.people(160)
    for _ in range(121):
        floor.window()
    for i in range(1001):
        floor.ask(BOT, i)
    floor.window()
    assert floor.armed == {BOT}


def test_without_pressure_nothing_is_armed() -> None:
    floor = Floor()
    floor.people()
    for i in range(1000):
        floor.ask(BOT, i)
    floor.window()
    floor.window(pressed=False)
    assert floor.armed == set()


def test_the_end_of_an_attack_forgets_it() -> None:
    floor = Floor()
    floor.people()
    for i in range(1000):
        floor.ask(BOT, i)
    floor.window()
    floor.standouts.clear()
    assert floor.standouts.status() == StandoutsStatus("", 0, 0.0, [], {}, {})
    assert floor.armed == set()


# Where few are known


def small_site(known: int = 5) -> Floor:
    """A site with so few known clients that they cannot tell whose program it is."""
    floor = Floor()
    floor.people(known)
    return floor


def flood(floor: Floor, seconds: int, answers: int = -1) -> list[int]:
    """A flood of one program for so long, of which one pays at `answers`; the seconds at which it was armed."""
    armed = []
    for second in range(seconds):
        for i in range(60):
            floor.ask(BOT, i)
        if second == answers:
            floor.ask(BOT, 777_777, tier=Tier.T2)
        floor.window(seconds=1.0)
        if BOT in floor.armed:
            armed.append(second)
    return armed


def test_on_a_small_site_a_program_is_armed_that_nobody_known_has_and_nobody_pays_with() -> None:
    floor = small_site()
    armed = flood(floor, 125)
    # From the moment at which it is heavy enough it waits 30 s, is armed for 60 s, and then a browser may show that it
    # is people's.
    assert armed == [*range(32, 92), *range(122, 125)]
    ((name, fields), *_) = floor.notes.take()
    assert (name, fields["known"]) == ("fingerprint_limited", "seen at 0 of 5 known clients")


def test_a_flash_crowd_on_a_small_site_is_never_limited() -> None:
    assert flood(small_site(), 80, answers=20) == []
    assert flood(small_site(0), 80, answers=0) == []
    assert max(flood(small_site(), 80, answers=60)) == 59, "the first pass ends it at once"


def test_a_program_of_one_known_client_is_never_limited_on_a_small_site() -> None:
    floor = small_site()
    floor.ask(BOT, 50_000, known=True)
    assert flood(floor, 60) == []
    assert floor.standouts.status().fingerprints[0]["known"] == "seen at 1 of 6 known clients"


def test_one_pass_under_many_names_does_not_make_a_browser_nobodys() -> None:
    """A flood took the name of the browser that one in four of the known clients has, and somebody showed one pass
    under 4,000 names: the known clients seemed to be 4,080, hardly any of them with that browser, which was limited.
    """
    floor = Floor()
    floor.people()
    for i in range(4000):
        floor.ask(f"Nobody/{i}", i, known=True, shown=b"one pass")
    for i in range(2000):
        floor.ask(BROWSERS[0], 5000 + i)
    floor.window()
    assert floor.armed == set()
    assert floor.standouts.status().fingerprints[0]["known"] == "seen at 20 of 81 known clients"


@pytest.mark.parametrize(("passes", "limited"), [(1, False), (100, True)])
def test_on_a_small_site_one_pass_under_many_names_hides_nobody_who_pays(
    passes: int, limited: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It filled the table of those who paid, and people who paid for their browser after that were not seen."""
    monkeypatch.setattr(standouts, "MOST_SEEN", 64)
    floor = small_site()
    for i in range(100):
        floor.ask(f"Nobody/{i}", i, tier=Tier.T2, shown=b"%d" % (i % passes))
    assert flood(floor, 40, answers=20) == []
    for i in range(100):
        floor.ask(f"Nobody/{i}", i, tier=Tier.T2, shown=b"again %d" % (i % passes))
    assert bool(flood(floor, 40)) is limited, "who bought as many passes is believed"


def test_where_nobody_is_challenged_unpaid_says_nothing() -> None:
    floor = small_site()
    floor.standouts = Standouts(StandoutsSettings(), floor.notes, challenges=False)
    assert flood(floor, 60) == []


def test_a_program_among_several_needs_a_quarter_of_the_strangers() -> None:
    floor = small_site()
    for _ in range(60):
        for i in range(100):
            floor.ask(BOT if i < 20 else f"{BOT}{i % 8}", i)
        floor.window(seconds=1.0)
        assert floor.armed == set()


def test_who_was_seen_is_told_for_this_minute_and_the_one_before() -> None:
    floor = small_site(1)
    for n in range(3):
        for i in range(1500):
            floor.ask(BOT, 2000 * n + i)
        for _ in range(120):
            floor.window()
        (named,) = floor.standouts.status().fingerprints
        assert named["known"] == ("seen at 0 of 1 known client" if n == 0 else "seen at 0 of 0 known clients")


# Networks


@pytest.mark.parametrize(
    ("networks", "named"),
    [
        # forty /24 of one /16, no two of which make most of it, nor do two /20
        ([f"198.51.{6 * i}.0/24" for i in range(40)], {"198.51.0.0/16": 1.0}),
        ([f"198.51.{i}.0/24" for i in range(16)], {"198.51.0.0/20": 1.0}),
        ([f"198.51.{i}.0/24" for i in range(32)], {"198.51.0.0/20": 0.5, "198.51.16.0/20": 0.5}),
        (["198.51.7.0/24"], {"198.51.7.0/24": 1.0}),
        (["198.51.7.0/24", "203.0.113.0/24"], {"198.51.7.0/24": 0.5, "203.0.113.0/24": 0.5}),
        (
            ["198.51.7.0/24"] * 30 + [f"198.51.{5 * i}.0/24" for i in range(30)],
            {"198.51.0.0/16": 1.0, "198.51.7.0/24": 0.5},
        ),
        ([f"2001:db8:{i:x}::/48" for i in range(40)], {"2001:db8::/32": 1.0}),
        (["2001:db8:7::/48"], {"2001:db8:7::/48": 1.0}),
        (
            ["2001:db8:7::/48"] + [f"198.51.{i}.0/24" for i in range(16)],
            {"198.51.0.0/20": 0.941, "2001:db8:7::/48": 0.059},
        ),
    ],
)  # fmt: skip
def test_a_network_is_named_at_the_width_at_which_it_stands_out(networks: list[str], named: dict[str, float]) -> None:
    floor = Floor()
    for n in range(3400):
        floor.ask(BROWSERS[n % 4], n, network=networks[n % len(networks)])
    figures = floor.standouts.status().networks
    assert set(figures) == set(named)
    for name, share in named.items():
        assert figures[name] == pytest.approx(share, abs=0.02), name


# In the engine


def regulars(world: Any, n: int = 80) -> list[Any]:
    """So many people who were here before, and ask once."""
    people = [world.client(f"203.0.{i // 200}.{i % 200}", BROWSERS[i % 4]) for i in range(n)]
    for client in people:
        client.entry.record = world.engine._history.remember(
            Record(client.key, client.home, client.network, world.now - 999, world.now, 2, 100.0)
        )
    return people


@pytest.mark.parametrize("mode", ["auto", "off"])
@pytest.mark.untraced
def test_a_botnet_of_many_addresses_is_limited_as_one_and_nobody_else_is(make: Any, says: Any, mode: Any) -> None:
    challenge = ChallengeSettings(mode=mode, least_hashes=64, most_hashes=256)
    world = make(1, challenge=challenge, limits=LimitsSettings(costs={"/": 1.0}))  # capacity 100, rate 10, burst 40
    people = regulars(world)
    world.storm(0.3)
    limited = (Action.LIMIT, Reason.FINGERPRINT_RATE)
    told: Counter[Any] = Counter()
    for second in range(4):
        for client in people:
            assert says(world.visit(client))[0] is Action.FORWARD
        for i in range(500):
            who = 500 * second + i
            told[says(world.visit(world.client(f"10.{who % 250}.{who // 250}.1", BOT)))] += 1
        assert says(world.visit(world.client(f"192.0.2.{second}", BROWSERS[2]))) != limited
        world.pass_time(1.0)
    assert (told[limited] > 300) is (mode == "off"), "where one can pay, nobody is refused who has not been asked to"
    ours = world.client("203.0.0.0", BROWSERS[0])
    assert says(world.visit(ours))[0] is Action.FORWARD
    status = world.engine.status(world.now).hitters
    assert status.pattern == "many clients, few requests each"
    assert status.fingerprints[0]["armed"]
    names = [name for name, _ in world.engine.events()]
    assert names == ["attack_onset", "fingerprint_limited"]


def test_who_bought_a_pass_is_not_slowed_by_what_their_program_does(make: Any, says: Any) -> None:
    world = make(1)
    world.storm(0.3)
    client = world.client("192.0.2.1", BOT)
    _, token = world.buy(client)
    world.engine._standouts.armed = {(BOT, "en", ""): SimpleNamespace(take=lambda cost, now: False)}
    paid = world.visit(client, shown=token)
    assert paid.tier is Tier.T2
    assert says(paid)[0] is Action.FORWARD
    picture = {"Accept": "image/*", "Accept-Language": "en", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
    stranger = world.ask(world.client("192.0.2.2", BOT), headers=picture)
    assert says(stranger) == (Action.LIMIT, Reason.FINGERPRINT_RATE)
    assert stranger.verdict.retry_after in range(2, 7)
    assert stranger.client.entry.score == 0.0
    bad = world.client("192.0.2.3", BOT)
    world.engine._reputation.hard(bad.source, bad.entry, 10.0, "malformed", world.now)
    assert says(world.ask(bad)) == (Action.LIMIT, Reason.FINGERPRINT_RATE), "a bad score buys nothing here"


@pytest.mark.untraced
def test_a_newcomer_with_the_browser_that_a_flood_claims_to_be_pays_and_gets_in(make: Any, says: Any) -> None:
    """On a small site a flood that called itself Chrome kept newcomers with Chrome out for 60 of 90 s: they were told
    to come later, and never asked to solve anything."""
    challenge = ChallengeSettings(least_hashes=64, most_hashes=256)
    world = make(1, challenge=challenge, limits=LimitsSettings(costs={"/": 1.0}))
    people = regulars(world, 5)
    world.storm(0.3)
    limited = (Action.LIMIT, Reason.FINGERPRINT_RATE)
    armed = 0
    told: Counter[Any] = Counter()
    fingerprint = (BOT, "en", "")
    for second in range(100):
        for client in people:
            assert says(world.visit(client))[0] is Action.FORWARD
        for i in range(150):
            who = 150 * second + i if i < 120 else i  # some of them ask again and again
            told[says(world.visit(world.client(f"10.{who % 250}.{who // 250}.1", BOT)))] += 1
        if fingerprint in world.engine._standouts.armed:
            armed += 1
            newcomer = world.client(f"192.0.2.{second}", BOT)
            assert says(world.ask(newcomer)) == (Action.CHALLENGE, Reason.NEWCOMER)
        world.pass_time(1.0)
        if armed == 60:
            break
    assert told[limited] > 200, "those that never answer are still told so in the cheapest way"
    newcomer = world.client("192.0.3.1", BOT)
    minted = world.engine.mint(world.ask(newcomer), world.now)
    assert minted.expected_hashes <= 256
    _, token = world.buy(newcomer)
    assert says(world.visit(newcomer, shown=token))[0] is Action.FORWARD


def test_in_calm_weather_nothing_is_counted(world: Any) -> None:
    for i in range(300):
        world.visit(world.client(f"192.0.2.{i % 250}", BOT))
    assert world.engine.status(world.now).hitters.fingerprints == []
    assert world.engine._standouts._asked == 0
