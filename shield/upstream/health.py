"""Active health checks of upstream servers, over connections of their own: one check, and all of them for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import quote

import httptools
from ngh2 import Connection, NGH2Error, ResponseReceived, Role, Setting, StreamClosed

from shield.errors import out_of_files
from shield.upstream.dial import CONNECT_ERRORS
from shield.upstream.pool import Pool
from shield.upstream.server import Server
from shield.wire.proxy_protocol import LOCAL

MOST_HEAD: Final = 65_536
"""bytes. A response is read up to here for the head of the final one, interim ones included."""
Probe = Callable[[Server], Awaitable[bool | None]]
"""Whether a server is well; None: that could not be found out."""

_IN_PATHS: Final = "%/?:@!$&'()*+,;=~"  # RFC 3986, besides letters and digits


async def watch(
    pool: Pool, probe: Probe, clock: Callable[[], float], sleep: Callable[[float], Awaitable[None]]
) -> None:
    """Check every server for ever, all at once, one round each interval. `probe` never raises."""
    while True:
        results = await asyncio.gather(*(probe(server) for server in pool.servers))
        for server, ok in zip(pool.servers, results, strict=True):
            if ok is not None:
                pool.checked(server, ok, clock())
        await sleep(pool.settings.health_interval)


async def probe(pool: Pool, server: Server) -> bool | None:
    """Whether `server` takes a connection and, if there is a health path, answers a GET of it with 2xx or 3xx.

    None: it could not be asked, for want of a file descriptor. Never raises.
    """
    settings = pool.settings
    preamble = LOCAL.get(settings.proxy_protocol, b"")
    try:
        async with asyncio.timeout(settings.health_timeout):
            if not settings.health_path:
                await pool.reach(server, preamble)
                return True
            return await _ask(pool, server, preamble)
    except (*CONNECT_ERRORS, httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
        if out_of_files(error):
            pool.no_files(server)
            return None
        return False


async def _ask(pool: Pool, server: Server, preamble: bytes) -> bool:
    reader, writer = await pool.dialer.stream(server, preamble, MOST_HEAD)
    try:
        if server.http2:
            return 200 <= await _status_over_http_2(reader, writer, server, pool.settings.health_path) < 400
        writer.write(
            b"GET %b HTTP/1.1\r\nHost: %b\r\nUser-Agent: shield-health-check\r\nConnection: close\r\n\r\n"
            % (quote(pool.settings.health_path, safe=_IN_PATHS).encode("ascii"), server.authority)
        )
        return 200 <= await _final_status(reader) < 400
    finally:
        writer.transport.abort()


async def _final_status(reader: asyncio.StreamReader) -> int:
    answer, left = _Answer(), MOST_HEAD
    while not answer.status and left > 0 and (data := await reader.read(left)):
        left -= len(data)
        answer.parser.feed_data(data)
    return answer.status


async def _status_over_http_2(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: Server, path: str
) -> int:
    library, left = Connection(Role.CLIENT), MOST_HEAD
    try:
        library.initiate_connection({Setting.ENABLE_PUSH: 0})
        pairs = (
            (b":method", b"GET"),
            (b":scheme", b"https" if server.tls else b"http"),
            (b":authority", server.authority),
            (b":path", quote(path, safe=_IN_PATHS).encode("ascii")),
            (b"user-agent", b"shield-health-check"),
        )
        library.send_request(pairs, end_stream=True)
        writer.write(library.data_to_send())
        while left > 0 and (data := await reader.read(left)):
            left -= len(data)
            library.receive_data(data)
            for event in library.events():
                if type(event) is ResponseReceived:
                    return int(dict(event.headers)[b":status"])
                if type(event) is StreamClosed:
                    return 0
            writer.write(library.data_to_send())
    except NGH2Error:
        return 0
    return 0


class _Answer:
    """The status of the first response that is not an interim one, 0 until it is known."""

    def __init__(self) -> None:
        self.status = 0
        self.parser = httptools.HttpResponseParser(self)

    def on_headers_complete(self) -> None:
        status = self.parser.get_status_code()
        if status >= 200 and not self.status:
            self.status = status
