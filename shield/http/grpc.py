"""gRPC over HTTP/2, as far as a proxy has to know it: which requests are calls, and how one is refused.

A call that is refused gets an answer of nothing but a head, with the status in it ("Trailers-Only" in gRPC's PROTOCOL-
HTTP2.md): a client of gRPC cannot make sense of another status than 200. How long it should wait before it tries again
is told as gRPC's retry policy reads it (gRFC A6).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

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

_ALIKE: Final = {2: 500, 3: 400, 5: 404, 7: 403, 8: 429, 9: 400, 11: 400, 12: 404, 13: 500, 14: 503, 15: 500, 16: 401}
"""The status of HTTP by which a server would say the same (google.rpc.Code), as far as that is somebody's error. A
client chooses its deadline and cancels its calls: that says nothing of anybody else."""
_STATUS: Final = b"grpc-status:"

_PLAIN: Final = " !\"#$&'()*+,/:;<=>?@[\\]^`{|}"
"""What a message has as it is, besides letters, digits and what quote() lets be; the rest is percent-encoded."""
_RETRY_AFTER: Final = b"retry-after:"


def is_call(head: Head) -> bool:
    """Whether a request is a call: gRPC-Web and Connect are not, which are answered as any other."""
    kind = head.headers.get("Content-Type") or ""
    return kind.startswith("application/grpc") and kind[16:17] in ("", "+", ";")


def is_answer(kind: bytes) -> bool:
    """Whether this Content-Type is that of an answer to a call."""
    return kind.startswith(b"application/grpc") and kind[16:17] in (b"", b"+", b";")


def status_like(lines: Sequence[bytes]) -> int:
    """The status of HTTP that stands for the one of gRPC among these fields; 0 where there is none that is an error."""
    for line in lines:
        if line[: len(_STATUS)].lower() == _STATUS:
            code = line[len(_STATUS) :].strip()
            return _ALIKE.get(int(code), 0) if code.isdigit() and len(code) < 4 else 0
    return 0


def refusal(status: int, lines: Sequence[bytes], word: str) -> list[bytes]:
    """The fields of an answer with this status of HTTP and these `lines`, which says `word`, in ASCII or not."""
    fields = [
        b"Content-Type: application/grpc",
        b"Grpc-Status: %d" % _STATUSES.get(status, INTERNAL),
        b"Grpc-Message: %b" % quote(word, safe=_PLAIN).encode("ascii"),
    ]
    for line in lines:
        if line.lower().startswith(_RETRY_AFTER):
            seconds = line.partition(b":")[2].strip()
            if seconds.isdigit():
                fields += (line, b"Grpc-Retry-Pushback-Ms: %d" % (int(seconds) * 1000))
    return fields
