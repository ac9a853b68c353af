"""From plain HTTP to https: every request on `tls.redirect_from` gets a 308 to the same host and path.

This is no open redirect: the host must be one that a certificate of ours is for (421 otherwise), so the reply leads
nowhere but here, whoever wrote the request. The status is 308 and not 301, as that keeps the method (RFC 9110 section
15.4.9). The policy is not asked: the reply costs less than a refusal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from shield.http.grammar import without_port
from shield.model import Fault

if TYPE_CHECKING:
    from shield.http.head import Head
    from shield.operator.metrics import Metrics
    from shield.replies.rendering import Replies
    from shield.replies.reply import Reply

ACME_CHALLENGES: Final = "/.well-known/acme-challenge/"
"""Where an authority looks for proof over plain HTTP (RFC 8555 section 8.3)."""


class Redirect:
    """The replies to requests over plain HTTP that are to be made over https. One for all such connections."""

    __slots__ = ("_acme", "_covers", "_metrics", "_port", "_replies")

    def __init__(
        self, replies: Replies, metrics: Metrics, port: int, acme: bool, covers: Callable[[str], bool]
    ) -> None:
        """`port` of https; `acme`: what is below ACME_CHALLENGES is left to the upstream; `covers` says whether there
        is a certificate for a name or an IP address in lower case."""
        self._replies = replies
        self._metrics = metrics
        self._port = b"" if port == 443 else b":%d" % port
        self._acme = acme
        self._covers = covers

    def reply(self, head: Head) -> Reply | None:
        """The reply to a request, or None when the request is to be forwarded."""
        if self._acme and head.path.startswith(ACME_CHALLENGES):
            return None
        host = without_port(head.host)
        if not self._covers(host.strip(b"[]").decode("ascii").lower()):
            self._metrics.faults[Fault.MISDIRECTED.value] += 1
            return self._replies.fault(Fault.MISDIRECTED, head.reader(), head.language)
        target = head.target if head.target != "*" else "/"
        return self._replies.redirect(b"https://%b%b%b" % (host, self._port, target.encode("ascii")))
