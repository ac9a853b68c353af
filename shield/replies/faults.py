"""The reply to each fault, one row each: title, a sentence for people, and whether the connection ends with it.

A fault `closes` when the position in the byte stream is no longer certain (a request that could not be framed, a body
that nobody read): going on would be an invitation to smuggle. What the faults are called, and their statuses, stand in
model.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from shield.model import Fault


@dataclass(frozen=True, slots=True)
class FaultReply:
    """The reply to one fault. `fields` are complete field lines that its status asks for, CRLF included; `wait` is the
    seconds after which to try again, if that helps. `hint` tells people what to do."""

    title: str
    detail: str
    closes: bool = False
    fields: bytes = b""
    wait: int = 0
    hint: str = ""


LATER: Final = "Please try again in a few minutes."
SOON: Final = 5
"""s. A restart or an upstream's health check takes a few seconds; browsers and crawlers wait at least so long."""

_CLOSED: Final = FaultReply(
    "Bad gateway", "The site's server closed the connection before it had answered.", hint=LATER
)

FAULTS: Final[Mapping[Fault, FaultReply]] = {
    Fault.MALFORMED_HEAD: FaultReply("Bad request", "The request is not well-formed HTTP.", closes=True),
    Fault.BAD_HOST: FaultReply("Bad request", "The Host field is missing, repeated or not valid.", closes=True),
    Fault.MISDIRECTED: FaultReply("Misdirected request", "This host is not served here."),
    Fault.BAD_TARGET: FaultReply("Bad request", "The request target is not valid.", closes=True),
    Fault.BAD_FRAMING: FaultReply("Bad request", "The length of the body cannot be told with certainty.", closes=True),
    Fault.CODING_UNKNOWN: FaultReply("Not implemented", "The only transfer coding known here is chunked.", closes=True),
    Fault.VERSION_UNSUPPORTED: FaultReply(
        "HTTP version not supported", "This server speaks HTTP/1.1 and HTTP/1.0.", closes=True
    ),
    Fault.LOOP_DETECTED: FaultReply(
        "Loop detected", "This site sends its requests back to itself. Its operator must correct that.", closes=True
    ),
    Fault.METHOD_UNKNOWN: FaultReply("Not implemented", "The request method is longer than any.", closes=True),
    # CONNECT and TRACE. What the site itself allows is not known here, so Allow names what is passed on to it.
    Fault.METHOD_NOT_ALLOWED: FaultReply(
        "Method not allowed",
        "CONNECT and TRACE are not possible here.",
        closes=True,
        fields=b"Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n",
    ),
    Fault.EXPECTATION_FAILED: FaultReply(
        "Expectation failed", "The only expectation known here is 100-continue.", closes=True
    ),
    Fault.HEAD_TIMEOUT: FaultReply("Request timeout", "The request took too long to arrive.", closes=True),
    Fault.BODY_TIMEOUT: FaultReply("Request timeout", "The body of the request arrived too slowly.", closes=True),
    Fault.BODY_TOO_LARGE: FaultReply(
        "Content too large", "The body of the request is larger than this site accepts.", closes=True
    ),
    Fault.TARGET_TOO_LONG: FaultReply("URI too long", "The address is longer than this site accepts.", closes=True),
    Fault.HEAD_TOO_LARGE: FaultReply(
        "Request header fields too large",
        "The header of the request is larger than this site accepts. Deleting this site's cookies may help.",
        closes=True,
    ),
    Fault.UPSTREAM_REFUSED: FaultReply("Bad gateway", "The site's server could not be reached.", hint=LATER),
    Fault.UPSTREAM_CLOSED: _CLOSED,
    Fault.UPSTREAM_RESET: _CLOSED,  # which to a visitor is the same
    Fault.UPSTREAM_GARBAGE: FaultReply(
        "Bad gateway", "The site's server gave an answer that cannot be understood.", hint=LATER
    ),
    Fault.UPSTREAM_TIMEOUT: FaultReply("Gateway timeout", "The site's server did not answer in time.", hint=LATER),
    Fault.UPSTREAM_UNAVAILABLE: FaultReply(
        "Service unavailable", "None of the site's servers is available at the moment.", wait=SOON
    ),
    Fault.STREAMS_FULL: FaultReply(
        "Service unavailable", "Too many live connections are open at the moment.", wait=SOON
    ),
    Fault.OUT_OF_FILES: FaultReply(
        "Service unavailable", "There is no room for another connection at the moment.", wait=SOON
    ),
    Fault.INTERNAL: FaultReply("Internal server error", "Something went wrong on our side.", closes=True),
    Fault.NOT_FOUND: FaultReply("Not found", "There is nothing at this address."),
    Fault.GET_ONLY: FaultReply(
        "Method not allowed", "Only GET and HEAD are possible here.", fields=b"Allow: GET, HEAD\r\n"
    ),
    Fault.POST_ONLY: FaultReply("Method not allowed", "Only POST is possible here.", fields=b"Allow: POST\r\n"),
    Fault.UNSUPPORTED_MEDIA: FaultReply(
        "Unsupported media type",
        "An answer to a challenge is sent as application/json.",
        fields=b"Accept-Post: application/json\r\n",
    ),
    Fault.CROSS_SITE: FaultReply("Forbidden", "Answers to challenges are not accepted from other sites."),
    Fault.GATE_PEER: FaultReply("Forbidden", "Only the proxies of this site may ask here."),
    Fault.GATE_QUESTION: FaultReply("Bad request", "This is not how this site's proxy asks about a request."),
}
