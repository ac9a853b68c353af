"""The site that the clients visit, and what every one of them has to find there."""

from __future__ import annotations

import gzip
import hashlib
from typing import Final

from aiohttp import WSMsgType, web

LETTERS: Final = bytes(range(256))
LARGE: Final = LETTERS * 12_000
"""A download, 3 MB."""
UPLOAD: Final = LETTERS * 40_960
"""10 MiB, which each client makes for itself."""
WORDS: Final = b"many words " * 1000
ITEMS: Final = 30
PARTS: Final = 60
"""Of the page that a browser loads."""


def item(number: int) -> bytes:
    return b"item %d " % number * (number + 1)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


EXPECTED: Final = {
    "items": digest(b"".join(map(item, range(ITEMS)))),
    "zipped": digest(WORDS),
    "moved": "GET landed 0",
    "see_other": "GET landed 0",
    "head": str(len(LARGE)),
    "put": "PUT echo 5",
    "delete": "DELETE echo 0",
    "options": "OPTIONS echo 0",
    "upload": f"POST {len(UPLOAD)} {digest(UPLOAD)} length",
    "chunked": f"POST {len(UPLOAD)} {digest(UPLOAD)} chunked",
    "range": digest(LARGE[1000:2000]),
    "large": digest(LARGE),
    "stream": digest(LARGE),
    "empty": "204",
    "unchanged": "304",
    "missing": "404",
    "events": "0,1,2",
}
"""What a program prints, a JSON object. Those that cannot do something leave it out, and the test says so."""


def app() -> web.Application:
    app = web.Application(client_max_size=4 * len(UPLOAD))
    get, route = app.router.add_get, app.router.add_route
    get("/item/{number}", _item)
    get("/zipped", _zipped)
    route("*", "/moved", _moved)
    route("*", "/see-other", _see_other)
    route("*", "/landed", _echo)
    route("*", "/echo", _echo)
    route("*", "/upload", _upload)
    get("/large", _large)
    get("/stream", _stream)
    route("*", "/empty", _empty)
    get("/unchanged", _unchanged)
    get("/events", _events)
    get("/socket", _socket)
    get("/tree/{path:.*}", _tree)
    route("*", "/page", _page)
    get("/part/{number}", _part)
    return app


async def _item(request: web.Request) -> web.Response:
    return web.Response(body=item(int(request.match_info["number"])))


async def _zipped(request: web.Request) -> web.Response:
    if "gzip" not in request.headers.get("Accept-Encoding", ""):
        return web.Response(body=WORDS, headers={"Vary": "Accept-Encoding"})
    headers = {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
    return web.Response(body=gzip.compress(WORDS), headers=headers)


async def _moved(_: web.Request) -> web.Response:
    raise web.HTTPFound("/landed")


async def _see_other(request: web.Request) -> web.Response:
    await request.read()
    raise web.HTTPSeeOther("/landed")


async def _echo(request: web.Request) -> web.Response:
    return web.Response(text=f"{request.method} {request.path[1:]} {len(await request.read())}")


async def _upload(request: web.Request) -> web.Response:
    """What arrived and how it was framed."""
    sha, size = hashlib.sha256(), 0
    async for piece in request.content.iter_any():
        sha.update(piece)
        size += len(piece)
    framing = "chunked" if request.content_length is None else "length"
    return web.Response(text=f"{request.method} {size} {sha.hexdigest()} {framing}")


async def _large(request: web.Request) -> web.Response:
    wanted = request.http_range
    if wanted.start is None:
        return web.Response(body=LARGE, headers={"Accept-Ranges": "bytes"})
    body = LARGE[wanted]
    told = f"bytes {wanted.start}-{wanted.start + len(body) - 1}/{len(LARGE)}"
    return web.Response(status=206, body=body, headers={"Content-Range": told, "Accept-Ranges": "bytes"})


async def _stream(request: web.Request) -> web.StreamResponse:
    """Without a length: chunked, or to the end of the connection."""
    response = web.StreamResponse()
    await response.prepare(request)
    for at in range(0, len(LARGE), 50_000):
        await response.write(LARGE[at : at + 50_000])
    return response


async def _empty(_: web.Request) -> web.Response:
    return web.Response(status=204)


async def _unchanged(request: web.Request) -> web.Response:
    known = request.headers.get("If-None-Match") == '"v1"'
    return web.Response(status=304 if known else 200, headers={"ETag": '"v1"'})


async def _events(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
    await response.prepare(request)
    for number in range(3):
        await response.write(b"id: %d\ndata: %d\n\n" % (number, number))
    return response


async def _socket(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse(max_msg_size=0)
    await socket.prepare(request)
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            await socket.send_str(message.data)
        elif message.type is WSMsgType.BINARY:
            await socket.send_bytes(message.data)
    return socket


async def _tree(request: web.Request) -> web.Response:
    """Pages that link to each other, for who follows links: 1 + 4 + 16."""
    name = request.match_info["path"].removesuffix(".html")
    links = "".join(f'<a href="/tree/{name}{letter}.html">{letter}</a>' for letter in "abcd") if len(name) < 2 else ""
    return web.Response(text=f"<!doctype html><title>{name}</title>{links}", content_type="text/html")


async def _page(request: web.Request) -> web.Response:
    if request.method == "POST":
        form = await request.post()
        return web.Response(text=f"<title>Thanks {form['name']}</title>", content_type="text/html")
    parts = "".join(f"<img src='/part/{number}'>" for number in range(PARTS))
    form = "<form method=post action='/page'><input name=name value='größe'></form>"
    text = f"<!doctype html><title>Album</title><link rel=icon href='data:,'>{parts}{form}"
    return web.Response(text=text, content_type="text/html", headers={"Cache-Control": "private, no-cache"})


async def _part(_: web.Request) -> web.Response:
    image = "<svg xmlns='http://www.w3.org/2000/svg' width='8' height='8'/>"
    return web.Response(text=image, content_type="image/svg+xml", headers={"Cache-Control": "no-store"})
