"""Events and reasons in words, for the dashboard: one short sentence each, without the words of the code.

What a client has said of itself may stand in a sentence. It is cut here, and whoever shows it must escape it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from shield.model import Reason

MOST_CHARS: Final = 240
"""Of a sentence."""

CAUSES: Final[Mapping[str, str]] = {
    "demand": "more is asked for than the service can do",
    "latency": "the service has become slow",
    "errors": "the service fails",
    "shedding": "the queue had to turn requests away",
    "waiting": "requests wait for long",
    "self": "Shield itself is at its limit",
    "rate": "requests have suddenly become more",
    "held": "you hold the pressure there",
}
"""Why there is pressure, by the word of `attack_cause` and `overload`."""

REASONS: Final[Mapping[Reason, str]] = {
    Reason.OK: "let through",
    Reason.ALLOWLISTED: "allowed by the config",
    Reason.API_KEY: "shows an API key",
    Reason.CRAWLER: "a verified crawler",
    Reason.OPERATOR_ALLOWED: "allowed by your rule",
    Reason.AT_CAPACITY: "waits for a slot",
    Reason.CHALLENGE_ALWAYS: "everybody is challenged",
    Reason.NEWCOMER: "a newcomer, under pressure",
    Reason.BAD_REPUTATION: "has misbehaved, and has no pass",
    Reason.OVERSUBSCRIBED: "even known clients ask for too much",
    Reason.BAD_NEIGHBOUR: "a newcomer at a banned address",
    Reason.PASS_RATE: "a pass above its limit",
    Reason.CLIENT_RATE: "a client above its limit",
    Reason.ADDRESS_RATE: "an address above its limit",
    Reason.NETWORK_RATE: "a network above its limit",
    Reason.ROUTE_RATE: "above the limit of a route",
    Reason.FINGERPRINT_RATE: "a program of strangers, limited as one client",
    Reason.OPERATOR_LIMIT: "above the limit of your rule",
    Reason.QUEUE_FULL: "the queue was full",
    Reason.OUTRANKED: "others in the queue went first",
    Reason.QUEUE_TIMEOUT: "waited too long in the queue",
    Reason.DENYLISTED: "denied by the config",
    Reason.OPERATOR_BANNED: "banned by your rule",
    Reason.OPERATOR_DENIED: "denied by your rule",
    Reason.CLIENT_BANNED: "a banned client",
    Reason.ADDRESS_BANNED: "a banned address",
    Reason.HONEYPOT: "asked for a honeypot",
}

WOULD: Final[Mapping[str, str]] = {
    "challenge": "challenged",
    "limit": "limited",
    "ban": "refused for bans",
    "queue": "had wait",
}
"""What a dry run would have done, by its word in the status."""

Fields = Mapping[str, Any]


def sentence(name: str, fields: Fields) -> str:
    """An event in words; its name where there are none, or where its fields are not as expected."""
    teller = TOLD.get(name)
    try:
        text = name.replace("_", " ") if teller is None else teller(fields)
        if fields.get("site") and name in OF_SITES:
            text = f"{fields['site']}: {text}"
    except (KeyError, TypeError, ValueError):
        text = name.replace("_", " ")
    return text if len(text) <= MOST_CHARS else text[: MOST_CHARS - 1] + "…"


def cause(word: str) -> str:
    """Why there is pressure."""
    return CAUSES.get(word, word)


def duration(seconds: float) -> str:
    """A time, in its two largest units: "1 h 5 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def number(value: float) -> str:
    """A figure as people read it: 0.7, 12, 1,200."""
    return f"{value:.1f}" if 0 < value < 10 else f"{value:,.0f}"


def route(template: str) -> str:
    """A route with a space between its method and its path."""
    method, slash, path = template.partition("/")
    return f"{method.strip()} {slash}{path}" if slash else template


def onset(fields: Fields) -> str:
    """How an attack began. `times` (over the usual rate), `clients` and `routes` may be known, a little later."""
    rate = f"{number(fields['requests_per_second'])} requests/s"
    if times := fields.get("times"):
        rate = f"{number(times)} times the usual rate ({rate})"
    if clients := fields.get("clients"):
        rate += f", from {number(clients)} unknown client{'' if clients == 1 else 's'}"
    if routes := fields.get("routes"):
        rate += f", on {' and '.join(map(route, routes))}"
    return f"An attack begins: {rate}; {cause(fields['cause'])}"


def _attack(fields: Fields) -> str:
    done = {action: sum(reasons.values()) for action, reasons in fields["requests"].items()}
    refused = {
        "challenged": done.get("challenge", 0),
        "limited": done.get("limit", 0),
        "turned away by the queue": done.get("shed", 0),
        "refused for bans": done.get("ban", 0),
    }
    parts = [f"{number(count)} {word}" for word, count in refused.items() if count]
    said = f"{number(done.get('forward', 0))} requests let through in 10 s, {', '.join(parts) or 'none refused'}"
    if fields.get("routes"):
        said += f"; most ask for {route(next(iter(fields['routes'])))}"
    return f"It goes on: {said}{''.join(f'; a dry run {each}' for each in would(fields.get('would') or {}))}"


def would(found: Mapping[str, Mapping[str, int]]) -> list[str]:
    """What dry runs would have done: "would have challenged 312 visitors, 290 of them known"."""
    return [
        f"would have {WOULD[what]} {each['visitors']:,} visitor{'' if each['visitors'] == 1 else 's'}, "
        f"{each['known']:,} of them known"
        for what, each in found.items()
        if each["visitors"] and what in WOULD
    ]


def met(found: Mapping[str, int], kind: str) -> str:
    """What a rule of some kind that is tried would have done: "would have refused 5 requests of 2 visitors"."""
    verb = {"limit": "limited", "challenge": "challenged"}.get(kind, "refused")
    requests, visitors = found["requests"], found["visitors"]
    if not requests:
        return f"would have {verb} nobody so far"
    return (
        f"would have {verb} {requests:,} request{'' if requests == 1 else 's'} of {visitors:,} "
        f"visitor{'' if visitors == 1 else 's'}, {found['known']:,} of them known"
    )


def _end(fields: Fields) -> str:
    peak = number(fields["peak_requests_per_second"])
    return f"The attack is over after {duration(fields['seconds'])}; at most {peak} requests/s"


def _ban(fields: Fields) -> str:
    who = f"client {fields['client']} at {fields['address']}" if fields.get("client") else str(fields["address"])
    return f"Banned {who} for {duration(fields['seconds'])}: {str(fields['signal']).replace('_', ' ')}"


def _program(fields: Fields) -> str:
    agent = str(fields["user_agent"])
    return f"Limited as one client: {fields['share']:.0%} of strangers' requests come from “{agent}”"


def _rule(verb: str) -> Callable[[Fields], str]:
    def tell(fields: Fields) -> str:
        what = " ".join(str(fields.get(key) or "") for key in ("kind", "subject", "value")).split()
        by = f" by {fields['author']}" if fields.get("author") else ""
        note = f": {fields['note']}" if fields.get("note") else ""
        tried = ", which is tried only" if fields.get("dry_run") is True else ""
        return f"Rule {verb}{by}: {' '.join(what).replace('_', ' ')}{tried}{note}"

    return tell


def _always(text: str) -> Callable[[Fields], str]:
    def tell(fields: Fields) -> str:
        return text.format(**fields)

    return tell


TOLD: Final[Mapping[str, Callable[[Fields], str]]] = {
    "attack_onset": onset,
    "attack": _attack,
    "attack_end": _end,
    "brownout": lambda f: "The service is ill, and not attacked: newcomers are let in",
    "ban": _ban,
    "address_dropped": lambda f: f"Nothing from {f['address']} is answered for {duration(f['seconds'])}",
    "pass_revoked": lambda f: f"Pass {f['pass']} was used from {f['networks']} networks, and is void",
    "fingerprint_limited": _program,
    "upstream_down": _always("Server {server} fails its health checks, and gets no requests"),
    "upstream_up": _always("Server {server} is well again"),
    "upstream_ejected": _always("Server {server} has failed, and gets no requests for a while"),
    "accepting_paused": _always("As many connections as there may be ({open}): accepting waits"),
    "accepting_resumed": _always("Accepting goes on"),
    "out_of_files": _always("No file descriptor is left"),
    "connections_displaced": _always("{count} connections were closed to make room ({reason})"),
    "connections_refused": _always("{count} new connections were closed for want of room ({reason})"),
    "rule_added": _rule("made"),
    "rule_lifted": _rule("lifted"),
    "rule_undone": _rule("undone"),
    "rule_ended": _rule("ended"),
    "pardoned": _always("Forgotten at your word: what Shield did to {subject}"),
    "started": _always("Shield has started"),
    "reloaded": _always("The config was read again, and holds"),
    "reload_refused": _always("The config was read again, and cannot be used: {error}"),
    "upgraded": _always("New code accepts the connections"),
    "draining": _always("Shield was told to stop"),
    "worker_ended": _always("Worker {worker} has died, and is replaced"),
    "worker_hangs": _always("Worker {worker} did nothing for ten seconds, and is replaced"),
    "exception": _always("A bug in Shield: {message}"),
}
"""How each event that is worth it is told. All of them are in events.py, too."""

OF_SITES: Final = frozenset({"attack_onset", "attack", "attack_end", "brownout"})
"""Events that concern one site, where there are several."""

OF_CLIENTS: Final = frozenset({"ban", "address_dropped", "pass_revoked"})
"""Events that concern one client, and can be many."""
