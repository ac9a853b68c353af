"""Who is measured. One file per peer, each with the same three names:

    TITLE            what the tables call it
    missing()        why it cannot run here, or None
    plan(setup)      its configuration written into setup.folder, and the command that serves it

Every peer gets its best configuration: one worker, logs off, keep-alive on both sides. To add one, write its file and
name it in PEERS.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Final

from bench.peers import aiohttp, anubis, caddy, direct, envoy, haproxy, logged, nginx, shield, shipped, told, traefik

PEERS: Final[Mapping[str, ModuleType]] = {
    "direct": direct,
    "nginx": nginx,
    "haproxy": haproxy,
    "shield": shield,
    "told": told,
    "shipped": shipped,
    "logged": logged,
    "envoy": envoy,
    "traefik": traefik,
    "caddy": caddy,
    "anubis": anubis,
    "aiohttp": aiohttp,
}
"""By the name that `--peers` takes, in the order of the tables."""
