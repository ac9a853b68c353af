"""Starting, stopping, and what happens when it cannot be started as the operator wished."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import socket
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

Client = Callable[..., aiohttp.ClientSession]


class Slow:
    """An origin whose answers the test lets go."""

    def __init__(self) -> None:
        self.asked = asyncio.Semaphore(0)
        self.go_on = asyncio.Event()

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_route("*", "/whole", self.whole)
        app.router.add_get("/half", self.half)
        app.router.add_get("/now", self.now)
        return app

    async def whole(self, request: web.Request) -> web.Response:
        await request.read()
        self.asked.release()
        await self.go_on.wait()
        return web.Response(text="whole")

    async def half(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"first half")
        self.asked.release()
        await self.go_on.wait()
        await response.write(b", second half")
        return response

    async def now(self, _: web.Request) -> web.Response:
        return web.Response(text="now")


@pytest.mark.parametrize("with_signal", [signal.SIGTERM, signal.SIGINT])
async def test_a_stop_cuts_no_request_in_flight(
    with_signal: signal.Signals, start: Callable[..., Any], serve: Callable[..., Awaitable[str]], client: Client
) -> None:
    slow = Slow()
    shield = await start(upstream={"servers": [await serve(slow.app())]})
    session, idle = client(), client()

    async def read(method: str, path: str) -> tuple[int, str, str | None]:
        async with session.request(method, shield.url(path), data=b"x" if method == "POST" else None) as response:
            return response.status, await response.text(), response.headers.get("Connection")

    async with idle.get(shield.url("/now")) as response:
        assert await response.text() == "now"
    requests = [asyncio.create_task(read(*what)) for what in (("GET", "/whole"), ("POST", "/whole"), ("GET", "/half"))]
    async with asyncio.timeout(30):
        for _ in requests:
            await slow.asked.acquire()
        shield.process.send_signal(with_signal)
        await shield.logged("draining")
        while True:  # nobody new is let in
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", shield.port)
            except ConnectionRefusedError:
                break
            writer.transport.abort()
        assert (await shield.asked("/readyz")) == (503, "draining\n")
        assert not any(request.done() for request in requests)
        slow.go_on.set()
        answers = await asyncio.gather(*requests)
    assert answers[:2] == [(200, "whole", "close")] * 2
    assert answers[2][:2] == (200, "first half, second half")
    assert await shield.ended() == 0
    assert shield.seen("drained", cut=0)


async def test_what_outlasts_the_grace_period_is_cut_and_counted(
    start: Callable[..., Any], serve: Callable[..., Awaitable[str]], client: Client
) -> None:
    slow = Slow()
    shield = await start(timeouts={"drain": 0.3}, upstream={"servers": [await serve(slow.app())]})
    request = asyncio.create_task(client().get(shield.url("/whole")))
    async with asyncio.timeout(30):
        await slow.asked.acquire()
        assert await shield.end() == 0
    assert shield.seen("drained", cut=1)
    with pytest.raises(aiohttp.ClientError):
        await request


async def test_two_signals_are_no_worse_than_one(start: Callable[..., Any]) -> None:
    shield = await start()
    shield.process.send_signal(signal.SIGTERM)
    shield.process.send_signal(signal.SIGINT)
    assert await shield.ended() == 0


@pytest.mark.parametrize("workers", [1, 2])
async def test_once_it_stops_it_neither_reloads_nor_upgrades(
    workers: int, start: Callable[..., Any], serve: Callable[..., Awaitable[str]], client: Client
) -> None:
    """A process in the place of one that drained was started, and the reload failed for a closed descriptor."""
    slow = Slow()
    shield = await start(listen={"workers": workers}, upstream={"servers": [await serve(slow.app())]})
    request = asyncio.create_task(client().get(shield.url("/whole")))
    async with asyncio.timeout(30):
        await slow.asked.acquire()
        shield.process.send_signal(signal.SIGTERM)
        await shield.logged("draining", count=workers)
        for number in (signal.SIGHUP, signal.SIGUSR2):
            shield.process.send_signal(number)
            await shield.logged("signal_ignored", signal=number.name)
        slow.go_on.set()
        async with await request as response:
            assert await response.text() == "whole"
    assert await shield.ended() == 0


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_reload_that_is_asked_for_while_it_starts_is_done_after_that(
    workers: int, launch: Callable[..., Any]
) -> None:
    shield = await launch(listen={"workers": workers})
    caught = 1 << signal.SIGHUP - 1
    async with asyncio.timeout(30):
        while not int(kernel_says(shield.pid, "SigCgt"), 16) & caught:
            await asyncio.sleep(0)
    shield.process.send_signal(signal.SIGHUP)
    await shield.logged("reloaded", pid=shield.pid)
    events = [line["event"] for line in shield.lines if line.get("pid") == shield.pid]
    assert events == ["started", "reloaded"]


def kernel_says(pid: int, field: str) -> str:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith(field))


@pytest.mark.parametrize("workers", [1, 2])
async def test_closed_standard_files_become_no_sockets(
    workers: int, launch: Callable[..., Any], client: Client
) -> None:
    """Descriptor 2 was the event loop's own, got the log, and the process aborted as it stopped."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    listen = {"address": f"127.0.0.1:{port}", "workers": workers}
    shield = await launch(prefix=("sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"), listen=listen)
    await answers(client(), port)
    assert {(Path(f"/proc/{shield.pid}/fd") / str(n)).readlink() for n in range(3)} == {Path("/dev/null")}
    assert await shield.end() == 0


async def test_a_full_disk_for_the_log_stops_nothing(launch: Callable[..., Any], client: Client) -> None:
    """The welcome could not be written, and Shield ended with 1, which a service manager takes for a wrong config."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    listen = {"address": f"127.0.0.1:{port}"}
    shield = await launch(prefix=("sh", "-c", 'exec "$@" >/dev/full 2>/dev/full', "sh"), listen=listen)
    await answers(client(), port)
    assert await shield.end() == 0


async def answers(session: aiohttp.ClientSession, port: int) -> None:
    """Wait until it does."""
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(aiohttp.ClientConnectorError):
                async with session.get(f"http://127.0.0.1:{port}/") as response:
                    assert response.status == 200
                return
            await asyncio.sleep(0.05)


async def refusal(launch: Callable[..., Any], status: int, **settings: Any) -> str:
    """What is said on stderr by a Shield that must not start; no line of it is a traceback."""
    one = await launch(**settings)
    assert await one.ended() == status, one.text
    assert not one.seen("started")
    assert not [line for line in one.text if "Traceback" in line]
    assert not [line for line in one.lines if line["event"] in ("exception", "library")]
    return "\n".join(one.text)


async def test_what_stops_a_start_is_said_in_one_line(
    start: Callable[..., Any], launch: Callable[..., Any], tmp_path: Path, tls: Any
) -> None:
    running = await start()
    public, broken, fine = tmp_path / "public", tmp_path / "broken", tmp_path / "directory"
    public.write_text("ab" * 32)
    public.chmod(0o644)
    broken.write_text("no key")
    broken.chmod(0o600)
    fine.mkdir()

    async def says(*words: str, **settings: Any) -> None:
        text = await refusal(launch, 3, **settings)
        assert text.startswith("shield: "), text
        assert "\n" not in text
        for word in words:
            assert word in text

    async def mistaken(*words: str, **settings: Any) -> None:
        text = await refusal(launch, 1, **settings)
        for word in words:
            assert word in text

    await asyncio.gather(
        says(running.address, "in use", listen={"address": running.address}),
        says(running.admin, "in use", admin={"address": running.admin}),
        says(str(public), "chmod 600", state={"secret_file": public}),
        says(str(broken), "64 hex digits", state={"secret_file": broken}),
        mistaken("state.secret_file", "this is a directory", state={"secret_file": fine}),  # a long path is cut
        mistaken("state.directory", "this is a file", state={"directory": broken}),
        mistaken("tls.certificates", "/nowhere/cert.pem", tls={"certificates": [{"chain": "/nowhere/cert.pem"}]}),
        mistaken("tls.certificates", "cannot be used", tls={"certificates": [{"chain": broken, "key": tls.key}]}),
        mistaken(
            "tls.certificates", "cannot be used", tls={"certificates": [{"chain": tls.certificate, "key": broken}]}
        ),
        mistaken("tls.certificates", "must hold its key", tls={"certificates": [{"chain": tls.certificate}]}),
        mistaken("upstream.ca", upstream={"servers": ["https://127.0.0.1:1"], "ca": "/nowhere/ca.pem"}),
        mistaken(
            "challenge.mode", "limits.clint", "upstream.servers",
            challenge={"mode": "sometimes"}, limits={"clint": 1}, upstream={"servers": ["ftp://x"]},
        ),
    )  # fmt: skip


def fill(path: Path) -> None:
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)


@pytest.mark.parametrize(("options", "why"), [("rw", "No space left"), ("ro", "Read-only file system")])
async def test_a_full_or_read_only_disk_under_the_state_directory_stops_nothing(
    start: Callable[..., Any], client: Client, tmp_path: Path, options: str, why: str
) -> None:
    """The keys cannot be written at the start, nor the history at the end; requests are served all the same."""
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(  # noqa: ASYNC221 - at once
        ["mount", "-t", "tmpfs", "-o", "size=16384,mode=700", "tmpfs", str(small)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no small file system can be made here: {mounted.stderr.decode().strip()}")
    try:
        fill(small / "filler")
        remount = ["mount", "-o", f"remount,{options}", str(small)]
        subprocess.run(remount, check=True)  # noqa: ASYNC221
        shield = await start(state={"directory": small})
        shield.expected = {"keys_not_saved", "history_not_saved", "learned_not_saved"}
        line = await shield.logged("keys_not_saved", level="error")
        assert why in line["error"]
        assert line["path"] == str(small / "keys")
        async with client().get(shield.url("/")) as response:
            assert response.status == 200
        assert await shield.end() == 0
        for event in ("history_not_saved", "learned_not_saved"):
            (line,) = shield.seen(event)
            assert why in line["error"]
        assert sorted(path.name for path in small.iterdir()) == ["filler"], "no half-written file is left"

        subprocess.run([*remount[:2], "remount,rw", str(small)], check=True)  # noqa: ASYNC221
        (small / "filler").unlink()
        again = await start(state={"directory": small})
        assert (small / "keys").exists()
        assert await again.end() == 0
    finally:
        subprocess.run(["umount", str(small)], check=True)  # noqa: ASYNC221


async def test_out_of_descriptors_it_waits_and_recovers(
    launch: Callable[..., Any], serve: Callable[..., Awaitable[str]], client: Client
) -> None:
    shell, slow = shutil.which("sh"), Slow()
    assert shell is not None
    shield = await launch(
        prefix=(shell, "-c", 'ulimit -n 256; exec "$@"', "sh"),
        listen={"max_connections_per_address": 256, "max_connections_per_network": 256},
        upstream={"servers": [await serve(slow.app())], "max_concurrency": 1000},
        identity={"allow": ["127.0.0.0/8"]},
    )
    await shield.begin()
    limit = shield.seen("started")[0]["connections"]
    assert 16 <= limit < 256
    sockets = []
    try:
        # Far more than are accepted; the kernel holds the others (listen.backlog).
        for _ in range(300):
            sockets.append(socket.create_connection(("127.0.0.1", shield.port), timeout=0.9))
            sockets[-1].sendall(b"GET /whole HTTP/1.1\r\nHost: site\r\nConnection: close\r\n\r\n")
        await shield.logged("accepting_paused")
        status = await shield.until(lambda status: status["connections"]["open"] >= limit)
        assert status["connections"]["open"] <= limit + 1
        assert (await shield.asked("/healthz"))[0] == 200
        slow.go_on.set()
        async with asyncio.timeout(30):
            answer = await asyncio.to_thread(sockets[0].recv, 4096)
        assert answer.startswith(b"HTTP/1.1 200 "), "who is inside is served"
    finally:
        for sock in sockets:
            sock.close()
    async with client().get(shield.url("/now")) as response:
        assert response.status == 200
    await shield.logged("accepting_resumed")
    await shield.until(lambda status: status["connections"]["open"] <= 1)


async def test_a_newcomer_gets_in_while_silent_connections_take_every_place(
    launch: Callable[..., Any], client: Client
) -> None:
    shield = await launch(listen={"max_connections": 20}, timeouts={"header": 60})
    await shield.begin()
    sockets = [
        socket.create_connection(("127.0.0.1", shield.port), timeout=0.9, source_address=(f"127.9.{n}.1", 0))
        for n in range(60)
    ]
    try:
        await shield.until(lambda status: status["connections"]["closed"].get("displaced", 0) >= 40)
        async with client("127.2.0.1").get(shield.url("/")) as response:
            assert response.status == 200
        told = await shield.logged("connections_displaced")
        assert told["reason"] == "displaced"
    finally:
        for sock in sockets:
            sock.close()


async def test_a_stop_does_not_wait_for_connections_that_came_at_the_last_moment(
    launch: Callable[..., Any], serve: Callable[..., Awaitable[str]]
) -> None:
    """Accepting had been paused; what waited in the kernel was accepted while the listener was being closed."""
    slow = Slow()
    shield = await launch(
        listen={"max_connections": 20, "max_connections_per_address": 20, "max_connections_per_network": 20},
        upstream={"servers": [await serve(slow.app())], "max_concurrency": 100},
        timeouts={"header": 60, "drain": 60},
    )
    await shield.begin()
    sockets = [  # each from a network of its own: of networks that have several, newcomers are refused
        socket.create_connection(("127.0.0.1", shield.port), timeout=0.9, source_address=(f"127.{network}.0.1", 0))
        for network in range(1, 61)
    ]
    try:
        for sock in sockets[:20]:
            sock.sendall(b"GET /whole HTTP/1.1\r\nHost: site\r\n\r\n")
        await shield.logged("accepting_paused")
        for sock in sockets[:45]:
            sock.close()
        slow.go_on.set()
        await shield.logged("accepting_resumed")
        shield.process.send_signal(signal.SIGTERM)
        assert await shield.ended(within=8) == 0
    finally:
        for sock in sockets:
            sock.close()


async def test_the_admin_listener_tells_what_it_does(start: Callable[..., Any], client: Client) -> None:
    shield = await start()
    session = client()
    for path in ("/", "/api/time", "/nothing"):
        async with session.get(shield.url(path)) as response:
            await response.read()
    assert await shield.asked("/healthz") == (200, "alive\n")
    assert await shield.asked("/readyz") == (200, "ready\n")
    assert (await shield.asked("/nothing"))[0] == 404
    status = await shield.status()
    assert status["requests"] == {"forward": {"ok": 3}}
    assert status["responses"]["upstream"] == {"2xx": 2, "4xx": 1}
    assert status["tables"]["clients"]["entries"] == 1
    for table in status["tables"].values():
        assert table["max"] > 0
        assert table["bytes_per_entry"] > 0
    code, metrics = await shield.asked("/metrics")
    assert code == 200
    for line in (
        'shield_requests_total{action="forward",reason="ok"} 3.0',
        'shield_requests_total{action="challenge",reason="newcomer"} 0.0',
        "shield_request_duration_seconds_count 3.0",
        "shield_pressure 0.0",
    ):
        assert line in metrics
    line = await shield.logged("request", path="/nothing", status=404)
    assert {"time", "address", "client", "method", "action", "reason", "tier", "ms", "sent", "server", "id"} <= set(
        line
    )
    assert line["address"] == "127.0.0.1"


async def test_a_mixed_day_leaves_nothing_open(
    start: Callable[..., Any], serve: Callable[..., Awaitable[str]], client: Client
) -> None:
    """Pages, cut downloads, broken requests, WebSockets, dead upstreams, slow readers: afterwards as before."""
    slow = Slow()
    shield = await start(
        upstream={"servers": [await serve(slow.app()), "http://127.0.0.1:1"], "unhealthy_after": 100,
                  "keep_alive_seconds": 0.5, "eject_after": 1000, "connect_timeout": 1},
        timeouts={"header": 1, "linger": 0.3, "keep_alive": 1},
        identity={"allow": ["127.0.0.0/8"]},
    )  # fmt: skip
    async with client().get(shield.url("/now")) as response:
        assert response.status == 200
    await shield.until(lambda status: status["connections"]["open"] <= 1)
    before = shield.files()

    async def raw(data: bytes, reset: bool = False) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", shield.port)
        writer.write(data)
        await writer.drain()
        if reset:
            writer.transport.abort()
            return
        await reader.read()
        writer.close()

    async def hurried() -> None:
        with pytest.raises((asyncio.TimeoutError, aiohttp.ClientError)):
            async with client().get(shield.url("/whole"), timeout=aiohttp.ClientTimeout(total=0.2)):
                pass

    async def page() -> None:
        async with client().get(shield.url("/now")) as response:
            assert response.status in (200, 502)

    head = b"GET /now HTTP/1.1\r\nHost: site\r\n"
    async with asyncio.timeout(20):
        await asyncio.gather(
            *(page() for _ in range(20)),
            *(hurried() for _ in range(10)),
            *(raw(head + b"Connection: close\r\n\r\n") for _ in range(10)),
            *(raw(b"\x16\x03\x01\x02\x00\x01\x00") for _ in range(5)),
            *(raw(head + b"Content-Length: x\r\n\r\n") for _ in range(5)),
            *(raw(b"POST /whole HTTP/1.1\r\nHost: site\r\nContent-Length: 5\r\n\r\nab", reset=True) for _ in range(5)),
            *(raw(head, reset=True) for _ in range(5)),
            *(raw(head) for _ in range(5)),  # 408
            *(raw(b"") for _ in range(5)),
        )
    slow.go_on.set()
    status = await shield.until(
        lambda status: (
            status["connections"]["open"] == 0
            and status["in_flight"] == status["waiting"] == 0
            and not any(server["idle"] or server["outstanding"] for server in status["upstream"])
        )
    )
    assert status["faults"]["head_timeout"] >= 5
    async with asyncio.timeout(30):
        while shield.files() > before:
            await asyncio.sleep(0.05)
