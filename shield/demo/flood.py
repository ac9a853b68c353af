"""`shield demo --attack`: a small flood on this machine, against the demo site behind a Shield that runs.

`python -m shield.demo.flood [URL]`: against the demo site without Shield and with it. The same users and the same flood
meet the site twice: first a second copy of it that nothing protects, then the one behind Shield at URL. A table at the
end sets side by side what they got.

Bounded on purpose: loopback targets only, 100 source addresses out of 127.1.0.0/16, RATE requests/s and IN_FLIGHT at
the same time in all, SECONDS for each of the two floods. The rate is fixed and far below what one core can send, so
that the result depends on the site and on Shield, and hardly on the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ipaddress
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

import aiohttp

DEFAULT: Final = "http://127.0.0.1:8080/"
ATTACKERS: Final = 100
RATE: Final = 500.0
"""Requests/s of the whole flood: three times what the site's search can serve."""
IN_FLIGHT: Final = 500
"""Requests of the flood at the same time. Beyond it the flood leaves requests out."""
SECONDS: Final = 15.0
CALM_SECONDS: Final = 9.0
"""The users come this long before the flood. With the short windows of `shield demo` they are known by then."""
BARE_CALM_SECONDS: Final = 3.0
"""The same for the site without Shield, which knows nobody."""
STRANGERS: Final = (
    "Users who were challenged were strangers to this Shield: it knows somebody by visits in two windows\n"
    "(history.window: 60 s, under `shield demo` 2 s). A browser answers the challenge by itself; these programs do not."
)
USERS: Final = 10
USER_PAUSE: Final = 1.0
PATIENCE: Final = 2.0
"""Seconds that a user waits for an answer."""

_MARK: Final = b"<title>The demo site behind Shield</title>"
"""What the first page of the demo site has: nothing else is flooded."""
_NETWORKS: Final = 20
_ATTACK: Final = {"User-Agent": "shield-demo-attack", "Accept": "*/*"}
_USER: Final = {"User-Agent": "Mozilla/5.0 (demo user)", "Accept": "text/html", "Accept-Language": "en"}
_MEANING: Final = {
    200: "served",
    403: "banned",
    429: "limited",
    502: "upstream failed",
    503: "challenged or shed",
    504: "upstream too slow",
}


def is_loopback(url: str) -> bool:
    """Whether `url` is http on a loopback address, literally: a name could point anywhere."""
    try:
        parts = urlsplit(url)
        return parts.scheme == "http" and ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False


@dataclass(slots=True)
class Crowd:
    """What users, or attackers, got in one phase: how many requests had which result, and how long answers took."""

    results: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    told: Counter[str] = field(default_factory=Counter)  # of the results

    @property
    def asked(self) -> int:
        return self.results.total()

    def share(self, result: str) -> str:
        return f"{self.results[result] / self.asked:.0%}" if self.asked else "none"

    def percentile(self, part: float) -> str:
        """The time within which this part of those who were served had the answer."""
        ordered = sorted(self.seconds)
        return f"{ordered[min(int(part * len(ordered)), len(ordered) - 1)] * 1000:.0f} ms" if ordered else "no answer"

    def news(self) -> str:
        """The results since the last call, in words."""
        new, self.told = self.results - self.told, self.results.copy()
        return ", ".join(f"{n} {what}" for what, n in new.most_common()) or "nothing"


@dataclass(slots=True)
class Phase:
    """Calm weather and a flood against one target."""

    calm: Crowd = field(default_factory=Crowd)
    users: Crowd = field(default_factory=Crowd)
    attackers: Crowd = field(default_factory=Crowd)


async def play(
    name: str, url: str, seconds: float = SECONDS, attackers: int = ATTACKERS, calm: float = CALM_SECONDS
) -> Phase:
    """Send the users, and after `calm` seconds the flood as well, to the site at `url`. Each second prints a line."""
    phase = Phase()
    parts = urlsplit(url)
    origin = f"{parts.scheme}://{parts.netloc}"
    begins = time.monotonic() + calm
    ends = begins + min(seconds, SECONDS)
    async with asyncio.TaskGroup() as tasks:
        for number in range(USERS):
            tasks.create_task(_user(origin, number, begins, ends, phase))
        tasks.create_task(_flood(origin, min(attackers, ATTACKERS), begins, ends, phase.attackers))
        while (left := ends - time.monotonic()) > 0:
            await asyncio.sleep(min(1.0, left))
            if time.monotonic() < begins:
                print(f"{name:14}  calm   users: {phase.calm.news()}", flush=True)
            else:
                print(
                    f"{name:14}  flood  users: {phase.users.news()}   attackers: {phase.attackers.news()}", flush=True
                )
    return phase


async def _user(origin: str, number: int, begins: float, ends: float, phase: Phase) -> None:
    """Somebody who opens the page and then searches again and again, as people do."""
    async with _session(origin, f"127.0.0.{number + 1}", _USER, 1) as session:
        await asyncio.sleep(USER_PAUSE * number / USERS)
        await _ask(session, f"{origin}/", Crowd())
        while time.monotonic() < ends:
            crowd = phase.calm if time.monotonic() < begins else phase.users
            asked = time.monotonic()
            await _ask(session, f"{origin}/search?q=user", crowd)
            await asyncio.sleep(max(asked + USER_PAUSE - time.monotonic(), 0.1))


async def _flood(origin: str, attackers: int, begins: float, ends: float, crowd: Crowd) -> None:
    """RATE requests/s by all attackers in turn, whether or not earlier ones were answered."""
    async with contextlib.AsyncExitStack() as sessions, asyncio.TaskGroup() as tasks:
        sources = [
            await sessions.enter_async_context(_session(origin, _source(number), _ATTACK, 0))
            for number in range(attackers)
        ]
        running: set[asyncio.Task[None]] = set()
        await asyncio.sleep(max(begins - time.monotonic(), 0.0))
        sent = 0
        while (now := time.monotonic()) < ends:
            for turn in range(sent, int((now - begins) * RATE)):
                sent = turn + 1
                if len(running) < IN_FLIGHT:
                    asking = tasks.create_task(_ask(sources[turn % attackers], f"{origin}/search?q=flood", crowd))
                    running.add(asking)
                    asking.add_done_callback(running.discard)
            await asyncio.sleep(0.01)
        for asking in running:
            asking.cancel()


def _source(number: int) -> str:
    """The address of an attacker: in one of 20 networks, where there are addresses to choose from."""
    return f"127.1.{number % _NETWORKS}.{1 + number // _NETWORKS}"


@contextlib.asynccontextmanager
async def _session(
    origin: str, source: str, headers: dict[str, str], connections: int
) -> AsyncIterator[aiohttp.ClientSession]:
    version = ipaddress.ip_address(urlsplit(origin).hostname or "").version
    connector = aiohttp.TCPConnector(
        local_addr=(source, 0) if version == 4 else None,  # IPv6 has one loopback address
        limit=connections,
    )
    timeout = aiohttp.ClientTimeout(total=PATIENCE)
    jar = aiohttp.CookieJar(unsafe=True)  # "unsafe" keeps cookies of IP addresses: the pass
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, headers=headers, cookie_jar=jar) as session:
        yield session


async def _ask(session: aiohttp.ClientSession, url: str, crowd: Crowd) -> None:
    asked = time.monotonic()
    try:
        async with session.get(url, allow_redirects=False) as response:
            await response.read()
            result = _MEANING.get(response.status, str(response.status))
    except (aiohttp.ClientError, TimeoutError, OSError):
        result = "no answer"
    crowd.results[result] += 1
    if result == "served":
        crowd.seconds.append(time.monotonic() - asked)


def table(**phases: Phase) -> str:
    """What users and attackers got, side by side: a column for each phase, under its name."""
    rows = {"": [name.replace("_", " ") for name in phases]}
    for phase in phases.values():
        for title, said in (
            ("before the flood: users served", phase.calm.share("served")),
            ("    half of them within", phase.calm.percentile(0.5)),
            ("during the flood: users served", phase.users.share("served")),
            ("    half of them, in the flood", phase.users.percentile(0.5)),
            ("    95 % of them, in the flood", phase.users.percentile(0.95)),
            ("attackers served", phase.attackers.share("served")),
        ):
            rows.setdefault(title, []).append(said)
    return "\n".join(f"{title:32}{''.join(f'{said:>16}' for said in column)}" for title, column in rows.items())


@contextlib.asynccontextmanager
async def _bare_site() -> AsyncIterator[str]:
    """A copy of the demo site without Shield, in a process of its own; its URL."""
    site = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "shield.demo.site", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert site.stdin is not None  # noqa: S101 - it has pipes
    assert site.stdout is not None  # noqa: S101
    try:
        yield (await site.stdout.readline()).decode().strip()
    finally:
        site.stdin.close()  # the site ends with it
        await site.wait()


async def compare(url: str) -> str:
    """Flood a bare copy of the site, then the one at `url`; the table of both. OSError if nobody answers at `url`."""
    parts = urlsplit(url)
    _, writer = await asyncio.open_connection(parts.hostname, parts.port or 80)
    writer.close()
    async with _bare_site() as bare:
        without = await play("without Shield", bare, calm=BARE_CALM_SECONDS)
    return table(without_Shield=without, with_Shield=await play("with Shield", url))


async def attack(url: str) -> str:
    """Flood the demo site at `url`; what users and attackers got. OSError if it is not there, or something else
    is: nobody's service is flooded for a demo."""
    async with _session(url.rstrip("/"), "127.0.0.1", _USER, 1) as session:
        try:
            async with session.get(url, allow_redirects=False) as response:
                found = _MARK in await response.content.read(65536)
                status = response.status
        except (aiohttp.ClientError, TimeoutError) as error:
            raise OSError(getattr(error, "strerror", None) or str(error) or "no answer") from error
    if not found and status in (429, 503):
        raise OSError(
            f"it answers {status}, perhaps for the attack before: try again when that is over (shield status)"
        )
    if not found:
        raise OSError(f"it answers {status} without the page of the demo site, which alone is flooded")
    phase = await play("with Shield", url, calm=CALM_SECONDS)
    strangers = phase.users.results[_MEANING[503]]
    return table(with_Shield=phase) + (f"\n\n{STRANGERS}" if strangers else "")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m shield.demo.flood", description="A small flood on loopback.")
    parser.add_argument(
        "url",
        metavar="URL",
        nargs="?",
        default=DEFAULT,
        help="of `shield demo` (default: %(default)s)",
    )
    url = parser.parse_args(arguments).url
    if not is_loopback(url):
        parser.error(f"only http:// and a loopback address, like {DEFAULT}")
    try:
        print(f"\n{asyncio.run(compare(url))}")
    except KeyboardInterrupt:
        return 0
    except OSError as error:
        print(f"nothing to flood at {url}: {error}. Start `shield demo` first.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
