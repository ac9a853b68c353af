"""TLS on the admin listener: whom the command line believes, and what a flood of handshakes gets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Protocol

import aiohttp
import pytest
import trustme

from shield.console.client import Admin, UnreachableError, find
from shield.errors import StartError
from shield.operator import admin_tls
from shield.operator.access import Access
from shield.operator.admin_tls import MOST_HANDSHAKES
from shield.operator.server import AdminServer, AdminSettings
from tests.operator.test_api import Clerk
from tests.operator.test_server import View


class Tls(Protocol):
    certificate: Path
    key: Path
    authority: Path


@contextlib.asynccontextmanager
async def served(tls: Tls, **more: Any) -> AsyncIterator[AdminServer]:
    made = AdminSettings("127.0.0.1:0", certificate=str(tls.certificate), key=str(tls.key), **more)
    server = AdminServer(made, View(), desk=Clerk(), access=Access(made.token_file))
    await server.start()
    try:
        yield server
    finally:
        await server.close()


async def ask(admin: Admin, path: str = "/api/rules") -> tuple[int, dict[str, Any]]:
    return await asyncio.to_thread(admin.ask, "GET", path)


async def test_the_command_line_believes_the_certificate_of_the_config_and_no_other(
    tls: Tls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SHIELD_ADMIN", raising=False)
    monkeypatch.delenv("SHIELD_CA", raising=False)
    other = tmp_path / "other.pem"
    trustme.CA().issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(other)
    async with served(tls) as server:
        config = tmp_path / "config.toml"
        config.write_text(f'[admin]\naddress = "{server.address}"\ncertificate = "{tls.certificate}"\n')
        status, answer = await ask(find(None, str(config), None))
        assert (status, len(answer["rules"])) == (200, 1)
        config.write_text(f'[admin]\naddress = "{server.address}"\ncertificate = "{other}"\n')
        with pytest.raises(UnreachableError, match="certificate verify failed"):
            await ask(find(None, str(config), None))
        with pytest.raises(UnreachableError, match="certificate verify failed"):
            await ask(Admin(f"https://{server.address}"))
        monkeypatch.setenv("SHIELD_CA", str(tls.authority))
        assert (await ask(Admin(f"https://{server.address}")))[0] == 200
        with pytest.raises(UnreachableError, match="nobody answers"):
            await ask(Admin(server.address))
        monkeypatch.setenv("SHIELD_CA", str(tmp_path / "none"))
        with pytest.raises(UnreachableError, match="SHIELD_CA cannot be read"):
            await ask(Admin(f"https://{server.address}"))


async def test_the_dashboard_and_streams_work_over_it(tls: Tls) -> None:
    context = ssl.create_default_context(cafile=str(tls.authority))
    async with served(tls) as server, aiohttp.ClientSession() as session:
        async with session.get(f"https://{server.address}/", ssl=context) as response:
            assert response.status == 200
            assert "text/html" in response.headers["Content-Type"]
        async with session.get(f"https://{server.address}/api/stream", ssl=context) as response:
            assert response.status == 200
            assert (await response.content.readline()).startswith(b"event: ")


async def test_handshakes_that_are_begun_and_not_ended_are_few_and_short(
    tls: Tls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admin_tls, "HANDSHAKE_SECONDS", 0.3)
    context = ssl.create_default_context(cafile=str(tls.authority))
    async with served(tls) as server:
        host, _, port = server.address.rpartition(":")
        idle = [await asyncio.open_connection(host, int(port)) for _ in range(3 * MOST_HANDSHAKES)]
        ended = [asyncio.create_task(reader.read()) for reader, _ in idle]
        done, waiting = await asyncio.wait(ended, timeout=0.2)
        assert len(waiting) <= MOST_HANDSHAKES
        assert len(done) >= 2 * MOST_HANDSHAKES
        await asyncio.gather(*ended, return_exceptions=True)  # the others, when their time is over
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"https://{server.address}/healthz", ssl=context) as response,
        ):
            assert await response.text() == "alive\n"
        for _, writer in idle:
            writer.close()


async def test_what_is_no_tls_is_closed(tls: Tls) -> None:
    async with served(tls) as server:
        host, _, port = server.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            assert b"alive" not in await reader.read()
        writer.close()
        assert (await ask_alive(tls, server)) == "alive\n"


async def ask_alive(tls: Tls, server: AdminServer) -> str:
    context = ssl.create_default_context(cafile=str(tls.authority))
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"https://{server.address}/healthz", ssl=context) as response,
    ):
        return await response.text()


async def test_a_certificate_is_read_again_with_the_config(tls: Tls, tmp_path: Path) -> None:
    authority = trustme.CA()
    both = tmp_path / "both.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(both)
    async with served(tls) as server:
        settings = AdminSettings(server.address, certificate=str(both))
        server.show(settings, View(), Access())
        host, _, port = server.address.rpartition(":")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        authority.configure_trust(context)

        def shake() -> None:
            with (
                socket.create_connection((host, int(port)), timeout=10) as raw,
                context.wrap_socket(raw, server_hostname="127.0.0.1") as secure,
            ):
                assert secure.version() in ("TLSv1.2", "TLSv1.3")

        await asyncio.to_thread(shake)


async def test_what_cannot_be_used_is_refused(tls: Tls, tmp_path: Path) -> None:
    def said(**settings: str) -> list[tuple[str, str]]:
        return [(str(at[0]), why) for at, why in AdminSettings(**settings).complaints()]

    assert said(certificate=str(tls.certificate), key=str(tls.key)) == []
    ((key, why),) = said(certificate=str(tls.certificate))
    assert (key, why.partition(":")[0]) == ("certificate", "this, which must hold its key too, cannot be used")
    ((key, why),) = said(certificate=str(tmp_path / "none"))
    assert why.endswith("No such file or directory")
    ((key, why),) = said(certificate=str(tmp_path))
    assert why.endswith("not a regular file")
    assert said(key=str(tls.key)) == [("key", "of no use without admin.certificate")]
    assert said(address="unix:/run/s.sock", certificate="x") == [("certificate", "no TLS is spoken over a unix socket")]
    server = AdminServer(AdminSettings("127.0.0.1:0", certificate=str(tmp_path / "none")), View())
    with pytest.raises(StartError, match=r"admin\.certificate: cannot use .*none: No such file"):
        await server.start()
