"""The admin listener over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families

from shield.errors import StartError
from shield.operator.server import MOST_CONNECTIONS, AdminServer, AdminSettings


class View:
    def __init__(self) -> None:
        self.answer = (True, "ready")

    def ready(self) -> tuple[bool, str]:
        return self.answer

    def status(self) -> dict[str, Any]:
        return {"pressure": 0.25, "tables": {"clients": {"entries": 3}}, "by_status": {200: 1}, "odd": b"bytes"}

    async def bans(self) -> list[dict[str, Any]]:
        return [
            {"address": f"192.0.2.{i}", "client": "", "until": float(i), "relapses": 1, "score": 20.0} for i in (1, 2)
        ]

    async def recent(self) -> dict[str, Any]:
        return {"refused": [], "events": []}

    async def explain(self, question: Mapping[str, str]) -> dict[str, Any]:
        self.asked = dict(question)
        if "nowhere" in question.values():
            raise ValueError("nowhere is no address")
        return {"asked": "", "found": "known" in question.values(), "subjects": [], "refused": []}

    def metrics(self) -> Iterable[Metric]:
        yield GaugeMetricFamily("shield_pressure", "Pressure.", value=0.25)


@contextlib.asynccontextmanager
async def admin(view: View | None = None, **settings: Any) -> AsyncIterator[AdminServer]:
    server = AdminServer(AdminSettings(**{"address": "127.0.0.1:0", **settings}), view or View())
    await server.start()
    try:
        yield server
    finally:
        await server.close()


async def fetch(
    server: AdminServer, path: str, method: str = "GET", **headers: str
) -> tuple[int, str, Mapping[str, str]]:
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, f"http://{server.address}{path}", headers=headers, allow_redirects=False) as response,
    ):
        return response.status, await response.text(), response.headers


async def test_healthz() -> None:
    async with admin() as server:
        status, body, headers = await fetch(server, "/healthz")
    assert (status, body) == (200, "alive\n")
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"


async def test_readyz_follows_the_service() -> None:
    view = View()
    async with admin(view) as server:
        assert (await fetch(server, "/readyz"))[:2] == (200, "ready\n")
        view.answer = (False, "draining")
        assert (await fetch(server, "/readyz"))[:2] == (503, "draining\n")
        assert (await fetch(server, "/healthz"))[0] == 200


async def test_metrics_are_prometheus_text() -> None:
    async with admin() as server:
        status, body, headers = await fetch(server, "/metrics")
    assert status == 200
    assert headers["Content-Type"].startswith("text/plain")
    (family,) = text_string_to_metric_families(body)
    assert (family.name, family.samples[0].value) == ("shield_pressure", 0.25)


async def test_status_is_json() -> None:
    async with (
        admin() as server,
        aiohttp.ClientSession() as session,
        session.get(f"http://{server.address}/api/status") as got,
    ):
        body = await got.json()
    assert body["tables"] == {"clients": {"entries": 3}}
    assert body["by_status"] == {"200": 1}


async def test_bans() -> None:
    async with admin() as server:
        status, body, _ = await fetch(server, "/api/bans")
        assert status == 200
        assert [ban["address"] for ban in json.loads(body)["bans"]] == ["192.0.2.2", "192.0.2.1"]
        one = json.loads((await fetch(server, "/api/bans?limit=1"))[1])
        assert (len(one["bans"]), one["total"]) == (1, 2)
        assert (await fetch(server, "/api/bans?limit=all"))[0] == 422


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 422),
        ("?address=", 422),
        ("?address=192.0.2.1&pass=x", 422),
        ("?address=nowhere", 422),
        ("?address=192.0.2.1", 200),
        ("?request_id=known", 200),
        ("?request_id=gone", 404),
        ("?pass=gone", 404),
    ],
)
async def test_explain(query: str, status: int) -> None:
    view = View()
    async with admin(view) as server:
        found, body, headers = await fetch(server, f"/api/explain{query}")
        assert (await fetch(server, f"/api/explain{query}", "POST"))[0] == 405
    assert (found, headers["Content-Type"].partition(";")[0]) == (
        status,
        "application/json" if status == 200 else "application/problem+json",
    )
    assert status == 200 or "detail" in body


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:9901", "127.0.0.1", "10.0.0.5:1", "[::1]:9901", "shield.internal:9901"]
)
async def test_known_hosts(host: str) -> None:
    async with admin(hosts=("Shield.Internal",)) as server:
        assert (await fetch(server, "/healthz", Host=host))[0] == 200


@pytest.mark.parametrize(
    "host",
    [
        "attacker.example",
        "attacker.example:9901",
        "localhost.attacker.example",
        "127.0.0.1.nip.example",
        "localhost@attacker.example",
        "127.0.0.1@attacker.example:9901",
        "attacker.example#localhost",
        "2130706433",
        "0x7f.1",
        "[fe80::1%attacker.example]",
        "[::1",
        "127.0.0.1]",
        "localhost:9901:1",
        "",
    ],
)
async def test_dns_rebinding_is_refused(host: str) -> None:
    async with admin() as server:
        for path in ("/api/status", "/metrics", "/readyz", "/nothing"):
            status, body, _ = await fetch(server, path, Host=host)
            assert status == 421
            assert "pressure" not in body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
async def test_nothing_can_be_changed(method: str) -> None:
    async with admin() as server:
        status, _, headers = await fetch(server, "/api/status", method)
    assert (status, headers["Allow"]) == (405, "GET, HEAD")


async def test_head() -> None:
    async with admin() as server:
        status, body, headers = await fetch(server, "/api/status", "HEAD")
    assert (status, body) == (200, "")
    assert int(headers["Content-Length"]) > 0


HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Server": "Shield",
}


async def ask(server: AdminServer, data: bytes) -> tuple[int, dict[str, str], str]:
    """Status, fields and body of the answer to `data`, which ends the connection."""
    host, _, port = server.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(data)
    async with asyncio.timeout(5):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
        fields = dict(line.split(": ", 1) for line in lines)
        assert len(fields) == len(lines)
        body = await reader.readexactly(int(fields["Content-Length"]))
    writer.close()
    return int(first.split()[1]), fields, body.decode()


MARK = b"zq9<svg/onload=1>"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /" + MARK + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"GET //zq9.example/..//api/status HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"GET /api/status/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"GET /api/status%00 HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n" + MARK + b"\r\n\r\n", 400),
        (MARK + b" / HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00zq9\r\n\r\n", 400),
        (b"GET /" + b"zq9" * 4000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: zq9\r\nHost: localhost\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: zq9\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nExpect: zq9\r\n\r\n", 200),
        (b"POST /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\nExpect: 100-continue\r\n\r\n", 405),
        (b"GET http://zq9.example/api/status HTTP/1.1\r\nHost: zq9.example\r\n\r\n", 421),
        (b"GET /api/status HTTP/1.0\r\n\r\n", 421),
        (b"GET /api/status HTTP/1.1\r\nHost:\r\n\r\n", 421),
    ],
)
async def test_nothing_that_was_sent_is_said_again(data: bytes, status: int, caplog: pytest.LogCaptureFixture) -> None:
    """Nor is a traceback logged for what is no HTTP: whoever reaches the port could fill the disk with these."""
    async with admin() as server:
        said, fields, body = await ask(server, data)
    assert said == status
    assert {name: fields[name] for name in HEADERS} == HEADERS
    assert fields["Content-Type"] == "text/plain; charset=utf-8"
    assert "zq9" not in repr(fields) + body
    assert "pressure" not in body
    assert not [name for name in fields if name.startswith(("Access-Control", "Set-Cookie", "Location", "ETag"))]
    assert caplog.text == ""


async def test_each_page_has_the_same_fields() -> None:
    async with admin() as server:
        for path in ("/healthz", "/readyz", "/metrics", "/api/status", "/nothing"):
            _, _, headers = await fetch(server, path)
            assert {name: headers[name] for name in HEADERS} == HEADERS


async def test_unknown_path() -> None:
    async with admin() as server:
        status, _, headers = await fetch(server, "/api")
    assert (status, headers["Cache-Control"]) == (404, "no-store")


async def test_a_broken_view_costs_one_request(caplog: pytest.LogCaptureFixture) -> None:
    view = View()
    async with admin(view) as server:
        view.ready = lambda: 1 / 0  # type: ignore[method-assign,assignment,return-value]
        assert (await fetch(server, "/readyz"))[0] == 500
        assert (await fetch(server, "/healthz"))[0] == 200
    assert "ZeroDivisionError" in caplog.text


async def test_occupied_address() -> None:
    async with admin() as server:
        second = AdminServer(AdminSettings(address=server.address), View())
        with pytest.raises(
            StartError, match=rf"admin.address: cannot listen on {server.address}: the address is in use"
        ):
            await second.start()
        await second.close()


async def test_foreign_address() -> None:
    with pytest.raises(StartError, match=r"cannot listen on 192\.0\.2\.1:9901: "):
        await AdminServer(AdminSettings(address="192.0.2.1:9901"), View()).start()


async def test_switched_off() -> None:
    async with admin(address="") as server:
        assert server.address == ""


async def test_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    with socket.socket(socket.AF_UNIX) as stale:  # as after a crash: the file is there, nobody listens
        stale.bind(str(path))
    async with admin(address=f"unix:{path}") as server:
        assert path.stat().st_mode & 0o777 == 0o600
        connector = aiohttp.UnixConnector(str(path))
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.get("http://localhost/healthz") as got,
        ):
            assert got.status == 200
        with pytest.raises(StartError, match="the address is in use"):
            await AdminServer(AdminSettings(address=server.address), View()).start()
    assert not path.exists()


async def test_the_end_does_not_wait_for_idle_connections() -> None:
    async with admin() as server:
        host, _, port = server.address.rpartition(":")
        _, writer = await asyncio.open_connection(host, int(port))
        async with asyncio.timeout(5):
            await server.close()
        writer.close()


async def test_connections_that_never_ask_do_not_take_all_descriptors() -> None:
    async with admin() as server:
        host, _, port = server.address.rpartition(":")
        silent = [await asyncio.open_connection(host, int(port)) for _ in range(MOST_CONNECTIONS + 8)]
        for _, writer in silent:
            writer.write(b"GET /healthz HT")
        status, _, _ = await fetch(server, "/healthz")
        assert status == 200
        async with asyncio.timeout(5):  # the oldest went: those eight, and one for who asked
            for reader, writer in silent[:9]:
                with contextlib.suppress(ConnectionError):
                    assert await reader.read() == b""
                writer.close()
        for _, writer in silent[9:]:
            writer.write(b"TP/1.1\r\nHost: localhost\r\n\r\n")
        for reader, writer in silent[9:]:
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            writer.close()
