"""Several sites behind one Shield: each with its own service, clients known to all. With one worker and with two."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.integration.conftest import BROWSER, toml
from tests.integration.test_tls import Authority, Connection

Client = Callable[..., aiohttp.ClientSession]
Start = Callable[..., Awaitable[Any]]
GENEROUS = {"rate": 1e6, "burst": 1e6}

pytestmark = pytest.mark.parametrize("workers", [1, 2])


class Service:
    """What stands behind one site. While `open` is not set it answers nothing."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.url = ""
        self.asked = 0
        self.open = asyncio.Event()
        self.open.set()

    async def answer(self, request: web.Request) -> web.Response:
        self.asked += 1
        await self.open.wait()
        body = await request.read()
        return web.json_response({"service": self.name, "host": request.host, "size": len(body)})


@pytest.fixture
async def services(serve: Callable[..., Awaitable[str]]) -> list[Service]:
    made = [Service("shop"), Service("blog")]
    for service in made:
        app = web.Application(client_max_size=1 << 24)
        app.router.add_route("*", "/{rest:.*}", service.answer)
        service.url = await serve(app)
    return made


def sites(services: list[Service], **of_shop: Any) -> list[dict[str, Any]]:
    shop, blog = services
    upstream = {"servers": [shop.url], "max_concurrency": 4, **of_shop.pop("upstream", {})}
    return [
        {"name": "shop", "hosts": ["shop.example", "*.shop.example"], "upstream": upstream, **of_shop},
        {"hosts": ["blog.example"], "upstream": {"servers": [blog.url]}},
    ]


async def ask(session: aiohttp.ClientSession, shield: Any, host: str, path: str = "/", **more: Any) -> tuple[int, str]:
    fields = {"Host": host, **more.pop("headers", {})}
    method = more.pop("method", "GET")
    async with session.request(method, shield.url(path), headers=fields, **more) as response:
        body = await response.read()
        if response.status == 200 and response.content_type == "application/json":
            return 200, (await response.json())["service"]
        return response.status, body.decode("utf-8", "replace")


async def test_each_host_has_its_own_service(
    workers: int, start: Start, services: list[Service], client: Client
) -> None:
    route = [{"path": "/login", "limit": {"client": {"per_minute": 1, "burst": 2}}}]
    shield = await start(
        listen={"workers": workers}, site=sites(services, route=route, body_bytes=1000), http={"preserve_host": True}
    )
    assert shield.seen("started")[0]["upstream"] == [service.url for service in services]
    session = client("127.41.0.1")
    for host, service in (("shop.example", "shop"), ("A.Shop.Example:80", "shop"), ("blog.example", "blog")):
        assert await ask(session, shield, host) == (200, service)
    status, text = await ask(session, shield, "other.example")
    assert status == 421
    assert "not served here" in text
    # Over the same connection, and with rules of its own.
    found = [(await ask(session, shield, host, "/login"))[0] for host in ("shop.example", "blog.example") * 3]
    assert found == [200, 200, 200, 200, 429, 200]
    post = {"method": "POST", "data": b"x" * 2000}
    assert (await ask(session, shield, "shop.example", "/up", **post))[0] == 413
    assert await ask(session, shield, "blog.example", "/up", **post) == (200, "blog")
    status_ = await shield.status()
    assert {name: site["ready"] for name, site in status_["sites"].items()} == {"shop": True, "blog.example": True}


async def test_a_site_has_its_own_deadlines_and_its_own_word_for_the_client(
    workers: int, start: Start, services: list[Service], client: Client
) -> None:
    shield = await start(
        listen={"workers": workers, "trusted_proxies": ["127.0.0.1/32"]},
        site=sites(services, forwarded_from="forwarded", timeouts={"progress": 0.2, "pause": 0.0}),
    )
    session = client("127.0.0.1")
    told = {"X-Forwarded-For": "203.0.113.1", "Forwarded": "for=203.0.113.2"}
    for host in ("shop.example", "blog.example"):  # over one connection
        assert (await ask(session, shield, host, headers=told))[0] == 200
    addresses = {"shop": "203.0.113.2", "blog.example": "203.0.113.1"}
    for site, address in addresses.items():
        assert (await shield.logged("request", site=site))["address"] == address
    reader, writer = await asyncio.open_connection("127.0.0.1", shield.port)
    writer.write(b"POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 9\r\n\r\nhalf")
    async with asyncio.timeout(19.0):  # less than the 20 s that the other site gives
        assert (await reader.readline()).startswith(b"HTTP/1.1 408 ")
    writer.close()


async def test_a_site_that_is_flooded_and_hangs_is_not_noticed_at_the_other(
    workers: int, start: Start, services: list[Service], client: Client
) -> None:
    shop = services[0]
    shield = await start(
        listen={"workers": workers},
        site=sites(services),
        limits={"client": GENEROUS, "address": GENEROUS, "network": GENEROUS},
        queue={"calm_patience": 2.0},
    )
    shield.expected = {"upstream_down"}
    shop.open.clear()
    flood = [
        asyncio.create_task(ask(client(f"127.42.{n % 8}.{n}"), shield, "shop.example", f"/{n}")) for n in range(60)
    ]
    found: Counter[str] = Counter()
    async with asyncio.timeout(30):
        while True:
            site = (await shield.status())["sites"]["shop"]
            if site["waiting"] and shop.asked >= 4:  # which are soon counted as long, and not as in_flight
                break
            await asyncio.sleep(0.05)
    loop, longest = asyncio.get_running_loop(), 0.0
    visitors = [client(f"127.43.0.{n}", headers=BROWSER) for n in range(1, 6)]
    for _ in range(10):
        for visitor in visitors:
            began = loop.time()
            status, service = await ask(visitor, shield, "blog.example", "/page")
            longest = max(longest, loop.time() - began)
            found[f"{status} {service}"] += 1
    assert found == {"200 blog": 50}
    assert longest < 2.0, "requests waited for those of the other site"
    of = (await shield.status())["sites"]
    assert (of["blog.example"]["pressure"], of["blog.example"]["attack"], of["blog.example"]["waiting"]) == (
        0,
        False,
        0,
    )
    assert of["blog.example"]["price"] <= of["shop"]["price"]
    shop.open.set()
    ended = Counter(status for status, _ in await asyncio.gather(*flood))
    assert ended[200] >= 4
    assert ended[200] + ended[503] + ended[504] == 60, ended  # 504: what waited at its hanging service for too long


async def test_a_dead_service_is_its_own_sites_fault(
    workers: int, start: Start, services: list[Service], client: Client
) -> None:
    dead = sites(services, upstream={"servers": ["http://127.0.0.1:1"], "health_interval": 0.2})
    shield = await start(listen={"workers": workers}, site=dead)
    shield.expected = {"upstream_down", "upstream_connect_failed"}
    session = client("127.44.0.1")
    assert (await ask(session, shield, "shop.example"))[0] in (502, 503)
    assert await ask(session, shield, "blog.example") == (200, "blog")
    await shield.logged("upstream_down")
    assert await ask(session, shield, "blog.example") == (200, "blog")
    async with asyncio.timeout(30):  # the other worker finds it out by itself
        while (told := await shield.asked("/readyz")) != (200, "ready, but for shop\n"):
            assert told == (200, "ready\n")
            await asyncio.sleep(0.05)


async def test_a_ban_holds_at_all_sites(workers: int, start: Start, services: list[Service], client: Client) -> None:
    shield = await start(listen={"workers": workers}, site=sites(services), limits={"honeypots": ["/trap"]})
    session = client("127.45.0.1", headers={"User-Agent": "scanner/1.0"})
    assert await ask(session, shield, "blog.example") == (200, "blog")
    assert (await ask(session, shield, "shop.example", "/trap"))[0] == 403
    assert (await ask(session, shield, "blog.example"))[0] == 403
    other = client("127.46.0.1", headers={"User-Agent": "scanner/1.0"})
    assert await ask(other, shield, "blog.example") == (200, "blog")


async def test_the_operator_changes_one_site(
    workers: int, start: Start, services: list[Service], client: Client
) -> None:
    shield = await start(listen={"workers": workers}, site=sites(services))
    session = client("127.47.0.1", headers=BROWSER)

    async def wish(kind: str, subject: str, value: str) -> int:
        async with session.post(
            f"http://{shield.admin}/api/rules", json={"kind": kind, "subject": subject, "value": value}
        ) as response:
            return response.status

    assert await wish("pressure", "nix", "0.8") == 422
    assert await wish("pressure", "shop", "0.8") == 201
    async with asyncio.timeout(20):
        while (await ask(session, shield, "shop.example"))[0] != 503:
            await asyncio.sleep(0.05)
    assert await ask(session, shield, "blog.example") == (200, "blog")
    code, answer = await shield.asked("/api/explain?address=127.47.0.1&site=shop")
    assert (code, '"site":"shop"' in answer.replace(" ", "")) == (200, True)
    assert (await shield.asked("/api/explain?address=127.47.0.1&site=nix"))[0] == 422
    assert await wish("dry_run", "shop", "on") == 201
    async with asyncio.timeout(20):
        while (await ask(session, shield, "shop.example"))[0] != 200:
            await asyncio.sleep(0.05)
    of = (await shield.status())["sites"]
    assert (of["shop"]["dry_run"], of["blog.example"]["dry_run"]) == (True, False)
    _, metrics = await shield.asked("/metrics")
    assert 'shield_site_dry_run{site="shop"' in metrics
    onset = await shield.logged("attack_onset")
    assert onset["site"] == "shop"


async def test_over_tls_a_connection_belongs_to_the_site_of_its_name(
    workers: int, start: Start, services: list[Service], tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    certificates = [authority.issue("shop", "shop.example"), authority.issue("blog", "blog.example")]
    shield = await start(listen={"workers": workers}, tls={"certificates": certificates}, site=sites(services))
    unnamed = authority.client()
    unnamed.check_hostname = False

    def ask_all() -> dict[str, int]:
        found = {}
        for name, context in (
            ("shop.example", authority.client()),
            ("blog.example", authority.client()),
            ("", unnamed),
        ):
            for host in ("shop.example", "blog.example", "x.example"):
                connection = Connection(shield.port, context, name or None)
                with contextlib.closing(connection.sock):
                    response = connection.ask(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
                    found[f"{name}>{host}"] = response.status
        return found

    assert await asyncio.to_thread(ask_all) == {
        "shop.example>shop.example": 200,
        "shop.example>blog.example": 421,
        "shop.example>x.example": 421,
        "blog.example>shop.example": 421,
        "blog.example>blog.example": 200,
        "blog.example>x.example": 421,
        ">shop.example": 200,
        ">blog.example": 200,
        ">x.example": 421,
    }


async def test_a_reload_brings_sites_and_takes_them_away(
    workers: int, start: Start, services: list[Service], client: Client, tmp_path: Path
) -> None:
    shop, blog = services
    shield = await start(
        listen={"workers": workers},
        upstream={"servers": [shop.url]},
        limits={"client": GENEROUS, "address": GENEROUS},
        state={"directory": str(tmp_path / "state")},
        pressure={"max_pressure": 0.0},
        log={"requests": False},
    )
    going, asked = True, 0
    wrong: Counter[str] = Counter()

    async def visit(number: int) -> None:
        nonlocal asked
        session = client(f"127.48.{number}.1")
        while going:
            found = await ask(session, shield, "shop.example", "/page")
            asked += 1
            if found != (200, "shop"):
                wrong[str(found)] += 1

    visitors = [asyncio.create_task(visit(number)) for number in range(2)]
    session = client("127.49.0.1")
    assert await ask(session, shield, "blog.example") == (200, "shop")  # the only service
    base = {key: table for key, table in shield.settings.items() if key != "upstream"}
    steps: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({**base, "site": sites(services)}, {"blog.example": (200, "blog"), "x.example": 421}),
        ({**base, "site": sites(services)[:1]}, {"blog.example": 421, "a.shop.example": (200, "shop")}),
        ({**base, "upstream": {"servers": [blog.url]}, "site": sites(services)[:1]}, {"x.example": (200, "blog")}),
        (dict(shield.settings), {"blog.example": (200, "shop")}),
    ]
    for number, (settings, wanted) in enumerate(steps, 1):
        before = asked
        shield.config.write_text(toml(settings))
        shield.process.send_signal(1)
        await shield.logged("reloaded", count=number * (1 if workers == 1 else 1 + workers))
        async with asyncio.timeout(20):
            while asked < before + 20:
                await asyncio.sleep(0.01)
        for host, answer in wanted.items():
            fresh = client(f"127.49.{number}.1")
            found = await ask(fresh, shield, host)
            assert found == answer or found[0] == answer, (number, host, found)
    going = False
    await asyncio.gather(*visitors)
    assert not wrong
