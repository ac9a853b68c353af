"""Connections of HTTP/2 that cost their client next to nothing, without TLS and by prior knowledge.

    h2-resets         asks for pages and cancels each in the same breath
    h2-provoked       asks, and has the server cancel: a window that is moved by nothing
    h2-continuation   a header block that never ends
    h2-window         asks for large files, and lets nothing pass: its windows stay at zero

Each sends `pace` bytes/s, or as few frames as that makes, until it is ended, and is back a second later. Bounded in
number and time, as holders.py, whose connections these are.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from typing import Final

from bench.load.holders import Holders, established, received

KINDS: Final = ("h2-resets", "h2-provoked", "h2-continuation", "h2-window")
PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
STEP: Final = 0.1  # seconds between two moves of a connection
STREAMS: Final = 2  # files that one of h2-window asks for at a time
_DATA, _HEADERS, _RESET, _SETTINGS, _WINDOW, _CONTINUATION = 0, 1, 3, 4, 8, 9
_END_STREAM, _ACK, _END_HEADERS = 1, 1, 4


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame (RFC 9113 section 4.1)."""
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def block(host: str, path: str, agent: str) -> bytes:
    """A header block of literals that no table keeps (RFC 7541 section 6.2.2)."""
    pairs = {
        ":method": "GET",
        ":scheme": "http",
        ":authority": host,
        ":path": path,
        "user-agent": agent,
        "accept": "*/*",
        "accept-language": "en",
    }
    return b"".join(
        b"\0%c%b%c%b" % (len(name), name.encode(), len(value), value.encode()) for name, value in pairs.items()
    )


class Frames(Holders):
    """What the connections of one kind share."""

    def asked(self, stream: int, path: str) -> bytes:
        """A request."""
        site = self.site
        return frame(
            _HEADERS, _END_STREAM | _END_HEADERS, stream, block(f"{site.host}:{site.port}", path, "Mozilla/5.0")
        )

    def head(self) -> bytes:
        """How it begins."""
        if self.kind == "h2-window":
            begins = PREFACE + frame(_SETTINGS, 0, 0, struct.pack(">HI", 4, 0)) + frame(_SETTINGS, _ACK, 0)
            return begins + b"".join(self.asked(2 * number + 1, "/article") for number in range(STREAMS))
        begins = PREFACE + frame(_SETTINGS, 0, 0) + frame(_SETTINGS, _ACK, 0)
        if self.kind == "h2-continuation":
            return begins + frame(_HEADERS, _END_STREAM, 1, block("a", "/", "Mozilla/5.0"))
        return begins

    def more(self, number: int) -> tuple[bytes, int]:
        """What it sends in its step of this number, and how many requests are in that."""
        size = round(self.pace * STEP)
        if self.kind == "h2-window":
            return b"", 0
        if self.kind == "h2-continuation":
            return frame(_CONTINUATION, 0, 1, b"\0\1a\1b" * (size // 5)), 0
        each = len(self.asked(1, "/page/1")) + 13
        count = max(1, size // each)
        said = []
        for turn in range(count):
            stream = 2 * (number * count + turn) + 1
            said.append(self.asked(stream, "/page/1"))
            if self.kind == "h2-resets":
                said.append(frame(_RESET, 0, stream, struct.pack(">I", 8)))
            else:
                said.append(frame(_WINDOW, 0, stream, struct.pack(">I", 0)))
        return b"".join(said), count

    async def hold(self, line: socket.socket) -> None:
        """Until the other side ends it."""
        due, number = time.monotonic(), 0
        while established(line):
            while (data := received(line, 1 << 16)) is not None:
                if data == b"":
                    return
                self.counts["read"] += len(data)
            said, count = self.more(number)
            number += 1
            try:
                sent = line.send(said) if said else 0
            except BlockingIOError:  # it is not read
                return
            self.counts["asked"] += count
            self.counts["bytes"] += sent
            if sent < len(said):  # the rest would have to follow
                return
            due += STEP
            await asyncio.sleep(due - time.monotonic())
