"""Shield, told nothing of how many requests the service takes at once: it finds that out, as it ships."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from bench.peers import shield
from bench.peers.plan import Plan, Setup
from bench.peers.shield import missing

__all__ = ["TITLE", "missing", "plan"]

TITLE: Final = "Shield as shipped"


def plan(setup: Setup) -> Plan:
    return shield.plan(replace(setup, concurrency=0))
