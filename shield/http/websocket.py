"""The proof that the other end of an HTTP/1.1 connection speaks WebSocket (RFC 6455 section 4)."""

from __future__ import annotations

import base64
import hashlib
from typing import Final

_ACCEPT: Final = b"sec-websocket-accept:"
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3


def accepted(key: str, fields: list[bytes]) -> bool:
    """Whether the fields of a 101 prove that the server speaks WebSocket (RFC 6455 section 4.2.2). `key` is the
    Sec-WebSocket-Key of the request."""
    proof = hashlib.sha1(key.encode("utf-8", "surrogateescape") + _GUID, usedforsecurity=False).digest()
    answers = [line.partition(b":")[2].strip() for line in fields if line[: len(_ACCEPT)].lower() == _ACCEPT]
    return answers == [base64.b64encode(proof)]
