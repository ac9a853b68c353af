"""What the Python programs share: the bytes they send, and how they tell what they got."""

import hashlib
import json
import os
from collections.abc import Iterator
from typing import Any

ITEMS = 30
UPLOAD = bytes(range(256)) * 40_960
PASS = {"Shield-Pass": os.environ["SHIELD_PASS"]} if os.environ.get("SHIELD_PASS") else {}
"""Fields of every request."""


def pieces() -> Iterator[bytes]:
    for at in range(0, len(UPLOAD), 100_000):
        yield UPLOAD[at : at + 100_000]


def digest(*data: bytes) -> str:
    return hashlib.sha256(b"".join(data)).hexdigest()


def events(text: str) -> str:
    return ",".join(line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: "))


def tell(**found: Any) -> None:
    print(json.dumps({name: str(value) for name, value in found.items()}))
