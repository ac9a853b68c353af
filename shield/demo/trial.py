"""What `shield demo` changes of a config, and what it tells whoever started it."""

from __future__ import annotations

import ipaddress
import sys
from dataclasses import replace
from typing import Final

from shield.accept.tls import TlsSettings
from shield.config.settings import Config
from shield.upstream.settings import DEMO
from shield.wire.addresses import TcpAddress, parse_address

WINDOW: Final = 2.0
"""Seconds; in place of history.window, unless the config has a length of its own. A user is known after two windows,
and nobody waits for minutes to see a demo."""
MAX_CONCURRENCY: Final = 8
"""In place of an upstream.max_concurrency of 0: what the site's search serves at once."""


def settings(config: Config) -> Config:
    """`config` in front of the demo site: plain HTTP on loopback, with few log lines. All other keys hold."""
    usual = Config()
    addresses = tuple(dict.fromkeys(map(_on_loopback, config.listen.addresses)))
    upstream = replace(
        config.upstream,
        servers=(DEMO,),
        max_concurrency=config.upstream.max_concurrency or MAX_CONCURRENCY,
        proxy_protocol="off",
    )
    few = 1 if config.log.refused_per_second == usual.log.refused_per_second else config.log.refused_per_second
    window = WINDOW if config.history.window == usual.history.window else config.history.window
    return replace(
        config,
        listen=replace(config.listen, address=addresses, proxy_protocol=False),
        tls=TlsSettings(),
        upstream=upstream,
        site=(),
        history=replace(config.history, window=window),
        log=replace(config.log, requests=False, refused_per_second=few),
    )


def set_aside(config: Config) -> list[str]:
    """The keys of `config` that the demo does not go by."""
    tried = settings(config)
    keys = {
        "listen.address": tried.listen.addresses != config.listen.addresses,
        "listen.proxy_protocol": config.listen.proxy_protocol,
        "tls": tried.tls != config.tls,
        "site": bool(config.site),
        "upstream.servers": config.upstream.servers != (DEMO,),
        "upstream.proxy_protocol": config.upstream.proxy_protocol != "off",
    }
    return [key for key, differs in keys.items() if differs]


def welcome(config: Config, address: str, aside: list[str]) -> str:
    """What to tell at the start: where to look, how to flood it, and which keys are set aside."""
    url = f"http://{address}/"
    lines = [
        f"The demo site behind Shield: open {url} in a browser.",
        "Then flood it from another terminal, and look at the dashboard: shield demo --attack",
        "Or have it flooded without Shield and with it, in less than a minute, with a table of what users got:",
        f"    {sys.executable} -m shield.demo.flood {url}",
    ]
    if config.admin.address and not config.admin.address.startswith("unix:"):
        lines.append(f"Watch the attack on Shield's dashboard: http://{config.admin.address}/")
    if aside:
        lines.append(f"The demo does not go by these keys of the config: {', '.join(aside)}.")
    lines.append("Ctrl-C ends it.")
    return "\n".join(lines)


def target(config: Config) -> str:
    """The URL, on loopback, of a Shield with this config, in front of the demo site or of the one that it names."""
    address = _on_loopback(config.listen.addresses[0])
    return f"http://{address.replace('localhost', '127.0.0.1')}/"


def _on_loopback(address: str) -> str:
    """An address with the same port that only this machine reaches; itself, if that is so already."""
    parsed = parse_address(address)
    assert isinstance(parsed, TcpAddress)  # noqa: S101 - clients connect by TCP: the config has been checked
    try:
        ip = ipaddress.ip_address(parsed.host)
    except ValueError:  # a name, or nothing for every interface
        return address if parsed.host == "localhost" else f"127.0.0.1:{parsed.port}"
    if ip.is_loopback:
        return address
    return f"[::1]:{parsed.port}" if ip.version == 6 else f"127.0.0.1:{parsed.port}"
