"""A request's body between client and server."""

from __future__ import annotations

from shield.exchange.body import RequestBody
from shield.wire.transport import Backlog


def test_what_was_sent_whole_can_be_sent_again() -> None:
    backlog = Backlog()
    body = RequestBody(10, backlog)
    body.add([b"abc", b"de"], False)
    assert (body.size, body.full()) == (5, False)
    body.add([b"fghij"], True)
    assert (body.size, body.full(), body.done) == (10, True, True)
    assert body.in_memory()
    assert body.kept == backlog.bodies == 10
    assert (body.take(), body.empty()) == ([b"abc", b"de", b"fghij"], True)
    body.rewind()
    assert (body.take(), body.replayable) == ([b"abc", b"de", b"fghij"], True)


def test_what_was_sent_in_part_is_not_kept() -> None:
    backlog = Backlog()
    body = RequestBody(10, backlog)
    body.add([b"abc"], False)
    assert repr(body) == "<RequestBody 3 bytes and more>"
    assert body.take() == [b"abc"]
    body.forget()
    assert (body.pieces, body.replayable, body.kept, backlog.bodies) == ([], False, 0, 0)
    body.passed([b"d"])
    body.add([b"e"], True)
    assert (body.take(), body.size) == ([b"e"], 5)
    assert repr(body) == "<RequestBody 5 bytes>"
