"""Servers of five languages behind Shield, with answers that are odd but legal: what they say, Shield passes on.

Each is asked directly first, which is the control: status, body and fields must be the same by way of Shield.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import DEADLINE, PROGRAMS, refused
from tests.harness import Client, get

pytestmark = pytest.mark.clients

SERVERS = PROGRAMS / "servers"
COMMANDS: dict[str, Callable[[int, Path], list[str]]] = {
    "node": lambda port, here: ["node", str(SERVERS / "serve.mjs"), str(port)],
    "go": lambda port, here: ["go", "run", str(SERVERS / "serve.go"), str(port)],
    "java": lambda port, here: ["java", str(SERVERS / "Serve.java"), str(port)],
    "hypercorn": lambda port, here: [sys.executable, str(SERVERS / "serve.py"), str(port)],
    "nginx": lambda port, here: ["nginx", "-p", str(here), "-c", str(_filled(port, here))],
}
PATHS = {
    "node": "/page /none /reset /same /chunks /undated /hints /working /reason /named",
    "go": "/page /none /reset /same /chunks /undated /hints /working /odd",
    "java": "/page /none /reset /same /chunks /odd",
    "hypercorn": "/page /none /reset /same /chunks /named",
    "nginx": "/page /none /same /odd /upgrade",
}
HOP = frozenset({"connection", "keep-alive", "content-length", "transfer-encoding", "date", "x-hop"})
KEY, ACCEPT = "dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # of RFC 6455 section 1.3


def _filled(port: int, here: Path) -> Path:
    text = (SERVERS / "nginx.conf").read_text("utf-8").replace("PORT", str(port)).replace("HERE", str(here))
    (here / "nginx.conf").write_text(text, "utf-8")
    return here / "nginx.conf"


@pytest.fixture(params=COMMANDS)
async def served(request: pytest.FixtureRequest, launch: Any, tmp_path: Path) -> AsyncIterator[tuple[str, int, Any]]:
    """A server's name and port, and a Shield before it, which must have refused and blamed nothing in the end."""
    name, port = request.param, _free_port()
    command = COMMANDS[name](port, tmp_path)
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL, start_new_session=True)
    try:
        async with asyncio.timeout(DEADLINE):
            while not await _listens(port):
                assert process.returncode is None, f"{name} has ended"
        shield = await launch(http={"upgrades": ["Echo/1"]}, upstream={"servers": [f"http://127.0.0.1:{port}"]})
        await shield.logged("started", within=DEADLINE)
        await shield.begin()
        yield name, port, shield
        assert not set(await refused(shield)) - {'shield_responses_total class="9xx",source="upstream"'}
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        await process.wait()


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        await asyncio.sleep(0.05)
        return False
    writer.close()
    return True


@dataclass(frozen=True)
class Answer:
    status: int
    fields: tuple[tuple[str, str], ...]  # names in lower case
    body: bytes = b""


async def _answers(port: int, path: str, method: str) -> list[Answer]:
    """Interim ones, and the final one. Read as RFC 9112 section 6.3 says, whatever else the server says."""
    answers: list[Answer] = []
    async with await Client.open(port) as client:
        await client.send(get(path, method=method))
        while not answers or answers[-1].status < 200:
            first, *lines = (await client.until(b"\r\n\r\n"))[:-4].decode("latin-1").split("\r\n")
            pairs = [line.partition(":") for line in lines]
            fields = {name.lower(): value.strip() for name, _, value in pairs}
            status, body = int(first.split(" ")[1]), b""
            if not (method == "HEAD" or status < 200 or status in (204, 304)):
                if "transfer-encoding" in fields:
                    while size := int(await client.until(b"\r\n"), 16):
                        body += await client.exactly(size)
                        await client.exactly(2)
                else:
                    body = await client.exactly(int(fields["content-length"]))
            answers.append(Answer(status, tuple(sorted(fields.items())), body))
    return answers


def _said(answers: list[Answer]) -> list[Any]:
    """Without what is said between two hops."""
    return [(each.status, [pair for pair in each.fields if pair[0] not in HOP], each.body) for each in answers]


async def test_what_it_answers_is_passed_on(served: tuple[str, int, Any]) -> None:
    name, port, shield = served
    for path in PATHS[name].split():
        for method in ("GET", "HEAD"):
            direct = await _answers(port, path, method)
            by_shield = await _answers(shield.port, path, method)
            assert _said(by_shield) == _said(direct), (path, method)
            last = dict(by_shield[-1].fields)
            assert "date" in last, path
            bodiless = method == "HEAD" or last.get("content-length") is not None or by_shield[-1].status in (204, 304)
            assert ("transfer-encoding" in last) != bodiless, path


@pytest.mark.parametrize("served", ["node", "go"], indirect=True)
@pytest.mark.parametrize("protocol", ["websocket", "Echo/1"])
async def test_a_101_with_a_length_of_0_is_a_tunnel(served: tuple[str, int, Any], protocol: str) -> None:
    _, _, shield = served
    fields = (f"Sec-WebSocket-Key: {KEY}",) if protocol == "websocket" else ()
    async with await Client.open(shield.port) as client:
        await client.send(get("/socket", "Connection: Upgrade", f"Upgrade: {protocol}", f"X-Accept: {ACCEPT}", *fields))
        answer = await client.response()
        assert (answer.status, answer.get("Upgrade"), answer.get("Content-Length")) == (101, protocol, None)
        await client.send(b"\0\1\2")
        assert await client.exactly(8) == b"hello\0\1\2"
