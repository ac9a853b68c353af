"""Whether somebody who asks for a honeypot meant to."""

from __future__ import annotations

from shield.policy.request import Request


def meant(request: Request) -> bool:
    """Whether a request for a honeypot was its client's own idea, as far as can be told.

    Anybody can put an image, a frame or a link to it on a page elsewhere, and in a comment here; readers of that must
    not be banned for it. So a browser's request counts only when it says that it was typed in or follows a link here:

        Sec-Fetch-Site    none or same-origin, and not for a part of a page (a sibling site may not be ours: no hit)
        without it        (plain HTTP, old browsers) a Referer of this host, and a page that is asked for
        without both      no browser: a browser always sends Accept-Language, most scanners do not

    Two cases are judged wrongly. A scanner that sends what a browser sends on a link from elsewhere is not caught. A
    person who is talked into clicking such a link in a mail is, and is banned for a minute.
    """
    headers = request.headers
    site = headers.get("Sec-Fetch-Site")
    if site is not None:
        return site in ("none", "same-origin") and headers.get("Sec-Fetch-Dest", "document") in ("document", "empty")
    browser = "Accept-Language" in headers
    referer = headers.get("Referer")
    if referer is None:
        return not browser
    host = referer.partition("://")[2].partition("/")[0]
    here = host.lower() == headers.get("Host", "").lower()
    return here and (not browser or "text/html" in headers.get("Accept", ""))
