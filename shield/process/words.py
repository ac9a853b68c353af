"""What is said at the start, once for all processes: a welcome, and warnings of what the operator may not know."""

from __future__ import annotations

import sys

from shield.config.settings import Config
from shield.demo.site import notice
from shield.operator.log import AccessLog
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


def welcome(config: Config, address: str, config_path: str) -> None:
    """Tell whoever started it at a terminal where to look; `address` is one that is listened on."""
    address = address.replace("0.0.0.0", "127.0.0.1").replace("[::]", "[::1]")
    scheme = "https" if config.tls.certificates else "http"
    url = f"{scheme}://{address}/"
    lines = [notice(url, config_path) if DEMO in config.upstream.servers else f"Shield is up: {url}"]
    if config.dry_run:
        lines.append("dry_run = true: nothing is refused; the log says what would have been.")
    text = "".join(f"{line}\n" for line in lines)  # in one write(2): an `end` of its own is another, amid log lines
    print(text, end="", file=sys.stderr, flush=True)
