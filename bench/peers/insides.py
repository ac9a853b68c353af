"""What a running Shield holds: by its own status, and by the kernel's account of its process (proc(5))."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from bench.common.processes import ask


def status(port: int) -> dict[str, Any]:
    """/api/status of the admin listener."""
    found: dict[str, Any] = json.loads(ask(port, "/api/status")[1])
    return found


def held(port: int, pid: int) -> dict[str, int]:
    """Counts of what it holds now. `files` are all its descriptors, `kept` those of idle connections to the service,
    `resident` is in bytes."""
    found = status(port)
    proc = Path("/proc") / str(pid)
    resident = re.search(r"VmRSS:\s+(\d+)", (proc / "status").read_text())
    return {
        "open": int(found["connections"]["open"]),
        "streams": int(found["connections"]["streams"]),
        "in_flight": int(found["in_flight"]),
        "waiting": int(found["waiting"]),
        "files": len(list((proc / "fd").iterdir())),
        "kept": sum(server["idle"] for server in found["upstream"]),
        "tasks": int(found["tasks"]),
        "resident": int(resident[1]) * 1024 if resident else 0,
    }
