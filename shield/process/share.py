"""What each of several workers is given: its part of what is for the whole service."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from shield.config.settings import Config
from shield.errors import StartError


@dataclass(frozen=True, slots=True)
class Share:
    """What one worker gets from its supervisor, besides its config."""

    worker: int  # from 0
    keys: tuple[bytes, bytes | None]
    listeners: tuple[int, ...]  # descriptors of listening sockets
    redirects: tuple[int, ...] = ()  # likewise, for tls.redirect_from
    workers: int = 1  # how many there are
    estate: int = -1  # descriptor over which it comes in the place of another worker (estate.py)
    board: int = -1  # descriptor of the memory that all share
    boards: Mapping[str, int] = field(default_factory=dict)  # the number of each site's (board.py)
    steered: bool = True  # the kernel brings all connections of a network to one worker
    kept: bool = False  # the listening sockets are a service manager's, who gives them to the next supervisor, too

    @property
    def estates(self) -> tuple[int, ...]:
        """`estate`, if there is one."""
        return () if self.estate < 0 else (self.estate,)


def count(configured: int) -> int:
    """How many workers `listen.workers` asks for: 0 is one for each core that this process may use."""
    if configured:
        return configured
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_workers(before: int, now: int) -> None:
    """Whether a process can come in the place of another one. Raises StartError: sockets and clients are divided."""
    if before != now:
        raise StartError(f"listen.workers: {before} before and {now} now: this needs a restart")


def share_out(config: Config, workers: int) -> Config:
    """The config of one worker. What is for the whole service is divided, rounded up; 0 keeps its meaning. What the
    workers share over the board (policy/board), as the requests that the service takes at once, stays whole."""

    def part(whole: int) -> int:
        return math.ceil(whole / workers)

    listen, tls, http, upstream = config.listen, config.tls, config.http, config.upstream
    return replace(
        config,
        listen=replace(listen, max_connections=part(listen.max_connections)),
        tls=replace(tls, handshakes=part(tls.handshakes)),
        http=replace(
            http,
            body_spools_bytes=part(http.body_spools_bytes),
            response_buffers_bytes=part(http.response_buffers_bytes),
            unsent_bytes=part(http.unsent_bytes),
            unsent_memory_bytes=part(http.unsent_memory_bytes),
        ),
        upstream=replace(upstream, max_streams=part(upstream.max_streams)),
        site=tuple(
            replace(each, upstream=replace(each.upstream, max_streams=part(each.upstream.max_streams)))
            for each in config.site
        ),
    )
