"""A flood hits a service, and what its users notice: with Shield, with nothing, with a peer.

One timeline per contender, each with a fresh origin (bench/capacity_origin.py) and a fresh proxy:

    visits  every user comes a few times, so that whoever remembers visitors can know them
    calm    users browse; the latency they have is the measure
    attack  users go on browsing, attackers ask for ten times what the service can do

Users, attackers, origin and proxy are processes of their own, and everything that Shield knows it learnt through its
listening socket.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from bench import report
from bench.guard import MOST_RATE, bounded
from bench.peers import PEERS
from bench.peers.plan import Limits, Setup
from bench.processes import Process, ask, free_ports, launch, own_cores, running, share_out, wait_until_answers
from bench.progress import Bar, bar
from bench.scene import Contender, choose, start
from bench.stats import Recovery, Sample, charged, quantile, recovery, sliding_p95
from bench.users import PATIENCE, Person, crowd, think, write_plan

PARALLEL: Final = 4  # requests that the origin serves at a time ...
SERVICE: Final = 0.020  # ... in as many seconds each: 200/s
START: Final = 1.5  # seconds for the processes of a run to come up
THINK: Final = 6.0  # seconds between two clicks of a user, on average
WINDOW: Final = 2.0  # seconds of the sliding p95
TITLES: Final = {"direct": "no proxy"}

WANTED_SUCCESS: Final = 0.99
WANTED_RECOVERY: Final = 5.0  # seconds


@dataclass(frozen=True, slots=True)
class Timeline:
    """Monotonic seconds at which the phases begin, and the end."""

    visits: float
    calm: float
    attack: float
    end: float


@dataclass(frozen=True, slots=True)
class Shape:
    """The size of a run."""

    seconds: float
    calm: float
    users: int
    attackers: int
    rate: float
    history_window: float

    def timeline(self, begin: float) -> Timeline:
        calm = begin + 4 * self.history_window + 2
        return Timeline(begin, calm, calm + self.calm, calm + self.calm + self.seconds)

    @property
    def total(self) -> float:
        timeline = self.timeline(0.0)
        return START + timeline.end + 2.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=bounded(float, 4, 300), default=30.0, help="of attack")
    parser.add_argument("--calm", type=bounded(float, 4, 300), default=20.0, help="seconds of calm browsing before")
    parser.add_argument("--users", type=bounded(int, 1, 200), default=20)
    parser.add_argument("--attackers", type=bounded(int, 1, 5000), default=500)
    parser.add_argument("--rate", type=bounded(float, 1, MOST_RATE), default=2000.0, help="requests/s of the attack")
    parser.add_argument(
        "--history-window",
        type=bounded(float, 0.5, 60),
        default=2.0,
        help="seconds; Shield ships with 60, which makes the visits last four minutes",
    )
    parser.add_argument(
        "--peers", nargs="+", choices=list(PEERS), default=["shield", "direct", "nginx"], metavar="PEER"
    )
    parser.add_argument("--json", type=Path, help="where the raw results go (default: bench/results)")
    parser.add_argument("--keep-logs", type=Path, help="a folder for what the processes wrote")


def run(arguments: argparse.Namespace) -> int:
    """Every contender in turn; prints and writes the table and the plots, and returns the exit status."""
    results = play(arguments)
    return report.publish(results, markdown(results), arguments.json)


def play(arguments: argparse.Namespace) -> dict[str, Any]:
    """Every contender in turn; the raw results."""
    names, missing = choose(arguments.peers)
    for name, why in missing.items():
        print(f"left out: {PEERS[name].TITLE}: {why}", file=sys.stderr)
    shape = Shape(
        arguments.seconds,
        arguments.calm,
        arguments.users,
        arguments.attackers,
        arguments.rate,
        arguments.history_window,
    )
    outcomes = {}
    with bar("attack", shape.total * len(names)) as shown:
        for number, name in enumerate(names):
            outcomes[name] = Scene(name, shape, shown, number * shape.total, arguments.keep_logs).run()
    return {
        "suite": "attack",
        "machine": report.machine(),
        "cores": share_out(own_cores()).describe(),
        "shape": asdict(shape),
        "missing": missing,
        "contenders": outcomes,
        "problems": problems(outcomes),
    }


def people(shape: Shape, timeline: Timeline) -> list[Person]:
    """The users with all their clicks. The same seed for every contender: all see the same day."""
    rng = random.Random(11)
    result = []
    for address, agent, language in crowd(shape.users):
        first = timeline.visits + rng.uniform(0, 1.2 * shape.history_window)
        clicks = [first + visit * 1.3 * shape.history_window for visit in range(3)]
        click = timeline.calm + rng.uniform(0, THINK)
        while click < timeline.end:
            clicks.append(click)
            click += think(rng, THINK)
        result.append(Person(address, agent, language, clicks))
    return result


class Scene:
    """One contender's run."""

    def __init__(self, name: str, shape: Shape, shown: Bar, done: float, logs: Path | None) -> None:
        self.name = name
        self.title = TITLES.get(name, PEERS[name].TITLE)
        self.shape = shape
        self.shown = shown
        self.done = done
        self.logs = logs
        self.cores = share_out(own_cores())

    def run(self) -> dict[str, Any]:
        with tempfile.TemporaryDirectory(prefix="bench-") as name, running([]) as started:
            folder = Path(name)
            try:
                return self.play(folder, started)
            finally:
                if self.logs:
                    self.logs.mkdir(parents=True, exist_ok=True)
                    for log in folder.rglob("*.log"):
                        (self.logs / f"{self.name}-{log.name}").write_bytes(log.read_bytes())

    def play(self, folder: Path, started: list[Process]) -> dict[str, Any]:
        origin_port, counters_port, port, side_port = free_ports(4)
        argv = ["--port", str(origin_port), "--side-port", str(counters_port), "--parallel", str(PARALLEL)]
        argv = [sys.executable, "-m", "bench.capacity_origin", *argv, "--service", str(SERVICE)]
        started.append(launch("origin", argv, folder, self.cores.origin))
        wait_until_answers(started[-1], origin_port)
        window = self.shape.history_window
        setup = Setup(folder, port, origin_port, side_port, Limits.SENSIBLE, PARALLEL, window)
        contender = start(self.name, setup, self.cores.proxy, started)

        timeline = self.shape.timeline(time.monotonic() + START)
        write_plan(folder / "plan.json", people(self.shape, timeline))
        site = ["--target", f"http://127.0.0.1:{contender.port}/"]
        users = ["bench.users", *site, "--plan", str(folder / "plan.json"), "--out", str(folder / "users.json")]
        users_process = launch("users", [sys.executable, "-m", *users], folder, self.cores.origin)
        started.append(users_process)
        attack = ["bench.attackers", *site, "--starts", str(timeline.attack), "--seconds", str(self.shape.seconds)]
        attack += ["--attackers", str(self.shape.attackers), "--rate", str(self.shape.rate)]
        argv = [sys.executable, "-m", *attack, "--out", str(folder / "attackers.json")]
        attackers_process = launch("attackers", argv, folder, self.cores.load)
        started.append(attackers_process)

        before = contender.decisions()
        readings = self.watch(timeline, contender, counters_port, [users_process, attackers_process])
        return {
            "title": self.title,
            "says": contender.says,
            **measure(read(folder / "users.json"), read(folder / "attackers.json"), timeline, self.shape),
            "origin": origin_figures(json.loads(ask(counters_port, "/counters")[1]), timeline),
            "decisions": {"before": before, "after": contender.decisions()},
            "cpu_seconds": contender.cpu_seconds(),
            "readings": readings,
        }

    def watch(
        self, timeline: Timeline, contender: Contender, counters_port: int, processes: list[Process]
    ) -> list[dict[str, Any]]:
        """Until both processes have ended: moves the bar, and notes twice a second how the origin and Shield are."""
        readings = []
        begin = timeline.visits - START
        latest = timeline.end + PATIENCE + 10
        while any(process.popen.poll() is None for process in processes):
            now = time.monotonic()
            if now > latest:
                raise RuntimeError(f"{self.title}: the run does not end")
            phase = "visits" if now < timeline.calm else "calm" if now < timeline.attack else "attack"
            phase = "waiting for the last answers" if now > timeline.end else phase
            self.shown.step(self.done + min(now - begin, self.shape.total), f"{self.title}: {phase}")
            readings.append({"t": now - timeline.attack, **self.reading(contender, counters_port)})
            time.sleep(0.5)
        for process in processes:
            if process.popen.returncode:
                raise RuntimeError(f"{process.name} failed: {process.wrote()}")
        return readings

    def reading(self, contender: Contender, counters_port: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        with contextlib.suppress(OSError, ValueError):
            origin = json.loads(ask(counters_port, "/counters", timeout=1.0)[1])
            found |= {"busy": origin["busy"], "backlog": origin["backlog"]}
        if contender.metrics:
            with contextlib.suppress(OSError, ValueError):
                status = json.loads(ask(contender.metrics[0], "/api/status", timeout=1.0)[1])
                status = status.get("engine", status)
                keys = ("pressure", "demand", "capacity", "in_flight", "waiting", "attack")
                found |= {key: status[key] for key in keys if key in status}
        return found


def read(path: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(path.read_text())
    return result


def measure(users: dict[str, Any], attackers: dict[str, Any], timeline: Timeline, shape: Shape) -> dict[str, Any]:
    """What the users had, calm and under attack."""
    first_byte = attackers["first_byte"] or timeline.attack
    rows = users["samples"]
    calm = [row for row in rows if timeline.calm <= row["meant"] < first_byte - 0.5]
    attacked = [row for row in rows if first_byte <= row["meant"] < timeline.end]
    calm_figures = figures(calm)
    bound = 2 * calm_figures["p95"]
    samples = [Sample(row["meant"], row["latency"], row["good"]) for row in rows]
    points = sliding_p95(samples, first_byte, timeline.end, PATIENCE, WINDOW)
    back: Recovery = recovery(points, samples, first_byte, timeline.end, bound, PATIENCE, WANTED_RECOVERY)
    calm_points = sliding_p95(samples, timeline.calm, first_byte - 0.5, PATIENCE, WINDOW)
    return {
        "calm": calm_figures,
        "attack": figures(attacked),
        "later": figures([row for row in attacked if row["meant"] >= first_byte + WANTED_RECOVERY]),
        "recovery": asdict(back),
        "calm_windows_above": sum(p95 >= bound for _, p95 in calm_points) / max(1, len(calm_points)),
        "visits": figures([row for row in rows if row["meant"] < timeline.calm]),
        "challenges": sum(row["challenge"] for row in rows),
        "cookies": sum("shield_pass" in names for names in users["cookies"]),
        "attackers": attackers,
        "p95": [[t - first_byte, p95] for t, p95 in points],
        "samples": [
            [round(row["meant"] - first_byte, 4), round(row["latency"], 5), row["good"], row["status"], row["user"]]
            for row in rows
        ],
    }


def figures(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Success and latency of some requests; a failed one counts as the whole patience."""
    latencies = [charged(Sample(row["meant"], row["latency"], row["good"]), PATIENCE) for row in rows]
    clicks: dict[tuple[int, float], list[bool]] = {}
    statuses: dict[str, int] = {}
    for row in rows:
        clicks.setdefault((row["user"], row["click"]), []).append(row["good"])
        statuses[str(row["status"])] = statuses.get(str(row["status"]), 0) + 1
    return {
        "requests": len(rows),
        "success": sum(row["good"] for row in rows) / len(rows) if rows else float("nan"),
        "pages": sum(map(all, clicks.values())) / len(clicks) if clicks else float("nan"),
        "p50": quantile(latencies, 0.50),
        "p95": quantile(latencies, 0.95),
        "p99": quantile(latencies, 0.99),
        "statuses": statuses,
    }


def origin_figures(counters: dict[str, Any], timeline: Timeline) -> dict[str, Any]:
    """Requests that reached the origin from the first to the last second of the attack, by who sent them."""
    during: dict[str, int] = {}
    for begins, counts in counters["timeline"]:
        if timeline.attack <= begins < timeline.end:
            for source, count in counts.items():
                during[source] = during.get(source, 0) + count
    relative = [[begins - timeline.attack, counts] for begins, counts in counters["timeline"]]
    return {"during": during, "most_busy": counters["most_busy"], "bin": counters["bin"], "timeline": relative}


def problems(outcomes: dict[str, dict[str, Any]]) -> list[str]:
    """Where Shield falls short of what is wanted of it."""
    shield = outcomes.get("shield")
    if shield is None:
        return []
    found = [
        f"users' success in calm weather ({phase}) is {shield[phase]['success']:.2%}"
        for phase in ("visits", "calm")
        if shield[phase]["success"] < 1.0
    ]
    if not shield["attack"]["success"] >= WANTED_SUCCESS:
        found.append(f"users' success is {shield['attack']['success']:.2%}, wanted {WANTED_SUCCESS:.0%}")
    seconds = shield["recovery"]["seconds"]
    if seconds is None or seconds > WANTED_RECOVERY:
        found.append(f"the users' p95 is back: {back(shield['recovery'])}, wanted {WANTED_RECOVERY:g} s")
    if not shield["later"]["p95"] < 2 * shield["calm"]["p95"]:
        found.append(f"from second {WANTED_RECOVERY:g} on the users' p95 is not below twice the calm one")
    if shield["challenges"]:
        found.append(f"users with a history saw {shield['challenges']} challenges")
    return found


def markdown(results: dict[str, Any]) -> str:
    shape, machine = results["shape"], results["machine"]
    heads = ["", *(outcome["title"] for outcome in results["contenders"].values())]
    every = list(results["contenders"].values())

    def row(name: str, cell: Any) -> list[str]:
        return [name, *(cell(outcome) for outcome in every)]

    def ms(phase: str, key: str) -> Any:
        return lambda outcome: latency(outcome[phase][key])

    rows = [
        row("users' success on their visits before", lambda o: report.figure(100 * o["visits"]["success"], 1, " %")),
        row("users' success, calm", lambda o: report.figure(100 * o["calm"]["success"], 1, " %")),
        row("users' p50, calm", ms("calm", "p50")),
        row("users' p95, calm", ms("calm", "p95")),
        row("**users' success under attack**", lambda o: report.figure(100 * o["attack"]["success"], 1, " %")),
        row("pages complete under attack", lambda o: report.figure(100 * o["attack"]["pages"], 1, " %")),
        row("users' p50 under attack", ms("attack", "p50")),
        row("**users' p95 under attack**", ms("attack", "p95")),
        row("users' p95 from second 5 on", ms("later", "p95")),
        row("**seconds until p95 < 2 x calm**", lambda o: back(o["recovery"])),
        row("2 s windows above that later", lambda o: report.figure(100 * o["recovery"]["later"], 0, " %")),
        row("... and in calm weather", lambda o: report.figure(100 * o["calm_windows_above"], 0, " %")),
        row("challenges that users saw", lambda o: f"{o['challenges']:,}"),
        row("users that hold a pass", lambda o: f"{o['cookies']}"),
        row("requests of users under attack", lambda o: f"{o['attack']['requests']:,}"),
        row("... that reached the origin", lambda o: f"{o['origin']['during'].get('user', 0):,}"),
        row("requests of attackers", lambda o: f"{o['attackers'].get('sent', 0):,}"),
        row("... that reached the origin", lambda o: f"{o['origin']['during'].get('attacker', 0):,}"),
        row("most requests in the origin at a time", lambda o: f"{o['origin']['most_busy']:,}"),
        row("CPU seconds of the proxy", lambda o: report.figure(o["cpu_seconds"] or float("nan"), 1)),
    ]
    setting = (
        f"{machine['cpu']}, {machine['cores']} cores, Python {machine['python']}; {results['cores']}. The origin "
        f"serves {PARALLEL / SERVICE:g}/s ({PARALLEL} at a time, {1000 * SERVICE:g} ms each) and slows down beyond. "
        f"{shape['users']} users with a history browse; for {shape['seconds']:g} s {shape['attackers']} addresses ask "
        f"for {shape['rate']:g} requests/s. Latency counts from when a request was meant to be sent; a failed request "
        f"counts as {PATIENCE:g} s."
    )
    lines = ["# A flood, and what users notice", "", setting, "", report.table(heads, rows)]
    lines += [f"\n{o['title']}: {o['says']}." for o in every if o["says"]]
    for outcome in every:
        statuses = ", ".join(f"{status}: {count:,}" for status, count in outcome["attackers"]["statuses"].items())
        extra = {
            key: outcome["attackers"].get(key, 0)
            for key in ("given_up", "unanswered_at_the_end", "cut", "not_connected", "held_back")
        }
        said = ", ".join(f"{key.replace('_', ' ')}: {count:,}" for key, count in extra.items() if count)
        lines.append(f"\nAttackers' answers, {outcome['title']}: {'; '.join(filter(None, (statuses, said)))}.")
    lines += [f"\nLeft out: {PEERS[name].TITLE} ({why})." for name, why in results["missing"].items()]
    lines += [f"\n**Not as wanted**: {problem}." for problem in results["problems"]]
    return "\n".join(lines)


def latency(seconds: float) -> str:
    return f"> {PATIENCE:g} s" if seconds >= PATIENCE else report.figure(1000 * seconds, 0, " ms")


def back(found: dict[str, Any]) -> str:
    return "never" if found["seconds"] is None else f"{found['seconds']:.1f} s"
