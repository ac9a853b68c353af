"""How many connections the limit of open files (RLIMIT_NOFILE) allows, and of which kind."""

from __future__ import annotations

import resource
from typing import Final

RESERVED_FILES: Final = 128
"""Descriptors kept back for upstream checks, DNS, logs, the admin listener and the like."""


def raise_file_limit() -> int:
    """Raise the soft limit of open files to the hard one. Returns the limit that is in force then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = hard if hard != resource.RLIM_INFINITY else 1 << 20
    if soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):  # some kernels refuse more than fs.nr_open
            return soft
        return wanted
    return soft


def idle_limit(configured: int, files: int, servers: int) -> int:
    """Idle connections to keep to each of `servers`: as configured, but all of them on a quarter of `files` at most."""
    return min(configured, files // 4 // max(servers, 1))


def connection_limit(configured: int, files: int, idle: int) -> int:
    """Client connections that `files` descriptors allow beside `idle` ones to the upstream; at least 16.

    Each counts twice: a WebSocket, a stream or a slow reader has a connection to the upstream as long as its own.
    """
    possible = max(16, (files - idle - RESERVED_FILES) // 2)
    return min(configured, possible) if configured else possible


def stream_limit(configured: int, connections: int) -> int:
    """How many of the client connections may be streams: as configured, or half, so that others still get in."""
    return configured or max(1, connections // 2)
