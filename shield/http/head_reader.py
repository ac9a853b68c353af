"""The heads of one client connection: bytes -> Head, or what is wrong with them.

Each head is read at the first step of this ladder that fits, from the cheapest down:

    same bytes     as the last head              that one is served again              ClientConnection.data_received()
    same fields    another target                only the target is read               read(), PlainHeads.again()
    other cookie   and maybe another target      only these are read                   read(), PlainHeads.with_cookie()
    plain          what nearly all heads are     its lines are looked up by bytes      PlainHeads.read()
    the rest       everything else               line by line, by the grammar         Examiner.examine()

The steps differ in cost only: what one takes, the one below it would take with the same meaning, and what one refuses,
it would refuse for the same reason. Tests hold them against each other (test_head_reader.py, test_plain_head.py).
They pay because clients repeat themselves: browsers send the same fields for each part of a page, and programs and
floods the same bytes.

A head is cut out at CRLF CRLF and read alone, so a bad request behind a good one loses nothing, and nothing of a
message's body reaches the next head.

Bytes pinned per connection: a head that is not whole (`http.max_head_bytes`), and the last head (`REPEATED_LIMIT`, and
as much again parsed).
"""

from __future__ import annotations

from typing import Final

from shield.http.grammar import BARE_LF, TCHARS
from shield.http.head import Head
from shield.http.plain_head import PlainHeads
from shield.http.rules import Broken, Rule

REPEATED_LIMIT: Final = 4096
"""bytes of a head, request line and fields, that is remembered in case the next one repeats it. Browsers send 500 to
2,000."""

CR, LF = b"\r\n"
_COOKIE: Final = b"\r\nCookie: "


class HeadReader:
    """Reads the heads of one connection. `kept` is the last one if it was plain, `last` its bytes."""

    __slots__ = ("_line", "_plain", "_scanned", "blank", "kept", "last", "partial")

    def __init__(self, plain: PlainHeads) -> None:
        """`plain`: what all connections share, the limits among it."""
        self._plain = plain
        self.kept: Head | None = None
        self.last = b""
        self._line = 0  # where the first line of `last` ends
        self.partial: bytearray | None = None  # what there is of a head that comes in pieces
        self._scanned = 0
        self.blank = False  # an empty line has come since the last head

    def forget(self) -> None:
        """Keep nothing of the last head. The next one is read without it."""
        self.kept = None
        self.last = b""

    def collect(self, data: bytes, at: int) -> tuple[bytes | None, int]:
        """Read on from data[at:] a head that is not whole there, or that an empty line precedes.

        Gives the head once it is whole, and the index behind what was read. `partial` is None when none has begun, as
        after an empty line (RFC 9112 section 2.2 allows for one). The pieces are searched once, so a byte at a time
        costs no more. Raises Broken.
        """
        partial = self.partial
        if partial is None:
            if data[at] not in TCHARS and data[at] != CR:
                raise Broken(Rule.BARE_LF if data[at] == LF else Rule.NOT_HTTP)
            partial = self.partial = bytearray()
            self._scanned = 0
        if partial == b"\r" or (data[at] == CR and not partial):
            return None, self._empty_line(partial, data, at)
        most = self._plain.examiner.max_head
        had = len(partial)
        partial += data[at : at + most - had + 1]
        stop = partial.find(b"\r\n\r\n", max(0, self._scanned - 3))
        if stop < 0:
            if BARE_LF.search(partial, self._scanned) is not None:
                raise Broken(Rule.BARE_LF)
            if len(partial) > most:
                raise Broken(Rule.TARGET_SIZE if b"\r\n" not in partial else Rule.HEAD_SIZE)
            self._scanned = len(partial)
            return None, len(data)
        self.partial = None
        return bytes(partial[: stop + 4]), at + stop + 4 - had

    def _empty_line(self, partial: bytearray, data: bytes, at: int) -> int:
        """The CRLF that begins in `partial` or at data[at]: one is allowed before a head."""
        if not partial:
            at += 1
            if at == len(data):
                partial += b"\r"
                return at
        if data[at] != LF:
            raise Broken(Rule.CONTROL_CHARACTER)
        if self.blank:
            raise Broken(Rule.EMPTY_LINE)
        self.blank = True
        self.partial = None
        return at + 1

    def read(self, data: bytes) -> Head:
        """The one whole head in `data`, by the ladder. Raises Broken."""
        self.blank = False
        plain = self._plain
        stop = data.find(b"\r\n")
        most = plain.examiner.max_head
        if len(data) > most:
            raise Broken(Rule.TARGET_SIZE if stop > most else Rule.HEAD_SIZE)
        head = self.kept
        if head is not None and data[stop:] == self.last[self._line :] and plain.again(head, data, stop):
            if len(data) > REPEATED_LIMIT:  # by its target: what is asked for next is read without it
                self.kept = None
                self.last = b""
            else:
                self.last = data
                self._line = stop
            return head
        if head is not None:
            head = self._but_for_cookie(head, data, stop)
        if head is None:
            head = plain.read(data, stop)
        self.kept = head
        if head is None:
            self.last = b""
            return plain.examiner.examine(data, stop)
        if len(data) <= REPEATED_LIMIT:
            self.last = data
            self._line = stop
        else:
            self.kept = None
            self.last = b""
        return head

    def _but_for_cookie(self, head: Head, data: bytes, stop: int) -> Head | None:
        """The head in `data` if it differs from the last, `head`, in its only Cookie, and maybe in its target."""
        last, line = self.last, self._line
        at = last.find(_COOKIE, line) + 2
        end = last.find(b"\r\n", at)
        shift = stop - line
        rest = len(data) - len(last) + end  # where what follows the cookie begins in `data`
        if (
            at < line
            or rest < at + shift
            or data[stop : at + shift + 8] != last[line : at + 8]
            or data[rest:] != last[end:]
            or not head.cookie
            or last[at + 8 : end] != head.cookie  # there are two, or whitespace
        ):
            return None
        return self._plain.with_cookie(head, data, stop, at + shift, rest)
