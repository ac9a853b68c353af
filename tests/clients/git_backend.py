"""git's own CGI program behind aiohttp: fetch and push over HTTP, as a forge serves them."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from aiohttp import web


def app(repositories: Path) -> web.Application:
    """Serves the bare repositories in this folder below /git/. Anybody may push."""

    async def serve(request: web.Request) -> web.StreamResponse:
        environment = {
            **os.environ,
            "GIT_PROJECT_ROOT": str(repositories),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": request.method,
            "PATH_INFO": "/" + request.match_info["path"],
            "QUERY_STRING": request.query_string,
            "CONTENT_TYPE": request.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": request.headers.get("Content-Encoding", ""),
            "HTTP_GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
            "REMOTE_USER": "somebody",
        }
        process = await asyncio.create_subprocess_exec(
            "git", "http-backend", env=environment, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        assert process.stdin is not None
        assert process.stdout is not None
        body = request.content

        async def feed() -> None:
            assert process.stdin is not None
            async for piece in body.iter_any():
                process.stdin.write(piece)
                await process.stdin.drain()
            process.stdin.close()

        feeding = asyncio.create_task(feed())
        head = (await process.stdout.readuntil(b"\r\n\r\n")).decode().splitlines()
        fields = dict(line.split(": ", 1) for line in head if line)
        response = web.StreamResponse(status=int(fields.pop("Status", "200")[:3]), headers=fields)
        await response.prepare(request)
        while piece := await process.stdout.read(1 << 16):
            await response.write(piece)
        await feeding
        await process.wait()
        return response

    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/git/{path:.*}", serve)
    return app
