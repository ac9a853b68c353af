"""The [http] table: limits on one request and its response."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Final

from annotated_types import Ge, Le
from typing_extensions import Doc

from shield.complaints import Complaint
from shield.http.grammar import PROTOCOL
from shield.marks import Unit, Why

_OF_REQUESTS: Final = frozenset({"h2", "h2c", "http", "tls"})
"""Protocols whose tunnels carry requests, or hide them: h2c is a known way past proxies (Bishop Fox, 2020)."""


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """The [http] table: limits on one request."""

    max_head_bytes: Annotated[
        int,
        Ge(1024),
        Le(1 << 20),
        Unit("bytes"),
        Doc("Size of the request line and the fields together; 431 beyond."),
        Why("Precedent", "nginx's four buffers of 8 KiB"),
    ] = 32768
    max_target_bytes: Annotated[
        int,
        Ge(64),
        Le(65536),
        Unit("bytes"),
        Doc("Size of the request target; 414 beyond."),
        Why("Precedent", "Apache's LimitRequestLine; RFC 9112 section 3 recommends at least 8,000"),
    ] = 8190
    max_fields: Annotated[
        int,
        Ge(8),
        Le(1000),
        Unit("fields"),
        Doc("Fields in a request head; 431 beyond."),
        Why("Precedent", "Apache's LimitRequestFields"),
    ] = 100
    max_body_bytes: Annotated[
        int,
        Ge(0),
        Unit("bytes"),
        Doc("Size of a request body; 413 beyond; 0 is unlimited. Bodies are streamed, so a large one costs no memory."),
        Why("Precedent", "Apache's LimitRequestBody since 2.4.53"),
    ] = 1 << 30
    body_buffer_bytes: Annotated[
        int,
        Ge(0),
        Le(1 << 24),
        Unit("bytes"),
        Doc(
            "Part of a request body that is buffered in memory before a concurrency slot is taken, so that a slow "
            "sender holds no slot. What is longer goes to a temporary file."
        ),
        Why(
            "Chosen",
            "a form without files fits. More costs memory, less writes temporary files; nginx's "
            "client_body_buffer_size is 16 KiB",
        ),
    ] = 65536
    body_spool_bytes: Annotated[
        int,
        Ge(0),
        Unit("bytes"),
        Doc(
            "Part of a request body that is kept in a temporary file until it is whole and there is a slot. A longer "
            "one is streamed from there on; 0 streams what does not fit into memory."
        ),
        Why(
            "Chosen",
            "a photo fits. A longer body holds its slot while the rest of it comes; nginx "
            "(proxy_request_buffering) keeps every body whole",
        ),
    ] = 64 << 20
    body_spools_bytes: Annotated[
        int,
        Ge(0),
        Unit("bytes"),
        Doc(
            "Room on disk for all of these together, for all workers. A file counts for 1 MiB at least. Who holds most "
            "of it waits first; clients with a history may hold more."
        ),
        Why("Chosen", "sixteen bodies at their most, and 1,024 descriptors"),
    ] = 1 << 30
    body_spool_directory: Annotated[
        str,
        Doc(
            "Directory of these files, and of that of `unsent_memory_bytes`, which have no name there; empty is the "
            "system's (TMPDIR, else /tmp). Where that is a tmpfs, they are in memory: better name one on a disk of "
            "this machine. Never one over a network: while a write waits, nobody is served."
        ),
        Why("Precedent", "nginx's client_body_temp_path"),
    ] = ""
    response_buffer_bytes: Annotated[
        int,
        Ge(0),
        Le(1 << 30),
        Unit("bytes"),
        Doc(
            "Part of a response that is read ahead of a client that reads slowly, so that the upstream is "
            "free for others; 0 reads no faster than the client."
        ),
        Why(
            "Chosen",
            "a page and a picture fit. Of a longer response a slow client holds the server's "
            "connection; nginx keeps a page in memory and 1 GiB on disk",
        ),
    ] = 8 << 20
    response_buffers_bytes: Annotated[
        int,
        Ge(0),
        Unit("bytes"),
        Doc(
            "What is read ahead for all clients together, for all workers. An address has at most as much of it as it "
            "leaves free, a client with a history four times that. Beyond it, slow ones hold their upstream connection."
        ),
        Why("Chosen", "sixteen clients at their most; eight of one address"),
    ] = 128 << 20
    unsent_bytes: Annotated[
        int,
        Ge(1 << 20),
        Unit("bytes"),
        Doc(
            "What may wait in all to be sent to clients that do not read, for all workers: what was read ahead, and "
            "all other answers; and what is kept of bodies in memory. Beyond it, connections of those for whose "
            "network and address most waits are closed. At least response_buffers_bytes."
        ),
        Why("Computed", "twice `http.response_buffers_bytes`, so that what is read ahead leaves room for others"),
    ] = 256 << 20
    unsent_memory_bytes: Annotated[
        int,
        Ge(0),
        Unit("bytes"),
        Doc(
            "Part of `unsent_bytes` that may wait in memory, for all workers. What is beyond it waits in one temporary "
            "file of each worker, which may grow to four times as much, as each client has blocks of its own. As much "
            "as unsent_bytes, or more, keeps all in memory."
        ),
        Why("Chosen", "four clients that are behind by as much as is sent to one at once (256 KiB)"),
    ] = 1 << 20
    h2: Annotated[
        bool,
        Doc(
            "Whether clients may speak HTTP/2 over TLS, which they choose by ALPN. Each stream is a request like any "
            "other."
        ),
    ] = True
    preserve_host: Annotated[
        bool, Doc("Whether the upstream is sent the client's Host. false: the authority of the upstream's URL.")
    ] = True
    upgrades: Annotated[
        tuple[str, ...],
        Doc(
            "Protocols besides WebSocket that a request may be upgraded to, by their names in Upgrade, in any case: "
            '["SPDY/3.1"], ["tailscale-control-protocol"]. Once the upstream agrees, bytes pass unread in both '
            "directions, as with a WebSocket. Other upgrades are not passed on."
        ),
    ] = ()

    def complaints(self) -> Iterator[Complaint]:
        for number, name in enumerate(self.upgrades):
            if PROTOCOL.fullmatch(name.encode("utf-8")) is None:
                yield ("upgrades", number), 'the name of a protocol, such as "SPDY/3.1"'
            elif name.lower() == "websocket":
                yield ("upgrades", number), "WebSockets are tunnelled anyway"
            elif name.lower().partition("/")[0] in _OF_REQUESTS:
                yield ("upgrades", number), "another protocol: in this one requests would pass that nobody judges"
        if self.unsent_bytes < self.response_buffers_bytes:
            yield ("unsent_bytes",), f"at least http.response_buffers_bytes, which is {self.response_buffers_bytes}"
