"""Tells others whom Shield drops, so that they are dropped earlier: a file, a webhook, a table of nftables.

All get the same list whenever it has changed, once a second at most, from a thread: nothing here keeps a client
waiting, and nothing that fails here fails anything else. What fails is tried again with the next change, and
AGAIN_SECONDS later. The list, as JSON:

    {"version": 1, "time": 1790000000.0,
     "flow": {"protocol": 6, "destination_ports": [443], "traffic_rate": 0},
     "prefixes": [{"prefix": "192.0.2.7/32", "reason": "ignores_refusals", "expires": 1790000060.0}, ...]}

`flow` holds for each prefix as the source, in the terms of FlowSpec (RFC 8955 sections 4.2.2 and 7.1): TCP, the ports
that Shield serves, and a rate of nothing. Times are seconds since 1970.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import ipaddress
import os
import ssl
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import orjson

from shield.policy.drops import DropsSettings
from shield.process.dropper import Dropped
from shield.process.signals import Tell
from shield.process.state import write_whole

VERSION: Final = 1
REASON: Final = "ignores_refusals"
"""Why: it goes on against refusals (policy/drops.py)."""
EXPORT_SECONDS: Final = 1.0
AGAIN_SECONDS: Final = 30.0
HOOK_SECONDS: Final = 5.0
"""Within which a webhook has to answer."""
NFT_SECONDS: Final = 5.0
MOST_ERROR: Final = 200
"""Characters of what nft(8) says."""
TCP: Final = 6


class Exports:
    """`show` the list as often as it changes, and `close`. `wall` gives seconds since 1970.

    `ports` are those that are served. `tell` logs what fails, once as long as it is the same.
    """

    __slots__ = ("_again", "_ports", "_settings", "_shown", "_task", "_tell", "_told", "_wall")

    def __init__(self, settings: DropsSettings, ports: Sequence[int], wall: Callable[[], float], tell: Tell) -> None:
        self._settings = settings
        self._ports = sorted(set(ports))
        self._wall = wall
        self._tell = tell
        self._told: dict[str, str] = {}  # by where: what failed
        self._shown: list[Dropped] = []
        self._again = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        if settings.exports:
            self._task = asyncio.create_task(self._run())

    def show(self, dropped: Sequence[Dropped]) -> None:
        """Tell all that these are dropped from now on, and nobody else."""
        if self._task is not None:
            self._shown = list(dropped)
            self._again.set()

    async def close(self, ended: bool = True) -> None:
        """Tell nobody anything more. `ended`: no other process goes on dropping, so that nobody is to be dropped."""
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if ended:
            self._shown = []
            await self._export(last=True)

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(AGAIN_SECONDS if self._told else None):
                    await self._again.wait()
            self._again.clear()
            await self._export()
            await asyncio.sleep(EXPORT_SECONDS)

    async def _export(self, last: bool = False) -> None:
        """Tell all. `last`: nobody is to be dropped any more."""
        settings, now = self._settings, self._wall()
        prefixes = [(str(ipaddress.ip_network(name)), until) for name, until in self._shown if until > now]
        works: list[tuple[str, Callable[[], None]]] = []
        document = orjson.dumps(self._document(prefixes, now), option=orjson.OPT_APPEND_NEWLINE)
        if settings.export_file:
            works.append(
                (settings.export_file, lambda: write_whole(Path(settings.export_file), [document], mode=0o644))
            )
        if settings.export_url:
            works.append((settings.export_url, lambda: post(settings.export_url, document)))
        if settings.nftables:
            commands = remove(settings.nftables) if last else replace(settings.nftables, self._ports, prefixes, now)
            works.append((f"nftables {settings.nftables}", lambda: run_nft(commands)))
        loop = asyncio.get_running_loop()
        for where, work in works:
            try:
                await loop.run_in_executor(None, work)
                self._told.pop(where, None)
            except (OSError, http.client.HTTPException, ValueError) as error:
                said = getattr(error, "strerror", None) or str(error) or type(error).__name__
                if self._told.get(where) != said:
                    self._tell("drops_not_exported", where=where, error=said)
                self._told[where] = said

    def _document(self, prefixes: Sequence[Dropped], now: float) -> dict[str, Any]:
        return {
            "version": VERSION,
            "time": round(now, 3),
            "flow": {"protocol": TCP, "destination_ports": self._ports, "traffic_rate": 0},
            "prefixes": [
                {"prefix": prefix, "reason": REASON, "expires": round(until, 3)} for prefix, until in prefixes
            ],
        }


def post(url: str, document: bytes) -> None:
    """Send the list to a webhook; redirects are not followed. Raises OSError or HTTPException for any other answer than
    a 2xx."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(
            host, parts.port, timeout=HOOK_SECONDS, context=ssl.create_default_context()
        )
    else:
        connection = http.client.HTTPConnection(host, parts.port, timeout=HOOK_SECONDS)
    try:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("POST", path, document, {"Content-Type": "application/json", "User-Agent": "Shield"})
        status = connection.getresponse().status
    finally:
        connection.close()
    if not 200 <= status < 300:
        raise OSError(f"it answered {status}")


Commands = list[dict[str, Any]]


def replace(table: str, ports: Sequence[int], prefixes: Sequence[Dropped], now: float) -> Commands:
    """What has nft(8) drop these, and nobody else, in one transaction (libnftables-json(5)). Each ends by itself."""
    commands: Commands = [{"add": {"table": {"family": "inet", "name": table}}}, *remove(table)]
    commands.append({"add": {"table": {"family": "inet", "name": table}}})
    at = {"family": "inet", "table": table}
    chain = {**at, "name": "input", "type": "filter", "hook": "input", "prio": -200, "policy": "accept"}
    commands.append({"add": {"chain": chain}})
    for version, protocol, kind in ((4, "ip", "ipv4_addr"), (6, "ip6", "ipv6_addr")):
        name = f"dropped{version}"
        elements = [
            {"elem": {"val": _value(prefix), "timeout": max(1, round(until - now))}}
            for prefix, until in prefixes
            if (":" in prefix) is (version == 6)
        ]
        of_set: dict[str, Any] = {**at, "name": name, "type": kind, "flags": ["timeout", "interval"]}
        if elements:
            of_set["elem"] = elements
        commands.append({"add": {"set": of_set}})
        rule = [
            _match({"payload": {"protocol": protocol, "field": "saddr"}}, f"@{name}"),
            _match({"payload": {"protocol": "tcp", "field": "dport"}}, {"set": list(ports)}),
            {"drop": None},
        ]
        commands.append({"add": {"rule": {**at, "chain": "input", "expr": rule}}})
    return commands


def remove(table: str) -> Commands:
    """What has nft(8) forget everything of ours."""
    return [{"delete": {"table": {"family": "inet", "name": table}}}]


def _match(left: dict[str, Any], right: Any) -> dict[str, Any]:
    return {"match": {"op": "==", "left": left, "right": right}}


def _value(prefix: str) -> Any:
    address, _, bits = prefix.partition("/")
    return address if bits in ("32", "128") else {"prefix": {"addr": address, "len": int(bits)}}


def run_nft(commands: Commands) -> None:
    """Raises OSError with what nft(8) says."""
    given = orjson.dumps({"nftables": commands})
    try:
        done = subprocess.run(
            ["nft", "-j", "-f", "-"],  # noqa: S607 - it is in /usr/sbin or /sbin, or wherever the operator has it
            input=given,
            capture_output=True,
            timeout=NFT_SECONDS,
            check=False,
            env={**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"},
        )
    except subprocess.TimeoutExpired:
        raise OSError("nft did not end in time") from None
    if done.returncode:
        raise OSError((done.stderr or done.stdout).decode(errors="replace").strip()[:MOST_ERROR] or "nft failed")
