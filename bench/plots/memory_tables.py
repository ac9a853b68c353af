"""What a client and a connection take, as tables."""

from __future__ import annotations

from typing import Any, Final

from bench.plots import report

CONNECTIONS: Final = {  # by the name in the results: what is wanted of it, and what it is
    "silent": ("connection", "a silent connection"),
    "used": ("connection", "a connection that is idle after a request"),
    "used_http2": ("http2", "a connection of HTTP/2 that is idle after a request"),
    "stream": ("stream", "an open stream of one, an upload of which nothing has come"),
}
CLAIMED: Final = ("addresses", "clients")  # the tables of which every client has an entry


def markdown(results: dict[str, Any]) -> str:
    machine = results["machine"]
    lines = ["# Memory", "", f"Linux {machine['kernel']}, Python {machine['python']}. Growth of the resident set.", ""]
    lines += [clients(results), "", connections(results), ""]
    lines.append("The kernel's socket buffers are not among them. Claimed: entries times bytes in /api/status.")
    return "\n".join([*lines, *report.verdicts(results)])


def clients(results: dict[str, Any]) -> str:
    """A row for each number of clients."""
    rows = []
    for row in results["clients"]:
        claimed = {name: table["claimed"] for name, table in row["tables"].items()}
        figures = [row["bytes"], sum(claimed[name] for name in CLAIMED), sum(claimed.values())]
        figures += [results["wanted"]["client"], results["reach"]["client"]]
        rows.append([f"{row['clients']:,} clients", *(report.figure(value, 0) for value in figures)])
    heads = ["", "bytes per client", "claimed: address and client", "claimed: all tables", "wanted", "reach"]
    return report.table(heads, rows)


def connections(results: dict[str, Any]) -> str:
    """A row for each state of a connection."""
    found = results["connections"]
    rows = []
    for key, (kind, title) in CONNECTIONS.items():
        if key not in found:  # results of before
            continue
        figures = [found[key], results["wanted"][kind], results["reach"][kind]]
        rows.append([title, *(report.figure(value, 0) for value in figures)])
    heads = [f"{found['connections']:,} connections", "bytes per connection", "wanted", "reach"]
    return report.table(heads, rows)
