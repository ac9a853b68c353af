"""`make fuzz`: every target and the differential fuzzer for FUZZ_SECONDS, guided by coverage where atheris is there.

    python -m tests.fuzz.run [--seconds 600] [--jobs 2] [target ...]

Prints how each is getting on every 15 s. New inputs go to build/fuzz/<target>/, where the next run finds them. An input
that breaks something is printed as a line for seeds/<target>.txt, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import sys
import time
import traceback
from pathlib import Path
from typing import Final

from tests.fuzz.mutation import mutated

BUILD: Final = Path("build/fuzz")
REPORT_SECONDS: Final = 15.0
MOST_BYTES: Final = 4096
FOUND: Final = "crash-"
DIFFERENTIAL: Final = "differential"
"""The one that is no function of bytes: Shield against h11, in differential.py."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.run")
    parser.add_argument("--seconds", type=int, default=int(os.environ.get("FUZZ_SECONDS", "600")))
    parser.add_argument("--jobs", type=int, default=max(1, (os.cpu_count() or 2) // 2))
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("targets", nargs="*")
    chosen = parser.parse_args()
    if chosen.one:
        return _one(chosen.targets[0], chosen.seconds)
    from tests.fuzz.targets import TARGETS

    every = [*TARGETS, DIFFERENTIAL]
    unknown = set(chosen.targets) - set(every)
    if unknown:
        parser.error(f"no such target: {', '.join(sorted(unknown))}; there are {', '.join(every)}")
    names = chosen.targets or every
    rounds = -(-len(names) // chosen.jobs)
    print(
        f"{len(names)} targets, {chosen.jobs} at a time, {chosen.seconds} s each: {rounds * chosen.seconds // 60} min"
    )
    return asyncio.run(_all(names, chosen.seconds, chosen.jobs))


async def _all(names: list[str], seconds: int, jobs: int) -> int:
    room = asyncio.Semaphore(jobs)
    last: dict[str, str] = {}

    async def report() -> None:
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            for name, line in last.items():
                print(f"{name:12} {line}", flush=True)

    async def one(name: str) -> bool:
        async with room:
            arguments = ["-m", "tests.fuzz.run", "--one", "--seconds", str(seconds), name]
            if name == DIFFERENTIAL:
                arguments = ["-m", "tests.fuzz.differential", "--seconds", str(seconds)]
            child = await asyncio.create_subprocess_exec(
                sys.executable, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
            )
            assert child.stdout is not None
            said: list[str] = []
            async for raw in child.stdout:
                line = raw.decode("utf-8", "replace").rstrip()
                if line.startswith("#") and line[1:2].isdigit():
                    last[name] = line
                elif not line.startswith(("INFO:", "WARNING:", "stat::", "###", '"')):
                    said = [*said[-40:], line]
            failed = await child.wait() != 0
            print(f"{name:12} {'FAILED' if failed else 'ok'}: {last.pop(name, 'nothing said')}", flush=True)
            if failed:
                print("\n".join(said), flush=True)
                for file in sorted((BUILD / name).glob(f"{FOUND}*")):
                    print(f"for seeds/{name}.txt: {shown(file.read_bytes())}", flush=True)
            return failed

    reporting = asyncio.create_task(report())
    try:
        return int(any(await asyncio.gather(*(one(name) for name in names))))
    finally:
        reporting.cancel()


def shown(data: bytes) -> str:
    """`data` as a line of a seeds file."""
    return data.decode("latin-1").encode("unicode_escape").decode("ascii")


def _one(name: str, seconds: int) -> int:
    """Fuzz one target, in this process."""
    directory = BUILD / name
    directory.mkdir(parents=True, exist_ok=True)
    for file in directory.glob(f"{FOUND}*"):
        file.unlink()
    try:
        import atheris  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        return _blindly(name, seconds, directory)
    with atheris.instrument_imports(include=["shield"]):
        from tests.fuzz.targets import TARGETS, seeds
    for number, data in enumerate(seeds(name)):
        (directory / f"seed-{number}").write_bytes(data)
    atheris.Setup(
        [
            sys.argv[0],
            f"-max_total_time={seconds}",
            f"-max_len={MOST_BYTES}",
            "-timeout=60",
            "-print_final_stats=1",
            f"-artifact_prefix={directory}/",
            str(directory),
        ],
        TARGETS[name],
    )
    atheris.Fuzz()  # does not return
    return 0


def _blindly(name: str, seconds: int, directory: Path) -> int:
    """Without atheris: mutations of the seeds, as in the tests, but others each time."""
    from tests.fuzz.targets import TARGETS, seeds

    target, known, dice = TARGETS[name], seeds(name), random.Random()
    began = told = time.monotonic()
    runs = 0
    while (now := time.monotonic()) - began < seconds:
        data = mutated(known, dice, MOST_BYTES)
        try:
            target(data)
        except Exception:
            (directory / f"{FOUND}0").write_bytes(data)
            traceback.print_exc()
            return 1
        runs += 1
        if now - told > REPORT_SECONDS / 2:
            told = now
            print(f"#{runs} mutations of {len(known)} seeds, {runs / (now - began):.0f}/s", flush=True)
    print(f"#{runs} mutations of {len(known)} seeds, {runs / (time.monotonic() - began):.0f}/s", flush=True)
    return 0


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
