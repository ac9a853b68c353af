"""What a peer is told, and what it answers."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


class Limits(enum.Enum):
    """How strict a peer is to be."""

    OUT_OF_REACH = "out of reach"  # the limiter runs and never refuses
    TINY = "tiny"  # nearly every request is refused with 429
    SENSIBLE = (
        "sensible"  # against attacks: what Shield ships with, 10 requests/s, burst 200, per address, and whatever
    )
    # else the peer has


@dataclass(frozen=True, slots=True)
class Certificate:
    """PEM files of one run: a certificate for 127.0.0.1 and its ECDSA P-256 key, and both in one file."""

    chain: Path
    key: Path
    both: Path


@dataclass(frozen=True, slots=True)
class Setup:
    """What a peer has to know to write its configuration. All ports are on 127.0.0.1."""

    folder: Path  # its own, empty
    port: int
    origin_port: int
    side_port: int  # for metrics, where a peer has them
    limits: Limits
    concurrency: int  # requests that the origin can take at a time, for peers that know such a limit; 0: not told
    history_window: float | None = None  # seconds; Shield's only; None: as shipped
    challenge: bool = False  # Shield's only: challenge everybody
    tls: Certificate | None = None  # with it clients speak TLS 1.3
    http2: bool = False  # clients choose HTTP/2 by ALPN
    log: bool = False  # Shield's only: write its request log where the peers write none
    large: bool = False  # answers are large: buffers may be sized for them


@dataclass(frozen=True, slots=True)
class Plan:
    """A command that serves `port`. `metrics` is a path on the side port, or None. `says` is told to the reader.

    `unready` is the status that the peer answers while its configuration is not loaded yet."""

    argv: Sequence[str]
    port: int
    metrics: str | None = None
    says: str = ""
    unready: int | None = None
