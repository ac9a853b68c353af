"""The reply to each fault, one row each: status, title, a sentence for people, and whether the connection ends with it.

A fault `closes` when the position in the byte stream is no longer certain (a request that could not be framed, a body
that nobody read): going on would be an invitation to smuggle. Statuses follow RFC 9110 section 15 and RFC 6585. What
the faults are called stands in model.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from shield.model import Fault


@dataclass(frozen=True, slots=True)
class FaultReply:
    """The reply to one fault. `fields` are complete field lines that its status asks for, CRLF included."""

    status: int
    title: str
    detail: str
    closes: bool = False
    fields: bytes = b""


RETRY_SOON: Final = b"Retry-After: 5\r\n"
"""A restart or an upstream's health check takes a few seconds; browsers and crawlers wait at least so long."""

FAULTS: Final[Mapping[Fault, FaultReply]] = {
    Fault.MALFORMED_HEAD: FaultReply(400, "Bad request", "The request is not well-formed HTTP.", closes=True),
    Fault.BAD_HOST: FaultReply(400, "Bad request", "The Host field is missing, repeated or not valid.", closes=True),
    Fault.MISDIRECTED: FaultReply(421, "Misdirected request", "This host is not served here."),
    Fault.BAD_TARGET: FaultReply(400, "Bad request", "The request target is not valid.", closes=True),
    Fault.BAD_FRAMING: FaultReply(
        400, "Bad request", "The length of the body cannot be told with certainty.", closes=True
    ),
    Fault.VERSION_UNSUPPORTED: FaultReply(
        505, "HTTP version not supported", "This server speaks HTTP/1.1 and HTTP/1.0.", closes=True
    ),
    Fault.METHOD_UNKNOWN: FaultReply(501, "Not implemented", "The request method is not known here.", closes=True),
    # CONNECT and TRACE. What the site itself allows is not known here, so Allow names what is passed on to it.
    Fault.METHOD_NOT_ALLOWED: FaultReply(
        405,
        "Method not allowed",
        "CONNECT and TRACE are not possible here.",
        closes=True,
        fields=b"Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n",
    ),
    Fault.EXPECTATION_FAILED: FaultReply(
        417, "Expectation failed", "The only expectation known here is 100-continue.", closes=True
    ),
    Fault.HEAD_TIMEOUT: FaultReply(408, "Request timeout", "The request took too long to arrive.", closes=True),
    Fault.BODY_TIMEOUT: FaultReply(408, "Request timeout", "The body of the request arrived too slowly.", closes=True),
    Fault.BODY_TOO_LARGE: FaultReply(
        413, "Content too large", "The body of the request is larger than this site accepts.", closes=True
    ),
    Fault.TARGET_TOO_LONG: FaultReply(
        414, "URI too long", "The address is longer than this site accepts.", closes=True
    ),
    Fault.HEAD_TOO_LARGE: FaultReply(
        431,
        "Request header fields too large",
        "The header of the request is larger than this site accepts. Deleting this site's cookies may help.",
        closes=True,
    ),
    Fault.UPSTREAM_REFUSED: FaultReply(502, "Bad gateway", "The site's server could not be reached."),
    Fault.UPSTREAM_CLOSED: FaultReply(
        502, "Bad gateway", "The site's server closed the connection before it had answered."
    ),
    Fault.UPSTREAM_GARBAGE: FaultReply(
        502, "Bad gateway", "The site's server gave an answer that cannot be understood."
    ),
    Fault.UPSTREAM_TIMEOUT: FaultReply(504, "Gateway timeout", "The site's server did not answer in time."),
    Fault.UPSTREAM_UNAVAILABLE: FaultReply(
        503, "Service unavailable", "None of the site's servers is available at the moment.", fields=RETRY_SOON
    ),
    Fault.STREAMS_FULL: FaultReply(
        503, "Service unavailable", "Too many live connections are open at the moment.", fields=RETRY_SOON
    ),
    Fault.OUT_OF_FILES: FaultReply(
        503, "Service unavailable", "There is no room for another connection at the moment.", fields=RETRY_SOON
    ),
    Fault.INTERNAL: FaultReply(500, "Internal server error", "Something went wrong on our side.", closes=True),
    Fault.NOT_FOUND: FaultReply(404, "Not found", "There is nothing at this address."),
    Fault.GET_ONLY: FaultReply(
        405, "Method not allowed", "Only GET and HEAD are possible here.", fields=b"Allow: GET, HEAD\r\n"
    ),
    Fault.POST_ONLY: FaultReply(405, "Method not allowed", "Only POST is possible here.", fields=b"Allow: POST\r\n"),
    Fault.UNSUPPORTED_MEDIA: FaultReply(
        415,
        "Unsupported media type",
        "An answer to a challenge is sent as application/json.",
        fields=b"Accept-Post: application/json\r\n",
    ),
    Fault.CROSS_SITE: FaultReply(403, "Forbidden", "Answers to challenges are not accepted from other sites."),
}
