"""A page's visitors speak TLS to the plain port, and what they are told is counted."""

from __future__ import annotations

import time

from bench.common import guard
from bench.load import hellos
from bench.load.hellos import Pictures
from tests.bench.serving import Answering, listening

ALERT = b"\x15\x03\x01\x00\x02\x02\x28"


async def test_each_visitor_opens_eight_connections_from_the_address_it_was_given() -> None:
    heard: list[tuple[str, bytes]] = []
    async with listening(lambda: Answering(ALERT, heard)) as port:
        site = guard.Target("127.0.0.1", port)
        result = await Pictures(site, ["127.2.0.10", "127.3.0.1"], rate=800.0).run(time.monotonic(), 0.03)
    assert (result["sent"], result["statuses"]) == (24, {"alert": 24})
    assert [host for host, _ in heard].count("127.2.0.10") == 16
    assert {hello[0] for _, hello in heard} == {0x16}


def test_what_is_sent_is_what_a_browser_sends() -> None:
    assert hellos.client_hello("site.example")[:1] == b"\x16"
    assert b"site.example" in hellos.client_hello("site.example")


def test_an_answer_is_told_from_an_alert() -> None:
    answers = {b"": "nothing", b"HTTP/1.1 400 Bad\r\n": "400", b"\x15\x03": "alert", b"\x16\x03": "other"}
    assert {answer: hellos.said(answer) for answer in answers} == answers
