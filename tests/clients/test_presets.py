"""challenge.presets with the programs that they are for, as they are installed, where everybody is challenged."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
import os
import shutil
import sys
import tarfile
import zipfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.clients import git_backend
from tests.clients.conftest import DEADLINE
from tests.integration.test_challenge import CHEAP

pytestmark = pytest.mark.clients

Start = Callable[..., Awaitable[Any]]


async def run(folder: Path, *command: str, **environment: str) -> tuple[int, str]:
    """Exit status and output of a program; without it the test is skipped."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env={**os.environ, "HOME": str(folder), "no_proxy": "*", **environment},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(DEADLINE):
            said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode or 0, said.decode()


async def with_and_without(start: Start, origin: str, preset: str) -> tuple[Any, Any]:
    """A Shield with the preset, and one without any."""
    more = {"upstream": {"servers": [origin]}}
    yes = await start(challenge={**CHEAP, "presets": [preset]}, **more)
    return yes, await start(challenge={**CHEAP, "presets": []}, **more)


async def test_git(start: Start, serve: Any, tmp_path: Path) -> None:
    repositories = tmp_path / "served"
    repositories.mkdir()
    calm = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"}
    who = ("-c", "user.name=a", "-c", "user.email=a@b.example", "-c", "init.defaultBranch=main")
    assert (await run(repositories, "git", "init", "--quiet", "--bare", "p.git", **calm))[0] == 0
    await run(repositories / "p.git", "git", "config", "http.receivepack", "true", **calm)
    yes, no = await with_and_without(start, await serve(git_backend.app(repositories)), "git")
    status, said = await run(tmp_path, "git", "clone", yes.url("/git/p.git"), "clone", **calm)
    assert status == 0, said
    (tmp_path / "clone" / "file").write_bytes(b"hello")
    for arguments in (("add", "file"), ("commit", "--quiet", "--message", "first"), ("push", "origin", "HEAD:main")):
        status, said = await run(tmp_path / "clone", "git", *who, *arguments, **calm)
        assert status == 0, said
    assert (await run(tmp_path, "git", "clone", "--quiet", "--branch", "main", yes.url("/git/p.git"), "again", **calm))[
        0
    ] == 0
    assert (tmp_path / "again" / "file").read_bytes() == b"hello"
    assert (await run(tmp_path, "git", "clone", "--quiet", no.url("/git/p.git"), "none", **calm))[0] != 0
    status, said = await run(tmp_path, "curl", "--silent", "--user-agent", "git/2.39.5", yes.url("/git/search"))
    assert json.loads(said)["reason"] == "challenge_always", "the name alone opens nothing"


async def test_pip(start: Start, serve: Any, tmp_path: Path) -> None:
    wheel = io.BytesIO()
    about = "Metadata-Version: 2.1\nName: tiny-thing\nVersion: 1.0\n"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in (
            ("tiny_thing.py", "x = 1\n"),
            ("tiny_thing-1.0.dist-info/METADATA", about),
            ("tiny_thing-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"),
            ("tiny_thing-1.0.dist-info/RECORD", ""),
        ):
            archive.writestr(name, text)
    link = "/packages/tiny_thing-1.0-py3-none-any.whl"

    async def index(_: web.Request) -> web.Response:
        return web.Response(text=f'<a href="{link}">tiny_thing-1.0-py3-none-any.whl</a>', content_type="text/html")

    async def file(_: web.Request) -> web.Response:
        return web.Response(body=wheel.getvalue())

    app = web.Application()
    app.add_routes([web.get("/simple/tiny-thing/", index), web.get(link, file)])
    yes, no = await with_and_without(start, await serve(app), "package-managers")
    if (await run(tmp_path, sys.executable, "-m", "pip", "--version"))[0]:
        pytest.skip("pip is not installed")
    options = ("--disable-pip-version-check", "--no-cache-dir", "--no-deps", "--retries", "0", "--isolated")
    get = (sys.executable, "-m", "pip", "download", *options, "--dest", str(tmp_path / "got"), "tiny-thing")
    status, said = await run(tmp_path, *get, "--index-url", yes.url("/simple/"))
    assert status == 0, said
    assert (tmp_path / "got" / Path(link).name).read_bytes() == wheel.getvalue()
    assert (await run(tmp_path, *get, "--index-url", no.url("/simple/")))[0] != 0


async def test_npm(start: Start, serve: Any, tmp_path: Path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        data = json.dumps({"name": "@team/tiny", "version": "1.0.0"}).encode()
        entry = tarfile.TarInfo("package/package.json")
        entry.size = len(data)
        archive.addfile(entry, io.BytesIO(data))

    async def about(request: web.Request) -> web.Response:
        there = f"http://{request.headers['Host']}/@team/tiny/-/tiny-1.0.0.tgz"
        digest = base64.b64encode(hashlib.sha512(packed.getvalue()).digest()).decode()
        dist = {"tarball": there, "integrity": f"sha512-{digest}"}
        version = {"name": "@team/tiny", "version": "1.0.0", "dist": dist}
        return web.json_response(
            {"name": "@team/tiny", "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": version}}
        )

    async def file(_: web.Request) -> web.Response:
        return web.Response(body=packed.getvalue())

    app = web.Application()
    app.add_routes([web.get("/@team/tiny/-/tiny-1.0.0.tgz", file), web.get("/{name:@team.*tiny}", about)])
    yes, no = await with_and_without(start, await serve(app), "package-managers")
    options = ("--no-audit", "--no-fund", "--no-update-notifier", "--fetch-retries", "0")
    for shield, expected in ((yes, True), (no, False)):
        folder = tmp_path / f"project-{expected}"
        folder.mkdir()
        (folder / "package.json").write_text("{}")
        where = ("--registry", shield.url("/"), "--cache", str(folder / "cache"))
        status, said = await run(folder, "npm", "install", *options, *where, "@team/tiny")
        assert (status == 0) is expected, said
        assert (folder / "node_modules" / "@team" / "tiny" / "package.json").is_file() is expected


@pytest.mark.parametrize(
    ("preset", "path", "options"),
    [
        ("robots", "/robots.txt", ()),
        ("well-known", "/.well-known/security.txt", ()),
        ("feeds", "/blog/atom.xml", ("--user-agent", "Feedly/1.0", "--header", "If-None-Match: x")),
        ("health-checks", "/healthz", ("--head",)),
        ("webhooks", "/webhooks/shop", ("--header", "Content-Type: application/json", "--data", "{}")),
        ("activitypub", "/users/a/inbox", ("--header", "Content-Type: application/activity+json", "--data", "{}")),
        ("activitypub", "/users/a", ("--header", "Accept: application/activity+json")),
        ("link-previews", "/page", ("--user-agent", "facebookexternalhit/1.1")),
    ],
)
async def test_what_simple_programs_send(
    start: Start, serve: Any, tmp_path: Path, preset: str, path: str, options: tuple[str, ...]
) -> None:
    async def fine(_: web.Request) -> web.Response:
        return web.Response(text="fine")

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", fine)
    yes, no = await with_and_without(start, await serve(app), preset)
    curl = ("curl", "--silent", "--show-error", "--output", "/dev/null", "--write-out", "%{http_code}", *options)
    assert await run(tmp_path, *curl, yes.url(path)) == (0, "200")
    assert await run(tmp_path, *curl, no.url(path)) == (0, "503")
