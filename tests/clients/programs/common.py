"""What the Python programs share: the bytes they send, and how they tell what they got."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

ITEMS = 30
UPLOAD = bytes(range(256)) * 40_960


def pieces() -> Iterator[bytes]:
    for at in range(0, len(UPLOAD), 100_000):
        yield UPLOAD[at : at + 100_000]


def digest(*data: bytes) -> str:
    return hashlib.sha256(b"".join(data)).hexdigest()


def events(text: str) -> str:
    return ",".join(line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: "))


def tell(**found: Any) -> None:
    print(json.dumps({name: str(value) for name, value in found.items()}))
