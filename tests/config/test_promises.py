"""What a key of the config promises holds in every mode: in calm weather, under pressure, with challenges for all, in a
dry run, and in each worker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

import pytest

from shield.accept.tls import TlsSettings
from shield.config.settings import Config
from shield.model import Action, Reason, Signal
from shield.policy.bucket import Rate
from shield.policy.challenge.settings import ChallengeSettings
from shield.policy.identity import CrawlerSettings, IdentitySettings
from shield.policy.keys import Keys
from shield.policy.limits.settings import LimitsSettings
from shield.policy.pressure.settings import PressureSettings
from shield.policy.request import Request
from tests.policy.conftest import FIXED, World

STRANGER = "198.51.100.7"
ALLOWED = "203.0.113.9"
CHALLENGED = {Action.CHALLENGE, Action.CHALLENGE_DRY_RUN}
REFUSED = CHALLENGED | {Action.LIMIT, Action.LIMIT_DRY_RUN, Action.BAN, Action.BAN_DRY_RUN, Action.SHED}

Ask = Callable[[World], Request]


@dataclass(frozen=True, slots=True)
class Promise:
    """What is asked, and which verdicts it never gets."""

    config: Config
    ask: Ask
    never: set[Action]
    requests: int = 20  # of each worker


def _stranger(path: str, **headers: str) -> Ask:
    return lambda world: world.visit(world.client(STRANGER), path, headers=headers)


def _crawler(world: World) -> Request:
    world.engine.vouch("192.0.2.66", True, world.now)
    return world.visit(world.client("192.0.2.66", agent="Robot/1.0"), "/")


def _own(world: World) -> Request:
    request = world.request(world.client(STRANGER), "/.well-known/shield/challenge")
    world.engine.toll(request, world.now)
    return request


KEY = "s3cret"
HONEYPOT = LimitsSettings(honeypots=("/trap",), client=Rate(1.0, 10.0), address=Rate(1.0, 10.0))
PROMISES = {
    "identity.allow": Promise(
        Config(identity=IdentitySettings(allow=("203.0.113.0/24",)), limits=HONEYPOT),
        lambda world: world.visit(world.client(ALLOWED), "/trap"),
        REFUSED,
        requests=100,  # more than its bucket holds
    ),
    "identity.api_keys": Promise(
        Config(identity=IdentitySettings(api_key_header="X-Key", api_keys=(sha256(KEY.encode()).hexdigest(),))),
        _stranger("/", **{"X-Key": KEY}),
        REFUSED,
    ),
    "identity.crawlers": Promise(
        Config(identity=IdentitySettings(crawlers=(CrawlerSettings("Robot", ("robot.example",)),))), _crawler, REFUSED
    ),
    "challenge.never, a path": Promise(
        Config(challenge=ChallengeSettings(never=("/feed",))), _stranger("/feed/all.xml"), CHALLENGED
    ),
    "challenge.never, a path with a dot": Promise(
        Config(challenge=ChallengeSettings(never=("/.well-known/health",))),
        _stranger("/.well-known/health"),
        CHALLENGED,
    ),
    "challenge.never, a network": Promise(
        Config(challenge=ChallengeSettings(never=("198.51.100.0/24",))), _stranger("/"), CHALLENGED
    ),
    "tls.acme": Promise(Config(tls=TlsSettings(acme=True)), _stranger("/.well-known/acme-challenge/q1w2"), CHALLENGED),
    "challenge.presets": Promise(Config(), _stranger("/blog/feed.xml"), CHALLENGED),
    "pages of Shield itself": Promise(Config(), _own, CHALLENGED),
}


def _calm(world: World) -> None:
    pass


def _pressure(world: World) -> None:
    world.storm(0.9)


def _after_pressure(world: World) -> None:
    """Newcomers who insisted are challenged for some time after it."""
    world.storm(0.9)
    for _ in range(60):
        world.visit(world.client(STRANGER), "/")
    world.lull()


def _too_many_known(world: World) -> None:
    world.storm(0.9)
    world.see(cutoff=20.0)


def _bad_score(world: World) -> None:
    """Soft signals and a hard one make a score that is challenged, and no ban."""
    world.storm(0.9)
    for address in (STRANGER, ALLOWED):
        client = world.client(address)
        world.engine.report(client, Signal.MALFORMED, world.now)
        for _ in range(20):
            world.engine.report(client, Signal.SLOW_ABORT, world.now)


WEATHERS = [_calm, _pressure, _after_pressure, _too_many_known, _bad_score]


@pytest.mark.parametrize("dry_run", [False, True], ids=["real", "dry"])
@pytest.mark.parametrize("mode", ["auto", "always"])
@pytest.mark.parametrize("weather", WEATHERS, ids=lambda weather: weather.__name__.strip("_"))
@pytest.mark.parametrize("promise", PROMISES.values(), ids=PROMISES)
def test_a_promise_holds_in_every_mode(promise: Promise, weather: Any, mode: Any, dry_run: bool) -> None:
    config = replace(promise.config, challenge=replace(promise.config.challenge, mode=mode), dry_run=dry_run)
    settings = replace(config.policy(), concurrency=FIXED)
    for worker in range(2):
        world = World(settings, 100, Keys(b"\x01" * 32), seed=worker + 1)  # as each worker builds its own
        weather(world)
        for _ in range(promise.requests):
            verdict = promise.ask(world).verdict
            assert verdict.action not in promise.never, verdict


@pytest.mark.parametrize("mode", ["auto", "always"])
@pytest.mark.parametrize("weather", WEATHERS, ids=lambda weather: weather.__name__.strip("_"))
def test_in_a_dry_run_everything_is_forwarded(weather: Any, mode: Any) -> None:
    config = Config(
        challenge=ChallengeSettings(mode=mode), dry_run=True, identity=IdentitySettings(deny=("192.0.2.5",))
    )
    world = World(replace(config.policy(), concurrency=FIXED), 4)
    weather(world)
    for address in (STRANGER, "192.0.2.5"):
        for _ in range(300):
            request = world.ask(world.client(address))
            assert request.has_slot, request.verdict
            world.end(request)


@pytest.mark.parametrize("weather", WEATHERS, ids=lambda weather: weather.__name__.strip("_"))
@pytest.mark.parametrize(
    "config",
    [Config(challenge=ChallengeSettings(mode="off")), Config(pressure=PressureSettings(max_pressure=0.0))],
    ids=["challenge.mode off", "pressure.max_pressure 0"],
)
def test_where_nobody_is_to_be_challenged_nobody_is(config: Config, weather: Any) -> None:
    world = World(replace(config.policy(), concurrency=FIXED), 100)
    weather(world)
    for _ in range(300):
        assert world.visit(world.client(STRANGER), "/").verdict.action not in CHALLENGED


def test_without_the_promise_the_same_requests_are_challenged() -> None:
    """So that the test above can fail."""
    config = Config(challenge=ChallengeSettings(presets=()))
    world = World(replace(config.policy(), concurrency=FIXED), 100)
    world.storm(0.9)
    for name, promise in PROMISES.items():
        if name != "pages of Shield itself":
            assert promise.ask(world).verdict.reason in (Reason.NEWCOMER, Reason.BAD_REPUTATION), name
