"""What Shield itself serves below /.well-known/shield/: answers to challenges, the files of the challenge page, and
what a page that stays open wants to know of its pass.

These requests never reach the upstream and never wait, but they are charged before they come here: bans and rate limits
hold for them, too. A page of another origin may ask for its pass and buy the next one where the service lets that
origin act for its visitors (http/origins.py); the replies it can read then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shield.model import Fault
from shield.readers import is_preflight
from shield.replies.pages import ANSWER_TO, PASS
from shield.replies.reply import Reply

if TYPE_CHECKING:
    from shield.http.head import Head
    from shield.http.origins import Origins
    from shield.operator.log import AccessLog
    from shield.operator.metrics import Metrics
    from shield.policy.request import Request
    from shield.replies.proof import ProofOfWork
    from shield.replies.rendering import Replies
    from shield.replies.reply import BodyWanted


class OwnPages:
    """The replies to requests below PREFIX. One for all connections."""

    __slots__ = ("_log", "_metrics", "_origins", "_proof", "_replies")

    def __init__(
        self, proof: ProofOfWork, replies: Replies, metrics: Metrics, log: AccessLog, origins: Origins
    ) -> None:
        self._proof = proof
        self._replies = replies
        self._metrics = metrics
        self._log = log
        self._origins = origins

    def serve(
        self, request: Request, head: Head, trusted: bool, secure: bool, now: float, request_id: bytes = b""
    ) -> Reply | BodyWanted:
        """The reply to a request that the policy lets through. `trusted`: a trusted proxy brings it; `secure`: the
        client speaks TLS; `request_id` is logged with a fault."""
        found: Reply | BodyWanted | Fault | None
        readable = b""
        if head.path == ANSWER_TO or head.path == PASS:
            if head.origin:
                readable = self._origins.trusted(head.host, head.origin, now)
            found = self._of_passes(request, head, readable, trusted, secure, now, request_id)
        elif head.method != "GET" and head.method != "HEAD":
            found = Fault.GET_ONLY
        else:
            query = head.target[len(head.path) + 1 :]
            match, coding = (request.headers.get(name) for name in ("If-None-Match", "Accept-Encoding"))
            found = self._replies.static(head.path, match, query, coding or "") or Fault.NOT_FOUND
        if isinstance(found, Fault):
            self._metrics.faults[found.value] += 1
            self._log.fault(now, request.client.address, found.value, found.status, head=head, request_id=request_id)
            return self._replies.fault(found, head.reader(), head.language).with_fields(readable)
        return found

    def _of_passes(
        self,
        request: Request,
        head: Head,
        readable: bytes,
        trusted: bool,
        secure: bool,
        now: float,
        request_id: bytes,
    ) -> Reply | BodyWanted | Fault:
        """An answer, or a question about a pass; with the field lines `readable` for a page of another origin that the
        service trusts."""
        asks = head.path == PASS
        if readable and head.method == "OPTIONS" and is_preflight(request.headers):
            return self._replies.permission(b"GET" if asks else b"POST", readable)
        if not asks:
            return self._proof.take(request, head, trusted, secure, request_id, readable)
        if head.method != "GET" and head.method != "HEAD":
            return Fault.GET_ONLY
        return self._proof.upkeep(request, now).with_fields(readable)
