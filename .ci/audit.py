"""Are vulnerabilities known in what is pinned? pip-audit asks OSV (osv.dev), which has PyPI's advisories and GitHub's.

    python .ci/audit.py requirements/run.txt ...

Exit status 1 when one is known, 0 when none is, and 0 with a warning when OSV cannot be asked: a build must not fail
because somebody else's server does. OSV_URL names another server that speaks its protocol.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ASK_SECONDS = 300
"""For all packages; each takes a request of its own."""


def main(files: list[str]) -> int:
    if not files:
        print(__doc__)
        return 2
    report, why_not = ask(files)
    if report is None:
        print(f"audit: WARNING: nothing is known, since OSV cannot be asked: {why_not}", file=sys.stderr)
        return 0
    known, unknown = findings(report)
    for line in known:
        print(f"audit: VULNERABLE: {line}")
    if unknown:
        print(f"audit: WARNING: nothing is known of {', '.join(unknown)}", file=sys.stderr)
    print(f"audit: {len(report['dependencies'])} packages, {len(known)} known vulnerabilities")
    return 1 if known else 0


def ask(files: list[str]) -> tuple[dict[str, Any] | None, str]:
    """What pip-audit found, or why it found nothing out. It installs nothing: versions and hashes are in the files."""
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory, "report.json")
        command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes", "--progress-spinner", "off"]
        command += ["--timeout", "15", "--vulnerability-service", "osv", "--format", "json", "--output", str(report)]
        if "OSV_URL" in os.environ:
            command += ["--osv-url", os.environ["OSV_URL"]]
        for file in files:
            command += ["--requirement", file]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=ASK_SECONDS, check=False)  # noqa: S603
        except subprocess.TimeoutExpired:
            return None, f"no answer in {ASK_SECONDS} s"
        try:
            return json.loads(report.read_bytes()), ""
        except (OSError, ValueError):  # it gave up before it had asked for everything
            return None, (done.stderr.strip().splitlines() or ["pip-audit says nothing"])[-1][:300]


def findings(report: dict[str, Any]) -> tuple[list[str], list[str]]:
    """A line for each known vulnerability, and the packages of which nothing could be learned."""
    known, unknown = [], []
    for package in report["dependencies"]:
        if "skip_reason" in package:
            unknown.append(package["name"])
        for found in package.get("vulns", ()):
            names = " ".join([found["id"], *found.get("aliases", ())])
            fixed = ", ".join(found.get("fix_versions", ())) or "no version yet"
            known.append(f"{package['name']} {package['version']}: {names}; fixed in {fixed}")
    return known, unknown


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
