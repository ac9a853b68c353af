"""TLS of the admin listener: its certificate, and handshakes that are bounded in number and time.

An event loop that is told to serve TLS takes any number of connections into handshakes. So connections are accepted
here, MOST_HANDSHAKES at a time may begin one, for HANDSHAKE_SECONDS each, and the others are closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

MOST_HANDSHAKES: Final = 16
HANDSHAKE_SECONDS: Final = 5.0
PAUSE_SECONDS: Final = 0.1
"""Before the next accept() when one has failed."""


def context(certificate: str, key: str) -> ssl.SSLContext:
    """What TLS is spoken with, by these PEM files. Raises OSError (ssl.SSLError is one) or ValueError."""
    for path in filter(None, (certificate, key)):
        if Path(path).exists() and not Path(path).is_file():  # to open a pipe would be to wait for who writes it
            raise ValueError("not a regular file")
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.set_alpn_protocols(["http/1.1"])
    put_into(made, certificate, key)
    return made


def put_into(made: ssl.SSLContext, certificate: str, key: str) -> None:
    """Show this certificate in handshakes from now on. Raises OSError."""
    # The callback keeps OpenSSL from asking for a passphrase at a terminal.
    made.load_cert_chain(certificate, key or None, password=lambda: "")


def reason(error: Exception) -> str:
    """Why a certificate cannot be used, in words: OpenSSL's, or the system's."""
    said = getattr(error, "reason", None)
    return str(said).replace("_", " ").lower() if said else getattr(error, "strerror", None) or str(error)


class TlsServer:
    """Accepts on `sockets`, which listen already, and closes them at the end. `protocol` makes what speaks over TLS.

    `close` and `sockets` are those of asyncio.Server.
    """

    def __init__(
        self, sockets: Sequence[socket.socket], tls: ssl.SSLContext, protocol: Callable[[], asyncio.Protocol]
    ) -> None:
        self.sockets = list(sockets)
        self._tls = tls
        self._protocol = protocol
        self._shaking: set[asyncio.Task[None]] = set()
        for each in self.sockets:
            each.setblocking(False)
        loop = asyncio.get_running_loop()
        self._accepting = [loop.create_task(self._accept(each)) for each in self.sockets]

    def close(self) -> None:
        """Accept nothing more; `wait_closed` to end what is under way."""
        for task in (*self._accepting, *self._shaking):
            task.cancel()

    async def wait_closed(self) -> None:
        """After `close`: wait until its handshakes have ended."""
        await asyncio.gather(*self._accepting, *self._shaking, return_exceptions=True)
        for each in self.sockets:
            each.close()

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, _ = await loop.sock_accept(listening)
            except OSError:  # no descriptor is left, or the client went
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            if len(self._shaking) >= MOST_HANDSHAKES:
                sock.close()
                continue
            task = loop.create_task(self._shake(sock))
            self._shaking.add(task)
            task.add_done_callback(self._shaking.discard)

    async def _shake(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):  # ssl.SSLError is one, as is TimeoutError
            await loop.connect_accepted_socket(
                self._protocol, sock, ssl=self._tls, ssl_handshake_timeout=HANDSHAKE_SECONDS
            )


async def bound(host: str, port: int, backlog: int) -> list[socket.socket]:
    """Sockets that listen at an address; of port 0 the system chooses one, the same for all. Raises OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    made: list[socket.socket] = []
    try:
        for family, *_, address in dict.fromkeys(found):
            sock = socket.socket(family, socket.SOCK_STREAM)
            made.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((address[0], port or made[0].getsockname()[1], *address[2:]))
            sock.listen(backlog)
    except OSError:
        for sock in made:
            sock.close()
        raise
    return made
