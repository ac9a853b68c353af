"""No proxy: the load goes to the origin itself. What the others cannot exceed, and what "without Shield" means."""

from __future__ import annotations

from bench.peers.plan import Plan, Setup

TITLE = "origin alone"


def missing() -> str | None:
    return None


def plan(setup: Setup) -> Plan:
    return Plan((), setup.origin_port)
