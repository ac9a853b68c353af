"""Proxies as they are installed, with the configs of docs/gate.md, which ask Shield about the requests they carry."""

from __future__ import annotations

import asyncio
import os
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from bench.peers import caddy, envoy, nginx, traefik
from tests.integration.test_challenge import ANSWER, CHEAP, PROGRAM, solved

pytestmark = pytest.mark.clients

GUIDE = Path(__file__).parents[2] / "docs" / "gate.md"
WAIT = 30.0
DENIED = "127.5.0.1"

TRAEFIK = """\
global: {{checkNewVersion: false, sendAnonymousUsage: false}}
entryPoints: {{clients: {{address: "127.0.0.1:{port}"}}}}
providers: {{file: {{filename: "{folder}/dynamic.yaml", watch: false}}}}
"""
NGINX = """\
daemon off;
pid {folder}/nginx.pid;
error_log stderr crit;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {config}
}}
"""


def config_of(name: str, port: int, shield: int, service: int) -> str:
    """The example for a proxy as it stands in the guide, with other ports."""
    _, _, part = GUIDE.read_text("utf-8").partition(f"\n## {name}\n")
    found = re.search(r"^```\w+\n(.*?)^```", part, re.MULTILINE | re.DOTALL)
    assert found is not None
    text = found[1]
    for usual, ours in ((80, port), (8080, shield), (9000, service)):
        text, count = re.subn(rf"(127\.0\.0\.1:|127\.0\.0\.1, port_value: ){usual}\b", rf"\g<1>{ours}", text)
        assert count or (name == "Traefik" and usual == 80), usual
    return text


def command_of(name: str, folder: Path, text: str, port: int) -> list[str]:
    peer: Any = {"nginx": nginx, "Caddy": caddy, "Traefik": traefik, "Envoy": envoy}[name]
    if missing := peer.missing():
        pytest.skip(missing)
    path = peer.binary()
    file = folder / "proxy.yaml"
    file.write_text(text)
    if name == "nginx":
        file.write_text(NGINX.format(folder=folder, config=text))
        return [path, "-p", str(folder), "-c", str(file)]
    if name == "Caddy":
        file.write_text("{\n admin off\n auto_https off\n persist_config off\n}\n" + text)
        return [path, "run", "--adapter", "caddyfile", "--config", str(file)]
    if name == "Traefik":
        (folder / "dynamic.yaml").write_text(text)
        file = folder / "traefik.yaml"
        file.write_text(TRAEFIK.format(folder=folder, port=port))
        return [path, f"--configFile={file}"]
    return [path, "-c", str(file), "--concurrency", "1", "--disable-hot-restart", "--log-level", "off"]


@pytest.fixture(params=["nginx", "Caddy", "Traefik", "Envoy"])
async def gated(
    request: pytest.FixtureRequest, start: Callable[..., Awaitable[Any]], serve: Any, tmp_path: Path
) -> AsyncIterator[tuple[str, str, Any]]:
    """A proxy's name, its URL, and the Shield that it asks. Behind it is a service that tells what came."""
    name = request.param

    async def tell(asked: web.Request) -> web.Response:
        told = {name.lower(): value for name, value in asked.headers.items()}
        body = (await asked.read()).decode()
        return web.json_response({"method": asked.method, "path": asked.path_qs, "fields": told, "body": body})

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", tell)
    service = int((await serve(app)).rpartition(":")[2])
    shield = await start(
        listen={"gate": True, "trusted_proxies": ["127.0.0.1"]},
        challenge=CHEAP,
        identity={"deny": [f"{DENIED}/32"]},
        limits={"honeypots": ["/trap"]},
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = command_of(name, tmp_path, config_of(name, port, shield.port, service), port)
    process = await asyncio.create_subprocess_exec(
        *command,
        env={**os.environ, "HOME": str(tmp_path)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(WAIT):
            while True:
                assert process.returncode is None, f"{name} ended with {process.returncode}"
                try:
                    (await asyncio.open_connection("127.0.0.1", port))[1].close()
                    break
                except OSError:
                    await asyncio.sleep(0.05)
        if name == "Traefik":  # it listens before it has read its routes
            await asyncio.sleep(0.5)
        yield name, f"http://127.0.0.1:{port}", shield
    finally:
        if process.returncode is None:
            process.terminate()  # nginx ends its workers then; the others wait for connections
        try:
            async with asyncio.timeout(2.0):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


async def test_newcomers_are_challenged_solve_and_get_in_and_the_denied_stay_outside(
    gated: tuple[str, str, Any], client: Any
) -> None:
    name, url, shield = gated
    status = 429 if name == "Envoy" else 503
    person = client("127.8.0.1")

    # A newcomer gets the page, whatever it says of where it goes; a program gets a document.
    forged = {
        "X-Original-URI": "/.well-known/shield/answer",
        "X-Original-Method": "GET",
        "X-Forwarded-Uri": "/.well-known/shield/answer",
        "X-Forwarded-For": "127.0.0.1",
        "X-Shield-Verdict": "ok;wait=0",
    }
    async with person.get(f"{url}/page?a=1&b=%20", headers=forged) as response:
        assert response.status == status, await response.text()
        assert response.content_type == "text/html"
        assert int(response.headers["Retry-After"]) >= 1
        assert "/.well-known/shield/" in await response.text()
    line = await shield.logged("refused", reason="challenge_always")
    assert (line["address"], line["method"], line["path"], line["status"]) == ("127.8.0.1", "GET", "/page", 503)
    assert line["host"] == url.removeprefix("http://")
    program = client("127.8.0.4", headers=PROGRAM)
    async with program.put(f"{url}/page", data=b"x" * 1000) as response:
        assert response.status == status
        problem = await response.json(content_type=None)
        assert problem["status"] == status
    line = await shield.logged("refused", reason="challenge_always", count=2)
    assert (line["method"], line["path"]) == ("PUT", "/page")

    # The page's own parts come through the proxy, and so does the answer.
    async with program.post(f"{url}{ANSWER}", json=solved(problem["challenge"])) as response:
        assert response.status == 200, await response.text()
    for method in ("GET", "PUT", "DELETE"):
        sent = b"body" if method == "PUT" else None
        async with program.request(method, f"{url}/page?a=1&b=%20", data=sent) as response:
            assert response.status == 200, await response.text()
            told = await response.json()
            assert (told["method"], told["path"]) == (method, "/page?a=1&b=%20")
            assert told["body"] == (sent or b"").decode()
            if name != "nginx":
                assert told["fields"]["x-shield-reason"] == "ok"
        line = await shield.logged("request", method=method)
        assert (line["address"], line["path"], line["status"], line["reason"]) == ("127.8.0.4", "/page", 200, "ok")
    async with program.head(f"{url}/page") as response:
        assert response.status == 200
    assert (await shield.logged("request", method="HEAD"))["path"] == "/page"

    # The denied, and who walks into a trap.
    async with client(DENIED).get(f"{url}/page") as response:
        assert response.status == 403
        assert response.content_type == "text/html"
        assert "denylisted" in await response.text()
    thief = client("127.8.0.2", headers={"User-Agent": "thief/1"})
    for path, reason in (("/trap", "honeypot"), ("/", "client_banned")):
        async with thief.get(f"{url}{path}") as response:
            assert response.status == 403
            assert (await response.json(content_type=None))["reason"] == reason

    # Each request was decided once, and none was forwarded.
    await shield.logged("refused", reason="client_banned")
    lines = shield.seen("refused")
    assert [line["reason"] for line in lines] == [*["challenge_always"] * 2, "denylisted", "honeypot", "client_banned"]
    assert not shield.seen("fault")


@pytest.mark.parametrize("gated", ["nginx"], indirect=True)
async def test_a_form_survives_the_challenge_behind_nginx(gated: tuple[str, str, Any], client: Any) -> None:
    _, url, shield = gated
    form = {"comment": "a long one"}
    headers = {"Origin": url}
    async with client("127.8.0.5").post(f"{url}/comments", data=form, headers=headers) as response:
        assert response.status == 503
        assert 'name="comment"' in await response.text()
    line = await shield.logged("refused", path="/comments")
    assert (line["method"], line["reason"]) == ("POST", "challenge_always")


async def test_nobody_else_may_ask(gated: tuple[str, str, Any], client: Any) -> None:
    name, _, shield = gated
    path = f"/shield-gate/{name.lower()}"
    fields = {"X-Forwarded-For": "192.0.2.1", "X-Original-URI": "/", "X-Original-Method": "GET"}
    async with client("127.8.0.3").get(shield.url(path), headers=fields) as response:
        assert response.status == 403
    line = await shield.logged("fault", fault="gate_peer")
    assert line["address"] == "127.8.0.3"
    assert line["detail"] == "listen.trusted_proxies does not name this address"
    async with client("127.0.0.1").get(shield.url("/shield-gate/nginx")) as response:
        assert response.status == 400
    line = await shield.logged("fault", fault="gate_question")
    assert line["detail"] == "the field X-Original-Method is needed, once: there are 0"
