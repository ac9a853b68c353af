"""10 million distinct keys against the tables as shipped: nobody gets out of a limit or a ban, nobody known into one.

Too many for a scene: the engine's verbs are driven directly. Among the newcomers are greedy clients, each compared with
a token bucket of its own in whole numbers, of which none is ever forgotten.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest

from shield.model import Action, Reason, Signal
from shield.operator.status import plain
from shield.policy.concurrency.settings import ConcurrencySettings
from shield.policy.engine import Engine
from shield.policy.identity import Client
from shield.policy.keys import Keys
from shield.policy.limits.settings import LimitsSettings
from shield.policy.reputation import ReputationSettings
from shield.policy.request import Request
from shield.policy.settings import EngineSettings
from shield.policy.table import TableSettings

BEGINS = 1_234_567.0
WALL_OFFSET = 1_700_000_000.0 - BEGINS
RATE, BURST = 10, 200  # of a client, units/s and units: limits.client
ATTEMPT = 200  # milliunits, that a refused attempt pays
CLOSE = 2  # milliunits, within which floating point may round either way
NEWCOMERS = 20_000  # a second
ODD = 2_654_435_761  # times an odd number is a permutation of the 32-bit numbers


class Exact:
    """A token bucket in milliunits and milliseconds."""

    def __init__(self) -> None:
        self.tokens = BURST * 1000
        self.at = 0

    def take(self, now: int) -> bool | None:
        """Whether a request of one unit is admitted; None when it is too close to tell. `follow` what was done."""
        self.tokens = min(BURST * 1000, self.tokens + RATE * (now - self.at))
        self.at = now
        return None if abs(self.tokens - 1000) <= CLOSE else self.tokens >= 1000

    def follow(self, admitted: bool) -> None:
        self.tokens = self.tokens - 1000 if admitted else max(0, self.tokens - ATTEMPT)


class Flood:
    """An engine, those in it who are watched, and newcomers each of whom is another."""

    def __init__(self, seed: int, tables: TableSettings, concurrency: int) -> None:
        self.random = Random(seed)
        settings = EngineSettings(
            tables=tables,
            limits=LimitsSettings(costs={"/": 1.0}, honeypots=("/trap",)),
            reputation=ReputationSettings(limit_hit=0.0),  # a score would slow the buckets
            concurrency=ConcurrencySettings(adaptive=False),  # there is no service here whose limit could be found
        )
        keys = Keys(self.random.randbytes(32))
        self.engine = Engine(settings, keys, self.random.randbytes, WALL_OFFSET, concurrency)
        self.ms = 0
        self.came = 0
        self.known = [self.client(f"10.0.{i % 250}.{i // 250 + 1}", "Known") for i in range(500)]
        rows = [
            [c.key.hex(), c.home, c.network, self.now + WALL_OFFSET - 9e5, self.now + WALL_OFFSET, 20, 100.0]
            for c in self.known
        ]
        assert self.engine.import_history(rows, self.now) == 500
        self.greedy = [(self.client(f"10.1.{i % 250}.{i // 250 + 1}", "Greedy"), Exact()) for i in range(100)]
        self.banned = [self.client(f"10.2.{i}.1", "Scanner") for i in range(100)]
        self.false_refusals = self.false_admissions = self.refused = self.wrongly_free = self.compared = 0

    @property
    def now(self) -> float:
        return BEGINS + self.ms / 1000

    def client(self, address: str, agent: str) -> Client:
        return self.engine.identify(address, agent, "", "", BEGINS + self.ms / 1000)

    def ask(self, client: Client, path: str = "/") -> Request:
        request = Request(client, "GET", path, {}, None, False, None)
        self.engine.decide(request, self.now)
        self.engine.release(request, self.now)
        return request

    def come(self, count: int) -> None:
        """So many newcomers, a quarter of them over IPv6."""
        for i in range(self.came, self.came + count):
            number = i * ODD & 0xFFFFFFFF
            if i & 3:
                address = f"{16 + (number >> 24) % 200}.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
            else:
                address = f"2001:{number >> 16:x}:{number & 0xFFFF:x}:{i & 0xFFFF:x}:0:0:0:1"
            self.ask(self.engine.identify(address, f"Newcomer/{i}", "", "", self.now), f"/page/{i}")
        self.came += count

    def ban(self) -> None:
        for client in self.banned:
            assert self.ask(client, "/trap").verdict.reason is Reason.HONEYPOT
            self.engine.report(client, Signal.MALFORMED, self.now)

    def watch(self) -> None:
        """Everybody who is watched asks, or not."""
        random = self.random
        for client in self.known:
            if random.random() < 0.02:
                self.false_refusals += self.ask(self.again(client)).verdict.action is not Action.FORWARD
        for client, exact in self.greedy:
            # twelve seconds of three times the rate, then half a minute in which the entry may be forgotten
            if (self.ms // 1000 + client.key[0]) % 40 < 12 and random.random() < 0.2:
                for _ in range(random.randrange(1, 30)):
                    allowed = exact.take(self.ms)
                    admitted = self.ask(self.again(client)).verdict.action is Action.FORWARD
                    exact.follow(admitted)
                    if allowed is not None:
                        self.compared += 1
                        self.refused += not allowed
                        self.false_admissions += admitted and not allowed
                        self.false_refusals += allowed and not admitted

    def watch_banned(self) -> None:
        for client in self.banned:
            self.wrongly_free += self.ask(self.again(client)).verdict.action is not Action.BAN

    def again(self, client: Client) -> Client:
        """Half come over a connection that was kept, half over a new one."""
        return client if self.random.random() < 0.5 else self.client(client.address, client.user_agent)


@contextmanager
def rare_collections() -> Iterator[None]:
    """As service.py has it: what lives long is not looked at again and again."""
    thresholds = gc.get_threshold()
    gc.set_threshold(50_000, 50, 1000)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)


def play(flood: Flood, keys: int) -> dict[str, Any]:
    """Tenths of a second with newcomers in each, until so many came; what was left in memory, in MiB, at half time."""
    half_time = 0.0
    flood.ban()
    banned_for = 60_000  # milliseconds
    while flood.came < keys:
        flood.ms += 100
        flood.come(NEWCOMERS // 10)
        flood.watch()
        if flood.ms < banned_for:
            flood.watch_banned()
        if flood.ms % 500 == 0:
            flood.engine.tick(flood.now)
        if not half_time and flood.came >= keys / 2:
            half_time = resident()
    return {"grown": resident() - half_time}


def resident() -> float:
    """MiB of this process that are in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def check(flood: Flood) -> None:
    assert flood.compared > 1000
    assert flood.refused > 100
    assert flood.false_admissions == 0
    check_known(flood)


def check_known(flood: Flood) -> None:
    assert flood.false_refusals == 0
    assert flood.wrongly_free == 0
    for name, table in plain(flood.engine.status(flood.now).tables).items():
        assert table["entries"] <= table["max"], name
        assert table.get("overflows", 0) <= flood.came / 500, name  # newcomers where eight in a row restrain somebody


SMALL = TableSettings(addresses=8192, clients=8192, networks=4096, passes=1024, history=2048)


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.scene)])
def test_two_hundred_thousand_keys_against_small_tables(seed: int) -> None:
    flood = Flood(seed, SMALL, concurrency=1_000_000)  # so it is calm
    play(flood, 200_000)
    check(flood)


@pytest.mark.scene
@pytest.mark.parametrize("seed", [1, 2])
def test_under_pressure_nobody_known_is_refused_and_no_ban_ends(seed: int) -> None:
    flood = Flood(seed, SMALL, concurrency=20)
    flood.greedy.clear()  # they would be challenged
    play(flood, 200_000)
    assert flood.engine.pressure > 0.9
    check_known(flood)
    newcomer = flood.ask(flood.client("10.3.0.1", "Newcomer"))
    assert newcomer.verdict.action is Action.CHALLENGE


@pytest.mark.scene
@pytest.mark.parametrize("seed", [1, 2])
def test_ten_million_keys(seed: int) -> None:
    flood = Flood(seed, TableSettings(), concurrency=1_000_000)
    with rare_collections():
        left = play(flood, 10_000_000)
    check(flood)
    assert left["grown"] < 40.0
