"""What is said at the start, once for all processes: a welcome, and warnings of what the operator may not know."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from shield.config.settings import Config
from shield.demo.site import notice
from shield.operator.log import AccessLog
from shield.terminal import say
from shield.upstream.settings import DEMO


def warn_of_forgetting(config: Config, log: AccessLog) -> None:
    """Say once what a restart will cost, unless this is a trial."""
    if not config.state.directory and not config.dry_run:
        what = "history ends" if config.state.secret_file else "history and keys end"
        log.event("state_not_kept", effect=f"{what} with this process", setting="state.directory")


def warn_of_known_hashes(log: AccessLog) -> None:
    """Say so when clients can choose keys that collide: tables and heads are dicts of what they send."""
    if not sys.flags.hash_randomization:
        log.event("hash_randomization_off", effect="clients can make look-ups slow", unset="PYTHONHASHSEED")


def named(config: Config) -> dict[str, Any]:
    """The sites and their servers, for a line of the log; nothing where there is one."""
    return {"sites": {site.name: list(site.upstream.servers) for site in config.sites}} if config.site else {}


Welcome = Callable[[Config, str], str]
"""What to tell whoever started Shield at a terminal, by the config and one of the addresses that are listened on."""


def welcome(config_path: str) -> Welcome:
    """Where to look, and which line of which file to change."""

    def text(config: Config, address: str) -> str:
        scheme = "https" if config.tls.certificates else "http"
        url = f"{scheme}://{address}/"
        return notice(url, config_path) if DEMO in config.sites[0].upstream.servers else f"Shield is up: {url}"

    return text


def greet(config: Config, address: str, welcome: Welcome) -> None:
    """Say the welcome, once it is up."""
    lines = [welcome(config, address.replace("0.0.0.0", "127.0.0.1").replace("[::]", "[::1]"))]
    if config.dry_run:
        lines.append("dry_run = true: nothing is refused; the log says what would have been.")
    say("\n".join(lines))
