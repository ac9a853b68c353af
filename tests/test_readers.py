"""The table of shield/readers.py, row by row, with the fields that browsers, apps and programs were seen to send.

Those of Chromium are seen again, live, by tests/browser/test_readers.py; the others are of published versions.
"""

from __future__ import annotations

import itertools

import pytest
from multidict import CIMultiDict

from shield.http.fields import Fields
from shield.http.head import Examiner
from shield.http.head_reader import HeadReader
from shield.http.plain_head import PlainHeads
from shield.http.settings import HttpSettings
from shield.readers import (
    MAY_ANSWER,
    NOBODY,
    PEOPLE,
    PERSON,
    PREFLIGHT,
    PROGRAM,
    READS_NOTHING,
    SCRIPT,
    SENDER,
    Reader,
    reader_of,
)

HTML = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
ANY = "*/*"
PICTURE = "image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5"
LANGUAGE = {"Accept-Language": "en-GB,en;q=0.9"}
ORIGIN = {"Origin": "https://app.example"}
INSECURE = {"Upgrade-Insecure-Requests": "1"}
SOCKET = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}


def sent(accept: str = "", mode: str = "", dest: str = "", **more: str) -> dict[str, str]:
    """What a browser of today sends; fields of `more` have "_" for "-"."""
    fields = {"Accept": accept, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": dest} | LANGUAGE
    return {name: value for name, value in fields.items() if value} | {k.replace("_", "-"): v for k, v in more.items()}


ROWS = {
    # browsers of today, over https or from loopback
    "a tab": (PERSON, "GET", sent(HTML, "navigate", "document") | INSECURE),
    "a form": (SENDER, "POST", sent(HTML, "navigate", "document") | INSECURE | ORIGIN),
    "a form that a service worker hands on": (SENDER, "POST", sent(HTML, "same-origin", "empty") | INSECURE | ORIGIN),
    "HEAD of a tab": (PERSON, "HEAD", sent(HTML, "navigate", "document")),
    "a frame": (PERSON, "GET", sent(HTML, "navigate", "iframe") | INSECURE),
    "elinks": (PERSON, "GET", {"Accept": ANY, "User-Agent": "ELinks/0.13.2 (textmode; Linux x86_64; -)"} | LANGUAGE),
    "a form of links": (SENDER, "POST", {"Accept": ANY, "User-Agent": "Links (2.28; Linux x86_64)"} | LANGUAGE),
    "an old frame": (PERSON, "GET", sent(HTML, "navigate", "frame")),
    "a fenced frame": (PERSON, "GET", sent(HTML, "navigate", "fencedframe")),
    "an object": (PERSON, "GET", sent(HTML, "navigate", "object") | INSECURE),
    "an embed": (PERSON, "GET", sent(HTML, "navigate", "embed") | INSECURE),
    "a service worker hands a navigation on": (PERSON, "GET", sent(HTML, "navigate", "empty") | INSECURE),
    "a service worker asks for it without its cache": (PERSON, "GET", sent(HTML, "same-origin", "empty") | INSECURE),
    "a service worker asks for its address": (SCRIPT, "GET", sent(ANY, "cors", "empty")),
    "navigation preload": (
        PERSON,
        "GET",
        sent(HTML, "navigate", "document", Service_Worker_Navigation_Preload="true"),
    ),
    "speculation rules fetch": (NOBODY, "GET", sent(HTML, "navigate", "document", Sec_Purpose="prefetch")),
    "speculation rules render": (NOBODY, "GET", sent(HTML, "navigate", "document", Sec_Purpose="prefetch;prerender")),
    "a link to prefetch": (NOBODY, "GET", sent(HTML, "no-cors", "empty", Sec_Purpose="prefetch")),
    "a download": (NOBODY, "GET", sent("", "navigate", "empty")),
    "an object in Firefox": (NOBODY, "GET", sent("*/*", "navigate", "object")),
    "an embed in Firefox": (NOBODY, "GET", sent("*/*", "navigate", "embed")),
    "fetch": (SCRIPT, "GET", sent(ANY, "cors", "empty")),
    "fetch of the same origin": (SCRIPT, "GET", sent(ANY, "same-origin", "empty")),
    "fetch of a piece of a page": (SCRIPT, "GET", sent("text/html, application/xhtml+xml", "cors", "empty")),
    "fetch of another origin": (SCRIPT, "PUT", sent(ANY, "cors", "empty") | ORIGIN),
    "fetch without CORS": (NOBODY, "GET", sent(ANY, "no-cors", "empty")),
    "a beacon": (NOBODY, "POST", sent(ANY, "no-cors", "empty") | ORIGIN),
    "an event source": (SCRIPT, "GET", sent("text/event-stream", "cors", "empty")),
    "a preflight": (PREFLIGHT, "OPTIONS", sent(ANY, "cors", "empty", Access_Control_Request_Method="PUT") | ORIGIN),
    "a WebSocket": (NOBODY, "GET", SOCKET | ORIGIN | LANGUAGE),
    "a WebSocket of Firefox": (NOBODY, "GET", sent(ANY, "websocket", "empty") | SOCKET | ORIGIN),
    "a picture": (NOBODY, "GET", sent(PICTURE, "no-cors", "image")),
    "a picture by CORS": (NOBODY, "GET", sent(PICTURE, "cors", "image") | ORIGIN),
    "a style": (NOBODY, "GET", sent("text/css,*/*;q=0.1", "no-cors", "style")),
    "a script": (NOBODY, "GET", sent(ANY, "no-cors", "script")),
    "a module": (NOBODY, "GET", sent(ANY, "cors", "script") | ORIGIN),
    "a font": (NOBODY, "GET", sent(ANY, "cors", "font") | ORIGIN),
    "a film": (NOBODY, "GET", sent(ANY, "no-cors", "video", Range="bytes=0-")),
    "a sound": (NOBODY, "GET", sent(ANY, "cors", "audio", Range="bytes=0-")),
    "subtitles": (NOBODY, "GET", sent(ANY, "same-origin", "track")),
    "a manifest": (NOBODY, "GET", sent(ANY, "cors", "manifest")),
    "a worker": (NOBODY, "GET", sent(ANY, "same-origin", "worker")),
    "the script of a service worker": (NOBODY, "GET", sent(ANY, "same-origin", "serviceworker")),
    "a worklet": (NOBODY, "GET", sent(ANY, "cors", "audioworklet")),
    "a report": (NOBODY, "POST", sent("", "no-cors", "report")),
    # browsers that say nothing of the kind: over plain HTTP, or older
    "a tab over plain HTTP": (PERSON, "GET", sent(HTML) | INSECURE),
    "a tab of Safari 13": (PERSON, "GET", sent(HTML)),
    "a form of Safari 13": (SENDER, "POST", sent(HTML) | ORIGIN),
    "a tab of lynx": (PERSON, "GET", sent("text/html, text/plain, text/sgml, */*;q=0.01")),
    "shouted": (PERSON, "GET", sent("TEXT/HTML")),
    "a WebView of Android": (PERSON, "GET", sent(HTML, X_Requested_With="com.example.app")),
    "a WebView of today": (PERSON, "GET", sent(HTML, "navigate", "document", X_Requested_With="com.example.app")),
    "a picture of Safari 13": (SCRIPT, "GET", sent(PICTURE)),
    "a script of Safari 13": (SCRIPT, "GET", sent(ANY)),
    "an old library": (SCRIPT, "GET", sent("text/html, */*; q=0.01", X_Requested_With="XMLHttpRequest")),
    "an old event source": (SCRIPT, "GET", sent("text/event-stream")),
    "a preflight of Safari 13": (PREFLIGHT, "OPTIONS", {"Access-Control-Request-Method": "GET"} | ORIGIN),
    "a prefetch of Firefox 80": (NOBODY, "GET", sent(HTML, X_Moz="prefetch")),
    "a prefetch of Chrome 80": (NOBODY, "GET", sent(HTML, Purpose="prefetch")),
    "a preview of Safari 13": (NOBODY, "GET", sent(HTML, X_Purpose="preview")),
    "a picture without a mode": (NOBODY, "GET", sent(HTML, "", "image")),
    "a script's request without a mode": (SCRIPT, "GET", sent(HTML, "", "empty")),
    "a frame without a mode": (PERSON, "GET", sent(HTML, "", "iframe")),
    # programs
    "curl": (PROGRAM, "GET", {"Accept": ANY}),
    "a bare request": (PROGRAM, "GET", {}),
    "a health check": (PROGRAM, "HEAD", {"User-Agent": "probe/1.0", "Connection": "close"}),
    "a feed reader": (PROGRAM, "GET", {"Accept": "application/atom+xml, application/rss+xml"}),
    "a program's WebSocket": (PROGRAM, "GET", SOCKET),
    "a program's WebSocket with an origin": (PROGRAM, "GET", SOCKET | ORIGIN),
    "OPTIONS of a WebDAV client": (PROGRAM, "OPTIONS", {"Accept": ANY}),
    "OPTIONS with an origin": (PROGRAM, "OPTIONS", ORIGIN),
    "a method of a preflight that is none": (PROGRAM, "GET", {"Access-Control-Request-Method": "GET"} | ORIGIN),
}


@pytest.mark.parametrize(("reader", "method", "fields"), ROWS.values(), ids=ROWS)
def test_who_reads_the_answer(reader: Reader, method: str, fields: dict[str, str]) -> None:
    assert reader_of(method, CIMultiDict(fields)) is reader
    assert reader_of(method, CIMultiDict((name.upper(), value) for name, value in fields.items())) is reader
    head = "".join(f"\r\n{name}: {value}" for name, value in fields.items())
    raw = f"{method} / HTTP/1.1\r\nHost: site.test{head}\r\n\r\n".encode()
    assert reader_of(method, Fields(raw)) is reader
    reading = HeadReader(PlainHeads(Examiner(HttpSettings(), "Shield-Pass")))
    for data in (raw, raw, raw.replace(b" / ", b" /other "), raw.replace(b"\r\n\r\n", b"\r\nX: y\r\n\r\n")):
        assert reading.read(data).reader() is reader  # at each step of the reader's ladder


def test_the_table_has_every_reader_and_each_has_its_way() -> None:
    assert {row[0] for row in ROWS.values()} == set(Reader)
    assert {PERSON, SENDER} == PEOPLE
    assert {PERSON, SENDER, PROGRAM} == MAY_ANSWER
    assert {NOBODY, PREFLIGHT} == READS_NOTHING


@pytest.mark.parametrize("mode", ["navigate", "cors", "same-origin", "no-cors", "websocket", "", "NAVIGATE", "x"])
def test_nothing_of_a_page_is_shown_the_page(mode: str) -> None:
    """Whatever else it says: a picture, a style or a script never gets HTML, nor a challenge that costs to make."""
    kinds = ("image", "style", "script", "font", "video", "audio", "manifest", "worker", "track", "report")
    for kind, accept in itertools.product(kinds, (ANY, PICTURE)):
        assert reader_of("GET", {"Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": kind, "Accept": accept}) is NOBODY
