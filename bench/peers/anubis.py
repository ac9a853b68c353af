"""Anubis, a proof-of-work shield written in Go, from PATH. It has challenges, no limiter, and no TLS of its own.

https://anubis.techaro.lol/docs/admin/installation has its flags, .../policies its policy file. There is another program
of this name (GNU Anubis, for mail), which is told from it by its flags.
"""

from __future__ import annotations

import shutil
import subprocess
from typing import Final

from bench.peers.plan import Plan, Setup

TITLE = "Anubis"

# One rule for everybody: through to the origin, or a challenge. Its challenges answer 200 unless told otherwise.
POLICY: Final = """\
bots:
- name: everybody
  path_regex: .*
  action: {action}
dnsbl: false
status_codes: {{CHALLENGE: 503, DENY: 403}}
"""


def binary() -> str | None:
    return shutil.which("anubis")


def missing() -> str | None:
    path = binary()
    if path is None:
        return "anubis is not on PATH"
    try:
        done = subprocess.run([path, "--help"], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        return f"{path} does not run: {error}"
    return None if "policy-fname" in done.stdout + done.stderr else f"{path} is another program of this name"


def plan(setup: Setup) -> Plan:
    path = binary()
    assert path is not None
    policy = setup.folder / "policy.yaml"
    policy.write_text(POLICY.format(action="CHALLENGE" if setup.challenge else "ALLOW"))
    argv = [path, f"--bind=127.0.0.1:{setup.port}", f"--metrics-bind=127.0.0.1:{setup.side_port}"]
    argv += [f"--target=http://127.0.0.1:{setup.origin_port}", f"--policy-fname={policy}"]
    argv += ["--use-remote-address=true", "--slog-level=ERROR"]
    says = "everybody is challenged" if setup.challenge else "everybody is let through by its policy, no limiter"
    return Plan(argv, setup.port, says=says)
