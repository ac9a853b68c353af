"""Several engines over one board, with the verbs of one: the kernel's steering and the timers of the processes are
played here. Each network meets one engine; where connections are `spread`, each request meets the next one."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any
from zlib import crc32

from shield.model import Outcome, Signal, Verdict
from shield.policy.board.memory import Board
from shield.policy.board.seat import Seat
from shield.policy.challenge.challenge import Challenge, CheckWork, Redemption, solved
from shield.policy.engine import Engine
from shield.policy.entries import Pass
from shield.policy.identity import Client
from shield.policy.keys import Keys
from shield.policy.pressure.window import IDLE, OwnLoad
from shield.policy.request import Request
from shield.policy.settings import EngineSettings

PLACE = b"\x12\x34"


class Fleet:
    """`engines` are there for tests that look into one."""

    def __init__(
        self,
        settings: EngineSettings,
        keys: Keys,
        entropy: Callable[[int], bytes],
        wall_offset: float,
        concurrency: int,
        check_work: CheckWork = solved,
        *,
        workers: int = 3,
        spread: bool = False,
    ) -> None:
        self.memory = bytearray(Board.size(workers))
        self.memory[: len(PLACE)] = PLACE
        self.board = Board(memoryview(self.memory), workers)
        self._seats = [Seat(self.board, number, spread) for number in range(workers)]
        self._make = lambda number: Engine(
            settings, keys, entropy, wall_offset, concurrency, check_work, self._seats[number]
        )
        self.engines = [self._make(number) for number in range(workers)]
        self.dead: set[int] = set()
        self._spread = spread
        self._turns = itertools.count()
        self._homes: dict[int, tuple[Client, int]] = {}  # by id, which so stays its own
        self._handles: dict[tuple[int, int], Client] = {}  # where connections are spread
        self._tokens: dict[int, tuple[Pass, str]] = {}
        self._asked: dict[int, tuple[Request, int]] = {}

    # the kernel

    def engine_of(self, client: Client) -> int:
        """The engine that a request of a client meets."""
        number = next(self._turns) if self._spread else crc32(client.network.encode())
        alive = [each for each in range(len(self.engines)) if each not in self.dead]
        return alive[number % len(alive)]

    def kill(self, number: int) -> None:
        """A worker dies, and is not replaced yet; its row stays as it is."""
        self.dead.add(number)

    def replace(self, number: int) -> None:
        """It is replaced."""
        self.dead.discard(number)
        self._seats[number] = Seat(self.board, number, self._spread)
        self.renew(number)
        self._handles = {key: client for key, client in self._handles.items() if key[1] != number}

    def renew(self, number: int) -> Engine:
        """Its config is read again: another engine has its seat."""
        self.engines[number] = self._make(number)
        return self.engines[number]

    # the verbs

    def identify(self, address: str, user_agent: str, language: str, ja4: str, now: float) -> Client:
        probe = self.engines[self._alive()].identify(address, user_agent, language, ja4, now)
        number = self.engine_of(probe)
        client = self.engines[number].identify(address, user_agent, language, ja4, now)
        self._handles[id(client), number] = client
        self._homes[id(client)] = client, number
        return client

    def _alive(self) -> int:
        return next(number for number in range(len(self.engines)) if number not in self.dead)

    def _at(self, client: Client, number: int, now: float) -> Client:
        """The handle that a worker has on a client."""
        handle = self._handles.get((id(client), number))
        if handle is None:
            handle = self.engines[number].identify(client.address, client.user_agent, client.language, client.ja4, now)
            self._handles[id(client), number] = handle
        return handle

    def present(self, token: str, now: float) -> Pass | None:
        found = self.engines[self._alive()].present(token, now)
        if found is not None:
            self._tokens[id(found)] = found, token
        return found

    def decide(self, request: Request, now: float) -> Verdict:
        number = self.engine_of(request.client)
        engine = self.engines[number]
        request.client = self._at(request.client, number, now)
        if request.shown_pass is not None:
            request.shown_pass = engine.present(self._tokens[id(request.shown_pass)][1], now)
        self._asked[id(request)] = request, number
        return engine.decide(request, now)

    def _engine(self, request: Request) -> Engine:
        return self.engines[self._asked[id(request)][1]]

    def learn(self, request: Request, outcome: Outcome, now: float) -> Sequence[Request]:
        return self._engine(request).learn(request, outcome, now)

    def cancel(self, request: Request, now: float, at_work: bool = False) -> Sequence[Request]:
        return self._engine(request).cancel(request, now, at_work)

    def release(self, request: Request, now: float) -> Sequence[Request]:
        return self._engine(request).release(request, now)

    def long_after(self, now: float) -> float:
        return min(engine.long_after(now) for number, engine in enumerate(self.engines) if number not in self.dead)

    def make_way(self, silent: Sequence[Request], now: float) -> list[Request]:
        """Each worker looks at its own."""
        changed: list[Request] = []
        for engine in self.engines:
            if engine.long_after(now) < math.inf:
                changed += engine.make_way([request for request in silent if self._engine(request) is engine], now)
        return changed

    def enter(self, request: Request, now: float) -> Verdict:
        return self._engine(request).enter(request, now)

    def mint(self, request: Request, now: float) -> Challenge:
        return self._engine(request).mint(request, now)

    def redeem(self, client: Client, token: str, nonces: Sequence[int], now: float) -> Redemption:
        number = self.engine_of(client)
        return self.engines[number].redeem(self._at(client, number, now), token, nonces, now)

    def claim(self, client: Client, ticket: str, now: float) -> Redemption:
        number = self.engine_of(client)
        return self.engines[number].claim(self._at(client, number, now), ticket, now)

    def grant(self, request: Request, now: float) -> str | None:
        return self._engine(request).grant(request, now)

    def report(self, who: Client, signal: Signal, now: float) -> None:
        number = self.engine_of(who)
        self.engines[number].report(self._at(who, number, now), signal, now)

    def tick(self, now: float, own: OwnLoad = IDLE) -> list[Request]:
        """All look, and then all look again: in a process 20 ms lie between two looks."""
        alive = [engine for number, engine in enumerate(self.engines) if number not in self.dead]
        return [request for engine in (*reversed(alive), *alive) for request in engine.tick(now, own)]

    def events(self) -> list[Any]:
        return [
            event for number, engine in enumerate(self.engines) if number not in self.dead for event in engine.events()
        ]

    def status(self, now: float) -> Any:
        """That of the worker that leads."""
        return self.engines[self._alive()].status(now)

    def _one(self, of: Callable[[Engine], Any]) -> Any:
        """What is so for all of them alike."""
        values = {of(engine) for number, engine in enumerate(self.engines) if number not in self.dead}
        assert len(values) == 1, values
        return values.pop()

    @property
    def shared(self) -> bool:
        return self._one(lambda engine: engine.shared)

    @property
    def waiting(self) -> int:
        return sum(engine.waiting for number, engine in enumerate(self.engines) if number not in self.dead)

    @property
    def in_flight(self) -> int:
        return sum(engine.in_flight for number, engine in enumerate(self.engines) if number not in self.dead)

    @property
    def pressure(self) -> float:
        return self._one(lambda engine: engine.pressure)

    @property
    def pressed(self) -> bool:
        return self._one(lambda engine: engine.pressed)

    @property
    def attack(self) -> bool:
        return self._one(lambda engine: engine.attack)
