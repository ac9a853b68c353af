"""The process that times micro's cases in one checkout, when it is told to.

It is run as a file, with the checkout on PYTHONPATH, and imports nothing of the bench that it lies in. First it writes
the names of the checkout's cases; then, for each line with a name and a number of operations, the processor time that
they took in s. What it needs of a checkout: CASES and Timer, in bench.suites.micro or, as it was before, bench.micro.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys

PLACES = ("bench.suites.micro", "bench.micro")


def main() -> None:
    found = next(name for name in PLACES if known(name))
    micro = importlib.import_module(found)
    timer = micro.Timer()
    print(json.dumps(list(micro.CASES)), flush=True)
    for line in sys.stdin:
        name, operations = line.split()
        print(timer.value(int(operations), micro.CASES[name]), flush=True)


def known(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # its folder does not exist
        return False


if __name__ == "__main__":
    main()
