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


# Against attacks: slots and a queue in front of the origin, where addresses that came while it was empty go first.
DEFENCE: Final = """\
global
    nbthread 1
    maxconn 9000
defaults
    mode http
    timeout connect 5s
    timeout client 20s
    timeout server 60s
    timeout queue 2s
    timeout http-request 10s
    timeout http-keep-alive 75s
    option http-keep-alive
    # The slot is taken when the body is here.
    option http-buffer-request
    http-reuse always
frontend clients
    bind 127.0.0.1:{port} backlog 4096 defer-accept
    stick-table type ip size 1m expire 1h store http_req_rate(10s),conn_cur,gpc0
    http-request track-sc0 src
    http-request deny deny_status 429 if {{ sc_conn_cur(0) gt 40 }}
    http-request deny deny_status 429 if {{ sc_http_req_rate(0) gt {most} }}
    http-request sc-inc-gpc0(0) if {{ queue(origin) eq 0 }}
    acl known sc_get_gpc0(0) gt 5
    http-request set-priority-class int(-100) if known
    http-request deny deny_status 503 if !known {{ queue(origin) gt 100 }}
    http-request set-header X-Forwarded-For %[src]
    default_backend origin
backend origin
    server origin 127.0.0.1:{origin_port} maxconn {concurrency}
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
    defends = setup.limits is Limits.SENSIBLE
    alpn = " alpn h2,http/1.1" if setup.http2 else ""
    config.write_text(
        (DEFENCE if defends else CONFIG).format(
            port=setup.port,
            origin_port=setup.origin_port,
            concurrency=setup.concurrency,
            most=most,
            buffer=LARGE_BUFFER if setup.large else BUFFER,
            tls=f" ssl crt {setup.tls.both} ssl-min-ver TLSv1.3{alpn}" if setup.tls else "",
        )
    )
    version = subprocess.run([path, "-v"], capture_output=True, text=True, timeout=5, check=True).stdout.split()[2]
    says = f"HAProxy {version}, at most {most} requests in 10 s per address"
    if defends:
        says += (
            f" and 40 connections, {setup.concurrency} requests at the origin at a time; addresses that came before "
            "the queue formed go first"
        )
    return Plan((path, "-db", "-f", str(config)), setup.port, says=says)
