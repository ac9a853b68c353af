"""The results as pictures: rates, memory and costs as bars, latencies as lines, the attack over time.

Needs matplotlib (the `bench` extra).
"""

from __future__ import annotations

import math
import textwrap
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt

COLOURS: Final = {"user": "#2b6cb0", "attacker": "#c53030", "other": "#a0aec0"}


def draw(results: dict[str, Any], json_file: Path) -> list[str]:
    """The plot of a suite, beside its JSON file; the file names. Those of all suites in one file are `...-SUITE`."""
    if results["suite"] == "all":
        parts = results["suites"].items()
        names = {suite: json_file.with_stem(f"{json_file.stem}-{suite}") for suite in results["suites"]}
        return [name for suite, part in parts for name in draw(part, names[suite])]
    plots = {
        "throughput": throughput,
        "latency": latencies,
        "memory": memory,
        "micro": micro,
        "attack": attack,
        "slow": slow,
        "saturation": saturation,
    }
    plot = plots.get(results["suite"])
    return plot(results, json_file) if plot else []


def save(figure: Any, json_file: Path, top: float = 1.0) -> list[str]:
    """As PNG and SVG beside the JSON file; the file names. What is above `top` of the height is left for a legend."""
    figure.tight_layout(rect=(0, 0, 1, top))
    paths = [json_file.with_suffix(suffix) for suffix in (".png", ".svg")]
    for path in paths:
        figure.savefig(path, dpi=110, metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(figure)
    return [str(path) for path in paths]


def throughput(results: dict[str, Any], json_file: Path) -> list[str]:
    """A panel per workload: each proxy's requests/s or MB/s, the whiskers from its slowest to its fastest round."""
    workloads = list(results["workloads"].values())
    rows = (len(workloads) + 1) // 2
    figure, axes = plt.subplots(rows, 2, figsize=(13, 1 + 2.6 * rows), squeeze=False)
    for axis in axes.flat[len(workloads) :]:
        axis.set_visible(False)
    for axis, workload in zip(axes.flat, workloads, strict=False):
        # The origin alone would only set the scale.
        peers = [(name, peer) for name, peer in workload["peers"].items() if name != "direct"][::-1]
        key, scale, unit = ("bytes_per_second", 1e6, "MB") if workload["transfer"] else ("rate", 1, workload["unit"])
        rates = [[turn[key] / scale for turn in peer["turns"]] for _, peer in peers]
        middle = [peer[key] / scale for _, peer in peers]
        axis.barh(
            [peer["title"] for _, peer in peers],
            middle,
            xerr=[
                [m - min(rate) for m, rate in zip(middle, rates, strict=True)],
                [max(rate) - m for m, rate in zip(middle, rates, strict=True)],
            ],
            color=[COLOURS["user"] if name == "shield" else COLOURS["other"] for name, _ in peers],
        )
        axis.set_title(workload["title"], fontsize="medium")
        axis.set_xlabel(f"{unit}/s on one core")
        axis.grid(axis="x", alpha=0.3)
    return save(figure, json_file)


def latencies(results: dict[str, Any], json_file: Path) -> list[str]:
    """A panel per percentile: what each proxy adds, over the rate of arrival."""
    figure, axes = plt.subplots(1, 2, figsize=(12, 4.5), squeeze=False)
    rates = [at["rate"] for at in results["rates"]]
    for axis, quantile in zip(axes[0], ("p50", "p99"), strict=True):
        for name, title in results["titles"].items():
            if name != "direct":
                added = [1000 * at["peers"][name]["added"][quantile] for at in results["rates"]]
                axis.plot(rates, added, marker="o", lw=3 if name == "shield" else 1, label=title)
        axis.set_title(f"{quantile} added to the origin alone")
        axis.set_xlabel("requests/s, open loop")
        axis.set_ylabel("ms")
        axis.grid(alpha=0.3)
    axes[0][0].legend(fontsize="small")
    return save(figure, json_file)


def memory(results: dict[str, Any], json_file: Path) -> list[str]:
    """Bytes per client and per connection, each with the line that it is to stay below."""
    connections = results["connections"]
    panels = (
        ("bytes per tracked client", "client", {f"{row['clients']:,}": row["bytes"] for row in results["clients"]}),
        (
            f"bytes per connection, {connections['connections']:,} open",
            "connection",
            {"silent": connections["silent"], "idle after\na request": connections["used"]},
        ),
    )
    figure, axes = plt.subplots(1, 2, figsize=(9, 4), squeeze=False)
    for axis, (title, wanted, bars) in zip(axes[0], panels, strict=True):
        axis.bar(list(bars), list(bars.values()), width=0.5, color=COLOURS["user"])
        axis.axhline(results["wanted"][wanted], color=COLOURS["attacker"], ls="--", lw=1, label="wanted at most")
        axis.set_title(title, fontsize="medium")
        axis.grid(axis="y", alpha=0.3)
    axes[0][0].legend(fontsize="small")
    return save(figure, json_file)


def saturation(results: dict[str, Any], json_file: Path) -> list[str]:
    """One address above, many below: what each proxy answers and refuses, and its latency, over connections."""
    figure, axes = plt.subplots(2, 3, figsize=(13, 7), squeeze=False)
    panels = (("goodput", 1, "answers/s"), ("refused", 1, "refusals/s"), ("p95", 1000, "p95, ms"))
    for line, many in zip(axes, (False, True), strict=True):
        for axis, (key, scale, unit) in zip(line, panels, strict=True):
            for name, title in results["titles"].items():
                rows = [row for row in results["rows"] if row["peer"] == name and (row["addresses"] > 1) is many]
                axis.plot(
                    [row["connections"] for row in rows],
                    [math.nan if row[key] is None else scale * row[key] for row in rows],
                    marker="o",
                    lw=3 if name == "shield" else 1,
                    label=title,
                )
            axis.set_title(f"from {'many addresses' if many else 'one address'}", fontsize="medium")
            axis.set_xscale("log")
            axis.set_xlabel("connections")
            axis.set_ylabel(unit)
            axis.set_ylim(bottom=0)
            axis.grid(alpha=0.3)
    axes[0][0].legend(fontsize="small")
    return save(figure, json_file)


def micro(results: dict[str, Any], json_file: Path) -> list[str]:
    """What each step costs; a mark where it is to cost no more."""
    cases = list(results["cases"].values())[::-1]
    titles = [case["title"] for case in cases]
    figure, axis = plt.subplots(figsize=(10, 1 + 0.3 * len(cases)))
    axis.barh(titles, [case["median"] for case in cases], color=COLOURS["user"])
    wanted = [(case["wanted"], case["title"]) for case in cases if case["wanted"] is not None]
    if wanted:
        axis.scatter(*zip(*wanted, strict=True), marker="|", s=150, color=COLOURS["attacker"], label="wanted at most")
        axis.legend(fontsize="small")
    axis.set_xlabel("µs of processor time, median")
    axis.grid(axis="x", alpha=0.3)
    return save(figure, json_file)


def attack(results: dict[str, Any], json_file: Path) -> list[str]:
    """How many of the users' requests were answered, in all scenes; and a picture of each scene, `...-SCENE`."""
    scenes = results["scenes"]
    titles = {name: o["title"] for scene in scenes.values() for name, o in scene["contenders"].items()}
    figure, axes = plt.subplots(2, 1, figsize=(1 + 2 * len(scenes), 8), sharex=True, squeeze=False)
    width = 0.8 / len(titles)
    for number, (name, title) in enumerate(titles.items()):
        found = [(at, scene["contenders"].get(name)) for at, scene in enumerate(scenes.values())]
        places = [at + (number - len(titles) / 2 + 0.5) * width for at, outcome in found if outcome]
        style = {"label": title} | ({"color": COLOURS["user"]} if name == "shield" else {"alpha": 0.7})
        axes[0][0].bar(places, [100 * outcome["attack"]["success"] for _, outcome in found if outcome], width, **style)
        axes[1][0].bar(places, [outcome["attack"]["p95"] for _, outcome in found if outcome], width, **style)
    axes[0][0].set_ylabel("users' requests answered, %")
    axes[1][0].set_ylabel("users' p95, s; a failure counts as 10")
    axes[1][0].set_yscale("log")
    axes[1][0].set_xticks(
        range(len(scenes)), [textwrap.fill(scene["title"], 20) for scene in scenes.values()], fontsize="small"
    )
    for axis in axes.flat:
        axis.grid(axis="y", alpha=0.3)
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="upper center", ncols=len(titles), fontsize="small")
    names = save(figure, json_file, top=0.95)
    for name, scene in scenes.items():
        names += attack_scene(scene, json_file.with_stem(f"{json_file.stem}-{name}"))
    return names


def attack_scene(scene: dict[str, Any], json_file: Path) -> list[str]:
    """One column per contender: latency of every user request over time, and requests reaching the origin per second.
    Written beside the JSON file as PNG and SVG; returns the file names."""
    contenders = list(scene["contenders"].values())
    figure, axes = plt.subplots(
        2, len(contenders), figsize=(1 + 3.5 * len(contenders), 6), sharex=True, sharey="row", squeeze=False
    )
    for column, outcome in enumerate(contenders):
        latency(axes[0][column], outcome)
        reaching(axes[1][column], outcome)
        axes[0][column].set_title(outcome["title"])
        for axis in (axes[0][column], axes[1][column]):
            for wave in scene["waves"]:
                begins = wave["starts"]
                axis.axvspan(begins, begins + wave["seconds"], color="#fed7d7", alpha=0.35, zorder=0)
            axis.grid(alpha=0.3)
        axes[1][column].set_xlabel("seconds from the onset")
    axes[0][0].set_ylabel("users' latency, s")
    axes[1][0].set_ylabel("requests/s reaching the origin")
    axes[0][0].legend(loc="upper left", fontsize="small")
    axes[1][0].legend(loc="upper left", fontsize="small")
    return save(figure, json_file)


def slow(results: dict[str, Any], json_file: Path) -> list[str]:
    """A column per mode: the users' latency, Shield's client connections, and its memory."""
    if not results["modes"]:
        return []
    modes = list(results["modes"].values())
    figure, axes = plt.subplots(
        3, len(modes), figsize=(1 + 3.5 * len(modes), 8), sharex=True, sharey="row", squeeze=False
    )
    for column, found in enumerate(modes):
        latency(axes[0][column], found)
        axes[0][column].set_title(found["title"])
        times = [reading["t"] for reading in found["readings"]]
        axes[1][column].plot(times, [reading["open"] for reading in found["readings"]], color=COLOURS["attacker"])
        axes[2][column].plot(times, [reading["resident"] / 2**20 for reading in found["readings"]], color="black")
        axes[2][column].set_xlabel("seconds from the onset")
        for row in range(3):
            axes[row][column].grid(alpha=0.3)
    for row, label in enumerate(("users' latency, s", "client connections", "resident, MiB")):
        axes[row][0].set_ylabel(label)
    axes[0][0].legend(loc="upper left", fontsize="small")
    return save(figure, json_file)


def latency(axis: Any, outcome: dict[str, Any]) -> None:
    good = [(t, seconds) for t, seconds, was_good, *_ in outcome["samples"] if was_good]
    bad = [(t, seconds) for t, seconds, was_good, *_ in outcome["samples"] if not was_good]
    axis.scatter(
        *zip(*good, strict=True) if good else ([], []), s=6, color=COLOURS["user"], label="answered", rasterized=True
    )
    axis.scatter(
        *zip(*bad, strict=True) if bad else ([], []),
        s=10,
        marker="x",
        color=COLOURS["attacker"],
        label="failed",
        rasterized=True,
    )
    axis.plot(
        *zip(*outcome["p95"], strict=True) if outcome["p95"] else ([], []), color="black", lw=1, label="p95 of 2 s"
    )
    axis.axhline(2 * outcome["calm"]["p95"], color="grey", ls="--", lw=1, label="twice the calm p95")
    axis.set_yscale("log")


def reaching(axis: Any, outcome: dict[str, Any]) -> None:
    width = outcome["origin"]["bin"]
    bins = {round(t / width): counts for t, counts in outcome["origin"]["timeline"]}
    numbers = range(min(bins, default=0), max(bins, default=0) + 2)  # bins in which nothing came are not in the file
    times = [number * width for number in numbers]
    for source in ("user", "attacker"):
        axis.step(
            times,
            [bins.get(number, {}).get(source, 0) / width for number in numbers],
            where="post",
            color=COLOURS[source],
            label=f"{source}s",
        )
    axis.set_yscale("symlog", linthresh=10)
