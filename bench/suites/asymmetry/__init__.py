"""What a byte can cost: the most µs of Shield's core that a KiB of each kind of input takes, without sockets.

Every input goes over a connection in three situations: its request is forwarded, refused by a limit, or refused because
its address is banned. `inputs.py` has the inputs, `parsers.py` what is measured without a connection. Nothing is known
from the time before: the memories of lines are emptied, and each input has a connection of its own. Only an ordinary
GET comes as most do, in lines that are known but for its cookie.

A KiB of any input may cost at most BOUND times what one of an ordinary GET costs that is forwarded. Less than a KiB is
judged by its units as well, requests or reads: each may cost UNIT times an ordinary GET, as packets and requests are
what the limits count. The exit status is 1 where an input costs more than both. On the wire a read takes its sender a
packet, whose headers are longer than what is in the smallest: the last column compares by these bytes.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import math
import time
from collections.abc import Sequence
from typing import Any, Final

import uvloop

from bench.common.guard import bounded, json_file
from bench.plots import report
from bench.plots.asymmetry_tables import markdown
from bench.suites import rig
from bench.suites.asymmetry.http2 import FRAMES, Frames
from bench.suites.asymmetry.inputs import DIRECT, LEAST, PATHS, Input, worst
from bench.suites.asymmetry.parsers import PARSERS
from shield.http.forwarded import Forwarding

BOUND: Final = 10.0
"""times an ordinary GET's µs per KiB, as forwarded."""
UNIT: Final = 3.0
"""times an ordinary GET's µs, for a request or a read. The dearest is a request that a trusted proxy brings from an
IPv6 address never seen before: `ipaddress` takes 30 µs to read it, write it and place it."""
PACKET: Final = 40
"""bytes of the headers of a packet: IPv4 (RFC 791) and TCP (RFC 9293), both without options."""
SEGMENT: Final = 1460
"""bytes. What a packet brings at most, over Ethernet."""
ORDINARY: Final = "an ordinary GET"
SITUATIONS: Final = ("forwarded", "refused", "banned")
PROXY: Final = "127.0.0.1"  # where the rig's connections come from
FORGIVING: Final = "[reputation]\nmalformed = 0.0\nfalse_work = 0.0\n"  # or what is wrong would change the situation

cpu: Final = time.process_time


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--values", type=bounded(int, 1, 1000), default=9, help="of each input; the least counts")
    parser.add_argument("--inputs", nargs="+", metavar="WORD", help="only those whose name has one of these words")
    parser.add_argument("--json", type=json_file, help="where the raw figures go")


def run(arguments: argparse.Namespace) -> int:
    """Prints the table and returns the exit status."""
    results = play(arguments)
    print(markdown(results))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")
    return 1 if results["problems"] else 0


def play(arguments: argparse.Namespace) -> dict[str, Any]:
    """The raw figures: a row for each input and situation, the dearest KiB first."""
    words = arguments.inputs

    def wanted(name: str) -> bool:
        return words is None or any(word in name for word in words)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        rows = runner.run(paths([ORDINARY, *(name for name in PATHS if name != ORDINARY and wanted(name))], arguments))
        rows += runner.run(streams([name for name in FRAMES if wanted(name)], arguments))
    ordinary = rows[0]
    direct = {name: (parser, data) for name, (parser, data) in DIRECT.items() if wanted(name)}
    for parser in PARSERS:
        for number, data in enumerate(worst(parser), 1):
            if wanted(f"{parser}: found {number}"):
                direct[f"{parser}: found {number}"] = parser, data
    for name, (parser, data) in direct.items():
        seconds = parsed(parser, data, arguments.values)
        rows.append(row(name, "parsed", len(data), 1, seconds, wire([data]) + len(LEAST)))
    for each in rows:
        each["ratio"] = each["per_kib"] / ordinary["per_kib"]
        each["unit_ratio"] = each["per_unit"] / ordinary["per_unit"]
        each["wire_ratio"] = (each["us"] / each["wire"]) / (ordinary["us"] / ordinary["wire"])
        each["above"] = each["ratio"] > BOUND and each["unit_ratio"] > UNIT
    rows.sort(key=lambda each: -each["per_kib"])
    problems = [
        f"{each['input']}, {each['situation']}: {each['ratio']:.1f} times an ordinary GET's µs per KiB, at most "
        f"{BOUND:g} are wanted"
        for each in rows
        if each["above"]
    ]
    return {"suite": "asymmetry", "machine": report.machine(), "bound": BOUND, "rows": rows, "problems": problems}


def wire(reads: Sequence[bytes]) -> int:
    """bytes of these on the wire, in as few packets as may be. What is parsed alone comes with a request."""
    return sum(len(data) + PACKET * math.ceil(len(data) / SEGMENT) for data in reads)


def row(name: str, situation: str, size: int, units: int, seconds: float, on_wire: int) -> dict[str, Any]:
    micros = 1e6 * seconds
    return {
        "input": name,
        "situation": situation,
        "bytes": size,
        "units": units,
        "wire": on_wire,
        "us": micros,
        "per_kib": micros * 1024 / size,
        "per_unit": micros / units,
    }


async def paths(names: Sequence[str], arguments: argparse.Namespace) -> list[dict[str, Any]]:
    rows = []
    made: dict[tuple[str, bool], rig.Proxy] = {}
    for name in names:
        sent = PATHS[name]
        for situation in SITUATIONS if sent.answer is None and not sent.before else SITUATIONS[:1]:
            values = 3 * arguments.values if name == ORDINARY else arguments.values
            if (situation, sent.proxied) not in made:
                made[situation, sent.proxied] = make(situation, sent.proxied)
            seconds = await carried(made[situation, sent.proxied], sent, values, name != ORDINARY)
            rows.append(row(name, situation, sent.size, sent.units, seconds, wire(sent.measured)))
    return rows


async def streams(names: Sequence[str], arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """The rows of HTTP/2."""
    rows = []
    for situation in SITUATIONS if names else ():
        proxy = make(situation, False)
        for name in names:
            sent = FRAMES[name]
            seconds = await framed(proxy, sent, arguments.values)
            rows.append(row(name, situation, sent.size, sent.units, seconds, wire(sent.reads)))
    return rows


async def framed(proxy: rig.Proxy, sent: Frames, values: int) -> float:
    """CPU seconds that `sent` takes on its way through a proxy; the least of so many values."""
    best = float("inf")
    for _ in range(values):
        gc.collect(0)
        gc.disable()
        try:
            best = min(best, await converse(proxy, sent))
        finally:
            gc.enable()
    return best


async def converse(proxy: rig.Proxy, sent: Frames) -> float:
    """CPU seconds of one connection of HTTP/2 whose reads are answered one by one."""
    client, origin = proxy.connect_http2(), proxy.new_origin()
    spent = 0.0
    for at, data in enumerate((*sent.before, *sent.reads)):
        began = cpu()
        client.data_received(data)
        if origin.exchange is not None:
            origin.data_received(rig.RESPONSE)
        await asyncio.sleep(0)
        if at >= len(sent.before):
            spent += cpu() - began
    client.connection_lost(None)
    return spent


def parsed(parser: str, data: bytes, values: int) -> float:
    """CPU seconds that a parser takes for `data`, which it has never seen before; the least of so many values."""
    make = PARSERS[parser]
    number = max(5, min(200, 100_000 // len(data)))
    best = float("inf")
    for _ in range(values):
        fresh = [make() for _ in range(number)] if len(data) < 2000 else None
        gc.disable()
        spent = 0.0
        for at in range(number):
            parse = fresh[at] if fresh is not None else make()
            began = cpu()
            parse(data)
            spent += cpu() - began
        gc.enable()
        best = min(best, spent / number)
    return best


async def carried(proxy: rig.Proxy, sent: Input, values: int, unknown: bool) -> float:
    """CPU seconds that `sent` takes on its way through a proxy; the least of so many values. `unknown`: its lines are
    new each time."""
    number = max(3, min(30, 30_000 // sent.size))
    best = float("inf")
    for _ in range(values):
        spent = 0.0
        gc.collect(0)
        gc.disable()
        try:
            for _ in range(number):
                if unknown:
                    proxy.forget_lines()
                if sent.answer is not None:
                    proxy.forget_response_lines()
                spent += await once(proxy, sent)
        finally:
            gc.enable()
        best = min(best, spent / number)
    return best


def make(situation: str, proxied: bool) -> rig.Proxy:
    """A proxy whose clients are in a situation."""
    forwarding = Forwarding((PROXY,) if proxied else (), "x-forwarded-for" if proxied else "none")
    tables = rig.TINY if situation == "refused" else rig.OUT_OF_REACH
    proxy = rig.Proxy(tables + FORGIVING, lambda: rig.START, forwarding)
    for address in (PROXY, "1.1.1.1", "::1"):
        if situation == "banned":
            proxy.ban(address)
        elif situation == "refused":
            proxy.exhaust(address)
    return proxy


async def once(proxy: rig.Proxy, sent: Input) -> float:
    """CPU seconds of one connection that sends it all and is answered."""
    client, origin = proxy.connect(), proxy.new_origin()
    for data in sent.before:
        client.data_received(data)
    if sent.before:
        origin.data_received(rig.SWITCHED)
    answer = (rig.RESPONSE,) if sent.answer is None else sent.answer
    spent = 0.0
    for data in sent.reads:
        began = cpu()
        client.data_received(data)
        if sent.answer is None:
            spent += cpu() - began
    for _ in range(sent.requests):
        if origin.exchange is None:
            break
        began = cpu()
        for data in answer:
            origin.data_received(data)
        spent += cpu() - began
        if client._pending:
            began = cpu()
            await asyncio.sleep(0)
            spent += cpu() - began
    client.connection_lost(None)
    return spent
