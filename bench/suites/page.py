"""How long a page of many parts takes a visitor far away, over HTTP/2 and over HTTP/1.1.

A Chromium that has never seen the site loads the page through Shield, over TLS, in a network namespace of its own. The
line between the two takes its time for each packet (bench/load/slow_line.py). Both protocols take turns, each with a
fresh profile; the browser itself says how long it took, from the start of the navigation to the load event, with
looking up nothing, connecting and TLS.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from bench.common.guard import MOST_ROUNDS, bounded, json_file
from bench.common.processes import (
    Cores,
    Process,
    launch,
    own_cores,
    prefer_alike,
    running,
    share_out,
    wait_until_answers,
)
from bench.common.progress import bar
from bench.common.stats import median
from bench.load import slow_line
from bench.peers import certificate
from bench.peers import shield as peer
from bench.peers.plan import Limits, Setup
from bench.plots import report

HERE: Final = "10.80.0.1"
THERE: Final = "10.80.0.2"
PORTS: Final = {"h2": 8443, "http/1.1": 8444}
ORIGIN: Final = 9000
PATIENCE: Final = 60.0  # s, for a page
SPOKEN: Final = {"h2": "HTTP/2", "http/1.1": "HTTP/1.1"}

PAGE: Final = """<!doctype html><title>Parts</title><link rel="icon" href="data:,">
{parts}
<script>
addEventListener("load", () => setTimeout(() => {{
  const [page] = performance.getEntriesByType("navigation");
  const parts = performance.getEntriesByType("resource");
  const said = {{ms: page.loadEventStart, spoken: page.nextHopProtocol, parts: parts.length,
    whole: [...document.images].filter(image => image.naturalWidth).length}};
  fetch("/report?" + new URLSearchParams(said));
}}));
</script>"""

FLAGS: Final = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
    "--no-default-browser-check",
    "--no-proxy-server",
    "--ignore-certificate-errors",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=bounded(int, 1, MOST_ROUNDS), default=5)
    parser.add_argument("--parts", type=bounded(int, 1, 500), default=80)
    parser.add_argument("--part-bytes", type=bounded(int, 200, 1 << 20), default=4096)
    parser.add_argument("--round-trip", type=bounded(float, 0, 1), default=0.05, help="s")
    parser.add_argument("--json", type=json_file, help="where the raw results go (default: bench/results)")


def run(arguments: argparse.Namespace) -> int:
    """Everything that was asked for; prints the table, writes it, and returns the exit status."""
    lacking = missing()
    if lacking is not None:
        print(f"page: {lacking}", file=sys.stderr)
        return 1
    results = play(arguments)
    return report.publish(results, markdown(results), arguments.json)


def missing() -> str | None:
    """Why it cannot be played here, or None."""
    if shutil.which("chromium") is None:
        return "there is no chromium on PATH"
    return slow_line.missing() or certificate.missing()


class Service:
    """The page and its parts, as cheap as can be; what the browser says of them is in `reports`. Serves within a loop
    of its own."""

    def __init__(self, parts: int, size: int) -> None:
        images = "\n".join(f'<img src="/part/{number}.svg" width=8 height=8 alt="">' for number in range(parts))
        empty = b'<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"><!--%b--></svg>'
        self.page = _answer("text/html", PAGE.format(parts=images).encode())
        self.part = _answer("image/svg+xml", empty % (b"x" * (size - len(empty) + 2)))
        self.reports: queue.Queue[dict[str, str]] = queue.Queue()

    def serve(self, ready: threading.Event) -> None:
        """Until the process ends."""

        async def begin() -> None:
            await asyncio.get_running_loop().create_server(lambda: Link(self), "127.0.0.1", ORIGIN, backlog=512)
            ready.set()
            await asyncio.Event().wait()

        asyncio.run(begin())


class Link(asyncio.Protocol):
    """A connection to the service; no request has a body."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._data = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        service = self._service
        *heads, self._data = (self._data + data).split(b"\r\n\r\n")
        for head in heads:
            target = head.split(b" ", 2)[1].decode("ascii")
            if target.startswith("/report?"):
                service.reports.put(dict(urllib.parse.parse_qsl(target.partition("?")[2])))
            self._transport.write(service.part if target.endswith(".svg") else service.page)


def _answer(media: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {media}\r\nCache-Control: no-store\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode("ascii") + body


@contextlib.contextmanager
def far_away(seconds: float) -> Iterator[int]:
    """A line of so many seconds from here to a namespace, whose descriptor this gives. This process is in another one
    from now on."""
    with contextlib.ExitStack() as stack:
        slow_line.leave()
        namespace = os.open("/proc/self/ns/net", os.O_RDONLY)
        stack.callback(os.close, namespace)
        there = slow_line.end("there", THERE, HERE)
        stack.callback(os.close, there)
        slow_line.leave()
        here = slow_line.end("here", HERE, THERE)
        stack.callback(os.close, here)
        argv = [sys.executable, "-m", "bench.load.slow_line", str(here), str(there), str(seconds)]
        line = stack.enter_context(subprocess.Popen(argv, pass_fds=(here, there)))
        stack.callback(line.kill)
        yield namespace


def play(arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything that was asked for; the raw results."""
    cores = share_out(own_cores())
    service, ready = Service(arguments.parts, arguments.part_bytes), threading.Event()
    turns: list[dict[str, Any]] = []
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as name,
        far_away(arguments.round_trip / 2) as namespace,
        running([]) as processes,
        bar("page", 2 * arguments.rounds) as shown,
    ):
        folder = Path(name)
        threading.Thread(target=service.serve, args=(ready,), daemon=True).start()
        if not ready.wait(PATIENCE):
            raise RuntimeError("the service did not start")
        for spoken in PORTS:
            start(folder, spoken, cores, processes)
        for round_ in range(arguments.rounds):
            for spoken in PORTS if round_ % 2 else reversed(PORTS):
                shown.step(len(turns), SPOKEN[spoken])
                turns.append({"round": round_, **visit(folder / f"{round_}-{spoken[:2]}", spoken, namespace, service)})
    rows = [summary(spoken, turns) for spoken in PORTS]
    results: dict[str, Any] = {
        "suite": "page",
        "machine": report.machine(),
        "cores": cores.describe(),
        "rounds": arguments.rounds,
        "parts": arguments.parts,
        "part_bytes": arguments.part_bytes,
        "round_trip": arguments.round_trip,
        "turns": turns,
        "rows": rows,
    }
    results["problems"] = problems(turns, arguments.parts)
    return results


def start(folder: Path, spoken: str, cores: Cores, processes: list[Process]) -> None:
    """One Shield, for browsers that speak this."""
    mine = folder / spoken[:2]
    mine.mkdir()
    port = PORTS[spoken]
    setup = Setup(
        mine, port, ORIGIN, port + 1000, Limits.OUT_OF_REACH, 0, tls=certificate.make(mine), http2=spoken == "h2"
    )
    plan = peer.plan(setup)
    config = mine / "shield.toml"
    config.write_text(config.read_text().replace(f"127.0.0.1:{port}", f"0.0.0.0:{port}"))
    processes.append(launch(spoken[:2], plan.argv, mine, cores.proxy))
    wait_until_answers(processes[-1], port, tls=True)


def visit(profile: Path, spoken: str, namespace: int, service: Service) -> dict[str, Any]:
    """One visitor; what the browser says. Raises RuntimeError where it says nothing."""
    names = f"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE {HERE}"
    argv = ["chromium", *FLAGS, f"--user-data-dir={profile}", names, f"https://{HERE}:{PORTS[spoken]}/"]
    with subprocess.Popen(
        argv,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=lambda: slow_line.enter(namespace),  # noqa: PLW1509 - setns is a system call, and no more
    ) as browser:
        try:
            prefer_alike(browser.pid)
            said = service.reports.get(timeout=PATIENCE)
        except queue.Empty:
            raise RuntimeError(f"the browser has not loaded the page in {PATIENCE:g} s") from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(browser.pid, signal.SIGKILL)
    time.sleep(0.2)  # its processes end
    return {
        "asked": spoken,
        "spoken": said["spoken"],
        "ms": float(said["ms"]),
        "parts": int(said["parts"]),
        "whole": int(said["whole"]),
    }


def summary(spoken: str, turns: list[dict[str, Any]]) -> dict[str, Any]:
    """The row of one protocol."""
    times = [turn["ms"] for turn in turns if turn["asked"] == spoken]
    return {"spoken": spoken, "median": median(times), "least": min(times), "most": max(times)}


def problems(turns: list[dict[str, Any]], parts: int) -> list[str]:
    """What makes the figures worthless."""
    found = []
    if any(turn["spoken"] != turn["asked"] for turn in turns):
        found.append("something else was spoken than was asked for")
    if any((turn["parts"], turn["whole"]) != (parts, parts) for turn in turns):
        found.append("a page did not have all of its parts")
    return found


def markdown(results: dict[str, Any]) -> str:
    """The table."""
    how = f"A page of {results['parts']} parts of {results['part_bytes']:,} bytes over TLS 1.3, in a Chromium that was "
    how += f"never there, {1000 * results['round_trip']:g} ms of round trip away. {results['rounds']} rounds; "
    how += f"{results['cores']}; load average {results['machine']['load_average']:.1f}."
    rows = [
        [SPOKEN[row["spoken"]], *(report.figure(row[key], 0) for key in ("median", "least", "most"))]
        for row in results["rows"]
    ]
    table = report.table(["over", "median, ms", "least, ms", "most, ms"], rows)
    return "\n".join(["# Page", f"\n{how}\n", table, *report.verdicts(results)])
