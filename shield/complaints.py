"""What is wrong with a setting although its type and range are right: the form of a complaint, and shared checks.

A settings class has a method `complaints()` where its settings can contradict each other, or where a text must be
an address, a network or a name. config/checks.py collects them all.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import Final

KeyPath = tuple[str | int, ...]
"""Where in a table a value stands: its key, then the index in a list or the key in a table within."""

Complaint = tuple[KeyPath, str]
"""Where a value stands, and what is allowed there."""

WEBHOOK: Final = re.compile(
    r"https?://[A-Za-z0-9.\-]+(:[0-9]{1,5})?(/[!-~]*)?|https?://\[[0-9a-f:]+\](:[0-9]{1,5})?(/[!-~]*)?"
)
"""Where something may be posted to: http or https, a host, and no user in it."""

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def is_field_name(text: str) -> bool:
    """Whether this may be the name of a header field or of a cookie (RFC 9110 section 5.6.2)."""
    return _TOKEN.fullmatch(text) is not None


def networks(key: str, texts: tuple[str, ...]) -> Iterator[Complaint]:
    """Complaints about the entries of `texts` that are not networks."""
    for number, text in enumerate(texts):
        if wrong := wrong_network(text):
            yield (key, number), wrong


def wrong_network(text: str) -> str:
    """What is wrong with an address or network in CIDR notation; empty when nothing is."""
    try:
        ipaddress.ip_network(text)
    except ValueError:
        pass
    else:
        return ""
    try:
        return f"an address with host bits; did you mean {ipaddress.ip_network(text, strict=False)}?"
    except ValueError:
        return 'allowed: an IP address or a network, like "192.0.2.0/24" or "2001:db8::/32"'
