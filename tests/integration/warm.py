"""A process that has imported Shield already, and starts one Shield after the other by forking itself.

A new interpreter needs half a second of processor time until it has imported what Shield needs, which is most of what
many tests took. What runs in the fork is what `python -m shield` runs, with its own arguments, directory, environment
and standard files, and no other descriptor. Between it and this process stands a nanny, which waits for it and tells
how it ended. Workers are new interpreters here as well, and so is a Shield that is started with a prefix.

    tests -> warm: its arguments, directory and environment as JSON, and two descriptors (socket.send_fds)
    nanny -> tests: over the second descriptor its process id, and when it has ended its exit status
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import socket
import sys

MOST = 1 << 18  # bytes of a request; an environment has a few thousand


def main(descriptor: int) -> None:
    """Serve until the other end of the socket is closed."""
    import shield.cli
    import shield.demo.trial
    import shield.process.supervisor  # noqa: F401 - this is what takes so long

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the nannies
    with socket.socket(fileno=descriptor) as tests:
        while True:
            asked, descriptors, _, _ = socket.recv_fds(tests, MOST, 2)
            if not asked:
                return
            if os.fork() == 0:
                tests.close()
                mind(json.loads(asked), *descriptors)
            for each in descriptors:
                os.close(each)


def mind(wanted: dict[str, object], stderr: int, told: int) -> None:
    """The nanny: starts Shield, and says how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: Shield has it too, and ends
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        become(wanted, stderr)
    os.close(stderr)
    os.write(told, f"{pid}\n".encode())
    _, status = os.waitpid(pid, 0)
    os.write(told, f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def become(wanted: dict[str, object], stderr: int) -> None:
    """Shield, to its end."""
    arguments, folder, environment = wanted["arguments"], wanted["folder"], wanted["environment"]
    assert isinstance(arguments, list)
    assert isinstance(folder, str)
    assert isinstance(environment, dict)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(stderr, 2)
    os.closerange(3, 1 << 16)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[1:] = arguments
    status: object = 1
    try:
        runpy.run_module("shield", run_name="__main__", alter_sys=True)
    except SystemExit as ending:
        status = ending.code
    except BaseException:
        sys.excepthook(*sys.exc_info())
    sys.stderr.flush()
    os._exit(status if isinstance(status, int) else 0 if status is None else 1)


if __name__ == "__main__":
    main(int(sys.argv[1]))
