"""Does what conversation.py says: once for programs that block, once for event loops.

For one origin one pass is bought at a time: requests that are challenged meanwhile wait for it, and share it.
"""

from __future__ import annotations

import contextlib
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from shield.solving.challenge import Budget, origin_of
from shield.solving.conversation import (
    Buy,
    Forward,
    Patience,
    Purchase,
    Reply,
    Send,
    Solve,
    Wait,
    buy,
    converse,
)
from shield.solving.passes import Pass, Passes
from shield.solving.search import Tell, solve

T = TypeVar("T")


class Settings:
    """What a client is made with: the passes it keeps, its budget, and who is told of the progress."""

    def __init__(self, budget: Budget | None, passes: Passes | None, tell: Tell | None) -> None:
        self.budget = Budget() if budget is None else budget
        self.passes = Passes() if passes is None else passes
        self.tell = tell


class _Turn:
    """Who holds a lock on an origin holds this; when nobody does, it goes."""

    def __init__(self, lock: Any) -> None:
        self.lock = lock


class Turns:
    """A lock for each origin, made by `make`."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._guard = threading.Lock()
        self._turns: WeakValueDictionary[str, _Turn] = WeakValueDictionary()

    def of(self, origin: str) -> _Turn:
        """That of an origin; to be held on to while its lock is used."""
        with self._guard:
            turn = self._turns.get(origin)
            if turn is None:
                turn = self._turns[origin] = _Turn(self._make())
            return turn


def carry(settings: Settings, turns: Turns, wire: Wire, url: str) -> None:
    """Carry one request through. The last response that `wire` forwarded is the caller's. SolvingError."""
    origin, patience = origin_of(url), Patience(settings.budget)
    steps = converse(url, settings.budget, patience, settings.passes.get(origin))
    given: Any = None
    with contextlib.suppress(StopIteration), contextlib.closing(steps):
        while True:
            match steps.send(given):
                case Forward(shown):
                    given = wire.forward(shown)
                case Wait(seconds):
                    given = None
                    time.sleep(seconds)
                case Buy() as wanted:
                    turn = turns.of(origin)
                    with turn.lock:
                        given = _another(settings, origin, wanted)
                        if given is None:
                            given = _bought(settings, wire, buy(wanted.challenge, settings.budget, patience))
                            _keep(settings, origin, given)


class Wire(ABC):
    """How one request, and what is said besides, gets to the site."""

    @abstractmethod
    def forward(self, shown: Pass | None) -> Reply:
        """Send the request, with a pass."""

    @abstractmethod
    def send(self, url: str, body: bytes) -> Reply:
        """POST some JSON."""


def _bought(settings: Settings, wire: Wire, steps: Purchase) -> Pass | None:
    given: Any = None
    with contextlib.closing(steps):
        while True:
            try:
                step = steps.send(given)
            except StopIteration as end:
                return _pass(end)
            match step:
                case Solve(challenge):
                    given = solve(challenge, settings.budget, None, settings.tell)
                case Send(url, body):
                    given = wire.send(url, body)
                case Wait(seconds):
                    given = None
                    time.sleep(seconds)


class AsyncWire(ABC):
    """The same for event loops, and what these are called to do."""

    @abstractmethod
    async def forward(self, shown: Pass | None) -> Reply:
        """Send the request, with a pass."""

    @abstractmethod
    async def send(self, url: str, body: bytes) -> Reply:
        """POST some JSON."""

    @abstractmethod
    async def sleep(self, seconds: float) -> None:
        """Wait."""

    @abstractmethod
    async def in_thread(self, work: Callable[[], T]) -> T:
        """Do what blocks; when this is cancelled, without waiting for its end."""


async def carry_async(settings: Settings, turns: Turns, wire: AsyncWire, url: str) -> None:
    """As `carry`. When it is cancelled, a search ends, too."""
    origin, patience = origin_of(url), Patience(settings.budget)
    steps = converse(url, settings.budget, patience, settings.passes.get(origin))
    given: Any = None
    with contextlib.closing(steps):
        while True:
            try:
                step = steps.send(given)
            except StopIteration:
                return
            match step:
                case Forward(shown):
                    given = await wire.forward(shown)
                case Wait(seconds):
                    given = None
                    await wire.sleep(seconds)
                case Buy() as wanted:
                    turn = turns.of(origin)
                    lock: AbstractAsyncContextManager[Any] = turn.lock
                    async with lock:
                        given = _another(settings, origin, wanted)
                        if given is None:
                            given = await _bought_async(
                                settings, wire, buy(wanted.challenge, settings.budget, patience)
                            )
                            _keep(settings, origin, given)


async def _bought_async(settings: Settings, wire: AsyncWire, steps: Purchase) -> Pass | None:
    given: Any = None
    with contextlib.closing(steps):
        while True:
            try:
                step = steps.send(given)
            except StopIteration as end:
                return _pass(end)
            match step:
                case Solve(challenge):
                    with _stopping() as stop:
                        wanted = challenge
                        given = await wire.in_thread(lambda: solve(wanted, settings.budget, stop, settings.tell))  # noqa: B023
                case Send(url, body):
                    given = await wire.send(url, body)
                case Wait(seconds):
                    given = None
                    await wire.sleep(seconds)


@contextlib.contextmanager
def _stopping() -> Iterator[threading.Event]:
    stop = threading.Event()
    try:
        yield stop
    finally:
        stop.set()


def _another(settings: Settings, origin: str, wanted: Buy) -> Pass | None:
    """The pass that somebody has bought while this request was on its way."""
    if wanted.shown is not None:
        settings.passes.drop(origin, wanted.shown)
    return settings.passes.get(origin)


def _keep(settings: Settings, origin: str, bought: Pass | None) -> None:
    if bought is not None:
        settings.passes.keep(origin, bought)


def _pass(end: StopIteration) -> Pass | None:
    found = end.value
    return found if isinstance(found, Pass) else None
