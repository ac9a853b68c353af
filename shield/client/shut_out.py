"""Answers for a banned address that need nothing of what is asked: the head is searched for a name, and not read.

To read a head is what costs Shield most of a refusal, and a sender chooses how much there is to read. Of an address
whose ban spares nobody (Engine.shut_out) only a pass or an API key could make a difference. So the head
is looked through for the names under which these come, and where none is found, the ban is the answer and the
connection ends. Where one is found, the head is read and judged like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from shield.readers import PERSON, PROGRAM

if TYPE_CHECKING:
    from shield.model import Verdict
    from shield.operator.log import AccessLog
    from shield.operator.metrics import Metrics
    from shield.policy.engine import Engine
    from shield.policy.sites import Sites
    from shield.replies.rendering import Replies


BODILESS: Final = (b"GET ", b"HEAD ")
"""How a head begins behind which nothing comes, as a rule: its connection can be closed at once."""

_QUICK: Final = 29_000
"""bytes. From 30,000 on CPython searches by another algorithm, which is eight times slower for most bytes."""
_ACCEPT_WITHIN: Final = 2048
"""bytes in which Accept is looked for. Where it stands further down, the answer is the one for programs."""


class ShutOut:
    """Turns away what comes from banned addresses. One for all connections, and for the first read of them."""

    __slots__ = (
        "_cookie",
        "_engine",
        "_headers",
        "_letters",
        "_log",
        "_metrics",
        "_most_lines",
        "_replies",
        "_request_ids",
        "_trusts",
    )

    def __init__(
        self,
        engine: Engine | Sites,
        trusts: Callable[[str], bool],
        cookie: str,
        headers: Iterable[str],
        most_fields: int,
        replies: Replies,
        metrics: Metrics,
        log: AccessLog,
        request_ids: Callable[[], bytes],
    ) -> None:
        """`trusts` says who is a trusted proxy; a pass comes in `cookie`, and it or a key in one of `headers`;
        `most_fields` of a head are looked at. `request_ids` returns a new id for each page."""
        self._engine = engine
        self._trusts = trusts
        self._replies = replies
        self._metrics = metrics
        self._log = log
        self._request_ids = request_ids
        self._cookie = cookie.encode("ascii")
        self._headers = frozenset(name.lower().encode("ascii") for name in headers)
        letters = {name[:1] for name in (b"cookie", *self._headers)}
        self._letters = tuple(letters | {letter.upper() for letter in letters})
        self._most_lines = most_fields + 1

    def verdict(self, address: str, now: float) -> Verdict | None:
        """The ban of an address that spares nobody who shows nothing. `address` is that of the connection."""
        verdict = self._engine.shut_out(address, now)
        return None if verdict is None or self._trusts(address) else verdict

    def may_be_spared(self, head: bytes) -> bool:
        """Whether `head`, which is whole, may show what a ban of the address spares."""
        letters = self._letters
        for line in head.split(b"\n", self._most_lines):  # with more lines it would be refused as well
            if line.startswith(letters):
                name, _, value = line.partition(b":")
                name = name.strip().lower()
                if name in self._headers or (name == b"cookie" and self._holds_cookie(value)):
                    return True
        return False

    def fields_may_be_spared(self, fields: Iterable[tuple[bytes, bytes]]) -> bool:
        """The same for names in lower case and values, as HTTP/2 has them."""
        headers = self._headers
        return any(name in headers or (name == b"cookie" and self._holds_cookie(value)) for name, value in fields)

    def _holds_cookie(self, value: bytes) -> bool:
        cookie = self._cookie
        return value.find(cookie, 0, _QUICK) >= 0 or (len(value) > _QUICK and cookie in value[_QUICK - len(cookie) :])

    def refuse(self, verdict: Verdict, address: str, head: bytes, now: float, ja4: str = "", http: str = "") -> bytes:
        """The message that answers `head`, the last of its connection. It is counted and logged like any refusal."""
        self._engine.refused_unread(address, now)
        person = head.find(b"text/html", 0, _ACCEPT_WITHIN) >= 0
        reply = self._replies.refusal(verdict, PERSON if person else PROGRAM)
        metrics = self._metrics
        metrics.decided(verdict)
        metrics.own_responses[reply.status // 100] += 1
        request_id = self._request_ids() if person else b""
        self._log.refused_unread(now, address, verdict, reply.status, ja4, head, request_id, http)
        return reply.message(head.startswith(b"HEAD "), True, request_id)
