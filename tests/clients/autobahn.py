"""The Autobahn cases for WebSockets, by kosoku: directly to an echo server and through Shield to the same server.

    python -m tests.clients.autobahn [CASE ...]        such as 1.* 9.1.1; all when none is given

What is judged is not the server but the way to it: each case has to end alike, with the same verdict about what was
said, about how it was closed, and with the same close code. Many cases have a time limit: one that ends otherwise is
played again, both ways.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import uvloop
from aiohttp import web

from tests.clients import site
from tests.clients.conftest import DEADLINE, refused
from tests.integration.conftest import Shield, command, environment, toml

AT_ONCE = 4
SHOWN = 50
"""Differences that are told one by one."""
SECONDS = 1500.0
"""For all cases, once; on two busy cores they take seven minutes."""

Verdict = tuple[str, str, int | None]


async def echo() -> tuple[web.AppRunner, str]:
    runner = web.AppRunner(site.app(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner, f"127.0.0.1:{runner.addresses[0][1]}"


async def shield_before(origin: str, folder: Path) -> Shield:
    """Shield before this server, with its default config but for the limits: 500 cases come from one client at once."""
    path = folder / "shield.toml"
    free = {"address": "127.0.0.1:0"}
    unlimited = {"allow": ["127.0.0.1"]}
    tables = {"listen": free, "admin": free, "identity": unlimited, "upstream": {"servers": [f"http://{origin}"]}}
    path.write_text(toml(tables))
    process = await asyncio.create_subprocess_exec(
        *command("run", "--config", str(path)), env=environment(), stderr=asyncio.subprocess.PIPE, limit=1 << 20
    )
    shield = Shield(process)
    await shield.logged("started", within=DEADLINE)
    await shield.begin()
    return shield


async def verdicts(address: str, cases: list[str]) -> dict[str, Verdict]:
    """How each case ended."""
    import kosoku

    async with asyncio.timeout(SECONDS):
        try:
            results = await kosoku.run_fuzzingclient(f"ws://{address}/socket", cases or None, concurrency=AT_ONCE)
        except kosoku.FailureError as failure:  # the server fails some; what counts is whether it does so alike
            results = failure.results
    return {each.case_id: (each.behavior.value, each.behavior_close.value, each.remote_close_code) for each in results}


def shown(direct: dict[str, Verdict], through: dict[str, Verdict]) -> tuple[list[str], int]:
    """Counts by verdict, and the cases that ended otherwise, with their number."""
    counts = [Counter(verdict[:2] for verdict in each.values()) for each in (direct, through)]
    lines = [f"{'verdict':<16}{'of the close':<18}{'directly':>9}{'through Shield':>16}"]
    lines += [
        f"{verdict[0]:<16}{verdict[1]:<18}{counts[0][verdict]:>9}{counts[1][verdict]:>16}"
        for verdict in sorted(counts[0] | counts[1])
    ]
    other = [case for case in direct if direct[case] != through.get(case)]
    lines += [f"{case}: {direct[case]} directly, {through.get(case)} through Shield" for case in other[:SHOWN]]
    return [*lines, f"{len(direct)} cases, {len(other)} differences"], len(other)


async def main(cases: list[str]) -> int:
    runner, origin = await echo()
    with tempfile.TemporaryDirectory() as folder:
        shield = await shield_before(origin, Path(folder))
        try:
            direct = await verdicts(origin, cases)
            through = await verdicts(shield.address, cases)
            if again := [case for case in direct if direct[case] != through.get(case)]:  # some run out of time
                direct |= await verdicts(origin, again)
                through |= await verdicts(shield.address, again)
            counted: dict[str, Any] = await refused(shield)
        finally:
            await shield.end()
            await runner.cleanup()
    lines, other = shown(direct, through)
    lines += [f"refused or failed: {name} {count:.0f}" for name, count in counted.items()]
    print("\n".join(lines))
    return 1 if other or counted or not direct else 0


if __name__ == "__main__":
    sys.exit(uvloop.run(main(sys.argv[1:])))
