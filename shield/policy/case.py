"""The policy's own fields of a request.

`model.Request` has the slots; what is in them concerns nobody but the policy, so their types are written here. At run
time a `Case` is a `Request`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shield.model import Request

if TYPE_CHECKING:
    from shield.policy.passes import Pass
    from shield.policy.routes import Route

    class Case(Request):
        """A request while it is judged."""

        route: Route
        cost: float  # units, as estimated on entry
        subject: Pass | None  # the pass or API key that its cost is charged to; None: its client and address
        shadow: float  # the factor that it was charged at; negative when it was not charged
        rank: float  # within its tier, higher goes first
        queued_at: float  # when it was put into the queue; 0 when it is not in it
        has_slot: bool

else:
    Case = Request
