"""Who is refused by rate, by name, or for what it asked; and that nobody else is."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
import socket
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

Client = Callable[..., aiohttp.ClientSession]


@pytest.fixture
async def origin(serve: Callable[..., Awaitable[str]], site: web.Application) -> str:
    async def seen(request: web.Request) -> web.Response:
        return web.json_response([[name.lower(), value] for name, value in request.headers.items()])

    site.router.add_get("/seen", seen)
    return await serve(site)


async def get(session: aiohttp.ClientSession, shield: Any, path: str = "/", **headers: str) -> int:
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    async with session.get(shield.url(path), headers=headers) as response:
        await response.read()
        return response.status


async def statuses(session: aiohttp.ClientSession, shield: Any, times: int, path: str = "/") -> Counter[int]:
    return Counter(await asyncio.gather(*(get(session, shield, path) for _ in range(times))))


async def test_a_client_above_its_rate_is_told_so_and_others_are_not(
    start: Callable[..., Any], origin: str, client: Client
) -> None:
    limits = {"client": {"rate": 1, "burst": 10}, "address": {"rate": 20, "burst": 100}, "costs": {"/": 1.0}}
    shield = await start(limits=limits, upstream={"servers": [origin]})
    greedy, same_address, neighbour = client("127.8.0.1"), client("127.8.0.1", {"User-Agent": "b"}), client("127.8.0.2")
    got = await statuses(greedy, shield, 30)
    assert 10 <= got[200] <= 12, "its burst, and what was refilled meanwhile"
    assert got[429] == 30 - got[200]
    async with greedy.get(shield.url("/")) as response:
        assert (response.status, response.content_type) == (429, "text/html")
        assert 1 <= int(response.headers["Retry-After"]) <= 20
        assert response.headers["RateLimit-Policy"] == '"client_rate";q=10;w=10'
        assert re.fullmatch(r'"client_rate";r=0;t=\d+', response.headers["RateLimit"])
    async with greedy.get(shield.url("/"), headers={"Accept": "application/json"}) as response:
        assert response.status == 429
        assert (await response.json(content_type=None))["reason"] == "client_rate"
    assert await get(same_address, shield) == 200
    assert await get(neighbour, shield) == 200
    assert (await statuses(neighbour, shield, 8))[200] == 8
    status = await shield.status()
    assert set(status["requests"]["limit"]) == {"client_rate"}

    crowd = [client("127.8.0.9", {"User-Agent": f"program {n}"}) for n in range(15)]
    got = sum((await asyncio.gather(*(statuses(one, shield, 9) for one in crowd))), Counter())
    assert 100 <= got[200] <= 125, "each is below its own rate, but their address is not"
    assert "address_rate" in (await shield.status())["requests"]["limit"]


async def test_what_no_link_leads_to_bans_programs_that_ask_and_nobody_who_was_sent(
    start: Callable[..., Any], origin: str, client: Client
) -> None:
    shield = await start(limits={"honeypots": ["/wp-login.php"]}, upstream={"servers": [origin]})
    reader, referred = client("127.8.1.1"), client("127.8.1.2")
    scanner = client("127.8.1.3", {"User-Agent": "scanner/1"})
    assert await get(reader, shield, "/wp-login.php", Sec_Fetch_Site="cross-site") == 404
    assert await get(reader, shield) == 200
    assert await get(referred, shield, "/wp-login.php", Referer="https://elsewhere.example/page") == 404
    assert await get(referred, shield) == 200
    assert await get(scanner, shield) == 200
    assert await get(reader, shield, "/wp-login.php") == 404, "a page elsewhere may hide that it sent a browser"
    assert await get(reader, shield, "/wp-login.php", Sec_Fetch_Site="none") == 404, "so does a mail"
    assert await get(scanner, shield, "/wp-login.php") == 403
    assert await get(scanner, shield) == 403
    async with scanner.get(shield.url("/"), headers={"Accept": "application/json"}) as response:
        problem = await response.json(content_type=None)
        assert (response.status, problem["reason"]) == (403, "client_banned")
    assert await get(scanner, shield, "/.well-known/shield/page.css") == 403, "nothing is free for the banned"
    ban = await shield.logged("ban", address="127.8.1.3")
    assert ban["seconds"] == 60
    assert not shield.seen("ban", address="127.8.1.1")


async def test_the_operators_lists_and_keys(start: Callable[..., Any], origin: str, client: Client) -> None:
    key = "correct horse battery staple"
    shield = await start(
        identity={
            "allow": ["127.8.2.0/28"],
            "deny": ["127.8.3.0/24"],
            "api_key_header": "X-Api-Key",
            "api_keys": [hashlib.sha256(key.encode()).hexdigest()],
        },
        limits={
            "client": {"rate": 1, "burst": 5},
            "costs": {"/": 1.0},
            "honeypots": ["/trap"],
        },
        upstream={"servers": [origin]},
        concurrency={"start": 100},  # who had to wait is counted as let in, whoever it was
    )
    friend, enemy, partner = client("127.8.2.1"), client("127.8.3.1"), client("127.8.4.1")
    assert (await statuses(friend, shield, 50)) == {200: 50}
    assert await get(friend, shield, "/trap") == 404, "it may look into the trap, too"
    assert await get(enemy, shield) == 403
    assert await get(enemy, shield, X_Api_Key=key) == 403, "a key opens no denied network"
    got = Counter(await asyncio.gather(*(get(partner, shield, X_Api_Key=key) for _ in range(50))))
    assert got == {200: 50}, "the key has the limits of a pass"
    got = Counter(await asyncio.gather(*(get(partner, shield, X_Api_Key="guessed") for _ in range(50))))
    assert got[429] >= 43
    requests = (await shield.status())["requests"]
    assert requests["forward"] == {"ok": got[200], "allowlisted": 51, "api_key": 50}
    assert requests["ban"] == {"denylisted": 2}
    assert key not in str(shield.lines)


async def test_mode_off_limits_but_never_challenges(start: Callable[..., Any], origin: str, client: Client) -> None:
    shield = await start(
        challenge={"mode": "off"}, limits={"client": {"rate": 1, "burst": 5}}, upstream={"servers": [origin]}
    )
    assert set(await statuses(client("127.8.5.1"), shield, 60)) == {200, 429}
    done = set((await shield.status())["requests"])
    assert {"forward", "limit"} <= done <= {"forward", "limit", "queue"}, "it waits a moment where the machine is busy"


async def test_a_refused_flood_is_sampled_in_the_log_and_the_rest_is_counted(
    start: Callable[..., Any], origin: str, client: Client
) -> None:
    shield = await start(
        identity={"deny": ["127.8.6.1"]}, log={"refused_per_second": 5}, upstream={"servers": [origin]}
    )
    assert (await statuses(client("127.8.6.1"), shield, 300)) == {403: 300}
    async with asyncio.timeout(30):
        while True:
            logged = len(shield.seen("refused"))
            suppressed = sum(line["lines"] for line in shield.seen("suppressed", of="refused"))
            if logged + suppressed == 300:
                break
            await asyncio.sleep(0.05)
    assert 5 <= logged <= 20
    lines = (await shield.status())["log_lines"]
    assert lines["suppressed"] == suppressed
    assert lines["written"] >= logged


async def test_forwarded_addresses_are_believed_of_trusted_proxies_only(
    start: Callable[..., Any], origin: str, client: Client
) -> None:
    shield = await start(
        listen={"trusted_proxies": ["127.9.0.0/24"]},
        identity={"deny": ["203.0.113.66"]},
        limits={"client": {"rate": 1, "burst": 5}, "costs": {"/": 1.0}},
        upstream={"servers": [origin]},
    )
    proxy, liar = client("127.9.0.1"), client("127.9.1.1")

    def via(*hops: str) -> dict[str, str]:
        return {"X_Forwarded_For": ", ".join(hops)}

    assert await get(proxy, shield, **via("203.0.113.66")) == 403
    assert await get(proxy, shield, **via("203.0.113.66", "127.9.0.7")) == 403, "past trusted hops"
    assert await get(proxy, shield, **via("203.0.113.66", "198.51.100.1")) == 200, "what a client says is not believed"
    assert await get(proxy, shield, Forwarded="for=203.0.113.66") == 200, "the other field never is"
    assert await get(liar, shield, **via("203.0.113.66")) == 200
    for n in range(12):  # a limit is not escaped by making addresses up
        last = await get(liar, shield, **via(f"198.51.100.{n}"))
    assert last == 429
    got = [await get(proxy, shield, **via(f"198.51.100.{n}")) for n in range(12)]
    assert got == [200] * 12, "and people behind a proxy do not pay for each other"
    await shield.logged("request", address="198.51.100.7")

    headers = {"X-Forwarded-For": "198.51.100.77", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "site.example"}
    seen = {}
    for name, session in (("proxy", proxy), ("stranger", client("127.9.1.2"))):
        async with session.get(shield.url("/seen"), headers=headers) as response:
            seen[name] = dict(await response.json())
    assert seen["proxy"]["x-forwarded-for"] == "198.51.100.77, 127.9.0.1"
    assert seen["proxy"]["x-forwarded-proto"] == "https"
    assert seen["proxy"]["x-forwarded-host"] == "site.example"
    assert seen["stranger"]["x-forwarded-for"] == "127.9.1.2"
    assert seen["stranger"]["x-forwarded-proto"] == "http"
    assert seen["stranger"]["x-forwarded-host"] == shield.address
    assert seen["stranger"]["forwarded"] == f'for=127.9.1.2;proto=http;host="{shield.address}"'
    assert seen["stranger"]["x-request-id"] != seen["proxy"]["x-request-id"]


async def silent(shield: Any) -> bool:
    """Whether a new connection of 127.8.3.1 is not answered within half a second, and not closed either."""
    host, port = shield.address.split(":")

    def connect() -> bool:
        with socket.create_connection((host, int(port)), timeout=0.5, source_address=("127.8.3.1", 0)) as one:
            one.sendall(b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")
            return bool(one.recv(1))

    try:
        return not await asyncio.to_thread(connect)
    except TimeoutError:
        return True
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel drops connections on Linux only")
@pytest.mark.parametrize("workers", [1, 2])
async def test_who_goes_on_against_refusals_is_not_answered_any_more(
    start: Callable[..., Any], origin: str, client: Client, workers: int, tmp_path: Path
) -> None:
    """Its connections are reset, and its new ones reach nobody, until its time is over. Its neighbour is served, and
    whoever filters earlier is told."""
    told = tmp_path / "dropped.json"
    shield = await start(
        listen={"workers": workers},
        limits={"client": {"rate": 1, "burst": 10}, "costs": {"/": 1.0}},
        drops={"refusals": 80, "per_second": 1, "least_seconds": 2.5, "export_file": told},
        upstream={"servers": [origin]},
    )
    insistent, neighbour = client("127.8.3.1"), client("127.8.3.2")

    async def insist() -> None:
        with contextlib.suppress(aiohttp.ClientConnectionError, OSError):
            while True:
                await get(insistent, shield)

    insisting = asyncio.create_task(insist())  # once its connection is reset it tries another, which is not answered
    await shield.logged("address_dropped", address="127.8.3.1", times=1)
    await shield.until(lambda status: status["dropped"] == 1)
    async with asyncio.timeout(5):
        while not await silent(shield):
            await asyncio.sleep(0.1)
    async with asyncio.timeout(5):
        while not told.exists() or "127.8.3.1/32" not in told.read_text():
            await asyncio.sleep(0.05)
    insisting.cancel()
    await asyncio.gather(insisting, return_exceptions=True)
    assert await get(neighbour, shield) == 200
    assert not shield.seen("not_dropped_by_kernel")
    await shield.until(lambda status: status["dropped"] == 0)
    async with asyncio.timeout(5):
        while await silent(shield):
            await asyncio.sleep(0.1)
    assert await get(neighbour, shield) == 200


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel drops connections on Linux only")
@pytest.mark.parametrize("workers", [1, 2])
async def test_the_kernel_drops_on_after_a_reload(
    start: Callable[..., Any], origin: str, client: Client, workers: int
) -> None:
    """A process that serves alone let those in again, and closed their connections itself."""
    shield = await start(
        listen={"workers": workers},
        limits={"client": {"rate": 1, "burst": 10}, "costs": {"/": 1.0}},
        drops={"refusals": 80, "per_second": 1},
        upstream={"servers": [origin]},
    )
    insistent = client("127.8.3.1")
    with contextlib.suppress(aiohttp.ClientConnectionError, TimeoutError):
        async with asyncio.timeout(10):
            while not shield.seen("address_dropped"):
                await get(insistent, shield)
    await shield.logged("address_dropped", address="127.8.3.1")
    shield.reload(history={"windows": 3})
    await shield.logged("reloaded", pid=shield.pid)
    async with asyncio.timeout(10):
        while not await silent(shield):
            await asyncio.sleep(0.1)
    assert await get(client("127.8.3.2"), shield) == 200
