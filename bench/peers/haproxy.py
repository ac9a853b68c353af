"""HAProxy with a stick table, from PATH."""

from __future__ import annotations

import shutil
import subprocess
from typing import Final

from bench.peers.plan import Limits, Plan, Setup

TITLE = "HAProxy, stick table"

# Requests in 10 s above which an address is refused. 300 in 10 s is 10/s on top of a burst of 200.
LIMITS: Final = {Limits.OUT_OF_REACH: 1_000_000_000, Limits.TINY: 1, Limits.SENSIBLE: 300}

CONFIG: Final = """\
global
    nbthread 1
    maxconn 9000
    tune.bufsize {buffer}
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    timeout tunnel 60s
    option http-keep-alive
    http-reuse always
frontend clients
    # A connection is accepted with its first bytes, which saves one wake-up each.
    bind 127.0.0.1:{port} backlog 4096 defer-accept{tls}
    stick-table type ip size 100k expire 60s store http_req_rate(10s)
    http-request track-sc0 src
    http-request deny deny_status 429 if {{ sc_http_req_rate(0) gt {most} }}
    http-request set-header X-Forwarded-For %[src]
    default_backend origin
backend origin
    server origin 127.0.0.1:{origin_port} pool-max-conn 1000
"""


# Bytes. Small messages are fastest with the default, downloads with four times that.
BUFFER: Final = 16_384
LARGE_BUFFER: Final = 65_536


def binary() -> str | None:
    return shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin")


def missing() -> str | None:
    return None if binary() else "haproxy is not on PATH"


def plan(setup: Setup) -> Plan:
    path = binary()
    assert path is not None
    most = LIMITS[setup.limits]
    config = setup.folder / "haproxy.cfg"
    config.write_text(
        CONFIG.format(
            port=setup.port,
            origin_port=setup.origin_port,
            most=most,
            buffer=LARGE_BUFFER if setup.large else BUFFER,
            tls=f" ssl crt {setup.tls.both} ssl-min-ver TLSv1.3" if setup.tls else "",
        )
    )
    version = subprocess.run([path, "-v"], capture_output=True, text=True, timeout=5, check=True).stdout.split()[2]
    return Plan(
        (path, "-db", "-f", str(config)),
        setup.port,
        says=f"HAProxy {version}, at most {most} requests in 10 s per address",
    )
