"""Lines within their budgets, and a writer that neither blocks nor fails whoever logs."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Protocol, cast

import orjson
import pytest

from shield.model import Reason, Tier, Verdict
from shield.operator.log import EVENTS_PER_SECOND, PATH_CHARACTERS, AccessLog, LogSettings
from shield.operator.log_lines import FLUSH_SECONDS
from shield.operator.log_outputs import PIPE_BYTES, Descriptor, write_whole_lines
from shield.operator.log_writer import BUFFER_BYTES, LogWriter
from shield.operator.logging_bridge import LoggingBridge
from shield.policy.request import Request
from shield.policy.whereabouts import NOWHERE, Whereabouts

WALL = 1_800_000_000.0 - 7_654_321.5


class Clock(Protocol):
    def __call__(self) -> float: ...
    def advance(self, seconds: float) -> float: ...


class Lines:
    """A writer that keeps what it is given."""

    def __init__(self) -> None:
        self.raw: list[bytes] = []
        self.flushes = 0
        self.written = self.dropped = 0

    def put(self, line: bytes) -> None:
        self.raw.append(line)

    def flush(self) -> bool:
        self.flushes += 1
        return True

    def all(self) -> list[dict[str, Any]]:
        assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in self.raw)
        return [orjson.loads(line) for line in self.raw]


def make(clock: Clock, **settings: Any) -> tuple[AccessLog, Lines]:
    lines = Lines()
    return AccessLog(LogSettings(**settings), lines, clock, WALL), lines


def request(path: str = "/a?b", reason: Reason = Reason.OK) -> Request:
    client = SimpleNamespace(address="192.0.2.7", network="192.0.2.0/24", key=b"\x01\xff")
    made = Request(cast("Any", client), "GET", path, {}, None, False, None)
    made.verdict = Verdict(reason)
    made.tier = Tier.T1
    return made


def test_a_forwarded_request(clock: Clock) -> None:
    log, lines = make(clock)
    log.request(clock(), request(), 200, 0.0123456, 500, "http://127.0.0.1:9000", "abc-1")
    assert lines.all() == [
        {
            "time": "2027-01-15T08:00:00.000Z",
            "event": "request",
            "address": "192.0.2.7",
            "client": "01ff",
            "method": "GET",
            "path": "/a?b",
            "status": 200,
            "action": "forward",
            "reason": "ok",
            "tier": 1,
            "ms": 12.345,
            "sent": 500,
            "server": "http://127.0.0.1:9000",
            "id": "abc-1",
        }
    ]


def test_a_fault_stands_in_a_field_of_its_own_beside_the_server(clock: Clock) -> None:
    log, lines = make(clock)
    log.request(clock(), request(), 504, 60.0, 0, "http://127.0.0.1:9000", "abc-1", "upstream_timeout")
    (line,) = lines.all()
    assert (line["server"], line["fault"]) == ("http://127.0.0.1:9000", "upstream_timeout")


def test_the_program_stands_in_every_line_of_a_connection_over_tls(clock: Clock) -> None:
    log, lines = make(clock)
    log.request(clock(), request(), 200, 0.01, ja4="t13d1516h2_8daaf6152771_e5627efa2ab1")
    log.refused(clock(), request(reason=Reason.HONEYPOT), 403, ja4="t13d1516h2_8daaf6152771_e5627efa2ab1")
    log.fault(clock(), "192.0.2.7", "bad_host", 400, ja4="t13d1516h2_8daaf6152771_e5627efa2ab1")
    assert {line["ja4"] for line in lines.all()} == {"t13d1516h2_8daaf6152771_e5627efa2ab1"}
    assert len(lines.all()) == 3


def test_time_goes_on(clock: Clock) -> None:
    log, lines = make(clock)
    for step in (0.0, 0.25, 59.75):
        clock.advance(step)
        log.event("ban")
    assert [line["time"][11:] for line in lines.all()] == ["08:00:00.000Z", "08:00:00.250Z", "08:01:00.000Z"]


def test_hostile_paths_stay_one_line(clock: Clock) -> None:
    log, lines = make(clock)
    for path in ('/"\n{}', "/\udcff\udcfe", "/" + "x" * 100_000):
        log.request(clock(), request(path), 200, 0.1)
    quoted, undecodable, long = (line["path"] for line in lines.all())
    assert quoted == '/"\n{}'
    assert undecodable == "/\\udcff\\udcfe"
    assert len(long) == PATH_CHARACTERS


def test_refusals_are_sampled_and_the_rest_counted(clock: Clock) -> None:
    log, lines = make(clock, refused_per_second=3)
    refused = request(reason=Reason.CLIENT_RATE)
    for _ in range(1000):
        log.refused(clock(), refused, 429)
    log.flush()
    assert [line["event"] for line in lines.all()] == ["refused"] * 3 + ["suppressed"]
    assert lines.all()[-1] | {"time": ""} == {"time": "", "event": "suppressed", "of": "refused", "lines": 997}
    assert lines.all()[0]["reason"] == "client_rate"
    assert log.suppressed == 997


def test_a_limit_of_a_route_names_it(clock: Clock) -> None:
    log, lines = make(clock)
    refused = request(reason=Reason.ROUTE_RATE)
    refused.braked_by = "logins"
    log.refused(clock(), refused, 429)
    log.request(clock(), refused, 200, 0.1)
    log.flush()
    assert [(line["event"], line["route"]) for line in lines.all()] == [("refused", "logins"), ("request", "logins")]


def test_a_refusal_carries_tier_request_id_and_shape(clock: Clock) -> None:
    log, lines = make(clock)
    first, second, other = (request(reason=Reason.NEWCOMER) for _ in range(3))
    first.headers = {"Host": "a.example", "User-Agent": "one", "Accept": "*/*"}
    second.headers = {"Host": "a.example", "User-Agent": "two", "Accept": "*/*"}
    other.headers = {"User-Agent": "one", "Host": "a.example", "Accept": "*/*"}
    for each in (first, second, other):
        log.refused(clock(), each, 503, b"abc-1")
    one, two, three = lines.all()
    assert (one["tier"], one["id"]) == (1, "abc-1")
    assert one["shape"] == two["shape"] != three["shape"]


def test_a_ban_has_no_tier(clock: Clock) -> None:
    log, lines = make(clock)
    log.refused(clock(), request(reason=Reason.DENYLISTED), 403)
    assert {"tier", "id"}.isdisjoint(lines.all()[0])


def test_the_shape_of_a_line_that_is_left_out_is_not_computed(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes: list[object] = []
    monkeypatch.setattr("shield.operator.log.shape", lambda names, values: shapes.append(names) or "")
    log, _ = make(clock, refused_per_second=2)
    for _ in range(100):
        log.refused(clock(), request(), 429)
    assert len(shapes) == 2


def test_what_was_left_out_is_said_once_per_second(clock: Clock) -> None:
    log, lines = make(clock, refused_per_second=0)
    for _ in range(40):  # two seconds of flushes
        log.refused(clock(), request(), 429)
        log.flush()
        clock.advance(FLUSH_SECONDS)
    reports = [line["lines"] for line in lines.all()]
    assert len(reports) == 2
    log.close()
    assert sum(line["lines"] for line in lines.all()) == 40


def test_the_budget_is_renewed_each_second(clock: Clock) -> None:
    log, lines = make(clock, refused_per_second=2)
    for _ in range(3):
        for _ in range(5):
            log.refused(clock(), request(), 429)
        clock.advance(1.0)
    assert [line["event"] for line in lines.all()].count("refused") == 6


def test_a_flood_of_refusals_does_not_hide_the_failures(clock: Clock) -> None:
    log, lines = make(clock, refused_per_second=2)
    for _ in range(100):
        log.refused(clock(), request(), 429)
    for _ in range(3):
        log.fault(clock(), "192.0.2.7", "malformed_head", 400, "x" * 5000)
    log.flush()
    assert [line["event"] for line in lines.all()] == ["refused"] * 2 + ["fault"] * 2 + ["suppressed"] * 2
    assert lines.all()[2]["fault"] == "malformed_head"
    assert len(lines.all()[2]["detail"]) == PATH_CHARACTERS
    assert [(line["of"], line["lines"]) for line in lines.all()[4:]] == [("refused", 98), ("fault", 1)]


def test_requests_that_failed_are_logged_even_where_the_others_are_not(clock: Clock) -> None:
    log, lines = make(clock, requests=False, refused_per_second=2)
    log.request(clock(), request(), 200, 0.1)
    for _ in range(5):
        log.request(clock(), request(), 504, 60.0, fault="upstream_timeout")
    assert [line["fault"] for line in lines.all()] == ["upstream_timeout"] * 2


def test_a_flood_of_one_event_does_not_hide_another(clock: Clock) -> None:
    log, lines = make(clock)
    for number in range(EVENTS_PER_SECOND + 5):
        log.event("ban", address=f"192.0.2.{number}")
    log.event("attack_onset", pressure=0.5)
    log.flush()
    names = [line["event"] for line in lines.all()]
    assert names == ["ban"] * EVENTS_PER_SECOND + ["attack_onset", "suppressed"]
    assert lines.all()[-1] | {"time": ""} == {"time": "", "event": "suppressed", "of": "ban", "lines": 5}


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        ("debug", ["request", "refused", "library", "ban", "attack"]),
        ("info", ["request", "refused", "ban", "attack"]),
        ("warning", ["attack"]),
        ("error", []),
        ("off", []),
    ],
)
def test_levels(clock: Clock, level: str, shown: list[str]) -> None:
    log, lines = make(clock, level=level)
    log.request(clock(), request(), 200, 0.1)
    log.refused(clock(), request(), 429)
    log.event("library", "debug")
    log.event("ban")
    log.event("attack")
    log.flush()
    assert [line["event"] for line in lines.all()] == shown


def test_requests_can_be_left_out(clock: Clock) -> None:
    log, lines = make(clock, requests=False)
    log.request(clock(), request(), 200, 0.1)
    log.refused(clock(), request(), 429)
    assert [line["event"] for line in lines.all()] == ["refused"]


def test_strange_values_do_not_raise(clock: Clock) -> None:
    log, lines = make(clock)
    log.event("exception", error=ValueError("x"), nested={"\udcff": ["\udcff", {1, 2}]}, big=2**80)
    assert lines.all()[0]["error"] == "x"


def test_an_unexpected_error_brings_its_traceback(clock: Clock) -> None:
    log, lines = make(clock)
    try:
        raise RuntimeError("boom")
    except RuntimeError as error:
        log.exception("while testing", error)
    log.exception("nothing known", None)
    assert "RuntimeError: boom" in lines.all()[0]["traceback"]
    assert lines.all()[1]["traceback"] == ""


def test_libraries_are_heard(clock: Clock) -> None:
    log, lines = make(clock)
    bridge = LoggingBridge(log)
    bridge.install()
    try:
        logging.getLogger("asyncio").warning("slow %s", "callback")
        logging.getLogger("asyncio").info("not of note")
        try:
            raise RuntimeError("boom")
        except RuntimeError:
            logging.getLogger("aiohttp").exception("failed")
    finally:
        bridge.remove()
    first, second = lines.all()
    assert (first["logger"], first["message"], first["level"]) == ("asyncio", "slow callback", "warning")
    assert "RuntimeError: boom" in second["traceback"]


async def test_one_timer_flushes_many_lines(clock: Clock) -> None:
    calls: list[tuple[float, Callable[[], None]]] = []
    lines = Lines()
    log = AccessLog(LogSettings(), lines, clock, WALL, lambda seconds, call: calls.append((seconds, call)))
    log.event("ban")
    log.event("attack")
    assert [seconds for seconds, _ in calls] == [FLUSH_SECONDS]
    calls.pop()[1]()
    assert lines.flushes == 1
    log.event("ban")
    assert len(calls) == 1


async def test_events_from_other_threads_are_handed_to_the_loop(clock: Clock) -> None:
    log, lines = make(clock)
    loop = asyncio.get_running_loop()
    log.attach(loop)
    await asyncio.to_thread(log.event, "history_not_saved", rows=3)
    while not lines.raw:
        await asyncio.sleep(0)
    assert lines.all()[0]["rows"] == 3


# The log writer.


class Disk:
    """os.write's stand-in: takes what `take` allows, or raises what it is told to."""

    def __init__(self) -> None:
        self.written = bytearray()
        self.errors: list[OSError] = []
        self.take = 1 << 30
        self.open = threading.Event()
        self.open.set()
        self.entered = threading.Event()

    def write(self, fd: int, data: bytes | memoryview) -> int:
        self.entered.set()
        assert self.open.wait(10)
        if self.errors:
            raise self.errors.pop(0)
        taken = bytes(data[: self.take])
        self.written += taken
        return len(taken)


def test_writes_in_order_through_short_writes() -> None:
    disk = Disk()
    disk.take = 3
    writer = LogWriter(Descriptor(2, disk.write))
    for number in range(50):
        writer.put(b"line %d\n" % number)
        writer.flush()
    writer.close()
    assert bytes(disk.written) == b"".join(b"line %d\n" % number for number in range(50))
    assert (writer.written, writer.dropped) == (50, 0)


def test_a_stalled_reader_costs_lines_and_no_time() -> None:
    disk = Disk()
    disk.open.clear()
    writer = LogWriter(Descriptor(2, disk.write))
    line = b"x" * 1023 + b"\n"
    writer.put(line)
    assert writer.flush()
    assert disk.entered.wait(10)  # the writer is stuck now
    for _ in range(2 * BUFFER_BYTES // len(line)):
        writer.put(line)
        assert not writer.flush()
    assert writer.dropped == BUFFER_BYTES // len(line)
    disk.open.set()
    writer.close(10)
    assert writer.written == 1 + BUFFER_BYTES // len(line)


@pytest.mark.parametrize("number", [errno.EPIPE, errno.ENOSPC, errno.EIO])
def test_a_failing_disk_costs_lines_and_nothing_else(number: int) -> None:
    disk = Disk()
    disk.errors.append(OSError(number, os.strerror(number)))
    writer = LogWriter(Descriptor(2, disk.write))
    writer.put(b"lost\n")
    writer.put(b"lost too\n")
    writer.flush()
    writer.close(10)
    assert (writer.written, writer.dropped) == (0, 2)
    writer.put(b"after the end\n")
    assert writer.dropped == 3


def test_a_torn_line_does_not_spoil_the_next() -> None:
    written = bytearray()
    script: list[int | OSError] = [9, OSError(errno.ENOSPC, "full"), 100]

    def write(fd: int, data: bytes | memoryview) -> int:
        step = script.pop(0)
        if isinstance(step, OSError):
            raise step
        written.extend(data[:step])
        return min(step, len(data))

    writer = LogWriter(Descriptor(2, write))
    writer._write_out(bytearray(b"whole\ntorn apart\n"), 2)
    writer._write_out(bytearray(b"next\n"), 1)
    assert bytes(written).splitlines() == [b"whole", b"tor", b"next"]
    assert (writer.written, writer.dropped) == (2, 1)


def test_a_disk_that_stays_full_counts_each_line_once() -> None:
    """Each further batch that failed counted one line too many, and what stopped at a line's end left an empty one."""
    written = bytearray()
    full = OSError(errno.ENOSPC, "full")
    script: list[int | OSError] = [6, full, 3, full, full, full, 100]

    def write(fd: int, data: bytes | memoryview) -> int:
        step = script.pop(0)
        if isinstance(step, OSError):
            raise step
        written.extend(data[:step])
        return min(step, len(data))

    writer = LogWriter(Descriptor(2, write))
    writer._write_out(bytearray(b"whole\nlost\n"), 2)  # stops at the end of a line
    assert (writer.written, writer.dropped) == (1, 1)
    writer._write_out(bytearray(b"torn\n"), 1)
    writer._write_out(bytearray(b"lost\nlost\n"), 2)
    writer._write_out(bytearray(b"lost\n"), 1)
    assert (writer.written, writer.dropped) == (1, 5)
    writer._write_out(bytearray(b"next\n"), 1)
    assert bytes(written) == b"whole\ntor\nnext\n"
    assert (writer.written, writer.dropped) == (2, 5)


def test_a_full_pipe_is_waited_for_and_then_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shield.operator.log_writer.STALL_SECONDS", 0.01)
    reader, full = os.pipe()
    os.set_blocking(full, False)
    try:
        writer = LogWriter(Descriptor(full))
        for _ in range(200):
            writer.put(b"x" * 1023 + b"\n")
        writer.close(10)
        assert writer.written + writer.dropped == 200
        assert 1 <= writer.dropped < 200
        assert len(os.read(reader, 1 << 20)) >= 1024 * writer.written
    finally:
        os.close(reader)
        os.close(full)


def test_lines_say_which_worker_they_are_from(clock: Clock) -> None:
    lines = Lines()
    AccessLog(LogSettings(), lines, clock, WALL, worker=0).event("started")
    AccessLog(LogSettings(), lines, clock, WALL).event("started")
    assert [line.get("worker") for line in lines.all()] == [0, None]


def test_several_processes_tear_none_of_each_other_s_lines() -> None:
    """One write holds whole lines, and no more of them than a pipe takes undivided."""
    reader, writer = os.pipe()
    try:
        line = b"x" * 99 + b"\n"
        assert write_whole_lines(writer, line * 50) == PIPE_BYTES // 100 * 100
        long = b"y" * PIPE_BYTES + b"\n"
        assert write_whole_lines(writer, long + line) == len(long)
        assert write_whole_lines(writer, memoryview(line * 2)) == 200
        assert os.read(reader, 1 << 16) == line * (PIPE_BYTES // 100) + long + line * 2
    finally:
        os.close(reader)
        os.close(writer)


def test_lines_about_requests_say_where_the_address_is_as_far_as_that_is_known(clock: Clock) -> None:
    log, lines = make(clock)
    for there in (Whereabouts(64500, "XX", "Example Net"), Whereabouts(64500), Whereabouts(country="XX"), NOWHERE):
        log.where = {"192.0.2.7": there}.__getitem__
        log.request(clock(), request(), 200, 0.01)
        log.refused(clock(), request(reason=Reason.DENYLISTED), 403)
        log.refused_unread(clock(), "192.0.2.7", Verdict(Reason.DENYLISTED), 403)
        log.fault(clock(), "192.0.2.7", "bad_host", 400)
    found = [(line.get("asn"), line.get("country")) for line in lines.all()]
    assert found == [(64500, "XX")] * 4 + [(64500, None)] * 4 + [(None, "XX")] * 4 + [(None, None)] * 4
