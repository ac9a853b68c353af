"""As pyperf runs it: the same command for itself and for its workers, each of which measures one case."""

from __future__ import annotations

import argparse

from bench.suites.micro import CASES, Timer


def main() -> None:
    import pyperf  # noqa: PLC0415

    def hand_on(command: list[str], arguments: argparse.Namespace) -> None:
        command += ["--cases", *arguments.cases]

    runner = pyperf.Runner(program_args=("-m", "bench.suites.micro"), add_cmdline_args=hand_on)
    runner.argparser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES), metavar="CASE")
    timer = Timer()
    for name in runner.parse_args().cases:
        runner.bench_time_func(name, timer.value, CASES[name])


if __name__ == "__main__":
    main()
