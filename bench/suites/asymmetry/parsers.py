"""Every parser of what comes from outside, as a function of bytes. What it refuses costs as much as what it takes.

`PARSERS` gives for each a maker: what it makes has seen nothing yet, so that no line is known from the last time.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from typing import Any, Final

from bench.suites import rig
from shield.http import response_head
from shield.http.browser import parse_answer, parse_form
from shield.http.cookies import take_cookie
from shield.http.forwarded import Forwarding
from shield.http.framing import ChunkedBody
from shield.http.head import Examiner, Head
from shield.http.head_reader import HeadReader
from shield.http.plain_head import PlainHeads
from shield.http.ranges import modest
from shield.http.response_head import ResponseHeadReader
from shield.http.rules import Broken
from shield.http.settings import HttpSettings
from shield.policy.keys import Keys
from shield.policy.pass_tokens import PassTokens
from shield.wire import client_hello, proxy_protocol

Parse = Callable[[bytes], Any]

_HTTP: Final = HttpSettings()
_FORM: Final = "application/x-www-form-urlencoded"
_TRUSTED: Final = ("10.0.0.0/8", "127.0.0.1")
_TOKENS: Final = PassTokens(Keys(b"k" * 32, None), os.urandom, 1_700_000_000.0 - rig.START)


def _request_head() -> Parse:
    reader = HeadReader(PlainHeads(Examiner(_HTTP, "Shield-Pass")))

    def read(data: bytes) -> None:
        with contextlib.suppress(Broken):
            at = 0
            while at < len(data):
                head, at = reader.collect(data, at)
                if head is not None:
                    reader.read(head)
                    return

    return read


def _forwarded(source: str) -> Parse:
    forwarding = Forwarding(_TRUSTED, source)

    def read(data: bytes) -> None:
        head = Head()
        head.chain = head.forwarded = data
        forwarding.resolve("10.0.0.1", "http", head)

    return read


def _chunked() -> Parse:
    body = ChunkedBody(0)

    def read(data: bytes) -> None:
        with contextlib.suppress(Broken):
            body.feed(data, 0)

    return read


def _response_head() -> Parse:
    response_head._lines.known.clear()
    response_head._statuses.known.clear()
    reader = ResponseHeadReader()

    def read(data: bytes) -> None:
        with contextlib.suppress(Broken):
            reader.read(data, 0, False)

    return read


def _hello(data: bytes) -> None:
    with contextlib.suppress(client_hello.BadHello):
        found = client_hello.read(data)
        if not isinstance(found, int):
            client_hello.ja4(found)
            client_hello.habit(found)


def _proxy_header(data: bytes) -> None:
    with contextlib.suppress(proxy_protocol.BadHeader):
        proxy_protocol.read(data)


PARSERS: Final[Mapping[str, Callable[[], Parse]]] = {
    "request head": _request_head,
    "cookie": lambda: lambda data: take_cookie(data, b"shield_pass"),
    "x-forwarded-for": lambda: _forwarded("x-forwarded-for"),
    "forwarded": lambda: _forwarded("forwarded"),
    "range": lambda: modest,
    "form": lambda: lambda data: parse_form(data, _FORM),
    "answer": lambda: parse_answer,
    "pass": lambda: lambda data: _TOKENS.read(data.decode("latin-1")),
    "chunked body": _chunked,
    "response head": _response_head,
    "client hello": lambda: _hello,
    "proxy header": lambda: _proxy_header,
}
