"""Becomes a command, with sockets passed as a service manager does (sd_listen_fds(3)).

python -m bench.common.activate DESCRIPTOR... -- COMMAND...
"""

from __future__ import annotations

import os
import sys
from typing import Final

FIRST: Final = 3  # SD_LISTEN_FDS_START
ASIDE: Final = 200  # where descriptors are, so that none is overwritten before it was copied


def main() -> None:
    middle = sys.argv.index("--")
    given, command = [int(number) for number in sys.argv[1:middle]], sys.argv[middle + 1 :]
    for number, descriptor in enumerate(given):
        os.dup2(descriptor, ASIDE + number)
    for number in range(len(given)):
        os.dup2(ASIDE + number, FIRST + number)
    os.closerange(FIRST + len(given), ASIDE + len(given))
    os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(given))}
    os.environ.pop("LISTEN_FDNAMES", None)
    os.execvp(command[0], command)  # noqa: S606 - that is its task


if __name__ == "__main__":
    main()
