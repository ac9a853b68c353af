"""`shield report --log`: from the lines of a Shield to a page."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from shield import cli
from shield.replay.files import LogError
from shield.report import from_logs
from shield.report.account import Account

START = 1_796_000_000.0
SCRIPT = "<script>alert(1)</script>"


def stamped(at: float, **fields: Any) -> str:
    text = datetime.fromtimestamp(START + at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps({"time": text, **fields}, separators=(",", ":"))


def request(at: float, tier: int = 1, ms: float = 20.0, action: str = "forward", reason: str = "ok") -> str:
    fields = {"address": "198.51.100.7", "client": "ab" * 16, "method": "GET", "path": "/shop/7", "status": 200}
    return stamped(
        at, event="request", **fields, action=action, reason=reason, tier=tier, ms=ms, sent=1, server="", id=""
    )


def refusal(at: float, reason: str = "newcomer", action: str = "challenge") -> str:
    fields = {"address": "203.0.113.9", "client": "cd" * 16, "method": "GET", "host": "h", "path": f"/{SCRIPT}"}
    more = {"user_agent": SCRIPT, "status": 503, "action": action, "reason": reason, "tier": 3}
    return stamped(at, event="refused", **fields, **more)


def night() -> Iterator[str]:
    """Ten minutes of calm, an attack of five, and five of calm. Ten refusals a second have a line, a hundred do not."""
    yield stamped(0, event="started", level="info", listen="0.0.0.0:80", dry_run=False)
    for at in range(1200):
        yield request(at, ms=500.0 if 600 <= at < 900 else 20.0)
        if 600 <= at < 900:
            yield refusal(at)
            yield stamped(at + 0.9, event="suppressed", of="refused", lines=99)
    what = {"cause": "demand", "pressure": 0.9, "demand": 900.0, "capacity": 100.0}
    yield stamped(600, event="attack_onset", level="warning", **what, overload=[], requests_per_second=101.0)
    stands = {
        "networks": {"203.0.113.0/24": 0.7},
        "fingerprints": [{"fingerprint": "f1", "user_agent": SCRIPT, "share": 0.6}],
    }
    for at in range(610, 901, 10):
        counts = {"forward": {"ok": 10}, "challenge": {"newcomer": 900}, "limit": {"client_rate": 90}}
        more = {
            "in_flight": 4,
            "limit": 4,
            "waiting": 2,
            "requests": counts,
            "routes": {"GET/": 9},
            "stands_out": stands,
        }
        yield stamped(at - 0.5, event="attack", level="warning", pressure=0.9, demand=900.0, capacity=100.0, **more)
    ban = {"client": "", "address": "203.0.113.9", "seconds": 600, "relapses": 1, "signal": "honeypot", "score": 9.0}
    yield stamped(700, event="ban", level="info", **ban)
    peaks = {"seconds": 300.0, "peak_pressure": 0.95, "peak_requests_per_second": 120.0}
    yield stamped(900, event="attack_end", level="warning", **what, **peaks)


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def told(lines: Iterator[str] | list[str], seconds: float | None = None) -> Account:
    Path("shield.log").write_text("\n".join(sorted(lines)) + "\n")
    return from_logs.account(["shield.log"], seconds)


def test_what_has_no_line_is_counted_as_the_lines_of_attacks_count_it() -> None:
    account = told(night())
    assert account.verdicts["challenge", "newcomer"] == 30 * 900
    assert account.verdicts["limit", "client_rate"] == 30 * 90
    assert account.verdicts["forward", "ok"] == 1200
    assert account.refusals == 30 * 990
    assert max(value or 0 for value in account.series["challenge"]) == pytest.approx(90.0, rel=0.01)
    assert any("29,700 refused requests have no line" in note for note in account.notes)


def test_what_has_no_line_and_is_counted_nowhere_is_estimated() -> None:
    lines = [refusal(at) for at in range(120)]
    lines += [refusal(at, "client_rate", "limit") for at in range(0, 120, 2)]
    lines += [stamped(at + 0.9, event="suppressed", of="refused", lines=15) for at in range(120)]
    account = told(lines)
    assert account.refusals == 120 + 60 + 120 * 15
    assert account.verdicts["challenge", "newcomer"] == 2 * account.verdicts["limit", "client_rate"]


def test_when_who_and_what_users_felt() -> None:
    account = told(night())
    (attack,) = account.attacks
    assert (attack.begin, attack.end) == (START + 600, START + 900)
    assert (attack.cause, attack.peak_rate) == ("more is asked for than the service can do", 120.0)
    assert account.networks == [("203.0.113.0/24", "up to 70% of what strangers asked for")]
    assert account.programs == [("f1", SCRIPT, "60% of what strangers asked for")]
    assert account.routes == [("GET /shop/*", "1,200 let through")]
    assert account.refused[0][:2] == ("203.0.113.9", "a newcomer, under pressure")
    assert account.bans == 1
    (felt,) = (each for each in account.felt if each.tier == "T1")
    assert (felt.asked, felt.served) == (None, 1200)
    assert felt.p50 is not None
    assert felt.p95 is not None
    assert felt.p50 < 0.03
    assert felt.p95 > 0.25
    calm, hot = (account.series["known_p95"][place] for place in (3, 12))
    assert (calm, hot) == (pytest.approx(0.02), pytest.approx(0.5))
    assert "An attack begins" in account.events[1][1]


def test_since_counts_back_from_the_last_line() -> None:
    account = told(night(), 600.0)
    assert account.since == START + 1199 - 600
    assert account.verdicts["forward", "ok"] == 601
    assert len(account.times) == 11


def test_a_dry_run_is_told_as_what_it_would_have_done() -> None:
    lines = [stamped(0, event="started", level="info", dry_run=True)]
    lines += [request(at, 3, action="challenge_dry_run", reason="newcomer") for at in range(100)]
    account = told(lines)
    assert account.dry_run
    assert account.refusals == 0
    assert sum(account.series["would_refuse"]) == pytest.approx(100 / 60, rel=0.05)  # type: ignore[arg-type]
    assert sum(account.series["forward"]) == pytest.approx(100 / 60, rel=0.05)  # type: ignore[arg-type]


def test_broken_and_foreign_lines_are_named_and_compressed_logs_are_read() -> None:
    broken = ["no json", '{"event": 7}', '["list"]', '{"time":"never","event":"ban"}']
    broken.append('{"time":"2026-11-30T00:53:20.000Z","event":"request"}')
    text = "\n".join([*night(), *broken])
    Path("shield.log.gz").write_bytes(gzip.compress(text.encode()))
    account = from_logs.account(["shield.log.gz"], None)
    assert account.verdicts["forward", "ok"] == 1200
    assert any(note.startswith("5 lines could not be read: shield.log.gz:") for note in account.notes)


def test_a_log_of_something_else_is_refused() -> None:
    Path("access.log").write_text('1.2.3.4 - - [30/Nov/2026:10:19:38 +0000] "GET / HTTP/1.1" 200 2\n')
    with pytest.raises(LogError, match=r"access\.log: no line of Shield's log in it\n  access\.log:1: it is no JSON"):
        from_logs.account(["access.log"], None)
    with pytest.raises(LogError, match="no such file"):
        from_logs.account(["missing.log"], 60.0)


def test_the_page_is_written_and_hostile_text_is_text_in_it(capfd: pytest.CaptureFixture[str]) -> None:
    Path("shield.log").write_text("\n".join(sorted(night())) + "\n")
    assert cli.main(["report", "--log", "shield.log"]) == cli.FINE
    (name,) = (path.name for path in Path().glob("shield-report-*.html"))
    assert name == "shield-report-20261130-0113.html"
    assert (
        capfd.readouterr().out == f"{name}: An attack, 5 min in all. 29,700 of 30,900 requests were refused (96.1%).\n"
    )
    page = Path(name).read_text()
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    for address in ("http://", "https://", "url(", "@import"):
        assert address not in page


def test_the_page_may_go_to_stdout_and_what_is_in_it_be_json(capfd: pytest.CaptureFixture[str]) -> None:
    Path("shield.log").write_text("\n".join(sorted(night())) + "\n")
    assert cli.main(["report", "--log", "shield.log", "--output", "-"]) == cli.FINE
    assert capfd.readouterr().out.startswith("<!doctype html>")
    assert cli.main(["report", "--log", "shield.log", "--json", "--since", "10m"]) == cli.FINE
    said = json.loads(capfd.readouterr().out)
    assert said["attacks"][0]["end"] == START + 900
    assert not list(Path().glob("*.html"))


@pytest.mark.parametrize(
    ("given", "status", "said"),
    [
        (["--log", "missing.log"], cli.NOT_STARTED, "there is no such file"),
        (["--log", "a.log", "--output", "no/such/folder.html"], cli.NOT_STARTED, "cannot be written"),
        (["--admin", "127.0.0.1:1"], cli.NOT_STARTED, "nobody answers at 127.0.0.1:1"),
    ],
)
def test_what_cannot_be_reported_is_refused_in_a_line(
    given: list[str], status: int, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("a.log").write_text(request(0) + "\n")
    assert cli.main(["report", *given]) == status
    assert said in capfd.readouterr().err


@pytest.mark.parametrize("given", [["--since", "0s"], ["--since", "2d"], ["--log", "a", "--admin", "b"]])
def test_wrong_usage(given: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["report", *given])
    assert ended.value.code == cli.USAGE


def test_attacks_at_the_same_time_are_told_of_each_site(tmp_path: Path) -> None:
    what = {"cause": "demand", "pressure": 0.9, "demand": 900.0, "capacity": 100.0}
    peaks = {"peak_pressure": 0.95, "peak_requests_per_second": 120.0}
    lines = [
        stamped(0, event="attack_onset", site="shop", requests_per_second=9.0, **what),
        stamped(10, event="attack_onset", site="blog", requests_per_second=9.0, **what),
        request(11)[:-1] + ',"site":"blog"}',
        stamped(50, event="attack_end", site="shop", seconds=50.0, **what, **peaks),
        stamped(99, event="attack_end", site="blog", seconds=89.0, **what, **peaks),
    ]
    (tmp_path / "log").write_text("\n".join(lines))
    made = from_logs.account([str(tmp_path / "log")], None)
    found = [(each.site, each.begin - START, (each.end or 0.0) - START) for each in made.attacks]
    assert found == [("shop", 0.0, 50.0), ("blog", 10.0, 99.0)]
    assert made.sites == [("blog", "1 requests let through")]
