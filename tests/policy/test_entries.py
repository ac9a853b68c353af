"""What is remembered: when it matters, and how much memory it takes."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from shield.model import Outcome
from shield.policy.challenge.challenge import SPENT_BYTES, Spent
from shield.policy.entries import NOTHING, AddressEntry, ClientEntry, NetworkEntry, Record
from shield.policy.history import RECORD_BYTES, History, HistorySettings
from shield.policy.identity import ADDRESS_BYTES, CLIENT_BYTES, NETWORK_BYTES, IdentitySettings
from shield.policy.passes import PASS_BYTES
from shield.policy.routes import ROUTE_BYTES, Routes, RoutesSettings

NOW = 1_000.0
N = 5_000  # fills the dicts to the same share as 20,000 or 160,000 do


def entries() -> list[Any]:
    network = NetworkEntry("192.0.2.0/24", 80.0, 4.0)
    source = AddressEntry("192.0.2.1", network, None, None)
    return [network, source, ClientEntry(b"key", source, None)]


@pytest.mark.parametrize(
    ("name", "value", "kinds"),
    [
        ("tat", NOW + 1, {0, 1, 2}),
        ("score", 9.0, {0, 1, 2}),
        ("grants", NOW + 1, {0}),
        ("banned_until", NOW + 1, {1, 2}),
    ],
)
def test_an_entry_that_restrains_somebody_says_so(name: str, value: float, kinds: set[int]) -> None:
    for kind, entry in enumerate(entries()):
        assert not entry.restrains(NOW)
        if kind in kinds:
            entry.scored_at = NOW
            setattr(entry, name, value)
            assert entry.restrains(NOW)
            assert not entry.restrains(NOW + 3600.0)  # the wicked of old do not fill the tables


def test_what_one_has_of_the_rare_nobody_else_has() -> None:
    _, source, entry = entries()
    for mine, other in ((source, entries()[1]), (entry, entries()[2])):
        mine.banned_until = 0.0
        assert mine.rare is NOTHING
        mine.banned_until, mine.relapses = NOW, 2
        assert (mine.banned_until, mine.relapses, mine.overflow) == (NOW, 2, False)
        assert (other.banned_until, other.relapses, other.overflow) == (0.0, 0, False)
        assert other.rare is NOTHING


def bytes_each(fill: Callable[[], Any]) -> float:
    gc.collect()
    tracemalloc.start()
    try:
        kept = fill()
        gc.collect()
        return tracemalloc.get_traced_memory()[0] / N
    finally:
        tracemalloc.stop()
        del kept


def visit(world: Any, client: Any, i: int) -> None:
    world.now += 0.01
    request = world.ask(client)
    world.engine.learn(request, Outcome(404, 0.01), world.now + 0.001 * (i % 7))


@pytest.mark.untraced
def test_an_address_and_a_client_take_the_memory_that_is_stated(make: Any) -> None:
    world = make()

    def addresses() -> None:
        for i in range(N):
            visit(world, world.client(f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}"), i)

    assert bytes_each(addresses) == pytest.approx(ADDRESS_BYTES + CLIENT_BYTES + NETWORK_BYTES / 256, rel=0.25)


@pytest.mark.untraced
def test_a_client_takes_the_memory_that_is_stated(make: Any) -> None:
    world = make(identity=IdentitySettings(clients_per_address=1000))

    def clients() -> None:
        for i in range(N):
            visit(world, world.client(f"10.0.0.{i // 1000}", agent=f"Agent/{i}"), i)

    assert bytes_each(clients) == pytest.approx(CLIENT_BYTES, rel=0.25)


def test_a_network_takes_the_memory_that_is_stated(make: Any) -> None:
    networks = make().engine._identity.networks

    def fill() -> None:
        for i in range(N):
            name = f"10.{i >> 8}.{i & 255}.0/24"
            entry = networks.enter(name, NetworkEntry(name, 80.0, 4.0), NOW + i * 0.1)
            entry.tat, entry.score, entry.scored_at = NOW + i * 0.3, i * 0.7, NOW + i * 0.9

    assert bytes_each(fill) == pytest.approx(NETWORK_BYTES, rel=0.25)


@pytest.mark.untraced
def test_a_pass_takes_the_memory_that_is_stated(make: Any) -> None:
    passes = make().engine._passes

    def fill() -> None:
        for i in range(N):
            token = passes.present(passes.earn(NOW + i * 0.01), NOW + i * 0.01)
            passes.check(token, f"10.0.{i % 256}.0/24", NOW + i * 0.02)
            token.tat, token.shadow = NOW + i * 0.3, NOW + i * 0.4

    assert bytes_each(fill) == pytest.approx(PASS_BYTES, rel=0.25)


@pytest.mark.untraced
def test_a_record_takes_the_memory_that_is_stated() -> None:
    history = History(HistorySettings(), N)

    def fill() -> None:
        for i in range(N):
            address = f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}"
            network = f"10.{i >> 16}.{i >> 8 & 255}.0/24"
            history.remember(Record(i.to_bytes(16, "big"), address, network, NOW + i * 0.1, NOW + i * 0.2, 2, i * 0.3))

    assert bytes_each(fill) == pytest.approx(RECORD_BYTES, rel=0.25)


def test_a_spent_challenge_takes_the_memory_that_is_stated() -> None:
    spent = Spent(N)

    def fill() -> None:
        for i in range(N):
            spent.add(i.to_bytes(16, "big"), NOW + i * 0.1)

    assert bytes_each(fill) == pytest.approx(SPENT_BYTES, rel=0.25)


def test_a_route_takes_the_memory_that_is_stated() -> None:
    routes = Routes(RoutesSettings(), 8, N, {})

    def fill() -> None:
        for i in range(N):
            name = "".join(chr(97 + (i >> (4 * k) & 15)) for k in range(5))
            routes[f"GET/some/rather/long/path/of/a/{name}"].sample(0.01 + i * 1e-5, NOW + i * 0.1)

    assert bytes_each(fill) == pytest.approx(ROUTE_BYTES, rel=0.25)
