"""The [upstream] table: which servers there are, how long they may take, and when one is left out."""

from __future__ import annotations

import contextlib
import ipaddress
import string
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Final, Literal
from urllib.parse import SplitResult, urlsplit

from annotated_types import Ge, Gt, Le
from typing_extensions import Doc

from shield.complaints import Complaint
from shield.files import unreadable
from shield.marks import Unit, Why
from shield.wire.addresses import parse_address, wrong_address

DEMO: Final = "demo"
"""The word in `upstream.servers` that stands for the built-in demo site."""

_SERVERS: Final = (
    'allowed: "http://host:port", "https://host:port", "h2c://host:port", "h2://host:port", "unix:/path" or "demo"'
)


@dataclass(frozen=True, slots=True)
class UpstreamSettings:
    """The service that is shielded."""

    servers: Annotated[
        tuple[str, ...],
        Doc(
            'Servers that requests go to: "http://127.0.0.1:9000", "https://app.example:8443", '
            '"unix:/run/app.sock", or "demo" for the built-in demo site; over HTTP/2 "h2c://127.0.0.1:9000", and '
            '"h2://app.example:8443" with TLS. Of several, two are drawn and the less busy one is taken.'
        ),
    ] = (DEMO,)
    max_concurrency: Annotated[
        int,
        Ge(0),
        Le(10000),
        Unit("requests"),
        Doc(
            "Requests that the service gets at the same time, at most; more wait in the queue. 0: Shield "
            "finds out what the service takes (see [concurrency]). It is for all workers together."
        ),
        Why(
            "Chosen",
            "few operators know this number, and it changes with the service",
        ),
    ] = 0
    max_streams: Annotated[
        int,
        Ge(0),
        Le(10_000_000),
        Unit("streams"),
        Doc(
            "WebSockets, event streams, live media, responses to slow readers and bodies that trickle, at the same "
            "time. They hold no slot of max_concurrency, but a connection each. A further one displaces "
            "one whose network, address or client has more of them. If there is none, a WebSocket "
            "or event stream is answered 503, and live media, a slow reader or trickle keeps its slot. "
            "0 is half as many as client connections. Several workers share it equally, "
            "rounded up."
        ),
        Why(
            "Chosen",
            "each takes a connection to the client and one to a server",
        ),
    ] = 0
    connect_timeout: Annotated[
        float,
        Gt(0),
        Le(300),
        Unit("s"),
        Doc("Time to open a connection, TLS handshake included."),
        Why("Precedent", "Envoy's connect_timeout"),
    ] = 5.0
    first_byte_timeout: Annotated[
        float,
        Gt(0),
        Le(86400),
        Unit("s"),
        Doc("Time from the request sent to the head of the response; 504 beyond."),
        Why("Precedent", "nginx's proxy_read_timeout"),
    ] = 60.0
    idle_timeout: Annotated[
        float,
        Gt(0),
        Le(86400),
        Unit("s"),
        Doc("Time between two reads of a response, but of an event stream; the response is cut beyond."),
        Why("Precedent", "nginx's proxy_read_timeout"),
    ] = 60.0
    tunnel_idle_timeout: Annotated[
        float,
        Gt(0),
        Le(86400),
        Unit("s"),
        Doc("Time without a byte in either direction after which a WebSocket is closed, and an event stream."),
        Why("Precedent", "HAProxy's manual: timeout tunnel 1h"),
    ] = 3600.0
    proxy_protocol: Annotated[
        Literal["off", "v1", "v2"],
        Doc(
            "Version of the PROXY protocol header with which connections to the servers begin; it gives "
            "both ends of the client's connection. A connection is then one client's and carries one "
            "request, so each request costs a new one."
        ),
    ] = "off"
    keep_alive_connections: Annotated[
        int,
        Ge(0),
        Le(10000),
        Unit("connections"),
        Doc("Idle connections that are kept per server."),
        Why(
            "Chosen",
            "each takes a descriptor here and at the server, and a request that finds none opens a connection",
        ),
    ] = 100
    keep_alive_seconds: Annotated[
        float,
        Gt(0),
        Le(3600),
        Unit("s"),
        Doc(
            "Time after which an idle connection is closed. It must be shorter than the server's own "
            "limit, or requests meet closed connections."
        ),
        Why(
            "Chosen",
            "half of the 60 s after which nginx closes, if it is the server",
        ),
    ] = 30.0
    retries: Annotated[
        int,
        Ge(0),
        Le(5),
        Unit("attempts"),
        Doc(
            "Further attempts of an idempotent request of which no byte of a response has come, and of "
            "any request that was not sent."
        ),
        Why(
            "Chosen",
            "more retries send a service that is down several times the requests",
        ),
    ] = 1
    ca: Annotated[str, Doc("Path of a PEM file with the authorities for https servers. Empty: the system's.")] = ""
    verify: Annotated[
        bool, Doc("Whether certificate and name of https servers are verified. false only in a network you trust.")
    ] = True
    server_name: Annotated[str, Doc("Name for SNI and verification of https servers. Empty: the host of the URL.")] = ""
    resolver: Annotated[
        str, Doc('DNS server for the names in `servers`, like "127.0.0.1:53". Empty: the system\'s.')
    ] = ""
    health_path: Annotated[
        str,
        Doc(
            'Path that the health check asks for with GET, like "/healthz"; 2xx and 3xx are healthy. '
            "Empty: it only connects."
        ),
    ] = ""
    health_interval: Annotated[
        float,
        Gt(0),
        Le(3600),
        Unit("s"),
        Doc("Time between two health checks of a server."),
        Why("Precedent", "NGINX Plus's health_check interval; HAProxy's is 2 s"),
    ] = 5.0
    health_timeout: Annotated[
        float,
        Gt(0),
        Le(300),
        Unit("s"),
        Doc("Time for one health check."),
        Why(
            "Chosen",
            "shorter than the interval. Less takes servers out that are only slow",
        ),
    ] = 3.0
    unhealthy_after: Annotated[
        int,
        Ge(1),
        Le(100),
        Unit("checks"),
        Doc("Failed checks in a row that take a server out."),
        Why("Precedent", "HAProxy's fall"),
    ] = 3
    eject_after: Annotated[
        int,
        Ge(1),
        Le(1000),
        Unit("requests"),
        Doc("Failed requests in a row that eject one of several servers."),
        Why("Precedent", "Envoy's consecutive_5xx"),
    ] = 5
    eject_seconds: Annotated[
        float,
        Gt(0),
        Le(3600),
        Unit("s"),
        Doc("Length of the first ejection. Each further one is longer by as much, up to ten times."),
        Why(
            "Chosen",
            "less sends more requests to a server that still fails; more does without one that "
            "is well again. Envoy's base_ejection_time is 30 s",
        ),
    ] = 10.0
    slow_return: Annotated[
        float,
        Gt(0),
        Le(3600),
        Unit("s"),
        Doc("Time after which a server that returns gets its full share, as HAProxy's slowstart."),
        Why(
            "Chosen",
            "less gives a server with cold caches its full share sooner; HAProxy's and NGINX Plus's examples take 30 s",
        ),
    ] = 20.0

    def complaints(self) -> Iterator[Complaint]:
        if not self.servers:
            yield ("servers",), 'at least one server is needed, or "demo" for the built-in demo site'
        https = False
        http2 = False
        for number, server in enumerate(self.servers):
            if server == DEMO:
                if len(self.servers) > 1:
                    yield ("servers", number), '"demo" stands alone: the demo site is no copy of your service'
                if self.proxy_protocol != "off":
                    yield ("proxy_protocol",), "the demo site does not read PROXY protocol"
                continue
            wrong = _wrong_server(server)
            if wrong:
                yield ("servers", number), wrong
            elif server in self.servers[:number]:
                yield ("servers", number), "this server is listed twice"
            https = https or server.startswith(("https:", "h2:"))
            http2 = http2 or server.startswith(("h2:", "h2c:"))
        if http2 and self.proxy_protocol != "off":
            yield ("proxy_protocol",), "a connection of HTTP/2 carries the requests of many clients"
        if self.ca:
            if wrong := unreadable(self.ca):
                yield ("ca",), wrong
            if not self.verify:
                yield ("ca",), "authorities are of no use while upstream.verify is false"
        if self.server_name and not https:
            yield ("server_name",), "a name for TLS is of no use without an https server"
        if self.health_path and not self.health_path.startswith("/"):
            yield ("health_path",), 'a path must begin with "/"'
        if self.resolver and not _is_resolver(self.resolver):
            yield ("resolver",), 'allowed: the IP address of a DNS server, like "127.0.0.1" or "127.0.0.1:53"'


def _wrong_server(server: str) -> str:
    """What is wrong with one of `servers`; empty when nothing is."""
    if server.startswith("unix:"):
        return wrong_address(server)
    try:
        parts = urlsplit(server)
        port = parts.port
    except ValueError as error:
        return f"not a URL: {error}"
    if parts.scheme not in {"http", "https", "h2", "h2c"} or not parts.hostname or port == 0:
        return _SERVERS
    return _excess(parts)


def _excess(parts: SplitResult) -> str:
    """What a server's URL says beyond scheme, host and port; empty when nothing is."""
    if parts.username is not None or parts.password is not None:
        return "a user name or password has no place here; send it as the application expects it"
    if parts.path not in {"", "/"} or parts.query or parts.fragment:
        return "only scheme, host and port: requests keep their own path"
    if any(c not in string.ascii_letters + string.digits + "-._:[]" for c in parts.netloc):
        return "the host must be an IP address or an ASCII name (an international one in its xn-- form)"
    return ""


def _is_resolver(text: str) -> bool:
    """Whether this is an IP address, with a port or without."""
    host = text
    with contextlib.suppress(ValueError):  # no port
        host = getattr(parse_address(text), "host", "")
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
