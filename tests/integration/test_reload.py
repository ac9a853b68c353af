"""Reading the config again: SIGHUP ended Shield at once, as did SIGUSR1 and SIGQUIT."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import WSMsgType

Client = Callable[..., aiohttp.ClientSession]
Start = Callable[..., Awaitable[Any]]
GENEROUS = {"rate": 1e6, "burst": 1e6}


@pytest.mark.parametrize("workers", [1, 2])
async def test_reloads_under_load_lose_nothing(workers: int, start: Start, echoing: str, client: Client) -> None:
    shield = await start(
        listen={"workers": workers},
        upstream={"servers": [echoing]},
        limits={"client": GENEROUS, "address": GENEROUS},
        history={"window": 0.1},
        log={"requests": False},
    )
    going, counts = True, [0] * 6

    async def ask(number: int) -> None:
        session = client(f"127.31.{number}.1", jar=False)
        fields = {"Connection": "close"} if number % 2 else {}
        while going:
            async with session.get(shield.url("/page"), headers=fields) as response:
                assert response.status == 200
                assert await response.text()
            counts[number] += 1

    tasks = [asyncio.create_task(ask(number)) for number in range(len(counts))]
    await asyncio.sleep(0.8)  # a history takes windows of 0.1 s, as many as `windows`
    async with client("127.31.9.1").ws_connect(shield.url("/echo")) as socket:
        for round_ in range(1, 4):
            before = list(counts)
            shield.reload(history={"windows": 2 + round_})
            await shield.logged("reloaded", count=round_ * (1 if workers == 1 else 1 + workers))
            async with asyncio.timeout(20):
                while any(now < then + 15 for now, then in zip(counts, before, strict=True)):
                    assert not any(task.done() for task in tasks), "a request failed"
                    await asyncio.sleep(0.01)
            await socket.send_str(f"after reload {round_}")
            message = await socket.receive(timeout=10)
            assert (message.type, message.data) == (WSMsgType.TEXT, f"after reload {round_}")
        going = False
        await asyncio.gather(*tasks)
    lines = shield.seen("reloaded")
    assert {line["pid"] for line in lines} <= {shield.pid, *(line["pid"] for line in shield.seen("worker_started"))}
    assert max(line.get("known", 0) for line in lines) >= 1, "the history went over"
    status = await shield.status()
    answered = sum(sum(reasons.values()) for reasons in status["requests"].values())
    assert answered >= sum(counts), "counters go on"


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_config_that_cannot_be_used_changes_nothing(
    workers: int, start: Start, echoing: str, client: Client, tls: Any, tmp_path: Path
) -> None:
    certificate = tmp_path / "site.pem"
    certificate.write_bytes(Path(tls.certificate).read_bytes())
    shield = await start(listen={"workers": workers}, upstream={"servers": [echoing]})
    shield.expected = {"reload_refused"}
    session = client("127.32.0.1")
    async with session.get(shield.url("/page")) as response:
        assert response.status == 200
    files = shield.files()

    async def refused(number: int, why: str) -> dict[str, Any]:
        line: dict[str, Any] = await shield.logged("reload_refused", count=number)
        assert why in str(line)
        async with session.get(shield.url("/page")) as response:
            assert response.status == 200
        assert await shield.asked("/readyz") == (200, "ready\n")
        return line

    with socket.create_server(("127.0.0.1", 0)) as occupied:
        address = f"127.0.0.1:{occupied.getsockname()[1]}"
        shield.reload(listen={"address": [shield.settings["listen"]["address"], address]})
        await refused(1, f"cannot listen on {address}: Address already in use")
        shield.reload(admin={"address": address})
        await refused(2, "admin.address")
    shield.config.write_text("listen = [")
    shield.process.send_signal(signal.SIGHUP)
    await refused(3, "not TOML")
    certificate.unlink()
    shield.reload(tls={"certificates": [{"chain": certificate, "key": tls.key}]})
    line = await refused(4, "cannot be read: No such file")
    assert line["mistakes"]
    shield.reload(upstream={"servers": ["https://localhost:1"], "ca": str(tls.key)})
    await refused(5, "upstream")
    shield.config.unlink()
    shield.process.send_signal(signal.SIGHUP)
    await refused(6, "cannot be read")
    assert not shield.seen("reloaded")
    async with asyncio.timeout(20):
        while shield.files() > files + 1:  # the admin listener's, perhaps
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("workers", [1, 2])
async def test_what_a_reload_can_change_and_what_not(workers: int, start: Start, echoing: str, client: Client) -> None:
    shield = await start(listen={"workers": workers}, upstream={"servers": [echoing]})
    with socket.create_server(("127.0.0.1", 0)) as free, socket.create_server(("127.0.0.1", 0)) as other:
        added, admin = (f"127.0.0.1:{each.getsockname()[1]}" for each in (free, other))
    first = shield.settings["listen"]["address"]
    shield.reload(
        listen={"address": [first, added], "workers": 3}, admin={"address": admin}, identity={"deny": ["127.33.0.0/16"]}
    )
    line = await shield.logged("reloaded", pid=shield.pid)
    assert line["listen"] == [shield.address, added]
    assert line["admin"] == admin
    assert (await shield.logged("restart_needed"))["settings"] == ["listen.workers"]
    shield.admin = admin
    for address in (shield.address, added):
        async with client("127.34.0.1").get(f"http://{address}/page") as response:
            assert response.status == 200
        async with client("127.33.0.1").get(f"http://{address}/page") as response:
            assert response.status == 403
    assert await shield.asked("/readyz") == (200, "ready\n")

    shield.reload(listen={"address": added, "workers": workers}, admin={"address": admin})
    await shield.logged("reloaded", count=2, pid=shield.pid)
    with pytest.raises(aiohttp.ClientConnectorError):
        await client("127.34.0.2").get(f"http://{shield.address}/page")
    async with client("127.33.0.2").get(f"http://{added}/page") as response:
        assert response.status == 200


@pytest.mark.parametrize("workers", [1, 2])
async def test_other_signals_end_nothing_or_drain(workers: int, start: Start, echoing: str, client: Client) -> None:
    shield = await start(listen={"workers": workers}, upstream={"servers": [echoing]})
    shield.process.send_signal(signal.SIGUSR1)
    await shield.logged("signal_ignored", signal="SIGUSR1")
    async with client().get(shield.url("/page")) as response:
        assert response.status == 200
    assert await shield.end(signal.SIGQUIT) == 0
    assert shield.seen("drained")


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_ban_outlives_a_reload_and_a_kill(
    workers: int, start: Start, launch: Start, echoing: str, client: Client, tmp_path: Path
) -> None:
    """A ban was forgotten whenever its process ended."""
    directory = tmp_path / "state"
    settings = {
        "listen": {"workers": workers},
        "upstream": {"servers": [echoing]},
        "limits": {"honeypots": ["/trap"]},
        "state": {"directory": directory},
        "challenge": {"mode": "off"},
    }
    shield = await start(**settings)
    program = {"User-Agent": "scanner/1.0"}
    banned, other = client("127.35.0.1", program), client("127.36.0.1", program)

    async def hold(shield: Any) -> None:
        async with banned.get(shield.url("/page")) as response:
            assert response.status == 403
        async with other.get(shield.url("/page")) as response:
            assert response.status == 200

    async with banned.get(shield.url("/trap")) as response:
        assert response.status == 403
    ban = await shield.logged("ban")
    await hold(shield)
    shield.reload(history={"windows": 3})
    await shield.logged("reloaded", pid=shield.pid)
    await hold(shield)
    key = ban["client"].encode()
    async with asyncio.timeout(20):
        while not any(key in path.read_bytes() for path in directory.glob("learned*.json")):
            await asyncio.sleep(0.05)
    if workers > 1:
        worker = ban["worker"]
        pid = shield.seen("worker_started", worker=worker)[0]["pid"]
        os.kill(pid, signal.SIGKILL)
        await shield.logged("worker_ended", pid=pid)
        await hold(shield)
        assert await shield.end() == 0
    else:
        shield.process.kill()
        await shield.ended()
        shield.lines.clear()  # it was not expected to end with 0
    again = await start(**{**settings, "listen": {"workers": 3 - workers}})
    await hold(again)
