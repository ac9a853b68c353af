"""New code in the place of a Shield that runs: SIGUSR2."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import shutil
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import WSMsgType

import shield as package
from shield.demo import solver

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has subreapers")

Client = Callable[..., aiohttp.ClientSession]
Start = Callable[..., Awaitable[Any]]
GENEROUS = {"rate": 1e6, "burst": 1e6}
FRESH = ("env",)
"""A Shield that is no fork: it is started again as it was."""
PR_SET_CHILD_SUBREAPER = 36


@pytest.fixture(autouse=True)
def orphanage() -> Iterator[None]:
    """This process takes in the orphans among its descendants, as a service manager does."""
    prctl = ctypes.CDLL(None).prctl
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    yield
    prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


@pytest.mark.parametrize("workers", [1, 2])
async def test_upgrades_under_load_lose_nothing(workers: int, start: Start, echoing: str, client: Client) -> None:
    """The socket that is open stays with the old code, which ends with it; bans and passes go over."""
    shield = await start(
        prefix=FRESH,
        listen={"workers": workers},
        upstream={"servers": [echoing]},
        limits={"client": GENEROUS, "address": GENEROUS, "honeypots": ["/trap"]},
        history={"window": 0.1},
    )
    visitor = client("127.42.8.1")
    for number in range(1_000_000):
        async with visitor.get(shield.url(f"/page/{number}")) as response:
            assert response.status == 200
        if (await shield.logged("request", path=f"/page/{number}"))["tier"] == 1:
            break
    shield.reload(log={"requests": False})
    await shield.logged("reloaded", pid=shield.pid)
    banned = client("127.41.0.1", {"User-Agent": "scanner/1.0"})
    async with banned.get(shield.url("/trap")) as response:
        assert response.status == 403
    going, counts = True, [0] * 4

    async def ask(number: int) -> None:
        session = client(f"127.42.{number}.1", jar=False)
        fields = {"Connection": "close"} if number % 2 else {}
        while going:
            async with session.get(shield.url("/page"), headers=fields) as response:
                assert response.status == 200
                assert await response.text()
            counts[number] += 1
            await asyncio.sleep(0.005)

    tasks = [asyncio.create_task(ask(number)) for number in range(len(counts))]

    async with client("127.42.9.1").ws_connect(shield.url("/echo")) as websocket:
        shield.process.send_signal(signal.SIGUSR2)
        await shield.logged("upgrading")
        shield.process.send_signal(signal.SIGHUP)  # which the new code sees to: it may have read the config before
        old = await shield.upgraded()
        await shield.logged("reloaded", pid=shield.pid)
        before = list(counts)
        async with asyncio.timeout(20):
            while any(now < then + 15 for now, then in zip(counts, before, strict=True)):
                assert not any(task.done() for task in tasks), "a request failed"
                await asyncio.sleep(0.01)
        await websocket.send_str("still there")
        message = await websocket.receive(timeout=10)
        assert (message.type, message.data) == (WSMsgType.TEXT, "still there")
        async with banned.get(shield.url("/page")) as response:
            assert response.status == 403
        assert old.returncode is None
        assert (await shield.status())["ready"]
    assert await asyncio.wait_for(old.wait(), 20) == 0
    going = False
    await asyncio.gather(*tasks)
    started = shield.seen("started", pid=shield.pid)
    assert len(started) == 1
    assert started[0]["listen"] == [shield.address]
    lines = shield.seen("worker_started")[workers:] if workers > 1 else started
    assert max(line["known"] for line in lines) >= 1, "the history went over"


async def test_new_code_that_cannot_serve_changes_nothing(
    start: Start, echoing: str, client: Client, tmp_path: Path
) -> None:
    """Its code is broken, its config is wrong, a port is taken, or it would have other workers."""
    code = tmp_path / "code"
    shutil.copytree(Path(package.__file__).parent, code / "shield", ignore=shutil.ignore_patterns("__pycache__"))
    shield = await start(prefix=("env", f"PYTHONPATH={code}"), upstream={"servers": [echoing]})
    shield.expected = {"upgrade_refused"}
    config, session = shield.config.read_text(), client()

    async def refused(number: int, error: str, said: str) -> None:
        shield.process.send_signal(signal.SIGUSR2)
        line = await shield.logged("upgrade_refused", count=number)
        assert error in line["error"]
        assert said in "\n".join(line["said"])
        async with session.get(shield.url("/page"), headers={"Connection": "close"}) as response:
            assert response.status == 200
        assert await shield.asked("/readyz") == (200, "ready\n")

    broken = code / "shield" / "process" / "alone.py"
    good = broken.read_text()
    broken.write_text("def run(:\n")
    await refused(1, "it ended before it was ready", "SyntaxError")
    broken.write_text(good)
    shield.config.write_text("listen = [")
    await refused(2, "it ended before it was ready", "not TOML")
    with socket.create_server(("127.0.0.1", 0)) as occupied:
        address = f"127.0.0.1:{occupied.getsockname()[1]}"
        shield.config.write_text(config.replace('"127.0.0.1:0"', f'["127.0.0.1:0", "{address}"]', 1))
        await refused(3, f"cannot listen on {address}: Address already in use", "")
    shield.config.write_text(config.replace("[listen]", "[listen]\nworkers = 3", 1))
    await refused(4, "listen.workers: 1 before and 3 now", "")
    shield.config.write_text(config)
    old = await shield.upgrade()
    assert await asyncio.wait_for(old.wait(), 20) == 0
    async with session.get(shield.url("/page")) as response:
        assert response.status == 200


def lives(pid: int) -> bool:
    """A zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("workers", [1, 2])
async def test_what_is_kept_in_memory_goes_over_and_all_processes_stop_together(
    workers: int, start: Start, echoing: str, client: Client, tmp_path: Path
) -> None:
    """A pass is signed with keys that no file has. Two processes from before have a WebSocket each."""
    program = {"User-Agent": "feed-reader/2.1", "Accept": "application/json"}
    shield = await start(
        prefix=FRESH,
        listen={"workers": workers},
        admin={"address": f"unix:{tmp_path}/admin"},
        upstream={"servers": [echoing]},
        challenge={"mode": "always", "least_hashes": 256, "most_hashes": 1024},
        timeouts={"drain": 0.2},
    )
    session = client("127.43.0.1", program, jar=False)
    async with session.get(shield.url("/page")) as response:
        assert response.status == 503
        challenge = (await response.json(content_type=None))["challenge"]
    token = challenge["token"]
    answer = {"token": token, "nonces": solver.solve(token, challenge["k"], int(challenge["target"], 16))}
    async with session.post(shield.url("/.well-known/shield/answer"), json=answer) as response:
        shown = {"Shield-Pass": (await response.json())["pass"]}
    shield.process.send_signal(signal.SIGHUP)
    await shield.logged("reloaded", pid=shield.pid)
    async with (
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(f"{tmp_path}/admin")) as operator,
        operator.post("http://localhost/api/rules", json={"kind": "ban", "subject": "127.45.0.0/16"}) as response,
    ):
        assert response.status in (200, 201), await response.text()
    olds, websockets = [], []
    for _ in range(2):
        websockets.append(await session.ws_connect(shield.url("/echo"), headers=shown))
        olds.append(await shield.upgrade())
        async with session.get(shield.url("/page"), headers=shown) as response:
            assert response.status == 200
    async with session.post(shield.url("/.well-known/shield/answer"), json=answer) as response:
        assert (await response.json(content_type=None))["reason"] == "spent"
    async with client("127.45.0.1", program).get(shield.url("/page")) as response:
        assert response.status == 403, "the operator's rules"
    async with (
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(f"{tmp_path}/admin")) as operator,
        operator.get("http://localhost/readyz") as response,
    ):
        assert await response.text() == "ready\n"
    assert [old.returncode for old in olds] == [None, None]
    pids = [old.pid for old in olds]
    shield.process.send_signal(signal.SIGTERM)
    assert await shield.process.wait() == 0
    assert not any(map(lives, pids)), "a service manager would kill them then"
    assert [await asyncio.wait_for(old.wait(), 20) for old in olds] == [0, 0]
    assert await shield.ended() == 0
    assert not (tmp_path / "admin").exists()
    for websocket in websockets:
        await websocket.close()


class Manager:
    """What a service manager hears (sd_notify(3))."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.bind(str(path))
        self._socket.setblocking(False)
        self._heard: asyncio.Queue[tuple[str, int]] = asyncio.Queue()
        asyncio.get_running_loop().add_reader(self._socket, self._read)

    def _read(self) -> None:
        """As they come: the kernel keeps ten, and Shield does not wait for room."""
        data, credentials, _, _ = self._socket.recvmsg(1000, socket.CMSG_SPACE(12))
        self._heard.put_nowait((data.decode(), int.from_bytes(credentials[0][2][:4], sys.byteorder)))

    async def hears(self, wanted: str) -> int:
        """Wait for a message that begins so; the process id of its sender."""
        passed = []
        try:
            async with asyncio.timeout(20):
                while True:
                    said, pid = await self._heard.get()
                    if said.startswith(wanted):
                        return pid
                    passed.append(said)
        except TimeoutError:
            raise AssertionError(f"no {wanted} in {passed}") from None

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()


async def test_the_service_manager_knows_whom_to_watch(start: Start, echoing: str, tmp_path: Path) -> None:
    with contextlib.closing(Manager(tmp_path / "notify")) as manager:
        shield = await start(
            prefix=("env", f"NOTIFY_SOCKET={tmp_path}/notify", "WATCHDOG_USEC=200000"),
            listen={"workers": 2},
            upstream={"servers": [echoing]},
        )
        old = shield.pid
        assert await manager.hears("READY=1") == old
        assert await manager.hears("WATCHDOG=1") == old
        await shield.upgrade()
        assert await manager.hears(f"MAINPID={shield.pid}") == old
        assert await manager.hears("READY=1") == shield.pid
        for _ in range(3):
            assert await manager.hears("WATCHDOG=1") == shield.pid
        os.kill(shield.pid, signal.SIGHUP)
        assert await manager.hears("RELOADING=1") == shield.pid
        assert await manager.hears("READY=1") == shield.pid


@pytest.mark.parametrize("workers", [1, 2])
async def test_the_operator_s_rules_go_over(
    workers: int, start: Start, echoing: str, client: Client, tmp_path: Path
) -> None:
    shield = await start(
        prefix=FRESH,
        listen={"workers": workers},
        upstream={"servers": [echoing]},
        state={"directory": tmp_path / "state"},
    )
    wish = {"kind": "deny", "subject": "127.31.7.0/24"}
    async with client().post(f"http://{shield.admin}/api/rules", json=wish) as response:
        assert response.status == 201
    await shield.upgrade()
    async with client("127.31.7.1").get(shield.url("/page")) as response:
        assert response.status == 403
    async with client().post(f"http://{shield.admin}/api/undo", json={}) as response:
        assert response.status == 200
    async with client("127.31.7.1").get(shield.url("/page")) as response:
        assert response.status == 200
