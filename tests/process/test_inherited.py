"""What one process gives to the one that comes in its place, over a socket between them."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from shield.accept import steering
from shield.accept.pit import ALONE
from shield.errors import StartError
from shield.process import inherited
from shield.process.inherited import VARIABLE, VERSION, Legacy, Predecessor, Predecessors, bequeath, heard, say
from shield.process.shared_sockets import SharedSockets

KEYS = (b"k" * 32, b"o" * 32)


@pytest.fixture
async def ends() -> AsyncIterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    yield ours, theirs
    ours.close()
    theirs.close()


def met(theirs: socket.socket) -> Predecessor:
    """As in a process that was started with this end."""
    environment = {VARIABLE: str(os.dup(theirs.fileno()))}
    found = Predecessor.met(environment)
    assert found is not None
    assert environment == {}, "no child of ours comes in its place"
    return found


def bound(number: int) -> list[socket.socket]:
    return [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]


async def test_everything_goes_over(ends: tuple[socket.socket, socket.socket], capfd: Any) -> None:
    """More descriptors than a message takes."""
    ours, theirs = ends
    workers = 120
    groups = [bound(workers), bound(workers)], [bound(workers)]
    held = SharedSockets.holding((["a:1", "a:2"], ["a:3"]), groups, steering.steering(workers, 7))
    admin, estates = bound(1), bound(workers)
    given = Legacy.of(held, workers, KEYS, ("b:1", admin), estates, [])
    given.rules = [["number", 7], ["rule", {"note": "x" * 2_000_000}]]
    given.stderr = os.open(os.devnull, os.O_WRONLY)
    names = [sock.getsockname() for group in (*groups[0], *groups[1], admin, estates) for sock in group]
    stderr = os.dup(2)
    try:
        giving = asyncio.create_task(bequeath(ours, given))
        heir = await asyncio.to_thread(met, theirs)
        await giving
        found = heir.legacy
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(given.stderr)
    assert (found.workers, found.keys, found.names) == (workers, KEYS, (["a:1", "a:2"], ["a:3"]))
    taken = [sock for group in (*found.groups[0], *found.groups[1], found.admin[1], found.estates) for sock in group]
    assert [sock.getsockname() for sock in taken] == names
    assert not any(os.get_inheritable(sock.fileno()) for sock in taken)
    assert found.rules == given.rules
    assert found.sockets().steers
    assert found.admin_at("another:1") == ()
    heir.refuse("it is a test")
    for each in (given, found):
        each.sockets().close()
        each.close()
    for sock in (*admin, *taken):
        sock.close()


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"{}\n", "makes no sense"),
        (b"[1]\n", "makes no sense"),
        (b'{"version":99}\n', f"speaks version 99 of the handover, and this Shield {VERSION}"),
        (b"no json\n", "cannot come"),
        (b"", "cannot come"),
        (b'{"version":1,"workers":1,"keys":["00",null],"service":[["a",1]],"redirect":[]}\n', "makes no sense"),
    ],
)
async def test_what_makes_no_sense_is_said(ends: tuple[socket.socket, socket.socket], line: bytes, why: str) -> None:
    ours, theirs = ends
    ours.sendall(line)
    ours.close()
    with pytest.raises(StartError, match=why):
        met(theirs)


@pytest.mark.parametrize("number", ["x", "-1", "100000"])
def test_a_descriptor_that_is_none(number: str) -> None:
    with pytest.raises(StartError, match="cannot come in the place"):
        Predecessor.met({VARIABLE: number})
    assert Predecessor.met({}) is None


def alone() -> Legacy:
    return Legacy(1, KEYS, ([], []), ([], []), ALONE)


async def test_they_take_turns(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    await bequeath(ours, alone())
    heir = met(theirs)
    beginning = asyncio.create_task(heir.let_begin())
    assert await heard(ours) == {"ready": os.getpid()}
    await say(ours, {"begin": True})
    await beginning
    begun = asyncio.create_task(heir.begun())
    assert await heard(ours) == {"begun": True}
    await say(ours, {"main": True})
    await begun


async def test_the_one_before_has_ended(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    await bequeath(ours, alone())
    heir = met(theirs)
    ours.close()
    with pytest.raises(StartError, match="the Shield before"):
        await heir.let_begin()
    heir.refuse("too late")


async def test_why_it_cannot_serve_is_said(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    await bequeath(ours, alone())
    met(theirs).refuse("no port")
    assert await heard(ours) == {"error": "no port"}


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="Linux has pidfds")
async def test_processes_before_are_told_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """At most so many are left alone; who has ended is forgotten."""
    monkeypatch.setattr(inherited, "MOST_PREDECESSORS", 2)
    sleeping = [await asyncio.create_subprocess_exec("sleep", "60") for _ in range(4)]
    pidfds = [os.pidfd_open(process.pid) for process in sleeping]
    sleeping[3].kill()
    await sleeping[3].wait()
    others = Predecessors(pidfds)
    assert await sleeping[0].wait() < 0
    living = others.living()
    assert len(living) == 2
    for pidfd in living:
        os.close(pidfd)
    others.stop()
    await others.gone(20.0)
    assert others.living() == []
    assert [await process.wait() for process in sleeping[1:3]] == [-15, -15]
    others.stop()
    await others.gone(0.0)


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="Linux has pidfds")
async def test_whoever_does_not_stop_is_not_waited_for_any_longer() -> None:
    stubborn = await asyncio.create_subprocess_exec("sleep", "60")
    others = Predecessors([os.pidfd_open(stubborn.pid)])
    await others.gone(0.01)
    assert others.living() == []
    stubborn.kill()
    await stubborn.wait()
