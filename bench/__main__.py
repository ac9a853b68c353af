"""python -m bench throughput | attack"""

from __future__ import annotations

import argparse
import sys

from bench import attack, throughput


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=sys.modules["bench"].__doc__)
    suites = parser.add_subparsers(dest="suite", required=True)
    throughput.add_arguments(suites.add_parser("throughput", help="requests per second and core, next to the peers"))
    attack.add_arguments(suites.add_parser("attack", help="what users notice of a flood, with Shield and without"))
    arguments = parser.parse_args(argv)
    return {"throughput": throughput.run, "attack": attack.run}[arguments.suite](arguments)


if __name__ == "__main__":
    sys.exit(main())
