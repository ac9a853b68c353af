"""The built-in demo site: what Shield stands in front of as shipped, so that there is something to see at once.

A page with parts, a form, a slow answer, an event stream and a WebSocket; and a search that can serve about 160
requests/s. Beyond that, searches wait for each other, as those of a database do. Behind Shield the site listens on a
private unix socket. `python -m shield.demo.site` serves it on a free port of 127.0.0.1, until its standard input ends:
the demo's flood compares the two.
"""

from __future__ import annotations

import asyncio
import contextlib
import html
import shlex
import shutil
import sys
import tempfile
import time
import tomllib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from aiohttp import WSMsgType, web

from shield.config.key_lines import key_lines

_PAGES: Final = Path(__file__).parent / "pages"

SEARCH_SECONDS: Final = 0.050
SEARCH_WORKERS: Final = 8
"""8 at a time, 50 ms each: 160/s, few enough for any machine to flood. More wait, as they would for a database."""

SLOWEST_MS: Final = 10_000
FORM_BYTES: Final = 64 * 1024
_TICK_SECONDS: Final = 1.0

_search_slots: Final = web.AppKey("search_slots", asyncio.Semaphore)


async def start_demo() -> tuple[str, web.AppRunner]:
    """Serve the site on a unix socket in a directory of its own: ("unix:/tmp/.../demo.sock", runner).

    `await runner.cleanup()` ends it and removes the directory.
    """
    directory = tempfile.mkdtemp(prefix="shield-demo-")  # mode 0700
    app = _application()

    async def remove(_: web.Application) -> None:
        shutil.rmtree(directory, ignore_errors=True)

    app.on_cleanup.append(remove)
    # A stream or WebSocket that is still open must not hold up the end of the process.
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.5)
    await runner.setup()
    path = f"{directory}/demo.sock"
    try:
        await web.UnixSite(runner, path, backlog=1024).start()
    except BaseException:
        await runner.cleanup()
        raise
    return f"unix:{path}", runner


def notice(url: str, config_path: str) -> str:
    """What to tell the operator once the demo site is up at `url`: where to look, and which line to change."""
    line = 0
    with contextlib.suppress(OSError, ValueError):
        text = Path(config_path).read_text(encoding="utf-8")
        tomllib.loads(text)
        line = key_lines(text).get(("upstream", "servers"), 0)
    # An installed package is no place for an operator's config: the next version would overwrite it.
    shipped = Path(config_path).parent == Path(__file__).parents[1]
    file = Path(config_path).name if shipped else config_path
    change = "change `servers` in " + (f"line {line} of {file}" if line else f"[upstream] in {file}")
    if shipped:
        change = f"cp {shlex.quote(config_path)} . , {change} and start it with: shield run --config {file}"
    return (
        f"Shield is up: open {url} in a browser to see the built-in demo site behind it.\n"
        f"To shield your own service, {change}"
    )


def _application() -> web.Application:
    app = web.Application(client_max_size=FORM_BYTES)
    app[_search_slots] = asyncio.Semaphore(SEARCH_WORKERS)
    for path, name in (
        ("/", "index.html"),
        ("/style.css", "style.css"),
        ("/picture.svg", "picture.svg"),
        ("/page.js", "page.js"),
    ):
        app.router.add_get(path, _file(name))
    app.router.add_get("/api/time", _time)
    app.router.add_get("/search", _search)
    app.router.add_get("/slow", _slow)
    app.router.add_post("/form", _form)
    app.router.add_get("/events", _events)
    app.router.add_get("/echo", _echo)
    return app


_TYPES: Final = {".html": "text/html", ".css": "text/css", ".svg": "image/svg+xml", ".js": "text/javascript"}


def _file(name: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    path = _PAGES / name
    body = path.read_bytes()
    kind = _TYPES[path.suffix]
    # The page is private to its reader, so Shield may put an earned pass on it; its parts may be kept by anybody.
    caching = "private, no-cache" if path.suffix == ".html" else "public, max-age=300"

    async def serve(_: web.Request) -> web.Response:
        return web.Response(body=body, content_type=kind, charset="utf-8", headers={"Cache-Control": caching})

    return serve


async def _time(_: web.Request) -> web.Response:
    return web.json_response({"time": _clock()}, headers={"Cache-Control": "no-store"})


async def _search(request: web.Request) -> web.Response:
    async with request.app[_search_slots]:
        await asyncio.sleep(SEARCH_SECONDS)
    words = request.query.get("q", "")[:200]
    return web.json_response({"searched": words, "found": len(words.split())})


async def _slow(request: web.Request) -> web.Response:
    """Answers after ?ms= milliseconds, at most SLOWEST_MS."""
    wanted = request.query.get("ms", "1000")
    milliseconds = min(int(wanted), SLOWEST_MS) if wanted.isascii() and wanted.isdigit() and len(wanted) < 8 else 1000
    await asyncio.sleep(milliseconds / 1000)
    return web.Response(text=f"This took {milliseconds} ms.\n")


async def _form(request: web.Request) -> web.Response:
    """Shows what was sent, every character escaped."""
    sent = await request.post()
    rows = "".join(
        f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>"
        for name, value in sent.items()
        if isinstance(value, str)
    )
    return web.Response(
        text=f'<!doctype html><html lang="en"><meta charset="utf-8"><title>You sent</title>'
        f'<link rel="stylesheet" href="/style.css"><main><h1>You sent</h1><dl>{rows}</dl>'
        f'<p><a href="/">Back</a></p></main></html>',
        content_type="text/html",
        headers={"Cache-Control": "private, no-store"},
    )


async def _events(request: web.Request) -> web.StreamResponse:
    """A clock as server-sent events."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
    await response.prepare(request)
    with contextlib.suppress(ConnectionError):
        while True:
            await response.write(f"data: {_clock()}\n\n".encode())
            await asyncio.sleep(_TICK_SECONDS)
    return response


async def _echo(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse(max_msg_size=FORM_BYTES, heartbeat=30.0)
    await socket.prepare(request)
    async for message in socket:
        if message.type == WSMsgType.TEXT:
            await socket.send_str(message.data)
        elif message.type == WSMsgType.BINARY:
            await socket.send_bytes(message.data)
    return socket


def _clock() -> str:
    return time.strftime("%H:%M:%S", time.gmtime())


async def _serve_bare() -> None:
    runner = web.AppRunner(_application(), access_log=None, handle_signals=False, shutdown_timeout=0.5)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    host, port = runner.addresses[0][:2]
    print(f"http://{host}:{port}/", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(_serve_bare())
