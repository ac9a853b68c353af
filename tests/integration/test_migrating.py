"""The guides in docs/migrating: the other program's config and Shield's, as they stand there, side by side.

nginx and HAProxy are run as they are installed, and skipped by name where they are not. Anubis is not run: what its
config would do is worked out from the rules as its documentation has them (the first that fits).
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import socket
import time
import tomllib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest
import yaml
from aiohttp import web

Start = Callable[..., Awaitable[Any]]
GUIDES = Path(__file__).parents[2] / "docs" / "migrating"
WAIT = 20.0
ORIGIN = "127.0.0.1:9000"  # as the guides have it
BROWSER = "Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/140.0"

pytestmark = pytest.mark.skipif(not GUIDES.exists(), reason="needs the whole repository")


def block(guide: str, language: str) -> str:
    """The one example in a language."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", (GUIDES / guide).read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return str(found)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
async def service(serve: Any) -> str:
    """The application: host:port."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="hello")

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", answer)
    url: str = await serve(app)
    return url.removeprefix("http://")


@contextlib.asynccontextmanager
async def running(port: int, *argv: str) -> AsyncIterator[int]:
    """A program that listens at a port of loopback."""
    process = await asyncio.create_subprocess_exec(*argv, stderr=asyncio.subprocess.DEVNULL)
    try:
        async with asyncio.timeout(WAIT):
            while True:
                assert process.returncode is None, f"{argv[0]} does not run"
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    break
                await asyncio.sleep(0.02)
        yield port
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def shielded(start: Start, guide: str, service: str) -> int:
    """The port of a Shield with the guide's config."""
    config = tomllib.loads(block(guide, "toml").replace(ORIGIN, service))
    config["listen"]["address"] = "127.0.0.1:0"
    shield = await start(**config)
    return int(shield.port)


class Got(NamedTuple):
    """What somebody got for the same request, again and again."""

    answers: Counter[int]
    seconds: float

    def between(self, at_once: int, per_second: float) -> bool:
        """Whether as many were let in as a limit admits: these at once, and then these."""
        return at_once <= self.answers[200] <= at_once + per_second * self.seconds + 1


async def ask(port: int, source: str, path: str, times: int, method: str = "GET", **headers: str) -> Got:
    connector = aiohttp.TCPConnector(local_addr=(source, 0), limit=4)
    answers: Counter[int] = Counter()
    headers = {"User-Agent": BROWSER, **{name.replace("_", "-"): value for name, value in headers.items()}}
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        began = time.monotonic()
        for _ in range(times):
            async with session.request(method, f"http://127.0.0.1:{port}{path}") as response:
                answers[response.status] += 1
                await response.read()
        return Got(answers, time.monotonic() - began)


NGINX, HAPROXY = shutil.which("nginx"), shutil.which("haproxy")

AROUND = """\
user root;
daemon off;
pid {folder}/pid;
error_log stderr;
worker_processes 1;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}/a;
    proxy_temp_path {folder}/b;
    fastcgi_temp_path {folder}/c;
    uwsgi_temp_path {folder}/d;
    scgi_temp_path {folder}/e;
{config}
}}
"""


@pytest.mark.skipif(NGINX is None, reason="nginx is not installed")
async def test_nginx_limit_req(start: Start, service: str, tmp_path: Path) -> None:
    assert NGINX is not None
    guide, port = "nginx-limit-req.md", free_port()
    config = block(guide, "nginx").replace(ORIGIN, service).replace("listen 80;", f"listen 127.0.0.1:{port};")
    path = tmp_path / "nginx.conf"
    path.write_text(AROUND.format(folder=tmp_path, config=config))
    shield = await shielded(start, guide, service)
    async with running(port, NGINX, "-p", str(tmp_path), "-c", str(path)):
        for there in (port, shield):
            everything = await ask(there, "127.38.2.1", "/page", 90)
            assert everything.between(41, 10), (there, everything)
            assert set(everything.answers) == {200, 429}
            logins = await ask(there, "127.38.2.2", "/login", 12)
            assert logins.between(5, 5 / 60), (there, logins)
            static = await ask(there, "127.38.2.3", "/static/app.js", 90)
            assert static.answers == {200: 90}
            other = await ask(there, "127.38.2.4", "/page", 1)
            assert other.answers == {200: 1}
            denied = await ask(there, "127.38.9.7", "/internal/x", 1)
            assert denied.answers == {403: 1}


TIMEOUTS = "defaults\n    mode http\n    timeout connect 5s\n    timeout client 20s\n    timeout server 20s\n"


@pytest.mark.skipif(HAPROXY is None, reason="haproxy is not installed")
async def test_haproxy_stick_tables(start: Start, service: str, tmp_path: Path) -> None:
    assert HAPROXY is not None
    guide, port = "haproxy-stick-tables.md", free_port()
    config = block(guide, "haproxy").replace(ORIGIN, service).replace("bind :80", f"bind 127.0.0.1:{port}")
    path = tmp_path / "haproxy.cfg"
    path.write_text(TIMEOUTS + config)
    shield = await shielded(start, guide, service)
    async with running(port, HAPROXY, "-db", "-f", str(path)):
        for there in (port, shield):
            everything = await ask(there, "127.38.3.1", "/page", 90)
            assert everything.between(60, 6), (there, everything)
            assert set(everything.answers) == {200, 429}
            logins = await ask(there, "127.38.3.2", "/login", 12, "POST")
            assert logins.between(5, 5 / 60), (there, logins)
            form = await ask(there, "127.38.3.2", "/login", 10)
            assert form.answers == {200: 10}
            other = await ask(there, "127.38.3.3", "/page", 1)
            assert other.answers == {200: 1}
            denied = await ask(there, "127.38.9.7", "/page", 1)
            assert denied.answers == {403: 1}


def decided(policy: dict[str, Any], source: str, path: str, headers: dict[str, str]) -> int:
    """The status that a policy of Anubis' form gives: that of the first bot which fits, or the service's."""
    statuses = {"ALLOW": 200, **policy["status_codes"]}
    for bot in policy["bots"]:
        networks = bot.get("remote_addresses", ["0.0.0.0/0"])
        fields = bot.get("headers_regex", {})
        if (
            any(ip_address(source) in ip_network(network) for network in networks)
            and re.search(bot.get("path_regex", ""), path)
            and re.search(bot.get("user_agent_regex", ""), headers.get("User-Agent", ""))
            and all(re.search(pattern, headers.get(name, "")) for name, pattern in fields.items())
        ):
            return int(statuses[bot["action"]])
    return 200


async def test_anubis_by_its_documented_rules(start: Start, service: str) -> None:
    guide = "anubis.md"
    policy = yaml.safe_load(block(guide, "yaml"))
    shield = await shielded(start, guide, service)
    key = {"X_Api_Key": "a-key-of-a-partner"}
    wanted: list[tuple[str, str, dict[str, str], int]] = [
        ("127.38.4.1", "/page", {}, 503),
        ("127.38.1.7", "/page", {}, 200),
        ("127.38.9.7", "/page", {}, 403),
        ("127.38.4.2", "/feed/all.xml", {}, 200),
        ("127.38.4.3", "/.well-known/security.txt", {}, 200),
        ("127.38.4.4", "/page", key, 200),
    ]
    for source, path, more, status in wanted:
        got = await ask(shield, source, path, 1, **more)
        assert got.answers == {status: 1}, (source, path)
        fields = {"User-Agent": BROWSER, **{name.replace("_", "-"): value for name, value in more.items()}}
        assert decided(policy, source, path, fields) == status, (source, path)
    # As the guide says: who does not call itself Mozilla passes Anubis unasked, and Shield checks keys.
    for more in ({"User_Agent": "curl/8"}, {"X_Api_Key": "guessed"}):
        fields = {"User-Agent": BROWSER, **{name.replace("_", "-"): value for name, value in more.items()}}
        assert decided(policy, "127.38.4.5", "/page", fields) == 200
        assert (await ask(shield, "127.38.4.5", "/page", 1, **more)).answers == {503: 1}
