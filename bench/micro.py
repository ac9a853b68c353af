"""What each step of a request costs in Python, in microseconds, without sockets: decide(), passes, heads, answers.

Each case is run in batches; a repeat is the CPU time of one batch over its size. The median of the repeats is what to
compare, the fastest is what the code can do when nothing else disturbs the caches. Setting up a batch is not timed,
and every case checks that what it timed was what its title says.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import uvloop
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpRequestParser

from bench import report, rig
from bench.guard import bounded
from bench.load import BROWSER_FIELDS
from bench.progress import Bar, bar
from bench.stats import median, spread
from shield.model import Action, Outcome, Reason, Request, Verdict
from shield.policy.bucket import Bucket, Rate
from shield.policy.challenge import Redeemed
from shield.policy.engine import Engine
from shield.proxy.headers import Examiner, Head
from shield.solver import solve

BATCH: Final = 1000
BLOCK: Final = BROWSER_FIELDS.encode()
GET: Final = b"GET /index.html HTTP/1.1\r\nHost: localhost:8080\r\n" + BLOCK + b"\r\n"
LANGUAGE: Final = "en-GB,en;q=0.7,de;q=0.3"
CHEAP: Final = '[challenge]\nmode = "always"\nleast_hashes = 64\nmost_hashes = 64\nverify_share = 1.0\n'

Batch = Callable[[int], float]  # runs so many operations; CPU seconds of what is to be timed
cpu: Final = time.process_time


@dataclass(frozen=True, slots=True)
class Case:
    """One row. `make` is called within an event loop. `wanted` is what the operation may cost, in µs."""

    name: str
    title: str
    make: Callable[[], Batch]
    wanted: float | None = None


# The policy


def _requests(engine: Engine, number: int, token: Any = None) -> list[Request]:
    client = engine.identify("192.0.2.1", rig.AGENT, LANGUAGE, "", rig.START)
    return [Request(client, "GET", "/index.html", {}, token, False, None) for _ in range(number)]


def _decide(engine: Engine, requests: Sequence[Request], action: Action, learn: bool = False) -> float:
    """Decide all; returns the CPU time of that, or with `learn` of what follows the response."""
    now = rig.START + 1.0
    began = cpu()
    for request in requests:
        engine.decide(request, now)
    decided = cpu() - began
    assert all(request.verdict.action is action for request in requests), requests[0].verdict
    if action is not Action.FORWARD:
        return decided
    outcome = Outcome(200, 0.002)
    began = cpu()
    for request in requests:
        engine.learn(request, outcome, now)
    return cpu() - began if learn else decided


def decide_known() -> Batch:
    engine = rig.engine()
    return lambda number: _decide(engine, _requests(engine, number), Action.FORWARD)


def learn() -> Batch:
    engine = rig.engine()
    return lambda number: _decide(engine, _requests(engine, number), Action.FORWARD, learn=True)


def _buy(engine: Engine, address: str = "192.0.2.1") -> str:
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
    token = engine.present(_buy(engine), rig.START)
    assert token is not None
    return lambda number: _decide(engine, _requests(engine, number, token), Action.FORWARD)


def decide_refused() -> Batch:
    engine = rig.engine(rig.TINY)
    (first,) = _requests(engine, 1)
    while engine.decide(first, rig.START + 1.0).action is Action.FORWARD:
        engine.learn(first, Outcome(200, 0.01), rig.START + 1.0)
        (first,) = _requests(engine, 1)
    return lambda number: _decide(engine, _requests(engine, number), Action.LIMIT)


def decide_challenged() -> Batch:
    engine = rig.engine(rig.OUT_OF_REACH + CHEAP)
    return lambda number: _decide(engine, _requests(engine, number), Action.CHALLENGE)


def _timed(work: Callable[[], Any]) -> Batch:
    """The same call again and again."""

    def batch(number: int) -> float:
        began = cpu()
        for _ in range(number):
            work()
        return cpu() - began

    return batch


def present() -> Batch:
    engine = rig.engine(rig.OUT_OF_REACH + CHEAP)
    token = _buy(engine)
    assert engine.present(token, rig.START) is not None
    return _timed(lambda: engine.present(token, rig.START))


def present_forged() -> Batch:
    engine = rig.engine(rig.OUT_OF_REACH + CHEAP)
    token = _buy(engine)
    forged = token[:-2] + ("AA" if token[-2:] != "AA" else "BB")
    assert engine.present(forged, rig.START) is None
    return _timed(lambda: engine.present(forged, rig.START))


def mint() -> Batch:
    engine = rig.engine(rig.OUT_OF_REACH + CHEAP)
    (request,) = _requests(engine, 1)
    engine.decide(request, rig.START)
    return _timed(lambda: engine.mint(request, rig.START))


def redeem() -> Batch:
    engine = rig.engine(rig.OUT_OF_REACH + CHEAP)
    clock = [rig.START]

    def batch(number: int) -> float:
        (request,) = _requests(engine, 1)
        engine.decide(request, clock[0])
        answers = []
        for _ in range(number):
            challenge = engine.mint(request, clock[0])
            answers.append((challenge.token, solve(challenge.token, challenge.k, challenge.target)))
        spent = 0.0
        for token, nonces in answers:
            clock[0] += 0.001
            began = cpu()
            redemption = engine.redeem(request.client, token, nonces, clock[0])
            spent += cpu() - began
            assert redemption.result is Redeemed.ACCEPTED, redemption
        clock[0] += 60.0  # those that were spent may be forgotten
        engine.tick(clock[0])
        return spent

    return batch


def gcra() -> Batch:
    bucket = Bucket(Rate(1e9, 1e9))
    assert bucket.take(1.0, rig.START)
    return _timed(lambda: bucket.take(1.0, rig.START))


def identify() -> Batch:
    engine = rig.engine()
    return _timed(lambda: engine.identify("192.0.2.1", rig.AGENT, LANGUAGE, "", rig.START))


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


# The edge


def _head(parser: Any, examiner: Examiner) -> Head:
    messages, _, _ = parser.feed_data(GET)
    return examiner.examine(messages[0][0])


def _parser() -> Any:
    loop = asyncio.get_running_loop()
    return HttpRequestParser(BaseProtocol(loop), loop, 65536, max_line_size=32768, max_field_size=32768)


def examine() -> Batch:
    parser, examiner = _parser(), rig.Proxy().edge.examiner
    assert _head(parser, examiner).path == "/index.html"
    return _timed(lambda: _head(parser, examiner))


def examine_again() -> Batch:
    examiner = rig.Proxy().edge.examiner
    template = _head(_parser(), examiner)
    assert examiner.again("/other", template).path == "/other"
    return _timed(lambda: examiner.again("/other", template))


def refusal() -> Batch:
    replies = rig.Proxy().edge.replies
    replies.set_date(1_700_000_000.0)
    verdict = Verdict(Action.LIMIT, Reason.CLIENT_RATE, 7, (10.0, 200.0), 0.0)
    assert b" 429 " in replies.refusal(verdict, False, False, False)
    return _timed(lambda: replies.refusal(verdict, False, False, False))


def _forward(proxy: rig.Proxy, heads: Sequence[bytes]) -> float:
    before = proxy.counted("forward")
    began = cpu()
    for head in heads:
        proxy.gate.data_received(head)
        proxy.origin.data_received(rig.RESPONSE)
    spent = cpu() - began
    assert proxy.counted("forward") - before == len(heads)
    return spent


def forward() -> Batch:
    proxy = rig.Proxy()
    heads = [GET.replace(b"theme=dark", b"theme=%d" % number) for number in range(BATCH)]
    return lambda number: _forward(proxy, heads[:number])


def forward_repeated() -> Batch:
    proxy = rig.Proxy()
    return lambda number: _forward(proxy, [GET] * number)


def refuse() -> Batch:
    proxy = rig.Proxy(rig.TINY)
    while not proxy.counted("limit"):
        proxy.gate.data_received(GET)
        if proxy.origin.exchange:
            proxy.origin.data_received(rig.RESPONSE)

    def batch(number: int) -> float:
        before = proxy.counted("limit")
        began = cpu()
        for _ in range(number):
            proxy.gate.data_received(GET)
        spent = cpu() - began
        assert proxy.counted("limit") - before == number
        return spent

    return batch


def connection() -> Batch:
    proxy = rig.Proxy()

    def batch(number: int) -> float:
        before = proxy.counted("forward")
        began = cpu()
        for _ in range(number):
            gate = proxy.connect()
            gate.data_received(GET)
            proxy.origin.data_received(rig.RESPONSE)
            gate.connection_lost(None)
        spent = cpu() - began
        assert proxy.counted("forward") - before == number
        return spent

    return batch


CASES: Final = {
    case.name: case
    for case in (
        Case("decide-known", "decide(): a known client, forwarded", decide_known, 6.0),
        Case("decide-pass", "decide(): with a pass, forwarded", decide_with_pass),
        Case("decide-refused", "decide(): refused", decide_refused),
        Case("decide-challenged", "decide(): challenged", decide_challenged),
        Case("learn", "learn(): after the response", learn),
        Case("identify", "identify(): a client that is known", identify),
        Case("identify-new", "identify(): a new address", identify_new),
        Case("present", "present(): a pass token", present, 3.0),
        Case("present-forged", "present(): a forged token", present_forged),
        Case("mint", "mint(): a challenge", mint),
        Case("redeem", "redeem(): an answer of 16 nonces", redeem),
        Case("gcra", "one GCRA check", gcra),
        Case("examine", "a browser's request head, parsed, examined", examine),
        Case("examine-again", "the same fields once more, examined", examine_again),
        Case("refusal", "refusal(): a 429 rendered", refusal),
        Case("forward", "a request forwarded, its fields new each time", forward),
        Case("forward-repeated", "a request forwarded, its fields repeated", forward_repeated),
        Case("refuse", "a request refused", refuse),
        Case("connection", "a connection with one request, forwarded", connection),
    )
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--repeats", type=bounded(int, 1, 1000), default=25, help="batches of each case")
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES), metavar="CASE")
    parser.add_argument("--json", type=Path, help="where the raw results go (default: bench/results)")


def play(arguments: argparse.Namespace) -> dict[str, Any]:
    """Every case in rounds, so that a slow spell of the machine does not fall on one of them."""
    chosen = [CASES[name] for name in arguments.cases]
    with bar("micro", arguments.repeats) as shown:
        repeats = uvloop.run(_rounds(chosen, arguments.repeats, shown))
    return {
        "suite": "micro",
        "machine": report.machine(),
        "batch": BATCH,
        "cases": {
            case.name: {
                "title": case.title,
                "median": median(repeats[case.name]),
                "least": min(repeats[case.name]),
                "spread": spread(repeats[case.name]),
                "wanted": case.wanted,
                "repeats": repeats[case.name],
            }
            for case in chosen
        },
        "problems": [],
    }


async def _rounds(cases: Sequence[Case], repeats: int, shown: Bar) -> dict[str, list[float]]:
    """µs of each repeat by case."""
    shown.step(0, "warming up")
    batches = [(case.name, case.make()) for case in cases]
    for _, batch in batches:
        batch(100)
    found: dict[str, list[float]] = {case.name: [] for case in cases}
    for number in range(repeats):
        shown.step(number, f"round {number + 1}")
        for name, batch in batches:
            gc.collect()
            gc.disable()  # as timeit does: whose turn the collector takes is chance
            try:
                found[name].append(1e6 * batch(BATCH) / BATCH)
            finally:
                gc.enable()
    return found


def markdown(results: dict[str, Any]) -> str:
    machine = results["machine"]
    rows = [
        [
            case["title"],
            report.figure(case["median"]),
            report.figure(case["least"]),
            report.figure(100 * case["spread"], 0, " %"),
            report.figure(case["wanted"], 1),
        ]
        for case in results["cases"].values()
    ]
    setting = (
        f"{machine['cpu']}, Linux {machine['kernel']}, Python {machine['python']}, load {machine['load_average']:.1f}; "
        f"CPU time in batches of {results['batch']}, no sockets, no garbage collection."
    )
    return "\n".join(
        ["# What the steps cost", "", setting, "", report.table(["", "µs", "least", "spread", "wanted"], rows)]
    )


def run(arguments: argparse.Namespace) -> int:
    results = play(arguments)
    return report.publish(results, markdown(results), arguments.json)
