"""Cases of heads and replies: reading a browser's request head in each way that there is, and rendering a refusal."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpRequestParser

from bench.load.plan import BROWSER_FIELDS
from bench.suites import rig
from bench.suites.micro.case import Batch, timed
from shield.model import Reason, Verdict

GET: Final = b"GET /index.html HTTP/1.1\r\nHost: localhost:8080\r\n" + BROWSER_FIELDS.encode() + b"\r\n"
CLOSE: Final = GET[:-2] + b"Connection: close\r\n\r\n"


def new_parser() -> Any:
    loop = asyncio.get_running_loop()
    return HttpRequestParser(BaseProtocol(loop), loop, 65536, max_line_size=32768, max_field_size=32768)


def parse() -> Batch:
    parser = new_parser()
    assert parser.feed_data(GET)[0][0][0].path == "/index.html"
    return timed(parser.feed_data, GET)


def examine() -> Batch:
    examiner = rig.Proxy().serving.heads.examiner
    stop = GET.index(b"\r\n")
    assert examiner.examine(GET, stop).path == "/index.html"
    return timed(examiner.examine, GET, stop)


def plain() -> Batch:
    heads = rig.Proxy().serving.heads
    stop = GET.index(b"\r\n")
    assert heads.read(GET, stop) is not None
    return timed(heads.read, GET, stop)


def plain_again() -> Batch:
    heads = rig.Proxy().serving.heads
    stop = GET.index(b"\r\n")
    head = heads.read(GET, stop)
    assert head is not None
    assert heads.again(head, GET, stop)
    return timed(heads.again, head, GET, stop)


def refusal() -> Batch:
    replies = rig.Proxy().serving.replies
    replies.set_date(1_700_000_000.0)
    verdict = Verdict(Reason.CLIENT_RATE, 7, (10.0, 200.0), 0.0)
    assert replies.refusal(verdict, False).status == 429

    def refusal_sent() -> bytes:
        return replies.refusal(verdict, False).message(False, False)

    return timed(refusal_sent)
