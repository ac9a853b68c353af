"""A request's body between client and server."""

from __future__ import annotations

from shield.exchange.body import RequestBody


def test_what_was_sent_whole_can_be_sent_again() -> None:
    body = RequestBody(10)
    body.add([b"abc", b"de"], False, keep=True)
    assert (body.size, body.full()) == (5, False)
    body.add([b"fghij"], True, keep=True)
    assert (body.size, body.full(), body.done) == (10, True, True)
    body.sent()
    assert (body.pieces, body.replayable) == ([b"abc", b"de", b"fghij"], True)


def test_what_was_sent_in_part_is_not_kept() -> None:
    body = RequestBody(10)
    body.add([b"abc"], False, keep=True)
    assert repr(body) == "<RequestBody 3 bytes and more>"
    body.sent()
    assert (body.pieces, body.replayable) == ([], False)
    body.add([b"de"], True, keep=False)
    assert (body.pieces, body.size) == ([], 5)
    assert repr(body) == "<RequestBody 5 bytes>"
