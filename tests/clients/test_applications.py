"""Applications as they are installed, behind Shield, with clients made for them: in calm weather, and with a pass where
everybody is challenged. A git server is in test_tools.py, an app with a service worker in test_renewal.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib.util
import json
import os
import re
import shutil
import socket
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import WSMsgType, web

from tests.clients.conftest import DEADLINE, PROGRAMS, Front, Make

pytestmark = pytest.mark.clients

WEATHERS = ["http", "https", "always"]
with_a_pass = pytest.mark.parametrize("make_front", WEATHERS, indirect=True)
LARGE = os.urandom(3 << 20)


def needs(*modules: str) -> None:
    for module in modules:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")


@contextlib.contextmanager
def in_thread(server: Any) -> Iterator[str]:
    """A server of cheroot that is served by a thread of its own; its address."""
    server.prepare()
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.bind_addr[1]}"
    finally:
        server.stop()
        thread.join()


async def dav(front: Front, method: str, path: str, *more: str, wanted: int) -> str:
    """What curl gets for a method of WebDAV."""
    said = await front.run(
        *("curl", "--silent", "--cacert", str(front.authority), "--write-out", "\n%{http_code}"),
        *(*front.fields("-H"), "--request", method, *more, front.url(path)),
    )
    body, _, status = said.decode().rpartition("\n")
    assert int(status) == wanted, body
    return body


@with_a_pass
async def test_a_share_of_webdav(make_front: Make, tmp_path: Path) -> None:
    """WsgiDAV: folders, a file put, found, locked, moved (Destination names Shield's own address), and deleted."""
    needs("wsgidav", "cheroot")
    from cheroot import wsgi
    from wsgidav.wsgidav_app import WsgiDAVApp

    share = tmp_path / "share"
    share.mkdir()
    app = WsgiDAVApp(
        {
            "provider_mapping": {"/": str(share)},
            "simple_dc": {"user_mapping": {"*": True}},
            "verbose": 0,
            "logging": {"enable": False},
        }
    )
    (tmp_path / "large").write_bytes(LARGE)
    with in_thread(wsgi.Server(("127.0.0.1", 0), app)) as address:
        front = await make_front(address)
        await dav(front, "MKCOL", "/folder/", wanted=201)
        await dav(front, "PUT", "/folder/large", "--upload-file", str(tmp_path / "large"), wanted=201)
        found = await dav(front, "PROPFIND", "/folder/", "-H", "Depth: 1", wanted=207)
        assert re.findall(r"<(?:\w+:)?href>([^<]*)<", found) == ["/folder/", "/folder/large"]
        asked = (
            '<?xml version="1.0"?><lockinfo xmlns="DAV:"><lockscope><exclusive/></lockscope>'
            "<locktype><write/></locktype></lockinfo>"
        )
        locked = await dav(front, "LOCK", "/folder/large", "--data", asked, wanted=200)
        token = re.search(r"(opaquelocktoken:[^<]*)<", locked)
        assert token is not None
        await dav(front, "PUT", "/folder/large", "--data", "x", wanted=423)
        await dav(front, "UNLOCK", "/folder/large", "-H", f"Lock-Token: <{token[1]}>", wanted=204)
        moved = front.url("/folder/moved").replace("https://", "http://")  # the share knows of no TLS
        await dav(front, "MOVE", "/folder/large", "-H", f"Destination: {moved}", wanted=201)
        assert (share / "folder" / "moved").read_bytes() == LARGE
        await dav(front, "DELETE", "/folder/", wanted=204)
        assert list(share.iterdir()) == []


@with_a_pass
async def test_an_upload_by_tus_goes_on_where_it_was_cut(make_front: Make, tmp_path: Path) -> None:
    """tuspyserver and tuspy: the Location that the server gives leads through Shield; PATCH by the megabyte."""
    needs("tuspyserver", "tusclient", "uvicorn", "fastapi")
    kept = tmp_path / "kept"
    (tmp_path / "large").write_bytes(LARGE)
    async with tus_server(kept) as address:
        front = await make_front(address)
        program = (sys.executable, str(PROGRAMS / "by_tuspy.py"), front.url("/files/"), str(tmp_path / "large"))
        said = await front.run(*program, str(front.authority))
        assert said.decode().startswith(front.url("/files/"))
    assert hashlib.sha256(LARGE).digest() in {
        hashlib.sha256(each.read_bytes()).digest() for each in kept.iterdir() if each.is_file()
    }


@contextlib.asynccontextmanager
async def tus_server(folder: Path) -> AsyncIterator[str]:
    import uvicorn
    from fastapi import FastAPI
    from tuspyserver import create_tus_router

    app = FastAPI()
    app.include_router(create_tus_router(prefix="files", files_dir=str(folder)))
    config = uvicorn.Config(app, log_level="warning", forwarded_allow_ips="127.0.0.1", lifespan="off")
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        serving = asyncio.create_task(server.serve([listening]))
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            await asyncio.wait_for(serving, DEADLINE)


@with_a_pass
async def test_a_chat_over_websocket(make_front: Make) -> None:
    """Two people in a room hear each other, by aiohttp; whoever has no pass is not let in."""
    import aiohttp

    room: set[web.WebSocketResponse] = set()

    async def chat(request: web.Request) -> web.WebSocketResponse:
        line = web.WebSocketResponse(heartbeat=5)
        await line.prepare(request)
        room.add(line)
        async for message in line:
            for other in tuple(room):
                await other.send_str(message.data)
        room.discard(line)
        return line

    app = web.Application()
    app.router.add_get("/chat", chat)
    front = await make_front(app)
    fields = {"Shield-Pass": front.token} if front.token else {}
    async with aiohttp.ClientSession(headers=fields) as session:
        one, other = [await session.ws_connect(front.url("/chat"), ssl=False) for _ in range(2)]
        for speaker in (one, other):
            await speaker.send_str("grüß dich")
            for listener in (one, other):
                heard = await listener.receive(timeout=DEADLINE)
                assert (heard.type, heard.data) == (WSMsgType.TEXT, "grüß dich")
        for line in (one, other):
            await line.close()


FEED = b"""<?xml version="1.0"?><rss version="2.0"><channel><title>News</title><link>http://site.example/</link>
<description>d</description><item><title>First</title><guid>1</guid><link>http://site.example/1</link></item></channel>
</rss>"""


def feed() -> web.Application:
    async def say(_: web.Request) -> web.Response:
        return web.Response(body=FEED, content_type="application/rss+xml", headers={"ETag": '"1"'})

    app = web.Application()
    app.router.add_get("/feed.xml", say)
    return app


@pytest.mark.parametrize("make_front", ["http", "always"], indirect=True)
async def test_a_feed_reader(make_front: Make, tmp_path: Path) -> None:
    """newsboat cannot show a pass. Feeds are never challenged, unless `challenge.presets` leaves them out."""
    if shutil.which("newsboat") is None:
        pytest.skip("newsboat is not installed")
    front = await make_front(feed())
    (tmp_path / "urls").write_text(front.url("/feed.xml"))
    (tmp_path / "config").write_text("download-retries 1\n")
    files = ("--url-file=urls", "--config-file=config", "--cache-file=cache")

    async def unread() -> str:
        await front.run("newsboat", *files, "--execute=reload")
        return (await front.run("newsboat", *files, "--execute=print-unread")).decode()

    if front.token:
        front.shield.reload(challenge={"presets": []})
        await front.shield.logged("reloaded")
        assert (await unread()).startswith("0 ")
        front.shield.reload(challenge={})
        await front.shield.logged("reloaded", 2)
        refused = front.shield.seen("refused", address="127.0.0.1", action="challenge")
        front.excused["challenge_always"] = len(refused)
    assert (await unread()).startswith("1 ")


REGISTRY = PROGRAMS / "registry"


@pytest.mark.parametrize("make_front", ["http", "always"], indirect=True)
async def test_a_package_registry(make_front: Make, tmp_path: Path) -> None:
    """verdaccio, by npm: a package is published and installed. npm cannot show a pass: where everybody is challenged,
    the preset for package managers lets it install, and `challenge.never` lets it publish."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    home = Path(__file__).parents[2] / "build" / "registry"
    home.mkdir(parents=True, exist_ok=True)
    for each in ("package.json", "package-lock.json"):
        shutil.copy(REGISTRY / each, home / each)
    if not (home / "node_modules" / ".bin" / "verdaccio").exists():
        fetching = await asyncio.create_subprocess_exec(
            *("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"), cwd=home
        )
        if await fetching.wait():
            pytest.skip("npm cannot fetch verdaccio")
    async with verdaccio(home, tmp_path) as address:
        front = await make_front(address)
        if front.token:
            front.shield.reload(challenge={"never": ["/"]})
            await front.shield.logged("reloaded")
        (tmp_path / ".npmrc").write_text(
            f"registry={front.url('/')}\n//127.0.0.1:{front.shield.port}/:_authToken=anybody\nfetch-retries=0\n"
        )
        package = tmp_path / "package"
        package.mkdir()
        (package / "package.json").write_text(json.dumps({"name": "found-here", "version": "1.0.0"}))
        (package / "index.js").write_text("module.exports = 42;\n")
        npm = ("npm", "--userconfig", str(tmp_path / ".npmrc"), "--no-audit", "--no-fund", "--no-update-notifier")
        await front.run(*npm, "publish", str(package))
        if front.token:
            front.shield.reload(challenge={"never": [], "presets": ["package-managers"]})
            await front.shield.logged("reloaded", 2)
        await front.run(*npm, "install", "--prefix", str(tmp_path / "user"), "found-here")
        assert (tmp_path / "user" / "node_modules" / "found-here" / "index.js").read_text() == "module.exports = 42;\n"


@contextlib.asynccontextmanager
async def verdaccio(home: Path, place: Path) -> AsyncIterator[str]:
    """A registry that anybody may publish to, and that asks no other."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = place / "verdaccio.yaml"
    config.write_text(
        f"storage: {place / 'storage'}\nuplinks: {{}}\nlog: {{type: stdout, level: error}}\n"
        "packages:\n  '**':\n    access: $all\n    publish: $all\n    unpublish: $all\n"
    )
    process = await asyncio.create_subprocess_exec(
        *("node", "node_modules/.bin/verdaccio", "--config", str(config), "--listen", f"127.0.0.1:{port}"),
        cwd=home,
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(DEADLINE):
            while True:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    break
                await asyncio.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()
