"""Seals: whatever a node writes into the store is signed with the key that signs passes, and bound to its place there.

    version u8 | name of the key 4 bytes | MAC 16 bytes | content

So who can write to the store, and does not have the key, cannot plant a ban, lift one, or speak for a node; nor move a
value to another place. What was signed with the previous key is still taken, so keys can be changed one node after the
other. Another version is another Shield's: its values are left out, and both go on.
"""

from __future__ import annotations

from hmac import compare_digest
from typing import Final

from shield.policy.keys import TAG_BYTES, Keys, cluster_tag

VERSION: Final = b"\x01"
NAME_BYTES: Final = 4
HEAD_BYTES: Final = 1 + NAME_BYTES + TAG_BYTES


class Seals:
    """Signs values, and opens those of others. What was refused is counted by its reason."""

    __slots__ = ("_keys", "_names", "rejected")

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._names = {cluster_tag(key, b"name")[:NAME_BYTES]: key for key in reversed(keys.both())}
        self.rejected = {"version": 0, "key": 0, "forged": 0, "content": 0}

    def seal(self, place: str, content: bytes) -> bytes:
        """A value to be written at that place."""
        key = self._keys.current
        name = cluster_tag(key, b"name")[:NAME_BYTES]
        return VERSION + name + cluster_tag(key, _bound(place, content)) + content

    def open(self, place: str, value: bytes) -> bytes | None:
        """The content of a value that was found at that place; None when it is not to be believed."""
        if not value.startswith(VERSION):
            self.rejected["version"] += 1
            return None
        key = self._names.get(value[1 : 1 + NAME_BYTES])
        if key is None:
            self.rejected["key"] += 1
            return None
        content = value[HEAD_BYTES:]
        if not compare_digest(value[1 + NAME_BYTES : HEAD_BYTES], cluster_tag(key, _bound(place, content))):
            self.rejected["forged"] += 1
            return None
        return content

    def senseless(self) -> None:
        """Count a value that was signed, and makes no sense."""
        self.rejected["content"] += 1


def _bound(place: str, content: bytes) -> bytes:
    name = place.encode()
    return len(name).to_bytes(2, "big") + name + content
