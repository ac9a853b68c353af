"""How much a connection of HTTP/2 may do that asks for nothing: budgets, each of which fills again with time.

HTTP/2 has much that costs a server something and a client next to nothing: frames of control, streams that are opened
and cancelled at once, headers that never end. What honest clients do of it goes with their requests, with what they
read and with what they send, so these earn what is spent on control. The rest has a budget, and who exceeds one is told
to calm down (GOAWAY with ENHANCE_YOUR_CALM), which ends the connection.

    budget     what is spent                                             filled by
    ---------  --------------------------------------------------------  ------------------------------------
    control    SETTINGS, PING, WINDOW_UPDATE, PRIORITY_UPDATE, empty     time; requests, payload either way
               DATA: one each
    silence    bytes that are neither a request nor payload              time; requests, payload either way
    resets     streams that the client cancels, or opens beyond          time
               what it may
    errors     streams that are reset because they break the protocol    time

A page of somebody else can have an honest browser exceed `resets`, by cancelling what it fetches. It cannot the others.
"""

from __future__ import annotations

import enum
from typing import Final


class Budget(enum.Enum):
    """What is limited. The value is the word in the log."""

    CONTROL = "control_flood"
    SILENCE = "silent_flood"
    RESETS = "reset_flood"
    ERRORS = "error_flood"


BLAMELESS: Final = frozenset({Budget.RESETS})
"""Those that other people's pages can have an honest browser exceed."""

CONTROL_BURST: Final = 1000.0
CONTROL_RATE: Final = 50.0
"""Frames/s. A browser that pings and acknowledges each of many small messages sends a few."""
SILENCE_BURST: Final = 192 * 1024.0
"""bytes: a header block as long as any that is read, and PRIORITY frames of an old browser's tree beside it."""
SILENCE_RATE: Final = 2048.0
RESETS_BURST: Final = 500.0
RESETS_RATE: Final = 33.0
"""A page that is left cancels all that it has asked for: as many streams as there may be. A map that is moved does so
some times a second."""
ERRORS_BURST: Final = 50.0
ERRORS_RATE: Final = 1.0

EARNED_BY_REQUEST: Final = 8.0
EARNED_BY_PIECE: Final = 4.0
EARNED_BY_FRAME: Final = 4.0
"""For each FRAME bytes of payload: clients acknowledge a frame twice, for its stream and for the connection."""
FRAME: Final = 16384
CONTROL_PART: Final = 1024
"""bytes of payload that a client sends, for which it may send a frame of control."""
FRAME_HEAD: Final = 9
"""bytes in front of each frame (RFC 9113 section 4.1)."""
SILENCE_EARNED: Final = 256.0
"""bytes for each piece of payload that is sent, and one for each SILENCE_PART bytes of it."""
SILENCE_PART: Final = 64


class Calm:
    """The budgets of one connection; `now` is in monotonic seconds."""

    __slots__ = ("_control", "_errors", "_resets", "_seen", "_silence")

    def __init__(self, now: float) -> None:
        self._control = CONTROL_BURST
        self._silence = SILENCE_BURST
        self._resets = RESETS_BURST
        self._errors = ERRORS_BURST
        self._seen = now

    def __repr__(self) -> str:
        left = f"{self._control:.0f} control, {self._silence:.0f} bytes, {self._resets:.0f} resets"
        return f"<Calm {left}, {self._errors:.0f} errors left>"

    def pass_time(self, now: float) -> None:
        """To be called before anything is spent."""
        passed = now - self._seen
        if passed > 0.0:
            self._seen = now
            if self._control < CONTROL_BURST:
                self._control = min(CONTROL_BURST, self._control + passed * CONTROL_RATE)
            if self._silence < SILENCE_BURST:
                self._silence = min(SILENCE_BURST, self._silence + passed * SILENCE_RATE)
            if self._resets < RESETS_BURST:
                self._resets = min(RESETS_BURST, self._resets + passed * RESETS_RATE)
            if self._errors < ERRORS_BURST:
                self._errors = min(ERRORS_BURST, self._errors + passed * ERRORS_RATE)

    def control(self) -> Budget | None:
        """A frame of control has come. What it exceeds."""
        self._control -= 1.0
        return Budget.CONTROL if self._control < 0.0 else None

    def read(self, size: int) -> Budget | None:
        """`size` bytes were read. What it exceeds, unless what was in them earns as much: to be called after that."""
        self._silence -= size
        return Budget.SILENCE if self._silence < 0.0 else None

    def reset(self) -> Budget | None:
        """The client has cancelled a stream."""
        self._resets -= 1.0
        return Budget.RESETS if self._resets < 0.0 else None

    def error(self) -> Budget | None:
        """A stream was reset for what the client has sent."""
        self._errors -= 1.0
        return Budget.ERRORS if self._errors < 0.0 else None

    def asked(self, size: int) -> None:
        """A request has come, in a read of `size` bytes."""
        if self._control < CONTROL_BURST:
            self._control = min(CONTROL_BURST, self._control + EARNED_BY_REQUEST)
        if self._silence < SILENCE_BURST + size:
            self._silence = SILENCE_BURST + size

    def received(self, size: int) -> None:
        """So many bytes of payload have come in one frame."""
        self._control = min(CONTROL_BURST, self._control + size / CONTROL_PART)
        self._silence += size + FRAME_HEAD

    def unwanted(self, size: int) -> None:
        """A stream is reset on which so much payload may be on its way. What comes of it is seen by nobody."""
        self._silence += size

    def sent(self, size: int) -> None:
        """A piece of a response is on its way."""
        if self._control < CONTROL_BURST:
            frames = EARNED_BY_PIECE + EARNED_BY_FRAME * (size // FRAME)
            self._control = min(CONTROL_BURST, self._control + frames)
        if self._silence < SILENCE_BURST:
            self._silence = min(SILENCE_BURST, self._silence + SILENCE_EARNED + size / SILENCE_PART)
