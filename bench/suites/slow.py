"""Slow connections by an outside judge: slowhttptest in its four modes, while users browse.

    headers   1,000 heads that never end (Slowloris)
    body      1,000 bodies that come a few bytes at a time (R-U-Dead-Yet)
    range     1,000 requests for hundreds of overlapping ranges (CVE-2011-3192)
    read      1,000 answers of 8 MiB that are read 32 bytes at a time

Each has a Shield of its own in front of a service of 200 requests/s (capacity_origin.py), and users as in the attack
runs: visits, calm weather, then 1,000 connections from one address. People click in bunches, so the p95 of one half
minute differs from another's by more than what is looked for: each mode is held against the same clicks at the same
moments without an attack. Wanted: the service is there for everybody throughout, the users' p95 is at most a fifth
higher, and at the end Shield has as few connections and descriptors as before.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from bench.common.guard import bounded, json_file
from bench.common.processes import (
    Process,
    free_ports,
    keep_logs,
    launch,
    own_cores,
    running,
    share_out,
)
from bench.common.progress import Bar, bar
from bench.load.users import PATIENCE, Person, write_plan
from bench.peers.contender import Contender, start, start_capacity_origin
from bench.peers.insides import held, status
from bench.peers.plan import Limits, Setup
from bench.plots import report
from bench.plots.slow_tables import CALM, markdown, slowdown
from bench.suites.attack import PARALLEL, SERVICE, START
from bench.suites.attack_scenes import Scene, Size, people, timeline
from bench.suites.experience import measure

TOOL: Final = "slowhttptest"
MISSING: Final = f"{TOOL} is not installed (Debian and Ubuntu: apt-get install {TOOL})"
Mode = tuple[str, list[str], str]
MODES: Final[dict[str, Mode]] = {
    "headers": ("slow heads (-H)", ["-H", "-i", "5", "-x", "24"], "/page/1"),
    "body": ("slow bodies (-B)", ["-B", "-i", "5", "-x", "10", "-s", "8192"], "/page/1"),
    "range": ("ranges (-R)", ["-R", "-a", "10", "-b", "3000"], "/page/1"),
    "read": ("slow reading (-X)", ["-X", "-w", "512", "-y", "1024", "-n", "5", "-z", "32"], "/large"),
}
PER_SECOND: Final = 200  # connections opened
PROBE: Final = 5  # seconds that the tool's own probe waits before it calls the service gone
WANTED_SLOWDOWN: Final = 1.2  # times the p95 without an attack
RETURN_SECONDS: Final = 30.0  # in which all sockets are to be back, after all have left
PIPE: Final = 2  # descriptors: large bodies go through one pipe (shield/wire/splice.py), which the first one opens
WINDOW: Final = 2.0  # seconds of Shield's history; see attack.py


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--modes", nargs="+", choices=list(MODES), default=list(MODES), metavar="MODE")
    parser.add_argument("--connections", type=bounded(int, 1, 4000), default=1000)
    parser.add_argument("--seconds", type=bounded(int, 5, 60), default=60, help="of slow connections, for each mode")
    parser.add_argument("--calm", type=bounded(float, 4, 100), default=20.0, help="seconds of calm browsing before")
    parser.add_argument("--users", type=bounded(int, 1, 200), default=20)
    parser.add_argument("--json", type=json_file, help="where the raw results go (default: bench/results)")
    parser.add_argument("--keep-logs", type=Path, help="a folder for what the processes wrote")


def run(arguments: argparse.Namespace) -> int:
    """All modes in turn; prints and writes the table and the plot, and returns the exit status."""
    if shutil.which(TOOL) is None:
        print(f"left out: {MISSING}", file=sys.stderr)
        return 0
    results = play(arguments)
    return report.publish(results, markdown(results), arguments.json)


def play(arguments: argparse.Namespace) -> dict[str, Any]:
    """All modes in turn; the raw results. Without the tool there are none, and that is no problem."""
    missing = MISSING if shutil.which(TOOL) is None else ""
    modes: dict[str, Any] = {}
    if not missing:
        scene = Scene("", "", None, lambda size: [])
        size = Size(arguments.seconds, arguments.calm, arguments.users, 0.0, WINDOW)
        runs = [Run(mode, scene, size, arguments) for mode in (CALM, *arguments.modes)]
        with bar("slow", sum(each.total for each in runs)) as shown:
            for number, each in enumerate(runs):
                modes[each.mode] = each.run(shown, number * each.total)
    return {
        "suite": "slow",
        "machine": report.machine(),
        "cores": share_out(own_cores()).describe(),
        "missing": missing,
        "connections": arguments.connections,
        "seconds": arguments.seconds,
        "modes": modes,
        "problems": [
            f"{found['title']}: {problem}" for found in modes.values() for problem in problems(found, modes[CALM])
        ],
    }


class Run:
    """One mode."""

    def __init__(self, mode: str, scene: Scene, size: Size, arguments: argparse.Namespace) -> None:
        self.mode = mode
        self.title, self.options, self.path = MODES.get(mode, ("no attack", [], ""))
        self.scene = scene
        self.size = size
        self.connections = arguments.connections
        self.logs: Path | None = arguments.keep_logs
        self.cores = share_out(own_cores())

    @property
    def total(self) -> float:
        """Seconds, about."""
        return START + timeline(self.scene, self.size, 0.0).end + 8.0

    def run(self, shown: Bar, done: float) -> dict[str, Any]:
        with tempfile.TemporaryDirectory(prefix="bench-") as name, running([]) as started:
            folder = Path(name)
            try:
                return self.play(folder, started, shown, done)
            finally:
                if self.logs:
                    keep_logs(folder, self.logs, f"slow-{self.mode}")

    def play(self, folder: Path, started: list[Process], shown: Bar, done: float) -> dict[str, Any]:
        origin_port, _ = start_capacity_origin(folder, self.cores, PARALLEL, SERVICE, started)
        port, side_port = free_ports(2)
        setup = Setup(folder, port, origin_port, side_port, Limits.SENSIBLE, 0, WINDOW)
        shield = start("shield", setup, self.cores.proxy, started)
        before = sockets(shield)

        begin = time.monotonic()
        times = timeline(self.scene, self.size, begin + START)
        crowd = people(self.scene, self.size, times)
        site = f"http://127.0.0.1:{shield.port}"
        processes = [self.users(folder, site, crowd)]
        started.append(processes[0])
        time.sleep(max(0.0, times.attack - time.monotonic()))
        attack_began = time.monotonic()
        if self.mode != CALM:
            processes.append(self.attack(folder, site))
            started.append(processes[-1])
        readings = self.watch(shield, processes, begin, times.end + PATIENCE + 20, shown, done)
        left = time.monotonic()
        after = back(shield, before)
        outcome = measure(json.loads((folder / "users.json").read_text()), {"first_byte": attack_began}, times, crowd)
        return {
            "title": self.title,
            "options": " ".join(self.options),
            **{key: outcome[key] for key in ("calm", "attack", "challenges", "p95", "samples")},
            "tool": tool_said("".join(process.wrote(20_000) for process in processes[1:])),
            "before": before,
            "after": after,
            "returned_after": time.monotonic() - left,
            "most": {key: max(reading[key] for reading in readings) for key in ("open", "files", "resident")},
            "readings": [{**reading, "t": reading["t"] - attack_began} for reading in readings],
            "cpu_seconds": shield.cpu_seconds(),
            "status": counted(shield),
        }

    def watch(
        self, shield: Contender, processes: list[Process], begin: float, latest: float, shown: Bar, done: float
    ) -> list[dict[str, Any]]:
        """Until all have ended: moves the bar, and notes four times a second what Shield holds."""
        readings = []
        while any(process.popen.poll() is None for process in processes):
            now = time.monotonic()
            if now > latest:
                raise RuntimeError(f"{self.title}: the run does not end")
            shown.step(done + min(now - begin, self.total), self.title)
            readings.append({"t": now, **sockets(shield)})
            time.sleep(0.25)
        if processes[0].popen.returncode:
            raise RuntimeError(f"users failed: {processes[0].wrote()}")
        return readings

    def users(self, folder: Path, site: str, crowd: Sequence[Person]) -> Process:
        write_plan(folder / "users-plan.json", crowd)
        argv = ["--target", f"{site}/", "--plan", str(folder / "users-plan.json"), "--out", str(folder / "users.json")]
        return launch("users", [sys.executable, "-m", "bench.load.users", *argv], folder, self.cores.origin)

    def attack(self, folder: Path, site: str) -> Process:
        argv = [TOOL, *self.options, "-c", str(self.connections), "-r", str(PER_SECOND), "-u", site + self.path]
        argv += ["-l", str(self.size.seconds), "-p", str(PROBE), "-v", "1"]
        return launch(TOOL, argv, folder, self.cores.load)


def counted(shield: Contender) -> dict[str, Any]:
    """What Shield counts of it."""
    assert shield.metrics is not None
    found = status(shield.metrics[0])
    return {key: found[key] for key in ("requests", "responses", "faults", "connections")}


def sockets(shield: Contender) -> dict[str, int]:
    """Client connections, descriptors, those of them that are kept to the service, and resident bytes."""
    assert shield.process is not None
    assert shield.metrics is not None
    found = held(shield.metrics[0], shield.process.pid)
    return {key: found[key] for key in ("open", "files", "kept", "resident")}


def back(shield: Contender, before: dict[str, int]) -> dict[str, int]:
    """What Shield holds once all sockets are back, or else after RETURN_SECONDS."""
    end = time.monotonic() + RETURN_SECONDS
    while not returned(before, after := sockets(shield)) and time.monotonic() < end:
        time.sleep(0.25)
    return after


def returned(before: dict[str, int], after: dict[str, int]) -> bool:
    """Whether all sockets are back. What Shield keeps to the service for the next requests is not counted, nor PIPE."""
    more = (after["files"] - after["kept"]) - (before["files"] - before["kept"])
    return after["open"] <= before["open"] and (more <= 0 or more == PIPE)


def tool_said(text: str) -> dict[str, Any]:
    """slowhttptest's last word: its own probe, and how its connections ended."""
    plain = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)
    found: dict[str, Any] = {"available": re.findall(r"service available:\s+(YES|NO)", plain)}
    ended = re.search(r"Exit status:\s+(.+)", plain)
    found["exit"] = ended[1].strip() if ended else ""
    for name in ("initializing", "pending", "connected", "error", "closed"):
        counts = re.findall(rf"^{name}:\s+(\d+)", plain, re.MULTILINE)
        found[name] = max(map(int, counts), default=0)
    return found


def problems(found: dict[str, Any], without: dict[str, Any]) -> list[str]:
    """What is not as wanted of one mode, held against the run without an attack."""
    wrong = []
    if found["attack"]["success"] < 1.0:
        wrong.append(f"users' success is {found['attack']['success']:.2%}")
    if not slowdown(found, without) <= WANTED_SLOWDOWN:
        change = slowdown(found, without) - 1.0
        wrong.append(f"users' p95 is {found['attack']['p95'] * 1e3:.0f} ms, {change:+.0%}")
    if found["challenges"]:
        wrong.append(f"users with a history saw {found['challenges']} challenges")
    if "NO" in found["tool"]["available"]:
        wrong.append("slowhttptest found the service unavailable")
    if not returned(found["before"], found["after"]):
        wrong.append(f"not all sockets are back: {found['before']} before, {found['after']} after")
    return wrong
