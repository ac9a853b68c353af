"""What goes over the socket between the supervisor and a worker.

    to the worker     orders: a length in 4 bytes, then as many bytes, pickled; with "prepare", descriptors (SCM_RIGHTS)
    to the supervisor lines of JSON: an answer to each order in turn, and beats between them

The other end is our parent or child and the socket has no name, so what comes may be unpickled.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import pickle
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final

import orjson

from shield.config.settings import Config
from shield.policy.rules.rule import Rule
from shield.process.share import Share

BEAT_SECONDS: Final = 1.0
"""How often a worker says that it does not hang."""
READ_BYTES: Final = 65_536
MOST_SILENT: Final = 10
"""Beats in a row that a worker which does not hang may leave out."""
MOST_DESCRIPTORS: Final = 253
"""Of one message: SCM_MAX_FD of the kernel."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a worker is to do: "prepare" a service by another config, let it begin ("commit"), or "drop" it. "give" what
    was learned over the one descriptor that comes, and "leave" for whom it was given to. Go by other "rules" of the
    operator's, and forget what was done to `pardon`, unless that is "". The first order has rules, too."""

    what: str
    config: Config = field(default_factory=Config)
    share: Share = field(default_factory=lambda: Share(0, (b"", None), ()))
    rules: tuple[Rule, ...] = ()
    pardon: str = ""

    def data(self) -> bytes:
        """As it is sent."""
        data = pickle.dumps(self)
        return len(data).to_bytes(4, "big") + data


class Silence:
    """How long a worker has said nothing, in looks a beat apart; time in which nobody could look does not count."""

    __slots__ = ("_heard", "_looks")

    def __init__(self) -> None:
        self._heard = False  # since the last look
        self._looks = 0

    def heard(self) -> None:
        """A beat has come."""
        self._heard = True

    def too_long(self) -> bool:
        """Look, once every BEAT_SECONDS: whether the worker hangs."""
        self._looks = 0 if self._heard else self._looks + 1
        self._heard = False
        return self._looks > MOST_SILENT


def first_order(control: socket.socket) -> Order | None:
    """The order that a worker is started with; its descriptors were inherited. None when the supervisor has ended."""
    with control.makefile("rb") as stream:
        size = int.from_bytes(stream.read(4), "big")
        data = stream.read(size)
    return _read(data) if size and len(data) == size else None


def say(control: socket.socket, message: dict[str, Any]) -> None:
    """Send a line to the supervisor, unless it does not listen any more."""
    with contextlib.suppress(OSError):
        control.sendall(orjson.dumps(message, option=orjson.OPT_APPEND_NEWLINE))


async def send(control: socket.socket, order: Order) -> None:
    """Send an order to a worker, with the descriptors that its share names. Raises OSError."""
    data, descriptors = order.data(), [*order.share.listeners, *order.share.redirects]
    sent = socket.send_fds(control, [data], descriptors) if descriptors else 0
    await asyncio.get_running_loop().sock_sendall(control, data[sent:])


class Orders:
    """Reads a worker's orders, from `start` to `close`: `follow` carries them out, one after the other; `ended` is
    called when the supervisor has gone."""

    __slots__ = ("_control", "_data", "_descriptors", "_ended", "_follow", "_queue", "_task")

    def __init__(
        self, control: socket.socket, follow: Callable[[Order], Awaitable[None]], ended: Callable[[], None]
    ) -> None:
        self._control = control
        self._follow = follow
        self._ended = ended
        self._data = b""
        self._descriptors: list[int] = []
        self._queue: asyncio.Queue[Order] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Read from now on."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._control, self._readable)
        self._task = loop.create_task(self._work())

    async def close(self) -> None:
        """Follow no more orders."""
        asyncio.get_running_loop().remove_reader(self._control)
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _work(self) -> None:
        while True:
            order = await self._queue.get()
            try:
                await self._follow(order)
            except Exception as error:
                asyncio.get_running_loop().call_exception_handler({"message": order.what, "exception": error})

    def _readable(self) -> None:
        try:
            data, descriptors = _receive(self._control)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data, descriptors = b"", []
        if not data:
            asyncio.get_running_loop().remove_reader(self._control)
            self._ended()
            return
        self._data += data
        self._descriptors += descriptors
        while len(self._data) >= 4 and len(self._data) >= (end := 4 + int.from_bytes(self._data[:4], "big")):
            order, self._data = _read(self._data[4:end]), self._data[end:]
            share = order.share
            count = len(share.listeners)
            both = count + len(share.redirects)
            mine, self._descriptors = self._descriptors[:both], self._descriptors[both:]
            share = replace(share, listeners=tuple(mine[:count]), redirects=tuple(mine[count:]))
            self._queue.put_nowait(replace(order, share=share))


def _receive(control: socket.socket) -> tuple[bytes, list[int]]:
    """As socket.recv_fds(), but no child inherits what comes."""
    space = socket.CMSG_SPACE(MOST_DESCRIPTORS * array.array("i").itemsize)
    data, messages, _, _ = control.recvmsg(READ_BYTES, space, socket.MSG_CMSG_CLOEXEC)
    descriptors = array.array("i")
    for level, kind, content in messages:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(content[: len(content) - len(content) % descriptors.itemsize])
    return data, list(descriptors)


def _read(data: bytes) -> Order:
    order: Order = pickle.loads(data)  # noqa: S301 - see above
    return order
