"""Transports for httpx: `httpx.Client(transport=Transport())`, `httpx.AsyncClient(transport=AsyncTransport())`.

A transport sees each request of a client, those of redirects included. It shows the pass of the request's origin, and
where the site asks for a pass it buys one and sends the request again. All else is handed on as it is.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

import anyio
import anyio.to_thread
import httpx

from shield.solving.challenge import Budget, NotReplayableError, document
from shield.solving.conversation import Reply, like, retry_after, worth_reading
from shield.solving.drive import AsyncWire, Settings, Turns, Wire, carry, carry_async
from shield.solving.passes import Pass, Passes
from shield.solving.search import Tell

T = TypeVar("T")


class Transport(httpx.BaseTransport):
    """For httpx.Client. `around` is the transport that does the work; `passes` may be shared between clients.

    SolvingError comes out of the request that the site asks too much of.
    """

    def __init__(
        self,
        around: httpx.BaseTransport | None = None,
        *,
        budget: Budget | None = None,
        passes: Passes | None = None,
        progress: Tell | None = None,
    ) -> None:
        self._around = httpx.HTTPTransport() if around is None else around
        self._settings = Settings(budget, passes, progress)
        self._turns = Turns(threading.Lock)
        self.passes = self._settings.passes

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, and what it takes to get it through."""
        wire = _Wire(self._around, request)
        try:
            carry(self._settings, self._turns, wire, str(request.url))
        except BaseException:
            wire.close()
            raise
        return _last(wire.response)

    def close(self) -> None:
        """Close the transport inside."""
        self._around.close()


class AsyncTransport(httpx.AsyncBaseTransport):
    """The same for httpx.AsyncClient, under asyncio and trio. The search does not hold the event loop up."""

    def __init__(
        self,
        around: httpx.AsyncBaseTransport | None = None,
        *,
        budget: Budget | None = None,
        passes: Passes | None = None,
        progress: Tell | None = None,
    ) -> None:
        self._around = httpx.AsyncHTTPTransport() if around is None else around
        self._settings = Settings(budget, passes, progress)
        self._turns = Turns(anyio.Lock)
        self.passes = self._settings.passes

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, and what it takes to get it through."""
        wire = _AsyncWire(self._around, request)
        try:
            await carry_async(self._settings, self._turns, wire, str(request.url))
        except BaseException:
            with anyio.CancelScope(shield=True):
                await wire.close()
            raise
        return _last(wire.response)

    async def aclose(self) -> None:
        """Close the transport inside."""
        await self._around.aclose()


class _Wire(Wire):
    def __init__(self, around: httpx.BaseTransport, request: httpx.Request) -> None:
        self._around = around
        self._request = request
        self.response: httpx.Response | None = None

    def forward(self, shown: Pass | None) -> Reply:
        self.close()
        request = _with(self._request, shown, self.response is not None)
        self.response = self._around.handle_request(request)
        if _worth(self.response):
            self.response.read()
        return _reply(self.response)

    def send(self, url: str, body: bytes) -> Reply:
        response = self._around.handle_request(_answer(self._request, url, body))
        try:
            response.read()
        finally:
            response.close()
        return _reply(response, True)

    def close(self) -> None:
        if self.response is not None:
            self.response.close()


class _AsyncWire(AsyncWire):
    def __init__(self, around: httpx.AsyncBaseTransport, request: httpx.Request) -> None:
        self._around = around
        self._request = request
        self.response: httpx.Response | None = None

    async def forward(self, shown: Pass | None) -> Reply:
        await self.close()
        request = _with(self._request, shown, self.response is not None)
        self.response = await self._around.handle_async_request(request)
        if _worth(self.response):
            await self.response.aread()
        return _reply(self.response)

    async def send(self, url: str, body: bytes) -> Reply:
        response = await self._around.handle_async_request(_answer(self._request, url, body))
        try:
            await response.aread()
        finally:
            await response.aclose()
        return _reply(response, True)

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)

    async def in_thread(self, work: Callable[[], T]) -> T:
        return await anyio.to_thread.run_sync(work, abandon_on_cancel=True)

    async def close(self) -> None:
        if self.response is not None:
            await self.response.aclose()


def _with(request: httpx.Request, shown: Pass | None, before: bool) -> httpx.Request:
    """The request to send: a copy, since the client makes that of a redirect out of the caller's, and the pass is for
    one origin. A field that the caller has set stays. `before`: its body was sent before. NotReplayableError."""
    if before and not _replayable(request):
        raise NotReplayableError(
            "the site asked for a pass, which has been bought; the request's body was a stream and is gone: send it "
            "again"
        )
    headers = request.headers.copy()
    if shown is not None and shown.header not in headers:
        headers[shown.header] = shown.token
    return httpx.Request(
        request.method, request.url, headers=headers, stream=request.stream, extensions=request.extensions
    )


def _replayable(request: httpx.Request) -> bool:
    """Bytes, and forms with files, which seek to their beginning; with Content-Length one that cannot is an error."""
    stream = request.stream
    form = type(stream).__module__ == "httpx._multipart" and "Content-Length" in request.headers
    return isinstance(stream, httpx.ByteStream) or form


def _answer(request: httpx.Request, url: str, body: bytes) -> httpx.Request:
    return httpx.Request("POST", url, headers=like(request.headers), content=body, extensions=request.extensions)


def _worth(response: httpx.Response) -> bool:
    headers = response.headers
    return worth_reading(response.status_code, headers.get("Content-Type"), headers.get("Content-Length"))


def _reply(response: httpx.Response, own: bool = False) -> Reply:
    """`own`: it answers what this module has sent."""
    problem = document(response.content) if own or _worth(response) else None
    return Reply(response.status_code, retry_after(response.headers.get("Retry-After")), problem)


def _last(response: httpx.Response | None) -> httpx.Response:
    assert response is not None  # noqa: S101 - the conversation begins with one
    return response
