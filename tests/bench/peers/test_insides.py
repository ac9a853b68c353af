"""What a running Shield holds is read from its status and from the kernel."""

from __future__ import annotations

import asyncio
import json
import os

from bench.origins import small_origin
from bench.peers.insides import held
from tests.bench.serving import listening


async def test_counts_are_the_statuss_and_descriptors_the_kernels() -> None:
    status = {
        "connections": {"open": 3, "streams": 2},
        "in_flight": 1,
        "waiting": 4,
        "upstream": [{"idle": 5}, {"idle": 6}],
        "tasks": 7,
    }
    answer = small_origin.render(json.dumps(status).encode())
    async with listening(lambda: small_origin.Origin(answer)) as port:
        found = await asyncio.to_thread(held, port, os.getpid())
    counts = {key: found[key] for key in ("open", "streams", "in_flight", "waiting", "kept", "tasks")}
    assert counts == {"open": 3, "streams": 2, "in_flight": 1, "waiting": 4, "kept": 11, "tasks": 7}
    assert found["files"] > 3
    assert found["resident"] > 10_000_000
