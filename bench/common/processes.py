"""The processes of a run: where they are pinned, when they answer, what CPU time they used, how they end.

Each is started in a session of its own, so that its children (nginx's worker, Shield's workers) can be counted and
ended with it. Nothing here ends a process that it did not start.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.common.guard import loopback

TICKS: Final = os.sysconf("SC_CLK_TCK")
PAGE: Final = os.sysconf("SC_PAGE_SIZE")
ROOT: Final = Path(__file__).resolve().parents[2]
OWN_SHARE: Final = Path("/proc/self/autogroup")  # empty for what is still in the kernel's first session


@dataclass(frozen=True, slots=True)
class Cores:
    """Which cores each part of a run gets. The proxy under test always has one of its own."""

    proxy: frozenset[int]
    load: frozenset[int]
    origin: frozenset[int]

    def describe(self) -> str:
        names = {"proxy": self.proxy, "load": self.load, "origin": self.origin}
        if shutil.which("taskset") is None:
            return "nothing pinned: taskset is missing"
        return ", ".join(f"{name} on {','.join(map(str, sorted(cores)))}" for name, cores in names.items())


def share_out(available: Sequence[int]) -> Cores:
    """The last core for the proxy, one for the load, up to two for the origin; on two cores load and origin share.

    On a single core everything shares it: the figures then say little, and `Cores.describe` shows why.
    """
    cores = sorted(available)
    proxy, rest = cores[-1:], cores[:-1] or cores
    load, origin = (rest[-1:], rest[:-1][-2:]) if len(rest) > 1 else (rest, rest)
    return Cores(frozenset(proxy), frozenset(load), frozenset(origin))


def own_cores() -> list[int]:
    return sorted(os.sched_getaffinity(0))


def yield_to_others() -> None:
    """Have this process take only what others leave of its core: SCHED_IDLE, and where the kernel shares a core between
    sessions first, the least share for this one (sched(7))."""
    if hasattr(os, "SCHED_IDLE"):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        with contextlib.suppress(OSError):
            OWN_SHARE.write_text("19")


def raise_file_limit() -> int:
    """As many descriptors as the system allows; returns how many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def free_ports(number: int, host: str = "127.0.0.1") -> list[int]:
    """Ports that nothing listens on now. All are held at once, so they differ."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for held in sockets:
            held.bind((loopback(host), 0))
        return [held.getsockname()[1] for held in sockets]


def group_cpu_seconds(leader: int) -> float:
    """User and system time so far of every process in the session that `leader` leads, reaped children included.

    From /proc/PID/stat (proc(5), fields 5 and 14 to 17); its resolution is one clock tick, 10 ms.
    """
    return sum(sum(map(int, fields[11:15])) for _, fields in _session(leader)) / TICKS


def run_seconds(leader: int) -> float:
    """Time on a core so far of every living process in the session that `leader` leads: /proc/PID/task/TID/schedstat,
    in nanoseconds, where group_cpu_seconds() counts in ticks."""
    total = 0
    for process, _ in _session(leader):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            total += sum(int((task / "schedstat").read_text().split()[0]) for task in (process / "task").iterdir())
    return total / 1e9


def _session(leader: int) -> Iterator[tuple[Path, list[str]]]:
    """Each process in the session that `leader` leads: its directory in /proc, and the fields of its stat from the
    third on."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) == leader:
                    yield entry, fields


def group_resident_bytes(leader: int) -> int:
    """Resident bytes of every process in the session that `leader` leads: /proc/PID/statm (proc(5), field 2)."""
    pages = 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) == leader:  # session
                    pages += int((entry / "statm").read_text().split()[1])
    return pages * PAGE


class Process:
    """A server that we started. `log` holds what it wrote."""

    def __init__(self, name: str, popen: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self.popen = popen
        self.log = log

    @property
    def pid(self) -> int:
        return self.popen.pid

    def cpu_seconds(self) -> float:
        return group_cpu_seconds(self.pid)

    def wrote(self, most: int = 2000) -> str:
        return self.log.read_text(errors="replace")[-most:]

    def stop(self, grace: float = 3.0) -> None:
        """SIGTERM, then after `grace` seconds SIGKILL; then whatever is left of its session."""
        if self.popen.poll() is None:
            self.popen.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.popen.wait(grace)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)  # its own group: start_new_session
        self.popen.wait()


def pinned(argv: Sequence[str], cores: frozenset[int]) -> list[str]:
    """The command that runs `argv` on `cores` and under the same pid: taskset(1), which replaces itself by it.

    The child cannot be pinned between fork and exec from here, because the progress bar is a thread; and pinned later,
    nginx's worker could have started before. Without taskset the run is not pinned, and `Cores.describe` says so.
    """
    return ["taskset", "-c", ",".join(map(str, sorted(cores))), *argv] if shutil.which("taskset") else list(argv)


def launch(
    name: str, argv: Sequence[str], folder: Path, cores: frozenset[int], environment: Mapping[str, str] | None = None
) -> Process:
    """Start `argv` pinned to `cores`, its output in `folder`. It can import bench and shield."""
    log = folder / f"{name}.log"
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **(environment or {})}
    with log.open("wb") as output:
        popen = subprocess.Popen(
            pinned(argv, cores),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=variables,
            start_new_session=True,
        )
    prefer_alike(popen.pid)
    return Process(name, popen, log)


def prefer_alike(pid: int) -> None:
    """Give a process in a session of its own the share of the cores that this one's session has. Each session begins
    with the usual one (sched(7), "The autogroup feature"), so a run of high priority would measure one of the usual."""
    with contextlib.suppress(OSError):
        nice = OWN_SHARE.read_text().rpartition("nice ")[2].strip()
        if nice not in {"", "0"}:
            Path(f"/proc/{pid}/autogroup").write_text(nice)


def keep_logs(folder: Path, kept: Path, prefix: str) -> None:
    """Copy every log under a run's folder, and what the load reported, to one that stays."""
    kept.mkdir(parents=True, exist_ok=True)
    for log in [*folder.rglob("*.log"), *folder.glob("*.json")]:
        (kept / f"{prefix}-{log.name}").write_bytes(log.read_bytes())


class NotAnswering(RuntimeError):
    """A server did not come up, with what it wrote."""


def unverified() -> ssl.SSLContext:
    """For a client on loopback: TLS 1.3 with whoever answers, for the certificate was made for this run."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def ask(
    port: int, path: str = "/", host: str = "127.0.0.1", timeout: float = 5.0, tls: bool = False
) -> tuple[int, bytes]:
    """One GET over a connection of its own: status and everything after the head. Raises OSError."""
    with contextlib.ExitStack() as stack:
        connection = stack.enter_context(socket.create_connection((loopback(host), port), timeout))
        if tls:
            connection = stack.enter_context(unverified().wrap_socket(connection, suppress_ragged_eofs=True))
        connection.sendall(
            f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUser-Agent: bench\r\nConnection: close\r\n\r\n".encode()
        )
        chunks = bytearray()
        while chunk := connection.recv(65_536):
            chunks += chunk
    head, _, body = bytes(chunks).partition(b"\r\n\r\n")
    words = head.split(b" ", 2)
    if len(words) < 2 or not words[1].isdigit():
        raise OSError(f"no HTTP answer from port {port}")
    return int(words[1]), body


def wait_until_answers(
    process: Process, port: int, unready: int | None = None, timeout: float = 60.0, tls: bool = False
) -> None:
    """Until the server answers, and not with `unready`. Raises NotAnswering when it ends or stays silent."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if process.popen.poll() is not None:
            raise NotAnswering(f"{process.name} ended with {process.popen.returncode}: {process.wrote()}")
        with contextlib.suppress(OSError):
            if ask(port, timeout=2.0, tls=tls)[0] != unready:
                return
        time.sleep(0.05)
    raise NotAnswering(f"{process.name} does not answer on port {port}: {process.wrote()}")


@contextlib.contextmanager
def running(processes: list[Process]) -> Iterator[list[Process]]:
    """Whatever was added to the list is stopped at the end, last first."""
    try:
        yield processes
    finally:
        for process in reversed(processes):
            process.stop()
