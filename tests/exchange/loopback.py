"""A client's side without a client: requests come from a list, and what each is answered is a value.

It stands over exchange/ports.py where client/connection.py stands, and like a connection of HTTP/2 it has as many
requests under way as there are streams. Policy, exchange and upstream are the real ones.

    Loopback -- Stream, Stream, ... -> Exchange -> UpstreamConnection -> Origin (raw socket)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from shield.exchange.exchange import Exchange
from shield.exchange.ports import Passage, Seen
from shield.http.head import Head
from shield.model import Action, Fault
from shield.policy.request import Request
from shield.wire.proxy_protocol import Ends
from shield.wire.splice import Pipe
from tests.harness import Shield, soon

ADDRESS: Final = "198.51.100.7"


@dataclass(slots=True)
class Asked:
    """A request. `body` comes in pieces, one after the other."""

    path: str
    method: str = "GET"
    body: tuple[bytes, ...] = ()
    websocket_key: str = ""

    def head(self) -> Head:
        head = Head()
        head.method, head.target, head.path = self.method, self.path, self.path
        head.host = b"a.example"
        head.fields = [b"Accept: */*\r\n"]
        head.headers = {}  # type: ignore[assignment]
        head.length = sum(map(len, self.body))
        if self.websocket_key:
            head.upgrade = b"websocket"
            head.fields.append(f"Sec-WebSocket-Key: {self.websocket_key}\r\n".encode())
            head.headers = {"Sec-WebSocket-Key": self.websocket_key}  # type: ignore[assignment]
        return head


@dataclass(slots=True)
class Stream:
    """One request's end at the client (exchange.ports.ClientSide), and what came of it."""

    loopback: Loopback
    name: str
    secure: bool = True
    ja4: str = ""
    blocked: bool = False
    # what came of it
    interims: list[int] = field(default_factory=list)
    status: int = 0
    fields: list[bytes] = field(default_factory=list)
    content: bytes = b""
    tunnelled: bytes = b""
    seen: Seen | None = None
    fault: Fault | None = None
    waited_for: list[str] = field(default_factory=list)
    paused: int = 0
    passage: Passage | None = None
    exchange: Exchange | None = None

    # exchange.ports.ClientSide

    @property
    def watch(self) -> Stream:
        return self

    @property
    def flow(self) -> Stream:
        return self

    @property
    def response(self) -> Stream:
        return self

    def ends_of(self, address: str) -> Ends:
        return Ends(address, 0, "203.0.113.1", 443)

    def expect_progress(self, now: float) -> None:
        self.waited_for.append("client")

    def read_ahead(self, now: float) -> bool:
        return False

    def shortcut(self, pipe: Pipe) -> None:
        return None  # a stream's payload is framed

    def passed(self, size: int) -> None:
        raise AssertionError("by no shortcut")

    def flush(self) -> None:
        self.loopback.order.append(self.name)

    def open_tunnel(self, tunnel: Passage, protocol: bytes, fields: list[bytes], tail: bytes, now: float) -> None:
        self.status, self.fields, self.tunnelled = 101, fields, tail
        self.passage = tunnel

    def pass_on(self, data: bytes) -> None:
        self.tunnelled += data

    def ended(self, seen: Seen, fault: Fault | None, now: float) -> None:
        assert self.seen is None, "ended twice"
        self.loopback.order.append(self.name)
        self.seen, self.fault = seen, fault
        self.exchange = self.passage = None

    # Waits

    def queue(self) -> None:
        self.waited_for.append("queue")

    def connecting(self) -> None:
        self.waited_for.append("connecting")

    def first_byte(self, now: float) -> None:
        self.waited_for.append("first byte")

    def next_byte(self, now: float) -> None:
        self.waited_for.append("next byte")

    def next_event(self, now: float) -> None:
        self.waited_for.append("next event")

    def upstream_reading(self, now: float) -> None:
        self.waited_for.append("upstream")

    def tunnel(self, now: float) -> None:
        self.waited_for.append("tunnel")

    # Flow

    def pause(self) -> None:
        self.paused += 1

    def resume(self) -> None:
        self.paused = 0

    # Response

    def interim(self, request: Head, status: int, fields: list[bytes]) -> None:
        self.interims.append(status)

    def head(self, request: Head, status: int, fields: list[bytes], length: int, declared: int, whole: bool) -> bool:
        assert not self.status, "two heads"
        self.status, self.fields = status, fields
        return False  # no chunks here: a stream has frames of its own

    def body(self, piece: bytes) -> None:
        assert self.status, "a body before its head"
        self.content += piece

    def chunks(self, chunks: list[bytes]) -> None:
        raise AssertionError("not in chunks")


class Loopback:
    """One connection. `order` has a stream's name each time that something is sent to it, and at its end."""

    def __init__(self, shield: Shield) -> None:
        self._shield = shield
        self.order: list[str] = []

    def ask(self, *asked: Asked) -> list[Stream]:
        """Begin all of these requests; none waits for another one."""
        return [self._begin(each) for each in asked]

    def _begin(self, asked: Asked) -> Stream:
        shield = self._shield
        now = shield.clock()
        stream = Stream(self, asked.path)
        head = asked.head()
        client: Any = shield.engine.identify(ADDRESS, "loopback", "", "", now)
        request = Request(client, head.method, head.path, head.headers, None, bool(asked.body), None)
        verdict = shield.engine.decide(request, now)
        forwarder = shield.forwarder
        exchange = Exchange(forwarder, stream, request, head, b"", forwarder.request_ids(), now)
        stream.exchange = request.owner = exchange
        if asked.body:
            for number, piece in enumerate(asked.body, 1):
                exchange.send_body([piece], number == len(asked.body), now)
        elif verdict.action is Action.QUEUE:
            exchange.wait()
        else:
            exchange.start(now)
        return stream

    async def all(self, *asked: Asked) -> list[Stream]:
        """Ask, and wait until each has ended."""
        streams = self.ask(*asked)
        await soon(lambda: all(stream.seen for stream in streams), f"all ended: {streams}")
        return streams
