"""Answers that are odd but legal, by hypercorn. The one argument is the port."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from hypercorn.asyncio import serve
from hypercorn.config import Config

ANSWERS: dict[str, tuple[int, list[tuple[bytes, bytes]], list[bytes]]] = {
    "/page": (200, [(b"content-length", b"5")], [b"hello"]),
    "/none": (204, [], []),
    "/reset": (205, [(b"content-length", b"0")], []),
    "/same": (304, [(b"etag", b'"a"')], []),
    "/chunks": (200, [], [b"one", b"two"]),
    "/named": (200, [(b"x-one", b""), (b"x-two", b"\xe4"), (b"content-length", b"5")], [b"hello"]),
}


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        return
    if scope["type"] != "http":
        return
    status, fields, pieces = ANSWERS.get(scope["path"], (404, [], []))
    await send({"type": "http.response.start", "status": status, "headers": fields})
    for piece in pieces:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


config = Config()
config.bind = [f"127.0.0.1:{sys.argv[1]}"]
asyncio.run(serve(app, config))
