"""From plain HTTP to https: every request on `tls.redirect_from` is answered 308, with the same host and path.

No open redirect: the host must be one that a certificate of ours is for (421 otherwise), so the answer leads nowhere
but here, whoever wrote the request. 308 and not 301, as it keeps the method (RFC 9110 section 15.4.9). The policy is
not asked: the answer costs less than a refusal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from shield.model import Fault
from shield.replies.faults import FAULTS

if TYPE_CHECKING:
    from shield.client.connection import ClientConnection
    from shield.http.head import Head

CHALLENGES: Final = "/.well-known/acme-challenge/"
"""Where an authority looks for proof over plain HTTP (RFC 8555 section 8.3)."""


class Redirect:
    """How the gates of plain listeners answer. `covers` says whether there is a certificate for a name."""

    __slots__ = ("_acme", "_covers", "_port")

    def __init__(self, port: int, acme: bool, covers: Callable[[str], bool]) -> None:
        """`port` of https; `acme`: what is below CHALLENGES is left to the upstream."""
        self._port = b"" if port == 443 else b":%d" % port
        self._acme = acme
        self._covers = covers

    def serve(self, gate: ClientConnection, head: Head, now: float) -> bool:
        """Answer a request; or False, when it is to be forwarded."""
        if self._acme and head.path.startswith(CHALLENGES):
            return False
        edge = gate.edge
        close = gate.must_close(head)
        host = _without_port(head.host)
        if not self._covers(host.strip(b"[]").decode("ascii").lower()):
            edge.metrics.faults[Fault.MISDIRECTED.value] += 1
            reply = edge.replies.fault(Fault.MISDIRECTED, head.page, head.method == "HEAD", close)
            gate.answer(reply, FAULTS[Fault.MISDIRECTED].status, close, head, now)
            return True
        target = head.target if head.target != "*" else "/"
        location = b"https://%b%b%b" % (host, self._port, target.encode("ascii"))
        gate.answer(edge.replies.redirect(location, close), 308, close, head, now)
        return True


def _without_port(host: bytes) -> bytes:
    """`host` has been found valid (headers.py)."""
    name, colon, port = host.rpartition(b":")
    return name if colon and b"]" not in port else host
