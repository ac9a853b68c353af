"""What the attack runs showed: tables, and where Shield falls short, of what is wanted of it or of a peer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from bench.load.users import PATIENCE
from bench.peers import PEERS
from bench.plots import report

WANTED_SUCCESS: Final = 0.99
WANTED_SHARED: Final = 0.95  # of those who share an address with an attacker
WANTED_SLOWDOWN: Final = 2.0  # times the p95 of calm weather
WANTED_RECOVERY: Final = 5.0  # seconds

# Where an attack is cheap, nothing of it is to be noticed.
CHEAP_SUCCESS: Final = 1.0
CHEAP_SLOWDOWN: Final = 1.5
CHEAP_NEWCOMERS: Final = 0.95  # of newcomers' requests, who solve challenges where there are any
CHEAP_MEMORY: Final = 1.1  # times the most of calm weather
CHEAP_CORE: Final = 0.1  # of a core more than in calm weather

SAME_SUCCESS: Final = 0.005  # less of a difference is none
SAME_P95: Final = 0.25  # of Shield's p95: some 600 requests a run are not more exact


def problems(outcomes: Mapping[str, dict[str, Any]], cheap: bool = False) -> list[str]:
    """Where Shield falls short of what is wanted of it in a scene; `cheap` is its attack."""
    shield = outcomes.get("shield")
    if shield is None:
        return []
    found = [
        f"users' success in calm weather ({phase}) is {shield[phase]['success']:.2%}"
        for phase in ("visits", "calm")
        if shield[phase]["success"] < 1.0
    ]
    success = CHEAP_SUCCESS if cheap else WANTED_SUCCESS
    slowdown = CHEAP_SLOWDOWN if cheap else WANTED_SLOWDOWN
    if not shield["attack"]["success"] >= success:
        found.append(f"users' success is {shield['attack']['success']:.2%}, wanted {success:.0%}")
    if not shield["attack"]["p95"] <= slowdown * shield["calm"]["p95"]:
        calm, attack = latency(shield["calm"]["p95"]), latency(shield["attack"]["p95"])
        found.append(f"users' p95 is {attack}, more than {slowdown:g} times the calm one of {calm}")
    seconds = shield["recovery"]["seconds"]
    if seconds is None or seconds > WANTED_RECOVERY:
        found.append(f"the users' p95 is back: {back(shield['recovery'])}, wanted {WANTED_RECOVERY:g} s")
    if shield["challenges"]:
        found.append(f"users with a history saw {shield['challenges']} challenges")
    shared = shield["groups"].get("shared")
    if shared is not None and not shared["attack"]["success"] >= WANTED_SHARED:
        found.append(f"success behind one address is {shared['attack']['success']:.2%}, wanted {WANTED_SHARED:.0%}")
    found += unnoticed(shield) if cheap else []
    return found + [f"{name} is better" for name in better(outcomes, cheap)]


def unnoticed(shield: Mapping[str, Any]) -> list[str]:
    """What newcomers, memory and the core noticed of a cheap attack."""
    found = []
    newcomers = shield["groups"]["newcomer"]["attack"]["success"]
    if not newcomers >= CHEAP_NEWCOMERS:
        found.append(f"newcomers' success is {newcomers:.2%}, wanted {CHEAP_NEWCOMERS:.0%}")
    calm, attack = shield["taken"]["calm"], shield["taken"]["attack"]
    if not attack["resident"] <= CHEAP_MEMORY * calm["resident"]:
        found.append(f"memory is {mebibytes(attack['resident'])}, in calm weather {mebibytes(calm['resident'])}")
    if not attack["core"] <= calm["core"] + CHEAP_CORE:
        found.append(f"{percent_of(attack['core'])} of the core are taken, in calm weather {percent_of(calm['core'])}")
    return found


def better(outcomes: Mapping[str, dict[str, Any]], cheap: bool = False) -> list[str]:
    """Titles of the contenders whose users were better off than Shield's: more success, or as much with less delay.

    Of a `cheap` attack, with less of the delay that it adds to that of calm weather; to be faster than that is chance.
    """

    def delay(outcome: dict[str, Any]) -> float:
        p95: float = outcome["attack"]["p95"]
        return max(1.0, p95 / outcome["calm"]["p95"]) if cheap else p95

    shield = outcomes["shield"]
    titles = []
    for name, outcome in outcomes.items():
        ahead = outcome["attack"]["success"] - shield["attack"]["success"]
        faster = delay(outcome) < (1.0 - SAME_P95) * delay(shield)
        if name not in {"shield", "told"} and (ahead > SAME_SUCCESS or (ahead >= -SAME_SUCCESS and faster)):
            titles.append(outcome["title"])
    return titles


def markdown(results: dict[str, Any]) -> str:
    size, origin = results["size"], results["origin"]
    setting = (
        f"The origin serves {origin['parallel'] / origin['service']:g}/s ({origin['parallel']} at a time, "
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
        if group == "newcomer" and scene.get("cheap"):
            rows.append(row("... success in calm weather", lambda o: group_success(o, "newcomer", "calm")))
            rows.append(row("... p95 in calm weather", lambda o: latency(o["groups"]["newcomer"]["calm"]["p95"])))
    if scene.get("cheap"):
        rows += [
            row("the proxy's memory, calm", lambda o: mebibytes(o["taken"]["calm"]["resident"])),
            row("**... under attack**", lambda o: mebibytes(o["taken"]["attack"]["resident"])),
            row("of its core, calm", lambda o: percent_of(o["taken"]["calm"]["core"])),
            row("**... under attack**", lambda o: percent_of(o["taken"]["attack"]["core"])),
        ]
    rows += [
        row("requests of users under attack", lambda o: f"{o['attack']['requests']:,}"),
        row("requests of attackers", lambda o: f"{o['attackers'].get('sent', 0):,}"),
        row("... that reached the origin", lambda o: f"{o['origin']['during'].get('attacker', 0):,}"),
        *(
            [
                row(
                    "half seconds in which the origin was late",
                    lambda o: report.figure(100 * o["origin"]["late"], 0, " %"),
                )
            ]
            if all("late" in o["origin"] for o in every)
            else []
        ),
        row("most threads of the origin in use", lambda o: f"{o['origin']['most_taken']:,}"),
        *([row("runs, of which the last counts", lambda o: f"{o['tries']}")] if tried_again(every) else []),
        row("CPU seconds of the proxy", lambda o: report.figure(o["cpu_seconds"] or float("nan"), 1)),
    ]
    number = f" (simulated: scene {scene['number']})" if scene["number"] else ""
    lines = [f"## {scene['title']}{number}", "", f"{scene['seconds']:g} s: {scene['says']}.", ""]
    if "measured" in scene:
        lines += [f"{where(scene['measured'])}.", ""]
    lines.append(report.table(heads, rows))
    lines += [f"\n**Not as wanted**: {problem}." for problem in scene["problems"]]
    lines += [f"\n{o['title']}: {o['says'] or 'nothing in between'}. Attackers: {answers(o)}." for o in every]
    return lines


def where(measured: Mapping[str, Any]) -> str:
    machine = measured["machine"]
    return (
        f"Measured {machine['date']} on {machine['cores']} cores of a shared machine ({machine['cpu']}, Python "
        f"{machine['python']}; load average {machine['load_average']:.1f}): {measured['cores']}"
    )


def group_success(outcome: dict[str, Any], group: str, phase: str = "attack") -> str:
    return report.figure(100 * outcome["groups"][group][phase]["success"], 1, " %")


def tried_again(outcomes: Sequence[Mapping[str, Any]]) -> bool:
    return all("tries" in o for o in outcomes) and any(o["tries"] > 1 for o in outcomes)


def mebibytes(number: float) -> str:
    return report.figure(number / 2**20 or math.nan, 1, " MiB")


def percent_of(share: float) -> str:
    return report.figure(100 * share or math.nan, 1, " %")


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
