"""What one connection may cost, and that large bodies cost no more than small ones."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.harness import LIMITED, Client, Link, Origin, Received, early, get, shielded, soon

ROOT = Path(__file__).parents[2]
MIB = 1 << 20

SERVE = """
import asyncio, sys, uvloop
sys.path.insert(0, sys.argv[1])
from tests.harness import Shield

async def main():
    async with Shield(sys.argv[2]) as shield:
        print(shield.port, flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)

uvloop.run(main())
"""


@contextlib.asynccontextmanager
async def apart(origin: Origin) -> AsyncIterator[tuple[int, int]]:
    """Shield in a process of its own: (port, pid)."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SERVE, str(ROOT), origin.url, stdin=pipe, stdout=pipe, cwd=ROOT
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield int(await process.stdout.readline()), process.pid
    finally:
        process.stdin.close()
        await asyncio.wait_for(process.wait(), 10)


def memory(pid: int, what: str) -> int:
    """bytes. VmRSS: now; VmHWM: at most so far."""
    found = re.search(rf"{what}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_a_gibibyte_up_and_down_grows_memory_by_less_than_64_mib() -> None:
    block = bytes(MIB)
    received = 0

    @early
    async def handle(link: Link, request: Received) -> None:
        nonlocal received
        if request.method == "GET":
            await link.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (1024 * MIB))
            for _ in range(1024):
                await link.send(block)
            return
        while received < 1024 * MIB:
            received += len(await link.reader.read(MIB))
        await link.send(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with Origin(None, handle) as origin, apart(origin) as (port, pid), await Client.open(port) as client:
        before = memory(pid, "VmRSS")
        await client.send(get("/down"))
        await client.until(b"\r\n\r\n")
        left = 1024 * MIB - len(client.buffer)
        client.buffer.clear()
        while left:
            assert await client.more()
            left -= len(client.buffer)
            client.buffer.clear()
        await client.send(get("/up", f"Content-Length: {1024 * MIB}", method="POST"))
        for _ in range(1024):
            await client.send(block)
        assert (await client.response()).status == 204
        assert received == 1024 * MIB
        grown = memory(pid, "VmHWM") - before
    assert grown < 64 * MIB, f"{grown / MIB:.1f} MiB"


async def test_what_waits_unread_is_bounded_per_connection() -> None:
    """A client that pipelines while its first request waits fills its own kernel buffers, not our memory."""
    async with shielded({"/slow": None}) as (shield, origin), await shield.client() as client:
        await client.send(get("/slow"))
        await origin.got()
        sending = asyncio.create_task(client.feed(get("/x") * 200_000))
        await soon(lambda: shield.accepted[0].flow.paused)
        for _ in range(50):
            await asyncio.sleep(0)
        assert len(shield.accepted[0]._pending) <= 32768 + 256 * 1024
        sending.cancel()


async def test_a_head_in_single_bytes_is_kept_once() -> None:
    async with shielded() as (shield, _), await shield.client() as client:
        await client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 30_000)
        await soon(lambda: shield.accepted and shield.metrics.bytes_in > 30_000)
        connection = shield.accepted[0]
        assert len(connection._heads.partial) < 32768
        assert connection._pending == b""


async def test_closed_connections_leave_nothing() -> None:
    from shield.client.connection import ClientConnection

    async with shielded() as (shield, _):
        shield.engine.verdicts = {"/no": LIMITED}
        for path in ("/", "/no", "/bad path"):
            for _ in range(5):
                async with await shield.client() as client:
                    await client.feed(get(path))
                    await client.response()
        await soon(lambda: shield.metrics.connections_open == 0)
        shield.accepted.clear()
        shield.engine.decided.clear()
        shield.engine.learned.clear()
        for _ in range(3):
            await asyncio.sleep(0)
        gc.collect()
        assert [thing for thing in gc.get_objects() if isinstance(thing, ClientConnection)] == []
