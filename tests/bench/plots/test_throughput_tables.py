"""The table of a workload, and what stands beside it."""

from __future__ import annotations

from typing import Any

from bench.load.plan import Result
from bench.peers import PEERS, contender
from bench.plots import report
from bench.suites import contest, throughput
from bench.suites.workloads import WORKLOADS


class TestTables:
    def turn(self, peer: str, number: int, rate: int, cpu: float) -> contest.Turn:
        return contest.Turn(peer, number, Result(rate, 1.0, 1000 * rate, 0, 0, 0.001, 0.002), cpu, None)

    def results(self, rounds: int = 5, **changes: Any) -> dict[str, Any]:
        turns = [self.turn("nginx", n, 2000, 0.5) for n in range(rounds)]
        turns += [self.turn("shield", n, 1000, 1.0) for n in range(rounds)]
        contenders = [
            contender.Contender(name, PEERS[name].TITLE, "", 1, launched, None)
            for name, launched in (("nginx", object()), ("shield", object()))
        ]
        workload = {
            "title": "Proxied",
            "transfer": False,
            "unit": "requests",
            "connections": 64,
            "generator": "own",
            "peers": {
                c.name: contest.summary(c, [t for t in turns if t.peer == c.name], False)
                for c in contenders  # type: ignore[arg-type]
            },
            "ratios": contest.ratios(turns, False),
            "by_cpu": contest.by_cpu(turns, False),
            "exact": [{"sent": 9, "answered": 9, "requests": 9, "good": 9, "counted": {"forward/ok": 9.0}}],
            "calibration": None,
            "without": {"direct": "no TLS"},
        }
        return {
            "machine": report.machine(),
            "cores": "",
            "load": "wrk",
            "rounds": rounds,
            "missing": {"caddy": "it is not there", f"the table {WORKLOADS['tls'].title}": "no openssl"},
            "workloads": {"proxied": workload | changes},
            "problems": ["something is wrong"],
        }

    def test_ratios_come_first_and_everything_is_told(self) -> None:
        text = throughput.markdown(self.results())
        row = next(line for line in text.splitlines() if line.startswith("| Shield"))
        assert [cell.strip() for cell in row.split("|")[2:7]] == ["0.50", "1,000", "0 %", "1.0000", "100 %"]
        for part in (
            "Per second of processor time Shield carries 0.25 of nginx",
            "Not at their limit: nginx, limit_req. ",
            "of 9 requests 9 decisions counted",
            "Not in this table: origin alone (no TLS).",
            "Left out: Caddy (it is not there).",
            "Left out: the table Proxied small GET over TLS 1.3, kept connections (no openssl).",
            "**Problem**: something is wrong.",
        ):
            assert part in text
        assert "quick look" not in text
        assert "quick look" in throughput.markdown(self.results(rounds=2))

    def test_of_transfers_bytes_count(self) -> None:
        text = throughput.markdown(self.results(transfer=True))
        assert "MB/s" in text
        assert "CPU s per GB" in text
        assert "requests/s" not in text
