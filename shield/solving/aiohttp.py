"""A middleware for aiohttp: `aiohttp.ClientSession(middlewares=(Middleware(),))`, from aiohttp 3.12 on.

It shows the pass of a request's origin, and where the site asks for a pass it buys one and sends the request again. All
else is handed on as it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

import aiohttp

from shield.solving.challenge import MOST_BODY, Budget, NotReplayableError, document
from shield.solving.conversation import Reply, like, retry_after, worth_reading
from shield.solving.drive import AsyncWire, Settings, Turns, carry_async
from shield.solving.passes import Pass, Passes
from shield.solving.search import Tell

T = TypeVar("T")


class Middleware:
    """For one event loop. `passes` may be shared. SolvingError comes out of the request that the site asks too much of.

    The request's own middlewares but this one see each time that it is sent; those of the answer are none.
    """

    def __init__(
        self, *, budget: Budget | None = None, passes: Passes | None = None, progress: Tell | None = None
    ) -> None:
        self._settings = Settings(budget, passes, progress)
        self._turns = Turns(asyncio.Lock)
        self.passes = self._settings.passes

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Send a request, and what it takes to get it through."""
        wire = _Wire(request, handler)
        try:
            await carry_async(self._settings, self._turns, wire, str(request.url))
        except BaseException:
            wire.close()
            raise
        assert wire.response is not None  # noqa: S101 - the conversation begins with one
        return wire.response


class _Wire(AsyncWire):
    def __init__(self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> None:
        self._request = request
        self._handler = handler
        self._set = ""  # the field of ours that carries the pass
        self.response: aiohttp.ClientResponse | None = None

    async def forward(self, shown: Pass | None) -> Reply:
        self.close()
        body = self._request.body
        if isinstance(body, aiohttp.Payload) and body.consumed:
            raise NotReplayableError(
                "the site asked for a pass, which has been bought; the request's body was a stream and is gone: "
                "send it again"
            )
        headers = self._request.headers
        if self._set:
            del headers[self._set]
            self._set = ""
        if shown is not None and shown.header not in headers:
            headers[shown.header] = shown.token
            self._set = shown.header
        self.response = response = await self._handler(self._request)
        found = response.headers
        if not worth_reading(response.status, found.get("Content-Type"), found.get("Content-Length")):
            return Reply(response.status, retry_after(found.get("Retry-After")), None)
        return Reply(response.status, retry_after(found.get("Retry-After")), document(await response.read()))

    async def send(self, url: str, body: bytes) -> Reply:
        session = self._request.session
        options = {"headers": like(self._request.headers), "middlewares": (), "allow_redirects": False}
        async with session.post(url, data=body, raise_for_status=False, **options) as response:  # type: ignore[arg-type]
            said = await response.content.read(MOST_BODY)
            return Reply(response.status, retry_after(response.headers.get("Retry-After")), document(said))

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.to_thread(work)

    def close(self) -> None:
        if self.response is not None:
            self.response.release()
