"""Whether somebody else may have had an honest browser send a request: by a page, a mail, a link, a form, a frame.

Browsers say so of their own accord (Fetch Metadata), at least over TLS. Whoever claims it falsely is spared soft
points, which slow and never ban; buckets, pressure and challenges hold for it as for anybody.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from shield.policy.request import Request
from shield.readers import MAY_ANSWER, PERSON, Reader, is_preflight, reader_of

_ELSEWHERE: Final = frozenset({"cross-site", "same-site"})
_OF_BROWSERS: Final = ("Accept-Language", "Sec-Fetch-Site", "Sec-Fetch-Mode", "Sec-Fetch-Dest", "Origin")


def by_another_site(request: Request) -> bool:
    """Whether a browser says that a page of another origin made it ask. A host of the same domain is not this one."""
    return request.headers.get("Sec-Fetch-Site") in _ELSEWHERE


def could_answer(request: Request) -> bool:
    """Whether whoever asks could have answered a challenge instead, so that to ask again is to ignore it.

    What a script fetches and what is part of a page cannot show the page on which a browser answers (readers.py); nor
    can a page elsewhere that frames this one.
    """
    return _reader_of(request) in MAY_ANSWER and not by_another_site(request)


def brings_cookies(request: Request) -> bool:
    """Whether a browser that has a cookie of this site sends it along for certain: it goes to a page of its own accord.

    A form that another site has it post comes without (SameSite=Lax), so does a frame in a page elsewhere, and what a
    page asks for without credentials: a manifest, a preflight.
    """
    headers = request.headers
    if _reader_of(request) is not PERSON:
        return False
    return headers.get("Sec-Fetch-Site") != "cross-site" or headers.get("Sec-Fetch-Dest") == "document"


def _reader_of(request: Request) -> Reader:
    reader = request.reader
    if reader is None:
        reader = request.reader = reader_of(request.method, request.headers)
    return reader


def asks_permission(request: Request) -> bool:
    """Whether a browser asks for permission before it makes a request of another origin (a CORS preflight).

    It sends no cookie along, and gives up the request itself for any answer but the one of the service. So it is never
    challenged; the limits hold for it.
    """
    return request.method == "OPTIONS" and is_preflight(request.headers)


def means_honeypot(request: Request) -> bool:
    """Whether a request for a honeypot was its client's own idea: a program's that was not sent by a link elsewhere.

    A browser is never held to it. Anybody can put an image, a frame or a link to a honeypot on a page elsewhere, in a
    mail, or in a comment here; and a browser that came by a mail says the same of itself as one in which the address
    was typed. A scanner that sends what a browser sends is not caught.
    """
    headers = request.headers
    return not any(field in headers for field in _OF_BROWSERS) and _from_here(headers)


def _from_here(headers: Mapping[str, str]) -> bool:
    """Whether Referer, if there is one, names this host."""
    referer = headers.get("Referer")
    if referer is None:
        return True
    host = referer.partition("://")[2].partition("/")[0]
    return host.lower() == headers.get("Host", "").lower()
