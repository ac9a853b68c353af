"""The usual aiohttp proxy: what most people write first, tuned as far as its own options go.

web.Application and one ClientSession on uvloop, no bound on the pool, bodies passed on as they are (not
decompressed), no access log.
"""

from __future__ import annotations

import argparse
import asyncio
import ssl
from collections.abc import AsyncIterator
from typing import Final

import uvloop
from aiohttp import ClientSession, ClientWebSocketResponse, DummyCookieJar, TCPConnector, WSMsgType, web
from multidict import CIMultiDict

from bench.common.guard import target

HOP_BY_HOP: Final = ("Connection", "Keep-Alive", "Proxy-Connection", "TE", "Trailer", "Transfer-Encoding", "Upgrade")
SESSION: Final = web.AppKey("session", ClientSession)
ORIGIN: Final = web.AppKey("origin", str)


async def forward(request: web.Request) -> web.StreamResponse:
    if request.headers.get("Upgrade", "").lower() == "websocket":
        return await websocket(request)
    fields = CIMultiDict(request.headers)
    for name in HOP_BY_HOP:
        fields.popall(name, None)
    fields["X-Forwarded-For"] = request.remote or ""
    body = request.content if request.can_read_body else None
    async with request.app[SESSION].request(
        request.method, request.app[ORIGIN] + request.raw_path, headers=fields, data=body, allow_redirects=False
    ) as upstream:
        answer = CIMultiDict(upstream.headers)
        for name in HOP_BY_HOP:
            answer.popall(name, None)
        response = web.StreamResponse(status=upstream.status, reason=upstream.reason, headers=answer)
        await response.prepare(request)
        async for chunk in upstream.content.iter_any():
            await response.write(chunk)
        await response.write_eof()
        return response


async def websocket(request: web.Request) -> web.WebSocketResponse:
    client = web.WebSocketResponse(compress=False)
    await client.prepare(request)
    async with request.app[SESSION].ws_connect(request.app[ORIGIN] + request.raw_path) as upstream:
        await asyncio.gather(relay(client, upstream), relay(upstream, client))
    return client


async def relay(
    source: web.WebSocketResponse | ClientWebSocketResponse, sink: web.WebSocketResponse | ClientWebSocketResponse
) -> None:
    async for message in source:
        if message.type is WSMsgType.TEXT:
            await sink.send_str(message.data)
        elif message.type is WSMsgType.BINARY:
            await sink.send_bytes(message.data)
    await sink.close()


async def session(app: web.Application) -> AsyncIterator[None]:
    connector = TCPConnector(limit=0)
    async with ClientSession(connector=connector, auto_decompress=False, cookie_jar=DummyCookieJar()) as app[SESSION]:
        yield


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.peers.aiohttp_proxy", description="The usual aiohttp proxy.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--origin", type=target, required=True, help="http://127.0.0.1:PORT")
    parser.add_argument("--certificate", help="PEM; with it clients speak TLS 1.3")
    parser.add_argument("--key", help="PEM")
    arguments = parser.parse_args()
    app = web.Application(client_max_size=0)
    app[ORIGIN] = arguments.origin.url.removesuffix("/")
    app.cleanup_ctx.append(session)
    app.router.add_route("*", "/{path:.*}", forward)
    context = None
    if arguments.certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(arguments.certificate, arguments.key)
    uvloop.install()
    web.run_app(app, host="127.0.0.1", port=arguments.port, access_log=None, print=None, ssl_context=context)


if __name__ == "__main__":
    main()
