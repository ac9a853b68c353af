"""python by_aiohttp.py URL AUTHORITY"""

import asyncio
import ssl
import sys

import aiohttp
from common import ITEMS, PASS, UPLOAD, digest, events, pieces, tell

url, authority = sys.argv[1:]


async def chunks():
    for piece in pieces():
        yield piece


async def main():
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=authority))
    async with aiohttp.ClientSession(connector=connector, headers=PASS) as session:

        async def ask(path, method="GET", **more):
            async with session.request(method, url + path, **more) as response:
                return response, await response.read()

        async with session.ws_connect(f"{url}/socket") as socket:
            await socket.send_bytes(UPLOAD[: 1 << 20])
            assert (await socket.receive()).data == UPLOAD[: 1 << 20]
        tell(
            items=digest(*[(await ask(f"/item/{number}"))[1] for number in range(ITEMS)]),
            zipped=digest((await ask("/zipped"))[1]),
            moved=(await ask("/moved"))[1].decode(),
            see_other=(await ask("/see-other", "POST", data={"name": "x"}))[1].decode(),
            head=(await ask("/large", "HEAD"))[0].headers["Content-Length"],
            put=(await ask("/echo", "PUT", data=b"12345"))[1].decode(),
            delete=(await ask("/echo", "DELETE"))[1].decode(),
            options=(await ask("/echo", "OPTIONS"))[1].decode(),
            upload=(await ask("/upload", "POST", data=UPLOAD, expect100=True))[1].decode(),
            chunked=(await ask("/upload", "POST", data=chunks()))[1].decode(),
            range=digest((await ask("/large", headers={"Range": "bytes=1000-1999"}))[1]),
            large=digest((await ask("/large"))[1]),
            stream=digest((await ask("/stream"))[1]),
            empty=(await ask("/empty"))[0].status,
            unchanged=(await ask("/unchanged", headers={"If-None-Match": '"v1"'}))[0].status,
            missing=(await ask("/missing"))[0].status,
            events=events((await ask("/events"))[1].decode()),
        )


asyncio.run(main())
