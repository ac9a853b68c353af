"""Binding, accepting, and not accepting when connections or descriptors run out."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import errno
import resource
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from shield.accept import file_limit
from shield.accept.entrance import Entrance
from shield.accept.listener import ACCEPT_SECONDS, Listener
from shield.accept.sockets import bind
from shield.client.crowding import Crowding
from shield.errors import StartError
from shield.operator.metrics import Metrics
from shield.wire.turns import Turns
from tests.harness import PermissiveEngine, QuietLog, get, shielded, soon


def entrance(log: Any) -> Entrance:
    """That of a process in which nothing is open."""
    metrics = Metrics()
    crowding = Crowding(PermissiveEngine(), log, metrics.connections_closed, lambda _: False, time.monotonic)  # type: ignore[arg-type]
    loop = asyncio.get_running_loop()
    return Entrance(
        loop, time.monotonic, metrics, log, crowding, lambda _: False, lambda: None, Turns(loop, time.monotonic)
    )


# binding


def test_an_occupied_port_is_a_clear_error() -> None:
    taken = socket.create_server(("127.0.0.1", 0))
    port = taken.getsockname()[1]
    with taken, pytest.raises(StartError, match=rf"cannot listen on 127\.0\.0\.1:{port}: Address already in use"):
        bind(["127.0.0.1:0", f"127.0.0.1:{port}"], 16, reuse_port=False)


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "127.0.0.1:70000", "192.0.2.1:0", "no.such.name.invalid:0", "unix:/x"]
)
def test_an_address_that_cannot_be_had_is_named(address: str) -> None:
    with pytest.raises(StartError, match="cannot listen on "):
        bind([address], 16, reuse_port=False)


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here")
async def test_every_interface_means_both_families() -> None:
    for address in (":0", "[::]:0"):
        async with shielded(address=address) as (shield, _):
            for shield.host in ("127.0.0.1", "::1"):
                async with await shield.client() as client:
                    assert (await client.ask(get("/x"))).body == b"GET /x"


async def test_several_addresses() -> None:
    sockets = bind(["127.0.0.1:0", "127.0.0.2:0"], 16, reuse_port=False)
    made = Listener(entrance(QuietLog()), sockets, 10, lambda ends, program: asyncio.Protocol())
    made.start()
    hosts = [address.partition(":")[0] for address in made.addresses]
    for address in made.addresses:
        host, _, port = address.rpartition(":")
        socket.create_connection((host, int(port))).close()
    made.stop()
    assert hosts == ["127.0.0.1", "127.0.0.2"]


def test_limits_from_files() -> None:
    possible = (10_000 - 200 - file_limit.RESERVED_FILES) // 2
    assert file_limit.connection_limit(0, 10_000, 200) == possible
    assert file_limit.connection_limit(500, 10_000, 200) == 500
    assert file_limit.connection_limit(20_000, 10_000, 200) == possible
    assert file_limit.connection_limit(0, 100, 200) == 16


def test_many_idle_connections_to_many_servers_leave_room_for_clients() -> None:
    assert file_limit.idle_limit(100, 1024, 1) == 100
    assert file_limit.idle_limit(100, 1024, 10) == 25
    assert file_limit.idle_limit(0, 1024, 10) == 0


def test_streams_leave_room_for_other_clients_unless_told_otherwise() -> None:
    assert file_limit.stream_limit(0, 800) == 400
    assert file_limit.stream_limit(500, 800) == 500
    assert file_limit.stream_limit(0, 1) == 1


def test_the_file_limit_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = [(1024, 4096)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, wanted: limits.append(wanted))
    assert file_limit.raise_file_limit() == 4096
    assert limits == [(1024, 4096), (4096, 4096)]
    assert file_limit.raise_file_limit() == 4096
    assert len(limits) == 2, "nothing to raise"


def test_a_kernel_that_refuses_leaves_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int, wanted: tuple[int, int]) -> None:
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, resource.RLIM_INFINITY))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    assert file_limit.raise_file_limit() == 1024


# accepting


async def test_accepting_pauses_at_the_limit_and_goes_on_when_there_is_room() -> None:
    async with shielded(limit=10) as (shield, _), contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(await shield.client(source=f"127.1.{n}.1")) for n in range(30)]
        for client in clients:
            await client.send(get("/x"))
        await soon(lambda: shield.told("accepting_paused"))
        for client in clients[:5]:
            assert (await client.response()).status == 200
        assert shield.metrics.connections_open <= 12
        for client in clients:  # those that wait in the backlog are served as others leave
            if not client.buffer and client not in clients[:5]:
                assert (await client.response()).status == 200
            client.close()
        assert shield.told("accepting_resumed")
        await soon(lambda: shield.metrics.connections_open == 0)
        async with await shield.client() as client:
            assert (await client.ask(get("/x"))).status == 200


async def test_connections_that_take_long_to_open_leave_others_their_turn() -> None:
    """A burst of thirty-two TLS handshakes kept everybody else waiting for 16 ms."""
    now, left, runs = 1000.0, 0, [0]

    class Line(asyncio.Protocol):
        def connection_lost(self, exc: Exception | None) -> None:
            nonlocal left
            left += 1

    def make(*_: Any) -> asyncio.Protocol:
        nonlocal now
        if not runs[-1]:
            loop.call_soon(runs.append, 0)  # others have their turn
        runs[-1] += 1
        now += ACCEPT_SECONDS * 0.4
        return Line()

    loop = asyncio.get_running_loop()
    crowded = dataclasses.replace(entrance(QuietLog()), clock=lambda: now)
    sockets = bind(["127.0.0.1:0"], 16, reuse_port=False)
    listener = Listener(crowded, sockets, 100, make)
    clients = [socket.create_connection(sockets[0].getsockname()) for _ in range(8)]
    for each in clients:
        each.sendall(b"GET / HTTP/1.1\r\n")
    listener.start()
    await soon(lambda: sum(runs) == len(clients))
    assert max(runs) == 3
    listener.stop()
    for each in clients:
        each.close()
    await soon(lambda: left == len(clients))


async def test_after_stop_nothing_is_accepted_again() -> None:
    async with shielded(limit=3) as (shield, _):
        async with await shield.client() as one, await shield.client() as two:
            await one.ask(get())
            await two.ask(get())
            shield.listener.stop()
        await soon(lambda: shield.metrics.connections_open == 0)
        shield.listener.check()
        with pytest.raises(ConnectionRefusedError):
            await shield.client()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
async def test_a_kernel_that_has_nothing_left_is_asked_again_later(number: int) -> None:
    class Exhausted:
        """A listening socket for which there is no room for another connection."""

        def __init__(self, sock: socket.socket) -> None:
            self._sock = sock
            self.tries = 0

        def __getattr__(self, name: str) -> Any:
            return getattr(self._sock, name)

        def _accept(self) -> Any:
            self.tries += 1
            if self.tries < 3:
                raise OSError(number, "nothing left")
            return self._sock._accept()  # type: ignore[attr-defined]

    (sock,) = bind(["127.0.0.1:0"], 16, reuse_port=False)
    exhausted: Any = Exhausted(sock)
    log = QuietLog()
    made = Listener(entrance(log), [exhausted], 10, lambda ends, program: asyncio.Protocol())
    made.start()
    with socket.create_connection(sock.getsockname()) as client:
        client.send(b"x")
        for tries in (1, 2):
            await soon(lambda tries=tries: exhausted.tries == tries)
            for _ in range(3):
                await asyncio.sleep(0)
            assert exhausted.tries == tries, "not asked again at once"
            made.check()
        await soon(lambda: exhausted.tries > 2)
    assert [name for name, _ in log.events] == ["out_of_files", "accepting_resumed"] * 2
    made.stop()


OUT_OF_FILES = """
import asyncio, resource, sys, uvloop
sys.path.insert(0, sys.argv[1])
from shield.wire.turns import Turns
from tests.harness import Client, Origin, Shield, get, soon

async def main():
    async with Origin() as origin, Shield(origin.url) as shield:
        async with await shield.client() as warm:
            assert (await warm.ask(get("/warm"))).status == 200
        used = max(int(name) for name in __import__("os").listdir("/proc/self/fd"))
        clients = []
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 24, used + 24))
        try:
            for _ in range(60):
                clients.append(await Client.open(shield.port))
        except OSError:
            pass
        for _ in range(50):
            await asyncio.sleep(0.002)
        print("open", len(clients) > 5, "notes", len(shield.notes) >= 0)
        for client in clients:
            client.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 24, used + 24))
        await soon(lambda: shield.metrics.connections_open == 0)
        shield.listener.check()
        async with await shield.client() as client:
            assert (await client.ask(get("/after"))).body == b"GET /after"
        shield.errors.clear()
    print("served")

uvloop.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc")
def test_running_out_of_descriptors_is_survived() -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", OUT_OF_FILES, str(root)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=root,
    )
    assert done.returncode == 0, done.stderr
    assert "served" in done.stdout
