"""The usual aiohttp proxy, bench/peers/aiohttp_proxy.py. It has no limiter."""

from __future__ import annotations

import sys

from bench.peers.plan import Plan, Setup

TITLE = "the usual aiohttp proxy"


def missing() -> str | None:
    return None


def plan(setup: Setup) -> Plan:
    origin = f"http://127.0.0.1:{setup.origin_port}"
    argv = (sys.executable, "-m", "bench.peers.aiohttp_proxy", "--port", str(setup.port), "--origin", origin)
    tls = ("--certificate", str(setup.tls.chain), "--key", str(setup.tls.key)) if setup.tls else ()
    return Plan(argv + tls, setup.port)
