"""Programs that the operator knows."""

from __future__ import annotations

import hashlib
from math import inf
from typing import Any

from shield.model import Action, Reason, Tier
from shield.policy.api_keys import ApiKeys
from shield.policy.bucket import Rate
from shield.policy.entries import Pass, PassKind
from shield.policy.identity import IdentitySettings
from shield.policy.limits.limits import Left, Limits
from shield.policy.limits.settings import LimitsSettings
from shield.policy.rules.rule import Rule


def test_an_api_key_is_a_subject_of_its_own_wherever_it_is_used(make: Any, says: Any) -> None:
    digest = hashlib.sha256(b"sesame").hexdigest()
    world = make(identity=IdentitySettings(api_key_header="X-Api-Key", api_keys=(digest,)))
    world.storm(0.9)
    for i in range(300):
        request = world.ask(world.client(f"10.{i // 100}.{i % 100}.1"), headers={"X-Api-Key": "sesame"})
        assert says(request) == (Action.FORWARD, Reason.API_KEY)
        assert request.tier is Tier.T0
        world.end(request, rtt=0.010)
    assert says(world.ask(world.client("10.200.1.1"), headers={"X-Api-Key": "sesame"})) == (
        Action.LIMIT,
        Reason.PASS_RATE,
    )
    assert says(world.ask(world.client("10.200.1.1"), headers={"X-Api-Key": "\udcffwrong"}))[0] is Action.CHALLENGE
    assert says(world.ask(world.client("10.1.1.1")))[0] is Action.CHALLENGE


WALL = 1_700_000_000.0


def key(name: str, text: str, rate: str = "", number: int = 1, expires: float = 0.0) -> Rule:
    digest = hashlib.sha256(text.encode()).hexdigest()
    return Rule(number, "key", name, f"{rate} {digest}".strip(), "ann", "", WALL, expires)


def test_keys_that_are_made_at_run_time_come_and_go(make: Any, says: Any) -> None:
    """Under pressure a program is challenged until its key is made, has the budget of the key, and is again after it
    was revoked. A program whose key is called as an AS is nobody else's."""
    world = make()
    world.storm(0.9)

    def ask(text: str, address: str = "10.0.0.1") -> tuple[Action, Reason]:
        found: tuple[Action, Reason] = says(world.ask(world.client(address), headers={"Shield-Key": text}))
        return found

    assert ask("sesame")[0] is Action.CHALLENGE
    world.engine.follow((key("billing", "sesame", "1/3"), key("AS64500", "open", number=2)), world.now)
    assert [ask("sesame", f"10.0.{i}.1") for i in range(3)] == [(Action.FORWARD, Reason.API_KEY)] * 3
    assert ask("sesame", "10.9.9.9") == (Action.LIMIT, Reason.PASS_RATE)
    assert ask("open") == (Action.FORWARD, Reason.API_KEY)
    assert ask("wrong")[0] is Action.CHALLENGE
    world.engine.follow((key("AS64500", "open", number=2),), world.now)
    assert ask("sesame")[0] is Action.CHALLENGE
    assert ask("open") == (Action.FORWARD, Reason.API_KEY)


def test_buckets_of_keys_that_stay_are_as_full_as_they_were() -> None:
    config = hashlib.sha256(b"old").hexdigest()
    keys = ApiKeys(IdentitySettings(api_keys=(config,)), Rate(10.0, 100.0))
    assert keys.header == "Shield-Key"
    keys.go_by([key("a", "one", "2/20"), key("b", "two")])
    before = dict(keys._by_digest)
    assert sorted(each.burst for each in before.values()) == [20.0, 100.0, 100.0]
    keys.go_by([key("a", "one", "3/20"), key("b", "two")])
    after = keys._by_digest
    assert [digest for digest in before if after[digest] is not before[digest]] == [key("a", "one").digest]
    keys.go_by([])
    assert set(keys._by_digest) == {bytes.fromhex(config)}


def test_without_keys_no_field_is_looked_for() -> None:
    keys = ApiKeys(IdentitySettings(), Rate(10.0, 100.0))
    assert keys.header == ""
    keys.go_by([key("a", "one")])
    assert keys.header == "Shield-Key"
    keys = ApiKeys(IdentitySettings(api_key_header=""), Rate(10.0, 100.0))
    keys.go_by([key("a", "one")])
    assert keys.header == ""


def test_what_is_left_of_a_key_is_told(make: Any) -> None:
    """Whole units and seconds, of the bucket that binds first; no word of those of others."""
    world = make(limits=LimitsSettings(costs={"/": 1.0, "/dear": 3.0}))
    world.engine.follow((key("billing", "sesame", "2/10"),), world.now)

    def left(path: str = "/", text: str = "sesame") -> Left | None:
        request = world.ask(world.client(), path, headers={"Shield-Key": text})
        found: Left | None = world.engine.left(request, world.now)
        return found

    assert left() == Left("pass_rate", 10, 5, 9, 1)
    assert left("/dear") == Left("pass_rate", 10, 5, 6, 2)
    world.now += 1.0
    assert left() == Left("pass_rate", 10, 5, 7, 2)
    assert left(text="wrong") is None
    assert [left() for _ in range(8)][-1] == Left("pass_rate", 10, 5, 0, 5)
    assert ApiKeys(IdentitySettings(), Rate(0.1, 0.5)).header == ""


def test_what_is_left_is_what_the_wide_bucket_leaves() -> None:
    limits = Limits(LimitsSettings(wide=2.0), None)  # type: ignore[arg-type] # nobody's reputation is asked
    budget = Pass(b"k", PassKind.API_KEY, Rate(2.0, 10.0), 0.0, inf, None)
    budget.tat, budget.shadow = 101.0, 109.5
    assert limits.left(budget, 100.0).remaining == 1
    budget.shadow = 120.0
    assert limits.left(budget, 100.0).remaining == 0
