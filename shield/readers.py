"""Who reads the answer to a request: the one table by which Shield chooses a page, a problem document or a plain line.

It holds for refusals, challenges and faults alike. The rows are tried from the top; the first that fits says who reads.

    OPTIONS with Origin and Access-Control-Request-Method         PREFLIGHT   a browser asks for permission first
    Sec-Fetch-Mode: navigate, Accept with text/html               PERSON      tab, frame, object, WebView, a service
                                                                              worker that hands a navigation on
        the same to be kept for later: Sec-Purpose, Purpose,      NOBODY      prefetch, prerender
        X-Purpose or X-Moz
    Sec-Fetch-Mode: navigate, anything else                       NOBODY      a link with `download`; Firefox's object
                                                                              and embed, which show no page of 503
    Sec-Fetch-Mode: cors or same-origin, Sec-Fetch-Dest: empty
        Accept with text/html and Upgrade-Insecure-Requests       PERSON      a service worker that makes a new request
                                                                              of a navigation
        otherwise                                                 SCRIPT      fetch, XMLHttpRequest, EventSource
    Sec-Fetch-Mode: anything else                                 NOBODY      image, style, script, module, font, media,
                                                                              manifest, worker, beacon, WebSocket, ...
    Upgrade: websocket, Origin and Accept-Language                NOBODY      a browser's WebSocket
    Accept with text/html                                         PERSON      any browser over plain HTTP; one of before
                                                                              2019 (Safari: 2023); text browsers
        the same with X-Requested-With: XMLHttpRequest            SCRIPT      libraries that fetch parts of pages
        the same with a Sec-Fetch-Dest that is no page            as above    a browser behind something that took the
                                                                              mode out
        the same to be kept for later                             NOBODY
    Accept-Language, a User-Agent of ELinks or Links              PERSON      text browsers that ask for nothing else
    Accept-Language                                               SCRIPT      a browser that says no more: all the rest
    neither                                                       PROGRAM     curl, feed readers, health checks

Firefox asks for a link with `download` as for a page, so what it saves may be the challenge page. Android's WebView
writes the name of its app into X-Requested-With, so only XMLHttpRequest counts there. Browsers send Sec-Fetch-* to
https and to loopback only (Fetch Metadata), so the rows without it are not only for old ones.

    reader       gets                can answer a challenge
    PERSON       the page            yes, by itself
    SENDER       the page            yes, by itself: a PERSON whose request is no GET. Loading the page again would not
                                     send again what was sent, so the page does not do that by itself
    PROGRAM      problem document    yes, by the protocol
    SCRIPT       problem document    not by itself: the visitor would have to see the page
    NOBODY       one plain line      no
    PREFLIGHT    one plain line      no; it carries no cookie, and is never challenged

A program may forge all of this. That changes in which form it is told the same thing, and what is expected of it.

No I/O, no state. Everything may import this module; it imports nothing of Shield.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final


class Reader(enum.IntEnum):
    """Who reads an answer. The values are indexes of tables with one entry for each."""

    PROGRAM = 0
    PERSON = 1
    SCRIPT = 2
    NOBODY = 3
    PREFLIGHT = 4
    SENDER = 5


# Names of their own: looking up a member of an Enum costs 70 ns.
PROGRAM, PERSON, SCRIPT, NOBODY, PREFLIGHT, SENDER = Reader

READS_NOTHING: Final = frozenset({NOBODY, PREFLIGHT})
PEOPLE: Final = frozenset({PERSON, SENDER})
MAY_ANSWER: Final = frozenset({PROGRAM, PERSON, SENDER})

_PURPOSES: Final = ("Sec-Purpose", "Purpose", "X-Purpose", "X-Moz")
TELLING: Final = (
    "Accept",
    "Sec-Fetch-Mode",
    "Sec-Fetch-Dest",
    "Upgrade-Insecure-Requests",
    "X-Requested-With",
    *_PURPOSES,
)
"""Fields that tell who reads the answer, besides Accept-Language, Upgrade, Origin, and what a preflight asks for."""
TEXT_MODE: Final = ("ELinks/", "Links (")
"""How browsers name themselves that show text, and accept anything. Every script's browser is a "Mozilla/"."""
_PAGES: Final = frozenset({"document", "iframe", "frame", "object", "embed", "fencedframe"})


def reader_of(method: str, headers: Mapping[str, str]) -> Reader:
    """Who reads the answer to a request. `headers`: names in any case -> first values."""
    if method == "OPTIONS" and is_preflight(headers):
        return PREFLIGHT
    mode = headers.get("Sec-Fetch-Mode")
    if mode is None:
        return _by_accept(method, headers)
    html = _accepts_html(headers)
    if mode == "navigate":
        return _person(method) if html and not _for_later(headers) else NOBODY
    if mode not in ("cors", "same-origin") or headers.get("Sec-Fetch-Dest", "empty") != "empty":
        return NOBODY
    return _person(method) if html and "Upgrade-Insecure-Requests" in headers else SCRIPT


def is_preflight(headers: Mapping[str, str]) -> bool:
    """Whether an OPTIONS request with these fields is a CORS preflight (Fetch standard, section 4.8)."""
    return "Access-Control-Request-Method" in headers and "Origin" in headers


def _person(method: str) -> Reader:
    return PERSON if method == "GET" or method == "HEAD" else SENDER


def _by_accept(method: str, headers: Mapping[str, str]) -> Reader:
    """Who reads the answer to a request without Sec-Fetch-Mode."""
    if not _accepts_html(headers):
        if "Accept-Language" not in headers:
            return PROGRAM
        if headers.get("User-Agent", "").startswith(TEXT_MODE):
            return _person(method)
        socket = headers.get("Upgrade", "").lower() == "websocket" and "Origin" in headers
        return NOBODY if socket else SCRIPT
    destination = headers.get("Sec-Fetch-Dest", "document")
    if destination == "empty" or headers.get("X-Requested-With", "").lower() == "xmlhttprequest":
        return SCRIPT
    return NOBODY if destination not in _PAGES or _for_later(headers) else _person(method)


def _accepts_html(headers: Mapping[str, str]) -> bool:
    accept = headers.get("Accept", "")
    return "text/html" in accept or "text/html" in accept.lower()


def _for_later(headers: Mapping[str, str]) -> bool:
    """Whether the answer is fetched before anybody wants it. What is not 200 is dropped, and Retry-After obeyed."""
    for name in _PURPOSES:
        purpose = headers.get(name)
        if purpose is not None and purpose.lower().startswith(("prefetch", "preview")):
            return True
    return False
