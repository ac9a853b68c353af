"""The admin listener: /healthz, /readyz, /metrics, /api and the dashboard, for the operator and the monitoring.

Who is on the same machine may ask everything; who is not needs a token to change anything (access.py). A browser on
that machine can be made to ask it, though, by a page whose name was rebound to 127.0.0.1 (DNS rebinding): hence the
check of Host, and answers that no page of another origin can read. Nor can such a page change anything: requests that
a browser sends for another site are refused, and bodies must be JSON by their Content-Type.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import grp
import ipaddress
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final, Protocol

from aiohttp import web
from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from typing_extensions import Doc

from shield.complaints import Complaint
from shield.errors import StartError
from shield.http.client_fields import about_client
from shield.marks import Why
from shield.operator import admin_tls
from shield.operator.access import Access, DeniedError, Role
from shield.operator.admin_tls import TlsServer
from shield.operator.api import CALLS, Api, Call, encoded, problem
from shield.operator.chronicle import KEPT_SECONDS as DAY
from shield.operator.dashboard.files import POLICY, files
from shield.operator.desk import Asker, Desk, DeskError
from shield.operator.exposition import registry
from shield.operator.live import Live
from shield.wire.addresses import TcpAddress, UnixAddress, parse_address, wrong_address


@dataclass(frozen=True, slots=True)
class AdminSettings:
    """The operator's listener."""

    address: Annotated[
        str,
        Doc(
            'Address of the admin listener: "127.0.0.1:9901", "[::1]:9901", '
            '"unix:/run/shield/admin.sock". Empty: none. On loopback and over a unix socket there is no password: keep '
            "it where only you and the monitoring reach it."
        ),
        Why("Precedent", "the port of Envoy's admin listener"),
    ] = "127.0.0.1:9901"
    hosts: Annotated[
        tuple[str, ...],
        Doc("Names accepted in Host besides localhost and IP addresses. Others are refused, against DNS rebinding."),
    ] = ()

    token_file: Annotated[
        str,
        Doc(
            "File with tokens for those who ask from elsewhere than this machine, one a line: `write TOKEN NAME`, or "
            "`read TOKEN NAME`. Empty: from elsewhere everything can be read, and nothing changed."
        ),
    ] = ""
    group: Annotated[
        str,
        Doc("Group that may open the unix socket (mode 0660). Empty: only Shield's own user and root (0600)."),
    ] = ""
    certificate: Annotated[
        str,
        Doc(
            "PEM file with the certificate that the admin listener shows, then those that lead to an authority. With "
            "it, only TLS is spoken there. It is read again with the config. Empty: plain HTTP."
        ),
    ] = ""
    key: Annotated[str, Doc("PEM file with its key, without a passphrase. Empty: in the same file.")] = ""

    def complaints(self) -> Iterator[Complaint]:
        if self.address and (wrong := wrong_address(self.address)):
            yield ("address",), wrong
        if self.group and not self.address.startswith("unix:"):
            yield ("group",), "only a unix socket belongs to a group: admin.address must begin with unix:"
        if self.certificate and self.address.startswith("unix:"):
            yield ("certificate",), "no TLS is spoken over a unix socket"
        elif self.certificate:
            try:
                admin_tls.context(self.certificate, self.key)
            except (OSError, ValueError) as error:
                which = " with admin.key" if self.key else ", which must hold its key too,"
                yield ("certificate",), f"this{which} cannot be used: {admin_tls.reason(error)}"
        elif self.key:
            yield ("key",), "of no use without admin.certificate"


class AdminView(Protocol):
    """What Shield shows of itself. Called on the event loop, once per request; must not wait."""

    def ready(self) -> tuple[bool, str]:
        """Whether requests are welcome, and why (not)."""
        ...

    def status(self) -> dict[str, Any]:
        """Everything /api/status tells; plain JSON values."""
        ...

    def metrics(self) -> Iterable[Metric]:
        """Metric families, read now."""
        ...

    async def bans(self) -> list[dict[str, Any]]:
        """The bans in force that Shield made by itself, as Ban.plain() has them."""
        ...

    async def recent(self) -> dict[str, Any]:
        """Who was `refused` of late, and which `events` there were; plain JSON values, bounded."""
        ...

    async def explain(self, question: Mapping[str, str]) -> dict[str, Any]:
        """Why: the answer to one of `address`, `request_id` or `pass`. ValueError when it is none."""
        ...


_HEADERS: Final = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Server": "Shield",  # and not aiohttp's and Python's version
}

_OPEN: Final = frozenset({"/healthz", "/readyz"})
"""What anybody who reaches the listener may ask: balancers do."""
EXPLAIN: Final = "/api/explain"
BANS: Final = "/api/bans"
CLUSTER: Final = "/api/cluster"
RECENT: Final = "/api/recent"
HISTORY: Final = "/api/history"
REPORT: Final = "/api/report"
STREAM: Final = "/api/stream"
_UNKNOWN: Final[Mapping[str, str]] = {
    "request_id": "No request with this id was refused within the last minutes, as far as is remembered: of a flood "
    "only some are. The log may have it; else ask for the address.",
    "pass": "No such pass is in use. Give its whole token, if you have that: its id is not enough then.",
}
_FORWARDED: Final = frozenset({"forwarded", "via"})
"""Fields of a proxy, besides those of http/client_fields.py. What it passes on is not from this machine, even if the
proxy is."""
NOTHING: Final[Mapping[str, str]] = MappingProxyType({})

_OPTIONS: Final[Any] = {"access_log": None, "keepalive_timeout": 75.0, "auto_decompress": False}
"""The timeout is in seconds, the same as for clients. Nobody sends a compressed body, which could be a bomb."""
_CLOSE_SECONDS: Final = 2.0

BACKLOG: Final = 128
MOST_CONNECTIONS: Final = 32
"""Connections at the same time. Beyond it the oldest is closed: else whoever reaches this listener could take all the
descriptors of the process, of which clients leave 128 (listener.RESERVED_FILES). A monitoring system keeps one."""


async def _always_fresh(_: str) -> None:
    """A view that can be read at any time."""


def _say(status: int, text: str, **headers: str) -> web.Response:
    return web.Response(status=status, text=text, headers=headers | _HEADERS)


class _Handler(web.RequestHandler):
    """One connection. What is no HTTP gets an answer of ours: aiohttp's repeats it, and logs a traceback for it."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if status == 500:
            self.log_exception("admin listener: %s", request.path, exc_info=exc)
        response = _say(status, "Something went wrong here.\n" if status == 500 else "Not a request.\n")
        response.force_close()
        return response


class _Server(web.Server):
    """As aiohttp's, with our handler, and no more connections than MOST_CONNECTIONS."""

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        for oldest in self.connections[:-MOST_CONNECTIONS]:
            if oldest.transport is not None:
                oldest.transport.abort()

    def __call__(self) -> web.RequestHandler:
        return _Handler(self, loop=asyncio.get_running_loop(), **_OPTIONS)


class AdminServer:
    """One admin listener. `start` raises StartError when the address cannot be had; `close` ends it.

    `refresh(path)` is awaited before the view is read for that path: a view of other processes must ask them first.
    Without a `desk` there is nothing to change. `access` says who may.
    """

    def __init__(
        self,
        settings: AdminSettings,
        view: AdminView,
        refresh: Callable[[str], Awaitable[None]] = _always_fresh,
        desk: Desk | None = None,
        access: Access | None = None,
    ) -> None:
        self._settings = settings
        self._view = view
        self._refresh = refresh
        self._api = None if desk is None else Api(desk)
        # Of several workers only the supervisor has a desk, and a dashboard.
        self._live = None if desk is None else Live(lambda: self._view, refresh)
        self._files = {} if desk is None else files()
        self._access = access or Access()
        self._registry = registry(self._metrics_now)
        self._hosts = _hosts(settings)
        self._pages: dict[str, Callable[[str], Awaitable[web.Response]]] = {
            "/healthz": self._healthz,
            "/readyz": self._readyz,
            "/metrics": self._metrics,
            "/api/status": self._status,
            RECENT: self._recent,
            CLUSTER: self._cluster,
        }
        if self._live is not None:
            self._pages[HISTORY] = self._history
        self._tls: ssl.SSLContext | None = None
        self._runner: web.ServerRunner | None = None
        self._servers: list[asyncio.Server | TlsServer] = []
        self.address = settings.address
        """Where it listens; after start() with the port that the system chose."""

    def _metrics_now(self) -> Iterable[Metric]:
        return self._view.metrics()

    def show(self, settings: AdminSettings, view: AdminView, access: Access | None = None) -> None:
        """Show another view from now on, at the same address, with other hosts, tokens and certificate perhaps."""
        if self._tls is not None and settings.certificate:
            with contextlib.suppress(OSError):  # it has been read a moment ago; else the one from before stays
                admin_tls.put_into(self._tls, settings.certificate, settings.key)
        self._settings = settings
        self._access = access or Access()
        self._hosts = _hosts(settings)
        self._view = view

    async def start(self, given: Sequence[socket.socket] = ()) -> None:
        """Listen; on sockets that are `given`, in place of new ones at the same address."""
        if not self._settings.address:
            return
        certificate = self._settings.certificate
        try:
            self._tls = admin_tls.context(certificate, self._settings.key) if certificate else None
        except (OSError, ValueError) as error:
            raise StartError(f"admin.certificate: cannot use {certificate}: {admin_tls.reason(error)}") from error
        runner = web.ServerRunner(_Server(self._serve), handle_signals=False, shutdown_timeout=_CLOSE_SECONDS)
        await runner.setup()
        assert runner.server is not None  # noqa: S101 - the runner was set up
        try:
            self._servers[:] = await _listen(runner.server, self._settings, given, self._tls)
        except BaseException:
            await runner.cleanup()
            raise
        self._runner = runner
        if self._live is not None:
            self._live.start()
        address = parse_address(self._settings.address)
        if isinstance(address, TcpAddress):
            port = self._servers[0].sockets[0].getsockname()[1]
            self.address = str(TcpAddress(address.host, port))

    def descriptors(self) -> list[int]:
        """Of the sockets that it listens on."""
        return [sock.fileno() for server in self._servers for sock in server.sockets]

    async def close(self, keep: bool = False) -> None:
        """Idempotent. `keep`: somebody else listens on the same sockets and goes on."""
        runner, self._runner = self._runner, None
        if runner is None:
            return
        for server in self._servers:
            server.close()
        for server in self._servers:
            if isinstance(server, TlsServer):
                await server.wait_closed()
        self._servers.clear()
        if self._live is not None:
            await self._live.close()
        await runner.cleanup()
        if self.address.startswith("unix:") and not keep:
            Path(self.address.removeprefix("unix:")).unlink(missing_ok=True)

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        if not self._is_ours(request.headers.get("Host", "")):
            return _say(421, "Unknown Host. Use an IP address, localhost or a name in admin.hosts.\n")
        calls = None if self._api is None else CALLS.get(request.path)
        try:
            if calls is not None and self._api is not None:
                return await self._call(self._api, calls, request)
            if request.path in _QUESTIONS and request.method in {"GET", "HEAD"}:
                self._asker(request, "read")
                return await _QUESTIONS[request.path](self, request.query)
            if request.method not in {"GET", "HEAD"}:
                return _say(405, "Only GET and HEAD.\n", Allow="GET, HEAD")
            if request.path in self._files:
                return self._file(request.path)
            if request.path == STREAM and self._live is not None and request.method == "GET":
                return await self._stream(self._live, request)
            page = self._pages.get(request.path)
            if page is None:
                return _say(404, "There is nothing at this address.\n")
            if request.path not in _OPEN:
                self._asker(request, "read")
            return await page(request.path)
        except DeniedError as error:
            more = {"WWW-Authenticate": 'Bearer realm="Shield"'} if error.status == 401 else {}
            title = "A token is needed" if error.status == 401 else "Not allowed"
            return _problem(error.status, title, str(error), more)

    def _file(self, path: str) -> web.Response:
        """A file of the dashboard."""
        file = self._files[path]
        headers = {**_HEADERS, "Content-Security-Policy": POLICY, "Content-Type": file.kind}
        return web.Response(body=file.data, headers=headers)

    async def _stream(self, live: Live, request: web.BaseRequest) -> web.StreamResponse:
        self._asker(request, "read")
        if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            return _problem(403, "Not allowed", "A page of another site has had this sent.")
        return await live.stream(request, _HEADERS)

    async def _explain(self, query: Mapping[str, str]) -> web.Response:
        question = {name: query[name] for name in ("address", "request_id", "pass") if query.get(name)}
        kind = next(iter(question), "")
        if query.get("site"):
            question["site"] = query["site"]
        if len(question) != 1 + ("site" in question):
            detail = "Ask for exactly one of: address=ADDRESS, request_id=ID, pass=PASS"
            return _problem(422, "Nothing asked", detail)
        try:
            answer = await self._view.explain(question)
        except ValueError as error:
            return _problem(422, "Not understood", str(error))
        if answer["found"] or kind == "address":
            return _json(200, answer)
        return _problem(404, "Not found", _UNKNOWN[kind])

    async def _bans(self, query: Mapping[str, str]) -> web.Response:
        limit = query.get("limit", "1000")
        if not (limit.isascii() and limit.isdecimal() and len(limit) < 9):
            return _problem(422, "Not understood", "limit: a whole number of at most 8 digits")
        found = sorted(await self._view.bans(), key=lambda ban: (-ban["until"], ban["address"]))
        return _json(200, {"bans": found[: int(limit)], "total": len(found)})

    async def _cluster(self, path: str) -> web.Response:
        await self._refresh("/api/status")
        said = self._view.status()
        workers = said.get("workers") or [said]
        # Of several workers the one that leads speaks for the machine.
        leading = next((each for each in workers if (each.get("board") or {}).get("leads")), workers[0])
        cluster = leading.get("cluster") or {}
        if not cluster.get("store"):
            return _problem(404, "Alone", "This machine is one of no cluster: cluster.store is empty.")
        return _json(200, cluster)

    async def _report(self, query: Mapping[str, str]) -> web.Response:
        seconds = query.get("seconds", "7200")
        if not (seconds.isascii() and seconds.isdecimal() and len(seconds) < 9 and 0 < int(seconds) <= DAY):
            return _problem(422, "Not understood", f"seconds: a whole number from 1 to {DAY}")
        if self._live is None:
            return _say(404, "There is nothing at this address.\n")
        _, recent, bans = await asyncio.gather(self._refresh("/api/status"), self._view.recent(), self._view.bans())
        return _json(200, self._live.report(float(seconds), recent, len(bans)))

    async def _call(self, api: Api, calls: Mapping[str, Call], request: web.BaseRequest) -> web.Response:
        """Answer a call of the API."""
        call = calls.get("GET" if request.method == "HEAD" else request.method)
        if call is None:
            return _problem(405, "Wrong method", f"Allowed: {', '.join(calls)}", {"Allow": ", ".join(calls)})
        if call.role == "write" and request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            return _problem(403, "Not allowed", "A page of another site has had a browser send this.")
        asker = self._asker(request, call.role)
        try:
            status, answer = await call.answer(api, request, asker)
        except DeskError as error:
            return _problem(error.status, error.title, str(error), {}, **error.more)
        return _json(status, answer)

    def _asker(self, request: web.BaseRequest, role: Role) -> Asker:
        """Who asks; DeniedError."""
        headers, name = request.headers, None
        if request.transport is not None:
            name = request.transport.get_extra_info("peername")
        peer = str(name[0]) if isinstance(name, tuple) else ""
        names = [name.lower() for name in headers]
        forwarded = any(name in _FORWARDED or about_client(name.encode()) for name in names)
        return self._access.check(peer, forwarded, headers.get("Authorization", ""), role)

    def _is_ours(self, host: str) -> bool:
        """True for an IP literal, localhost or a configured name, whatever the port."""
        name, found, port = host.rpartition(":")
        name = name if found and port.isdecimal() and port.isascii() else host
        if name.lower() in self._hosts:
            return True
        literal = name[1:-1] if name.startswith("[") and name.endswith("]") else name
        try:
            ipaddress.ip_address(literal)
        except ValueError:
            return False
        return "%" not in literal  # a zone may be any text

    async def _healthz(self, _: str) -> web.Response:
        return _say(200, "alive\n")

    async def _readyz(self, path: str) -> web.Response:
        await self._refresh(path)
        ready, why = self._view.ready()
        return _say(200 if ready else 503, f"{why}\n")

    async def _metrics(self, path: str) -> web.Response:
        await self._refresh(path)
        return web.Response(
            body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST} | _HEADERS
        )

    async def _status(self, path: str) -> web.Response:
        await self._refresh(path)
        return _json(200, self._view.status())

    async def _recent(self, _: str) -> web.Response:
        return _json(200, await self._view.recent())

    async def _history(self, _: str) -> web.Response:
        assert self._live is not None  # noqa: S101 - else there is no such page
        return _json(200, self._live.history())


_QUESTIONS: Final[Mapping[str, Callable[[AdminServer, Mapping[str, str]], Awaitable[web.Response]]]] = {
    EXPLAIN: AdminServer._explain,
    BANS: AdminServer._bans,
    REPORT: AdminServer._report,
}
"""What is answered for what a query asks."""


def _hosts(settings: AdminSettings) -> frozenset[str]:
    return frozenset(host.lower() for host in settings.hosts) | {"localhost"}


def _json(status: int, answer: dict[str, Any]) -> web.Response:
    body = encoded(answer, indent=True)
    return web.Response(status=status, body=body + b"\n", content_type="application/json", headers=_HEADERS)


def _problem(status: int, title: str, detail: str, headers: Mapping[str, str] = NOTHING, **more: Any) -> web.Response:
    body = encoded(problem(status, title, detail, **more), indent=True)
    said = {**headers, **_HEADERS, "Content-Type": "application/problem+json"}
    return web.Response(status=status, body=body + b"\n", headers=said)


async def _listen(
    protocol: Callable[[], asyncio.Protocol],
    settings: AdminSettings,
    given: Sequence[socket.socket],
    tls: ssl.SSLContext | None,
) -> Sequence[asyncio.Server | TlsServer]:
    """Bind, or take what is given. StartError in one line when neither can be."""
    text = settings.address
    address, loop = parse_address(text), asyncio.get_running_loop()
    try:
        match address:
            case UnixAddress() if given:
                return [await loop.create_unix_server(protocol, sock=sock) for sock in given]
            case TcpAddress(host, port) if tls is not None:
                return [TlsServer(given or await admin_tls.bound(host, port, BACKLOG), tls, protocol)]
            case TcpAddress() if given:
                return [await loop.create_server(protocol, sock=sock) for sock in given]
            case UnixAddress(path):
                _refuse_live_socket(path)
                gid = _group(settings.group)
                server = await loop.create_unix_server(protocol, path)
                Path(path).chmod(0o600)
                if gid is not None:
                    os.chown(path, -1, gid)
                    Path(path).chmod(0o660)
                return [server]
            case TcpAddress(host, port):
                return [await loop.create_server(protocol, host or None, port, backlog=BACKLOG)]
    except OSError as error:
        reason = "the address is in use" if error.errno == errno.EADDRINUSE else os.strerror(error.errno or 0)
        raise StartError(f"admin.address: cannot listen on {text}: {reason}") from error


def _group(name: str) -> int | None:
    """The number of a group; None for no name. Raises StartError."""
    if not name:
        return None
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise StartError(f"admin.group: there is no group {name}") from None


def _refuse_live_socket(path: str) -> None:
    """The event loop replaces a socket file that is in the way: right after a crash, wrong while somebody serves it."""
    if not Path(path).is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        if probe.connect_ex(path) != errno.ECONNREFUSED:
            raise OSError(errno.EADDRINUSE, "somebody listens there")
