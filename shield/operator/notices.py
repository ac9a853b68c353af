"""Whom Shield tells of an attack, and what: that it began, that it has changed, that it is over.

A `Watcher` looks at what /api/status says, every two seconds, of one process or of several workers (merge.py). A notice
is a JSON object, the same for everybody:

    {"version": 1, "event": "attack_began", "time": 1790000000.0, "since": 1790000000.0, "host": "web1",
     "text": "An attack begins: ...", "dry_run": false,
     "cause": "demand", "pressure": 0.41, "demand": 950.0, "capacity": 310.0,
     "requests_per_second": 1204.0, "peak_requests_per_second": 1204.0,
     "requests": {"forward": 310, "challenge": 2100},                   since the attack began
     "networks": [["203.0.113.0/24", 0.31]], "networks_in": {"203.0.113.0/24": "AS64500 Example Net, XX"},
     "programs": [["curl/8.5.0", 0.9]], "routes": [["GET /search", 0.7]],
     "measures": {"banned": 12, "dropped": 3, "price": 400000, "limit": 20.0}}

`event` is one of EVENTS. Times are Unix time in seconds; shares are of the requests of strangers, each at least so
much. The user agents of `programs` are what clients say of themselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

from annotated_types import Ge, MaxLen
from typing_extensions import Doc

from shield.complaints import WEBHOOK, Complaint
from shield.marks import Unit, Why
from shield.operator import story

VERSION: Final = 1
BEGAN: Final = "attack_began"
CHANGED: Final = "attack_changed"
ENDED: Final = "attack_ended"
TEST: Final = "test"
EVENTS: Final = (BEGAN, CHANGED, ENDED, TEST)
KNOWN_SECONDS: Final = 60.0
"""After an onset, until it is known who asks and on what: the second notice then says so."""
TIMES: Final = 2.0
"""An attack has changed when its peak is so many times what the last notice said."""
PRESSURES: Final = (0.25, 0.75)
"""An attack has changed when the pressure has passed one of these since the last notice."""
MOST_NAMED: Final = 5
REFUSALS: Final = ("challenge", "limit", "shed", "ban")
MOST_CHARS: Final = 200
"""Of a user agent."""
MAILBOX: Final = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}(@[A-Za-z0-9.-]{1,253})?")

Notice = dict[str, Any]


@dataclass(frozen=True, slots=True)
class NotifySettings:
    """Who is told of an attack."""

    webhook: Annotated[
        str,
        Doc(
            "URL that is sent a JSON object when an attack begins, changes or ends: http:// or https://. Redirects are "
            "not followed. Empty: none."
        ),
    ] = ""
    mail: Annotated[
        tuple[str, ...],
        MaxLen(20),
        Doc("Mailboxes that are sent the same in words, by the system's sendmail."),
    ] = ()
    mail_from: Annotated[str, Doc("Mailbox in From. Empty: as sendmail has it, the user that Shield runs as.")] = ""
    sendmail: Annotated[
        str, Doc("Program that takes a mail on its standard input, as Postfix, Exim, msmtp and others have it.")
    ] = "/usr/sbin/sendmail"
    again: Annotated[
        float,
        Ge(60),
        Unit("s"),
        Doc("Least time between two notices that the attack has changed."),
        Why("Chosen", "twelve an hour are read; a pulse each minute would not be"),
    ] = 300.0

    def complaints(self) -> Iterator[Complaint]:
        if self.webhook and not WEBHOOK.fullmatch(self.webhook):
            yield ("webhook",), "a URL that begins with http:// or https:// and has a host"
        for index, mailbox in enumerate(self.mail):
            if not MAILBOX.fullmatch(mailbox) or mailbox.startswith("-"):
                yield ("mail", index), "a mailbox, like ops@example.org or root"
        if self.mail_from and not MAILBOX.fullmatch(self.mail_from):
            yield ("mail_from",), "a mailbox, like shield@example.org"
        if not self.sendmail.startswith("/"):
            yield ("sendmail",), "an absolute path"


class Watcher:
    """Sees an attack begin, change and end. `host` names the machine; `again` as in NotifySettings."""

    __slots__ = ("_again", "_attack", "_before", "_host", "_looked", "_peak", "_said_at", "_said_peak", "_said_signs",
                 "_since")  # fmt: skip

    def __init__(self, host: str, again: float) -> None:
        self._host = host
        self._again = again
        self._looked = False
        self._attack = False
        self._since = 0.0
        self._before: Mapping[str, int] = {}  # requests by action when it began
        self._peak = 0.0  # requests/s, of this attack
        self._said_at: float | None = None  # of the last change that was told
        self._said_peak = 0.0
        self._said_signs: tuple[Any, ...] = ()

    def keep(self, former: Watcher) -> None:
        """Go on where another one ends, which had other settings."""
        for name in self.__slots__:
            if name not in ("_again", "_host"):
                setattr(self, name, getattr(former, name))

    def look(self, now: float, status: Mapping[str, Any]) -> Notice | None:
        """Note a status of `now` (Unix time); what is to be told, if anything.

        An attack that is under way at the first look was told of by the process before this one, so nothing is said
        of it until it changes or ends.
        """
        first, self._looked = not self._looked, True
        attack = bool(status.get("attack"))
        rate = float(status.get("requests_per_second", 0.0))
        if attack and not self._attack:
            self._attack, self._peak = True, rate
            self._since = now - float(status.get("attack_seconds", 0.0))
            self._before = _requests(status)
            self._said_at = None
            if first:
                self._note(now, status)
                return None
            return self._say(BEGAN, now, status)
        if not attack:
            was, self._attack = self._attack, False
            return self._say(ENDED, now, status) if was else None
        self._peak = max(self._peak, rate)
        return self._say(CHANGED, now, status) if self._has_changed(now, status) else None

    def _note(self, now: float, status: Mapping[str, Any]) -> None:
        """Hold later states to this one."""
        self._said_at, self._said_peak, self._said_signs = now, self._peak, _signs(status)

    def _has_changed(self, now: float, status: Mapping[str, Any]) -> bool:
        if self._said_at is None:
            return now - self._since >= KNOWN_SECONDS
        if now - self._said_at < self._again:
            return False
        return self._peak >= TIMES * self._said_peak or _signs(status) != self._said_signs

    def _say(self, event: str, now: float, status: Mapping[str, Any]) -> Notice:
        if event == CHANGED:
            self._note(now, status)
        lead = _lead(status)
        done = {action: count - self._before.get(action, 0) for action, count in _requests(status).items()}
        notice: Notice = {
            "version": VERSION,
            "event": event,
            "time": round(now, 3),
            "since": round(self._since, 3),
            "host": self._host,
            "text": "",
            "dry_run": bool(status.get("dry_run")),
            "cause": str(lead.get("attack_cause", "")) or "demand",
            **{key: round(float(status.get(key, 0.0)), 3) for key in ("pressure", "demand", "capacity")},
            "requests_per_second": round(float(status.get("requests_per_second", 0.0)), 1),
            "peak_requests_per_second": round(self._peak, 1),
            "requests": {action: count for action, count in done.items() if count > 0},
            **_who(status),
            "measures": {
                "banned": sum(status.get("active_bans", {}).values()),
                "dropped": status.get("dropped", 0),
                "price": lead.get("price", 0),
                "limit": round(float(status.get("concurrency", 0.0)), 1),
            },
        }
        notice["text"] = _sentence(notice)
        return notice


def trial(now: float, host: str) -> Notice:
    """What `shield notify` sends, to see whether it arrives."""
    text = "A test: this is where Shield will tell you of attacks"
    return {"version": VERSION, "event": TEST, "time": round(now, 3), "host": host, "text": text}


def subject(notice: Notice) -> str:
    """A mail's subject."""
    what = {BEGAN: "an attack begins", CHANGED: "the attack goes on", ENDED: "the attack is over", TEST: "a test"}
    return f"Shield on {notice['host']}: {what[notice['event']]}"


def letter(notice: Notice) -> str:
    """A mail's text: everything of the notice, in words."""
    lines = [f"{notice['text']}."]
    if notice["event"] == TEST:
        return "\n".join([*lines, ""])
    if notice["dry_run"]:
        lines += ["", "Shield runs dry: it only logs what it would have refused."]
    numbers = (
        ("Pressure", f"{notice['pressure']:.2f} of 1: {story.cause(notice['cause'])}"),
        ("Asked for", f"{story.number(notice['demand'])} units/s of {story.number(notice['capacity'])}"),
        ("Requests now", f"{story.number(notice['requests_per_second'])}/s"),
        ("Requests at most", f"{story.number(notice['peak_requests_per_second'])}/s"),
        *((_WORDS[action], story.number(count)) for action, count in notice["requests"].items() if action in _WORDS),
        ("Banned now", story.number(notice["measures"]["banned"])),
        ("Dropped addresses", story.number(notice["measures"]["dropped"])),
    )
    lines += ["", *(f"{name + ':':<21}{value}" for name, value in numbers)]
    for name, key in (("Networks", "networks"), ("Programs", "programs"), ("Routes", "routes")):
        if notice[key]:
            lines += ["", f"{name} that stand out, and their share of the requests of strangers, at least:"]
            there = notice["networks_in"] if key == "networks" else {}
            places = {what: f" ({there[what]})" if what in there else "" for what, _ in notice[key]}
            lines += [f"  {share:>4.0%}  {what}{places[what]}" for what, share in notice[key]]
    lines += ["", "More: shield status; shield report --since 1h; the dashboard on the admin listener.", ""]
    return "\n".join(lines)


_WORDS: Final[Mapping[str, str]] = {
    "forward": "Let through",
    "challenge": "Challenged",
    "limit": "Limited",
    "shed": "Turned away",
    "ban": "Refused for bans",
}


def _sentence(notice: Notice) -> str:
    rate, peak = (story.number(notice[key]) for key in ("requests_per_second", "peak_requests_per_second"))
    lasted = story.duration(notice["time"] - notice["since"])
    refused = story.number(sum(count for action, count in notice["requests"].items() if action in REFUSALS))
    match notice["event"]:
        case "attack_began":
            return f"An attack begins: {rate} requests/s; {story.cause(notice['cause'])}"
        case "attack_changed":
            routes = " and ".join(route for route, _ in notice["routes"][:2])
            what = f", most on {routes}" if routes else ""
            return f"The attack goes on for {lasted}: {rate} requests/s{what}; {refused} requests refused so far"
    return f"The attack is over after {lasted}: at most {peak} requests/s, {refused} requests refused"


def _requests(status: Mapping[str, Any]) -> dict[str, int]:
    """Requests by action, so far."""
    return {action: sum(reasons.values()) for action, reasons in status.get("requests", {}).items()}


def _signs(status: Mapping[str, Any]) -> tuple[Any, ...]:
    pressure = float(status.get("pressure", 0.0))
    return (str(_lead(status).get("attack_cause", "")), sum(pressure >= bound for bound in PRESSURES))


def _parts(status: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [worker for worker in status.get("workers", ()) if worker["answers"]] or [status]


def _lead(status: Mapping[str, Any]) -> Mapping[str, Any]:
    parts = _parts(status)
    return next((part for part in parts if part.get("board", {}).get("leads")), parts[0])


def _who(status: Mapping[str, Any]) -> dict[str, Any]:
    """What stands out, the greatest first; and where these networks are, as far as it is known."""
    found = [part.get("hitters", {}) for part in _parts(status)]
    programs = [
        (str(program.get("user_agent") or program["fingerprint"])[:MOST_CHARS], program["share"])
        for each in found
        for program in each.get("fingerprints", ())
    ]
    networks = _most(pair for each in found for pair in each.get("networks", {}).items())
    places = status.get("networks_in", {})
    return {
        "networks": networks,
        "networks_in": {name: places[name] for name, _ in networks if name in places},
        "programs": _most(programs),
        "routes": [
            (story.route(route), share)
            for route, share in _most(pair for each in found for pair in each.get("routes", {}).items())
        ],
    }


def _most(pairs: Iterable[tuple[str, float]]) -> list[tuple[str, float]]:
    """Those with the greatest shares, each once: of workers, that which saw most of it."""
    found: dict[str, float] = {}
    for what, share in pairs:
        found[what] = max(found.get(what, 0.0), round(share, 3))
    ranked: Sequence[tuple[str, float]] = sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))
    return list(ranked[:MOST_NAMED])
