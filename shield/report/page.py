"""The page: one file of HTML, with its style and its plots in it, and nothing from anywhere else.

What strangers have sent (User-Agents, paths) is text in it: Jinja escapes all that is put into the page, and a policy
in its head (Content-Security-Policy) lets no script run, whatever happens.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from shield import __version__
from shield.operator import story
from shield.report import plot
from shield.report.account import REFUSING, TIERS, Account
from shield.report.advice import advice
from shield.report.plot import Curve, Plot

TEXT_CHARS: Final = 160
"""Of what a stranger has sent."""
ACTIONS: Final = {
    "forward": "let through",
    "challenge": "challenged",
    "limit": "limited",
    "shed": "turned away by the queue",
    "ban": "refused for bans",
}
BROWSERS: Final = {
    "chrome": "Chrome",
    "edge": "Edge",
    "firefox": "Firefox",
    "opera": "Opera",
    "safari": "Safari",
    "samsung": "Samsung Internet",
    "other": "other browsers",
    "text": "text browsers",
    "robot": "robots",
    "program": "programs",
    "none": "without a name",
}
_WHY: Final = {reason.value: text for reason, text in story.REASONS.items()}
_TICKS: Final = 4


def html(account: Account) -> str:
    """The page of an account."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["short"] = short
    environment.filters["visible"] = visible
    environment.filters["clock"] = clock
    peak, when = account.peak()
    return environment.get_template("page.html").render(
        account=account,
        version=__version__,
        headline=headline(account),
        of_sites=any(each.site for each in account.attacks),
        asked_for=any(what for _, _, what, _ in account.refused),
        facts=_facts(account, peak, when),
        plots=list(_plots(account)),
        verdicts=_verdicts(account),
        attacks=[_attack(account, each) for each in account.attacks],
        felt=[
            {
                "who": TIERS[each.tier],
                "tier": each.tier,
                "asked": "not known" if each.asked is None else f"{each.asked:,}",
                "served": f"{each.served:,}",
                "share": f"{each.served / each.asked:.1%}" if each.asked else "not known",
                "p50": span(each.p50),
                "p95": span(each.p95),
            }
            for each in account.felt
        ],
        challenged=[
            {
                **each,
                "browser": BROWSERS.get(each["browser"], each["browser"]),
                "share": f"{each['let_in'] / each['asked']:.0%}",
                "p50": span(each["p50"]),
                "p95": span(each["p95"]),
            }
            for each in account.challenged
        ],
        advice=advice(account),
    )


def headline(account: Account) -> str:
    """The whole in a sentence."""
    share = account.refusals / max(account.requests, 1)
    what = f"{account.refusals:,} of {account.requests:,} requests were refused ({share:.1%})"
    if account.dry_run:
        what = f"{account.requests:,} requests were let through; Shield was in a dry run"
    if not account.attacks:
        return f"No attack. {what}."
    seconds = sum((each.end or account.until) - each.begin for each in account.attacks)
    several = "An attack" if len(account.attacks) == 1 else f"{len(account.attacks)} attacks"
    return f"{several}, {story.duration(seconds)} in all. {what}."


def short(text: object) -> str:
    """What a stranger has sent, cut, and without what cannot be seen."""
    found = visible(str(text)[: TEXT_CHARS + 1])
    return found if len(found) <= TEXT_CHARS else f"{found[:TEXT_CHARS]}…"


def visible(text: str) -> str:
    """With a mark in the place of what cannot be seen, such as what turns the direction of text around."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)


def clock(at: float) -> str:
    """A time in UTC."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at))


def span(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _facts(account: Account, peak: float, when: float) -> list[tuple[str, str]]:
    facts = [
        ("Requests", f"{account.requests:,}"),
        ("Refused", f"{account.refusals:,}"),
        ("Most at once", f"{story.number(peak)} requests/s at {clock(when)[11:]}" if peak else ""),
        ("Bans", f"{account.bans:,}"),
    ]
    known = [each for each in account.felt if each.tier in ("T0", "T1")]
    asked = [each.asked for each in known]
    if known and None not in asked and sum(each or 0 for each in asked):
        share = sum(each.served for each in known) / sum(each or 0 for each in asked)
        facts.append(("Known visitors served", f"{share:.1%}"))
    return [fact for fact in facts if fact[1]]


def _attack(account: Account, each: Any) -> dict[str, str]:
    end = each.end if each.end is not None else account.until
    return {
        "begin": clock(each.begin),
        "end": clock(each.end)[11:] if each.end is not None else "goes on",
        "seconds": story.duration(end - each.begin),
        "cause": each.cause,
        "site": each.site,
        "rate": f"{story.number(each.peak_rate)} requests/s" if each.peak_rate else "",
        "pressure": f"{each.peak_pressure:.2f}" if each.peak_pressure else "",
    }


def _verdicts(account: Account) -> list[dict[str, str]]:
    total = max(account.requests, 1)
    found = []
    for (action, reason), count in sorted(account.verdicts.items(), key=lambda pair: -pair[1]):
        tried = action.endswith("_dry_run")
        what = ACTIONS.get(action.removesuffix("_dry_run"), action)
        found.append(
            {
                "style": action if action in ACTIONS else "would" if tried else "",
                "what": f"would have been {what}" if tried and not what.startswith("turned") else what,
                "why": _WHY.get(reason, reason.replace("_", " ")),
                "reason": reason,
                "count": f"{count:,}",
                "share": f"{count / total:.1%}",
            }
        )
    return found


def _plots(account: Account) -> Sequence[Plot]:
    if len(account.times) < 2:
        return []
    series, begin, end = account.series, account.times[0], account.times[-1] + account.step
    whole = end - begin
    shades = [((a.begin - begin) / whole, ((a.end or account.until) - begin) / whole) for a in account.attacks]
    ticks = tuple((part / _TICKS, clock(begin + whole * part / _TICKS)[11:16]) for part in range(_TICKS + 1))
    made = []
    curves = [Curve(ACTIONS[name], name, series[name]) for name in ("forward", *REFUSING)]
    made.append(
        _plot("How much, and what was done", "Requests per second, by verdict", curves, shades, ticks, areas=True)
    )
    if any(series["would_refuse"]):
        curves = [Curve("would have been refused", "would", series["would_refuse"])]
        made.append(_plot("What dry runs would have refused", "Requests per second", curves, shades, ticks))
    if any(value for value in series["pressure"]):
        curves = [Curve("pressure", "pressure", series["pressure"])]
        made.append(
            _plot("Pressure", "0: calm; 1: newcomers are challenged as hard as may be", curves, shades, ticks, top=1.0)
        )
    if any(value for value in series["demand"]):
        curves = [Curve("asked for", "demand", series["demand"]), Curve("can be done", "capacity", series["capacity"])]
        made.append(
            _plot("Demand and capacity", "Units per second: a unit is 10 ms of the service", curves, shades, ticks)
        )
    curves = [
        Curve("known visitors", "known", series["known_p95"]),
        Curve("with a bought pass", "bought", series["bought_p95"]),
        Curve("newcomers", "new", series["new_p95"]),
    ]
    curves = [curve for curve in curves if any(value is not None for value in curve.values)]
    if curves:
        made.append(
            _plot("What users felt", "Seconds within which 95 % of the answers were complete", curves, shades, ticks)
        )
    return made


def _plot(
    title: str,
    about: str,
    curves: Sequence[Curve],
    shades: Sequence[tuple[float, float]],
    ticks: tuple[tuple[float, str], ...],
    *,
    areas: bool = False,
    top: float = 0.0,
) -> Plot:
    svg, edge, step = plot.stacked(curves, shades) if areas else plot.lines(curves, shades, top)
    marks = tuple(
        (number * step / edge, f"{number * step:,.10g}" if step >= 1 else f"{number * step:.3g}")
        for number in range(round(edge / step) + 1)
    )
    shown = [curve for curve in curves if any(curve.values)]
    legend = tuple((curve.style, curve.name) for curve in shown)
    best = "; ".join(f"{curve.name}: at most {max(v or 0.0 for v in curve.values):,.3g}" for curve in shown)
    return Plot(title, f"{about}. {best}" if best else about, svg, legend, marks, ticks)
