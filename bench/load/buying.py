"""How newcomers get in: they answer the challenge that they are shown, as a browser does, in processes beside.

One such process has about a million hashes a second, a phone four; all newcomers of a run share two, which have the
lowest priority so that nobody's latency is disturbed. So the price is felt more than by people.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import re
from collections.abc import Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any, Final, Self

from shield.demo.solver import solve

PROCESSES: Final = 2
CLAIM_EVERY: Final = 2.0  # seconds between two looks of who is in the waiting room
PAGE: Final = re.compile(
    rb'data-token="(?P<token>[\w-]+)" data-k="(?P<k>\d+)" data-target="(?P<target>[0-9a-f]{16})"'
    rb'.*? data-answer="(?P<to>[^"]+)"',
    re.DOTALL,
)

Post = Callable[[str, bytes], Awaitable[tuple[int, bytes]]]


class Desk:
    """Solves for everybody. Use as a context manager."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(PROCESSES, context, initializer=os.nice, initargs=(19,))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():  # at a puzzle that nobody waits for any more
            process.kill()

    async def buy(self, page: bytes, post: Post) -> bool:
        """Answer the challenge on `page`, and wait in the waiting room if need be. Whether there is a pass now.

        `post(path, JSON)` sends it from where the page was asked for, and gives status and body.
        """
        found = PAGE.search(page)
        if found is None:
            return False
        token, to = found["token"].decode(), found["to"].decode()
        loop = asyncio.get_running_loop()
        nonces = await loop.run_in_executor(self._pool, solve, token, int(found["k"]), int(found["target"], 16))
        answer: dict[str, Any] = {"token": token, "nonces": nonces}
        while True:
            status, body = await post(to, json.dumps(answer).encode())
            if status not in (202, 503):
                return status == 200
            if status == 202:
                answer = {"ticket": json.loads(body)["ticket"]}
            await asyncio.sleep(CLAIM_EVERY)
