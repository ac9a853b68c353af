"""Who is at the other end of a client connection: client, pass and forwarding fields, as its requests tell.

All of it is kept for the connection and worked out again only when a field that it was made from changes. Of a
connection that a trusted proxy brings, each request may be somebody else's.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from shield.client.unbelieved import Unbelieved
from shield.http.cookies import WAITS, take_cookie
from shield.wire.client_hello import NO_PROGRAM, Program

if TYPE_CHECKING:
    from shield.http.forwarded import Forwarding
    from shield.http.head import Head
    from shield.policy.engine import Engine
    from shield.policy.entries import Pass
    from shield.policy.identity import Client
    from shield.upstream.crawlers import Crawlers

_NAMING: Final = re.compile(rb"\n(user-agent|accept-language):[ \t]*([^\r\n]*)", re.IGNORECASE)
"""Lines that name a client, in a head that may be broken."""


class Recognition:
    """Recognizes clients and their passes. One for all peers, and for the first read of connections."""

    __slots__ = ("_cookie", "_crawlers", "_engine", "_ticket", "forwarding", "unbelieved")

    def __init__(self, engine: Engine, forwarding: Forwarding, crawlers: Crawlers, cookie: bytes) -> None:
        """`forwarding` says who is a trusted proxy, and for whom it asks; `cookie` is the name of the pass cookie."""
        self._engine = engine
        self._crawlers = crawlers
        self._cookie = cookie
        self._ticket = cookie + WAITS  # of somebody who waits: the upstream does not get it either
        self.forwarding = forwarding
        self.unbelieved = Unbelieved()

    def client(self, address: str, head: Head, habit: str, now: float) -> Client:
        """The client at `address` that sends fields like those of `head` and has the TLS `habit`, empty if unknown.

        If it names itself as a crawler whose address has not been verified yet, that begins now."""
        agent, language = head.agent.decode("latin-1"), head.language.decode("latin-1")
        client = self._engine.identify(address, agent, language, habit, now)
        crawler = client.crawler
        if crawler is not None:
            self._crawlers.claimed(crawler.agent)
            if client.unverified:
                self._crawlers.check(client.address, crawler.domains, crawler.agent)
        return client

    def named_in(self, address: str, head: bytes | bytearray, habit: str, now: float) -> Client | None:
        """The client at `address` that sent a `head` which could not be read, as far as it has a User-Agent."""
        named: dict[bytes, bytes] = {}
        for name, value in _NAMING.findall(head):
            named.setdefault(name.lower(), value.rstrip(b" \t"))
        agent, language = named.get(b"user-agent", b""), named.get(b"accept-language", b"")
        if not agent:
            return None
        return self._engine.identify(address, agent.decode("latin-1"), language.decode("latin-1"), habit, now)

    def split_cookie(self, value: bytes) -> tuple[bytes, bytes]:
        """The token of a pass in a Cookie field, empty if there is none, and the cookies that the upstream gets."""
        if self._cookie not in value:  # then there is no ticket either, whose name begins so
            return b"", value
        token, rest = take_cookie(value, self._cookie)
        return token, take_cookie(rest, self._ticket)[1] if self._ticket in rest else rest

    def pass_of(self, token: bytes, now: float) -> Pass | None:
        """The pass that `token` stands for, if it is one and still holds."""
        return self._engine.present(token.decode("latin-1"), now) if token else None


class Peer:
    """The peer of one connection. `client` and `shown_pass` are those of its last request.

    It has more than 15 attributes because it keeps, for each result, the field value that the result was made from, to
    see when that changes.
    """

    __slots__ = (
        "_agent",
        "_cookie",
        "_cookie_rest",
        "_cookie_token",
        "_forwarding_host",
        "_forwarding_lines",
        "_habit",
        "_language",
        "_recognition",
        "_token",
        "address",
        "client",
        "ja4",
        "known_head",
        "scheme",
        "shown_pass",
        "trusted",
    )

    def __init__(self, recognition: Recognition, address: str, scheme: str, program: Program = NO_PROGRAM) -> None:
        """`address` as accept() or a PROXY header tells it; `scheme` of the connection, "http" or "https"; over TLS,
        the `program` that its ClientHello shows."""
        self._recognition = recognition
        self._habit = program.habit
        self.address = address
        self.scheme = scheme
        self.trusted = trusted = recognition.forwarding.trusts(address)
        self.ja4 = "" if trusted else program.ja4  # of a proxy's clients it says nothing
        self.client: Client | None = None
        self.shown_pass: Pass | None = None
        self.known_head: Head | None = None  # a head that comes again; `client` and `shown_pass` are those of it
        self._agent = b""
        self._language = b""
        self._cookie = b""
        self._cookie_token = b""
        self._cookie_rest = b""
        self._token = b""
        self._forwarding_host: bytes | None = None
        self._forwarding_lines = b""

    def recognize(self, head: Head, kept: Head | None, now: float) -> None:
        """Find out who sent `head` over a connection of their own. `kept` is the head that is kept for the next
        request: `head`, or None. There is nothing to find out of a head that is `known_head`."""
        if self.client is None or head.agent != self._agent or head.language != self._language:
            self._identify(self.address, head, self._habit, now)
            unbelieved = self._recognition.unbelieved
            unbelieved.seen += 1
            if head.chain or head.forwarded or head.told:
                unbelieved.note(self.address)
        self.present(head, now)
        self.known_head = kept

    def recognize_behind(self, head: Head, now: float) -> bytes:
        """Find out for whom a trusted proxy sent `head`. Returns the forwarding fields for the upstream, each line with
        its CRLF."""
        forwarding = self._recognition.forwarding
        story = forwarding.resolve(self.address, self.scheme, head)
        address = story.hops[0]
        head.secure = story.scheme == "https"
        client = self.client
        if client is None or client.address != address or head.agent != self._agent or head.language != self._language:
            self._identify(address, head, "", now)  # the ClientHello was the proxy's
        self.present(head, now)
        return forwarding.fields(head, story)

    def whose(self, head: bytes | bytearray, now: float) -> Client | str:
        """Who is to answer for this connection: the client of its requests, or else the one that a `head` names which
        could not be read; the address, if there is neither."""
        return self.client or self._recognition.named_in(self.address, head, self._habit, now) or self.address

    def take_over(self, client: Client) -> None:
        """The client as the first read has recognized it, before there was a connection."""
        self.client = client

    def forget(self) -> None:
        """Keep no head, and no forwarding fields: the next request makes them again."""
        self.known_head = self._forwarding_host = None
        self._forwarding_lines = b""

    def _identify(self, address: str, head: Head, habit: str, now: float) -> None:
        self._agent = head.agent
        self._language = head.language
        self.client = self._recognition.client(address, head, habit, now)

    def present(self, head: Head, now: float) -> None:
        """Make `shown_pass` the pass that `head` shows. A token is remembered with its pass, so that a connection
        verifies it once."""
        if head.cookie != self._cookie:
            self._cookie = head.cookie
            self._cookie_token, self._cookie_rest = self._recognition.split_cookie(head.cookie)
        head.kept_cookie = self._cookie_rest
        token = head.token or self._cookie_token
        if token != self._token:
            self._token = token
            self.shown_pass = self._recognition.pass_of(token, now)

    def forwarding_lines(self, head: Head) -> bytes:
        """The forwarding fields for a request of the peer's own, each line with its CRLF. They are kept while the host
        that is asked for stays the same."""
        if head.host != self._forwarding_host:
            self._forwarding_host = head.host
            self._forwarding_lines = self._recognition.forwarding.fields_of_own(head, self.address, self.scheme)
        return self._forwarding_lines
