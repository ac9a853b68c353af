"""One of several workers: `python -m shield.process.worker N`, started by its supervisor alone.

Its standard input is a socket to the supervisor (control.py). Over it come the config and the share, and orders to go
by others; back go lines of JSON: the answer to each, {} or {"error": "..."}, a beat every second, by which the
supervisor sees that the worker does not hang, {"dropped": [...]} whenever connections of other addresses are to be
dropped, and {"changes": [...]} when rules were changed at other machines. When the supervisor is gone, however it went,
the socket reads as ended, and the worker drains and ends; it goes on for a while where the next supervisor gets the
same sockets (orphans.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import orjson
import uvloop

from shield.errors import StartError
from shield.policy.cluster.changes import Change
from shield.process import signals
from shield.process.control import BEAT_SECONDS, Order, Orders, first_order, say
from shield.process.dropper import Dropped
from shield.process.generations import Generations
from shield.process.orphans import followed
from shield.wire.addresses import UnixAddress, parse_address

NOT_STARTED: Final = 3
"""Exit status, as that of the command line."""

MOST_DROPPED: Final = 2048
"""Addresses in a message: more do not fit into a program of the kernel (accept/dropping.py)."""

OF_THE_TERMINAL: Final = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)
"""Signals that reach everybody at a terminal; the supervisor sees to them."""


def main() -> int:
    for number in OF_THE_TERMINAL:
        signal.signal(number, signal.SIG_IGN)
    with socket.socket(fileno=os.dup(0)) as control:
        order = first_order(control)
        if order is None:
            return NOT_STARTED  # the supervisor ended first
        try:
            uvloop.run(_work(order, control))
        except StartError as error:
            say(control, {"error": str(error)})
            return NOT_STARTED
    return 0


async def _work(first: Order, control: socket.socket) -> None:
    config, share = first.config, first.share
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    orphan = False
    kept = share.kept
    watched = os.dup(share.listeners[0]) if kept else -1
    outliving: list[asyncio.Task[None]] = []
    teller = Teller(control)
    generations = Generations(share, teller, rules=first.rules, adopt=teller.changed)
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGUSR1, generations.reopen)
    loop.add_signal_handler(signal.SIGUSR2, signals.ignore, signal.SIGUSR2, generations.event)

    def abandoned() -> None:
        """The supervisor says nothing more, so this is its end. Nobody else will remove the directory of sockets."""
        nonlocal orphan
        orphan = True
        if kept and not stop.is_set():
            outliving.append(loop.create_task(outlive()))
        else:
            stop.set()

    async def outlive() -> None:
        """Go on until another supervisor's workers serve, and then with the connections that are here."""
        generations.outlive(True)
        if await followed(watched, loop.time):
            loop.call_later(generations.step_aside(stop.set), stop.set)
        else:
            generations.outlive(False)
            stop.set()

    async def follow(order: Order) -> None:
        """Carry out an order, and answer it."""
        nonlocal kept
        answer: dict[str, Any] = {}
        try:
            match order.what:
                case "prepare":
                    kept = kept and order.share.kept
                    await generations.prepare(order.config, order.share)
                case "commit":
                    await generations.commit()
                case "give":
                    await give(order.share.listeners[0])
                case "leave":
                    await leave()
                case "rules":
                    answer["pardoned"] = list(await generations.follow(order.rules, order.pardon))
                case _:
                    await generations.drop()
        except (StartError, OSError) as error:
            answer = {"error": str(error)}
        except Exception as error:
            answer = {"error": f"a bug in Shield: {error!r}"}
            raise
        finally:
            await teller.answer(answer)

    heirs: list[socket.socket] = []

    async def give(descriptor: int) -> None:
        """To a worker that is to come in the place of this one; who was told before has not come."""
        while heirs:
            heirs.pop().close()
        heirs.append(socket.socket(fileno=descriptor))
        heirs[0].setblocking(False)
        await generations.give(heirs[0])

    async def leave() -> None:
        with heirs.pop() as heir:
            await generations.leave(heir)
        generations.when_left(stop.set)

    def beat() -> None:
        teller.beat()
        loop.call_later(BEAT_SECONDS, beat)  # for as long as the loop runs

    orders = Orders(control, follow, abandoned)
    try:
        if share.estate < 0:
            await generations.start(config)
        else:
            await generations.prepare(config, share)
        control.setblocking(False)
        orders.start()
        await teller.answer({})
        beat()
        await stop.wait()
        await orders.close()
        await generations.drain()
    finally:
        await generations.close()
    address = parse_address(config.admin.address)
    if orphan and isinstance(address, UnixAddress):
        with contextlib.suppress(OSError):  # others are in it; the last one succeeds
            Path(address.path).parent.rmdir()


class Teller:
    """Tells the supervisor, one whole line after the other: answers to its orders, that this worker does not hang, and
    whose new connections are to be dropped: `{"dropped": [[address, until], ...]}`.

    Besides, what was changed at other machines: `{"changes": [[kind, subject, rule or null], ...], "pardons": [...]}`.

    A list may be longer than what a socket takes at once while the supervisor is busy. Nothing is said in the middle of
    it.
    """

    __slots__ = ("_control", "_saying", "_tasks")

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._saying = asyncio.Lock()
        self._tasks: dict[str, asyncio.Task[None]] = {}  # the last one, by what it says

    async def answer(self, answer: dict[str, Any]) -> None:
        """Answer an order."""
        async with self._saying:
            with contextlib.suppress(OSError):  # the supervisor is gone, which is told by other means
                line = orjson.dumps(answer, option=orjson.OPT_APPEND_NEWLINE)
                await asyncio.get_running_loop().sock_sendall(self._control, line)

    def beat(self) -> None:
        """Say that this worker does not hang, unless the last time is still on its way."""
        self._say("beat", True)

    async def changed(self, changes: Sequence[Change], pardons: Sequence[str]) -> None:
        """Have the book changed."""
        said = [[*slot, None if rule is None else rule.plain()] for slot, rule in changes]
        await self.answer({"changes": said, "pardons": list(pardons)})

    def __call__(self, dropped: Sequence[Dropped]) -> bool:
        """Say the first MOST_DROPPED; False while the last ones are still on their way."""
        return self._say("dropped", dropped[:MOST_DROPPED])

    def _say(self, what: str, value: Any) -> bool:
        last = self._tasks.get(what)
        if last is not None and not last.done():
            return False
        self._tasks[what] = asyncio.get_running_loop().create_task(self.answer({what: value}))
        return True


if __name__ == "__main__":
    raise SystemExit(main())
