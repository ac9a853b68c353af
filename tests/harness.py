"""What the proxy's tests stand on: Shield's data path in this process, raw clients, upstreams that do as they are told.

    client (raw socket) -> Listener, ClientConnection, Exchange -> Origin (raw socket)

Nothing here understands more HTTP than it must: a client sends bytes and reads answers by a strict parser of its own,
an origin records the bytes that came and refuses to guess. Waiting is for events, bounded by WAIT; time that matters
to Shield is moved by hand with `Shield.advance`.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import math
import re
import socket
import ssl
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

from shield.accept.certificates import Certificates
from shield.accept.entrance import Entrance
from shield.accept.first_read import FirstRead
from shield.accept.handshakes import Handshakes
from shield.accept.listener import Listener
from shield.accept.prelude import Prelude
from shield.accept.sockets import bind
from shield.accept.tls import TlsSettings, hsts_field
from shield.client.connection import ClientConnection
from shield.client.gate import GateConnection
from shield.client.h2.connection import Http2Connection
from shield.client.sweep import SHARDS
from shield.client.watch import TimeoutSettings
from shield.http.forwarded import Forwarding
from shield.http.head import Head
from shield.http.settings import HttpSettings
from shield.model import Action, Outcome, Reason, Signal, Tier, Verdict
from shield.operator.metrics import Metrics
from shield.policy.challenge.challenge import Redeemed, Redemption
from shield.policy.challenge.settings import ChallengeSettings
from shield.policy.drops import Drops, DropsSettings
from shield.policy.history import History, HistorySettings
from shield.policy.notes import Notes
from shield.policy.request import Request
from shield.process.assembly import assemble
from shield.replies.redirect import Redirect
from shield.replies.rendering import Replies
from shield.upstream.connection import UpstreamConnection
from shield.upstream.crawlers import Crawlers
from shield.upstream.pool import Pool
from shield.upstream.resolve import Resolver
from shield.upstream.settings import UpstreamSettings
from shield.wire.client_hello import Program
from shield.wire.proxy_protocol import Ends

WAIT: Final = 15.0
"""s. Until a test gives up on something that takes a millisecond."""

OK: Final = Verdict(Reason.OK)
QUEUED: Final = Verdict(Reason.AT_CAPACITY)
LIMITED: Final = Verdict(Reason.CLIENT_RATE, 3, (10.0, 200.0), 0.0)
BANNED: Final = Verdict(Reason.CLIENT_BANNED)
SHED: Final = Verdict(Reason.QUEUE_TIMEOUT, 2)
CHALLENGED: Final = Verdict(Reason.NEWCOMER, 2)


async def soon(predicate: Callable[[], Any], what: str = "") -> None:
    """Wait until `predicate()` is true; the loop turns meanwhile."""
    end = time.monotonic() + WAIT
    while not predicate():
        if time.monotonic() > end:
            raise AssertionError(f"did not happen: {what or predicate}")
        await asyncio.sleep(0.001)


# the policy


class FakeClient:
    def __init__(self, address: str, agent: str, language: str) -> None:
        self.address = self.home = address
        self.network = address.rpartition(".")[0]
        self.agent = agent
        self.language = language
        self.key = b"client"
        self.home = address
        self.network = address.rpartition(".")[0]
        self.live = True
        self.crawler = None
        self.unverified = False
        self.crawler = None


@dataclass(frozen=True, slots=True)
class FakeChallenge:
    token: str = "dG9rZW4"
    k: int = 16
    target: int = 1 << 48
    expected_hashes: int = 1 << 20
    expires_in: int = 120
    hashwx: None = None


class PermissiveEngine:
    """Admits everything but what `verdicts` names by path; counts slots, so that a leak shows."""

    pass_lifetime = 3600
    concurrency_limit = 100
    next_waiting: Request | None = None
    pressed = False
    full = False
    api_key_header = ""
    routing = None

    def __init__(self) -> None:
        self.verdicts: dict[str, Verdict] = {}
        self.entries: dict[str, Verdict] = {}  # what enter() says, by path
        self.tiers: dict[str, Tier] = {}
        self.decided: list[Request] = []
        self.learned: list[tuple[Request, Outcome]] = []
        self.released: list[Request] = []
        self.occupied_for: list[float] = []  # seconds
        self.cancelled: list[Request] = []
        self.signals: list[tuple[str, Signal]] = []
        self.blamed: list[str] = []  # the User-Agent of each signal's client, or the address where there was none
        self.tokens: list[str] = []
        self.identified: list[tuple[str, str, str]] = []
        self.programs: list[str] = []  # habits of their TLS, beside them
        self.slots: set[int] = set()
        self.queued: list[Request] = []
        self.grants: dict[str, str] = {}
        self.shut: Verdict | None = None  # what holds for everybody
        self.unread = 0
        self.allowed: set[str] = set()  # addresses
        self.drops = Drops(DropsSettings(), History(HistorySettings(), 1), Notes())
        self.deserving: set[str] = set()  # addresses, and User-Agents
        self.long = math.inf  # seconds of silence
        self.works = 0.0  # seconds that a call may be worked on before its server answers
        self.made_way: list[list[str]] = []  # the paths of those that were to, each time
        self.awaited: list[int] = []  # as it was told

    @property
    def waiting(self) -> int:
        return len(self.queued)

    def awaits(self, unread: int) -> None:
        self.awaited.append(unread)

    def identify(self, address: str, user_agent: str, language: str, ja4: str, now: float) -> FakeClient:
        self.identified.append((address, user_agent, language))
        self.programs.append(ja4)
        return FakeClient(address, user_agent, language)

    def shut_out(self, address: str, now: float) -> Verdict | None:
        return self.shut

    def allows(self, address: str) -> bool:
        return address in self.allowed

    def refused_unread(self, address: str, now: float) -> None:
        self.unread += 1

    def present(self, token: str, now: float) -> object | None:
        self.tokens.append(token)
        return ("pass", token) if token.startswith("good") else None

    def _give(self, request: Request, verdict: Verdict) -> Verdict:
        request.verdict = verdict
        if verdict.reason is Reason.ROUTE_RATE:
            request.braked_by = "/login"
        if verdict.action is Action.FORWARD:
            self.slots.add(id(request))
        elif verdict.action is Action.QUEUE:
            self.queued.append(request)
        return verdict

    def decide(self, request: Request, now: float) -> Verdict:
        self.decided.append(request)
        request.tier = self.tiers.get(request.path, Tier.T3)
        request.grant = request.path in self.grants
        verdict = self.verdicts.get(request.path, OK)
        if request.body_pending and verdict.action is Action.FORWARD:
            request.verdict = verdict
            return verdict
        return self._give(request, verdict)

    def toll(self, request: Request, now: float) -> Verdict:
        request.tier = Tier.T3
        request.verdict = self.verdicts.get(request.path, OK)
        return request.verdict

    def enter(self, request: Request, now: float) -> Verdict:
        assert not request.body_pending
        return self._give(request, self.entries.get(request.path, OK))

    def enter_again(self, request: Request, now: float) -> Verdict:
        return self.enter(request, now)

    def let_in(self, verdict: Verdict = OK) -> Request:
        """Decide about the first queued request, as tick() and learn() do."""
        request = self.queued.pop(0)
        self._give(request, verdict)
        return request

    def _free(self, request: Request) -> None:
        self.slots.discard(id(request))
        if request in self.queued:
            self.queued.remove(request)

    def release(self, request: Request, now: float) -> Sequence[Request]:
        self.released.append(request)
        self._free(request)
        return ()

    def learn(self, request: Request, outcome: Outcome, now: float) -> Sequence[Request]:
        assert request not in self.cancelled
        assert request not in [known for known, _ in self.learned], "learned twice"
        self.learned.append((request, outcome))
        self._free(request)
        return ()

    def cancel(self, request: Request, now: float, at_work: bool = False) -> Sequence[Request]:
        assert request not in [known for known, _ in self.learned]
        self.cancelled.append(request)
        self._free(request)
        return ()

    def withdraw(self, request: Request) -> None:
        self._free(request)

    def long_after(self, now: float) -> float:
        return self.long

    def work_takes(self, request: Request) -> float:
        return self.works

    def make_way(self, silent: Sequence[Request], now: float) -> Sequence[Request]:
        self.made_way.append([request.path for request in silent])
        return ()

    def occupied(self, request: Request, seconds: float, now: float) -> None:
        self.occupied_for.append(seconds)

    def report(self, who: FakeClient | str, signal: Signal, now: float) -> None:
        self.signals.append((who if isinstance(who, str) else who.address, signal))
        self.blamed.append(who if isinstance(who, str) else who.agent)

    def deserves(self, who: FakeClient | str, token: object | None) -> bool:
        return (who if isinstance(who, str) else who.agent) in self.deserving

    def mint(self, request: Request, now: float) -> FakeChallenge:
        assert request.tier in Tier
        return FakeChallenge()

    def wait(self, request: Request, ticket: str, now: float) -> Redemption:
        return Redemption(Redeemed.EXPIRED)

    def grant(self, request: Request, now: float) -> str | None:
        return self.grants.get(request.path)


class QuietLog:
    traces = None

    def __init__(self) -> None:
        self.requests: list[tuple[Any, ...]] = []
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.faults: list[str] = []
        self.refusals: list[tuple[str, int, str]] = []
        self.programs: list[str] = []  # JA4 of each line
        self.versions: list[str] = []  # of HTTP, of each line: "2" or ""
        self.details: list[str] = []  # those that faults have
        self.rules: list[tuple[str, str, str]] = []  # broken rule, method and path of each line that has one

    def request(self, now: float, request: Request, status: int, *rest: Any) -> None:
        *rest, ja4, rule, http = rest  # type: ignore[assignment]
        self.programs.append(ja4)
        self.versions.append(http)
        if rule:
            self.rules.append((rule, request.method, request.path))
        self.requests.append((request.method, request.path, status, *rest))

    def refused(
        self, now: float, request: Request, status: int, request_id: bytes = b"", ja4: str = "", http: str = ""
    ) -> None:
        self.programs.append(ja4)
        self.versions.append(http)
        self.refusals.append((request.path, status, request_id.decode("ascii")))

    def refused_unread(
        self,
        now: float,
        address: str,
        verdict: Verdict,
        status: int,
        ja4: str = "",
        head: bytes = b"",
        request_id: bytes = b"",
        http: str = "",
    ) -> None:
        self.programs.append(ja4)
        self.versions.append(http)
        self.refusals.append((verdict.reason.value, status, request_id.decode("ascii")))

    def fault(
        self,
        now: float,
        address: str,
        fault: str,
        status: int = 0,
        detail: str = "",
        ja4: str = "",
        head: Any = b"",
        rule: str = "",
        request_id: bytes = b"",
        http: str = "",
    ) -> None:
        self.programs.append(ja4)
        self.versions.append(http or (head.http if isinstance(head, Head) else ""))
        self.faults.append(fault)
        if detail:
            self.details.append(detail)
        if rule:
            line = [""] if not isinstance(head, (bytes, bytearray)) else head.decode("latin-1").split(" ")
            asked = (line[0], line[1].partition("?")[0]) if len(line) > 1 else ("", "")
            self.rules.append((rule, *asked))

    def event(self, name: str, level: str = "info", **fields: Any) -> None:
        self.events.append((name, fields))


# Shield


class MovedClock:
    """Real monotonic seconds plus what a test has added."""

    def __init__(self) -> None:
        self.offset = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.offset


@functools.cache
def _rendered() -> Replies:
    return Replies("shield_pass", "Shield-Pass")


def replies() -> Replies:
    """As new: rendering takes longer than most tests do, and nothing changes but the date and what depends on it."""
    _rendered().set_date(0.0)
    return _rendered()


class Shield:
    """The data path as service.py builds it, without its timers: `advance` moves the clock and sweeps by hand."""

    def __init__(
        self,
        *servers: str,
        engine: Any = None,
        http: HttpSettings | None = None,
        timeouts: TimeoutSettings | None = None,
        upstream: UpstreamSettings | None = None,
        forwarding: Forwarding | None = None,
        tls: TlsSettings | None = None,
        proxied: bool = False,
        redirect: tuple[int, bool, Callable[[str], bool]] | None = None,
        limit: int = 10_000,
        address: str = "127.0.0.1:0",
        per_address: int = 1000,
        per_network: int = 1000,
        http2: bool = False,
        h2c: bool = False,
        gate: bool = False,
    ) -> None:
        """`http2`: all connections speak HTTP/2; `h2c`: those without TLS may. `gate`: other proxies ask."""
        self.gate = gate
        self.http2 = http2
        self.h2c = h2c
        self.per_address = per_address
        self.per_network = per_network
        self.clock = MovedClock()
        self.metrics = Metrics()
        self.log = QuietLog()
        self.engine = engine if engine is not None else PermissiveEngine()
        self.settings = replace(upstream or UpstreamSettings(), servers=servers)
        self.http = http or HttpSettings()
        self.timeouts = timeouts or TimeoutSettings(pause=0)  # tests of pauses say so
        self.forwarding = forwarding or Forwarding((), "none")
        self.tls = tls or TlsSettings()
        self.proxied = proxied
        self.redirect = None if redirect is None else Redirect(replies(), self.metrics, *redirect)
        self.limit = limit
        self.address = address
        self.notes: list[tuple[str, ...]] = []
        self.errors: list[dict[str, Any]] = []

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: self.errors.append(context))
        self.resolver = Resolver("", self.clock)
        self.pool = Pool(
            self.settings,
            self.settings.servers,
            self.metrics,
            self.resolver,
            lambda server: UpstreamConnection(server, self.http.preserve_host, self.settings.proxy_protocol == "off"),
            lambda event, server: self.notes.append((event, server)),
        )
        count = itertools.count(1)
        self.serving = assemble(
            engine=self.engine,
            pool=self.pool,
            replies=replies(),
            crawlers=Crawlers(self.resolver, lambda address, ok: None),
            forwarding=self.forwarding,
            http=self.http,
            timeouts=self.timeouts,
            challenge=ChallengeSettings(pass_lifetime=3600.0),
            metrics=self.metrics,
            log=self.log,  # type: ignore[arg-type]
            clock=self.clock,
            loop=loop,
            request_ids=lambda: b"id-%x" % next(count),
            hsts=hsts_field(self.tls),
            h2c=self.h2c,
            on_close=lambda: self.listener.check(),  # noqa: PLW0108 - there is none yet
        )
        self.connections = self.serving.connections
        self.crowding = self.connections.crowding
        self.forwarder = self.serving.forwarder
        self.streams = self.forwarder.streams
        self.ahead = self.connections.ahead
        self.accepted: list[ClientConnection] = []
        self.certificates = (
            Certificates(self.tls.certificates, self._noted, http2=self.http.h2) if self.tls.certificates else None
        )
        entrance = Entrance(
            loop,
            self.clock,
            self.metrics,
            self.log,  # type: ignore[arg-type]
            self.crowding,
            self.forwarding.trusts,
            lambda: self.listener.check(),  # noqa: PLW0108 - there is none yet
            self.forwarder.turns,
            self.serving.sideline,
        )
        self.handshakes = self.prelude = first_read = None
        if self.certificates is not None:
            self.handshakes = Handshakes(entrance, self.tls, self.certificates, self._connection)
        if self.certificates is not None or self.proxied:
            self.prelude = Prelude(entrance, self.tls.handshake_timeout, self.proxied, self.handshakes)
        if self.redirect is None and not self.gate:
            most = self.http.max_head_bytes
            serving = self.serving
            first_read = FirstRead(
                entrance,
                self.engine,
                serving.heads,
                most,
                serving.recognition,
                serving.replies,
                serving.shut_out,
                serving.forwarder.request_ids,
            )
        listening = bind([self.address], 128, reuse_port=False)
        self.listener = Listener(entrance, listening, self.limit, self._connection, self.prelude, first_read)
        self.crowding.per_address = self.per_address
        self.crowding.per_network = self.per_network
        self.listener.start()
        host, _, port = self.listener.addresses[0].rpartition(":")
        self.host = host.strip("[]")
        self.port = int(port)
        return self

    def _noted(self, event: str, **fields: Any) -> None:
        self.notes.append((event, str(fields)))

    def _connection(self, ends: Ends | None, program: Program, http2: bool) -> ClientConnection | Http2Connection:
        if self.http2 or http2:
            return Http2Connection(self.serving, ends, program, self.redirect)
        made = GateConnection if self.gate else ClientConnection
        connection = made(self.serving, ends, program, self.redirect)
        self.accepted.append(connection)
        return connection

    async def __aexit__(self, *exc: object) -> None:
        self.listener.stop()
        self.connections.cut()
        self.pool.close()
        await self.resolver.close()
        await soon(lambda: self.metrics.connections_open == 0, "all client connections closed")
        if exc[0] is None:
            assert not self.errors, self.errors
            if isinstance(self.engine, PermissiveEngine):
                assert not self.engine.slots, "a concurrency slot leaked"
                assert not self.engine.queued
            assert (self.forwarder.spools.open, self.forwarder.spools.shares.total) == (0, 0), "a spool leaked"
            assert [server.outstanding for server in self.pool.servers] == [0] * len(self.pool.servers)

    def told(self, event: str) -> bool:
        """Whether the log has it."""
        return any(name == event for name, _ in self.log.events)

    def advance(self, seconds: float) -> None:
        """Let time pass for deadlines and the pool."""
        self.clock.offset += seconds
        for _ in range(SHARDS):
            self.connections.sweep.sweep(self.clock())
            self.connections.streams.sweep(self.clock())
            self.streams.sweep(self.clock())
            self.forwarder.make_way(self.clock())
        self.pool.sweep(self.clock())

    async def client(self, **options: Any) -> Client:
        return await Client.open(self.port, host=self.host, **options)


WEBSOCKET_KEY: Final = "dGhlIHNhbXBsZSBub25jZQ=="  # that of the example in RFC 6455 section 1.3


def request_head(method: str = "GET", websocket: bool = False) -> Head:
    """The head of a request as an upstream connection is given it, without fields but for a WebSocket's key."""
    head = Head()
    head.method, head.target, head.path = method, "/", "/"
    head.fields = []
    head.upgrade = b"websocket" if websocket else b""
    head.headers = {"Sec-WebSocket-Key": WEBSOCKET_KEY}  # type: ignore[assignment]
    return head


# clients


@dataclass(slots=True)
class Response:
    status: int
    fields: list[tuple[str, str]]
    body: bytes
    version: str = "HTTP/1.1"
    trailers: list[tuple[str, str]] = field(default_factory=list)

    def get(self, name: str) -> str | None:
        """The value of a field that may come once."""
        values = self.all(name)
        assert len(values) < 2, f"{name} repeated"
        return values[0] if values else None

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key.lower() == name.lower()]


class Closed(Exception):
    """The peer closed before the message was complete."""


class Client:
    """One connection, byte by byte if need be."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.buffer = bytearray()
        self.ended = False
        self._loop = asyncio.get_running_loop()

    @classmethod
    async def open(cls, port: int, host: str = "127.0.0.1", source: str = "", receive_buffer: int = 0) -> Client:
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if source:
            sock.bind((source, 0))
        try:
            await asyncio.get_running_loop().sock_connect(sock, (host, port))
        except BaseException:
            sock.close()
            raise
        return cls(sock)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.close()

    async def send(self, data: bytes) -> None:
        async with asyncio.timeout(WAIT):
            await self._loop.sock_sendall(self.sock, data)

    async def send_slowly(self, data: bytes) -> None:
        """A byte at a time, each in a read of its own as far as the kernel allows."""
        for at in range(len(data)):
            try:
                await self._loop.sock_sendall(self.sock, data[at : at + 1])
            except (BrokenPipeError, ConnectionResetError):
                return  # refused already
            await asyncio.sleep(0)

    async def feed(self, data: bytes) -> None:
        """Send what Shield may refuse to read to its end."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            await self.send(data)

    def half_close(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.sock.close()

    def reset(self) -> None:
        """Leave without a farewell."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    async def more(self) -> bool:
        """Read once; False at the end. ConnectionResetError is the caller's."""
        async with asyncio.timeout(WAIT):
            data = await self._loop.sock_recv(self.sock, 262_144)
        self.buffer += data
        self.ended = self.ended or not data
        return bool(data)

    async def until(self, mark: bytes) -> bytes:
        """What comes up to and with `mark`."""
        while mark not in self.buffer:
            if not await self.more():
                raise Closed(bytes(self.buffer))
        return self._cut(self.buffer.index(mark) + len(mark))

    def _cut(self, count: int) -> bytes:
        data = bytes(self.buffer[:count])
        del self.buffer[:count]
        return data

    async def exactly(self, count: int) -> bytes:
        while len(self.buffer) < count:
            if not await self.more():
                raise Closed(bytes(self.buffer))
        return self._cut(count)

    async def rest(self) -> bytes:
        """Everything until the peer closes."""
        with contextlib.suppress(ConnectionResetError):
            while await self.more():
                pass
        return self._cut(len(self.buffer))

    async def gone(self) -> bool:
        """Whether the peer closes or resets and says nothing more."""
        return await self.rest() == b""

    async def response(self, method: str = "GET", interim: bool = False) -> Response:
        """The next final response (with `interim`, whatever comes next), read as RFC 9112 section 6.3 says."""
        while True:
            head = await self.until(b"\r\n\r\n")
            lines = head[:-4].decode("latin-1").split("\r\n")
            match = re.fullmatch(r"(HTTP/1\.[01]) (\d{3}) ([^\r\n]*)", lines[0])
            assert match is not None, head
            status = int(match[2])
            fields = []
            for line in lines[1:]:
                field = re.fullmatch(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ([^\r\n\0]*)", line)
                assert field is not None, head
                fields.append((field[1], field[2]))
            answer = Response(status, fields, b"", match[1])
            if status >= 200 or status == 101 or interim:
                break
        length, coding = answer.get("Content-Length"), answer.get("Transfer-Encoding")
        assert length is None or coding is None, head
        if method == "HEAD" or status < 200 or status in (204, 304):
            assert coding is None
            return answer
        if coding is not None:
            assert coding == "chunked"
            while size := int((await self.until(b"\r\n"))[:-2], 16):
                answer.body += await self.exactly(size)
                assert await self.exactly(2) == b"\r\n"
            while (line := (await self.until(b"\r\n"))[:-2]) != b"":
                name, _, value = line.decode("latin-1").partition(": ")
                answer.trailers.append((name, value))
        elif length is not None:
            answer.body = await self.exactly(int(length))
        else:
            assert answer.get("Connection") == "close", head
            while await self.more():
                pass
            answer.body = self._cut(len(self.buffer))
        return answer

    async def ask(self, data: bytes) -> Response:
        """Send one request and read its answer."""
        await self.send(data)
        return await self.response(data.partition(b" ")[0].decode())


def get(path: str = "/", *fields: str, host: str = "a.example", version: str = "1.1", method: str = "GET") -> bytes:
    """A request without a body."""
    lines = [f"{method} {path} HTTP/{version}", f"Host: {host}", *fields]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def post(path: str, body: bytes, *fields: str, method: str = "POST") -> bytes:
    return get(path, f"Content-Length: {len(body)}", *fields, method=method) + body


def chunked(*pieces: bytes, trailer: bytes = b"") -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n" + trailer + b"\r\n"


# upstreams


@dataclass(slots=True)
class Received:
    """One request as an origin read it."""

    method: str
    target: str
    fields: list[tuple[str, str]]
    body: bytes = b""
    raw_head: bytes = b""
    trailers: list[tuple[str, str]] = field(default_factory=list)

    def get(self, name: str) -> str | None:
        values = self.all(name)
        assert len(values) < 2, f"{name} repeated"
        return values[0] if values else None

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key.lower() == name.lower()]


_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([!-~]+) HTTP/1\.1")
_REQUEST_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ?([\t -~\x80-\xff]*)")


class Link:
    """One connection that Shield has opened to an origin."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, origin: Origin) -> None:
        self.reader = reader
        self.writer = writer
        self.origin = origin
        self.raw = bytearray()
        self.closed = False
        self.lost = asyncio.Event()

    async def send(self, data: bytes) -> None:
        with contextlib.suppress(ConnectionError):
            self.writer.write(data)
            await self.writer.drain()

    def close(self) -> None:
        self.closed = True
        self.writer.close()

    def reset(self) -> None:
        self.closed = True
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def read(self) -> bytes:
        """What comes next, unread."""
        data = await self.reader.read(65536)
        self.raw += data
        return data

    async def _take(self, count: int) -> bytes:
        data = await self.reader.readexactly(count)
        self.raw += data
        return data

    async def _line(self) -> bytes:
        line = await self.reader.readuntil(b"\r\n")
        self.raw += line
        return line[:-2]

    async def head(self) -> Received:
        """One request head; anything that could be read in two ways is an error."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        self.raw += head
        first, *lines = head[:-4].split(b"\r\n")
        match = _REQUEST_LINE.fullmatch(first)
        if match is None:
            raise ValueError(f"request line {first!r}")
        fields = []
        for line in lines:
            field = _REQUEST_FIELD.fullmatch(line)
            if field is None:
                raise ValueError(f"field {line!r}")
            fields.append((field[1].decode(), field[2].decode("latin-1")))
        request = Received(match[1].decode(), match[2].decode(), fields, raw_head=head)
        names = [name.lower() for name, _ in fields]
        if names.count("host") != 1 or names.count("content-length") + names.count("transfer-encoding") > 1:
            raise ValueError(f"framing or host {head!r}")
        return request

    async def body(self, request: Received) -> bytes:
        """The body of `request`."""
        length, coding = request.get("Content-Length"), request.get("Transfer-Encoding")
        if length is not None:
            if not length.isdecimal():
                raise ValueError(f"Content-Length {length!r}")
            request.body = await self._take(int(length))
        elif coding is not None:
            if coding != "chunked":
                raise ValueError(f"Transfer-Encoding {coding!r}")
            while size := int(await self._line(), 16):
                request.body += await self._take(size)
                if await self._line():
                    raise ValueError("chunk longer than its size")
            while line := await self._line():
                found = _REQUEST_FIELD.fullmatch(line)
                if found is None:
                    raise ValueError(f"trailer {line!r}")
                request.trailers.append((found[1].decode(), found[2].decode("latin-1")))
        return request.body


Handler = Callable[[Link, Received], Awaitable[None]]


class Origin:
    """An upstream server. `answers` maps a path to bytes, sent as they are; `handle` does anything else.

    Two special paths: an answer of None says nothing at all, and a path that is not known is echoed.
    """

    def __init__(
        self,
        answers: dict[str, bytes | None] | None = None,
        handle: Handler | None = None,
        context: ssl.SSLContext | None = None,
        path: str = "",
        preamble: Callable[[Link], Awaitable[None]] | None = None,
    ) -> None:
        """`preamble` takes what comes before the first request of a connection."""
        self._context = context
        self._path = path
        self._preamble = preamble
        self.answers = answers or {}
        self._handle = handle
        self.links: list[Link] = []
        self.requests: list[Received] = []
        self.mistakes: list[str] = []
        self.arrived = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        context = self._context
        if self._path:
            self._server: asyncio.Server = await asyncio.start_unix_server(self._serve, self._path)
            self.url = f"unix:{self._path}"
            return self
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context, limit=1 << 20)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"{'https' if context else 'http'}://{'localhost' if context else '127.0.0.1'}:{self.port}"
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()
        if exc[0] is None:
            assert not self.mistakes, self.mistakes

    async def stop(self) -> None:
        self._server.close()
        for link in self.links:
            link.writer.transport.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        link = Link(reader, writer, self)
        self.links.append(link)
        try:
            if self._preamble is not None:
                await self._preamble(link)
            while not link.closed:
                request = await link.head()
                if self._handle is not None and getattr(self._handle, "early", False):
                    self._note(request)
                    await self._handle(link, request)
                    continue
                await link.body(request)
                self._note(request)
                await self._answer(link, request)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            if isinstance(error, asyncio.IncompleteReadError):
                link.raw += error.partial
        except ValueError as error:
            self.mistakes.append(str(error))
        except asyncio.CancelledError:
            pass  # the test is over
        finally:
            link.lost.set()
            self._tasks.discard(task)
            writer.close()

    def _note(self, request: Received) -> None:
        self.requests.append(request)
        self.arrived.set()

    async def _answer(self, link: Link, request: Received) -> None:
        path = request.target.partition("?")[0]
        if path in self.answers:
            answer = self.answers[path]
            if answer is not None:
                await link.send(answer)
        elif self._handle is not None:
            await self._handle(link, request)
        else:
            await link.send(reply(f"{request.method} {request.target}".encode() if request.method != "HEAD" else b""))

    async def got(self, count: int = 1) -> Received:
        """The request number `count`, counted from 1."""
        await soon(lambda: len(self.requests) >= count, f"request {count} at the origin")
        return self.requests[count - 1]


def early(handler: Handler) -> Handler:
    """The handler reads the body itself, or not."""
    handler.early = True  # type: ignore[attr-defined]
    return handler


def reply(body: bytes = b"ok", *fields: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


@contextlib.asynccontextmanager
async def shielded(
    answers: dict[str, bytes | None] | None = None, handle: Handler | None = None, **options: Any
) -> AsyncIterator[tuple[Shield, Origin]]:
    """One origin and Shield in front of it."""
    async with Origin(answers, handle) as origin, Shield(origin.url, **options) as shield:
        yield shield, origin
