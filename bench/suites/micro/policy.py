"""Cases of the policy alone: deciding, learning, passes, challenges, identities. No bytes, no connection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from bench.suites import rig
from bench.suites.micro.case import Batch, cpu, timed
from shield.demo.solver import solve
from shield.model import Action, Outcome
from shield.policy.bucket import Bucket, Rate
from shield.policy.challenge.challenge import Redeemed
from shield.policy.engine import Engine
from shield.policy.request import Request

ANSWERS: Final = 64  # challenges that are solved beforehand
LANGUAGE: Final = "en-GB,en;q=0.7,de;q=0.3"
CHEAP: Final = '[challenge]\nmode = "always"\nleast_hashes = 64\nmost_hashes = 64\nverify_share = 1.0\n'


def asked(engine: Engine, number: int, token: Any = None) -> list[Request]:
    client = engine.identify("192.0.2.1", rig.AGENT, LANGUAGE, "", rig.START)
    return [Request(client, "GET", "/index.html", {}, token, False, None) for _ in range(number)]


def deciding(engine: Engine, requests: Sequence[Request], action: Action) -> float:
    """Decide all; the CPU time of that. What is let in is ended."""
    now = rig.START + 1.0
    began = cpu()
    for request in requests:
        engine.decide(request, now)
    spent = cpu() - began
    assert all(request.verdict.action is action for request in requests), requests[0].verdict
    if action is Action.FORWARD:
        learning(engine, requests)
    return spent


def learning(engine: Engine, requests: Sequence[Request]) -> float:
    """The CPU time of what follows the responses."""
    now, outcome = rig.START + 1.0, Outcome(200, 0.002)
    began = cpu()
    for request in requests:
        engine.learn(request, outcome, now)
    return cpu() - began


def decide_known() -> Batch:
    engine = rig.engine()
    return lambda number: deciding(engine, asked(engine, number), Action.FORWARD)


def decide_and_learn() -> Batch:
    engine = rig.engine()

    def batch(number: int) -> float:
        requests = asked(engine, number)
        now, outcome = rig.START + 1.0, Outcome(200, 0.002)
        began = cpu()
        for request in requests:
            engine.decide(request, now)
            engine.learn(request, outcome, now)
        spent = cpu() - began
        assert all(request.verdict.action is Action.FORWARD for request in requests)
        return spent

    return batch


def buy(engine: Engine, address: str = "192.0.2.1") -> str:
    """A pass that was worked for. The engine must challenge everybody, cheaply."""
    client = engine.identify(address, rig.AGENT, LANGUAGE, "", rig.START)
    request = Request(client, "GET", "/", {}, None, False, None)
    assert engine.decide(request, rig.START).action is Action.CHALLENGE
    challenge = engine.mint(request, rig.START)
    redemption = engine.redeem(
        client, challenge.token, solve(challenge.token, challenge.k, challenge.target), rig.START
    )
    assert redemption.result is Redeemed.ACCEPTED, redemption
    return redemption.pass_token


def decide_with_pass() -> Batch:
    engine = rig.engine(rig.OUT_OF_REACH + CHEAP)
    token = engine.present(buy(engine), rig.START)
    assert token is not None
    return lambda number: deciding(engine, asked(engine, number, token), Action.FORWARD)


def decide_refused() -> Batch:
    engine = rig.engine(rig.TINY)
    (first,) = asked(engine, 1)
    while engine.decide(first, rig.START + 1.0).action is Action.FORWARD:
        engine.learn(first, Outcome(200, 0.01), rig.START + 1.0)
        (first,) = asked(engine, 1)
    return lambda number: deciding(engine, asked(engine, number), Action.LIMIT)


def decide_challenged() -> Batch:
    engine = rig.engine(rig.OUT_OF_REACH + CHEAP)
    return lambda number: deciding(engine, asked(engine, number), Action.CHALLENGE)


def present() -> Batch:
    engine = rig.engine(rig.OUT_OF_REACH + CHEAP)
    token = buy(engine)
    assert engine.present(token, rig.START) is not None
    return timed(engine.present, token, rig.START)


def present_forged() -> Batch:
    engine = rig.engine(rig.OUT_OF_REACH + CHEAP)
    token = buy(engine)
    forged = token[:-2] + ("AA" if token[-2:] != "AA" else "BB")
    assert engine.present(forged, rig.START) is None
    return timed(engine.present, forged, rig.START)


def mint() -> Batch:
    engine = rig.engine(rig.OUT_OF_REACH + CHEAP)
    (request,) = asked(engine, 1)
    engine.decide(request, rig.START)
    return timed(engine.mint, request, rig.START)


def redeem() -> Batch:
    """Each answer once to each engine: they all have the same key, and only what was spent differs."""
    tables = rig.OUT_OF_REACH + CHEAP
    engine = rig.engine(tables)
    (request,) = asked(engine, 1)
    engine.decide(request, rig.START)
    minted = [engine.mint(request, rig.START) for _ in range(ANSWERS)]
    answers = [(each.token, solve(each.token, each.k, each.target)) for each in minted]

    def batch(number: int) -> float:
        spent = 0.0
        for first in range(0, number, ANSWERS):
            fresh = rig.engine(tables)
            client = fresh.identify("192.0.2.1", rig.AGENT, LANGUAGE, "", rig.START)
            given = answers[: number - first]
            began = cpu()
            results = [fresh.redeem(client, token, nonces, rig.START) for token, nonces in given]
            spent += cpu() - began
            assert all(each.result is Redeemed.ACCEPTED for each in results), results[0]
        return spent

    return batch


def gcra() -> Batch:
    bucket = Bucket(Rate(1e9, 1e9))
    assert bucket.take(1.0, rig.START)
    return timed(bucket.take, 1.0, rig.START)


def identify() -> Batch:
    engine = rig.engine()
    return timed(engine.identify, "192.0.2.1", rig.AGENT, LANGUAGE, "", rig.START)


def identify_new() -> Batch:
    engine = rig.engine("[tables]\naddresses = 1000000\nclients = 1000000\n")
    addresses = (f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}" for n in range(1 << 24))

    def batch(number: int) -> float:
        fresh = [next(addresses) for _ in range(number)]
        began = cpu()
        for address in fresh:
            engine.identify(address, rig.AGENT, LANGUAGE, "", rig.START)
        return cpu() - began

    return batch
