"""The figures in the project's README.md, between two comments, as results files have them.

    python -m bench readme              the figures of each suite under bench/results
    python -m bench readme FILE...      those of these files only

The first comment names the files, so that a test can make the block again and compare.
"""

from __future__ import annotations

import argparse
import json
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.common.processes import ROOT
from bench.load.users import PATIENCE
from bench.peers import PEERS
from bench.plots import report
from bench.plots.throughput_tables import BASES, BUSY

README: Final = ROOT / "README.md"
BLOCK: Final = re.compile(r"<!-- bench: (?P<files>.*?); .*? -->\n(?P<text>.*?)<!-- bench: end -->\n", re.DOTALL)
BEGIN: Final = "<!-- bench: {}; python -m bench readme writes what follows -->\n"
END: Final = "<!-- bench: end -->\n"
WIDTH: Final = 118

ROWS: Final = {
    "proxied": "small GET, proxied",
    "proxied-varied": "small GET, proxied, another cookie in each",
    "refused": "refused (429), keep-alive",
    "refused-close": "refused (429), one request per connection",
    "post": "POST of 10 KiB",
    "download": "download of 1 MiB, bytes/s",
    "download-large": "download of 100 MiB, bytes/s",
    "websocket": "WebSocket messages",
    "tls": "small GET over TLS 1.3, keep-alive",
    "tls-handshake": "small GET over TLS 1.3, a handshake each",
}
NAMES: Final = {"nginx": "nginx", "envoy": "Envoy", "caddy": "Caddy", "aiohttp": "the usual aiohttp proxy"}
STEPS: Final = {
    "decide-known": "deciding about a known client {} µs",
    "present": "checking a pass {} µs",
    "present-again": "one that the connection has shown before {} µs",
}


@dataclass(frozen=True, slots=True)
class Source:
    """One suite's results and the file that they are in."""

    file: str
    results: Mapping[str, Any]

    @property
    def page(self) -> str:
        return f"bench/results/{self.file.removesuffix('.json')}.md"

    @property
    def table(self) -> str:
        """A link to its page, and when it was measured."""
        return f"([table]({self.page}), {self.results['machine']['date']})"


def sources(files: Sequence[Path]) -> dict[str, Source]:
    """By suite, of the first file that has it. Quick runs are left out: they are not to be quoted."""
    found: dict[str, Source] = {}
    for path in files:
        results = json.loads(path.read_text())
        if not results.get("quick"):
            for suite, part in results.get("suites", {results["suite"]: results}).items():
                found.setdefault(suite, Source(path.name, part))
    return found


def committed(folder: Path = report.RESULTS) -> list[Path]:
    """The results files, one for each suite."""
    return sorted(folder.glob("*.json"))


def block(found: Mapping[str, Source]) -> str:
    """The README's lines, comments included."""
    writers = {"throughput": throughput, "latency": latency, "memory": memory, "micro": micro, "attack": attack}
    parts = [writers[suite](found[suite]) for suite in writers if suite in found]
    files = dict.fromkeys(found[suite].file for suite in writers if suite in found)
    return BEGIN.format(", ".join(files)) + "\n\n".join(parts) + "\n" + END


def fill(text: str) -> str:
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)


def throughput(source: Source) -> str:
    """Shield's ratios."""
    results, machine = source.results, source.results["machine"]
    intro = (
        f"On loopback ({machine['cpu']}, {machine['date']}), one core for each proxy, its limiter on, logs "
        f"off, interleaved rounds ([the whole table]({source.page}), `make bench` for your own machine). Ratios count; "
        "the machine was a shared one."
    )
    says = next(iter(results["workloads"].values()))["peers"]["shield"].get("says", "")
    if told := re.search(r"upstream\.max_concurrency = [0-9]+", says):
        intro += (
            f" Shield was told what the service takes at once (`{told[0]}`); what it carries where it finds that out "
            "is in [performance](docs/performance.md#what-is-wanted-and-what-is-reached)."
        )
    lines = [f"| Shield | {' | '.join(f'of {NAMES[base]}' for base in BASES)} |", "|---|" + "---|" * len(BASES)]
    bounds = False
    for name, title in ROWS.items():
        if name not in results["workloads"]:
            continue
        workload = results["workloads"][name]
        cells: list[str] = []
        for base in BASES:
            ratio = workload["ratios"].get(base, {}).get("shield")
            busy = workload["peers"].get(base, {}).get("busy")
            bound = ratio is not None and busy is not None and busy < BUSY
            bounds |= bound
            cells.append("" if ratio is None else f"{'≤ ' if bound else ''}{ratio:.2f}")
        lines.append(f"| {title} | {' | '.join(cells)} |".replace("|  |", "| |").replace("|  |", "| |"))
    text = f"{fill(intro)}\n\n" + "\n".join(lines)
    if bounds:
        text += "\n\n" + fill(
            "≤: that peer had processor time to spare, since load, origin or other work on the machine were the limit; "
            "the table says what each needs of its processor."
        )
    return text


def latency(source: Source) -> str:
    at = min(source.results["rates"], key=lambda rate: abs(rate["share"] - 0.5))
    added = {
        name: f"{1000 * peer['added']['p99']:.2f} ms ({NAMES.get(name, PEERS[name].TITLE)})"
        for name, peer in at["peers"].items()
        if name not in {"direct", "shield"}
    }
    shield = 1000 * at["peers"]["shield"]["added"]["p99"]
    return fill(
        f"At {at['rate']:,.0f} requests/s, half of what the slowest peer can do, Shield adds {shield:.2f} ms at p99 "
        f"{source.table}; the others {', '.join(added.values())}."
    )


def memory(source: Source) -> str:
    clients = source.results["clients"][-1]
    connections = source.results["connections"]
    return fill(
        f"A tracked client takes {clients['bytes']:,.0f} bytes at {clients['clients']:,} of them, an idle connection "
        f"{connections['used']:,.0f} bytes at {connections['connections']:,} {source.table}."
    )


def micro(source: Source) -> str:
    cases = source.results["cases"]
    steps = [says.format(f"{cases[name]['median']:.2f}") for name, says in STEPS.items() if name in cases]
    return fill(f"In processor time: {', '.join(steps)} {source.table}.")


def attack(source: Source) -> str:
    """A row per scene."""
    scenes = source.results["scenes"]
    titles = {name: found["title"] for scene in scenes.values() for name, found in scene["contenders"].items()}
    # The service's capacity and who attacks are the scenes': bench/README.md.
    dear = [scene["measured"]["machine"] for scene in scenes.values() if not scene.get("cheap")]
    cheap = [scene for scene in scenes.values() if scene.get("cheap")]
    intro = (
        f"[Under attack]({source.page}): how many requests of {source.results['size']['users']} users with a history "
        "were answered within 10 s, and their p95, in front of a service that can do 200 requests/s. The peers are "
        f"told what it can do (`Shield told` as well), Shield finds out. Measured {measured(dear)}."
    )
    if cheap:
        machines = [scene["measured"]["machine"] for scene in cheap]
        intro += (
            f" From “{cheap[0]['title']}” on the attacks cost next to nothing; measured {measured(machines)}, as much "
            "else used the machine: of these p95 only what is several times another's counts."
        )
    lines = [f"| | {' | '.join(titles.values())} |", "|---|" + "---|" * len(titles)]
    for scene in scenes.values():
        cells = [under_attack(scene["contenders"].get(name)) for name in titles]
        lines.append(f"| {scene['title']} | {' | '.join(cells)} |")
    return f"{fill(intro)}\n\n" + "\n".join(lines)


def measured(machines: Sequence[Mapping[str, Any]]) -> str:
    """When, on how many cores, and at which load averages."""
    dates, loads = ({machine[key] for machine in machines} for key in ("date", "load_average"))
    cores = max(machine["cores"] for machine in machines)
    load = " to ".join(dict.fromkeys(f"{load:.0f}" for load in (min(loads), max(loads))))
    return f"{' and '.join(sorted(dates))} on {cores} cores at a load of {load}"


def under_attack(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "-"
    share = f"{100 * found['attack']['success']:.1f} %".replace(".0 ", " ")
    p95 = found["attack"]["p95"]
    return share if p95 >= PATIENCE else f"{share}, {1000 * p95:,.0f} ms"


def shown(readme: str) -> list[str]:
    """The files that a README's block was made of. Raises ValueError without a block."""
    if (found := BLOCK.search(readme)) is None:
        raise ValueError("README.md has no block between <!-- bench: ... --> and <!-- bench: end -->")
    return found["files"].split(", ")


def replaced(readme: str, text: str) -> str:
    """The README with another block. Raises ValueError without one."""
    shown(readme)
    return BLOCK.sub(lambda _: text, readme, count=1)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="results files (default: bench/results)")


def run(arguments: argparse.Namespace) -> int:
    """Write the block; the exit status."""
    found = sources(arguments.files or committed())
    if not found:
        print("no results to show")
        return 1
    before = README.read_text()
    after = replaced(before, block(found))
    if after != before:
        README.write_text(after)
    print(f"README.md {'shows' if after != before else 'showed already'}: {', '.join(shown(after))}")
    return 0
