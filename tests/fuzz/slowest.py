"""The dearest inputs of each parser, by search: mutations of the seeds, with the time for a byte as the target.

    python -m tests.fuzz.slowest [--seconds 60] [--keep 2] [parser ...]

It climbs: an input that costs more for a byte than what it was made of takes its place among the best. A byte is
counted with LEAST_BYTES more, as a sender pays for a packet. With --write the best of each parser go to
bench/suites/asymmetry/worst, where `python -m bench asymmetry` takes them from.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable
from typing import Final

from bench.suites.asymmetry.inputs import WORST
from bench.suites.asymmetry.parsers import PARSERS
from tests.fuzz.mutation import mutated
from tests.fuzz.targets import seeds

LEAST_BYTES: Final = 64
MOST_BYTES: Final = 4096
BEST: Final = 12
"""Inputs that are mutated further."""

SEEDS: Final = {
    "request head": ("plain_head", "client_connection"),
    "cookie": ("cookie",),
    "x-forwarded-for": ("forwarded",),
    "forwarded": ("forwarded",),
    "range": ("plain_head",),
    "form": ("navigation",),
    "answer": ("answer",),
    "pass": ("pass_token",),
    "chunked body": ("chunked",),
    "response head": ("upstream",),
    "client hello": ("client_hello",),
    "proxy header": ("proxy_header",),
}
MORE: Final = {
    "range": [b"bytes=0-,5-10,-3", b"bytes=" + b"1-2," * 190],
    "form": [b"a=b&c=%C3%A4+d", b"&".join([b"a="] * 900)],
    "response head": [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: a, b\r\nX: y\r\n\r\n"],
}
REPEATED: Final = (2, 8, 64)


def cost(parser: str, data: bytes, tries: int = 3) -> float:
    """µs for a byte; the least of some tries."""
    best = float("inf")
    for _ in range(tries):
        parse = PARSERS[parser]()
        began = time.process_time()
        parse(data)
        best = min(best, time.process_time() - began)
    return 1e6 * best / (len(data) + LEAST_BYTES)


def climb(
    parser: str, known: list[bytes], seconds: float, dice: random.Random, score: Callable[[str, bytes], float] = cost
) -> list[tuple[float, bytes]]:
    """The dearest found, first; each was looked at twice, so that chance counts for little."""
    begun = [data[:MOST_BYTES] for data in known if data]
    best = sorted(((score(parser, data), data) for data in begun), reverse=True)[:BEST]
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        data = mutated([data for _, data in best], dice, MOST_BYTES)
        if dice.random() < 0.2 and data:
            at = dice.randrange(len(data))
            data = (data[:at] + data[at : at + dice.randrange(1, 12)] * dice.choice(REPEATED) + data[at:])[:MOST_BYTES]
        if not data or any(data == other for _, other in best):
            continue
        found = score(parser, data)
        if found > best[-1][0] and min(found, score(parser, data)) > best[-1][0]:
            best = sorted([*best, (found, data)], reverse=True)[:BEST]
    return best


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.slowest")
    parser.add_argument("--seconds", type=float, default=60.0, help="for each parser")
    parser.add_argument("--keep", type=int, default=2, help="inputs of each")
    parser.add_argument("--write", action="store_true", help="keep them for the bench")
    parser.add_argument("parsers", nargs="*", choices=[[], *PARSERS])
    chosen = parser.parse_args()
    for name in chosen.parsers or PARSERS:
        known = [*(data for seed in SEEDS[name] for data in seeds(seed)), *MORE.get(name, ())]
        best = climb(name, known, chosen.seconds, random.Random(1))
        for micros, data in best[: chosen.keep]:
            print(f"{name:16} {1024 * micros:8.1f} µs for a KiB, {len(data)} bytes: {shown(data)[:80]}", flush=True)
        if chosen.write:
            WORST.mkdir(exist_ok=True)
            lines = [shown(data) for _, data in best[: chosen.keep]]
            (WORST / f"{name.replace(' ', '_')}.txt").write_text("\n".join(lines) + "\n", "ascii")
    return 0


def shown(data: bytes) -> str:
    """`data` as a line of a seeds file."""
    return data.decode("latin-1").encode("unicode_escape").decode("ascii")


if __name__ == "__main__":
    sys.exit(main())
