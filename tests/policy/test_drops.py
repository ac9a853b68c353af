"""Who goes on against refusals is not answered any more; who listens, or is many, is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from shield.model import Action, Signal
from shield.policy.drops import SPARED, DropsSettings
from shield.policy.history import Record
from shield.policy.identity import IdentitySettings
from shield.policy.pressure.window import OwnLoad
from shield.policy.settings import EngineSettings

BOT = "192.0.2.66"
PICTURES = {
    "TLS": {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
    "plain HTTP": {"Accept": "image/avif,image/webp,*/*;q=0.8", "Accept-Language": "de"},
}
FULL = OwnLoad(lag=0.2, busy=0.95)
SETTINGS = DropsSettings(refusals=80, per_second=2, least_seconds=60, most_seconds=300, addresses=3)


@pytest.fixture
def world(make: Any) -> Any:
    world = make(2, drops=SETTINGS)
    world.storm(0.5)
    return world


def insist(world: Any, client: Any, requests: int, rate: float, **more: Any) -> None:
    """Ask so many times, so many times a second, whatever the answer is."""
    for _ in range(requests):
        assert world.ask(client, **more).verdict.action is not Action.FORWARD
        world.now += 1 / rate


def rage(world: Any, client: Any, requests: int) -> None:
    """Ask in calm weather until the client's bucket is empty, and then so many times in vain."""
    while requests:
        requests -= world.visit(client).verdict.action is not Action.FORWARD


def dropped(world: Any) -> list[str]:
    return list(world.engine.drops.active)


def test_who_ignores_twelve_hundred_challenges_in_forty_seconds_is_dropped(make: Any) -> None:
    """As shipped."""
    world = make(2)
    world.storm(0.5)
    insist(world, world.client(BOT), 1200, 30.0)
    assert dropped(world) == [BOT]
    world.pass_time(1)
    assert world.engine.status(world.now).dropped == 1
    assert [name for name, _ in world.engine.events() if name == "address_dropped"] == ["address_dropped"]


def test_who_is_slow_enough_is_never_dropped(world: Any) -> None:
    insist(world, world.client(BOT), 500, 1.9)
    assert dropped(world) == []


def test_a_drop_ends_and_is_longer_each_time_and_is_forgotten(world: Any) -> None:
    lengths = []
    for _ in range(4):
        world.storm(0.5)
        began = len(lengths)
        insist(world, world.client(BOT), 100, 100.0)
        assert dropped(world) == [BOT]
        lengths.append(round(world.engine.drops.active[BOT] - world.now))
        version = world.engine.drops.version
        world.now += lengths[began]
        world.pass_time(1)
        assert dropped(world) == []
        assert world.engine.drops.version == version + 1
    assert lengths == [pytest.approx(seconds, abs=1) for seconds in (60, 120, 240, 300)]
    world.now += 1300
    world.pass_time(1)
    assert not world.engine.drops._addresses
    world.storm(0.5)
    insist(world, world.client(BOT), 100, 100.0)
    assert world.engine.drops.active[BOT] - world.now == pytest.approx(60, abs=1)


def test_nothing_is_dropped_behind_which_somebody_is_known(world: Any) -> None:
    """A colleague's program goes mad; the office is known."""
    world.engine._history.remember(Record(b"k" * 16, BOT, "192.0.2.0/24", world.now - 999, world.now, 2, 9.0))
    insist(world, world.client(BOT), 500, 100.0)
    assert dropped(world) == []


def test_an_answer_to_a_challenge_begins_the_count_anew(world: Any) -> None:
    """Two hundred phones behind one address: each asks a few times before its browser has solved the challenge."""
    for number in range(5):
        phone = world.client(BOT, f"Phone/{number}")
        insist(world, phone, 70, 100.0)
        world.buy(phone)
    assert dropped(world) == []


@pytest.mark.parametrize("over", PICTURES)
def test_pictures_on_a_page_elsewhere_have_nobody_dropped(world: Any, over: str) -> None:
    """A page that loads 100 pictures a second had the kernel drop its visitor's address within half a minute."""
    insist(world, world.client(BOT), 500, 100.0, headers=PICTURES[over])
    assert dropped(world) == []


def test_whoever_asks_for_pictures_is_dropped_when_the_core_is_full(world: Any) -> None:
    """Or whoever says so of itself would fill the core and be spared."""
    world.now += 1.0
    world.engine.tick(world.now, FULL)
    insist(world, world.client(BOT), 100, 100.0, headers=PICTURES["TLS"])
    assert dropped(world) == [BOT]


def test_a_neighbour_who_is_served_keeps_the_address_in_while_the_core_has_time(make: Any) -> None:
    """A program behind a carrier's address goes mad in calm weather; the phones there have never been here before."""
    world = make(2, drops=SETTINGS)
    mad, phone = world.client(BOT), world.client(BOT, "Phone/1.0")
    assert world.visit(phone).verdict.action is Action.FORWARD
    rage(world, mad, 300)
    assert dropped(world) == []
    world.now += 1.0
    world.engine.tick(world.now, FULL)
    rage(world, mad, 20)
    assert dropped(world) == [BOT]


def test_a_mad_program_alone_at_its_address_is_dropped_in_calm_weather(make: Any) -> None:
    """It was served itself, before it was refused."""
    world = make(2, drops=SETTINGS)
    rage(world, world.client(BOT), 100)
    assert dropped(world) == [BOT]


@pytest.mark.parametrize("how", ["bought", "shown"])
def test_who_has_a_pass_is_not_dropped_with_a_neighbour(world: Any, how: str) -> None:
    """It had paid, its neighbour's program went on, and six seconds later nothing of the address was answered."""
    mad, phone = world.client(BOT), world.client(BOT, "Phone/1.0")
    insist(world, mad, 40, 100.0)
    if how == "bought":
        world.buy(phone)
    else:
        token = world.engine._passes.earn(world.now)
        world.visit(phone, shown=world.engine.present(token, world.now))
    insist(world, mad, 300, 100.0)
    assert dropped(world) == []
    world.now += SPARED
    insist(world, mad, 100, 100.0)
    assert dropped(world) == [BOT]


def test_refusals_of_long_ago_drop_nobody(make: Any) -> None:
    """While neighbours were served they were counted without end, and dropped the address an hour later."""
    world = make(2, drops=SETTINGS)
    mad, phone = world.client(BOT), world.client(BOT, "Phone/1.0")
    world.visit(phone)
    rage(world, mad, 2000)
    world.now += SETTINGS.refusals / SETTINGS.per_second
    world.engine.tick(world.now, FULL)
    rage(world, mad, 60)
    assert dropped(world) == []


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
def test_a_health_check_on_this_machine_is_never_dropped(world: Any, address: str) -> None:
    insist(world, world.client(address), 300, 100.0)
    assert dropped(world) == []


@pytest.mark.parametrize("how", ["allow", "vouched", "overflow", "dry_run", "off"])
def test_who_is_exempt(make: Any, how: str) -> None:
    changes: dict[str, Any] = {"drops": replace(SETTINGS, enabled=how != "off"), "dry_run": how == "dry_run"}
    if how == "allow":
        changes["identity"] = IdentitySettings(deny=(f"{BOT}/32",))
    world = make(2, **changes)
    world.storm(0.5)
    client = world.client(BOT)
    if how == "vouched":
        client.source.vouched = True
    if how == "overflow":
        client.source.overflow = True
    for _ in range(200):
        world.ask(client)
    assert dropped(world) == []


def test_a_full_table_lets_go_of_the_first(world: Any) -> None:
    for last in range(5):
        insist(world, world.client(f"192.0.2.{last}"), 100, 100.0)
    assert dropped(world) == ["192.0.2.2", "192.0.2.3", "192.0.2.4"]
    assert len(world.engine.drops._addresses) == 3


def test_refusals_that_need_no_reading_and_those_of_tolls_count(world: Any) -> None:
    client = world.client(BOT)
    for _ in range(100):
        world.engine.refused_unread(BOT, world.now)
        world.engine.refused_unread("198.51.100.9", world.now)  # nobody has met it
    assert dropped(world) == [BOT]
    other = world.client("192.0.2.67")
    other.entry.banned_until = world.now + 99
    for _ in range(100):
        world.engine.toll(world.request(other), world.now)
    assert dropped(world) == [BOT, "192.0.2.67"]
    assert client.source.name == BOT


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_banned_client_that_goes_on_with_broken_requests_does_not_listen(make: Any, dry_run: bool) -> None:
    world = make(2, drops=SETTINGS, dry_run=dry_run)
    client = world.client(BOT)
    for _ in range(105):
        world.engine.report(client, Signal.MALFORMED, world.now)
    assert dropped(world) == ([] if dry_run else [BOT])


def test_the_settings_complain() -> None:
    assert [place for place, _ in DropsSettings(least_seconds=10, most_seconds=9).complaints()] == [("most_seconds",)]
    assert list(EngineSettings().drops.complaints()) == []


def test_whom_to_tell_is_checked() -> None:
    told = DropsSettings(export_file="dropped.json", export_url="https://", nftables="1")
    assert [place for place, _ in told.complaints()] == [("export_file",), ("export_url",), ("nftables",)]
    for url in ("http://127.0.0.1:8080/hook?a=b", "https://filter.example", "http://[::1]:80/"):
        good = DropsSettings(export_file="/run/dropped.json", export_url=url, nftables="shield_1")
        assert list(good.complaints()) == []
        assert good.exports
    assert not DropsSettings().exports
    assert not DropsSettings(enabled=False, nftables="shield").exports


@pytest.mark.parametrize(("enabled", "kernel"), [(True, True), (True, False), (False, True)])
def test_the_kernel_drops_when_both_keys_say_so(enabled: bool, kernel: bool) -> None:
    assert replace(SETTINGS, enabled=enabled, kernel=kernel).by_kernel is (enabled and kernel)
