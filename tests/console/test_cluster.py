"""What `shield cluster status` says."""

from __future__ import annotations

from typing import Any

from shield.console.show import answer

CLUSTER: dict[str, Any] = {
    "store": "valkey://10.0.0.5:6379",
    "name": "shield",
    "node": "a",
    "connected": True,
    "error": "",
    "lost_seconds": 0.0,
    "count": 2,
    "nodes": [
        {"node": "a", "here": True, "age": 0.0, "version": "1", "pressure": 0.1, "attack": False, "in_flight": 1,
         "slots": 4, "latency": 0.001},
        {"node": "b\x1b[31m", "here": False, "age": 0.25, "version": "2", "pressure": "x", "attack": True,
         "in_flight": None, "slots": 4, "latency": 0.002},
    ],
    "rates": 1.0,
    "bursts": 0.5,
    "latency": 0.0012,
    "latency_most": 0.05,
    "rounds": 10,
    "failed": 0,
    "leases": 3,
    "untold": 0,
    "lost": 0,
    "rejected": {"key": 2, "old": 0},
    "disagreements": ["b runs version 2, this node 1"],
}  # fmt: skip


def test_which_machines_are_one() -> None:
    told = answer("cluster", CLUSTER)
    assert "node a of 2 in shield; the store valkey://10.0.0.5:6379 takes 1.2 ms, 50.0 ms at most" in told
    assert "a: pressure 0.10, at the service 1 of 4, store 1.0 ms; this node" in told
    assert "b?[31m: ATTACK, pressure 0.00, at the service 0 of 4, store 2.0 ms; heard 0.2 s ago, version 2" in told
    assert "they disagree: b runs version 2, this node 1" in told
    assert "not believed: key" in told


def test_a_store_that_is_lost_is_what_is_said_first() -> None:
    lost = {"connected": False, "rates": 0.5, "error": "no answer within 0.25 s", "lost": 1, "rejected": {}}
    told = answer("cluster", CLUSTER | lost)
    assert told.startswith("LOST: the store valkey://10.0.0.5:6379 does not answer: no answer within 0.25 s. Node a")
    assert "goes by 50% of each limit, as one of 2" in told
    assert "not told for want of room: 1" in told
