"""Clients as they are installed, against Shield with its default config: only ports, the upstream and, over https, the
certificate are set.

Calm weather is played over http, over https, and over https where Shield speaks HTTP/2 ("h2"). Whatever a test does in
it, in the end nobody may have been challenged, limited, shed or banned, nothing may have failed, and Shield itself may
have answered nothing.

Tests in `every_weather` are played twice more: in a flood that the service cannot carry ("pressure"), and where
everybody is challenged ("always"). There the client has a pass that another program got, and must fare as in calm
weather; without it, it is challenged.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp import web

from shield.demo import solver
from tests.clients import site
from tests.integration import conftest as processes
from tests.integration import test_attack

PROGRAMS = Path(__file__).parent / "programs"
DEADLINE = 120.0
"""Seconds for one client, and for Shield to start. The slowest are compilers, and the machine may be busy."""

launch, start, serve = processes.launch, processes.start, processes.serve
warm, client = processes.warm, processes.client

_SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? ([0-9.e+]+)$", re.MULTILINE)
_FINE = {
    "shield_requests_total": ('action="forward"', 'action="queue"'),
    "shield_responses_total": (
        'class="1xx",source="upstream"',
        'class="2xx",source="upstream"',
        'class="3xx",source="upstream"',
        'class="4xx",source="upstream"',
    ),
    "shield_tls_handshakes_total": ('outcome="completed"', 'outcome="resumed"'),
    "shield_faults_total": (),
    "shield_challenges_minted_total": (),
    "shield_upstream_failures_total": (),
}
"""Counters, and those of their labels that are no refusal and no failure."""


async def refused(shield: Any) -> dict[str, float]:
    """What the counters at /metrics say of challenges, limits, refusals and failures: nothing in calm weather."""
    _, text = await shield.asked("/metrics")
    found = {
        f"{name} {labels}": float(value)
        for name, labels, value in _SAMPLE.findall(text)
        if name in _FINE and not (labels and labels.startswith(_FINE[name]))
    }
    return {name: count for name, count in found.items() if count}


@dataclass
class Front:
    """Shield before the site. `authority` signs its certificate, when it has one."""

    shield: Any
    scheme: str
    authority: Path
    folder: Path
    allowed: set[str] = field(default_factory=set)
    """What a test provokes on purpose, of what refused() finds."""
    token: str = ""
    """The pass that the client shows, in the weather that needs one."""
    http2: bool = False
    """Whether it speaks HTTP/2."""
    excused: Counter[str] = field(default_factory=Counter)
    """Refusals of who shows none, by their reason."""

    def fields(self, flag: str, form: str = "Shield-Pass: {}") -> tuple[str, ...]:
        """What has a command show the pass: `flag` and the field, nothing in calm weather."""
        return (flag, form.format(self.token)) if self.token else ()

    async def connections(self) -> int:
        """Connections so far; 0 in a flood, where they are mostly others'."""
        status = await self.shield.status()
        return 0 if status["attack"] else int(status["connections"]["total"])

    def url(self, path: str = "") -> str:
        return f"{self.scheme}://127.0.0.1:{self.shield.port}{path}"

    def patience(self) -> asyncio.Timeout:
        """Until a test gives up on a client."""
        return asyncio.timeout(DEADLINE)

    async def run(self, *command: str, **more: str) -> bytes:
        """The output of a client that must succeed; `more` joins its environment. Without it the test is skipped."""
        if shutil.which(command[0]) is None:
            pytest.skip(f"{command[0]} is not installed")
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=self.folder,
            env={**os.environ, "HOME": str(self.folder), "no_proxy": "*", "SHIELD_PASS": self.token, **more},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with self.patience():
                said, complained = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode == 0, f"{command} ended with {process.returncode}: {complained.decode()} {said!r}"
        return said

    async def has(self, *command: str) -> None:
        """Skips the test if this fails: a client without a part it needs."""
        try:
            await self.run(*command)
        except AssertionError:
            pytest.skip(f"{' '.join(command)} fails")


Make = Callable[..., Awaitable[Front]]


CALM: Final = ("http", "https", "h2")
OVER_TLS: Final = frozenset({"https", "h2"})
every_weather = pytest.mark.parametrize("make_front", [*CALM, "pressure", "always"], indirect=True)
ATTACKERS: Final = 24
"""Enough for four slots; the site and the client under test are on the same machine."""
ONSET: Final = 20.0
"""Seconds after which as many more come if they are not felt."""
EASY: Final = {"least_hashes": 256, "most_hashes": 1024}


@pytest.fixture(params=CALM)
async def make_front(
    request: pytest.FixtureRequest, launch: Any, serve: Any, client: Any, tls: Any, tmp_path: Path
) -> AsyncIterator[Make]:
    """make_front(app) puts Shield before an application, and holds it to its calm in the end. So does make_front(url)
    before one that somebody else serves, but for the flood."""
    weather: str = request.param
    fronts: list[Front] = []
    async with AsyncExitStack() as stack:

        async def make(app: web.Application | str) -> Front:
            more: dict[str, Any] = {}
            if weather in OVER_TLS:
                more = {
                    "http": {"h2": weather == "h2"},
                    "tls": {"certificates": [{"chain": tls.certificate, "key": tls.key}]},
                }
            elif weather == "always":
                more = {"challenge": {"mode": "always", **EASY}}
            elif weather == "pressure":
                assert isinstance(app, web.Application), "the flood needs paths of its own"
                app.add_routes([web.get("/search", _search), web.get("/visit", _visit)])
                # A machine that stands still for half a second is not what is tried.
                more = test_attack.settings("", queue={"known_patience": 5.0})
            upstream = more.pop("upstream", {}) | {"servers": [app if isinstance(app, str) else await serve(app)]}
            shield = await launch(upstream=upstream, **more)
            await shield.logged("started", within=DEADLINE)
            await shield.begin()
            front = Front(shield, "https" if weather in OVER_TLS else "http", tls.authority, tmp_path)
            front.http2 = weather == "h2"
            fronts.append(front)
            if weather == "always":
                front.token = await _bought(shield, client("127.6.0.1"))
            elif weather == "pressure":
                regular = client("127.6.0.1")
                await test_attack.known(regular, shield)
                (front.token,) = [cookie.value for cookie in regular.cookie_jar if cookie.key == "shield_pass"]
                while not shield.seen("attack_onset"):  # a busy machine may play too few of them
                    await stack.enter_async_context(test_attack.flood(shield, client, ATTACKERS))
                    with contextlib.suppress(TimeoutError):
                        await shield.logged("attack_onset", within=ONSET)
                await shield.until(lambda status: status["pressure"] > 0.2)
            if front.token:
                async with client("127.0.0.1").get(shield.url("/echo")) as response:
                    assert response.status == 503, "who shows no pass is challenged"
                await shield.logged("refused", address="127.0.0.1")
                front.excused["newcomer" if weather == "pressure" else "challenge_always"] = 1
            return front

        yield make
    for front in fronts:
        if front.token:
            found = Counter(line["reason"] for line in front.shield.seen("refused", address="127.0.0.1"))
            assert found == front.excused, "nobody with the pass"
            assert not front.shield.seen("fault", address="127.0.0.1")
        else:
            found = await refused(front.shield)
            assert not {name: count for name, count in found.items() if name not in front.allowed}


async def _search(_: web.Request) -> web.Response:
    """What the flood asks for: work, of which the service does four at once."""
    async with _SLOTS.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(test_attack.WORKERS)):
        await asyncio.sleep(test_attack.SECONDS)
    return web.Response(text="found")


_SLOTS: dict[asyncio.AbstractEventLoop, asyncio.Semaphore] = {}


async def _visit(_: web.Request) -> web.Response:
    """A page with which a pass comes."""
    await asyncio.sleep(test_attack.SECONDS)
    return web.Response(text="<p>Hello", content_type="text/html", headers={"Cache-Control": "private"})


async def _bought(shield: Any, session: Any) -> str:
    """A pass, for an answer to a challenge."""
    async with session.get(shield.url("/echo"), headers={"Accept": "application/json"}) as response:
        challenge = (await response.json(content_type=None))["challenge"]
    nonces = solver.solve(challenge["token"], challenge["k"], int(challenge["target"], 16))
    answer = {"token": challenge["token"], "nonces": nonces}
    async with session.post(shield.url(test_attack.ANSWER), json=answer) as response:
        return str((await response.json())["pass"])


@pytest.fixture
async def front(make_front: Make) -> Front:
    """Shield before the site."""
    return await make_front(site.app())
