"""Why a client connection waits, since when, and for how long it may.

A connection waits for one thing at a time, and each has its limit:

    what for           limit                          and then
    -----------------  -----------------------------  ----------------------------------
    head               timeouts.header                408, a strike against the client
    last head          LAST_SECONDS                   as head: Shield is stopping
    body               timeouts.progress, min_rate    408; under pressure a strike if little of it has come
    client reading     timeouts.progress, min_rate    reset
    next request       timeouts.keep_alive            closed
    queue              - (queue.*)
    connecting         - (upstream.connect_timeout)
    first byte         upstream.first_byte_timeout    504
    upstream reading   upstream.first_byte_timeout    504
    next byte          upstream.idle_timeout          the response is cut
    next event         upstream.tunnel_idle_timeout   the stream is cut
    tunnel             upstream.tunnel_idle_timeout   closed
    rest of a body     timeouts.progress              reset
    lingering          timeouts.linger                reset
    closing            timeouts.progress              reset
    nothing            -

A body, and a client that reads, may rest for timeouts.pause in calm weather, and always if the client is known. One
that reads, is known or in calm weather plays something, and holds nothing that is short, may rest on for as long as a
connection lives.

The newest wait is the one that counts. A verb costs two or three stores (0.05 µs) and no timer: Sweep looks at
`deadline` once a second.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

from annotated_types import Ge, Gt, Le
from typing_extensions import Doc

from shield.marks import Unit, Why

if TYPE_CHECKING:
    from shield.upstream.settings import UpstreamSettings

NEVER: Final = float("inf")
LAST_SECONDS: Final = 1.0
"""s. For the first request of a connection that was accepted in the moment in which Shield began to stop."""

(
    HEAD,
    LAST_HEAD,
    BODY,
    CLIENT_READING,
    NEXT_REQUEST,
    QUEUE,
    CONNECTING,
    FIRST_BYTE,
    UPSTREAM_READING,
    NEXT_BYTE,
    NEXT_EVENT,
    TUNNEL,
    REST,
    LINGERING,
    CLOSING,
    NOTHING,
) = range(16)
_RESTS: Final = frozenset({BODY, CLIENT_READING})
_ENDING: Final = frozenset({CLOSING, LINGERING})
WAITS: Final = (
    "head",
    "last head",
    "body",
    "client reading",
    "next request",
    "queue",
    "connecting",
    "first byte",
    "upstream reading",
    "next byte",
    "next event",
    "tunnel",
    "rest of a body",
    "lingering",
    "closing",
    "nothing",
)


@dataclass(frozen=True, slots=True)
class TimeoutSettings:
    """The [timeouts] table: how long a client may take. Those for the upstream are in [upstream]."""

    header: Annotated[
        float,
        Gt(0),
        Le(300),
        Unit("s"),
        Doc("Time for a request's head, from its first byte; 408 beyond."),
        Why(
            "Precedent", "Apache's mod_reqtimeout allows 20 s at first, nginx 60 s; a head fits into one or two packets"
        ),
    ] = 10.0
    keep_alive: Annotated[
        float,
        Gt(0),
        Le(3600),
        Unit("s"),
        Doc("Time between two requests of a connection."),
        Why("Precedent", "nginx's keepalive_timeout"),
    ] = 75.0
    connection: Annotated[
        float,
        Gt(0),
        Unit("s"),
        Doc("Life of a connection, after which the next answer ends it (Connection: close). WebSockets stay."),
        Why("Precedent", "nginx's keepalive_time"),
    ] = 3600.0
    progress: Annotated[
        float,
        Gt(0),
        Le(300),
        Unit("s"),
        Doc("Time within which a body, in either direction, must have moved by min_rate times this."),
        Why("Precedent", "Apache's mod_reqtimeout: body=20"),
    ] = 20.0
    min_rate: Annotated[
        int,
        Ge(0),
        Le(1 << 20),
        Unit("bytes/s"),
        Doc("Least payload rate of an upload and of a client that reads a response; 0 is none."),
        Why("Precedent", "Apache's mod_reqtimeout: MinRate=500"),
    ] = 500
    pause: Annotated[
        float,
        Ge(0),
        Le(3600),
        Unit("s"),
        Doc(
            "Time for which a client may rest: read less than min_rate of a response, or nothing, as media players do "
            "that have enough for now, or send no more of a body that it has begun, as a phone in a tunnel. In calm "
            "weather everybody may, under pressure those with a history or a pass. These, and in calm weather whoever "
            "has read 256 KiB, may rest on while they read, for timeouts.connection at most, as long as half of the "
            "places for streams and of the memory for reading ahead is free. 0 is progress, for everybody."
        ),
        Why(
            "Chosen",
            "half as long again as nginx's timeouts of 60 s: less cuts media players that rest; "
            "more keeps their connections and buffers, which are bounded",
        ),
    ] = 90.0
    linger: Annotated[
        float,
        Gt(0),
        Le(30),
        Unit("s"),
        Doc(
            "Time after an error in which what the client still sends is read and dropped, so that it sees the answer."
        ),
        Why(
            "Chosen",
            "two round trips of a bad line. Less, and a client that still sends may lose the "
            "answer; nginx's lingering_timeout is 5 s",
        ),
    ] = 2.0
    drain: Annotated[
        float,
        Ge(0),
        Le(3600),
        Unit("s"),
        Doc("Time after SIGTERM in which requests in flight may end."),
        Why("Precedent", "the grace period of Kubernetes"),
    ] = 30.0


class Limits:
    """How long a wait may take, in seconds, for all connections: the [timeouts] table, and of [upstream] what the
    upstream may take. `least` is in bytes: what must move within `progress`."""

    __slots__ = ("first_byte", "head", "idle", "keep_alive", "least", "life", "linger", "pause", "progress", "tunnel")

    def __init__(self, client: TimeoutSettings, upstream: UpstreamSettings) -> None:
        self.head = client.header
        self.keep_alive = client.keep_alive
        self.life = client.connection
        self.progress = client.progress
        self.least = client.min_rate * client.progress
        self.linger = client.linger
        self.pause = client.pause
        self.first_byte = upstream.first_byte_timeout
        self.idle = upstream.idle_timeout
        self.tunnel = upstream.tunnel_idle_timeout

    def but(self, first_byte: float | None, idle: float | None) -> Limits:
        """The same with other limits for the upstream, where they are given."""
        other = copy(self)
        other.first_byte = self.first_byte if first_byte is None else first_byte
        other.idle = self.idle if idle is None else idle
        return other


class Watch:
    """What one client connection waits for: `why`, one of WAITS by number, and until when, its `deadline` in monotonic
    seconds. `expires` is when the connection has lived long enough, `limits` how long its waits may take. Most of the
    verbs are those of exchange.ports.Waits; `shard` is Sweep's."""

    __slots__ = ("_mark", "_since", "deadline", "expires", "limits", "shard", "why")

    def __init__(self, limits: Limits, now: float, last: bool) -> None:
        """A new connection waits for its first request, which is the `last` one if Shield is stopping."""
        self.limits = limits
        self._mark = 0  # bytes that had moved when the wait began, where the pace matters
        self._since = 0.0  # when the client was last seen to move, while it is its turn
        self.why = LAST_HEAD if last else HEAD
        self.deadline = now + (LAST_SECONDS if last else limits.head)
        self.expires = now + limits.life
        self.shard = 0

    def __repr__(self) -> str:
        until = "" if self.deadline == NEVER else f" until {self.deadline:.1f}"
        return f"<Watch {WAITS[self.why]}{until}>"

    # for the client

    def head(self, now: float) -> None:
        """The rest of a request's head."""
        self.why = HEAD
        self.deadline = now + self.limits.head

    def next_request(self, now: float, moved: int) -> None:
        """The next request; `moved` bytes were sent to the client so far, which need not have taken them yet."""
        self.why = NEXT_REQUEST
        self.deadline = now + self.limits.keep_alive
        self._mark = moved

    def body(self, now: float, moved: int) -> None:
        """The client sends the request's body; `moved` bytes of it have come."""
        self.why = BODY
        self.deadline = now + self.limits.progress
        self._mark = moved
        self._since = now

    def client_reading(self, now: float, moved: int) -> None:
        """The client takes what waits for it; it has taken `moved` bytes so far."""
        self.why = CLIENT_READING
        self.deadline = now + self.limits.progress
        self._mark = moved
        self._since = now

    def pause(self, now: float) -> bool:
        """The client rests: wait on for it. Whether it may for so long."""
        until = self._since + self.limits.pause
        if self.why not in _RESTS or now >= until:
            return False
        self.deadline = min(now + self.limits.progress, until)
        return True

    def stay(self, now: float) -> bool:
        """The client rests, and holds nothing that is short: wait on for it. Whether it may, and lives that long."""
        if self.why != CLIENT_READING or not self.limits.pause or now >= self.expires:
            return False
        self.deadline = now + self.limits.progress
        return True

    def rest(self, now: float) -> None:
        """The rest of a body that nobody wants."""
        self.why = REST
        self.deadline = now + self.limits.progress

    def lingering(self, now: float) -> None:
        """The client's end, after an early reply."""
        self.why = LINGERING
        self.deadline = now + self.limits.linger

    def closing(self, now: float) -> None:
        """The transport, which has the last bytes."""
        self.why = CLOSING
        self.deadline = now + self.limits.progress

    def nothing(self) -> None:
        """It is over."""
        self.why = NOTHING
        self.deadline = NEVER

    # for the upstream

    def queue(self) -> None:
        """A concurrency slot."""
        self.why = QUEUE
        self.deadline = NEVER

    def connecting(self) -> None:
        """A connection to a server."""
        self.why = CONNECTING
        self.deadline = NEVER

    def first_byte(self, now: float) -> None:
        """The head of the response."""
        self.why = FIRST_BYTE
        self.deadline = now + self.limits.first_byte

    def upstream_reading(self, now: float) -> None:
        """The server, which takes no more of the body for now."""
        self.why = UPSTREAM_READING
        self.deadline = now + self.limits.first_byte

    def next_byte(self, now: float) -> None:
        """More of the response."""
        self.why = NEXT_BYTE
        self.deadline = now + self.limits.idle

    def next_event(self, now: float) -> None:
        """More of a response that is made as things happen."""
        self.why = NEXT_EVENT
        self.deadline = now + self.limits.tunnel

    def tunnel(self, now: float) -> None:
        """Bytes of a tunnel."""
        self.why = TUNNEL
        self.deadline = now + self.limits.tunnel

    def met(self) -> None:
        """The deadline has come, once. Were whoever is told of it to fail, the others would wait behind it for ever."""
        self.deadline = NEVER

    # whether it has been worth waiting

    def answered(self) -> float:
        """Since when nothing but the client's reading is waited for, as far as can be seen; NEVER if anything else
        is."""
        limits, why = self.limits, self.why
        if why == CLIENT_READING:
            return self._since
        if why == NEXT_REQUEST:
            return self.deadline - limits.keep_alive
        return self.deadline - (limits.progress if why == CLOSING else limits.linger) if why in _ENDING else NEVER

    def enough(self, moved: int) -> bool:
        """Whether `moved` bytes in all are so many that who sent them is no slow one, but rests."""
        return moved >= self.limits.least

    def kept_pace(self, moved: int) -> bool:
        """Whether enough has moved since the wait began. True as well when nobody has looked since the last bytes were
        handed over: less had been taken than the mark says."""
        moved -= self._mark
        return moved < 0 or moved >= self.limits.least
