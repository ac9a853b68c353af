"""Shield as shipped with its request log: a line of JSON for each request, into a file."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from bench.peers import shield
from bench.peers.plan import Plan, Setup
from bench.peers.shield import missing

__all__ = ["TITLE", "missing", "plan"]

TITLE: Final = "Shield, request log"


def plan(setup: Setup) -> Plan:
    return shield.plan(replace(setup, concurrency=0, log=True))
