"""What each step of a request costs in Python, in microseconds, without sockets: decide(), passes, heads, answers.

pyperf does the timing: it finds how many operations make a value long enough, and takes values in several processes one
after the other, each with a hash seed and a heap of its own. A value is CPU time per operation. The median is what to
compare, the fastest is what the code can do when nothing else disturbs the caches. Preparations are not timed, and
every case checks that what it timed was what its title says.

    python -m bench.suites.micro --cases gcra --rigorous      # a case with all that pyperf can be told
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import gc
import importlib.util
import itertools
import math
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import uvloop
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpRequestParser

from bench.common.guard import bounded
from bench.common.processes import ROOT, own_cores, share_out
from bench.common.progress import Bar, bar
from bench.common.stats import spread
from bench.load.closed_loop import BROWSER_FIELDS
from bench.plots import report
from bench.suites import rig
from shield.demo.solver import solve
from shield.model import Action, Outcome, Reason, Verdict
from shield.policy.bucket import Bucket, Rate
from shield.policy.challenge import Redeemed
from shield.policy.engine import Engine
from shield.policy.request import Request

BATCH: Final = 1000  # operations that are prepared at a time, at most
LEAST_SECONDS: Final = 0.02  # of a value; pyperf takes as many operations
ANSWERS: Final = 64  # challenges that are solved beforehand
BLOCK: Final = BROWSER_FIELDS.encode()
GET: Final = b"GET /index.html HTTP/1.1\r\nHost: localhost:8080\r\n" + BLOCK + b"\r\n"
CLOSE: Final = GET[:-2] + b"Connection: close\r\n\r\n"
LANGUAGE: Final = "en-GB,en;q=0.7,de;q=0.3"
CHEAP: Final = '[challenge]\nmode = "always"\nleast_hashes = 64\nmost_hashes = 64\nverify_share = 1.0\n'

Batch = Callable[[int], float]  # runs so many operations; CPU seconds of what is to be timed
cpu: Final = time.process_time


@dataclass(frozen=True, slots=True)
class Case:
    """One row. `make` is called within an event loop. `wanted` is what the operation may cost at most, in µs, and
    `reach` what would be better still."""

    name: str
    title: str
    make: Callable[[], Batch]
    wanted: float | None = None
    reach: float | None = None


# The policy


def _requests(engine: Engine, number: int, token: Any = None) -> list[Request]:
    client = engine.identify("192.0.2.1", rig.AGENT, LANGUAGE, "", rig.START)
    return [Request(client, "GET", "/index.html", {}, token, False, None) for _ in range(number)]


def _decide(engine: Engine, requests: Sequence[Request], action: Action) -> float:
    """Decide all; the CPU time of that. What is let in is ended."""
    now = rig.START + 1.0
    began = cpu()
    for request in requests:
        engine.decide(request, now)
    spent = cpu() - began
    assert all(request.verdict.action is action for request in requests), requests[0].verdict
    if action is Action.FORWARD:
        _learn(engine, requests)
    return spent


def _learn(engine: Engine, requests: Sequence[Request]) -> float:
    """The CPU time of what follows the responses."""
    now, outcome = rig.START + 1.0, Outcome(200, 0.002)
    began = cpu()
    for request in requests:
        engine.learn(request, outcome, now)
    return cpu() - began


def decide_known() -> Batch:
    engine = rig.engine()
    return lambda number: _decide(engine, _requests(engine, number), Action.FORWARD)


def decide_and_learn() -> Batch:
    engine = rig.engine()

    def batch(number: int) -> float:
        requests = _requests(engine, number)
        now, outcome = rig.START + 1.0, Outcome(200, 0.002)
        began = cpu()
        for request in requests:
            engine.decide(request, now)
            engine.learn(request, outcome, now)
        spent = cpu() - began
        assert all(request.verdict.action is Action.FORWARD for request in requests)
        return spent

    return batch


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


def _timed(work: Callable[..., Any], *arguments: Any) -> Batch:
    """The same call again and again. The loop itself takes some 0.02 µs of each."""
    call = functools.partial(work, *arguments)

    def batch(number: int) -> float:
        began = cpu()
        for _ in itertools.repeat(None, number):
            call()
        return cpu() - began

    return batch


def present() -> Batch:
    engine = rig.engine(rig.OUT_OF_REACH + CHEAP)
    token = _buy(engine)
    assert engine.present(token, rig.START) is not None
    return _timed(engine.present, token, rig.START)


def _with_pass(proxy: rig.Proxy) -> bytes:
    """A request that shows a pass, as the gate's engine takes it."""
    proxy.edge.clock = lambda: rig.START
    proxy.gate.expires = math.inf  # of another clock
    token = _buy(proxy.edge.engine, "127.0.0.1")
    return GET.replace(b"Cookie: ", b"Cookie: shield_pass=%s; " % token.encode())


def present_again() -> Batch:
    """What the gate does with the pass of a request whose connection has shown it before."""
    proxy = rig.Proxy(rig.OUT_OF_REACH + CHEAP)
    head = _with_pass(proxy)
    _forward(proxy, [head])
    with rig.calls(proxy.edge.engine, "present") as verified:
        proxy.gate.data_received(head)
    assert not verified, "the connection did not remember the pass"
    shown = proxy.gate._exchange.head  # type: ignore[union-attr]
    assert proxy.gate.caller.shown_pass is not None
    return _timed(proxy.gate.caller.present, shown, rig.START)


def present_forged() -> Batch:
    engine = rig.engine(rig.OUT_OF_REACH + CHEAP)
    token = _buy(engine)
    forged = token[:-2] + ("AA" if token[-2:] != "AA" else "BB")
    assert engine.present(forged, rig.START) is None
    return _timed(engine.present, forged, rig.START)


def mint() -> Batch:
    engine = rig.engine(rig.OUT_OF_REACH + CHEAP)
    (request,) = _requests(engine, 1)
    engine.decide(request, rig.START)
    return _timed(engine.mint, request, rig.START)


def redeem() -> Batch:
    """Each answer once to each engine: they all have the same key, and only what was spent differs."""
    tables = rig.OUT_OF_REACH + CHEAP
    engine = rig.engine(tables)
    (request,) = _requests(engine, 1)
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
    return _timed(bucket.take, 1.0, rig.START)


def identify() -> Batch:
    engine = rig.engine()
    return _timed(engine.identify, "192.0.2.1", rig.AGENT, LANGUAGE, "", rig.START)


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


def _parser() -> Any:
    loop = asyncio.get_running_loop()
    return HttpRequestParser(BaseProtocol(loop), loop, 65536, max_line_size=32768, max_field_size=32768)


def parse() -> Batch:
    parser = _parser()
    assert parser.feed_data(GET)[0][0][0].path == "/index.html"
    return _timed(parser.feed_data, GET)


def examine() -> Batch:
    parser, examiner = _parser(), rig.Proxy().edge.examiner
    (message, _), *_ = parser.feed_data(GET)[0]
    assert examiner.examine(message).path == "/index.html"
    return _timed(examiner.examine, message)


def plain() -> Batch:
    heads = rig.Proxy().edge.plain
    stop = GET.index(b"\r\n")
    assert heads.read(GET, stop) is not None
    return _timed(heads.read, GET, stop)


def plain_again() -> Batch:
    heads = rig.Proxy().edge.plain
    stop = GET.index(b"\r\n")
    head = heads.read(GET, stop)
    assert head is not None
    assert heads.again(head, GET, stop)
    return _timed(heads.again, head, GET, stop)


def refusal() -> Batch:
    replies = rig.Proxy().edge.replies
    replies.set_date(1_700_000_000.0)
    verdict = Verdict(Reason.CLIENT_RATE, 7, (10.0, 200.0), 0.0)
    assert replies.refusal(verdict, False).status == 429

    def refusal_sent() -> bytes:
        return replies.refusal(verdict, False).message(False, False)

    return _timed(refusal_sent)


def _forward(proxy: rig.Proxy, heads: Sequence[bytes]) -> float:
    before = proxy.counted("forward")
    began = cpu()
    for head in heads:
        proxy.gate.data_received(head)
        proxy.origin.data_received(rig.RESPONSE)
    spent = cpu() - began
    assert proxy.counted("forward") - before == len(heads)
    return spent


def _new_fields() -> list[bytes]:
    """Requests each of which has another cookie than the one before."""
    return [GET.replace(b"theme=dark", b"theme=%d" % number) for number in range(BATCH)]


def forward() -> Batch:
    proxy, heads = rig.Proxy(), _new_fields()
    return lambda number: _forward(proxy, heads[:number])


def forward_repeated() -> Batch:
    proxy = rig.Proxy()
    return lambda number: _forward(proxy, [GET] * number)


def forward_with_pass() -> Batch:
    proxy = rig.Proxy(rig.OUT_OF_REACH + CHEAP)
    head = _with_pass(proxy)
    return lambda number: _forward(proxy, [head] * number)


def forward_chunked() -> Batch:
    """640 KiB in chunks of 4 KiB, as they come from a socket: 64 KiB at a time."""
    proxy = rig.Proxy()
    body = (b"%x\r\n" % 4096 + b"x" * 4096 + b"\r\n") * 160 + b"0\r\n\r\n"
    wire = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n" + body
    reads = [wire[at : at + 65536] for at in range(0, len(wire), 65536)]

    def batch(number: int) -> float:
        before = proxy.transport.written
        began = cpu()
        for _ in range(number):
            proxy.gate.data_received(GET)
            for read in reads:
                proxy.origin.data_received(read)
        spent = cpu() - began
        assert proxy.origin.exchange is None
        assert proxy.transport.written - before > number * 160 * 4096
        return spent

    return batch


def _refused() -> rig.Proxy:
    """One that refuses everything from now on."""
    proxy = rig.Proxy(rig.TINY)
    while not proxy.counted("limit"):
        proxy.gate.data_received(GET)
        if proxy.origin.exchange:
            proxy.origin.data_received(rig.RESPONSE)
    return proxy


def _refuse(proxy: rig.Proxy, heads: Sequence[bytes]) -> float:
    before = proxy.counted("limit")
    began = cpu()
    for head in heads:
        proxy.gate.data_received(head)
    spent = cpu() - began
    assert proxy.counted("limit") - before == len(heads)
    return spent


def refuse() -> Batch:
    proxy, heads = _refused(), _new_fields()
    return lambda number: _refuse(proxy, heads[:number])


def refuse_repeated() -> Batch:
    proxy = _refused()
    return lambda number: _refuse(proxy, [GET] * number)


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


def connection_refused() -> Batch:
    proxy = _refused()

    def batch(number: int) -> float:
        before = proxy.counted("limit")
        began = cpu()
        for _ in range(number):
            gate = proxy.connect()
            gate.data_received(CLOSE)
            gate.connection_lost(None)
        spent = cpu() - began
        assert proxy.counted("limit") - before == number
        return spent

    return batch


CASES: Final = {
    case.name: case
    for case in (
        Case("decide-known", "decide(): a known client, forwarded", decide_known, 6.0, 3.0),
        Case("decide-pass", "decide(): with a pass, forwarded", decide_with_pass),
        Case("decide-refused", "decide(): refused", decide_refused),
        Case("decide-challenged", "decide(): challenged", decide_challenged),
        Case("decide-learn", "decide() and learn(): a known client, forwarded", decide_and_learn),
        Case("present", "present(): a pass token verified", present, 3.0),
        Case("present-again", "a pass that the connection has shown before", present_again, 0.5),
        Case("present-forged", "present(): a forged token", present_forged),
        Case("mint", "mint(): a challenge", mint),
        Case("redeem", "redeem(): an answer of 16 nonces verified", redeem),
        Case("gcra", "one GCRA check", gcra),
        Case("identify", "identify(): the fingerprint of a client that is known", identify),
        Case("identify-new", "identify(): the fingerprint of a new address", identify_new),
        Case("parse", "a browser's request head through the parser", parse),
        Case("examine", "what the parser made of it, examined", examine),
        Case("plain", "a browser's request head read line by line, the lines known", plain),
        Case("plain-again", "the same fields once more, another target", plain_again),
        Case("refusal", "refusal(): a 429 rendered", refusal),
        Case("forward", "a request forwarded, its fields new each time", forward),
        Case("forward-repeated", "a request forwarded, its fields repeated", forward_repeated),
        Case("forward-pass", "a request forwarded, with a pass shown before", forward_with_pass),
        Case("forward-chunked", "a request forwarded, its response 640 KiB in chunks of 4 KiB", forward_chunked),
        Case("refuse", "a request refused, its fields new each time", refuse),
        Case("refuse-repeated", "a request refused, its fields repeated", refuse_repeated),
        Case("connection", "a connection with one request, forwarded", connection),
        Case("connection-refused", "a connection with one request, refused", connection_refused),
    )
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--processes", type=bounded(int, 1, 100), default=3, help="one after the other, for each case")
    parser.add_argument("--repeats", type=bounded(int, 1, 1000), default=8, help="values in each process")
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES), metavar="CASE")
    parser.add_argument("--pyperf", type=Path, help="keep what pyperf writes, for `pyperf compare_to`; must not exist")
    parser.add_argument("--json", type=Path, help="where the raw results go (default: bench/results)")


def run(arguments: argparse.Namespace) -> int:
    """Prints the table, writes it, and returns the exit status."""
    try:
        results = play(arguments)
    except RuntimeError as error:
        print(f"micro: {error}", file=sys.stderr)
        return 1
    return report.publish(results, markdown(results), arguments.json)


def play(arguments: argparse.Namespace) -> dict[str, Any]:
    """The raw results, in µs. Raises RuntimeError where pyperf is missing or fails."""
    if importlib.util.find_spec("pyperf") is None:
        raise RuntimeError("pyperf is not installed; it comes with the bench extra")
    import pyperf  # noqa: PLC0415

    names = list(dict.fromkeys(arguments.cases))
    with bar("micro", len(names)) as shown, tempfile.TemporaryDirectory(prefix="bench-") as folder:
        written = arguments.pyperf or Path(folder, "pyperf.json")
        measure(names, arguments.processes, arguments.repeats, written, shown)
        suite = pyperf.BenchmarkSuite.load(str(written))
    cases = {name: row(CASES[name], suite.get_benchmark(name)) for name in names}
    return {
        "suite": "micro",
        "machine": report.machine(),
        "pyperf": pyperf.__version__,
        "processes": arguments.processes,
        "cases": cases,
        "problems": judge(cases),
    }


def judge(cases: dict[str, dict[str, Any]]) -> list[str]:
    """What costs more than is wanted."""
    return [
        f"{case['title']}: {case['median']:.2f} µs, at most {case['wanted']:g} are wanted"
        for case in cases.values()
        if case["wanted"] is not None and case["median"] > case["wanted"]
    ]


def row(case: Case, found: Any) -> dict[str, Any]:
    """A case as pyperf.Benchmark has it."""
    values = [1e6 * value for value in found.get_values()]
    return {
        "title": case.title,
        "median": 1e6 * found.median(),
        "least": min(values),
        "deviation": 1e6 * found.stdev() if len(values) > 1 else 0.0,
        "spread": spread(values),
        "wanted": case.wanted,
        "reach": case.reach,
        "operations": found.get_total_loops(),
        "repeats": values,
    }


def measure(names: Sequence[str], processes: int, values: int, path: Path, shown: Bar) -> None:
    """Have pyperf write `path`. Its workers take turns on the core that a proxy would have."""
    cores = ",".join(map(str, sorted(share_out(own_cores()).proxy)))
    argv = [sys.executable, "-m", "bench.suites.micro", "--cases", *names, "--output", str(path), "--affinity", cores]
    argv += ["--processes", str(processes), "--values", str(values), "--min-time", str(LEAST_SECONDS)]
    told: list[str] = []
    shown.step(0, names[0])
    with subprocess.Popen(
        argv,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as runner:
        assert runner.stdout is not None
        done = 0
        for line in runner.stdout:  # pyperf says a line of each that it has finished
            told.append(line)
            if DONE.match(line):
                done += 1
                shown.step(done, names[min(done, len(names) - 1)])
    if runner.returncode:
        raise RuntimeError(f"pyperf ended with {runner.returncode}: {''.join(told)[-1500:]}")


DONE: Final = re.compile(r"\S+: Mean ")


def markdown(results: dict[str, Any]) -> str:
    machine = results["machine"]
    rows = [
        [
            case["title"],
            report.figure(case["median"]),
            report.figure(case["least"]),
            report.figure(case["deviation"]),
            report.figure(case["wanted"], 1),
            report.figure(case["reach"], 1),
        ]
        for case in results["cases"].values()
    ]
    setting = (
        f"{machine['cpu']}, Linux {machine['kernel']}, Python {machine['python']}, load {machine['load_average']:.1f}; "
        f"CPU time, by pyperf {results['pyperf']} in {results['processes']} processes each, no sockets, no garbage "
        "collection."
    )
    heads = ["", "µs", "least", "std dev", "wanted", "reach"]
    lines = ["# What the steps cost", "", setting, "", report.table(heads, rows)]
    lines += [f"\n**Not as wanted**: {problem}." for problem in results["problems"]]
    return "\n".join(lines)


# As pyperf runs it: the same command for itself and for its workers, each of which measures one case.


class Timer:
    """Makes a case when its first value is asked for, and keeps it for the others of this process."""

    def __init__(self) -> None:
        self.runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self.made: dict[str, Batch] = {}

    def value(self, operations: int, case: Case) -> float:
        """CPU seconds of so many operations."""

        async def within_a_loop() -> float:
            if case.name not in self.made:
                self.made[case.name] = case.make()
            batch = self.made[case.name]
            gc.collect()
            gc.disable()  # as timeit does: whose turn the collector takes is chance
            try:
                return sum(batch(min(BATCH, operations - first)) for first in range(0, operations, BATCH))
            finally:
                gc.enable()

        return self.runner.run(within_a_loop())


def main() -> None:
    import pyperf  # noqa: PLC0415

    def hand_on(command: list[str], arguments: argparse.Namespace) -> None:
        command += ["--cases", *arguments.cases]

    runner = pyperf.Runner(program_args=("-m", "bench.suites.micro"), add_cmdline_args=hand_on)
    runner.argparser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES), metavar="CASE")
    timer = Timer()
    for name in runner.parse_args().cases:
        runner.bench_time_func(name, timer.value, CASES[name])


if __name__ == "__main__":
    main()
