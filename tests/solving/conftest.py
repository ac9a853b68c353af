"""A site that behaves as docs/protocol.md says, as each test wants it, and the clients that are to cope with it."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import aiohttp
import httpx
import pytest
from aiohttp import web

import shield
from shield.policy.challenge.challenge import solved
from shield.solving.aiohttp import Middleware
from shield.solving.challenge import Budget
from shield.solving.httpx import AsyncTransport, Transport

ANSWER = "/.well-known/shield/answer"
PROBLEMS = "/.well-known/shield/problems/"
AGENT = "feed-reader/2.1"
PACKAGE = Path(__file__).parents[2] / "clients" / "js"
WORKER = Path(shield.__file__).parent / "replies" / "static" / "worker.js"
NODE = shutil.which("node") is not None and PACKAGE.exists()


@dataclass
class Site:
    """`answers` are the next replies to an answer, in place of a pass; `refusals` those to a request."""

    url: str = ""
    bits: int = 8
    k: int = 4
    challenge: dict[str, Any] = field(default_factory=dict)  # members that differ
    good: set[str] = field(default_factory=set)  # passes
    lifetime: float = 3600
    answers: list[tuple[int, dict[str, Any], dict[str, str]]] = field(default_factory=list)
    refusals: list[tuple[int, dict[str, Any], dict[str, str]]] = field(default_factory=list)
    asked: list[tuple[str, str, str, bytes]] = field(default_factory=list)  # method, path, pass, body
    answered: list[tuple[dict[str, str], dict[str, Any]]] = field(default_factory=list)  # fields, JSON
    minted: int = 0
    serve_found: int = 200  # status of what is behind

    async def serve(self, request: web.Request) -> web.StreamResponse:
        body, shown = await request.read(), request.headers.get("Shield-Pass", "")
        self.asked.append((request.method, request.path_qs, shown, body))
        if self.refusals:
            return self.problem(*self.refusals.pop(0))
        if shown in self.good:
            return web.Response(text="in", status=self.serve_found)
        self.minted += 1
        target = min((self.k << 64) >> self.bits, (1 << 64) - 1)
        asked = {"token": f"T{self.minted}", "algorithm": "sha256", "k": self.k, "target": f"{target:016x}"}
        asked |= {"answer_to": ANSWER} | self.challenge
        return self.problem(503, {"type": f"{PROBLEMS}challenge", "challenge": asked}, {"Retry-After": "5"})

    async def take(self, request: web.Request) -> web.Response:
        said = json.loads(await request.read())
        self.answered.append((dict(request.headers), said))
        if self.answers:
            return self.problem(*self.answers.pop(0))
        if "token" in said:
            target = min((self.k << 64) >> self.bits, (1 << 64) - 1)
            assert solved(said["token"], target, said["nonces"]) == self.k
        self.good.add(f"P{len(self.answered)}")
        found = {"pass": f"P{len(self.answered)}", "header": "Shield-Pass", "cookie": "shield_pass"}
        return web.json_response(found | {"lifetime": self.lifetime})

    @staticmethod
    def problem(status: int, body: dict[str, Any], headers: dict[str, str]) -> web.Response:
        kind = "application/problem+json"
        return web.Response(status=status, body=json.dumps(body).encode(), content_type=kind, headers=headers)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    made = Site()
    app = web.Application()
    app.router.add_post(ANSWER, made.take)
    app.router.add_route("*", "/{path:.*}", made.serve)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


Serve = Callable[[Callable[[web.Request], Awaitable[web.StreamResponse]]], Awaitable[str]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """serve(answer) is the address of another site."""
    runners: list[web.AppRunner] = []

    async def start(answer: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> str:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", answer)
        runners.append(web.AppRunner(app, access_log=None, shutdown_timeout=0.1))
        await runners[-1].setup()
        await web.TCPSite(runners[-1], "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runners[-1].addresses[0][1]}"

    yield start
    for runner in runners:
        await runner.cleanup()


class Client(Protocol):
    """One of the three: status and body of a request. `stream`: the body can be sent only once."""

    passes: Any

    async def ask(self, method: str, url: str, body: bytes = b"", stream: bool = False) -> tuple[int, bytes]: ...

    async def close(self) -> None: ...


class ByHttpx:
    def __init__(self, agent: str = AGENT, **options: Any) -> None:
        self.transport = Transport(**options)
        self.passes = self.transport.passes
        self.client = httpx.Client(
            transport=self.transport, follow_redirects=True, headers={"User-Agent": agent}, timeout=20
        )

    async def ask(self, method: str, url: str, body: bytes = b"", stream: bool = False) -> tuple[int, bytes]:
        content = iter([body]) if stream else body
        response = await asyncio.to_thread(self.client.request, method, url, content=content)
        return response.status_code, response.content

    async def close(self) -> None:
        self.client.close()


class ByAsyncHttpx:
    def __init__(self, agent: str = AGENT, **options: Any) -> None:
        self.transport = AsyncTransport(**options)
        self.passes = self.transport.passes
        self.client = httpx.AsyncClient(
            transport=self.transport, follow_redirects=True, headers={"User-Agent": agent}, timeout=20
        )

    async def ask(self, method: str, url: str, body: bytes = b"", stream: bool = False) -> tuple[int, bytes]:
        response = await self.client.request(method, url, content=once(body) if stream else body)
        return response.status_code, response.content

    async def close(self) -> None:
        await self.client.aclose()


class ByAiohttp:
    def __init__(self, agent: str = AGENT, **options: Any) -> None:
        self.middleware = Middleware(**options)
        self.passes = self.middleware.passes
        timeout = aiohttp.ClientTimeout(total=20)
        self.session = aiohttp.ClientSession(
            middlewares=(self.middleware,), headers={"User-Agent": agent}, timeout=timeout
        )

    async def ask(self, method: str, url: str, body: bytes = b"", stream: bool = False) -> tuple[int, bytes]:
        data = once(body) if stream else body or None
        async with self.session.request(method, url, data=data) as response:
            return response.status, await response.read()

    async def close(self) -> None:
        await self.session.close()


async def once(body: bytes) -> AsyncIterator[bytes]:
    yield body


Make = Callable[..., Client]


@pytest.fixture(params=[ByHttpx, ByAsyncHttpx, ByAiohttp], ids=["httpx", "httpx-async", "aiohttp"])
async def make(request: pytest.FixtureRequest) -> AsyncIterator[Make]:
    """make(budget=...) is a client."""
    clients: list[Client] = []

    def new(**options: Any) -> Client:
        clients.append(request.param(**({"budget": Budget(seconds=30)} | options)))
        return clients[-1]

    yield new
    for each in clients:
        await each.close()


@pytest.fixture(scope="session")
def module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as `npm pack` makes it: shield.js, and the page's solver as work.js."""
    folder = tmp_path_factory.mktemp("package")
    if not NODE:
        return folder
    for name in ("shield.js", "package.json"):
        shutil.copy(PACKAGE / name, folder)
    shutil.copy(WORKER, folder / "work.js")
    return folder / "shield.js"


class Node:
    """calls.mjs, which makes one call after the other."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def call(self, url: str, **more: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        more = {"client": 1, "url": url, "budget": {"seconds": 30}} | more
        self._process.stdin.write(json.dumps(more).encode() + b"\n")
        answer = json.loads(await asyncio.wait_for(self._process.stdout.readline(), 30))
        return answer.get("replies") or [answer["error"], answer["text"]]


@pytest.fixture
async def node(module: Path) -> AsyncIterator[Node | None]:
    """None where there is none."""
    if not NODE:
        yield None
        return
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        "node", Path(__file__).parent / "javascript" / "calls.mjs", module, stdin=pipe, stdout=pipe
    )
    yield Node(process)
    assert process.stdin is not None
    process.stdin.close()
    assert await asyncio.wait_for(process.wait(), 10) == 0, "nothing keeps Node from its end"
