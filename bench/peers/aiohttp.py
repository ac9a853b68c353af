"""The usual aiohttp proxy, bench/aiohttp_proxy.py. It has no limiter."""

from __future__ import annotations

import sys

from bench.peers.plan import Plan, Setup

TITLE = "the usual aiohttp proxy"


def missing() -> str | None:
    return None


def plan(setup: Setup) -> Plan:
    origin = f"http://127.0.0.1:{setup.origin_port}"
    return Plan(
        (sys.executable, "-m", "bench.aiohttp_proxy", "--port", str(setup.port), "--origin", origin), setup.port
    )
