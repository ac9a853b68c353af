"""The admin listener: /healthz, /readyz, /metrics and /api/status, for the operator and the monitoring.

It shows and never changes anything. It has no password, so it must stay on an address that only the operator reaches.
A browser on that machine can be made to ask it, though, by a page whose name was rebound to 127.0.0.1 (DNS
rebinding): hence the check of Host, and answers that no page of another origin can read.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Protocol

import orjson
from aiohttp import web
from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from typing_extensions import Doc

from shield.addresses import TcpAddress, UnixAddress, parse_address
from shield.admin.exposition import registry
from shield.errors import StartError


@dataclass(frozen=True, slots=True)
class AdminSettings:
    address: Annotated[
        str,
        Doc(
            'Where the admin listener listens: "127.0.0.1:9901", "[::1]:9901", "unix:/run/shield/admin.sock"; empty: '
            "nowhere. It has no password: keep it where only you and the monitoring reach it. Envoy's admin port."
        ),
    ] = "127.0.0.1:9901"
    hosts: Annotated[
        tuple[str, ...],
        Doc("Names accepted in Host besides localhost and IP addresses. Others are refused against DNS rebinding."),
    ] = ()


class View(Protocol):
    """What the service shows of itself. Called on the event loop, once per request; must not wait."""

    def ready(self) -> tuple[bool, str]:
        """Whether requests are welcome, and why (not)."""
        ...

    def status(self) -> dict[str, Any]:
        """Everything /api/status tells; plain JSON values."""
        ...

    def metrics(self) -> Iterable[Metric]:
        """Metric families, read now."""
        ...


_HEADERS: Final = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
}

_KEEP_ALIVE_SECONDS: Final = 75.0
_CLOSE_SECONDS: Final = 2.0


async def _always_fresh(_: str) -> None:
    """A view that can be read at any time."""


class AdminServer:
    """One admin listener. `start` raises StartError when the address cannot be had; `close` ends it.

    `refresh(path)` is awaited before the view is read for that path: a view of other processes must ask them first.
    """

    def __init__(
        self, settings: AdminSettings, view: View, refresh: Callable[[str], Awaitable[None]] = _always_fresh
    ) -> None:
        self._settings = settings
        self._view = view
        self._refresh = refresh
        self._registry = registry(view.metrics)
        self._hosts = frozenset(host.lower() for host in settings.hosts) | {"localhost"}
        self._runner: web.AppRunner | None = None
        self.address = settings.address
        """Where it listens; after start() with the port that the system chose."""

    async def start(self) -> None:
        if not self._settings.address:
            return
        app = web.Application(middlewares=[self._guard], client_max_size=1024)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/api/status", self._status)
        runner = web.AppRunner(
            app,
            access_log=None,
            handle_signals=False,
            shutdown_timeout=_CLOSE_SECONDS,
            keepalive_timeout=_KEEP_ALIVE_SECONDS,
        )
        await runner.setup()
        try:
            self.address = await _listen(runner, self._settings.address)
        except BaseException:
            await runner.cleanup()
            raise
        self._runner = runner

    async def close(self) -> None:
        """Idempotent."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()
            if self.address.startswith("unix:"):
                Path(self.address.removeprefix("unix:")).unlink(missing_ok=True)

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        response: web.StreamResponse
        if not self._is_ours(request.headers.get("Host", "")):
            response = web.Response(
                status=421, text="Unknown Host. Use an IP address, localhost or a name in admin.hosts.\n"
            )
        elif request.method not in {"GET", "HEAD"}:
            response = web.Response(status=405, text="Only GET and HEAD.\n", headers={"Allow": "GET, HEAD"})
        else:
            try:
                response = await handler(request)
            except web.HTTPException as error:  # no such path
                response = web.Response(status=error.status, text=f"{error.status}: {error.reason}\n")
        response.headers.update(_HEADERS)
        return response

    def _is_ours(self, host: str) -> bool:
        """True for an IP literal, localhost or a configured name, whatever the port."""
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        if name.lower() in self._hosts:
            return True
        try:
            ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
        except ValueError:
            return False
        return True

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="alive\n")

    async def _readyz(self, request: web.Request) -> web.Response:
        await self._refresh(request.path)
        ready, why = self._view.ready()
        return web.Response(status=200 if ready else 503, text=f"{why}\n")

    async def _metrics(self, request: web.Request) -> web.Response:
        await self._refresh(request.path)
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _status(self, request: web.Request) -> web.Response:
        await self._refresh(request.path)
        body = orjson.dumps(self._view.status(), default=str, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS)
        return web.Response(body=body + b"\n", content_type="application/json")


async def _listen(runner: web.AppRunner, text: str) -> str:
    """Bind and return the address in use. StartError in one line otherwise."""
    address = parse_address(text)
    try:
        match address:
            case UnixAddress(path):
                _refuse_live_socket(path)
                await web.UnixSite(runner, path).start()
                Path(path).chmod(0o600)
                return str(address)
            case TcpAddress(host, port):
                await web.TCPSite(runner, host or None, port).start()
                return str(TcpAddress(host, runner.addresses[0][1]))
    except OSError as error:
        reason = "the address is in use" if error.errno == errno.EADDRINUSE else os.strerror(error.errno or 0)
        raise StartError(f"admin.address: cannot listen on {text}: {reason}") from error


def _refuse_live_socket(path: str) -> None:
    """The event loop replaces a socket file that is in the way: right after a crash, wrong while somebody serves it."""
    if not Path(path).is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        if probe.connect_ex(path) != errno.ECONNREFUSED:
            raise OSError(errno.EADDRINUSE, "somebody listens there")
