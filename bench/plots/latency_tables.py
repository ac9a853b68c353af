"""What the latency runs showed, as tables: what each proxy adds, and what the load generator itself added."""

from __future__ import annotations

from typing import Any, Final

from bench.load import open_loop
from bench.peers import PEERS
from bench.plots import report

HALF: Final = 0.5  # the share at which Shield is held against Envoy
WANTED: Final = 2.0  # of what Envoy adds, p99 at half load
REACH: Final = 1.0
NAMES: Final = tuple(open_loop.QUANTILES)
HEADS: Final = {"p50": "p50", "p90": "p90", "p99": "p99", "p999": "p99.9"}
LATE: Final = 0.25  # of the p99 that is measured; a generator that is later than this measures itself


def markdown(results: dict[str, Any]) -> str:
    machine = results["machine"]
    titles = results["titles"]
    lines = ["# Latency at fixed rates of arrival", ""]
    lines.append(
        f"{machine['cpu']}, {machine['cores']} cores, Linux {machine['kernel']}, Python {machine['python']}, load "
        f"{machine['load_average']:.1f}; {results['cores']}. Open loop from the due times, Poisson arrivals over "
        f"{results['connections']} connections, {results['seconds']:g} s a turn, median of {results['rounds']} "
        "interleaved rounds. Milliseconds added to what the origin alone takes."
    )
    heads = ["", *HEADS.values(), "p99 of Envoy's"]
    for at in results["rates"]:
        half = f" (wanted at half load: Shield's p99 at most {WANTED:g} of Envoy's, reach for {REACH:g})"
        title = f"{at['rate']:,.0f} requests/s, {at['share']:.0%} of the slowest peer's capacity"
        lines += ["", f"## {title}{half if at['share'] == HALF else ''}", ""]
        envoy = at["peers"].get("envoy", {}).get("added", {}).get("p99")
        rows = []
        for name, peer in at["peers"].items():
            alone_ = name == "direct"
            figures = peer["latency"] if alone_ else peer["added"]
            # Noise can make a proxy faster than none; a ratio of such figures says nothing.
            ratio = figures["p99"] / envoy if not alone_ and envoy and min(envoy, figures["p99"]) > 0 else None
            title = f"{titles[name]}, in all" if alone_ else titles[name]
            rows.append([title, *(report.figure(1000 * figures[q], 3) for q in NAMES), report.figure(ratio)])
        lines += [report.table(heads, rows), "", lateness(at["peers"])]
    capacities = ", ".join(f"{titles[name]} {rate:,.0f}" for name, rate in results["capacities"].items())
    lines += ["", f"Capacities in a closed loop, requests/s: {capacities}.", "", checked(results["checks"])]
    if thrown := [row for row in results["turns"] if row["thrown_out"]]:
        lines.append(
            f"\nThrown out: {len(thrown)} of {len(results['turns'])} turns, in which the generator was later than "
            f"{LATE:.0%} of the p99 that it measured."
        )
    lines += [f"\nLeft out: {PEERS[name].TITLE} ({why})." for name, why in results["missing"].items()]
    return "\n".join([*lines, *report.verdicts(results)])


def lateness(peers: dict[str, Any]) -> str:
    """The generator's own, over all that it measured at one rate."""
    worst = {
        name: report.figure(1e6 * max(peer["late"][name] for peer in peers.values()), 0)
        for name in ("sent_p50", "sent_p99", "sent_p999", "noticed_p99")
    }
    return (
        f"The generator itself, in the worst of these lines: sent {worst['sent_p50']} µs late at p50, "
        f"{worst['sent_p99']} µs at p99, {worst['sent_p999']} µs at p99.9; noticed answers at most "
        f"{worst['noticed_p99']} µs late at p99."
    )


def checked(checks: dict[str, dict[str, float]]) -> str:
    delay, stall, closed = checks["delay"], checks["stall"], checks["overload"]
    return (
        f"The generator, checked: a delay of {1000 * delay['expected']:g} ms is measured as "
        f"{report.figure(1000 * delay['measured'], 3)} ms (p50); stalls that make the p99 "
        f"{1000 * stall['expected']:.0f} ms as {report.figure(1000 * stall['measured'], 1)} ms; overloaded, the "
        f"slowest peer answers {report.figure(closed['measured'], 0)}/s, in a closed loop {closed['expected']:,.0f}/s."
    )
