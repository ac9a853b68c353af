"""What Shield itself serves below /.well-known/shield/: answers to challenges, and the files of the challenge page.

These requests never reach the upstream and never wait, but they are charged before they come here: bans and rate limits
hold for them, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shield.model import Fault
from shield.replies.pages import ANSWER_TO

if TYPE_CHECKING:
    from shield.http.head import Head
    from shield.operator.log import AccessLog
    from shield.operator.metrics import Metrics
    from shield.policy.request import Request
    from shield.replies.proof import ProofOfWork
    from shield.replies.rendering import Replies
    from shield.replies.reply import BodyWanted, Reply


class OwnPages:
    """The replies to requests below PREFIX. One for all connections."""

    __slots__ = ("_log", "_metrics", "_proof", "_replies")

    def __init__(self, proof: ProofOfWork, replies: Replies, metrics: Metrics, log: AccessLog) -> None:
        self._proof = proof
        self._replies = replies
        self._metrics = metrics
        self._log = log

    def serve(
        self, request: Request, head: Head, trusted: bool, secure: bool, now: float, request_id: bytes = b""
    ) -> Reply | BodyWanted:
        """The reply to a request that the policy lets through. `trusted`: a trusted proxy brings it; `secure`: the
        client speaks TLS; `request_id` is logged with a fault."""
        found: Reply | BodyWanted | Fault | None
        if head.path == ANSWER_TO:
            found = self._proof.take(request, head, trusted, secure, request_id)
        elif head.method != "GET" and head.method != "HEAD":
            found = Fault.GET_ONLY
        else:
            query = head.target[len(head.path) + 1 :]
            match, coding = (request.headers.get(name) for name in ("If-None-Match", "Accept-Encoding"))
            found = self._replies.static(head.path, match, query, coding or "") or Fault.NOT_FOUND
        if isinstance(found, Fault):
            self._metrics.faults[found.value] += 1
            self._log.fault(now, request.client.address, found.value, found.status, head=head, request_id=request_id)
            return self._replies.fault(found, head.reader(), head.language)
        return found
