"""What each step of a request costs in Python, in microseconds, without sockets: decide(), passes, heads, answers.

pyperf does the timing: it finds how many operations make a value long enough, and takes values in several processes one
after the other, each with a hash seed and a heap of its own. A value is CPU time per operation. The median is what to
compare, the fastest is what the code can do when nothing else disturbs the caches. Preparations are not timed, and
every case checks that what it timed was what its title says.

    python -m bench.suites.micro --cases gcra --rigorous      # a case with all that pyperf can be told
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from bench.common.guard import bounded, json_file
from bench.common.processes import ROOT, own_cores, share_out
from bench.common.progress import Bar, bar
from bench.common.stats import spread
from bench.plots import report
from bench.plots.micro_tables import markdown
from bench.suites.micro import heads, policy, requests
from bench.suites.micro.case import Case, Timer

__all__ = ["CASES", "Timer", "add_arguments", "markdown", "play", "run"]

LEAST_SECONDS: Final = 0.02  # of a value; pyperf takes as many operations
DONE: Final = re.compile(r"\S+: Mean ")  # what pyperf says of a case that it has finished

CASES: Final = {
    case.name: case
    for case in (
        Case("decide-known", "decide(): a known client, forwarded", policy.decide_known, 6.0, 3.0),
        Case("decide-pass", "decide(): with a pass, forwarded", policy.decide_with_pass),
        Case("decide-refused", "decide(): refused", policy.decide_refused),
        Case("decide-challenged", "decide(): challenged", policy.decide_challenged),
        Case("decide-learn", "decide() and learn(): a known client, forwarded", policy.decide_and_learn),
        Case("present", "present(): a pass token verified", policy.present, 3.0),
        Case("present-again", "a pass that the connection has shown before", requests.present_again, 0.5),
        Case("present-forged", "present(): a forged token", policy.present_forged),
        Case("mint", "mint(): a challenge", policy.mint),
        Case("redeem", "redeem(): an answer of 16 nonces verified", policy.redeem),
        Case("gcra", "one GCRA check", policy.gcra),
        Case("identify", "identify(): the fingerprint of a client that is known", policy.identify),
        Case("identify-new", "identify(): the fingerprint of a new address", policy.identify_new),
        Case("parse", "a browser's request head through aiohttp's parser, for comparison", heads.parse),
        Case("examine", "a browser's request head, examined line by line", heads.examine),
        Case("plain", "a browser's request head read line by line, the lines known", heads.plain),
        Case("plain-again", "the same fields once more, another target", heads.plain_again),
        Case("refusal", "refusal(): a 429 rendered", heads.refusal),
        Case("forward", "a request forwarded, its fields new each time", requests.forward),
        Case("forward-repeated", "a request forwarded, its fields repeated", requests.forward_repeated),
        Case("forward-pass", "a request forwarded, with a pass shown before", requests.forward_with_pass),
        Case("forward-chunked", "a request forwarded, its response 640 KiB in 4 KiB chunks", requests.forward_chunked),
        Case("refuse", "a request refused, its fields new each time", requests.refuse),
        Case("refuse-repeated", "a request refused, its fields repeated", requests.refuse_repeated),
        Case("h2-forward", "a stream of HTTP/2 forwarded, its cookie new each time", requests.forward_http_2),
        Case("h2-forward-repeated", "a stream of HTTP/2 forwarded, its fields repeated", requests.repeat_http_2),
        Case("h2-refuse", "a stream of HTTP/2 refused, its cookie new each time", requests.refuse_http_2),
        Case("h2-refuse-repeated", "a stream of HTTP/2 refused, its fields repeated", requests.refuse_http_2_repeated),
        Case("connection", "a connection with one request, forwarded", requests.connection),
        Case("connection-refused", "a connection with one request, refused", requests.connection_refused),
    )
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--processes", type=bounded(int, 1, 100), default=3, help="one after the other, for each case")
    parser.add_argument("--repeats", type=bounded(int, 1, 1000), default=8, help="values in each process")
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES), metavar="CASE")
    parser.add_argument("--pyperf", type=Path, help="keep what pyperf writes, for `pyperf compare_to`; must not exist")
    parser.add_argument("--json", type=json_file, help="where the raw results go (default: bench/results)")


def run(arguments: argparse.Namespace) -> int:
    """Prints the table, writes it, and returns the exit status."""
    try:
        results = play(arguments)
    except RuntimeError as error:
        print(f"micro: {error}", file=sys.stderr)
        return 1
    return report.publish(results, markdown(results), arguments.json)


def play(arguments: argparse.Namespace) -> dict[str, Any]:
    """The raw results, in µs. Raises RuntimeError where pyperf is missing or fails."""
    if importlib.util.find_spec("pyperf") is None:
        raise RuntimeError("pyperf is not installed; it comes with the bench extra")
    import pyperf  # noqa: PLC0415

    names = list(dict.fromkeys(arguments.cases))
    with bar("micro", len(names)) as shown, tempfile.TemporaryDirectory(prefix="bench-") as folder:
        written = arguments.pyperf or Path(folder, "pyperf.json")
        measure(names, arguments.processes, arguments.repeats, written, shown)
        suite = pyperf.BenchmarkSuite.load(str(written))
    cases = {name: row(CASES[name], suite.get_benchmark(name)) for name in names}
    return {
        "suite": "micro",
        "machine": report.machine(),
        "pyperf": pyperf.__version__,
        "processes": arguments.processes,
        "cases": cases,
        "problems": judge(cases),
    }


def judge(cases: dict[str, dict[str, Any]]) -> list[str]:
    """What costs more than is wanted."""
    return [
        f"{case['title']}: {case['median']:.2f} µs, at most {case['wanted']:g} are wanted"
        for case in cases.values()
        if case["wanted"] is not None and case["median"] > case["wanted"]
    ]


def row(case: Case, found: Any) -> dict[str, Any]:
    """A case as pyperf.Benchmark has it."""
    values = [1e6 * value for value in found.get_values()]
    return {
        "title": case.title,
        "median": 1e6 * found.median(),
        "least": min(values),
        "deviation": 1e6 * found.stdev() if len(values) > 1 else 0.0,
        "spread": spread(values),
        "wanted": case.wanted,
        "reach": case.reach,
        "operations": found.get_total_loops(),
        "repeats": values,
    }


def measure(names: Sequence[str], processes: int, values: int, path: Path, shown: Bar) -> None:
    """Have pyperf write `path`. Its workers take turns on the core that a proxy would have."""
    cores = ",".join(map(str, sorted(share_out(own_cores()).proxy)))
    argv = [sys.executable, "-m", "bench.suites.micro", "--cases", *names, "--output", str(path), "--affinity", cores]
    argv += ["--processes", str(processes), "--values", str(values), "--min-time", str(LEAST_SECONDS)]
    told: list[str] = []
    shown.step(0, names[0])
    with subprocess.Popen(
        argv,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as runner:
        assert runner.stdout is not None
        done = 0
        for line in runner.stdout:  # pyperf says a line of each that it has finished
            told.append(line)
            if DONE.match(line):
                done += 1
                shown.step(done, names[min(done, len(names) - 1)])
    if runner.returncode:
        raise RuntimeError(f"pyperf ended with {runner.returncode}: {''.join(told)[-1500:]}")
