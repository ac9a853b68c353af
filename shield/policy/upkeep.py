"""Whether a page that stays open should buy its next pass now, and when it should ask again.

A page whose pass ends while it is open would have its scripts' requests challenged, which they cannot show to anybody.
So it asks before (replies/static/renew.js), and is offered a challenge

    with a pass       AHEAD seconds before it ends, or a quarter of its life where that is less
    without one       if its requests would be challenged

and none where nobody is challenged now, nor for whom none would be: who is known, or named by the operator. To ask
counts as a good use of a scarce pass: it is kept as by any other request, to the end that was paid for and no longer.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from shield.policy.challenge.settings import ChallengeSettings
from shield.policy.entries import Pass

AHEAD: Final = 60.0
"""s. A browser runs the timers of a page in the background once a minute at the least."""
TENSE: Final = 60.0
"""s between two questions where newcomers are challenged."""
CALM: Final = 300.0
"""s between two questions where they are not."""
SOONEST: Final = 1.0
"""s."""


class Upkeep(NamedTuple):
    """What a page should know of its pass. `ends_in` and `again_in` are seconds; `due`: a new one should be bought."""

    has_pass: bool
    ends_in: int
    again_in: int
    due: bool


def upkeep(settings: ChallengeSettings, shown: Pass | None, strict: bool, safe: bool, now: float) -> Upkeep:
    """What to tell whoever shows a pass, or none. `strict`: newcomers are challenged now; `safe`: this one is not."""
    again = TENSE if strict else CALM
    if shown is None:
        return Upkeep(False, 0, int(again), strict and not safe)
    left, life = shown.ends - now, settings.pass_lifetime
    if shown.scarce:
        left, life = min(left, shown.paid_until - now), settings.bought_life
        again = min(again, settings.bought_idle / 2.0)
    ahead = min(AHEAD, life / 4.0)
    due = strict and not safe and left <= ahead
    if not due and left > ahead:
        again = min(again, left - ahead)
    return Upkeep(True, max(0, math.floor(left)), math.ceil(max(again, SOONEST)), due)
