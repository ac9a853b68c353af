"""The pass of each origin, until it ends. Safe to share between threads and between clients."""

from __future__ import annotations

import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from shield.solving.challenge import NotUnderstoodError

MOST_ORIGINS: Final = 1000
"""Passes kept; above that the one goes that was longest not used."""
MOST_LIFETIME: Final = 400 * 86_400.0
"""Seconds, as browsers bound a cookie's."""

_PASS: Final = re.compile(r"[0-9A-Za-z_-]{1,512}")
_FIELD: Final = re.compile(r"[0-9A-Za-z-]{1,64}")
_NOT: Final = frozenset(
    {"connection", "content-length", "expect", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)
"""Fields that a pass may not be in: they frame the message."""


@dataclass(frozen=True, slots=True)
class Pass:
    """A pass, the field to send it in, the cookie that it may be sent in instead, and its life in seconds."""

    token: str
    header: str
    cookie: str
    lifetime: float


def read(said: Any) -> Pass:
    """The pass in an answer of the site. NotUnderstoodError."""
    if not isinstance(said, dict):
        raise NotUnderstoodError("the site's answer is no JSON object")
    token, header, cookie, lifetime = (said.get(name) for name in ("pass", "header", "cookie", "lifetime"))
    if not isinstance(token, str) or not _PASS.fullmatch(token):
        raise NotUnderstoodError("the site's answer has no pass")
    if not isinstance(header, str) or not _FIELD.fullmatch(header) or header.lower() in _NOT:
        raise NotUnderstoodError("the site's answer names no field for the pass")
    if isinstance(lifetime, bool) or not isinstance(lifetime, (int, float)) or not lifetime > 0:
        raise NotUnderstoodError("the site's answer does not say how long the pass lives")
    named = cookie if isinstance(cookie, str) and _PASS.fullmatch(cookie) else ""
    return Pass(token, header, named, min(float(lifetime), MOST_LIFETIME))


class Passes:
    """Passes by origin ("https://api.example:443"). `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[float, Pass]] = OrderedDict()

    def get(self, origin: str) -> Pass | None:
        """The pass for an origin, if there is one that has not ended."""
        with self._lock:
            found = self._kept.get(origin)
            if found is None:
                return None
            if found[0] <= self._clock():
                del self._kept[origin]
                return None
            self._kept.move_to_end(origin)
            return found[1]

    def keep(self, origin: str, bought: Pass) -> None:
        """Keep a pass."""
        with self._lock:
            self._kept[origin] = (self._clock() + bought.lifetime, bought)
            self._kept.move_to_end(origin)
            if len(self._kept) > MOST_ORIGINS:
                self._kept.popitem(last=False)

    def drop(self, origin: str, used: Pass) -> None:
        """Forget a pass that counts no more, unless another one has come in its place."""
        with self._lock:
            found = self._kept.get(origin)
            if found is not None and found[1] == used:
                del self._kept[origin]
