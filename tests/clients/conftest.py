"""Clients as they are installed, against Shield with its default config: only ports, the upstream and, over https, the
certificate are set.

Whatever a test does, in the end nobody may have been challenged, limited, shed or banned, nothing may have failed, and
Shield itself may have answered nothing.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.clients import site
from tests.integration import conftest as processes

PROGRAMS = Path(__file__).parent / "programs"
DEADLINE = 120.0
"""Seconds for one client, and for Shield to start. The slowest are compilers, and the machine may be busy."""

launch, start, serve = processes.launch, processes.start, processes.serve
warm, client = processes.warm, processes.client

_SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? ([0-9.e+]+)$", re.MULTILINE)
_FINE = {
    "shield_requests_total": ('action="forward"', 'action="queue"'),
    "shield_responses_total": (
        'class="1xx",source="upstream"',
        'class="2xx",source="upstream"',
        'class="3xx",source="upstream"',
        'class="4xx",source="upstream"',
    ),
    "shield_tls_handshakes_total": ('outcome="completed"', 'outcome="resumed"'),
    "shield_faults_total": (),
    "shield_challenges_minted_total": (),
    "shield_upstream_failures_total": (),
}
"""Counters, and those of their labels that are no refusal and no failure."""


async def refused(shield: Any) -> dict[str, float]:
    """What the counters at /metrics say of challenges, limits, refusals and failures: nothing in calm weather."""
    _, text = await shield.asked("/metrics")
    found = {
        f"{name} {labels}": float(value)
        for name, labels, value in _SAMPLE.findall(text)
        if name in _FINE and not (labels and labels.startswith(_FINE[name]))
    }
    return {name: count for name, count in found.items() if count}


@dataclass
class Front:
    """Shield before the site. `authority` signs its certificate, when it has one."""

    shield: Any
    scheme: str
    authority: Path
    folder: Path
    allowed: set[str] = field(default_factory=set)
    """What a test provokes on purpose, of what refused() finds."""

    def url(self, path: str = "") -> str:
        return f"{self.scheme}://127.0.0.1:{self.shield.port}{path}"

    def patience(self) -> asyncio.Timeout:
        """Until a test gives up on a client."""
        return asyncio.timeout(DEADLINE)

    async def run(self, *command: str, **more: str) -> bytes:
        """The output of a client that must succeed; `more` joins its environment. Without it the test is skipped."""
        if shutil.which(command[0]) is None:
            pytest.skip(f"{command[0]} is not installed")
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=self.folder,
            env={**os.environ, "HOME": str(self.folder), "no_proxy": "*", **more},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with self.patience():
                said, complained = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode == 0, f"{command} ended with {process.returncode}: {complained.decode()} {said!r}"
        return said

    async def has(self, *command: str) -> None:
        """Skips the test if this fails: a client without a part it needs."""
        try:
            await self.run(*command)
        except AssertionError:
            pytest.skip(f"{' '.join(command)} fails")


Make = Callable[..., Awaitable[Front]]


@pytest.fixture(params=["http", "https"])
async def make_front(
    request: pytest.FixtureRequest, launch: Any, serve: Any, tls: Any, tmp_path: Path
) -> AsyncIterator[Make]:
    """make_front(app) puts Shield before an application, and holds it to its calm in the end."""
    fronts: list[Front] = []

    async def make(app: Any) -> Front:
        more = (
            {"tls": {"certificates": [{"chain": tls.certificate, "key": tls.key}]}} if request.param == "https" else {}
        )
        shield = await launch(upstream={"servers": [await serve(app)]}, **more)
        await shield.logged("started", within=DEADLINE)
        await shield.begin()
        fronts.append(Front(shield, request.param, tls.authority, tmp_path))
        return fronts[-1]

    yield make
    for front in fronts:
        assert not {name: count for name, count in (await refused(front.shield)).items() if name not in front.allowed}


@pytest.fixture
async def front(make_front: Make) -> Front:
    """Shield before the site."""
    return await make_front(site.app())
