"""What several machines as one cost: a node's own time, the store's, and bytes between them.

NODES engines in this process, each with its rounds over a real store on loopback, play clients at a fixed rate.

    idle       nobody asks
    quiet      many clients that ask now and then: none is told of
    busy       clients that are near their limits, at one rate of requests
    busier     the same clients at twice the rate: the store has as much to do
    crowd      ten times as many busy clients at that rate

`deciding` is what it takes to judge a request and to learn from it in an engine with its rounds, and in one without,
taking turns: a ratio of medians.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from bench.common.guard import MOST_ROUNDS, bounded, json_file
from bench.common.processes import ROOT
from bench.plots import report
from shield.cluster.settings import ClusterSettings
from shield.model import Action, Outcome
from shield.policy.bucket import Rate
from shield.policy.cluster.leases import Leases
from shield.policy.cluster.side import Side
from shield.policy.concurrency.settings import ConcurrencySettings
from shield.policy.engine import Engine
from shield.policy.identity import Client
from shield.policy.keys import Keys
from shield.policy.limits.settings import LimitsSettings
from shield.policy.reputation import ReputationSettings
from shield.policy.request import Request
from shield.policy.rules.rule import Rule
from shield.policy.settings import EngineSettings
from shield.policy.sites import Sites

KEYS: Final = Keys(b"\x07" * 32)
SETTINGS: Final = EngineSettings(
    concurrency=ConcurrencySettings(adaptive=False),
    limits=LimitsSettings(client=Rate(10, 20), address=Rate(50, 80)),  # so that who asks much is soon at its limits
    reputation=ReputationSettings(limit_hit=0.0),
)
CASES: Final = {  # clients, requests/s of all of them
    "idle": (0, 0),
    "quiet": (2000, 500),
    "busy": (100, 1500),
    "busier": (100, 3000),
    "crowd": (1000, 3000),
}
STEP: Final = 0.01  # seconds
TURN: Final = 2000  # requests that are judged in one turn of `deciding`


class _Book:
    """No rules."""

    watch = None

    def rules(self) -> Sequence[Rule]:
        return ()

    def pardons(self) -> list[str]:
        return []

    def adopt(self, changes: Any, pardons: Any) -> None:
        pass


class _Log:
    def event(self, name: str, **fields: Any) -> None:
        pass


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--nodes", type=bounded(int, 1, 16), default=3)
    parser.add_argument("--seconds", type=bounded(float, 1, 60), default=4.0, help="of each case")
    parser.add_argument("--rounds", type=bounded(int, 1, MOST_ROUNDS), default=15, help="of deciding")
    parser.add_argument("--json", type=json_file, help="where the raw results go (default: build/cluster)")


def run(arguments: argparse.Namespace) -> int:
    """Prints the tables, keeps the raw results, and returns the exit status."""
    server = shutil.which("valkey-server") or shutil.which("redis-server")
    if server is None:
        print("bench cluster needs valkey-server or redis-server", file=sys.stderr)
        return 1
    with _store(server) as port:
        cases = {
            name: asyncio.run(_play(port, arguments.nodes, *case, arguments.seconds)) for name, case in CASES.items()
        }
        deciding = asyncio.run(_deciding(port, arguments.rounds))
    results = {
        "suite": "cluster",
        "machine": report.machine(),
        "store": server,
        "nodes": arguments.nodes,
        "seconds": arguments.seconds,
        "cases": cases,
        "deciding": deciding,
        "load": os.getloadavg(),
    }
    text = markdown(results)
    path = arguments.json or ROOT / "build" / "cluster" / f"{time.strftime('%Y-%m-%d-%H%M%S')}.json"
    report.write(results, text, path)
    print(text)
    print(f"\nload {os.getloadavg()}; raw results: {path}")
    return 0


def markdown(results: dict[str, Any]) -> str:
    """The tables."""
    lines = [
        f"{results['nodes']} nodes, {results['seconds']:g} s each",
        "",
        (
            "| case | requests/s | let in/s | calls/s | bucket charges/s | KB/s to the store | KB/s from it "
            "| store's core | round, ms |"
        ),
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, case in results["cases"].items():
        lines.append(
            f"| {name} | {case['requests']:.0f} | {case['let_in']:.0f} | {case['calls']:.0f} | {case['charges']:.0f} "
            f"| {case['in'] / 1e3:.1f} | {case['out'] / 1e3:.1f} | {case['core']:.1%} | {case['round'] * 1e3:.2f} |"
        )
    found = results["deciding"]
    lines += [
        "",
        (
            f"deciding: {found['alone'] * 1e6:.2f} µs alone, {found['cluster'] * 1e6:.2f} µs in a cluster, "
            f"ratio {found['ratio']:.3f} (median of {found['rounds']} rounds)"
        ),
        (
            f"a round costs its node {found['round'] * 1e6:.0f} µs of processor time with no client on lease, "
            f"{found['round_busy'] * 1e6:.0f} µs with {found['leases']} buckets"
        ),
    ]
    return "\n".join(lines)


@contextmanager
def _store(server: str) -> Iterator[int]:
    with socket.socket() as one, tempfile.TemporaryDirectory() as folder:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        one.close()
        argv = [server, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        process = subprocess.Popen(argv, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            for _ in range(500):
                try:
                    socket.create_connection(("127.0.0.1", port), 1.0).close()
                    break
                except OSError:
                    time.sleep(0.01)
            yield port
        finally:
            process.kill()
            process.wait()


def _info(port: int) -> dict[str, float]:
    """Figures of the store."""
    with socket.create_connection(("127.0.0.1", port), 5.0) as connection:
        connection.sendall(b"*2\r\n$4\r\nINFO\r\n$3\r\nALL\r\n")
        data = connection.recv(1 << 20)
        while not data.endswith(b"\r\n") or len(data) < int(data[1 : data.index(b"\r")]):
            data += connection.recv(1 << 20)
    found: dict[str, float] = {"calls": 0.0, "charges": 0.0}
    for line in data.decode().splitlines():
        key, _, value = line.partition(":")
        if key in ("total_net_input_bytes", "total_net_output_bytes", "used_cpu_user", "used_cpu_sys"):
            found[key] = float(value)
        if key in ("cmdstat_evalsha", "cmdstat_get"):
            found["calls" if key == "cmdstat_evalsha" else "charges"] = float(value.split(",")[0].split("=")[1])
    found["charges"] -= found["calls"]  # the mark is read once in each call
    return found


def _machine(port: int | None, name: str, nodes: int) -> tuple[Engine, Any]:
    """An engine, with its rounds if there is a store."""
    limits, offset = SETTINGS.limits, time.time() - time.monotonic()
    side = None
    if port is not None:
        side = Side(Leases(limits.client, limits.address, limits.wide, limits.least_factor, KEYS))
    engine = Engine(SETTINGS, KEYS, random.Random(name).randbytes, offset, 10_000, side=side)
    if port is None:
        return engine, None
    module = importlib.import_module("shield.cluster.node")  # with the client of the store
    settings = ClusterSettings(store=f"valkey://127.0.0.1:{port}", node=name, nodes=nodes, deadline=1.0)
    return engine, module.Node(settings, Sites([engine]), KEYS, _Book(), _Log(), time.monotonic, offset)


async def _play(port: int, count: int, clients: int, rate: int, seconds: float) -> dict[str, float]:
    """One case."""
    nodes = [_machine(port, f"node-{number}", count) for number in range(count)]
    tasks = [asyncio.create_task(node.run()) for _, node in nodes]
    await asyncio.sleep(0.5)  # all are heard of, and the script is known
    people = [
        [_client(engine, number) for engine, _ in nodes] for number in range(clients)
    ]  # each at each of the nodes
    dice, let_in, asked = random.Random(1), 0, 0
    before, began = _info(port), time.monotonic()
    while (now := time.monotonic()) < began + seconds:
        for _ in range(int((now - began) * rate) - asked):
            asked += 1
            there = dice.randrange(count)
            let_in += _ask(nodes[there][0], dice.choice(people)[there], now)
        for engine, _ in nodes:
            engine.tick(now)
        await asyncio.sleep(STEP)
    spent = time.monotonic() - began
    after = _info(port)
    latency = statistics.median(node.status().latency for _, node in nodes)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for _, node in nodes:
        await node.leave(True)
    more = {key: (after[key] - before[key]) / spent for key in before}
    return {
        "requests": asked / spent,
        "let_in": let_in / spent,
        "calls": more["calls"],
        "charges": more["charges"],
        "in": more["total_net_input_bytes"],
        "out": more["total_net_output_bytes"],
        "core": more["used_cpu_user"] + more["used_cpu_sys"],
        "round": latency,
    }


def _client(engine: Engine, number: int) -> Client:
    address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    return engine.identify(address, "Browser/1.0", "en", "", time.monotonic())


def _ask(engine: Engine, client: Client, now: float) -> bool:
    request = Request(client, "GET", "/", {}, None, False, None)
    if engine.decide(request, now).action is not Action.FORWARD:
        return False
    engine.learn(request, Outcome(200, 0.01, False), now)
    return True


async def _deciding(port: int, rounds: int) -> dict[str, float]:
    """What it costs a node."""
    alone, _ = _machine(None, "alone", 1)
    engine, node = _machine(port, "cluster", 1)
    other, second = _machine(port, "other", 1)
    await node.round()
    await second.round()
    await node.round()
    idle = await _round_cost(node)
    ratios, spent = [], {"alone": [], "cluster": []}  # type: tuple[list[float], dict[str, list[float]]]
    for _ in range(rounds):
        turn = {}
        for name, each in (("alone", alone), ("cluster", engine)):
            people = [_client(each, number) for number in range(TURN // 4)]
            now = time.monotonic()
            began = time.process_time()
            for number in range(TURN):
                _ask(each, people[number % len(people)], now)
            turn[name] = (time.process_time() - began) / TURN
            each.tick(now + 1.0)
            spent[name].append(turn[name])
        await node.round()
        ratios.append(turn["cluster"] / turn["alone"])
        await asyncio.sleep(0.5)  # buckets fill again
    people = [_client(engine, 100_000 + number) for number in range(100)]
    for person in people:
        for _ in range(60):
            _ask(engine, person, time.monotonic())
    busy = await _round_cost(node, people, engine)
    leases = float(node.status().leases)
    for one in (node, second):
        await one.leave(True)
    del other
    return {
        "alone": statistics.median(spent["alone"]),
        "cluster": statistics.median(spent["cluster"]),
        "ratio": statistics.median(ratios),
        "rounds": rounds,
        "round": idle,
        "round_busy": busy,
        "leases": leases,
    }


async def _round_cost(node: Any, people: Sequence[Client] = (), engine: Engine | None = None) -> float:
    """Processor time of one round of this process, which waits meanwhile."""
    spent = []
    for _ in range(20):
        for person in people:
            if engine is not None:
                _ask(engine, person, time.monotonic())
        began = time.process_time()
        await node.round()
        spent.append(time.process_time() - began)
    return statistics.median(spent)
