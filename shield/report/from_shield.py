"""An account out of what a running Shield says of its last hours (/api/report)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from shield.operator import story
from shield.operator.figures import challenged, percentile
from shield.report.account import SERIES, TIERS, Account, Attack, Felt

MOST_EVENTS: Final = 200
MOST_NAMED: Final = 20
ENDS: Final = ("attack_onset", "attack_end")


def account(said: Mapping[str, Any], where: str) -> Account:
    """The account; `where` the Shield listens is for its source. KeyError or TypeError for what is no such answer."""
    made = Account(f"Shield at {where}", said["since"], said["at"])
    places = {name: place for place, name in enumerate(said["columns"])}
    rows = said["rows"]
    made.step = said["step"]
    made.times = [row[0] for row in rows]
    made.series = {name: [row[places[name]] for row in rows] for name in SERIES}
    counted, state = said["counted"], said["state"]
    made.counted_since = said["counted_since"]
    made.verdicts = {
        (action, reason): count
        for action, reasons in counted.get("requests", {}).items()
        for reason, count in reasons.items()
    }
    made.felt = list(_felt(counted))
    made.challenged = challenged(counted.get("challenged", {}), state.get("challenged_not_yet", {}))
    of_sites = [each for each in said["events"] if each["event"] in ENDS and each["fields"].get("site")]
    if counted.get("sites"):
        made.attacks = list(_attacks_on_sites(made, of_sites, state))
    else:
        made.attacks = list(_attacks(made, [row[places["attack"]] for row in rows], said["events"], state))
    events = [each for each in said["events"] if each["at"] >= made.since]
    told = [each for each in events if each["event"] != "attack"][:MOST_EVENTS]
    made.events = [(each["at"], story.sentence(each["event"], each["fields"])) for each in reversed(told)]
    _stands_out(made, events, state)
    routes = sorted(counted.get("routes", {}).items(), key=lambda pair: -pair[1])[:MOST_NAMED]
    made.routes = [(story.route(name), f"{count:,} requests") for name, count in routes]
    sites = sorted(counted.get("sites", {}).items(), key=lambda pair: -pair[1])
    made.sites = [(name, f"{count:,} requests") for name, count in sites]
    made.refused = [
        (each["address"], each["why"], f"{each['method']} {each['path']}".strip(), f"{each['count']}")
        for each in said["refused"][:MOST_NAMED]
    ]
    made.bans = said["bans"]
    made.would = story.would(state.get("would", {}))
    made.dry_run = bool(state.get("dry_run"))
    if made.times and made.since < made.times[0] - made.step:
        made.notes.append("Shield has no figures from before that: it keeps a day, and begins anew when it is started.")
    return made


def _stands_out(made: Account, events: list[dict[str, Any]], state: Mapping[str, Any]) -> None:
    """Networks and programs that stood out in attacks, by their greatest share; else those that do so now."""
    networks: dict[str, float] = {}
    programs: dict[tuple[str, str], float] = {}
    strangers = max(state.get("strangers", 0.0), 1.0)
    places: dict[str, str] = {}
    for name, count, *where in state.get("networks", ()):
        networks[name] = count / strangers
        places[name] = f" ({where[0]})" if any(where) else ""
    found = [*state.get("stands_out", ())]
    for event in events:
        if event["event"] == "attack":
            stands_out = event["fields"].get("stands_out") or {}
            for name, share in (stands_out.get("networks") or {}).items():
                networks[name] = max(networks.get(name, 0.0), share)
            found += stands_out.get("fingerprints") or ()
    for each in found:
        program = str(each["fingerprint"]), str(each["user_agent"])
        programs[program] = max(programs.get(program, 0.0), each["share"])
    heaviest = sorted(networks.items(), key=lambda pair: -pair[1])[:MOST_NAMED]
    made.networks = [
        (f"{name}{places.get(name, '')}", f"up to {share:.0%} of what strangers asked for") for name, share in heaviest
    ]
    best = sorted(programs.items(), key=lambda pair: -pair[1])[:MOST_NAMED]
    made.programs = [(name, agent, f"up to {share:.0%} of what strangers asked for") for (name, agent), share in best]


def _felt(counted: Mapping[str, Any]) -> Iterator[Felt]:
    asked, latency = counted.get("tiers", {}), counted.get("latency", {})
    for tier in TIERS:
        times = latency.get(tier, {})
        served = sum(times.values())
        if asked.get(tier) or served:
            p50, p95 = (percentile(times, part) if served else None for part in (0.5, 0.95))
            yield Felt(tier, max(asked.get(tier, 0), served), served, p50, p95)


def _attacks_on_sites(made: Account, events: list[dict[str, Any]], state: Mapping[str, Any]) -> Iterator[Attack]:
    """Attacks by the events of each of several sites: the figures are those of the one that was worst off."""
    now = {each["site"]: each for each in state.get("sites", ())}
    begun: dict[str, dict[str, Any]] = {}
    for event in sorted(events, key=lambda each: each["at"]):
        fields, at = event["fields"], event["at"]
        site = str(fields["site"])
        if event["event"] == "attack_onset":
            begun[site] = event
            continue
        before = begun.pop(site, None)
        begin = before["at"] if before is not None else at - fields["seconds"]
        if at >= made.since:
            peaks = fields["peak_requests_per_second"], fields["peak_pressure"]
            yield Attack(begin, min(begin + fields["seconds"], at), story.cause(str(fields["cause"])), *peaks, site)
    for site, event in begun.items():
        if now.get(site, {}).get("attack"):
            fields = event["fields"]
            cause = story.cause(str(fields["cause"]))
            pressure = now[site]["pressure"]
            yield Attack(event["at"], None, cause, fields["requests_per_second"], pressure, site)


def _attacks(made: Account, on: list[Any], events: list[dict[str, Any]], state: Mapping[str, Any]) -> Iterator[Attack]:
    """Attacks by the figures; what events say of them besides, as far as there are any."""
    begin: float | None = None
    for place, flag in enumerate([*on, 0]):
        if flag and begin is None:
            begin = made.times[place]
            first = place
        elif not flag and begin is not None:
            goes_on = place == len(on) and bool(state.get("attack"))
            end = made.times[place - 1] + made.step
            near = [e for e in events if begin - made.step <= e["at"] <= end + made.step]
            onset = next((e for e in near if e["event"] == "attack_onset"), None)
            over = next((e for e in near if e["event"] == "attack_end"), None)
            cause = onset or over
            rates = [
                sum(made.series[name][at] or 0.0 for name in ("forward", "challenge", "limit", "shed", "ban"))
                for at in range(first, place)
            ]
            pressures = [made.series["pressure"][at] or 0.0 for at in range(first, place)]
            if onset is not None:
                begin = onset["at"]
            if over is not None:
                end = min(begin + over["fields"]["seconds"], end)
            yield Attack(
                begin,
                None if goes_on else end,
                story.cause(str(cause["fields"]["cause"])) if cause is not None else "",
                max(rates),
                max(pressures),
            )
            begin = None
    if state.get("attack") and not (on and on[-1]):  # it began after the last figures
        onsets = [e for e in events if e["event"] == "attack_onset"]
        if onsets:
            begun = max(onsets, key=lambda each: each["at"])
            fields = begun["fields"]
            rate = fields["requests_per_second"]
            yield Attack(begun["at"], None, story.cause(str(fields["cause"])), rate, fields["pressure"])
