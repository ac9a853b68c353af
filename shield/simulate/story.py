"""The turning points of a scene in words: what came from outside, what Shield made of it, who was harmed, the end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from shield.simulate.population import ALWAYS

if TYPE_CHECKING:
    from shield.simulate.result import Result, Tally

STEPS: Final = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Of the pressure: each is told when it is passed upwards for the first time since p was calm."""
CALM: Final = 0.05
LIMIT_CHANGE: Final = 1.5
PRICE_CHANGE: Final = 4.0
TELL_AGAIN: Final = 30.0  # seconds before p, the limit or the price are spoken of again
HARM_WINDOW: Final = 5  # seconds
HARM: Final = 0.95
LEAST_MISSED: Final = 5  # of a few wants, one or two say nothing
WHOLE: Final = 0.99
RECOVERED: Final = 30  # seconds without harm
MOST_LIKE: Final = 3  # events of one name that are told

Point = tuple[float, str]


def story(result: Result) -> list[Point]:
    """(when, what) in order, times of the story in seconds."""
    points = [*_outside(result), *_events(result), *_pressure(result)]
    points += _jumps(result, "concurrency", LIMIT_CHANGE, "the concurrency limit is {:.0f} (it was {:.0f})")
    points += _jumps(result, "price", PRICE_CHANGE, "a challenge costs {:,.0f} hashes (it was {:,.0f})")
    for name, tally in result.populations.items():
        if tally.kind != "attackers":
            points += _harm(name, tally, result.scene.seconds)
    return sorted(points, key=lambda point: point[0])


def _outside(result: Result) -> Iterator[Point]:
    """The changes that the scene itself brings."""
    for name, population in result.scene.populations.items():
        how = f"{population.rate:g}/s, {population.members:,} of them"
        if population.from_ > -ALWAYS:
            yield population.from_, f"{name} begin: {how}"
        if population.until < min(ALWAYS, result.scene.seconds):
            yield population.until, f"{name} end"
    for change in result.scene.service.changes:
        what = [f"{change.slots} slots"] if change.slots else []
        what += [f"times {change.slower:g} of the usual"] if change.slower else []
        what += [f"{100 * change.errors:g} % errors"] if change.errors >= 0.0 else []
        yield change.at, f"the service changes: {', '.join(what)}"


def _events(result: Result) -> Iterator[Point]:
    """The events that the engine told of."""
    told: dict[str, int] = {}
    for at, name, fields in result.events:
        told[name] = told.get(name, 0) + 1
        if told[name] <= MOST_LIKE:
            yield at, _event(name, fields)
    for name, count in told.items():
        if count > MOST_LIKE:
            last = max(at for at, event, _ in result.events if event == name)
            yield last, f"the last of {count} x {name}"


def _event(name: str, fields: dict[str, Any]) -> str:
    match name:
        case "attack_onset":
            return (
                f"ONSET by {fields['cause']}: demand {fields['demand']:.0f} units/s, capacity {fields['capacity']:.0f}"
                f"{', overload: ' + ', '.join(fields['overload']) if fields['overload'] else ''}; histories are frozen"
            )
        case "attack_end":
            return f"END after {fields['seconds']:.0f} s: pressure was at most {fields['peak_pressure']}"
        case "ban":
            who = "a client" if "client" in fields else "an address"
            return f"{who} at {fields['address']} is banned for {fields['seconds']:.0f} s: {fields['signal']}"
        case _:
            return f"{name}: {', '.join(f'{key} {value}' for key, value in fields.items())}"


def _pressure(result: Result) -> Iterator[Point]:
    """The steps that p climbs, and when it is calm again."""
    reached = 0
    last = -ALWAYS
    for at, p, demand, capacity in zip(
        result.times,
        result.series["pressure"],
        result.series["demand"],
        result.series["capacity"],
        strict=True,
    ):
        climbed = sum(p > step for step in STEPS)
        if climbed > reached and at >= last + 1.0:
            reached = climbed
            last = at
            yield at, f"pressure {p:.2f}: demand {demand:.0f} units/s, capacity {capacity:.0f}"
        elif reached and p <= CALM and at >= last + TELL_AGAIN:
            reached = 0
            last = at
            yield at, f"pressure {p:.2f}: nobody is challenged any more"


def _jumps(result: Result, name: str, by: float, words: str) -> Iterator[Point]:
    """Where a series is `by` times as large or small as when it was last spoken of."""
    values = result.series[name]
    told, last = (values[0] if values else 0.0), -ALWAYS
    for at, value in zip(result.times, values, strict=True):
        if at >= last + TELL_AGAIN and told > 0.0 and value > 0.0 and max(value / told, told / value) >= by:
            yield at, words.format(value, told)
            told, last = value, at


def _harm(name: str, tally: Tally, seconds: float) -> Iterator[Point]:
    """When a population was first not served, and when all was well again."""
    harmed = False
    well_since = 0.0
    for second in range(int(seconds) - HARM_WINDOW):
        asked = tally.asked(second, second + HARM_WINDOW)
        if not asked:
            continue
        missed = asked - tally.served(second, second + HARM_WINDOW)
        share = 1.0 - missed / asked
        if share < HARM and missed >= LEAST_MISSED and not harmed:
            harmed = True
            began = next(at for at in range(second, int(seconds)) if tally.served(at, at + 1) < tally.asked(at, at + 1))
            yield float(began), f"harm: {name} get {100 * share:.0f} % of what they ask for"
        if share < WHOLE:
            well_since = second + HARM_WINDOW
        elif harmed and second - well_since >= RECOVERED:
            harmed = False
            yield float(well_since), f"recovery: {name} get {100 * WHOLE:.0f} % and more again"
