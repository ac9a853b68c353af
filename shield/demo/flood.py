"""`python -m shield.demo.flood [URL]`: a small flood against the demo on this machine, to see what Shield does.

Bounded on purpose: loopback targets only, a hundred source addresses out of 127.1.0.0/16, one request at a time each,
fifteen seconds. One user at 127.0.0.1 asks for the page twice a second, before and during it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ipaddress
import time
from collections import Counter
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

import aiohttp

ATTACKERS: Final = 100
SECONDS: Final = 15
CALM_SECONDS: Final = 8
"""The user comes this long before the flood; with the short windows of `shield demo` that makes a regular."""
_USER_PAUSE: Final = 0.5
_HEADERS: Final = {"User-Agent": "shield-demo-attack", "Accept": "*/*"}
_USER_HEADERS: Final = {"User-Agent": "Mozilla/5.0 (demo user)", "Accept": "text/html", "Accept-Language": "en"}
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


async def flood(
    url: str, seconds: float = SECONDS, attackers: int = ATTACKERS, calm: float = CALM_SECONDS
) -> Counter[str]:
    """Run it, print a line per second, and return what the attackers got in all."""
    parts = urlsplit(url)
    total: Counter[str] = Counter()
    window: Counter[str] = Counter()
    user: Counter[str] = Counter()
    begins = time.monotonic() + calm
    ends = begins + min(seconds, SECONDS)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_user(f"{parts.scheme}://{parts.netloc}/", ends, user))
        for number in range(min(attackers, ATTACKERS)):
            tasks.create_task(_attacker(url, number, begins, ends, window))
        while (left := ends - time.monotonic()) > 0:
            await asyncio.sleep(min(1.0, left))
            phase = "flood" if time.monotonic() > begins else "calm "
            print(f"{phase}  one user: {_tell(user)}   attackers: {_tell(window)}", flush=True)
            total += window
            window.clear()
            user.clear()
    return total


async def _attacker(url: str, number: int, begins: float, ends: float, counts: Counter[str]) -> None:
    version = ipaddress.ip_address(urlsplit(url).hostname or "").version
    source = (f"127.1.{number // 250}.{1 + number % 250}", 0) if version == 4 else None  # IPv6 has one loopback address
    await asyncio.sleep(begins - time.monotonic())
    connector = aiohttp.TCPConnector(local_addr=source, limit=1)
    timeout = aiohttp.ClientTimeout(total=5)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, headers=_HEADERS) as session:
        while time.monotonic() < ends:
            await _ask(session, url, counts)


async def _user(url: str, ends: float, counts: Counter[str]) -> None:
    timeout = aiohttp.ClientTimeout(total=5)
    jar = aiohttp.CookieJar(unsafe=True)  # "unsafe" keeps cookies of IP addresses: the pass
    async with aiohttp.ClientSession(timeout=timeout, headers=_USER_HEADERS, cookie_jar=jar) as session:
        while time.monotonic() < ends:
            await _ask(session, url, counts)
            await asyncio.sleep(_USER_PAUSE)


async def _ask(session: aiohttp.ClientSession, url: str, counts: Counter[str]) -> None:
    try:
        async with session.get(url, allow_redirects=False) as response:
            await response.read()
            counts[_MEANING.get(response.status, str(response.status))] += 1
    except (aiohttp.ClientError, TimeoutError, OSError):
        counts["no answer"] += 1
        await asyncio.sleep(0.05)


def _tell(counts: Counter[str]) -> str:
    return ", ".join(f"{n} {what}" for what, n in counts.most_common()) or "nothing"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m shield.demo.flood", description="A small flood on loopback.")
    parser.add_argument("url", nargs="?", default="http://127.0.0.1:8080/search?q=flood")
    url = parser.parse_args(arguments).url
    if not is_loopback(url):
        parser.error("only http:// and a loopback address, like http://127.0.0.1:8080/search")
    with contextlib.suppress(KeyboardInterrupt):
        total = asyncio.run(flood(url))
        print(f"in all, the attackers had: {_tell(total)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
