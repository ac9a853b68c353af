"""Three whole Shields over one store: what an operator sees of them, and what a client meets."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.integration.conftest import Origins, Shield, Start

SERVER = shutil.which("valkey-server") or shutil.which("redis-server")
pytestmark = pytest.mark.skipif(
    SERVER is None or importlib.util.find_spec("redis") is None,
    reason="needs valkey-server or redis-server, and the extra `cluster`",
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[int]:
    """The port of a store."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
    argv = [str(SERVER), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    process = subprocess.Popen(argv, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 10.0
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), 1.0).close()
            break
        except OSError:
            time.sleep(0.01)
    yield port
    process.kill()
    process.wait()


def nodes(status: dict[str, Any]) -> int:
    """How many there are, as the worker says that leads."""
    workers = status.get("workers") or [status]
    return max(int((each.get("cluster") or {}).get("count", 0)) for each in workers)


async def rule(one: Shield, **wish: Any) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"http://{one.admin}/api/rules", json=wish) as response,
    ):
        assert response.status == 201, await response.text()


async def rules(one: Shield) -> list[str]:
    return [each["subject"] for each in json.loads((await one.asked("/api/rules"))[1])["rules"]]


async def until_rules(one: Shield, wanted: list[str]) -> None:
    async with asyncio.timeout(15):
        while await rules(one) != wanted:
            await asyncio.sleep(0.03)


async def test_three_shields_are_one(
    store: int,
    start: Start,
    serve: Origins,
    site: web.Application,
    client: Callable[..., aiohttp.ClientSession],
    tmp_path: Path,
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("07" * 32 + "\n")
    secret.chmod(0o600)
    upstream = {"servers": [await serve(site)], "max_concurrency": 8}

    async def node(name: str, **more: Any) -> Shield:
        return await start(
            upstream=upstream,
            state={"secret_file": secret},
            cluster={"store": f"valkey://127.0.0.1:{store}", "node": name},
            **more,
        )

    a, b, c = await node("a"), await node("b"), await node("c", listen={"workers": 2})
    for one in (a, b, c):
        await one.until(lambda status: nodes(status) == 3)
    async with asyncio.timeout(15):
        while True:
            code, text = await a.asked("/api/cluster")
            assert code == 200
            said = json.loads(text)
            if sum(each["slots"] for each in said["nodes"]) <= 9:  # eight, and a worker says one at least
                break
    assert [each["node"] for each in said["nodes"]] == ["a", "b", "c"]
    assert said["connected"]
    assert "shield_cluster_nodes 3.0" in (await a.asked("/metrics"))[1]

    # The operator bans a network at one of them, and lifts it at another.
    began = time.monotonic()
    await rule(a, kind="deny", subject="127.3.0.0/16")
    await until_rules(c, ["127.3.0.0/16"])
    await until_rules(b, ["127.3.0.0/16"])
    told = time.monotonic() - began
    assert told < 10.0
    session = client("127.3.0.1")
    async with session.get(b.url()) as response:
        assert response.status == 403
    async with session.get(c.url()) as response:
        assert response.status == 403
    number = json.loads((await c.asked("/api/rules"))[1])["rules"][0]["number"]
    async with (
        aiohttp.ClientSession() as asking,
        asking.delete(f"http://{c.admin}/api/rules?number={number}") as response,
    ):
        assert response.status == 200
    await until_rules(a, [])
    async with client("127.3.0.2").get(a.url()) as response:
        assert response.status == 200

    # One of them ends, and is no node any more.
    await b.end()
    await a.until(lambda status: nodes(status) == 2)
    await a.logged("cluster_node_left", node="b")


async def test_a_shield_alone_says_so(start: Start, serve: Origins, site: web.Application) -> None:
    one = await start(upstream={"servers": [await serve(site)]})
    code, text = await one.asked("/api/cluster")
    assert code == 404
    assert "cluster.store is empty" in text


async def test_a_store_that_is_not_there_keeps_nobody_out(
    start: Start,
    serve: Origins,
    site: web.Application,
    client: Callable[..., aiohttp.ClientSession],
    tmp_path: Path,
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("07" * 32 + "\n")
    secret.chmod(0o600)
    one = await start(
        upstream={"servers": [await serve(site)]},
        state={"secret_file": secret},
        cluster={"store": "valkey://127.0.0.1:1", "nodes": 4},
    )
    one.expected.add("cluster_lost")
    await one.logged("cluster_lost", nodes=4)
    async with client().get(one.url()) as response:
        assert response.status == 200
    assert (await one.asked("/readyz"))[0] == 200
    said = json.loads((await one.asked("/api/cluster"))[1])
    assert (said["connected"], said["rates"]) == (False, 0.25)
