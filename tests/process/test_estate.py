"""What one engine has learned, told to another one over a socket."""

from __future__ import annotations

import asyncio
import os
import socket

import pytest

from shield.config.settings import Config
from shield.model import Reason, Signal
from shield.policy.engine import Engine
from shield.policy.keys import Keys
from shield.policy.request import Request
from shield.process import estate
from shield.process.estate import Inheritance

KEYS = Keys(b"1" * 32)
ABOUT = {"servers": ["http://127.0.0.1:1"], "workers": 1}


def engine() -> Engine:
    made = Engine(Config().policy(), KEYS, os.urandom, 1_700_000_000.0, 0)
    made.tick(50.0)
    return made


def now() -> float:
    return 50.0


def ban(policy: Engine, address: str) -> None:
    client = policy.identify(address, "scanner", "", "", 50.0)
    for _ in range(6):
        policy.report(client, Signal.MALFORMED, 50.0)


def bans(policy: Engine, address: str) -> bool:
    client = policy.identify(address, "scanner", "", "", 50.0)
    return policy.decide(Request(client, "GET", "/", {}, None, False, None), 50.0).reason is Reason.CLIENT_BANNED


def pair() -> tuple[socket.socket, socket.socket]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    return ours, theirs


@pytest.mark.parametrize(("server", "limit"), [("http://127.0.0.1:1", 77), ("http://127.0.0.1:2", 20)])
async def test_the_heir_knows_it_all(server: str, limit: int) -> None:
    """More than the socket holds at a time; the limit only before the same service."""
    old, new = engine(), engine()
    for number in range(600):
        ban(old, f"192.0.{number // 250}.{number % 250}")
    old.import_learned([["limit", 77, True, 77.0, False, 1.0]], 50.0)
    ours, theirs = pair()
    giving = asyncio.create_task(estate.give(ours, old, now, ABOUT))
    inheritance = Inheritance(theirs)
    assert await inheritance.take(new, now, {**ABOUT, "servers": [server]})
    await giving
    assert bans(new, "192.0.0.0")
    assert bans(new, "192.0.2.99")
    assert new.concurrency_limit == limit
    assert not bans(new, "198.51.100.1")
    ban(old, "198.51.100.1")  # while the heir serves already
    resting = asyncio.create_task(inheritance.take_rest(new, now, ABOUT))
    await estate.give_rest(ours, old, now)
    ours.close()
    await resting
    assert bans(new, "198.51.100.1")


@pytest.mark.parametrize("said", [b"", b'{"about":{}}\n{"lear', b"no json\n", b'{"other":1}\n'])
async def test_a_giver_that_ends_early_is_told_from_one_that_has_said_it_all(said: bytes) -> None:
    ours, theirs = pair()
    ours.send(said)
    ours.close()
    inheritance = Inheritance(theirs)
    assert not await inheritance.take(engine(), now, ABOUT)
    await inheritance.close()


async def test_an_heir_that_is_gone_is_an_error_of_the_system() -> None:
    ours, theirs = pair()
    theirs.close()
    with pytest.raises(OSError, match="Broken pipe"):
        await estate.give(ours, engine(), now, ABOUT)
    ours.close()
