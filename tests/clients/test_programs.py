"""HTTP libraries: each of programs/ asks for the same things, and has to get the same."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path

import pytest

from tests.clients import site
from tests.clients.conftest import PROGRAMS, Front, every_weather

pytestmark = pytest.mark.clients

KEPT = 2
"""Connections that a client with a pool may need: one breaks off a stream, or has closed one after an early answer."""


async def check(front: Front, *command: str, without: tuple[str, ...] = (), most: int = KEPT, **more: str) -> None:
    """Run a program that must find all that is EXPECTED, but for what it cannot ask for, over `most` connections."""
    before = await front.connections()
    found = json.loads(await front.run(*command, **more))
    assert found == {name: value for name, value in site.EXPECTED.items() if name not in without}
    assert await front.connections() - before <= most


@every_weather
@pytest.mark.parametrize(
    ("library", "most"), [("requests", KEPT), ("httpx", KEPT), ("urllib3", KEPT), ("aiohttp", KEPT + 1), ("urllib", 50)]
)
async def test_python(front: Front, library: str, most: int) -> None:
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    await check(front, sys.executable, str(PROGRAMS / f"by_{library}.py"), front.url(), str(front.authority), most=most)


@every_weather
@pytest.mark.parametrize("profile", ["chrome", "firefox", "safari", "safari_ios", "edge101", "tor145"])
async def test_curl_cffi_as_a_browser(front: Front, profile: str) -> None:
    if importlib.util.find_spec("curl_cffi") is None:
        pytest.skip("curl_cffi is not installed")
    program = (str(PROGRAMS / "by_curl_cffi.py"), front.url(), str(front.authority), profile)
    await check(front, sys.executable, *program, without=("chunked",))


@every_weather
async def test_node_fetch(front: Front) -> None:
    await check(
        front, "node", str(PROGRAMS / "by_fetch.mjs"), front.url(), most=4, NODE_EXTRA_CA_CERTS=str(front.authority)
    )


@every_weather
async def test_node_agent(front: Front) -> None:
    await check(
        front,
        "node",
        str(PROGRAMS / "by_agent.mjs"),
        front.url(),
        without=("zipped", "moved", "see_other", "events"),
        most=6,
        NODE_EXTRA_CA_CERTS=str(front.authority),
    )


@every_weather
async def test_java_http_client(front: Front) -> None:
    program = str(PROGRAMS / "ByHttpClient.java")
    await check(front, "java", program, front.url(), str(front.authority), without=("zipped",), most=4)


@every_weather
async def test_go_net_http(front: Front) -> None:
    program = str(PROGRAMS / "by_net_http.go")
    # What it compiles is kept where Go keeps it: net/http and TLS take minutes on a busy machine.
    kept = os.environ.get("GOCACHE", str(Path.home() / ".cache/go-build"))
    await check(front, "go", "run", program, front.url(), str(front.authority), GOTOOLCHAIN="local", GOCACHE=kept)
