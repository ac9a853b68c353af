"""A world for the policy: an engine, a clock moved by hand from an odd offset, seeded entropy, and people in it."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from shield.demo.solver import solve
from shield.model import Action, Outcome, Reason, Tier, Verdict
from shield.policy.challenge.challenge import Challenge, CheckWork, solved
from shield.policy.challenge.settings import ChallengeSettings
from shield.policy.concurrency.settings import ConcurrencySettings
from shield.policy.engine import Engine
from shield.policy.entries import Pass
from shield.policy.identity import Client
from shield.policy.keys import Keys
from shield.policy.request import Request
from shield.policy.settings import EngineSettings

OFFSET = 7_654_321.123
"""Where the clock begins: a call of the real clock would be far away."""

WALL = 1_700_000_000.0

FIXED = ConcurrencySettings(adaptive=False)

CHEAP = ChallengeSettings(least_hashes=64, most_hashes=256)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Tests marked `untraced` do not count for coverage. (`no_cover` of pytest-cov does nothing under xdist.)"""
    if item.get_closest_marker("untraced") is None:
        return (yield)
    with untraced():
        return (yield)


@contextmanager
def untraced() -> Generator[None, None, None]:
    """What is done herein does not count for coverage, and takes a third of the time."""
    trace = sys.gettrace()
    sys.settrace(None)
    try:
        yield
    finally:
        sys.settrace(trace)


class World:
    """An engine and its time. `requests` in flight or queued are kept by whoever made them."""

    def __init__(
        self,
        settings: EngineSettings,
        concurrency: int,
        keys: Keys | None = None,
        seed: int = 1,
        check_work: CheckWork = solved,
        engine: Callable[..., Any] = Engine,
    ) -> None:
        self.random = random.Random(seed)
        self.now = OFFSET
        self.keys = keys or Keys(b"\x01" * 32)
        self.engine = engine(settings, self.keys, self.random.randbytes, WALL - OFFSET, concurrency, check_work)
        self.engine.tick(self.now)

    def client(self, address: str = "192.0.2.1", agent: str = "Browser/1.0", language: str = "en") -> Client:
        return self.engine.identify(address, agent, language, "", self.now)

    def request(
        self,
        client: Client,
        path: str = "/",
        *,
        shown: Pass | None = None,
        body_pending: bool = False,
        headers: Mapping[str, str] | None = None,
        method: str = "GET",
    ) -> Request:
        made = Request(client, method, path, headers or {}, shown, body_pending, None)
        made.tier = Tier.T3  # until it is judged
        return made

    def ask(self, client: Client, path: str = "/", **more: Any) -> Request:
        """Ask; the verdict is in the request."""
        request = self.request(client, path, **more)
        verdict = self.engine.decide(request, self.now)
        assert verdict is request.verdict
        return request

    def end(self, request: Request, status: int = 200, rtt: float = 0.002, stream: bool = False) -> Sequence[Request]:
        return self.engine.learn(request, Outcome(status, rtt, stream), self.now)

    def visit(self, client: Client, path: str = "/", status: int = 200, rtt: float = 0.002, **more: Any) -> Request:
        """Ask, and if it is forwarded, end it at once."""
        request = self.ask(client, path, **more)
        if request.verdict.action is Action.FORWARD and not request.body_pending:
            self.end(request, status, rtt)
        return request

    def settle_down(self, *clients: Client, **more: Any) -> None:
        """Visits that make a history: two good windows."""
        for wait in (0.0, 61.0):
            self.pass_time(wait)
            for client in clients:
                assert self.visit(client, **more).verdict.action is Action.FORWARD

    def pass_time(self, seconds: float, step: float = 0.5) -> list[Request]:
        """Let the clock run, ticking. Returns the requests whose verdicts changed."""
        changed: list[Request] = []
        end = self.now + seconds
        while self.now < end - 1e-9:
            self.now = min(self.now + step, end)
            changed += self.engine.tick(self.now)
        return changed

    @property
    def engines(self) -> list[Engine]:
        """The engine, or those of a fleet."""
        engines: list[Engine] = getattr(self.engine, "engines", [self.engine])
        return engines

    def storm(self, p: float = 0.5) -> None:
        """Set the pressure by hand, as a window would find it, and begin an attack."""
        for engine in self.engines:
            pressure = engine._windows._pressure
            pressure._level.p = p
            pressure._demand.units = pressure.weather.capacity * 10  # so that it stays
        self.pass_time(0.5)
        for engine in self.engines:
            engine._windows._pressure._level.p = p
        self.see(p=p, strictness=min(p, pressure._settings.max_pressure))

    def lull(self) -> None:
        """Set the pressure to nothing by hand; the attack is not over yet."""
        for engine in self.engines:
            pressure = engine._windows._pressure
            pressure._demand.units = pressure._level.p = 0.0
        self.pass_time(0.5)

    def see(self, *, bought_factor: float | None = None, **changes: Any) -> None:
        """Let the policy go by a weather that differs from the last window's, until the next."""
        for engine in self.engines:
            weather = replace(engine._windows.weather, **changes)
            engine._windows._pressure.weather = weather
            judges = engine._windows._judges
            factor = judges.usual._tiers._bought_factor if bought_factor is None else bought_factor
            judges.close_window(weather, factor, self.now)

    def buy(self, client: Client) -> tuple[str, Pass]:
        """Solve a challenge; the token bought, and the pass it stands for."""
        request = self.ask(client)
        assert request.verdict.action is Action.CHALLENGE, request.verdict
        challenge = self.engine.mint(request, self.now)
        redemption = self.engine.redeem(client, challenge.token, nonces(challenge), self.now)
        token = self.engine.present(redemption.pass_token, self.now)
        assert token is not None, redemption
        return redemption.pass_token, token


def nonces(challenge: Challenge) -> list[int]:
    """The answer to a challenge."""
    return solve(challenge.token, challenge.k, challenge.target)


Make = Callable[..., World]


@pytest.fixture
def make() -> Make:
    """make(concurrency=100, keys=None, seed=1, check_work=solved, limit=FIXED, **settings) -> World, with cheap puzzles
    and a fixed concurrency limit unless told otherwise."""

    def make(
        concurrency: int = 100,
        keys: Keys | None = None,
        seed: int = 1,
        check_work: CheckWork = solved,
        limit: ConcurrencySettings = FIXED,
        engine: Callable[..., Any] = Engine,
        **settings: Any,
    ) -> World:
        base = EngineSettings(challenge=CHEAP, concurrency=limit)
        return World(replace(base, **settings), concurrency, keys, seed, check_work, engine)

    return make


@pytest.fixture
def world(make: Make) -> World:
    """A world with the settings as shipped, but for cheap puzzles and a fixed concurrency limit."""
    return make()


@pytest.fixture
def says() -> Callable[[Request], tuple[Action, Reason]]:
    """What a request was told."""

    def says(request: Request) -> tuple[Action, Reason]:
        verdict: Verdict = request.verdict
        return verdict.action, verdict.reason

    return says
