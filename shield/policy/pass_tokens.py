"""The text of a pass, signed so that nobody else can make one.

base64url( version u8 = 1 | kind u8 (1 earned, 2 bought, 5 waited for) | id 8 bytes | issued u32 | work u8 |
           mac 16 bytes )
"""

from __future__ import annotations

import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from hmac import compare_digest
from typing import Final

from shield.policy.entries import PassKind
from shield.policy.keys import TAG_BYTES, Keys, pass_tag

VERSION: Final = 1
BODY: Final = struct.Struct(">BB8sIB")
ID_BYTES: Final = 8
TOKEN_CHARS: Final = 42  # 31 bytes without padding


class PassTokens:
    """Signs and reads tokens. `wall_offset` is wall clock minus monotonic clock, in seconds."""

    __slots__ = ("_entropy", "_sign_with", "_verify_with", "_wall_offset")

    def __init__(self, keys: Keys, entropy: Callable[[int], bytes], wall_offset: float) -> None:
        self._sign_with = keys.current
        self._verify_with = keys.both()
        self._entropy = entropy
        self._wall_offset = wall_offset

    def new_id(self) -> bytes:
        """The id of a pass that does not exist yet."""
        return self._entropy(ID_BYTES)

    def sign(self, kind: PassKind, id_: bytes, now: float, work: int) -> str:
        """The token of a pass that is issued now. `work` is log2 of the hashes paid for it."""
        body = BODY.pack(VERSION, kind, id_, int(now + self._wall_offset), work)
        return urlsafe_b64encode(body + pass_tag(self._sign_with, body)).rstrip(b"=").decode()

    def read(self, token: str) -> tuple[int, bytes, float] | None:
        """Kind, id and time of issue (monotonic seconds) of a token; None when it was not signed here.

        It costs one MAC, and a second one while there is a previous key.
        """
        if len(token) != TOKEN_CHARS:
            return None
        try:
            raw = urlsafe_b64decode(token + "==")
        except ValueError:
            return None
        body, tag = raw[:-TAG_BYTES], raw[-TAG_BYTES:]
        for key in self._verify_with:
            if compare_digest(pass_tag(key, body), tag):
                break
        else:
            return None
        _, kind, id_, issued_wall, _ = BODY.unpack(body)  # only Shield signs, so it is well-formed
        return kind, id_, issued_wall - self._wall_offset
