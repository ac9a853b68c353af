"""Every workload has what it needs."""

from __future__ import annotations

from bench.peers.plan import Limits
from bench.suites.workloads import WORKLOADS


class TestWorkloads:
    def test_every_workload_has_what_it_needs(self) -> None:
        for workload in WORKLOADS.values():
            assert "shield" not in workload.without
            assert (workload.refused is None) == (workload.limits is Limits.OUT_OF_REACH and not workload.challenge)
            assert workload.exact * (int(workload.path[7:]) if workload.transfer else 1) <= 1 << 30
