"""What goes over the socket between the supervisor and a worker."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

from shield.config.settings import Config
from shield.process.control import MOST_SILENT, Order, Orders, Silence, first_order, send
from shield.process.share import Share

NULL = Path(os.devnull)
KEYS = (b"1" * 32, None)


def test_the_first_order() -> None:
    ours, theirs = socket.socketpair()
    order = Order("start", Config(dry_run=True), Share(3, KEYS, (7, 8)))
    with ours, theirs:
        ours.sendall(order.data())
        assert first_order(theirs) == order
        ours.sendall(order.data()[:-1])
        ours.close()
        assert first_order(theirs) is None, "the supervisor ended in the middle"


async def test_orders_come_with_their_descriptors_and_in_turn() -> None:
    ours, theirs = socket.socketpair()
    followed: list[Order] = []
    done = asyncio.Event()

    async def follow(order: Order) -> None:
        await asyncio.sleep(0)
        followed.append(order)

    with ours, theirs, NULL.open("rb") as one, NULL.open("rb") as two:  # noqa: ASYNC230
        ours.setblocking(False)
        theirs.setblocking(False)
        orders = Orders(theirs, follow, done.set)
        orders.start()
        numbers = (one.fileno(), two.fileno())
        await send(ours, Order("prepare", Config(), Share(0, KEYS, numbers[:1], numbers[1:])))
        await send(ours, Order("commit"))
        while len(followed) < 2:
            await asyncio.sleep(0)
        ours.close()
        await done.wait()
        await orders.close()
        share = followed[0].share
        assert [order.what for order in followed] == ["prepare", "commit"]
        for number, original in zip((*share.listeners, *share.redirects), numbers, strict=True):
            assert number != original
            assert os.fstat(number).st_rdev == os.fstat(original).st_rdev
            assert not os.get_inheritable(number)
            os.close(number)


def test_a_worker_hangs_when_it_is_silent_for_ten_looks_in_a_row() -> None:
    silence = Silence()
    for _ in range(3):
        assert not any(silence.too_long() for _ in range(MOST_SILENT))
        silence.heard()
    assert [silence.too_long() for _ in range(MOST_SILENT + 2)] == [False] * (MOST_SILENT + 1) + [True]
