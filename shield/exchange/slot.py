"""Which exchanges hold a concurrency slot, and which go on without one because they wait for somebody for long.

A WebSocket and an event stream give their slot back with their head. So does any response whose client is slow when
there is no room to read ahead of it, and any body, up or down, that moves more slowly than LEAST_PACE. All of these are
streams, at most `upstream.max_streams`; those that are merely slow are laggards besides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from shield.operator.metrics import Metrics

LEAST_PACE: Final = 16 * 1024
"""bytes/s of a body, in both directions together, below which a request has no claim to a concurrency slot. Slow lines
of phones carry several times that; what a service writes more slowly it makes as it goes."""
PACE_SECONDS: Final = 1.0
"""s. Over which the pace is measured: a slot that is held for nothing is held so long. Who waits for it waits for twice
as long before being sent away (queue.calm_patience)."""


class Paced(Protocol):
    """An exchange while a body of it moves."""

    def on_pace(self, now: float) -> None:
        """Its slot's `look_at` has passed."""


class Streams:
    """What the slots of all exchanges have in common. `paced` are those whose body is under way while they hold one,
    so their number is bounded by the slots."""

    __slots__ = ("_metrics", "laggards", "most", "paced")

    def __init__(self, metrics: Metrics, most: int) -> None:
        """`most` exchanges may go on without a slot at the same time; metrics.streams_open counts them."""
        self._metrics = metrics
        self.most = most
        self.laggards = 0
        self.paced: dict[Slot, Paced] = {}

    def __repr__(self) -> str:
        return f"<Streams {self._metrics.streams_open} of {self.most}, {self.laggards} laggards>"

    def full(self) -> bool:
        """Whether no other exchange can go on without a slot."""
        return self._metrics.streams_open >= self.most

    def add(self, number: int) -> None:
        """So many more go on without a slot, or fewer."""
        self._metrics.streams_open += number

    def sweep(self, now: float) -> None:
        """Look at each body whose time has come."""
        for slot, exchange in [entry for entry in self.paced.items() if entry[0].look_at <= now]:
            if slot in self.paced:  # another one may have ended it
                exchange.on_pace(now)


class Slot:
    """The slot of one exchange, from the moment in which somebody may have to be waited for. `returned`: the exchange
    goes on without; `look_at` is when the pace of its body is looked at."""

    __slots__ = ("_lagging", "_mark", "_streams", "look_at", "returned")

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._mark = 0  # bytes that had moved when the measurement began
        self.look_at = 0.0
        self.returned = False
        self._lagging = False

    def __repr__(self) -> str:
        return f"<Slot {'returned' if self.returned else 'held'}{' lagging' if self._lagging else ''}>"

    def measured(self) -> bool:
        """Whether the pace is being measured."""
        return self in self._streams.paced

    def measure(self, exchange: Paced, moved: int, now: float) -> None:
        """A body is under way, `moved` bytes of it so far: from now on measure how fast."""
        self._streams.paced[self] = exchange
        self.look_at = now + PACE_SECONDS
        self._mark = moved

    def fast_enough(self, moved: int, now: float) -> bool:
        """Whether enough has moved since measure()."""
        return moved - self._mark >= LEAST_PACE * (now - self.look_at + PACE_SECONDS)

    def stop_measuring(self) -> None:
        """No body is under way, or it does not matter any more how fast."""
        self._streams.paced.pop(self, None)

    def give_back(self, lagging: bool) -> None:
        """The exchange goes on without a slot; `lagging` if only because it is slow."""
        self.returned = True
        self._streams.add(1)
        if lagging:
            self._lagging = True
            self._streams.laggards += 1

    def end(self) -> None:
        """The exchange is over."""
        streams = self._streams
        streams.paced.pop(self, None)
        if self.returned:
            streams.add(-1)
        if self._lagging:
            streams.laggards -= 1
