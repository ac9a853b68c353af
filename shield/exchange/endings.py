"""How an exchange ends. One row per ending: what the policy, the log, the counters and the client are told.

    ending       policy            status in the log  counter       connection  the client sees
    -----------  ----------------  -----------------  ------------  ----------  --------------------------
    RESPONDED    learns it         the response's     responses     reused      the whole response
    TUNNELLED    learns 101        101                responses     closed      the end of the tunnel
    TUNNEL_CUT   learns 101        101                read_timeout  closed      a tunnel that is cut
    OUSTED       learns 101        101                streams_full  closed      the end of the tunnel
    EVICTED      learns 101        101                displaced     closed      nothing more: it was closed
    FAILED       learns a fault    the fault's        the fault     closed      Shield's reply to the fault
    NO_ROOM      cancels, refunds  the fault's        the fault     closed      Shield's reply to the fault
    BROKEN       learns 502        the response's     the fault     closed      a response that is cut
    SLOW_READER  cancels           the response's     slow_reader   closed      a response that is cut
    TRICKLED     cancels           the response's     streams_full  closed      a response that is cut
    UNREAD       cancels           the response's     read_timeout  closed      a response that is cut
    SPOILED      cancels           the fault's        the fault     closed      the answer to its body
    SPOILED_LATE cancels           the response's     the fault     closed      a response that is cut
    DISPLACED    cancels           the response's     displaced     closed      nothing more: it was closed
    LEFT         cancels           499                -             closed      nothing: it has gone
    SHED         has decided it    a line of its own  the verdict   closed      the refusal

The policy learns of what was tried at the upstream. It cancels what says nothing about the upstream: the client went,
or Shield had no room, or ended it for its client's sake. The line of the log has the counter's word as its fault. 499
is nginx's word for a client that is gone.

FAILED is learned whatever its fault, by the fault's status. 502 and 504 are errors of the upstream, and so is 503, when
no server is there to choose. 500 is an error of Shield: it frees the slot and blames nobody. Each leaves the charge as
it was, since no response has told a time. 408 is not among them: the client's side answers a body that is too slow
itself, and the exchange is SPOILED.
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
READ_TIMEOUT: Final = "read_timeout"
"""The word for a client that has not read its response for too long."""


@dataclass(frozen=True, slots=True)
class Ending:
    """One row. `logged` is a status, OF_RESPONSE or OF_FAULT; `learned` the status that the policy learns where it is
    another one, else 0; `counter` a word of Metrics.faults, empty where a fault, if any, is counted by its own.

    `reuse`: the connection may carry another request. `logs`: the exchange writes the line of the request.
    `refunds_unsent`: a request that was not sent costs no more than an attempt.
    """

    name: str
    told: int
    logged: int
    seen: Seen
    learned: int = 0
    counter: str = ""
    reuse: bool = False
    logs: bool = True
    refunds_unsent: bool = False

    def __repr__(self) -> str:
        return f"<Ending {self.name}>"


RESPONDED: Final = Ending("responded", LEARN, OF_RESPONSE, Seen.WHOLE, reuse=True)
TUNNELLED: Final = Ending("tunnelled", LEARN, OF_RESPONSE, Seen.CLOSE)
TUNNEL_CUT: Final = Ending("tunnel cut", LEARN, OF_RESPONSE, Seen.CUT, counter=READ_TIMEOUT)
OUSTED: Final = Ending("ousted", LEARN, OF_RESPONSE, Seen.CLOSE, counter="streams_full")
EVICTED: Final = Ending("evicted", LEARN, OF_RESPONSE, Seen.NOTHING, counter="displaced")
FAILED: Final = Ending("failed", LEARN, OF_FAULT, Seen.STAND_IN)
NO_ROOM: Final = Ending("no room", CANCEL, OF_FAULT, Seen.STAND_IN, refunds_unsent=True)
BROKEN: Final = Ending("broken", LEARN, OF_RESPONSE, Seen.CUT, learned=502)
SLOW_READER: Final = Ending("slow reader", CANCEL, OF_RESPONSE, Seen.CUT, counter="slow_reader")
TRICKLED: Final = Ending("trickled", CANCEL, OF_RESPONSE, Seen.CUT, counter="streams_full")
UNREAD: Final = Ending("unread", CANCEL, OF_RESPONSE, Seen.CUT, counter=READ_TIMEOUT)
SPOILED: Final = Ending("spoiled", CANCEL, OF_FAULT, Seen.NOTHING)
SPOILED_LATE: Final = Ending("spoiled late", CANCEL, OF_RESPONSE, Seen.NOTHING)
DISPLACED: Final = Ending("displaced", CANCEL, OF_RESPONSE, Seen.NOTHING, counter="displaced")
LEFT: Final = Ending("left", CANCEL, CLIENT_LEFT, Seen.NOTHING)
SHED: Final = Ending("shed", NOTHING, 0, Seen.REFUSAL, logs=False)
