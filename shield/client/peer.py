"""Who is at the other end of a client connection: client, pass, forwarding fields, as its requests tell.

All of it is kept for the connection and worked out again only when a field it was made from changes. Of a connection
that a trusted proxy brings, each request may be somebody else's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shield.http.forwarded import forwarding_fields
from shield.http.head import take_cookie
from shield.wire.client_hello import NO_PROGRAM, Program

if TYPE_CHECKING:
    from shield.client.edge import Edge
    from shield.http.head import Head
    from shield.policy.entries import Pass
    from shield.policy.identity import Client


class Peer:
    """The peer of one connection. `client` and `held` (the pass) are those of the last request, None before."""

    __slots__ = (
        "_agent",
        "_cookie",
        "_cookie_rest",
        "_cookie_token",
        "_edge",
        "_habit",
        "_language",
        "_token",
        "address",
        "client",
        "held",
        "host",
        "ja4",
        "scheme",
        "settled",
        "suffix",
        "trusted",
    )

    def __init__(self, edge: Edge, address: str, scheme: str, program: Program = NO_PROGRAM) -> None:
        """`address` as accept() or a PROXY header says, `scheme` of the connection: "http" or "https"; its `program`,
        over TLS."""
        self._edge = edge
        self._habit = program.habit
        self.address = address
        self.scheme = scheme
        self.trusted = trusted = edge.forwarding.trusts(address)
        self.ja4 = "" if trusted else program.ja4  # of a proxy's clients it says nothing
        self.client: Client | None = None
        self.held: Pass | None = None
        self.settled: Head | None = None  # the kept head that `client` and `held` are of
        self._agent = b""
        self._language = b""
        self._cookie = b""
        self._cookie_token = b""
        self._cookie_rest = b""
        self._token = b""
        self.host: bytes | None = None
        self.suffix = b""  # for requests to `host`

    def identify(self, head: Head, now: float) -> Client:
        """The client that sent `head` over a connection of its own."""
        client = self.client
        if client is None or head.agent != self._agent or head.language != self._language:
            return self._identify(self.address, self._habit, head, now)
        return client

    def identify_behind(self, head: Head, now: float) -> tuple[Client, bytes]:
        """The client for which a trusted proxy sent `head`, and the forwarding fields for the upstream."""
        address, scheme, host = self._edge.forwarding.resolve(self.address, self.scheme, head)
        head.secure = scheme == "https"
        client = self.client
        if client is None or client.address != address or head.agent != self._agent or head.language != self._language:
            client = self._identify(address, "", head, now)  # the ClientHello was the proxy's
        return client, forwarding_fields(head, self.address, True, scheme, host)

    def _identify(self, address: str, habit: str, head: Head, now: float) -> Client:
        self._agent = head.agent
        self._language = head.language
        edge = self._edge
        agent, language = head.agent.decode("latin-1"), head.language.decode("latin-1")
        client = edge.engine.identify(address, agent, language, habit, now)
        self.client = client
        if client.crawler is not None and client.unverified:
            edge.crawlers.check(client.address, client.crawler.domains)
        return client

    def present(self, head: Head, now: float) -> Pass | None:
        """The pass of this request; remembered by its text, so that a kept connection verifies it once."""
        edge = self._edge
        if head.cookie != self._cookie:
            self._cookie = head.cookie
            self._cookie_token, self._cookie_rest = take_cookie(head.cookie, edge.cookie)
        head.kept_cookie = self._cookie_rest
        token = head.token or self._cookie_token
        if token != self._token:
            self._token = token
            self.held = edge.engine.present(token.decode("latin-1"), now) if token else None
        return self.held

    def address_to(self, head: Head) -> None:
        """Make `suffix` anew, the forwarding fields for requests of its own to the host of `head`."""
        self.host = head.host
        self.suffix = forwarding_fields(head, self.address, False, self.scheme, "")
