"""gRPC over HTTP/2, as far as a proxy has to know it: which requests are calls, and how one is refused.

A call that is refused gets an answer of nothing but a head, with the status in it ("Trailers-Only" in gRPC's PROTOCOL-
HTTP2.md): a client of gRPC cannot make sense of another status than 200. How long it should wait before it tries again
is told as gRPC's retry policy reads it (gRFC A6).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from shield.http.head import Head

PERMISSION_DENIED: Final = 7
RESOURCE_EXHAUSTED: Final = 8
UNIMPLEMENTED: Final = 12
INTERNAL: Final = 13
UNAVAILABLE: Final = 14
_STATUSES: Final = {
    403: PERMISSION_DENIED,
    404: UNIMPLEMENTED,
    405: UNIMPLEMENTED,
    413: RESOURCE_EXHAUSTED,
    429: RESOURCE_EXHAUSTED,
    431: RESOURCE_EXHAUSTED,
    502: UNAVAILABLE,
    503: UNAVAILABLE,
    504: UNAVAILABLE,
}
"""What stands for a status of HTTP. Any other is INTERNAL."""

_RETRY_AFTER: Final = b"retry-after:"


def is_call(head: Head) -> bool:
    """Whether a request is a call: gRPC-Web and Connect are not, which are answered as any other."""
    kind = head.headers.get("Content-Type") or ""
    return kind.startswith("application/grpc") and kind[16:17] in ("", "+", ";")


def refusal(status: int, lines: Sequence[bytes], word: str) -> list[bytes]:
    """The fields of an answer with this status of HTTP and these `lines`, which says `word`."""
    fields = [
        b"Content-Type: application/grpc",
        b"Grpc-Status: %d" % _STATUSES.get(status, INTERNAL),
        b"Grpc-Message: %b" % word.encode("ascii"),
    ]
    for line in lines:
        if line.lower().startswith(_RETRY_AFTER):
            seconds = line.partition(b":")[2].strip()
            if seconds.isdigit():
                fields += (line, b"Grpc-Retry-Pushback-Ms: %d" % (int(seconds) * 1000))
    return fields
