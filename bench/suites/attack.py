"""Attacks hit a service, and what its users notice: with Shield, with nothing, with the peers.

One timeline per scene and contender, each with a fresh origin (bench/origins/capacity_origin.py) and a fresh proxy:

    visits  every returning user comes a few times, so that whoever remembers visitors can know them
    calm    users browse; the latency they have is the measure
    attack  users go on browsing, and what bench/suites/attack_scenes.py says happens

Users, attackers, origin and proxy are processes of their own, and everything that Shield knows it learnt through its
listening socket.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import math
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from bench.common.guard import MOST_RATE, bounded, json_file
from bench.common.processes import (
    Process,
    ask,
    free_ports,
    keep_logs,
    launch,
    own_cores,
    running,
    share_out,
)
from bench.common.progress import Bar, bar
from bench.load.attackers import write_plan as write_waves
from bench.load.users import PATIENCE, write_plan
from bench.peers import PEERS
from bench.peers.contender import Contender, choose, start, start_capacity_origin
from bench.peers.plan import Limits, Setup
from bench.plots import report
from bench.plots.attack_tables import markdown, problems
from bench.suites.attack_scenes import SCENES, Size, Timeline, people, timeline
from bench.suites.experience import measure

PARALLEL: Final = 4  # requests that the origin serves at a time ...
SERVICE: Final = 0.020  # ... in as many seconds each: 200/s
START: Final = 1.5  # seconds for the processes of a run to come up
TRIES: Final = 2  # of a run in which the machine was too busy: see in_full(), quiet() and in_time()
SENT: Final = 0.9  # of what was planned is in full
LATE: Final = 0.1  # seconds by which the service's timers may be late ...
MOST_LATE: Final = 0.1  # ... and in more than this part of the half seconds it is not the service that it claims to be
TITLES: Final = {"direct": "no proxy"}
HTTP_2: Final = frozenset({"shield", "told"})  # speak it without TLS beside HTTP/1.1
USUAL: Final = ["shield", "told", "nginx", "haproxy", "envoy", "traefik", "aiohttp", "direct"]
SEEN: Final = ("pressure", "demand", "capacity", "in_flight", "concurrency", "waiting", "attack")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--scenes", nargs="+", choices=list(SCENES), default=list(SCENES), metavar="SCENE")
    parser.add_argument("--peers", nargs="+", choices=list(PEERS), default=USUAL, metavar="PEER")
    parser.add_argument("--seconds", type=bounded(float, 4, 100), default=24.0, help="of attack; of pulses longer")
    parser.add_argument("--calm", type=bounded(float, 4, 300), default=15.0, help="seconds of calm browsing before")
    parser.add_argument("--users", type=bounded(int, 1, 200), default=20)
    parser.add_argument("--rate", type=bounded(float, 1, min(MOST_RATE, 3000)), default=2000.0, help="requests/s")
    parser.add_argument(
        "--history-window",
        type=bounded(float, 0.5, 60),
        default=2.0,
        help="seconds; Shield ships with 60, which makes the visits last four minutes",
    )
    parser.add_argument(
        "--max-concurrency",
        type=bounded(int, 0, 1000),
        default=0,
        help="what Shield is told of the service; 0: nothing, it finds out by itself",
    )
    parser.add_argument("--add", type=Path, help="results of before that these are added to, or take the place of")
    parser.add_argument("--json", type=json_file, help="where the raw results go (default: bench/results)")
    parser.add_argument("--keep-logs", type=Path, help="a folder for what the processes wrote")


def run(arguments: argparse.Namespace) -> int:
    """Every scene and contender in turn; prints and writes the tables and plots, and returns the exit status."""
    results = play(arguments)
    if arguments.add:
        results = added(json.loads(arguments.add.read_text()), results)
    return report.publish(results, markdown(results), arguments.json)


def added(before: dict[str, Any], results: dict[str, Any]) -> dict[str, Any]:
    """The same with the scenes and contenders of `before` as well, unless they were measured anew. Raises ValueError
    when these were measured otherwise: the service may never differ, and the contenders of one scene in nothing."""
    for key in ("origin", "patience"):
        if before[key] != results[key]:
            raise ValueError(f"other results to add to: {key} is {before[key]}, not {results[key]}")
    scenes = {**before["scenes"], **results["scenes"]}
    scenes = {name: scenes[name] for name in SCENES if name in scenes}
    for name, found in scenes.items():
        old = before["scenes"].get(name, found)
        was = measured(old, before if name in before["scenes"] else results)
        now = measured(found, results if name in results["scenes"] else before)
        for key in ("size", "cores"):
            if was[key] != now[key]:
                raise ValueError(f"other results of {name} to add to: {key} is {was[key]}, not {now[key]}")
        contenders = {**old["contenders"], **found["contenders"]}
        found["measured"] = now
        found["contenders"] = {
            peer: contenders[peer] for peer in dict.fromkeys([*USUAL, *contenders]) if peer in contenders
        }
        found["problems"] = problems_of(found)
    return {**results, "scenes": scenes, "problems": every_problem(scenes)}


def measured(found: Mapping[str, Any], results: Mapping[str, Any]) -> dict[str, Any]:
    """On which machine, on which cores and of what size a scene was played."""
    return dict(found.get("measured") or {key: results[key] for key in ("machine", "cores", "size")})


def problems_of(found: Mapping[str, Any]) -> list[str]:
    """What is not as wanted in a scene."""
    weak = [o["title"] for o in found["contenders"].values() if not in_full(found["waves"], o["attackers"])]
    starved = [o["title"] for o in found["contenders"].values() if not in_time(o)]
    return [
        *problems(found["contenders"], found.get("cheap", False)),
        *(f"the attack on {title} was not sent in full" for title in weak),
        *(f"the machine was too busy for the service behind {title}" for title in starved),
    ]


def every_problem(scenes: Mapping[str, Any]) -> list[str]:
    return [f"{found['title']}: {problem}" for found in scenes.values() for problem in found["problems"]]


def play(arguments: argparse.Namespace) -> dict[str, Any]:
    """Every scene and contender in turn; the raw results."""
    names, missing = choose(arguments.peers)
    for name, why in missing.items():
        print(f"left out: {PEERS[name].TITLE}: {why}", file=sys.stderr)
    size = Size(arguments.seconds, arguments.calm, arguments.users, arguments.rate, arguments.history_window)
    runs = [
        Run(scene, name, size, arguments)
        for scene in arguments.scenes
        for name in names
        if not SCENES[scene].http2 or name in HTTP_2
    ]
    scenes: dict[str, Any] = {}
    done = 0.0
    with bar("attack", sum(each.total for each in runs)) as shown:
        for each in runs:
            found = scenes.setdefault(each.scene_name, each.describe())
            for tried in range(1, TRIES + 1):
                outcome = {**each.run(shown, done), "tries": tried}
                if in_full(found["waves"], outcome["attackers"]) and quiet(outcome) and in_time(outcome):
                    break
            found["contenders"][each.name] = outcome
            done += each.total
    for found in scenes.values():
        found["problems"] = problems_of(found)
    return {
        "suite": "attack",
        "machine": report.machine(),
        "cores": share_out(own_cores()).describe(),
        "origin": {"parallel": PARALLEL, "service": SERVICE},
        "size": asdict(size),
        "patience": PATIENCE,
        "missing": missing,
        "scenes": scenes,
        "problems": every_problem(scenes),
    }


class Run:
    """One contender in one scene."""

    def __init__(self, scene: str, name: str, size: Size, arguments: argparse.Namespace) -> None:
        self.scene_name = scene
        self.scene = SCENES[scene]
        self.name = name
        self.title = TITLES.get(name, PEERS[name].TITLE.partition(",")[0])
        self.size = size
        self.told = arguments.max_concurrency
        self.logs: Path | None = arguments.keep_logs
        self.cores = share_out(own_cores())

    @property
    def total(self) -> float:
        """Seconds, about."""
        return START + timeline(self.scene, self.size, 0.0).end + 3.0

    def describe(self) -> dict[str, Any]:
        times = timeline(self.scene, self.size, 0.0)
        return {
            "title": self.scene.title,
            "says": self.scene.says,
            "number": self.scene.number,
            "seconds": times.end - times.attack,
            "cheap": self.scene.cheap,
            "measured": {"machine": report.machine(), "cores": self.cores.describe(), "size": asdict(self.size)},
            "waves": [asdict(wave) for wave in self.scene.waves(self.size)],
            "contenders": {},
        }

    def run(self, shown: Bar, done: float) -> dict[str, Any]:
        with tempfile.TemporaryDirectory(prefix="bench-") as name, running([]) as started:
            folder = Path(name)
            try:
                return self.play(folder, started, shown, done)
            finally:
                if self.logs:
                    keep_logs(folder, self.logs, f"{self.scene_name}-{self.name}")

    def play(self, folder: Path, started: list[Process], shown: Bar, done: float) -> dict[str, Any]:
        origin_port, counters_port = start_capacity_origin(folder, self.cores, PARALLEL, SERVICE, started)
        port, side_port = free_ports(2)
        # The peers are told what the service can do; Shield only if it is asked for.
        concurrency = self.told if self.name == "shield" else PARALLEL
        setup = Setup(folder, port, origin_port, side_port, Limits.SENSIBLE, concurrency, self.size.window)
        setup = dataclasses.replace(setup, http2=self.scene.http2)
        contender = start(self.name, setup, self.cores.proxy, started)

        times = timeline(self.scene, self.size, time.monotonic() + START)
        crowd = people(self.scene, self.size, times)
        site = ["--target", f"http://127.0.0.1:{contender.port}/"]

        def begin(name: str, cores: frozenset[int]) -> Process:
            argv = [sys.executable, "-m", f"bench.load.{name}", *site, "--plan", str(folder / f"{name}-plan.json")]
            started.append(launch(name, [*argv, "--out", str(folder / f"{name}.json")], folder, cores))
            return started[-1]

        write_plan(folder / "users-plan.json", crowd)
        write_waves(folder / "attackers-plan.json", [wave.at(times.attack) for wave in self.scene.waves(self.size)])
        processes = [begin("users", self.cores.origin), begin("attackers", self.cores.load)]
        before = contender.decisions()
        readings = self.watch(times, contender, counters_port, processes, shown, done)
        attackers = together(json.loads((folder / "attackers.json").read_text()))
        users = json.loads((folder / "users.json").read_text())
        calm, attack = times.calm - times.attack, times.end - times.attack
        return {
            "title": self.title,
            "says": contender.says,
            "taken": {"calm": taken(readings, calm, 0.0), "attack": taken(readings, 0.0, attack)},
            **measure(users, attackers, times, crowd),
            "origin": origin_figures(json.loads(ask(counters_port, "/counters")[1]), times),
            "decisions": {"before": before, "after": contender.decisions()},
            "cpu_seconds": contender.cpu_seconds(),
            "readings": readings,
        }

    def watch(
        self,
        times: Timeline,
        contender: Contender,
        counters_port: int,
        processes: Sequence[Process],
        shown: Bar,
        done: float,
    ) -> list[dict[str, Any]]:
        """Until both processes have ended: moves the bar, and notes twice a second how the origin and Shield are."""
        readings = []
        begin = times.visits - START
        latest = times.end + PATIENCE + 10
        while any(process.popen.poll() is None for process in processes):
            now = time.monotonic()
            if now > latest:
                left = [process.name for process in processes if process.popen.poll() is None]
                raise RuntimeError(f"{self.title}, {self.scene_name}: the run does not end ({', '.join(left)})")
            phase = "visits" if now < times.calm else "calm" if now < times.attack else "attack"
            phase = "waiting for the last answers" if now > times.end else phase
            shown.step(done + min(now - begin, self.total), f"{self.scene_name}, {self.title}: {phase}")
            readings.append({"t": now - times.attack, **reading(contender, counters_port)})
            time.sleep(0.5)
        for process in processes:
            if process.popen.returncode:
                raise RuntimeError(f"{process.name} failed: {process.wrote()}")
        return readings


def reading(contender: Contender, counters_port: int) -> dict[str, Any]:
    found: dict[str, Any] = {"cpu": contender.cpu_seconds(), "resident": contender.resident_bytes()}
    with contextlib.suppress(OSError, ValueError):
        origin = json.loads(ask(counters_port, "/counters", timeout=1.0)[1])
        found |= {key: origin[key] for key in ("busy", "taken", "backlog")}
    if contender.metrics:
        with contextlib.suppress(OSError, ValueError):
            status = json.loads(ask(contender.metrics[0], "/api/status", timeout=1.0)[1])
            status = status.get("engine", status)
            found |= {key: status[key] for key in SEEN if key in status}
    return found


def taken(readings: Sequence[Mapping[str, Any]], begin: float, end: float) -> dict[str, float]:
    """What the proxy took from `begin` to `end`, in seconds from the onset: its share of a core, and the most bytes."""
    within = [each for each in readings if begin <= each["t"] <= end]
    if len(within) < 2:
        return {"core": math.nan, "resident": math.nan}
    first, last = within[0], within[-1]
    core = (last["cpu"] - first["cpu"]) / (last["t"] - first["t"])
    return {"core": core, "resident": max(each["resident"] for each in within)}


def together(waves: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The figures of all waves in one: sums, and the first byte of them all."""
    result: dict[str, Any] = {"first_byte": None, "statuses": {}}
    for wave in waves:
        for status, count in wave["statuses"].items():
            result["statuses"][status] = result["statuses"].get(status, 0) + count
        for key, value in wave.items():
            if key == "first_byte":
                known = [t for t in (result[key], value) if t is not None]
                result[key] = min(known, default=None)
            elif key != "statuses":
                result[key] = result.get(key, 0) + value
    return result


def in_full(waves: Sequence[dict[str, Any]], attackers: dict[str, Any]) -> bool:
    """Whether the attackers sent what was planned. A weaker attack would flatter whoever met it."""
    planned = sum(wave["rate"] * wave["seconds"] for wave in waves)
    return bool(attackers.get("sent", 0) + attackers.get("not_connected", 0) >= SENT * planned)


def quiet(outcome: Mapping[str, Any]) -> bool:
    """Whether all requests of the users were answered before anybody attacked. They are far fewer than the service
    can do, so otherwise the machine was busy with something else, or the proxy is at fault whenever it is tried."""
    return all(outcome[phase]["success"] == 1.0 for phase in ("visits", "calm"))


def in_time(outcome: Mapping[str, Any]) -> bool:
    """Whether the machine left the service the processor time that it needs to be as fast as it claims to be."""
    return bool(outcome["origin"].get("late", 0.0) <= MOST_LATE)


def origin_figures(counters: dict[str, Any], times: Timeline) -> dict[str, Any]:
    """Requests that reached the origin from the first to the last bin of the attack, by who sent them."""
    during: dict[str, int] = {}
    for begins, counts in counters["timeline"]:
        if times.attack < begins + counters["bin"] and begins < times.end:
            for source, count in counts.items():
                during[source] = during.get(source, 0) + count
    late = [late > LATE for begins, late in counters["late"] if times.calm <= begins < times.end]
    relative = [[begins - times.attack, counts] for begins, counts in counters["timeline"]]
    share = sum(late) / max(1, len(late))
    return {
        "during": during,
        "most_taken": counters["most_taken"],
        "late": share,
        "bin": counters["bin"],
        "timeline": relative,
    }
