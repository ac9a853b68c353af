"""No tool leaves loopback, and none does more than it is allowed to."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.__main__ import main
from bench.common import guard
from bench.load import attackers, closed_loop, open_loop, users
from bench.origins import capacity_origin, known_origin, small_origin


class TestGuard:
    @pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "127.255.255.254", "::1", "localhost"])
    def test_loopback_is_let_through(self, host: str) -> None:
        assert guard.loopback(host) in {host, "127.0.0.1"}

    @pytest.mark.parametrize(
        "host",
        ["10.0.0.1", "128.0.0.1", "126.255.255.255", "0.0.0.0", "192.168.1.1", "::", "::2", "::ffff:127.0.0.1",
         "fe80::1", "example.org", "localhost.example.org", "127.0.0.1.example.org", "127.1", "2130706433", ""],
    )  # fmt: skip
    def test_everything_else_is_refused(self, host: str) -> None:
        with pytest.raises(guard.Refused):
            guard.loopback(host)

    @pytest.mark.parametrize(
        "url",
        ["http://10.0.0.1:80/", "https://127.0.0.1:443/", "http://127.0.0.1/", "http://127.0.0.1:0/", "127.0.0.1:80",
         "http://127.0.0.1:80@10.0.0.1:80/", "http://user@127.0.0.1:80/", "http://127.0.0.1:99999/",
         "http://127.0.0.1:80/a b", "http://127.0.0.1:80/\N{SNOWMAN}"],
    )  # fmt: skip
    def test_a_target_is_plain_http_on_loopback(self, url: str) -> None:
        with pytest.raises(guard.Refused):
            guard.target(url)

    def test_a_target_keeps_path_and_query(self) -> None:
        assert guard.target("http://[::1]:8080/a?b=c").url == "http://[::1]:8080/a?b=c"
        assert guard.target("http://localhost:8080") == guard.Target("127.0.0.1", 8080, "/")

    @pytest.mark.parametrize(
        ("tool", "extra"),
        [
            (closed_loop.main, []),
            (open_loop.main, ["--rate", "1"]),
            (users.main, ["--plan", "plan.json", "--out", "out.json"]),
            (attackers.main, ["--plan", "plan.json", "--out", "out.json"]),
        ],
    )
    def test_no_tool_sends_load_elsewhere(
        self,
        tool: Callable[[], None],
        extra: list[str],
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setattr(sys, "argv", ["tool", "--target", "http://192.0.2.1:80/", *extra])
        with pytest.raises(SystemExit) as stopped:
            tool()
        assert stopped.value.code == 2
        assert "127.0.0.0/8 and ::1 only, not to 192.0.2.1" in capsys.readouterr().err

    @pytest.mark.parametrize("tool", [small_origin.main, capacity_origin.main, known_origin.main])
    def test_no_origin_listens_elsewhere(
        self, tool: Callable[[], None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(sys, "argv", ["tool", "--host", "0.0.0.0", "--port", "1", "--side-port", "2"])
        with pytest.raises(SystemExit):
            tool()
        assert "not to 0.0.0.0" in capsys.readouterr().err

    @pytest.mark.parametrize(
        "arguments",
        [
            ["throughput", "--rounds", "0"],
            ["throughput", "--seconds", "3600"],
            ["throughput", "--seconds", "nan"],
            ["throughput", "--peers", "somebody"],
            ["throughput", "--workloads", "everything"],
            ["latency", "--seconds", "0"],
            ["memory", "--clients", "1000000000"],
            ["memory", "--connections", "100000"],
            ["micro", "--repeats", "0"],
            ["micro", "--cases", "breathing"],
            ["all", "--suites", "none"],
            ["attack", "--rate", "1000000"],
            ["attack", "--scenes", "the internet"],
            ["attack", "--seconds", "86400"],
            ["attack", "--target", "http://127.0.0.1:80/"],
            ["sing"],
            [],
        ],
    )
    def test_what_is_out_of_bounds_is_refused(self, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert stopped.value.code == 2
        assert "error:" in capsys.readouterr().err


class TestHttps:
    def test_a_target_may_be_https_where_a_tool_says_so(self) -> None:
        where = guard.any_target("https://127.0.0.1:8443/a")
        assert where == guard.Target("127.0.0.1", 8443, "/a", tls=True)
        assert guard.any_target(where.url) == where
        assert not guard.any_target("http://127.0.0.1:80/").tls
        for url in ("https://10.0.0.1:443/", "ftp://127.0.0.1:21/"):
            with pytest.raises(guard.Refused):
                guard.any_target(url)


def test_a_folder_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    with pytest.raises(guard.Refused, match="name a file in it"):
        guard.json_file(str(tmp_path))
    assert guard.json_file(str(tmp_path / "new.json")) == tmp_path / "new.json"
