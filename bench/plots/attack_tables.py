"""What the attack runs showed: tables, and where Shield falls short, of what is wanted of it or of a peer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bench.load.users import PATIENCE
from bench.peers import PEERS
from bench.plots import report

WANTED_SUCCESS: Final = 0.99
WANTED_SHARED: Final = 0.95  # of those who share an address with an attacker
WANTED_SLOWDOWN: Final = 2.0  # times the p95 of calm weather
WANTED_RECOVERY: Final = 5.0  # seconds
SAME_SUCCESS: Final = 0.005  # less of a difference is none
SAME_P95: Final = 0.25  # of Shield's p95: some 600 requests a run are not more exact


def problems(outcomes: Mapping[str, dict[str, Any]]) -> list[str]:
    """Where Shield falls short of what is wanted of it in a scene."""
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
    if not shield["attack"]["p95"] <= WANTED_SLOWDOWN * shield["calm"]["p95"]:
        calm, attack = latency(shield["calm"]["p95"]), latency(shield["attack"]["p95"])
        found.append(f"users' p95 is {attack}, more than twice the calm one of {calm}")
    seconds = shield["recovery"]["seconds"]
    if seconds is None or seconds > WANTED_RECOVERY:
        found.append(f"the users' p95 is back: {back(shield['recovery'])}, wanted {WANTED_RECOVERY:g} s")
    if shield["challenges"]:
        found.append(f"users with a history saw {shield['challenges']} challenges")
    shared = shield["groups"].get("shared")
    if shared is not None and not shared["attack"]["success"] >= WANTED_SHARED:
        found.append(f"success behind one address is {shared['attack']['success']:.2%}, wanted {WANTED_SHARED:.0%}")
    return found + [f"{name} is better" for name in better(outcomes)]


def better(outcomes: Mapping[str, dict[str, Any]]) -> list[str]:
    """Titles of the contenders whose users were better off than Shield's: more success, or as much with less delay."""
    shield = outcomes["shield"]["attack"]
    titles = []
    for name, outcome in outcomes.items():
        theirs = outcome["attack"]
        ahead = theirs["success"] - shield["success"]
        faster = theirs["p95"] < (1.0 - SAME_P95) * shield["p95"]
        if name not in {"shield", "told"} and (ahead > SAME_SUCCESS or (ahead >= -SAME_SUCCESS and faster)):
            titles.append(outcome["title"])
    return titles


def markdown(results: dict[str, Any]) -> str:
    machine, size, origin = results["machine"], results["size"], results["origin"]
    setting = (
        f"{machine['cpu']}, {machine['cores']} cores, Python {machine['python']}; {results['cores']}. The origin "
        f"serves {origin['parallel'] / origin['service']:g}/s ({origin['parallel']} at a time, "
        f"{1000 * origin['service']:g} ms each) and slows down beyond. {size['users']} users with a history browse. "
        f"Latency counts from when a request was meant to be sent; a failed request counts as {PATIENCE:g} s."
    )
    lines = ["# Attacks, and what users notice", "", setting, "", summary(results["scenes"])]
    for scene in results["scenes"].values():
        lines += ["", *section(scene)]
    lines += [f"\nLeft out: {PEERS[name].TITLE} ({why})." for name, why in results["missing"].items()]
    return "\n".join(lines)


def summary(scenes: Mapping[str, dict[str, Any]]) -> str:
    """A row per scene: success and p95 of the returning users under attack."""
    titles = {name: o["title"] for scene in scenes.values() for name, o in scene["contenders"].items()}

    def cell(outcome: dict[str, Any] | None) -> str:
        if outcome is None:
            return "-"
        return f"{report.figure(100 * outcome['attack']['success'], 1, ' %')}, {latency(outcome['attack']['p95'])}"

    rows = [[scene["title"], *(cell(scene["contenders"].get(name)) for name in titles)] for scene in scenes.values()]
    return report.table(["users' success and p95 under attack", *titles.values()], rows)


def section(scene: dict[str, Any]) -> list[str]:
    """The lines about one scene."""
    every = list(scene["contenders"].values())
    heads = ["", *(outcome["title"] for outcome in every)]

    def row(name: str, cell: Any) -> list[str]:
        return [name, *(cell(outcome) for outcome in every)]

    def percent(phase: str, key: str, digits: int = 1) -> Any:
        return lambda outcome: report.figure(100 * outcome[phase][key], digits, " %")

    def ms(phase: str, key: str) -> Any:
        return lambda outcome: latency(outcome[phase][key])

    rows = [
        row("users' success on their visits before", percent("visits", "success")),
        row("users' success, calm", percent("calm", "success")),
        row("users' p50, calm", ms("calm", "p50")),
        row("users' p95, calm", ms("calm", "p95")),
        row("**users' success under attack**", percent("attack", "success")),
        row("pages complete under attack", percent("attack", "pages")),
        row("users' p50 under attack", ms("attack", "p50")),
        row("**users' p95 under attack**", ms("attack", "p95")),
        row("users' p95 from second 5 on", ms("later", "p95")),
        row("**seconds until p95 < 2 x calm**", lambda o: back(o["recovery"])),
        row("2 s windows above that later", percent("recovery", "later", 0)),
        row("... and in calm weather", lambda o: report.figure(100 * o["calm_windows_above"], 0, " %")),
        row("challenges that users saw", lambda o: f"{o['challenges']:,}"),
        row("users that hold a pass", lambda o: f"{o['cookies']}"),
    ]
    for group, found in every[0]["groups"].items():
        name = {"shared": f"{found['people']} behind one address", "newcomer": f"{found['people']} newcomers"}[group]
        rows.append(row(f"{name}: success under attack", lambda o, group=group: group_success(o, group)))
        rows.append(row("... p95", lambda o, group=group: latency(o["groups"][group]["attack"]["p95"])))
        rows.append(row("... challenges seen", lambda o, group=group: f"{o['groups'][group]['challenges']:,}"))
    rows += [
        row("requests of users under attack", lambda o: f"{o['attack']['requests']:,}"),
        row("requests of attackers", lambda o: f"{o['attackers'].get('sent', 0):,}"),
        row("... that reached the origin", lambda o: f"{o['origin']['during'].get('attacker', 0):,}"),
        row("most threads of the origin in use", lambda o: f"{o['origin']['most_taken']:,}"),
        row("CPU seconds of the proxy", lambda o: report.figure(o["cpu_seconds"] or float("nan"), 1)),
    ]
    number = f" (simulated: scene {scene['number']})" if scene["number"] else ""
    lines = [f"## {scene['title']}{number}", "", f"{scene['seconds']:g} s: {scene['says']}.", ""]
    lines.append(report.table(heads, rows))
    lines += [f"\n**Not as wanted**: {problem}." for problem in scene["problems"]]
    lines += [f"\n{o['title']}: {o['says'] or 'nothing in between'}. Attackers: {answers(o)}." for o in every]
    return lines


def group_success(outcome: dict[str, Any], group: str) -> str:
    return report.figure(100 * outcome["groups"][group]["attack"]["success"], 1, " %")


def answers(outcome: dict[str, Any]) -> str:
    """What the attackers were answered, and what else became of their requests."""
    statuses = [f"{status}: {count:,}" for status, count in outcome["attackers"]["statuses"].items()]
    extra = {key: count for key, count in outcome["attackers"].items() if key not in {"statuses", "first_byte"}}
    said = [f"{key.replace('_', ' ')}: {count:,}" for key, count in extra.items() if count]
    return "; ".join(filter(None, (", ".join(statuses), ", ".join(said))))


def latency(seconds: float) -> str:
    return f"> {PATIENCE:g} s" if seconds >= PATIENCE else report.figure(1000 * seconds, 0, " ms")


def back(found: dict[str, Any]) -> str:
    return "never" if found["seconds"] is None else f"{found['seconds']:.1f} s"
