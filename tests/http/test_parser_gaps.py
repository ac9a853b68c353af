"""What aiohttp's parser accepts and Shield refuses: each still so, and each on the page.

A release of aiohttp that closes a gap fails here, and the page gets shorter.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from shield.http.head import Examiner, Refused
from shield.http.head_reader import HeadReader, new_parser
from shield.http.plain_head import PlainHeads
from shield.http.settings import HttpSettings
from shield.model import Fault

PAGE: Final = Path(__file__).parents[2] / "docs" / "parsers.md"


def head(first: bytes = b"GET / HTTP/1.1", *lines: bytes, host: bytes = b"Host: a") -> bytes:
    return b"\r\n".join((first, host, *lines, b"", b""))


POST: Final = b"POST / HTTP/1.1"
GAPS: Final = {
    "other-protocol": (head(b"GET / RTSP/1.0"), Fault.MALFORMED_HEAD),
    "old-version": (head(b"GET / HTTP/0.9"), Fault.VERSION_UNSUPPORTED),
    "new-version": (head(b"GET / HTTP/2.0"), Fault.VERSION_UNSUPPORTED),
    "spaces": (head(b"GET  / HTTP/1.1"), Fault.MALFORMED_HEAD),
    "lf-before": (b"\n" + head(), Fault.MALFORMED_HEAD),
    "no-target": (head(b"CONNECT  HTTP/1.1"), Fault.MALFORMED_HEAD),
    "connect": (head(b"CONNECT a:443 HTTP/1.1"), Fault.METHOD_NOT_ALLOWED),
    "trace": (head(b"TRACE / HTTP/1.1"), Fault.METHOD_NOT_ALLOWED),
    "fragment": (head(b"GET /#x HTTP/1.1"), Fault.BAD_TARGET),
    "scheme": (head(b"GET ftp://a/ HTTP/1.1"), Fault.BAD_TARGET),
    "target-host": (head(b"GET http://b/ HTTP/1.1"), Fault.BAD_HOST),
    "host": (head(host=b"Host: user@a"), Fault.BAD_HOST),
    "port": (head(host=b"Host: a:65536"), Fault.BAD_HOST),
    "length-digits": (head(POST, b"Content-Length: " + b"0" * 19), Fault.BAD_FRAMING),
    "coding": (head(POST, b"Transfer-Encoding: gzip, chunked"), Fault.BAD_FRAMING),
    "coding-1.0": (head(b"POST / HTTP/1.0", b"Transfer-Encoding: chunked"), Fault.BAD_FRAMING),
    "disguise-underscore": (head(POST, b"Transfer_Encoding: chunked"), Fault.BAD_FRAMING),
    "disguise-sign": (head(POST, b"Content-$Length: 5"), Fault.BAD_FRAMING),
    "expectation": (head(POST, b"Expect: x"), Fault.EXPECTATION_FAILED),
    "fields": (head(b"GET / HTTP/1.1", *(b"X: 1" for _ in range(100))), Fault.HEAD_TOO_LARGE),
}


@pytest.mark.parametrize("name", GAPS)
def test_the_parser_accepts_what_shield_refuses(name: str) -> None:
    data, fault = GAPS[name]
    messages, _, _ = new_parser(HttpSettings().max_head_bytes).feed_data(data)
    assert len(messages) == 1
    with pytest.raises(Refused) as refused:
        HeadReader(PlainHeads(Examiner(HttpSettings(), "Shield-Pass"))).read(data)
    assert refused.value.fault is fault


def test_the_page_lists_all_of_them() -> None:
    _, _, section = PAGE.read_text("utf-8").partition("\n## What aiohttp's parser leaves to us\n")
    section = section.partition("\n## ")[0]
    rows = [line.split("|")[1].strip() for line in section.splitlines() if line.startswith("| `")]
    assert rows == [f"`{name}`" for name in GAPS]
