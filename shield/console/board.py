"""What `shield top` shows, as text: figures of the last quarter of an hour, and tables of now.

It comes from /api/stream (operator/live.py). Much of it was sent by strangers (paths, User-Agents), so nothing is given
on that a terminal could take for an order.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final

from shield.console import show

KEPT: Final = 900
"""Seconds of figures."""
MOST_ROWS: Final = 40
MOST_CHARS: Final = 160
"""Of a text of a stranger's."""
ACTIONS: Final = ("forward", "challenge", "limit", "shed", "ban")
TIERS: Final = {
    "T0": "T0 best known", "T1": "T1 known", "T2": "T2 paid, visiting", "T3": "T3 newcomers", "T4": "T4 misbehaved",
}  # fmt: skip

Row = Sequence[float | None]
Cells = tuple[str, ...]


class Figures:
    """The rows of the last quarter of an hour, by column."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}
        self._rows: deque[Row] = deque(maxlen=KEPT)

    def begin(self, history: Mapping[str, Any]) -> None:
        """Take what the stream begins with."""
        self._places = {name: place for place, name in enumerate(history["columns"])}
        self._rows = deque(history["rows"], maxlen=KEPT)

    def add(self, row: Row) -> None:
        self._rows.append(row)

    def last(self, name: str) -> float | None:
        """The newest figure of a column; None where there is none."""
        return self._rows[-1][self._places[name]] if self._rows and name in self._places else None

    def column(self, *names: str) -> list[float]:
        """The sum of some columns in each second, the oldest first."""
        places = [self._places[name] for name in names if name in self._places]
        return [sum(row[place] or 0.0 for place in places) for row in self._rows]

    def refused(self) -> float:
        """Requests/s that are refused now."""
        return sum(self.last(action) or 0.0 for action in ACTIONS[1:])


def number(value: float | None) -> str:
    """A figure as people read it."""
    if value is None or math.isnan(value):
        return "-"
    if abs(value) >= 100_000:
        return f"{value / 1000:,.0f}k"
    return f"{value:.1f}" if 0 < abs(value) < 10 and value != int(value) else f"{value:,.0f}"


def rate(value: float | None) -> str:
    return "-" if value is None else f"{number(value)}/s"


def percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.0f} %"


def seconds(value: float | None) -> str:
    """A latency."""
    if value is None:
        return "-"
    return f"{1000 * value:.0f} ms" if value < 0.9995 else f"{value:.1f} s"


def span(value: float) -> str:
    """How long something has lasted."""
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"


def clock(at: float) -> str:
    """A time of day, here."""
    return time.strftime("%H:%M:%S", time.localtime(at))


def clean(text: Any) -> str:
    """What strangers have sent, in one line that orders a terminal to do nothing."""
    shown = show.plain(str(text))
    return shown if len(shown) <= MOST_CHARS else shown[: MOST_CHARS - 1] + "…"


FILLING: Final = 0.25
"""Part of the queue that is filled by a flood: an onset takes seconds to be sure of, and this is seen at once."""


def headline(figures: Figures, state: Mapping[str, Any]) -> tuple[str, str, str]:
    """How it stands: a mood (calm, warn or bad), a headline, and a sentence."""
    refused, through = figures.refused(), figures.last("forward") or 0.0
    share = refused / (refused + through) if refused + through else 0.0
    known = figures.last("known_p95")
    doing = f"{rate(through)} let through, {rate(refused)} refused ({percent(share)})"
    doing += "" if known is None else f"; known clients have their answer in {seconds(known)}"
    doing += ". Dry run: nothing is refused." if state.get("dry_run") else "."
    if state.get("ready") is False:
        return "bad", "The service cannot be reached", doing
    if state.get("attack"):
        what = "The service is ill" if state.get("brownout") else "Under attack"
        where = [clean(each["site"]) for each in state.get("sites", ()) if each["attack"]]
        if where:
            what += f" ({' and '.join(where) if len(where) < 3 else f'{len(where)} sites'})"
        lasted = f"For {span(state['attack_seconds'])}. " if state.get("attack_seconds") else ""
        cause = f": {clean(state['cause'])}" if state.get("cause") else ""
        return "bad" if state.get("strictness", 0.0) > 0.05 else "warn", what + cause, lasted + doing
    if state.get("brownout"):
        return "warn", "The service is ill, and not attacked", doing
    if state.get("pressure", 0.0) > 0.05:
        return "warn", "Pressure", doing
    waiting, most = state.get("waiting", 0), state.get("queue", 0)
    if waiting > FILLING * most:
        return "warn", "The queue fills", f"{number(waiting)} requests of at most {number(most)} wait. {doing}"
    return "calm", "Calm", doing


def facts(figures: Figures, state: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Figures of now, each with its name."""
    signs = [str(state.get("signs", {}).get(sign, sign)) for sign in state.get("overload", ())]
    market = state.get("market", {})
    capacity = state.get("capacity", 0.0)
    return [
        ("pressure", percent(state.get("pressure")) + (f": {', '.join(map(clean, signs))}" if signs else "")),
        ("asked for", f"{number(state.get('demand'))} of {number(capacity)} units/s"),
        ("at the service", f"{number(state.get('in_flight'))} of {number(state.get('concurrency'))}"),
        ("waiting", f"{number(state.get('waiting'))} of {number(state.get('queue'))}"),
        ("price", f"{number(market.get('price'))} hashes, {number(figures.last('passes'))} passes"),
        ("bans", f"{number(sum(state.get('active_bans', {}).values()))}, dropped {number(state.get('dropped'))}"),
        ("Shield's core", f"{percent(state.get('busy'))} busy"),
    ]


def sites(state: Mapping[str, Any]) -> list[Cells]:
    """Rows of the table of sites, where there are several: those that are worst off first."""
    return [
        (clean(each["site"]), percent(each["pressure"]), _standing(each), rate(each["asked"]),
         f"{number(each['in_flight'])} of {number(each['concurrency'])}", number(each["waiting"]),
         f"{number(each['demand'])} of {number(each['capacity'])}")
        for each in state.get("sites", ())
    ]  # fmt: skip


def _standing(site: Mapping[str, Any]) -> str:
    said = [
        f"ATTACK for {span(site['attack_seconds'])}: {clean(site['cause'])}" if site["attack"] else "",
        "" if site["ready"] else "no server is healthy",
        "dry run" if site["dry_run"] else "",
    ]
    return ", ".join(filter(None, said)) or "calm"


def people(state: Mapping[str, Any]) -> list[Cells]:
    """Rows of the table of tiers."""
    return [
        (TIERS.get(each["tier"], each["tier"]), rate(each["asked"]), rate(each["served"]), seconds(each["p50"]),
         seconds(each["p95"]))
        for each in state.get("tiers", ())
    ]  # fmt: skip


def refusals(state: Mapping[str, Any]) -> list[Cells]:
    """Rows of who is refused: subject first."""
    return [
        (clean(each["address"]), clean(each["why"]), number(each["count"]), "known" if each["known"] else "",
         clean(f"{each['method']} {each['path']}"), clean(each.get("where", "")), clean(each["id"]))
        for each in state.get("refused", ())[:MOST_ROWS]
    ]  # fmt: skip


def networks(state: Mapping[str, Any]) -> list[Cells]:
    """Rows of the networks of strangers, by size."""
    whole = max(state.get("strangers", 0.0), 1.0)
    return [
        (clean(name), percent(count / whole), clean("".join(where)))
        for name, count, *where in state.get("networks", ())
    ]


def reasons(state: Mapping[str, Any]) -> list[Cells]:
    """Rows of why requests are refused."""
    return [(rate(each["rate"]), clean(each["action"]), clean(each["why"])) for each in state.get("verdicts", ())]


def events(state: Mapping[str, Any]) -> list[Cells]:
    """Rows of what has happened, the newest first."""
    return [(clock(each["at"]), clean(each["text"])) for each in state.get("events", ())]
