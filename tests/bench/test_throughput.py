"""The throughput runs: what each workload sends and how it is judged, TLS and WebSockets of the bench's own."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
import os
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from bench.common import guard
from bench.common.processes import (
    ask,
    free_ports,
    launch,
    own_cores,
    running,
    share_out,
    unverified,
    wait_until_answers,
)
from bench.load import closed_loop, websocket
from bench.origins import small_origin
from bench.peers import PEERS, anubis, caddy, certificate, contender, envoy, haproxy, nginx, shield
from bench.peers.plan import Certificate, Limits, Setup
from bench.plots import report
from bench.suites import contest, throughput
from bench.suites.workloads import NO_TLS, WORKLOADS
from shield.config.load import load as load_config

SMALL = small_origin.render(b"hello")


@contextlib.asynccontextmanager
async def listening(
    protocol: Callable[[], asyncio.Protocol] = lambda: small_origin.Origin(SMALL), context: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    if why := certificate.missing():
        pytest.skip(why)
    return certificate.make(tmp_path_factory.mktemp("certificate"))


def server_context(made: Certificate) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.chain, made.key)
    return context


class TestCertificate:
    @pytest.mark.parametrize("tool", ["trustme", "openssl"])
    def test_both_ways_make_one_for_the_address(
        self, tool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if tool == "openssl":
            monkeypatch.setattr(certificate, "trustme", None)
        if why := certificate.missing():
            pytest.skip(why)
        made = certificate.make(tmp_path)
        server_context(made)
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(made.both)
        cryptography = pytest.importorskip("cryptography.x509")
        found = cryptography.load_pem_x509_certificate(made.chain.read_bytes())
        assert found.public_key().curve.name == "secp256r1"
        names = found.extensions.get_extension_for_class(cryptography.SubjectAlternativeName).value
        assert [str(name) for name in names.get_values_for_type(cryptography.IPAddress)] == ["127.0.0.1"]
        assert made.key.stat().st_mode & 0o77 == made.both.stat().st_mode & 0o77 == 0

    def test_without_either_it_says_so(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(certificate, "trustme", None)
        monkeypatch.setattr(certificate.shutil, "which", lambda _: None)
        assert certificate.missing()
        with pytest.raises(RuntimeError, match="openssl"):
            certificate.make(tmp_path)


class TestTls:
    def test_a_target_may_be_https_where_a_tool_says_so(self) -> None:
        where = guard.any_target("https://127.0.0.1:8443/a")
        assert where == guard.Target("127.0.0.1", 8443, "/a", tls=True)
        assert guard.any_target(where.url) == where
        assert not guard.any_target("http://127.0.0.1:80/").tls
        for url in ("https://10.0.0.1:443/", "ftp://127.0.0.1:21/"):
            with pytest.raises(guard.Refused):
                guard.any_target(url)

    @pytest.mark.parametrize("close", [False, True])
    async def test_every_connection_makes_a_full_handshake_of_tls_1_3(self, close: bool, made: Certificate) -> None:
        handshakes: list[tuple[str | None, bool]] = []

        class Secure(small_origin.Origin):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                seen: Any = transport.get_extra_info("ssl_object")
                handshakes.append((seen.version(), seen.session_reused))
                super().connection_made(transport)

        async with listening(lambda: Secure(SMALL), server_context(made)) as port:
            where = guard.Target("127.0.0.1", port, tls=True)
            plan = closed_loop.Plan(where, connections=3, seconds=5, requests=30, close=close)
            result = await closed_loop.Generator(plan).run()
        assert (result.requests, result.failed, result.statuses) == (30, 0, {"200": 30})
        assert handshakes == [("TLSv1.3", False)] * (30 if close else 3)

    async def test_a_server_without_tls_is_a_failure(self) -> None:
        async with listening() as port:
            where = guard.Target("127.0.0.1", port, tls=True)
            result = await closed_loop.Generator(closed_loop.Plan(where, connections=2, seconds=1, requests=2)).run()
        assert (result.requests, result.failed) == (0, 2)

    async def test_one_question_over_tls(self, made: Certificate) -> None:
        async with listening(context=server_context(made)) as port:
            assert await asyncio.to_thread(ask, port, tls=True) == (200, b"hello")

    def test_clients_take_tls_1_3_only(self) -> None:
        assert unverified().minimum_version is ssl.TLSVersion.TLSv1_3


def frame(payload: bytes, opcode: int = 0x81) -> bytes:
    return bytes([opcode]) + websocket.masked(payload)[1:]


async def upgraded(port: int, *pieces: bytes) -> bytes:
    """What comes back on a WebSocket after its handshake, until the other side closes or `pieces` came back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    key = base64.b64encode(b"0123456789abcdef")
    writer.write(b"GET /echo HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nSec-Websocket-KEY: " + key + b"\r\n\r\n")
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    assert head.startswith(b"HTTP/1.1 101 ")
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0)
    writer.write_eof()
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    await writer.wait_closed()
    return answer


class TestVaried:
    async def test_no_two_requests_have_the_same_cookie(self) -> None:
        seen: list[bytes] = []

        class Noting(small_origin.Origin):
            def data_received(self, data: bytes) -> None:
                seen.append(data)
                super().data_received(data)

        async with listening(lambda: Noting(SMALL)) as port:
            where = guard.Target("127.0.0.1", port)
            for varied, different in ((True, 20), (False, 1)):
                seen.clear()
                plan = closed_loop.Plan(where, connections=2, seconds=5, requests=20, varied=varied)
                assert (await closed_loop.Generator(plan).run()).requests == 20
                assert len(set(seen)) == different
                assert len({len(request) for request in seen}) == 1

    @pytest.mark.skipif(not closed_loop.have_wrk(), reason="wrk is not on PATH")
    async def test_wrk_does_the_same(self) -> None:
        seen: set[bytes] = set()
        number = 0

        class Noting(small_origin.Origin):
            def data_received(self, data: bytes) -> None:
                nonlocal number
                number += 1
                seen.add(data)
                super().data_received(data)

        async with listening(lambda: Noting(SMALL)) as port:
            plan = closed_loop.Plan(guard.Target("127.0.0.1", port), connections=4, seconds=1, varied=True)
            result = await asyncio.to_thread(closed_loop.with_wrk, plan, frozenset(own_cores()[:2]))
        assert result.requests > 4
        assert len(seen) == number
        assert {len(request) for request in seen} == {len(closed_loop.Generator(plan).render())}


class TestEcho:
    def test_the_handshake_is_that_of_the_rfc(self) -> None:
        # RFC 6455, section 1.3
        head = b"GET /echo HTTP/1.1\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        assert b"\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in small_origin.accepted(head)
        assert small_origin.accepted(b"GET /echo HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 400 ")

    @pytest.mark.parametrize("cut", [1, 2, 5, 8, 1000])
    async def test_messages_come_back_however_they_are_cut(self, cut: int) -> None:
        sent = frame(b"hello") + frame(b"") + frame(b"\0\xff" * 60, 0x82)
        async with listening() as port:
            pieces = [sent[first : first + cut] for first in range(0, len(sent), cut)]
            assert await upgraded(port, *pieces) == b"\x81\x05hello\x81\x00\x82\x78" + b"\0\xff" * 60

    @pytest.mark.parametrize(
        "sent", [b"\x81\x05hello!", b"\x81\xfe\x00\x80mask" + bytes(128), b"\x88\x80mask", b"\x01\x80mask"]
    )
    async def test_anything_else_ends_it(self, sent: bytes) -> None:
        async with listening() as port:
            assert await upgraded(port, sent) == b""


class TestWebSocketLoad:
    async def play(self, port: int, **changes: Any) -> closed_loop.Result:
        where = guard.Target("127.0.0.1", port, "/echo")
        plan = closed_loop.Plan(where, **{"connections": 3, "seconds": 5.0, **changes})
        return await websocket.Generator(plan).run()

    def test_a_frame_is_masked(self) -> None:
        sent = websocket.masked(b"hello")
        assert sent[:2] == b"\x81\x85"
        assert bytes(byte ^ sent[2 + place % 4] for place, byte in enumerate(sent[6:])) == b"hello"

    async def test_a_run_by_number_sends_exactly_that_number(self) -> None:
        async with listening() as port:
            result = await self.play(port, requests=100)
        assert (result.requests, result.upgrades, result.failed, result.refused) == (100, 3, 0, 0)
        assert result.statuses == {"101": 3}
        assert 0 < result.p50 <= result.p99

    async def test_a_run_by_time_ends(self) -> None:
        async with listening() as port:
            result = await self.play(port, seconds=0.1)
        assert result.requests > 3
        assert result.failed == 0

    async def test_a_refused_upgrade_is_refused_and_failed(self) -> None:
        refusal = SMALL.replace(b"200 OK", b"429 Too Many Requests")

        class Refusing(asyncio.Protocol):
            def connection_made(self, transport: Any) -> None:
                self.transport = transport

            def data_received(self, data: bytes) -> None:
                self.transport.write(refusal)

        async with listening(Refusing) as port:
            result = await self.play(port)
        assert (result.requests, result.upgrades, result.failed, result.refused) == (0, 0, 3, 3)

    async def test_a_message_that_comes_back_changed_is_a_failure(self) -> None:
        class Lying(small_origin.Echo):
            def data_received(self, data: bytes) -> None:
                self.transport.write(b"\x81\x20" + b"somebody else's".ljust(32))

        class Liar(small_origin.Origin):
            def data_received(self, data: bytes) -> None:
                self.transport.write(small_origin.accepted(data))
                self.transport.set_protocol(Lying(self.transport))

        async with listening(lambda: Liar(SMALL)) as port:
            result = await self.play(port, seconds=1.0)
        assert (result.requests, result.upgrades, result.failed) == (0, 3, 3)

    async def test_a_server_that_is_gone_is_a_failure(self) -> None:
        async with listening() as port:
            pass
        result = await self.play(port)
        assert (result.requests, result.upgrades, result.failed) == (0, 0, 3)


class TestGenerators:
    """Several of our own side by side are one."""

    def test_they_share_the_work(self) -> None:
        assert closed_loop.share(20_000, 3) == [6667, 6667, 6666]
        assert closed_loop.share(0, 2) == [0, 0]

    def test_what_they_saw_is_added_up(self) -> None:
        one = closed_loop.Result(10, 1.0, 100, 1, 2, 0.1, 0.5, {"200": 9, "429": 1})
        other = closed_loop.Result(30, 2.0, 300, 0, 0, 0.3, 0.4, {"200": 30})
        assert closed_loop.merged([one, other]) == closed_loop.Result(
            40, 2.0, 400, 1, 2, 0.2, 0.5, {"200": 39, "429": 1}
        )

    def test_both_ways_of_making_load_send_the_number(self, tmp_path: Path) -> None:
        (port,) = free_ports(1)
        with running([]) as started:
            argv = [sys.executable, "-m", "bench.origins.small_origin", "--port", str(port)]
            started.append(launch("origin", argv, tmp_path, frozenset(own_cores())))
            wait_until_answers(started[0], port)
            cores = frozenset(own_cores()[:2])
            plan = closed_loop.Plan(guard.Target("127.0.0.1", port), connections=4, seconds=10, requests=101)
            assert closed_loop.with_own(plan, cores).statuses == {"200": 101}
            echo = closed_loop.Plan(guard.Target("127.0.0.1", port, "/echo"), connections=4, seconds=10, requests=50)
            assert websocket.run(echo, cores).requests == 50


class TestPeers:
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
                result = await closed_loop.Generator(
                    closed_loop.Plan(where, connections=2, seconds=10, requests=20)
                ).run()
                assert result.statuses == {"200": 20}
                if not tls:
                    where = guard.Target("127.0.0.1", port, "/echo")
                    plan = closed_loop.Plan(where, connections=2, seconds=10, requests=20)
                    result = await websocket.Generator(plan).run()
                    assert (result.requests, result.failed) == (20, 0)


class TestJudgement:
    def judge(self, name: str, result: closed_loop.Result, counted: dict[str, float] | None) -> list[str]:
        cores = share_out([0, 1])
        bench = contest.Contest(WORKLOADS[name], cores, 1.0, False, None, 0)  # type: ignore[arg-type]
        return bench.judge(contender.Contender("shield", "Shield", "", 1, None, (2, "/metrics")), result, counted)

    def test_a_websocket_counts_once_and_no_message_may_be_lost(self) -> None:
        good = closed_loop.Result(5000, 1.0, 1, 0, 0, 0.001, 0.002, {"101": 64}, upgrades=64)
        assert self.judge("websocket", good, {"forward/ok": 64.0}) == []
        assert len(self.judge("websocket", good, {"forward/ok": 65.0})) == 1
        assert len(self.judge("websocket", dataclasses.replace(good, failed=1), None)) == 1
        assert len(self.judge("websocket", dataclasses.replace(good, upgrades=63), {"forward/ok": 63.0})) == 1

    def test_nothing_is_no_answer(self) -> None:
        nothing = closed_loop.Result(0, 1.0, 0, 0, 0, 0.0, 0.0)
        assert len(self.judge("proxied", nothing, None)) == 1
        assert self.judge("download-large", dataclasses.replace(nothing, bytes=5), None) == []  # none was complete

    def test_a_run_by_number_agrees_with_the_metrics(self) -> None:
        told = {"sent": 100, "answered": 100, "requests": 100, "good": 100, "counted": {"forward/ok": 100.0}}
        assert contest.miscounted(told) == []
        assert contest.miscounted({**told, "counted": {"forward/ok": 100.0, "queue/at_capacity": 3.0}}) == []
        assert len(contest.miscounted({**told, "answered": 99})) == 1
        assert len(contest.miscounted({**told, "counted": {"forward/ok": 99.0, "limit/client_rate": 1.0}})) == 1
        assert len(contest.miscounted({**told, "counted": {"forward/ok": 99.0}})) == 2
        refused = {**told, "good": 5, "counted": {"forward/ok": 5.0, "limit/client_rate": 95.0}}
        assert contest.miscounted(refused) == []


class TestTables:
    def turn(self, peer: str, number: int, rate: int, cpu: float) -> contest.Turn:
        return contest.Turn(peer, number, closed_loop.Result(rate, 1.0, 1000 * rate, 0, 0, 0.001, 0.002), cpu, None)

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

    def test_every_workload_has_what_it_needs(self) -> None:
        for workload in WORKLOADS.values():
            assert "shield" not in workload.without
            assert (workload.refused is None) == (workload.limits is Limits.OUT_OF_REACH and not workload.challenge)
            assert workload.exact * (int(workload.path[7:]) if workload.transfer else 1) <= 1 << 30
