"""What names a program wherever it runs: its fingerprint, and short names for logs."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

from shield.policy.identity import Client

Fingerprint = tuple[str, str, str]
"""User-Agent, Accept-Language, JA4."""


def fingerprint_of(client: Client) -> Fingerprint:
    """The fingerprint of the program that a client is."""
    return client.user_agent, client.language, client.ja4


def program_name(client: Client) -> bytes:
    """The same as bytes."""
    return "\0".join(fingerprint_of(client)).encode("utf-8", "surrogatepass")


def shape(names: Sequence[str], values: Sequence[str]) -> str:
    """A short name for a program's habits: its header names in order and a few values, for logs.

    Not keyed, so that the logs of two machines can be compared; never part of a client's identity.
    """
    text = "\0".join(names).lower() + "\1" + "\0".join(values)
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()
