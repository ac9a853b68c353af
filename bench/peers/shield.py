"""Shield itself, from this checkout, with every check on."""

from __future__ import annotations

import importlib.util
import sys
from typing import Final

from bench.peers.plan import Certificate, Limits, Plan, Setup

TITLE = "Shield"

# Units per second and burst. One request costs at least 0.2 units, so these are never met ...
HUGE: Final = "{ rate = 1e9, burst = 1e9 }"
# ... and these always.
ONE: Final = "{ rate = 0.01, burst = 1 }"

TABLES: Final = {
    Limits.OUT_OF_REACH: f"[limits]\npass = {HUGE}\nclient = {HUGE}\naddress = {HUGE}\nnetwork = {HUGE}\n",
    Limits.TINY: f"[limits]\nclient = {ONE}\naddress = {ONE}\n",
    Limits.SENSIBLE: "",
}

FIXED: Final = "max_concurrency = {}\n[concurrency]\nadaptive = false\n"

CONFIG: Final = """\
[listen]
address = "127.0.0.1:{port}"
workers = 1
{h2c}{tls}[upstream]
servers = ["http://127.0.0.1:{origin_port}"]
{concurrency}[admin]
address = "127.0.0.1:{side_port}"
{limits}{history}{http}{log}"""


def missing() -> str | None:
    if importlib.util.find_spec("shield.__main__") is None:
        return "python -m shield does not exist in this checkout"
    return None


def _tls(files: Certificate) -> str:
    return f'[tls]\nhandshake_rate = {HUGE}\ncertificates = [{{ chain = "{files.chain}", key = "{files.key}" }}]\n'


def plan(setup: Setup) -> Plan:
    history = "" if setup.history_window is None else f"[history]\nwindow = {setup.history_window:g}\n"
    # The peers write no access log in the throughput runs, so Shield does not either.
    log = "" if setup.limits is Limits.SENSIBLE or setup.log else '[log]\nlevel = "warning"\n'
    config = setup.folder / "shield.toml"
    config.write_text(
        CONFIG.format(
            port=setup.port,
            origin_port=setup.origin_port,
            side_port=setup.side_port,
            concurrency=FIXED.format(setup.concurrency) if setup.concurrency else "",
            limits=TABLES[setup.limits] + ('[challenge]\nmode = "always"\n' if setup.challenge else ""),
            history=history,
            log=log,
            tls=_tls(setup.tls) if setup.tls else "",
            http="[http]\nh2 = false\n" if setup.tls and not setup.http2 else "",
            h2c="h2c = true\n" if setup.http2 and not setup.tls else "",
        )
    )
    changed = [f"upstream.max_concurrency = {setup.concurrency}"] if setup.concurrency else []
    changed += [] if setup.history_window is None else [f"history.window = {setup.history_window:g} s"]
    changed += ['challenge.mode = "always"'] if setup.challenge else []
    says = {
        Limits.OUT_OF_REACH: "limits out of reach",
        Limits.TINY: "limits tiny",
        Limits.SENSIBLE: "everything else as shipped",
    }[setup.limits]
    says += ", log level warning" if log else ", a line of JSON for each request in a file" if setup.log else ""
    argv = (sys.executable, "-m", "shield", "run", "--config", str(config))
    return Plan(argv, setup.port, metrics="/metrics", says=", ".join([*changed, says]))
