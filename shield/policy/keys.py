"""Keyed hashes: the two live keys, and one tag function per purpose.

Keyed BLAKE2b (RFC 7693) is a MAC by itself and costs 0.7 µs here, HMAC-SHA-256 1.9 µs. Taking in the key is 0.3 µs
of a whole microsecond, so the hashes that have done it are kept and copied. Its `person` parameter keeps
the purposes apart: a tag made for a pass is never valid for a challenge.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Final

KEY_BYTES: Final = 32
TAG_BYTES: Final = 16

_CHALLENGE: Final = b"shield-challenge"
_MARK: Final = b"shield-mark"
_PASS: Final = b"shield-pass"
_CLIENT: Final = b"shield-client"
_ORDER: Final = b"shield-order"
_TICKET: Final = b"shield-ticket"
_LOOP: Final = b"shield-loop"
_CLUSTER: Final = b"shield-cluster"


@dataclass(frozen=True, slots=True)
class Keys:
    """The secrets: signed with `current`, verified with either. 32 bytes each; ValueError otherwise."""

    current: bytes
    previous: bytes | None = None

    def __post_init__(self) -> None:
        for key in (self.current, self.previous):
            if key is not None and len(key) != KEY_BYTES:
                raise ValueError(f"a key must have {KEY_BYTES} bytes, not {len(key)}")

    def both(self) -> tuple[bytes, ...]:
        """The keys to verify with, the current one first."""
        return (self.current,) if self.previous is None else (self.current, self.previous)


def pass_tag(key: bytes, body: bytes) -> bytes:
    """MAC of a pass token's body."""
    return _tag(key, _PASS, TAG_BYTES, body)


def challenge_tag(key: bytes, body: bytes) -> bytes:
    """MAC of a challenge token's body and the program that it is bound to."""
    return _tag(key, _CHALLENGE, TAG_BYTES, body)


def mark_tag(key: bytes, body: bytes) -> bytes:
    """Four bytes that say a challenge is from here, whomever it is bound to. Guessing them gains nothing."""
    return _tag(key, _MARK, 4, body)


def ticket_tag(key: bytes, body: bytes) -> bytes:
    """MAC of a ticket for the waiting room."""
    return _tag(key, _TICKET, TAG_BYTES, body)


def client_tag(key: bytes, identity: bytes) -> bytes:
    """The name of a client. Keyed, so that nobody can aim at the entry of somebody else."""
    return _tag(key, _CLIENT, TAG_BYTES, identity)


def loop_tag(key: bytes, address: bytes) -> bytes:
    """Six bytes that name this Shield, which listens at `address`, among all Shields of the world."""
    return _tag(key, _LOOP, 6, address)


def cluster_tag(key: bytes, value: bytes) -> bytes:
    """MAC of a value in the store that several machines share."""
    return _tag(key, _CLUSTER, TAG_BYTES, value)


def order_tag(key: bytes, holder: bytes, epoch: int) -> int:
    """16 bits that put equals in an order nobody can predict, another one in each epoch (a whole number)."""
    message = holder + epoch.to_bytes(8, "big", signed=True)
    return int.from_bytes(_tag(key, _ORDER, 2, message), "big")


def _tag(key: bytes, purpose: bytes, size: int, message: bytes) -> bytes:
    taken = _begun(key, purpose, size).copy()
    taken.update(message)
    return taken.digest()


@lru_cache(maxsize=16)  # eight purposes, two keys
def _begun(key: bytes, purpose: bytes, size: int) -> blake2b:
    return blake2b(digest_size=size, key=key, person=purpose)
