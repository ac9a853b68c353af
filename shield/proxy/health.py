"""Active health checks of upstream servers, over connections of their own (aiohttp's client)."""

from __future__ import annotations

import asyncio
import ssl

import aiohttp

from shield.proxy.upstream import CONNECT_ERRORS, Pool, Server, out_of_files


async def probe(pool: Pool, server: Server) -> bool | None:
    """Whether `server` takes a connection and, with a health path, answers 2xx or 3xx to it. Never raises.

    None: it could not be asked, for want of a descriptor.
    """
    settings = pool.settings
    try:
        async with asyncio.timeout(settings.health_timeout):
            if not settings.health_path:
                connection = await pool.connect(server)
                connection.close()
                return True
            return await _ask(pool, server, pool.tls)
    except (*CONNECT_ERRORS, aiohttp.ClientError, ValueError) as error:
        if out_of_files(error):
            pool.no_files(server)
            return None
        return False


async def _ask(pool: Pool, server: Server, context: ssl.SSLContext | None) -> bool:
    headers = {"User-Agent": "shield-health-check", "Host": server.authority.decode("ascii")}
    if server.path:
        connector: aiohttp.BaseConnector = aiohttp.UnixConnector(server.path)
        urls = ["http://localhost"]
    else:
        # The URLs have addresses. aiohttp's default resolver would open sockets to look up nothing.
        resolver = aiohttp.ThreadedResolver()
        connector = aiohttp.TCPConnector(ssl=context if context is not None else True, resolver=resolver)
        scheme = "https" if server.tls else "http"
        addresses = await pool.addresses(server)
        urls = [f"{scheme}://{f'[{host}]' if ':' in host else host}:{server.port}" for host in addresses]
    name = (pool.settings.server_name or server.host) if server.tls else None
    async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:
        for url in urls:  # as requests do: the first address that takes a connection
            try:
                async with session.get(
                    url + pool.settings.health_path, headers=headers, allow_redirects=False, server_hostname=name
                ) as response:
                    return 200 <= response.status < 400
            except aiohttp.ClientConnectorError as error:
                if out_of_files(error):
                    raise
    return False
