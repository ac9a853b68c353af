"""How an exchange ends. One row per ending: what the policy, the log, the counters and the client are told.

    ending       policy           status in the log  counter          the client sees
    -----------  ---------------  -----------------  ---------------  -------------------------------
    RESPONDED    learns it        the response's     responses        the whole response
    TUNNELLED    learns 101       101                responses        the end of the tunnel
    FAILED       learns a fault   the fault's        the fault        Shield's reply to the fault
    NO_ROOM      cancels          the fault's        the fault        Shield's reply to the fault
    BROKEN       learns 502       the response's     the fault        a response that is cut
    SLOW_READER  cancels          499                slow_reader      a response that is cut
    TRICKLED     cancels          499                streams_full     a response that is cut
    LEFT         cancels          499                -                nothing: it has gone
    SHED         has decided it   a line of its own  the verdict      the refusal

The policy learns of what the upstream did. It cancels what says nothing about the upstream: the client went, or Shield
had no room. 499 is nginx's word for a client that is gone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from shield.exchange.ports import Seen

LEARN, CANCEL, NOTHING = range(3)
"""What the policy is told."""
OF_RESPONSE: Final = 0
OF_FAULT: Final = -1
"""In place of a status: where it is taken from."""
CLIENT_LEFT: Final = 499


@dataclass(frozen=True, slots=True)
class Ending:
    """One row. `logged` is a status, OF_RESPONSE or OF_FAULT; `learned` the status that the policy learns where it is
    another one, else 0; `counter` a word of Metrics.faults, empty where a fault, if any, is counted by its own."""

    name: str
    told: int
    logged: int
    seen: Seen
    learned: int = 0
    counter: str = ""

    def __repr__(self) -> str:
        return f"<Ending {self.name}>"


RESPONDED: Final = Ending("responded", LEARN, OF_RESPONSE, Seen.WHOLE)
TUNNELLED: Final = Ending("tunnelled", LEARN, OF_RESPONSE, Seen.CLOSE)
FAILED: Final = Ending("failed", LEARN, OF_FAULT, Seen.STAND_IN)
NO_ROOM: Final = Ending("no room", CANCEL, OF_FAULT, Seen.STAND_IN)
BROKEN: Final = Ending("broken", LEARN, OF_RESPONSE, Seen.CUT, learned=502)
SLOW_READER: Final = Ending("slow reader", CANCEL, CLIENT_LEFT, Seen.CUT, counter="slow_reader")
TRICKLED: Final = Ending("trickled", CANCEL, CLIENT_LEFT, Seen.CUT, counter="streams_full")
LEFT: Final = Ending("left", CANCEL, CLIENT_LEFT, Seen.NOTHING)
SHED: Final = Ending("shed", NOTHING, 0, Seen.REFUSAL)
