"""A page far away: its parts, what is made of the browser's figures, and the line that makes it far."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from typing import Any

from bench.common.processes import ROOT
from bench.suites.page import Link, Service, markdown, problems, summary


def turn(asked: str, ms: float, **more: Any) -> dict[str, Any]:
    return {"asked": asked, "spoken": asked, "ms": ms, "parts": 3, "whole": 3, **more}


class Transport:
    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data


def test_the_service_has_the_page_its_parts_and_an_ear_for_the_browser() -> None:
    service, transport = Service(3, 500), Transport()
    link = Link(service)
    link.connection_made(transport)
    link.data_received(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /part/2.s")
    page = transport.written
    assert page.count(b"<img src=") == 3
    link.data_received(b"vg HTTP/1.1\r\nHost: a\r\n\r\n")
    head, _, body = transport.written[len(page) :].partition(b"\r\n\r\n")
    assert b"\r\nContent-Length: 500" in head
    assert (len(body), body[:5]) == (500, b"<svg ")
    link.data_received(b"GET /report?ms=12.5&spoken=h2 HTTP/1.1\r\n\r\n")
    assert service.reports.get_nowait() == {"ms": "12.5", "spoken": "h2"}


def test_figures_without_their_parts_or_their_protocol_are_none() -> None:
    good = [turn("h2", 100.0), turn("http/1.1", 200.0)]
    assert problems(good, 3) == []
    assert problems([*good, turn("h2", 1.0, spoken="http/1.1")], 3) == ["something else was spoken than was asked for"]
    assert problems([*good, turn("h2", 1.0, whole=2)], 3) == ["a page did not have all of its parts"]


def test_the_table_has_a_row_for_each_protocol() -> None:
    turns = [turn("h2", ms) for ms in (100.0, 300.0, 120.0)] + [turn("http/1.1", 200.0)]
    results = {
        "rows": [summary(spoken, turns) for spoken in ("h2", "http/1.1")], "parts": 3, "part_bytes": 500,
        "round_trip": 0.05, "rounds": 3, "cores": "c", "machine": {"load_average": 1.0}, "problems": [],
    }  # fmt: skip
    table = markdown(results)
    assert "| HTTP/2   |        120 |       100 |      300 |" in table
    assert "| HTTP/1.1 |        200 |" in table


def test_a_packet_takes_its_time_and_keeps_its_place() -> None:
    pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(2)]
    (here, one), (there, other) = pairs
    for each in (one, other):
        each.setblocking(False)
    descriptors = [one.fileno(), other.fileno()]
    argv = [sys.executable, "-m", "bench.load.slow_line", *map(str, descriptors), "0.05"]
    with subprocess.Popen(argv, pass_fds=descriptors, cwd=ROOT) as line:
        try:
            for sender, receiver in ((here, there), (there, here)):
                receiver.settimeout(20.0)
                began = time.monotonic()
                for packet in (b"first", b"second"):
                    sender.send(packet)
                assert [receiver.recv(100), receiver.recv(100)] == [b"first", b"second"]
                assert time.monotonic() - began >= 0.05
        finally:
            line.kill()
    for pair in pairs:
        for each in pair:
            each.close()
