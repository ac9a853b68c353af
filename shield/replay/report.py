"""A replay in words for a terminal, and as JSON. What strangers have sent is shown without what a terminal obeys."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from shield.console.show import plain
from shield.operator import story
from shield.replay.files import Skipped
from shield.replay.order import Astray
from shield.replay.outcome import Harm, Outcomes, Row
from shield.replay.survey import MOST_VISITORS, Survey, Visitor

SHOWN: Final = 20
"""Regulars and events that a terminal is shown; JSON has MOST_HARMED."""
MOST_HARMED: Final = 1000
AGENT_CHARS: Final = 60
_WHY: Final = {reason.value: text for reason, text in story.REASONS.items()}


def text(
    names: Sequence[str], survey: Survey, skipped: Skipped, astray: Astray, found: Mapping[str, Outcomes], took: float
) -> str:
    """What the configs `found` would have done."""
    return "\n".join(_lines(names, survey, skipped, astray, found, took))


def _lines(
    names: Sequence[str], survey: Survey, skipped: Skipped, astray: Astray, found: Mapping[str, Outcomes], took: float
) -> Iterator[str]:
    logs = f"{len(names)} logs" if len(names) > 1 else plain(names[0])
    yield (
        f"{logs}: {survey.requests:,} requests in {story.duration(survey.seconds)}, "
        f"{clock(survey.first)} to {clock(survey.last)} UTC, at most {survey.peak:,}/s"
    )
    yield from _left_out(skipped, astray)
    yield from _service(survey)
    first = next(iter(found.values()))
    regulars = len(first.regulars)
    yield f"visitors: {len(survey.visitors) + survey.forgotten:,}, of whom {regulars:,} look like regulars"
    if survey.forgotten:
        yield f"  more than {MOST_VISITORS:,}: {survey.forgotten:,} that were gone the longest were forgotten"
    for name, outcomes in found.items():
        yield ""
        yield from _outcome(name, outcomes)
    if len(found) > 1:
        yield ""
        yield from _side_by_side(found)
    yield ""
    rate = survey.requests / took * 60 if took > 0 else 0
    yield f"read and replayed in {took:.1f} s: {rate:,.0f} lines a minute"


def _so_many(number: int) -> str:
    return f"{number:,} line" + ("" if number == 1 else "s")


def _left_out(skipped: Skipped, astray: Astray) -> Iterator[str]:
    if skipped.other:
        yield f"left out: {_so_many(skipped.other)} about no request"
    if astray.lines:
        yield f"left out: {_so_many(astray.lines)} with a time hours ahead of all others"
    if skipped.foreign:
        yield f"left out: {_so_many(skipped.foreign)} that cannot be read:"
        yield from (f"  {plain(each)}" for each in skipped.named)
        if skipped.foreign > len(skipped.named):
            yield f"  and {skipped.foreign - len(skipped.named):,} more"


def _service(survey: Survey) -> Iterator[str]:
    if not survey.timed:
        yield "the service: the logs do not say how long requests took; each is taken to need 50 ms"
    slots = f"{survey.slots} request{'s' if survey.slots > 1 else ''} at the same time"
    if survey.limit_seen:
        yield f"the service: works on {slots}, as it did for {len(survey.saturated):,} s at its limit"
    else:
        yield f"the service: its limit was not seen; it is taken to work on {slots}, twice what it did at most"


def _outcome(name: str, outcomes: Outcomes) -> Iterator[str]:
    total = max(outcomes.requests, 1)
    share = outcomes.refusals / total
    yield f"{plain(name)} would have refused {outcomes.refusals:,} of {outcomes.requests:,} requests ({share:.2%})"
    rows = [("", "requests", "share", "clients", "regulars", "their requests", "first", "last")]
    for row in outcomes.verdicts():
        refused = row.action != "forward"
        rows.append(
            (
                _what(row),
                f"{row.requests:,}",
                f"{row.requests / total:.2%}",
                f"{row.clients.count():,.0f}" if refused else "",
                f"{len(row.regulars):,}" if refused else "",
                f"{row.times:,}" if refused else "",
                clock(row.first) if refused else "",
                clock(row.last) if refused else "",
            )
        )
    yield from table(rows)
    if outcomes.queued:
        yield f"  {outcomes.queued:,} waited in the queue, {outcomes.longest_wait:.2f} s at most"
    yield (
        f"  pressure {outcomes.peak_pressure:.2f} at most, for {story.duration(outcomes.pressed_seconds)} high enough "
        f"to challenge; attacks: {outcomes.counts['attack_onset']}, {story.duration(outcomes.attack_seconds)} in all; "
        f"bans: {outcomes.counts['ban']:,}"
    )
    yield from _sites(outcomes)
    for at, event, fields in outcomes.events[:SHOWN]:
        yield f"  {clock(at)}  {plain(story.sentence(event, fields))}"
    if len(outcomes.events) > SHOWN:
        yield f"  and {len(outcomes.events) - SHOWN} more (--json has them)"
    yield from _harmed(outcomes)


def _sites(outcomes: Outcomes) -> Iterator[str]:
    """A line for each of several sites."""
    for site, of in outcomes.sites.items():
        attacks = f", attacks: {of.attacks}, {story.duration(of.attack_seconds)} in all" if of.attacks else ""
        yield (
            f"  site {plain(site)}: {of.requests:,} requests, {of.refused:,} refused, pressure {of.peak_pressure:.2f} "
            f"at most{attacks}"
        )
    if outcomes.misdirected:
        hostless = f", {outcomes.hostless:,} of them without a host in the log" if outcomes.hostless else ""
        yield f"  for no site, so answered 421: {outcomes.misdirected:,}{hostless}"


def _harmed(outcomes: Outcomes) -> Iterator[str]:
    if not outcomes.harmed:
        yield "  no regular would have been refused anything"
        return
    times = sum(harm.refused for harm in outcomes.harmed.values())
    yield (
        f"  regulars that it would have refused something: {len(outcomes.harmed):,} of {len(outcomes.regulars):,}, "
        f"{times:,} times"
    )
    for visitor, harm in worst(outcomes, SHOWN):
        solved = f"; answered {harm.solved}" if harm.solved else ""
        why = ", ".join(f"{count} {reason}" for reason, count in harm.reasons.most_common(3))
        who = f"client {visitor.who}" if visitor.who else visitor.agent[:AGENT_CHARS] or "no User-Agent"
        yield plain(
            f"    {visitor.address}  {harm.refused:,} of {visitor.requests:,} ({why}{solved})  "
            f"{clock(harm.first)} to {clock(harm.last)}  {who}"
        )
    if len(outcomes.harmed) > SHOWN:
        yield f"    and {len(outcomes.harmed) - SHOWN:,} more (--json has {MOST_HARMED:,})"


def worst(outcomes: Outcomes, most: int) -> list[tuple[Visitor, Harm]]:
    """The regulars that would have been refused most, the most first."""
    order = sorted(outcomes.harmed.items(), key=lambda pair: (-pair[1].refused, pair[1].first))
    visitors = outcomes.survey.visitors
    return [(visitors[key], harm) for key, harm in order[:most]]


def _side_by_side(found: Mapping[str, Outcomes]) -> Iterator[str]:
    """Each verdict with the requests that got it, config by config."""
    tables = [{_what(row): row for row in outcomes.verdicts()} for outcomes in found.values()]
    order = dict.fromkeys(what for each in tables for what in each)
    rows = [("side by side", *map(plain, found), "difference")]
    for what in order:
        counts = [each[what].requests if what in each else 0 for each in tables]
        rows.append((what, *(f"{count:,}" for count in counts), f"{counts[-1] - counts[0]:+,}"))
    pair = list(found.values())
    harmed = [len(each.harmed) for each in pair]
    rows.append(("regulars refused something", *(f"{count:,}" for count in harmed), f"{harmed[-1] - harmed[0]:+,}"))
    yield from table(rows)
    only = set(pair[-1].harmed) - set(pair[0].harmed)
    if only:
        yield f"{len(only):,} regulars that only {plain(list(found)[-1])} would have refused something:"
        visitors = pair[-1].survey.visitors
        for key in sorted(only, key=lambda key: -pair[-1].harmed[key].refused)[:SHOWN]:
            yield plain(f"    {visitors[key].address}  {pair[-1].harmed[key].refused:,}  {visitors[key].agent}")


def _what(row: Row) -> str:
    rule = f' of "{plain(row.rule)}"' if row.rule else ""
    return f"{row.action} {row.reason}{rule}"


def table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Columns as wide as they must be; the first is of words."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [cell.ljust(widths[0]) if i == 0 else cell.rjust(widths[i]) for i, cell in enumerate(row)]
        yield f"  {'  '.join(cells)}".rstrip()


def clock(at: float) -> str:
    """A time in UTC, as logs mostly have it."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at))


def as_json(
    names: Sequence[str], survey: Survey, skipped: Skipped, astray: Astray, found: Mapping[str, Outcomes], took: float
) -> dict[str, Any]:
    """All that was found. Times are Unix time."""
    return {
        "logs": list(names),
        "requests": survey.requests,
        "first": survey.first,
        "last": survey.last,
        "peak_per_second": survey.peak,
        "skipped": {
            "no_request": skipped.other,
            "unreadable": skipped.foreign,
            "astray": astray.lines,
            "named": skipped.named,
        },
        "service": {"slots": survey.slots, "limit_seen": survey.limit_seen, "timed_requests": survey.timed},
        "visitors": {"seen": len(survey.visitors) + survey.forgotten, "forgotten": survey.forgotten},
        "configs": [_config_json(name, outcomes) for name, outcomes in found.items()],
        "seconds": round(took, 2),
    }


def _config_json(name: str, outcomes: Outcomes) -> dict[str, Any]:
    return {
        "config": name,
        "requests": outcomes.requests,
        "refused": outcomes.refusals,
        "verdicts": [
            {
                "action": row.action,
                "reason": row.reason,
                "why": _WHY[row.reason],
                "rule": row.rule,
                "requests": row.requests,
                "clients": round(row.clients.count()),
                "known_requests": row.known,
                "regulars": len(row.regulars),
                "regular_requests": row.times,
                "first": row.first,
                "last": row.last,
            }
            for row in outcomes.verdicts()
        ],
        "queued": outcomes.queued,
        "longest_wait": round(outcomes.longest_wait, 3),
        "peak_pressure": round(outcomes.peak_pressure, 3),
        "pressed_seconds": round(outcomes.pressed_seconds, 1),
        "attack_seconds": round(outcomes.attack_seconds, 1),
        "misdirected": outcomes.misdirected,
        "sites": {
            site: {
                "requests": of.requests,
                "refused": of.refused,
                "peak_pressure": round(of.peak_pressure, 3),
                "attacks": of.attacks,
                "attack_seconds": round(of.attack_seconds, 1),
            }
            for site, of in outcomes.sites.items()
        },
        "events": [
            {"at": round(at, 3), "event": event, "text": story.sentence(event, fields)}
            for at, event, fields in outcomes.events
        ],
        "counts": dict(outcomes.counts),
        "regulars": len(outcomes.regulars),
        "harmed": len(outcomes.harmed),
        "regulars_refused": [
            {
                "address": visitor.address,
                "client": visitor.who or harm.client,
                "user_agent": visitor.agent,
                "requests": visitor.requests,
                "refused": harm.refused,
                "reasons": dict(harm.reasons),
                "answered": harm.solved,
                "first": harm.first,
                "last": harm.last,
            }
            for visitor, harm in worst(outcomes, MOST_HARMED)
        ],
    }
