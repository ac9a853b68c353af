"""As tests/http/test_forwarded_readers.py, with frameworks that are too large to be installed for each test."""

from __future__ import annotations

import asyncio
import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import PROGRAMS
from tests.http.test_forwarded_readers import CASES, environ, scope

pytestmark = pytest.mark.clients

EXPRESS = PROGRAMS / "express"
PATIENCE = 120.0
"""Seconds for npm, and for all requests to Express."""


@pytest.mark.parametrize("mode", ["modern", "legacy"])
@pytest.mark.parametrize(("client", "pairs", "count"), CASES)
async def test_hypercorn(client: str, pairs: list[tuple[str, str]], count: int, mode: Any) -> None:
    proxy_fix = pytest.importorskip("hypercorn.middleware.proxy_fix")
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope)

    await proxy_fix.ProxyFixMiddleware(app, mode=mode, trusted_hops=count)(scope(pairs), None, None)
    assert seen[0]["client"][0] == client
    if mode == "modern" or count == 1:  # "legacy" wants lists of scheme and host, which nobody writes
        assert (seen[0]["scheme"], dict(seen[0]["headers"])[b"host"]) == ("https", b"shop.example")


@pytest.mark.parametrize(("client", "pairs", "count"), CASES)
def test_django(client: str, pairs: list[tuple[str, str]], count: int) -> None:
    conf = pytest.importorskip("django.conf")
    from django.core.handlers.wsgi import WSGIRequest

    if not conf.settings.configured:
        conf.settings.configure(
            ALLOWED_HOSTS=["shop.example"],
            SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https"),
            USE_X_FORWARDED_HOST=True,
            USE_X_FORWARDED_PORT=True,
        )
    request = WSGIRequest({**environ(pairs), "wsgi.input": io.BytesIO()})
    assert request.is_secure()
    assert request.build_absolute_uri("/") == "https://shop.example/"
    assert request.META["HTTP_X_REAL_IP"] == client


async def test_express(tmp_path: Path) -> None:
    """Express, fetched by npm with the hashes of its lock file. Each of its ways to trust proxies is tried."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    shutil.copytree(EXPRESS, tmp_path, dirs_exist_ok=True)
    if await _run(tmp_path, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund") is None:
        pytest.skip("npm cannot fetch Express")
    asked = []
    for case in CASES:
        client, pairs, count = case.values
        # By their number, as a list of networks, and all: then it takes the leftmost.
        asked += [
            {"trust": trust, "fields": dict(pairs), "client": client}
            for trust in (count, ["127.0.0.1", "10.0.0.0/8"], True)
        ]
    (tmp_path / "asked.json").write_text(json.dumps(asked))
    said = await _run(tmp_path, "node", "app.mjs")
    assert said is not None
    for request, found in zip(asked, json.loads(said), strict=True):
        assert found == {"ip": request["client"], "protocol": "https", "host": "shop.example"}, request


async def _run(folder: Path, *command: str) -> bytes | None:
    """What a command says; None if it fails."""
    process = await asyncio.create_subprocess_exec(*command, cwd=folder, stdout=asyncio.subprocess.PIPE)
    try:
        async with asyncio.timeout(PATIENCE):
            said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return said if process.returncode == 0 else None
