"""Visits: whoever has begun to load a page is to have all of it, before others begin.

A *visit* begins with the first good answer to a client, and is under way for `VISIT` seconds, or until the client has
had no answer for `PAUSE`. That of a bought pass begins with its first request. What else the client asks for meanwhile
is *part* of the visit; of what comes with a bought pass that is only what could not answer a challenge, or a farm's
passes would be visits. Nobody tries the parts of a page again: of seventy pages of which half of the parts were
refused, none is of use.

    calm weather      where parts fill the queue, visits that would begin wait until there is room for them
                      (queue/openings.py), and are told to come again if that takes too long
    under pressure    a visit that began in calm weather goes on as it was, as far as its client could not answer a
                      challenge: it counts as T2 (tiers.py). In T2 the visit that began first goes first (ranks.py)

This costs those who begin later a wait of `VISIT` seconds at most. A flood whose requests claim to be parts of a page
has that time, from the first good answer to each of its clients before the onset, and what the limits of calm weather
give. A botnet of which each address asks once in a minute has nothing of it.
"""

from __future__ import annotations

from math import inf
from typing import Final

from shield.model import Tier
from shield.policy.provoked import could_answer
from shield.policy.request import Request

T2: Final = Tier.T2  # a name of its own: looking up a member of an Enum costs 70 ns

VISIT: Final = 20.0
"""Seconds. The queue takes visits that need 1.8 s for what they have waiting at once, six parts each; a page of sixty
parts is there after ten times that at most, mostly sooner. With 10 s, of 46 visits 30 got all of their page, and not
43."""
PAUSE: Final = 5.0
"""Seconds from an answer to the next request: a slow phone reads a page, and asks for its parts. While its requests
wait it asks for nothing, and goes on when they are answered."""
AGAIN: Final = 60.0
"""Seconds from the begin of one visit to that of the next: the window of a history, so that whoever asks all the time
is for a quarter of it in a visit, and not always."""


def visit_of(request: Request, now: float) -> float:
    """When the visit began that a request is part of; infinity when it is part of none, or begins one."""
    shown = request.shown_pass
    if shown is not None and request.tier is T2:
        begun = shown.begun
        return begun if begun < now < begun + VISIT and not could_answer(request) else inf
    entry = request.client.entry
    begun = entry.begun
    return begun if now < begun + VISIT and now < entry.answered + PAUSE and not entry.rare.overflow else inf


def goes_on(request: Request, now: float) -> bool:
    """Whether a newcomer's request is part of a visit, and whoever asks could not answer a challenge."""
    return visit_of(request, now) < inf and not could_answer(request)
