"""A server of HTTP/2 for the tests, by h2, which is not the library that Shield uses."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Self

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings

from tests.client.h2.peer import only


@dataclass(slots=True)
class Asked:
    """One request as it came. `whole` is set with its end."""

    link: Link
    number: int
    fields: list[tuple[str, str]]
    body: bytes = b""
    trailers: list[tuple[str, str]] = field(default_factory=list)
    whole: asyncio.Event = field(default_factory=asyncio.Event)
    reset: int | None = None

    def get(self, name: str) -> str | None:
        return only(self.fields, name)

    @property
    def path(self) -> str:
        return self.get(":path") or ""

    async def head(self, status: int = 200, *fields: tuple[str, str], ended: bool = False) -> None:
        """The head of the response."""
        self.link.connection.send_headers(self.number, [(":status", str(status)), *fields], end_stream=ended)
        await self.link.flush()

    async def send(self, data: bytes, ended: bool = False) -> None:
        """Payload, as the windows let it pass."""
        connection = self.link.connection
        while data:
            room = min(connection.local_flow_control_window(self.number), connection.max_outbound_frame_size, len(data))
            if not room:
                self.link.moved.clear()
                await self.link.moved.wait()
                continue
            connection.send_data(self.number, data[:room])
            data = data[room:]
            await self.link.flush()
        if ended:
            connection.end_stream(self.number)
            await self.link.flush()

    async def end(self, *trailers: tuple[str, str]) -> None:
        """The end of the response, with trailers."""
        self.link.connection.send_headers(self.number, list(trailers), end_stream=True)
        await self.link.flush()

    async def cancel(self, code: int) -> None:
        self.link.connection.reset_stream(self.number, code)
        await self.link.flush()


class Link:
    """One connection that Shield has opened."""

    def __init__(self, origin: Http2Origin, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.origin = origin
        self.reader, self.writer = reader, writer
        self.connection = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=False, header_encoding="latin-1")
        )
        self.asked: dict[int, Asked] = {}
        self.moved = asyncio.Event()
        self.goaway: int | None = None
        self.lost = asyncio.Event()

    async def flush(self) -> None:
        with contextlib.suppress(ConnectionError):
            self.writer.write(self.connection.data_to_send())
            await self.writer.drain()

    async def run(self) -> None:
        connection, origin = self.connection, self.origin
        if origin.streams is not None:
            codes = h2.settings.SettingCodes
            values = {codes.MAX_CONCURRENT_STREAMS: origin.streams}
            connection.local_settings = h2.settings.Settings(client=False, initial_values=values)
        connection.initiate_connection()
        await self.flush()
        with contextlib.suppress(ConnectionError, h2.exceptions.ProtocolError):
            while data := await self.reader.read(65536):
                for event in connection.receive_data(data):
                    self.note(event)
                await self.flush()
        self.lost.set()
        self.writer.close()

    def note(self, event: Any) -> None:
        number = getattr(event, "stream_id", None) or 0
        if isinstance(event, h2.events.RequestReceived):
            asked = self.asked[number] = Asked(self, number, list(event.headers))
            self.origin.requests.append(asked)
            self.origin.begin(asked)
        elif isinstance(event, h2.events.DataReceived):
            self.asked[number].body += event.data
            if self.origin.reads:
                self.connection.acknowledge_received_data(event.flow_controlled_length, number)
        elif isinstance(event, h2.events.TrailersReceived):
            self.asked[number].trailers = list(event.headers)
        elif isinstance(event, h2.events.StreamEnded):
            self.asked[number].whole.set()
        elif isinstance(event, h2.events.StreamReset):
            self.asked[number].reset = int(event.error_code)
        elif isinstance(event, h2.events.WindowUpdated):
            self.moved.set()
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.goaway = int(event.error_code)


Handler = Callable[[Asked], Awaitable[None]]


async def echo(asked: Asked) -> None:
    """What was asked for, once it is whole."""
    await asked.whole.wait()
    await asked.head(200, ("content-type", "text/plain"))
    await asked.send(f"{asked.get(':method')} {asked.path} {len(asked.body)}".encode(), ended=True)


class Http2Origin:
    """A server. `streams`: how many it takes at a time on a connection."""

    def __init__(
        self,
        handle: Handler = echo,
        streams: int | None = None,
        context: ssl.SSLContext | None = None,
        reads: bool = True,
    ) -> None:
        self.handle = handle
        self.streams = streams
        self.context = context
        self.reads = reads
        self.links: list[Link] = []
        self.requests: list[Asked] = []
        self.tasks: set[asyncio.Task[None]] = set()
        self.failures: list[BaseException] = []

    def begin(self, asked: Asked) -> None:
        task = asyncio.ensure_future(self.handle(asked))
        self.tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, h2.exceptions.ProtocolError):  # that is a stream that was gone
            self.failures.append(error)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = Link(self, reader, writer)
        self.links.append(link)
        await link.run()

    async def __aenter__(self) -> Self:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.context)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    @property
    def url(self) -> str:
        return f"{'h2' if self.context else 'h2c'}://127.0.0.1:{self.port}"

    async def __aexit__(self, *exc: object) -> None:
        for task in self.tasks:
            task.cancel()
        for link in self.links:
            link.writer.close()
        self.server.close()
        assert not self.failures, self.failures
