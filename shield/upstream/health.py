"""Active health checks of upstream servers, over connections of their own."""

from __future__ import annotations

import asyncio
import socket
from typing import Final
from urllib.parse import quote

import httptools

from shield.upstream.pool import CONNECT_ERRORS, Pool, Server, handed_over, out_of_files
from shield.wire.proxy_protocol import LOCAL

MOST_HEAD: Final = 65_536
"""bytes. Of the responses up to the final one's head."""
_IN_PATHS: Final = "%/?:@!$&'()*+,;=~"  # RFC 3986, besides letters and digits


async def probe(pool: Pool, server: Server) -> bool | None:
    """Whether `server` takes a connection and, with a health path, answers 2xx or 3xx to it. Never raises.

    None: it could not be asked, for want of a descriptor.
    """
    settings = pool.settings
    preamble = LOCAL.get(settings.proxy_protocol, b"")
    try:
        async with asyncio.timeout(settings.health_timeout):
            if not settings.health_path:
                connection = await pool.connect(server, preamble)
                connection.close()
                return True
            return await _ask(pool, server, preamble)
    except (*CONNECT_ERRORS, httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
        if out_of_files(error):
            pool.no_files(server)
            return None
        return False


async def _ask(pool: Pool, server: Server, preamble: bytes) -> bool:
    reader, writer = await _reach(pool, server, preamble)
    try:
        writer.write(
            b"GET %b HTTP/1.1\r\nHost: %b\r\nUser-Agent: shield-health-check\r\nConnection: close\r\n\r\n"
            % (quote(pool.settings.health_path, safe=_IN_PATHS).encode("ascii"), server.authority)
        )
        return 200 <= await _final_status(reader) < 400
    finally:
        writer.transport.abort()


async def _reach(pool: Pool, server: Server, preamble: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """As requests do: the first address that takes a connection."""
    name = (pool.settings.server_name or server.host) if server.tls else None
    error: Exception = OSError("no address")
    ways: list[tuple[int, str | tuple[str, int]]] = [(socket.AF_UNIX, server.path)]
    if not server.path:
        addresses = await pool.addresses(server)
        ways = [(socket.AF_INET6 if ":" in text else socket.AF_INET, (text, server.port)) for text in addresses]
    for family, address in ways:
        try:
            sock = await pool.dial(family, address, preamble)
            opening = asyncio.open_connection(
                sock=sock, ssl=pool.tls if server.tls else None, server_hostname=name, limit=MOST_HEAD
            )
            return await handed_over(sock, opening)
        except OSError as failure:
            if out_of_files(failure):
                raise
            error = failure
    raise error


async def _final_status(reader: asyncio.StreamReader) -> int:
    answer, left = _Answer(), MOST_HEAD
    while not answer.status and left > 0 and (data := await reader.read(left)):
        left -= len(data)
        answer.parser.feed_data(data)
    return answer.status


class _Answer:
    """The status of the first response that is not an interim one, 0 until it is known."""

    def __init__(self) -> None:
        self.status = 0
        self.parser = httptools.HttpResponseParser(self)

    def on_headers_complete(self) -> None:
        status = self.parser.get_status_code()
        if status >= 200 and not self.status:
            self.status = status
