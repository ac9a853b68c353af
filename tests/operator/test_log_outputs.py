"""Where lines go: files that are renamed under the writer, syslog daemons that go and come."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shield.errors import StartError
from shield.operator import log_places
from shield.operator.log import LogSettings
from shield.operator.log_outputs import MOST_SYSLOG_BYTES, Descriptor, File, Syslog
from shield.operator.log_places import LogPlaces
from shield.operator.log_writer import LogWriter


class Failures:
    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def __call__(self, path: str, error: str) -> None:
        self.told.append((path, error))


@pytest.fixture
def failures() -> Failures:
    return Failures()


def test_a_file_that_was_renamed_is_opened_anew_by_itself(tmp_path: Path, failures: Failures) -> None:
    path = tmp_path / "access.log"
    path.write_bytes(b"before\n")
    file = File(str(path), failures)
    assert file.write(b"one\n") == 4
    path.rename(tmp_path / "access.log.1")
    file.write(b"two\n")
    path.unlink()
    file.write(b"three\n")
    other = tmp_path / "other"
    other.write_bytes(b"")
    other.rename(path)
    file.write(b"four\n")
    assert (tmp_path / "access.log.1").read_bytes() == b"before\none\n"
    assert path.read_bytes() == b"four\n"
    assert path.stat().st_mode & 0o777 == 0o644  # of the file that was put there
    file.close()
    assert failures.told == []


def test_a_new_file_is_not_for_everybody(tmp_path: Path, failures: Failures) -> None:
    umask = os.umask(0)
    try:
        File(str(tmp_path / "new.log"), failures).close()
    finally:
        os.umask(umask)
    assert (tmp_path / "new.log").stat().st_mode & 0o777 == 0o640


def test_reopening_on_request_is_for_the_next_line(tmp_path: Path, failures: Failures) -> None:
    path = tmp_path / "access.log"
    file = File(str(path), failures)
    before = os.fstat(file.fileno())
    file.reopen()
    file.write(b"line\n")
    assert os.fstat(file.fileno()).st_ino == before.st_ino
    assert path.read_bytes() == b"line\n"
    file.close()


def test_where_it_cannot_be_opened_anew_the_old_one_is_written_on_and_that_is_said_once(
    tmp_path: Path, failures: Failures
) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    file = File(str(folder / "access.log"), failures)
    folder.rename(tmp_path / "gone")
    for _ in range(3):
        file.write(b"line\n")
    assert (tmp_path / "gone" / "access.log").read_bytes() == b"line\n" * 3
    assert failures.told == [(str(folder / "access.log"), "No such file or directory")]
    folder.mkdir()
    file.write(b"again\n")
    assert (folder / "access.log").read_bytes() == b"again\n"
    file.close()


def test_a_pipe_that_nobody_reads_is_not_waited_for(tmp_path: Path, failures: Failures) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StartError, match=r"cannot write the log to .*pipe: No such device"):
        File(str(tmp_path / "pipe"), failures)
    with pytest.raises(StartError, match="No such file or directory"):
        File(str(tmp_path / "none" / "access.log"), failures)


def test_several_processes_append_to_one_file(tmp_path: Path, failures: Failures) -> None:
    path = tmp_path / "access.log"
    files = [File(str(path), failures) for _ in range(2)]
    for number in range(50):
        files[number % 2].write(b"%d\n" % number * 100)
    assert path.read_bytes() == b"".join(b"%d\n" % number * 100 for number in range(50))
    for file in files:
        file.close()


Daemon = Callable[[], socket.socket]


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """Starts a syslog daemon at tmp_path/log, in the place of one from before."""
    running: list[socket.socket] = []

    def start() -> socket.socket:
        path = tmp_path / "log"
        path.unlink(missing_ok=True)
        while running:
            running.pop().close()
        made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        made.settimeout(5)
        made.bind(str(path))
        running.append(made)
        return made

    yield start
    for each in running:
        each.close()


MESSAGE = re.compile(rb"<(\d+)>([A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d) shield\[(\d+)\]: (.*)", re.DOTALL)


def read(server: socket.socket) -> tuple[int, bytes]:
    """The priority and the text of a message as RFC 3164 has it."""
    found = MESSAGE.fullmatch(server.recv(1 << 16))
    assert found is not None
    assert int(found[3]) == os.getpid()
    return int(found[1]), found[4]


def test_a_line_is_a_message_of_its_severity(tmp_path: Path, daemon: Daemon) -> None:
    server = daemon()
    syslog = Syslog(str(tmp_path / "log"), "local3")
    line = b'{"time":"2027-01-15T08:00:00.000Z","event":"ban","level":"warning","note":"\\"level\\":\\"error\\""}'
    lines = line + b'\n\n{"level":"nonsense"}\nplain\n'
    while lines:
        lines = lines[syslog.write(lines) :]
    assert read(server) == (19 << 3 | 4, line)
    assert read(server)[0] == 19 << 3 | 6
    assert read(server) == (19 << 3 | 6, b"plain")
    syslog.close()


def test_what_a_client_sends_has_no_say_in_it(tmp_path: Path, daemon: Daemon) -> None:
    server = daemon()
    syslog = Syslog(str(tmp_path / "log"))
    syslog.write(b'192.0.2.7 - - [now] "GET /\\x22level\\x22:\\x22error\\x22 HTTP/1.1" 200 0 "-" "-"\n')
    assert read(server)[0] == 3 << 3 | 6
    syslog.close()


def test_a_daemon_that_is_started_anew_gets_the_next_line(tmp_path: Path, daemon: Daemon) -> None:
    daemon()
    writer = LogWriter(Syslog(str(tmp_path / "log")))
    server = daemon()
    writer.put(b"after\n")
    writer.flush()
    assert read(server)[1] == b"after"
    writer.close()
    writer.output.close()
    assert (writer.written, writer.dropped) == (1, 0)


def test_a_daemon_that_has_gone_costs_lines_and_nothing_else(tmp_path: Path, daemon: Daemon) -> None:
    server = daemon()
    writer = LogWriter(Syslog(str(tmp_path / "log")))
    server.close()
    writer.put(b"lost\n")
    writer.put(b"lost too\n")
    writer.flush()
    writer.close(10)
    writer.output.close()
    assert (writer.written, writer.dropped) == (0, 2)


def test_a_long_line_is_cut(tmp_path: Path, daemon: Daemon) -> None:
    server = daemon()
    syslog = Syslog(str(tmp_path / "log"))
    assert syslog.write(b"x" * 20_000 + b"\nnext\n") == 20_001
    assert len(server.recv(1 << 16)) == MOST_SYSLOG_BYTES
    syslog.close()


def test_nobody_at_the_socket_is_a_failed_start(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="cannot send the log to syslog"):
        Syslog(str(tmp_path / "log"))


def test_places(tmp_path: Path, failures: Failures, daemon: Daemon) -> None:
    """One writer for each place, whatever uses it; a config that is read again may name others."""
    daemon()
    places = LogPlaces(True, failures)
    stderr, none = places.writers(LogSettings())
    assert none is None
    assert isinstance(stderr.output, Descriptor)
    file = LogSettings(access_output=str(tmp_path / "access.log"))
    first, access = places.writers(file)
    assert first is stderr
    assert access is places.writers(file)[1]
    assert access is not None
    syslog, access = places.writers(LogSettings(output=f"syslog:{tmp_path}/log", access_output="stderr"))
    assert isinstance(syslog.output, Syslog)
    assert access is stderr
    assert places.writers(LogSettings(output=str(tmp_path / "a.log"), access_output=str(tmp_path / "a.log")))[1] is None
    assert sorted(places.reopen()) == [str(tmp_path / "a.log"), str(tmp_path / "access.log")]
    places.close()
    assert LogSettings().output == log_places.STDERR


@pytest.mark.parametrize(
    ("place", "allowed"),
    [
        ("access.log", "an absolute path"),
        ("file", "an absolute path"),
        ("syslog:log", "an absolute path"),
        ("/nowhere/at/all/access.log", "the directory /nowhere/at/all does not exist"),
        ("/", "this is a directory"),
    ],
)
def test_places_that_are_none(place: str, allowed: str) -> None:
    for key in ("output", "access_output"):
        ((at, said),) = LogSettings(**{key: place}).complaints()
        assert at == (key,)
        assert allowed in said
    assert next(iter(LogSettings(output="").complaints()))[0] == ("output",)
    assert list(LogSettings(access_output="stderr", output="syslog").complaints()) == []
