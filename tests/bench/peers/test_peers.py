"""Every peer takes the configuration that the bench writes, and Shield its own."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest

from bench.common import guard
from bench.common.processes import (
    ask,
    free_ports,
    launch,
    own_cores,
    running,
    wait_until_answers,
)
from bench.load import closed_loop, websocket
from bench.load.plan import Plan
from bench.peers import PEERS, anubis, caddy, contender, envoy, haproxy, nginx, shield
from bench.peers.plan import Certificate, Limits, Setup
from bench.suites import contest
from bench.suites.workloads import NO_TLS
from shield.config.load import load as load_config
from shield.config.settings import Config
from shield.operator.exposition import families, registry
from shield.operator.metrics import Metrics
from tests.bench.serving import listening


class TestPeers:
    def setup_for(self, folder: Path, limits: Limits, window: float | None = None) -> Setup:
        return Setup(folder, 8081, 8082, 8083, limits, 4, window)

    @pytest.mark.parametrize("limits", list(Limits))
    @pytest.mark.parametrize("window", [None, 2.0])
    def test_shield_takes_the_config_that_the_bench_writes(
        self, limits: Limits, window: float | None, tmp_path: Path
    ) -> None:
        shield.plan(self.setup_for(tmp_path, limits, window))
        loaded = load_config(str(tmp_path / "shield.toml"))
        assert loaded.upstream.max_concurrency == 4
        assert (loaded.history.window == 2.0) == (window is not None)
        if limits is Limits.SENSIBLE:
            assert loaded.limits == Config().limits
            assert loaded.log == Config().log

    def test_shield_challenges_everybody_when_told(self, tmp_path: Path) -> None:
        setup = dataclasses.replace(self.setup_for(tmp_path, Limits.OUT_OF_REACH), challenge=True)
        assert 'challenge.mode = "always"' in shield.plan(setup).says
        assert load_config(str(tmp_path / "shield.toml")).challenge.mode == "always"

    @pytest.mark.parametrize("name", [name for name in PEERS if name not in {"direct", "shield"}])
    def test_a_peer_is_complete(self, name: str, tmp_path: Path) -> None:
        peer = PEERS[name]
        if why := peer.missing():
            pytest.skip(why)
        plan = peer.plan(self.setup_for(tmp_path, Limits.OUT_OF_REACH))
        assert plan.port == 8081
        assert Path(plan.argv[0]).is_file()
        assert (plan.says == "") == (name == "aiohttp")

    def test_a_peer_is_waited_for_until_its_configuration_is_loaded(self, tmp_path: Path) -> None:
        (port,) = free_ports(1)
        code = (
            "import http.server\n"
            "class Handler(http.server.BaseHTTPRequestHandler):\n"
            "    asked = 0\n"
            "    def do_GET(self):\n"
            "        Handler.asked += 1\n"
            "        self.send_response(404 if Handler.asked < 3 else 200)\n"
            "        self.end_headers()\n"
            f"http.server.HTTPServer(('127.0.0.1', {port}), Handler).serve_forever()\n"
        )
        with running([]) as started:
            started.append(launch("late", [sys.executable, "-c", code], tmp_path, frozenset(own_cores())))
            wait_until_answers(started[0], port, unready=404)
            assert ask(port)[0] == 200
            assert started[0].wrote().count("404") == 2

    def test_nginx_accepts_its_config(self, tmp_path: Path) -> None:
        if why := nginx.missing():
            pytest.skip(why)
        for limits in Limits:
            plan = nginx.plan(self.setup_for(tmp_path, limits))
            done = subprocess.run([*plan.argv, "-t"], capture_output=True, text=True, check=False)
            assert "test is successful" in done.stderr, done.stderr

    def test_shields_counters_are_read_as_shield_writes_them(self) -> None:
        metrics = Metrics()
        metrics.verdicts["forward"]["ok"] += 5
        metrics.verdicts["limit"]["client_rate"] += 3
        text = generate_latest(registry(lambda: families(metrics.counters()))).decode()
        assert contest.gained({}, contender.verdicts(text)) == {"forward/ok": 5.0, "limit/client_rate": 3.0}


@pytest.mark.parametrize(
    ("name", "most", "logs"), [("shield", 1000, False), ("shipped", 0, False), ("logged", 0, True)]
)
def test_shield_is_measured_told_and_as_shipped_and_with_its_log(
    name: str, most: int, logs: bool, tmp_path: Path
) -> None:
    plan = PEERS[name].plan(Setup(tmp_path, 8081, 8082, 8083, Limits.OUT_OF_REACH, 1000))
    loaded = load_config(str(tmp_path / "shield.toml"))
    assert loaded.upstream.max_concurrency == most
    assert (loaded.log.level == "info") is logs
    assert ("a line of JSON" in plan.says) is logs


class TestTls:
    def setup_for(self, folder: Path, made: Certificate | None) -> Setup:
        return Setup(folder, 8081, 8082, 8083, Limits.OUT_OF_REACH, 1000, tls=made)

    @pytest.mark.parametrize("name", [name for name in PEERS if name not in NO_TLS])
    def test_each_takes_the_certificate(self, name: str, tmp_path: Path, made: Certificate) -> None:
        peer = PEERS[name]
        if why := peer.missing():
            pytest.skip(why)
        plan = peer.plan(self.setup_for(tmp_path, made))
        texts = " ".join([*plan.argv, *(path.read_text() for path in tmp_path.iterdir() if path.is_file())])
        assert str(made.both if name == "haproxy" else made.key) in texts

    @pytest.mark.parametrize("tls", [False, True])
    @pytest.mark.parametrize(
        ("peer", "check"),
        [(nginx, ["-t"]), (haproxy, ["-c"]), (envoy, ["--mode", "validate"]), (caddy, [])],
    )
    def test_its_binary_accepts_the_configuration(
        self, peer: Any, check: list[str], tls: bool, tmp_path: Path, made: Certificate
    ) -> None:
        if why := peer.missing():
            pytest.skip(why)
        argv = [*peer.plan(self.setup_for(tmp_path, made if tls else None)).argv, *check]
        if peer is caddy:
            argv[1] = "validate"
        home = {**os.environ, "HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60, env=home)
        assert done.returncode == 0, done.stderr

    def test_shield_takes_it(self, tmp_path: Path, made: Certificate) -> None:
        shield.plan(self.setup_for(tmp_path, made))
        (used,) = load_config(str(tmp_path / "shield.toml")).tls.certificates
        assert (used.chain, used.key) == (str(made.chain), str(made.key))

    @pytest.mark.parametrize(("says", "why"), [("-policy-fname string", None), ("GNU Anubis 4.3", "another program")])
    def test_anubis_is_told_from_the_one_for_mail(
        self, says: str, why: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "anubis").write_text(f"#!/bin/sh\necho '{says}' >&2\n")
        (tmp_path / "anubis").chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        assert anubis.missing() is why or (why is not None and why in (anubis.missing() or ""))
        if why is None:
            plan = anubis.plan(dataclasses.replace(self.setup_for(tmp_path, None), challenge=True))
            assert plan.argv[:2] == [str(tmp_path / "anubis"), "--bind=127.0.0.1:8081"]
            assert "action: CHALLENGE" in (tmp_path / "policy.yaml").read_text()

    def test_haproxy_has_larger_buffers_for_downloads(self, tmp_path: Path) -> None:
        if why := haproxy.missing():
            pytest.skip(why)
        haproxy.plan(dataclasses.replace(self.setup_for(tmp_path, None), large=True))
        assert "tune.bufsize 65536" in (tmp_path / "haproxy.cfg").read_text()

    @pytest.mark.parametrize("tls", [False, True])
    async def test_the_usual_aiohttp_proxy_forwards_requests_and_messages(
        self, tls: bool, tmp_path: Path, made: Certificate
    ) -> None:
        (port,) = free_ports(1)
        async with listening() as origin_port:
            plan = PEERS["aiohttp"].plan(
                Setup(tmp_path, port, origin_port, 0, Limits.OUT_OF_REACH, 1, tls=tls and made)
            )
            with running([]) as started:
                started.append(launch("aiohttp", plan.argv, tmp_path, frozenset(own_cores())))
                await asyncio.to_thread(wait_until_answers, started[0], port, tls=tls)
                where = guard.Target("127.0.0.1", port, tls=tls)
                result = await closed_loop.Generator(Plan(where, connections=2, seconds=10, requests=20)).run()
                assert result.statuses == {"200": 20}
                if not tls:
                    where = guard.Target("127.0.0.1", port, "/echo")
                    plan = Plan(where, connections=2, seconds=10, requests=20)
                    result = await websocket.Generator(plan).run()
                    assert (result.requests, result.failed) == (20, 0)
