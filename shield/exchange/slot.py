"""Which exchanges hold a concurrency slot, and which go on without one because the service waits for a client.

A slot is held while the service has something to do, and never for the pace of a client:

    a request's body      comes whole before a slot is asked for, in memory or a spool (spool.py). One that is too large
                          is streamed: with a slot as long as the service has what is here to read, then without; its
                          end is held back until it is whole and there is a slot again
    a response            keeps its slot; a client that is slow is read ahead of, and beyond that the slot is given back
    a trickle             a response that the service itself writes below LEAST_PACE gives its slot back: the service
                          mostly waits, as with an event stream
    WebSocket, event      give it back with their head; live are sound, film and a camera's pictures whose length is not
    stream, live media    told: the service makes them as they are played
    a call of gRPC        whose end is not here keeps its slot until its server answers, or has been silent for as long
                          as work takes (Engine.work_takes()): it may be at work on the beginning

Exchanges without a slot are *streams*. There are `upstream.max_streams` *places* for them. A free place is anybody's.
When all are taken, a newcomer gets the place of a stream whose network, address or client has more of them than the
newcomer's would have, and that stream ends; if there is none, the newcomer gets no place (policy/shares.py).

Trickles, and streams whose client merely reads slowly, or sends its body slowly, are *laggards* besides. They are
bounded more narrowly, since a service with a thread for each request is kept busy by these, too: to as many as there
are slots, and as many again for clients with a history. A body that is to be streamed takes its place before it gets
its slot, so that it can give the slot back at any time. Until there is a place it waits. A streamed body whose end gets
no slot, because the queue is full or slow, asks again every ROOM_SECONDS for LATE_SECONDS, as nearly all of it is with
the service.
"""

from __future__ import annotations

from heapq import nsmallest
from typing import TYPE_CHECKING, Final, Protocol, TypeVar, cast

from shield.model import Tier
from shield.policy.shares import Holding, Shares

if TYPE_CHECKING:
    from shield.operator.metrics import Metrics
    from shield.policy.request import Request

LEAST_PACE: Final = 16 * 1024
"""bytes/s of a response's body, as the service writes it, below which it has no claim to a concurrency slot: it makes
that as it goes. A client's pace does not come into it."""
PACE_SECONDS: Final = 1.0
"""s. Over which the pace is measured: a slot that is held for nothing is held so long. Who waits for it waits for twice
as long before being sent away (queue.calm_patience)."""
ROOM_SECONDS: Final = 1.0
"""s. How often it is looked whether there is room for bodies that wait for it."""
LATE_SECONDS: Final = 60.0
"""s. For which the end of a streamed body asks for a slot, once it is here."""
ROOM_LOOKS: Final = 256
"""Bodies that are looked at each time, those with the best claim first."""


T = TypeVar("T")


class Stream(Protocol):
    """An exchange that goes on without a slot, or the tunnel that came of it."""

    def give_way(self, now: float) -> None:
        """End: somebody waits who has less than its client, address or network."""


class Paced(Stream, Protocol):
    """An exchange while a response's body moves."""

    request: Request
    """Whose it is."""
    body_sent: int
    """Bytes of its response's body, as far as it has come."""

    def on_pace(self, now: float) -> None:
        """Its slot's `look_at` has passed."""


class Roomless(Protocol):
    """An exchange whose request's body waits for room."""

    def claim(self) -> tuple[int, int]:
        """Who is served first: the lower tier, then whose body is smaller so far."""

    def on_room(self, now: float) -> None:
        """There may be room now."""


class Streams:
    """What the slots of all exchanges have in common. `places` says who has how many of those among the streams,
    `lagging` which of them are merely slow: strangers, and those with a history. `paced` are those whose response is
    under way while they hold a slot, so their number is bounded by the slots; `waiting` are those whose request's body
    waits for room, or the end of which for a slot."""

    __slots__ = ("_look_at", "_metrics", "lagging", "paced", "places", "slow", "waiting")

    def __init__(self, metrics: Metrics, most: int) -> None:
        """`most` exchanges may go on without a slot at the same time; metrics.streams_open counts them."""
        self._metrics = metrics
        self.places: Shares[Stream] = Shares(most, recallable=True)
        self.lagging: tuple[Shares[Stream], Shares[Stream]] = Shares(0, recallable=True), Shares(0, recallable=True)
        self.slow: Shares[Paced] = Shares(0, recallable=True)  # laggards, and those slow ones that keep their slot
        self.paced: dict[Slot, Paced] = {}
        self.waiting: dict[Roomless, None] = {}
        self._look_at = 0.0

    def __repr__(self) -> str:
        return f"<Streams {self.places.total} of {self.places.most}, {self.laggards} laggards>"

    @property
    def laggards(self) -> int:
        """How many go on without a slot because somebody is slow."""
        return sum(shares.total for shares in self.lagging)

    def roomy(self) -> bool:
        """Whether half of the places are free."""
        return 2 * self.places.total <= self.places.most

    def patient(self, limit: int) -> bool:
        """Whether half of the places for strangers' laggards are free, while there are `limit` slots."""
        return 2 * self.lagging[False].total <= limit

    def may_enter(self, request: Request) -> bool:
        """Whether there is a place for `request`, or one that somebody else must leave to it."""
        places = self.places
        return places.total < places.most or places.gives_way(_holding(None, request), 1) is not None

    def make_room(self, request: Request, now: float) -> bool:
        """Have somebody who has more leave a place to `request`, if none is free. Whether there is one now."""
        places = self.places
        if places.total >= places.most:
            holding = places.gives_way(_holding(None, request), 1)
            if holding is not None:
                holding.owner.give_way(now)
        return places.total < places.most

    def may_lag(self, request: Request, limit: int) -> bool:
        """Whether there is a place for another laggard while there are `limit` slots."""
        return self.lagging[request.tier < Tier.T2].total < limit

    def make_lag_room(self, request: Request, limit: int, now: float) -> bool:
        """Have a laggard of somebody who has more of them leave, if there is no place for another one. Whether there is
        one now."""
        lagging = self.lagging[request.tier < Tier.T2]
        if lagging.total >= limit:
            holding = lagging.gives_way(_holding(None, request), 1)
            if holding is not None:
                holding.owner.give_way(now)
        return lagging.total < limit

    def for_whom(self, waiting: Request) -> Paced | None:
        """The slow exchange that deserves its slot or place less than `waiting` deserves a slot, if there is one: its
        network, or an address of the network, has more of such than the waiting request's would have."""
        holding = self.slow.gives_way(_holding(None, waiting), 1)
        return None if holding is None else holding.owner

    def enter(self, holding: Holding[Stream]) -> None:
        """An exchange goes on without a slot."""
        self.places.add(holding, 1)
        self._metrics.streams_open += 1

    def leave(self, holding: Holding[Stream]) -> None:
        """A stream has its slot again, or has ended."""
        self.places.give(holding, 1)
        self._metrics.streams_open -= 1

    def trickling(self, after: float, now: float) -> list[Paced]:
        """The exchanges whose response has moved too slowly for more than `after` seconds."""
        return [
            exchange
            for slot, exchange in self.paced.items()
            if slot.measured_for(now) > after and not slot.fast_enough(exchange.body_sent, now)
        ]

    def sweep(self, now: float) -> None:
        """Look at each response whose time has come, and now and then for room."""
        for slot, exchange in [entry for entry in self.paced.items() if entry[0].look_at <= now]:
            if slot in self.paced:  # another one may have ended it
                exchange.on_pace(now)
        if self.waiting and self._look_at <= now:
            self._look_at = now + ROOM_SECONDS
            for waiter in nsmallest(ROOM_LOOKS, self.waiting, key=_claim):
                if waiter in self.waiting:
                    waiter.on_room(now)


def _holding(owner: T | None, request: Request) -> Holding[T]:
    client = request.client
    return Holding(cast("T", owner), request.tier, client.key, client.home, client.network)


def _claim(waiter: Roomless) -> tuple[int, int]:
    return waiter.claim()


class Slot:
    """The slot of one exchange, from the moment in which somebody may have to be waited for.

    `returned`: the exchange goes on without the slot; `awaited`: it has asked for it again. `look_at` is when the pace
    of its response is looked at."""

    __slots__ = ("_lag", "_lagging", "_mark", "_place", "_slow", "_streams", "awaited", "look_at", "returned")

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._mark = 0  # bytes that had moved when the measurement began
        self.look_at = 0.0
        self.returned = self.awaited = False
        self._place: Holding[Stream] | None = None  # among the streams
        self._lag: Holding[Stream] | None = None  # among those of `_lagging`, which are the laggards of its kind
        self._lagging = streams.lagging[0]
        self._slow: Holding[Paced] | None = None  # while it is one of the slow ones

    def __repr__(self) -> str:
        return f"<Slot {'returned' if self.returned else 'held'}{' lagging' if self._lag else ''}>"

    def measured(self) -> bool:
        """Whether the pace is being measured."""
        return self in self._streams.paced

    def measure(self, exchange: Paced, moved: int, now: float) -> None:
        """A body is under way, `moved` bytes of it so far: from now on measure how fast."""
        self._streams.paced[self] = exchange
        self.look_at = now + PACE_SECONDS
        self._mark = moved

    def measured_for(self, now: float) -> float:
        """Seconds since measure()."""
        return now - self.look_at + PACE_SECONDS

    def fast_enough(self, moved: int, now: float) -> bool:
        """Whether enough has moved since measure()."""
        return moved - self._mark >= LEAST_PACE * self.measured_for(now)

    def stop_measuring(self) -> None:
        """No body is under way, or it does not matter any more how fast."""
        self._streams.paced.pop(self, None)

    def too_slow(self, exchange: Paced) -> None:
        """Count the exchange among the slow ones."""
        if self._slow is None:
            self._slow = _holding(exchange, exchange.request)
            self._streams.slow.add(self._slow, 1)

    def not_slow(self) -> None:
        """Count the exchange among the slow ones no longer."""
        if self._slow is not None:
            self._streams.slow.give(self._slow, 1)
            self._slow = None

    @property
    def placed(self) -> bool:
        """Whether the exchange has a place among the streams, with its slot or without."""
        return self._place is not None

    def place(self, stream: Stream, request: Request, lagging: bool) -> None:
        """Take a place among the streams for `stream`, which came of `request`; `lagging` if only because somebody is
        slow."""
        streams = self._streams
        place = self._place = _holding(stream, request)
        streams.enter(place)
        if lagging:
            self._lag = _holding(stream, request)
            self._lagging = streams.lagging[request.tier < Tier.T2]
            self._lagging.add(self._lag, 1)

    def give_back(self, stream: Stream, request: Request, lagging: bool) -> None:
        """The exchange goes on without a slot."""
        self.returned = True
        if self._place is None:
            self.place(stream, request, lagging)
        else:
            self._place.owner = stream

    def granted(self) -> None:
        """The exchange has its slot again, and leaves its place among the streams."""
        self.returned = self.awaited = False
        self._leave()

    def end(self) -> None:
        """The exchange is over."""
        self._streams.paced.pop(self, None)
        self._leave()

    def _leave(self) -> None:
        streams = self._streams
        self.not_slow()
        if self._place is not None:
            streams.leave(self._place)
            self._place = None
        if self._lag is not None:
            self._lagging.give(self._lag, 1)
            self._lag = None
