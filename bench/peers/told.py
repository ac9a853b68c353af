"""Shield, told what the peers are told: how many requests the service takes at once (`upstream.max_concurrency`).

As shipped it finds that out, and users wait while it does. For the attacks only.
"""

from __future__ import annotations

from bench.peers.shield import missing, plan

__all__ = ["TITLE", "missing", "plan"]

TITLE = "Shield told"
