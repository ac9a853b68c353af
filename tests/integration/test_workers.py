"""Several workers behind one address: a network meets one of them, and to the operator they are one service."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from shield.demo import solver

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="steering is Linux's")

Client = Callable[..., aiohttp.ClientSession]
Start = Callable[..., Awaitable[Any]]

NETWORKS = 24
"""With two workers, one of them goes without in one start of eight million."""


@pytest.fixture
async def origin(serve: Callable[..., Awaitable[str]], site: web.Application) -> str:
    return await serve(site)


@pytest.fixture
async def two(start: Start, origin: str) -> Start:
    """two(table={...}) runs Shield with two workers in front of the site."""

    async def start_two(**settings: Any) -> Any:
        settings["upstream"] = {"servers": [origin], **settings.get("upstream", {})}
        settings["listen"] = {"workers": 2, **settings.get("listen", {})}
        return await start(**settings)

    return start_two


async def served(client: Client, shield: Any, addresses: Iterable[str], mark: str) -> list[dict[str, Any]]:
    """The log lines of one request from each address. `mark` must be new."""
    paths = []
    for number, address in enumerate(addresses):
        paths.append(f"/page/{mark}/{number}")
        async with client(address, jar=False).get(shield.url(paths[-1])) as response:
            assert response.status == 200
    return [await shield.logged("request", path=path) for path in paths]


@pytest.fixture
async def steady(client: Client) -> AsyncIterator[Callable[[Any, str], Callable[[], int]]]:
    """steady(shield, address) asks all the time and fails the test if anything but 200 comes; returns a count."""
    tasks: list[asyncio.Task[None]] = []
    going = True

    def begin(shield: Any, address: str) -> Callable[[], int]:
        count = 0
        session = client(address)

        async def ask() -> None:
            nonlocal count
            while going:
                async with session.get(shield.url("/page/steady"), headers={"Connection": "close"}) as response:
                    assert response.status == 200
                count += 1

        tasks.append(asyncio.create_task(ask()))
        return lambda: count

    yield begin
    going = False
    for task in tasks:
        await task


async def test_each_network_meets_one_worker_and_the_operator_sees_all(two: Start, client: Client, steady: Any) -> None:
    generous = {"rate": 1e6, "burst": 1e6}  # a request or two a millisecond would be limited
    shield = await two(
        listen={"workers": 2, "max_connections": 101},
        upstream={"max_concurrency": 7},
        limits={"client": generous, "address": generous},
    )
    assert shield.seen("started", workers=2, steered=True)
    await shield.logged("worker_started", count=2)
    assert [line["connections"] for line in shield.seen("worker_started")] == [51, 51]
    assert sorted(line["worker"] for line in shield.seen("worker_started")) == [0, 1]
    lines = await served(client, shield, (f"127.21.{n}.{host}" for n in range(NETWORKS) for host in (1, 200)), "first")
    met = [line["worker"] for line in lines]
    assert met[::2] == met[1::2], "both addresses of a network meet the same"
    expected = Counter(map(str, met))
    assert set(expected) == {"0", "1"}

    _, text = await shield.asked("/metrics")
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert all("worker" in sample.labels for family in families.values() for sample in family.samples)
    forwarded = {
        sample.labels["worker"]: sample.value
        for sample in families["shield_requests"].samples
        if (sample.labels["action"], sample.labels["reason"]) == ("forward", "ok")
    }
    assert forwarded == expected
    status = await shield.status()
    assert status["requests"] == {"forward": {"ok": 2 * NETWORKS}}
    assert [worker["requests"]["forward"]["ok"] for worker in status["workers"]] == [expected["0"], expected["1"]]
    assert [worker["concurrency"] for worker in status["workers"]] == [7, 7], "it is one limit, for both"
    assert (status["concurrency"], [worker["board"]["workers"] for worker in status["workers"]]) == (7, [2, 2])
    assert [worker["board"]["leads"] for worker in status["workers"]] == [True, False]
    assert await shield.asked("/readyz") == (200, "ready\n")
    assert await shield.asked("/healthz") == (200, "alive\n")

    # A killed worker comes back, and the other serves on.
    zero, one = (next(line["address"] for line in lines if line["worker"] == number) for number in (0, 1))
    count = steady(shield, one)
    pids = [worker["pid"] for worker in (await shield.status())["workers"]]
    os.kill(pids[0], signal.SIGKILL)
    await shield.logged("worker_ended", worker=0, pid=pids[0], status=-signal.SIGKILL)
    before = count()
    # Nobody listens, yet nobody is refused: the connection waits for the next worker.
    (line,) = await served(client, shield, [zero], "after")
    assert line["worker"] == 0
    status = await shield.until(lambda now: now["ready"])
    assert count() > before, "the other worker served meanwhile"
    assert [worker["restarts"] for worker in status["workers"]] == [1, 0]
    assert status["workers"][0]["pid"] not in pids
    assert status["workers"][1]["pid"] == pids[1]
    assert len(shield.seen("worker_started", worker=0)) == 2


async def test_a_worker_that_keeps_dying_ends_the_service(launch: Start, origin: str) -> None:
    shield = await launch(listen={"workers": 2}, upstream={"servers": [origin]})
    await shield.begin()
    killed: set[int | None] = {None}
    for _ in range(5):
        status = await shield.until(lambda now: now["workers"][1]["pid"] not in killed)
        pid = status["workers"][1]["pid"]
        os.kill(pid, signal.SIGKILL)
        killed.add(pid)
    assert await shield.ended() == 3
    assert shield.text[-1:] == ["shield: worker 1 died 5 times within 60 seconds"]
    assert shield.seen("drained", worker=0)
    shield.lines.clear()  # it has started, and is not expected to end with 0


@pytest.fixture
async def slow(site: web.Application, serve: Callable[..., Awaitable[str]]) -> tuple[str, asyncio.Event, asyncio.Event]:
    """An origin whose /slow answers when the second event is set; the first says that one is waiting at it."""
    waiting, go = asyncio.Event(), asyncio.Event()

    async def answer(_: web.Request) -> web.Response:
        waiting.set()
        await go.wait()
        return web.Response(text="at last")

    site.router.add_get("/slow", answer)
    return await serve(site), waiting, go


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def gone(*pids: int) -> None:
    async with asyncio.timeout(30):
        while any(map(alive, pids)):
            await asyncio.sleep(0.02)


def pids_of(shield: Any) -> list[int]:
    return [line["pid"] for line in shield.seen("worker_started")]


async def test_sigterm_drains_all_workers(start: Start, slow: Any, client: Client) -> None:
    url, waiting, go = slow
    shield = await start(listen={"workers": 2}, upstream={"servers": [url]})
    session = client()
    request = asyncio.create_task(session.get(shield.url("/slow")))
    await waiting.wait()
    shield.process.send_signal(signal.SIGTERM)
    await shield.logged("draining", worker=0)
    await shield.logged("draining", worker=1)
    with pytest.raises(aiohttp.ClientConnectionError):
        await client("127.22.0.1").get(shield.url("/"))
    assert await shield.asked("/readyz") == (503, "draining\n")
    go.set()
    async with await request as response:
        assert await response.text() == "at last"
    assert await shield.ended() == 0
    assert [line["cut"] for line in shield.seen("drained")] == [0, 0]
    await gone(*pids_of(shield))


async def test_a_second_signal_ends_at_once(start: Start, client: Client) -> None:
    """In front of the demo site, which is one for all workers and ends with them."""
    shield = await start(listen={"workers": 2})
    request = asyncio.create_task(client().get(shield.url("/slow?ms=10000")))
    status = await shield.until(lambda now: now["in_flight"])
    (server,) = {worker["upstream"][0]["server"] for worker in status["workers"]}
    shield.process.send_signal(signal.SIGINT)
    await shield.logged("stopping")
    shield.process.send_signal(signal.SIGINT)
    assert await shield.ended(within=5) == 0  # the request takes 10 s, and timeouts.drain is 30
    with pytest.raises(aiohttp.ClientError):
        await request
    await gone(*pids_of(shield))
    assert not Path(server.removeprefix("unix:")).parent.exists()


async def test_a_killed_supervisor_leaves_no_orphans(launch: Start, origin: str) -> None:
    shield = await launch(listen={"workers": 2}, upstream={"servers": [origin]})
    await shield.begin()
    shield.process.kill()
    await gone(*pids_of(shield))
    assert len(shield.seen("drained")) == 2
    sockets = Path(shield.seen("worker_started")[0]["admin"].removeprefix("unix:"))
    assert not sockets.parent.exists()
    await shield.ended()
    shield.lines.clear()  # it was not expected to end with 0


async def test_a_ban_of_a_moment_ago_outlives_all_processes(
    start: Start, launch: Start, origin: str, client: Client, tmp_path: Path
) -> None:
    """Killed with everything before the next snapshot, Shield let in again whom it had just banned."""
    scanner = {"User-Agent": "scanner/1.0"}
    settings = {
        "listen": {"workers": 2},
        "upstream": {"servers": [origin]},
        "limits": {"honeypots": ["/trap"]},
        "state": {"directory": tmp_path / "state"},
    }
    killed = await launch(**settings)
    await killed.begin()
    banned = [f"127.9.{number}.1" for number in range(8)]  # so that each worker meets some
    for address in banned:
        async with client(address, scanner).get(killed.url("/trap")) as response:
            assert response.status == 403
    async with asyncio.timeout(10):
        while not all(address in journals(tmp_path) for address in banned):
            await asyncio.sleep(0.02)
    pids = pids_of(killed)
    killed.process.kill()
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    await gone(*pids)
    await killed.ended()
    killed.lines.clear()  # it was not expected to end with 0
    again = await start(**settings)
    for address in banned:
        async with client(address, scanner).get(again.url("/page")) as response:
            assert response.status == 403
    async with client("127.10.0.1").get(again.url("/page")) as response:
        assert response.status == 200


def journals(folder: Path) -> str:
    """What stands in the journals and snapshots of bans."""
    files = [*folder.glob("state/journal-*.log"), *folder.glob("state/learned-*.json")]
    return "".join(path.read_text() for path in files)


async def test_the_next_shield_starts_while_orphans_drain(
    start: Start, launch: Start, slow: Any, client: Client
) -> None:
    """As under a manager that leaves the workers of a supervisor that was killed alone."""
    url, waiting, go = slow
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    settings = {"listen": {"workers": 2, "address": address}, "upstream": {"servers": [url]}}
    killed = await launch(**settings)
    await killed.begin()
    request = asyncio.create_task(client().get(killed.url("/slow")))
    await waiting.wait()
    killed.process.kill()
    await killed.logged("draining", count=2)
    again = await start(**settings)
    async with client("127.26.0.1").get(again.url("/page")) as response:
        assert response.status == 200
    go.set()
    async with await request as response:
        assert await response.text() == "at last"
    await killed.ended()
    killed.lines.clear()  # it was not expected to end with 0


async def test_workers_outlive_their_nursery(two: Start, client: Client) -> None:
    """Whoever comes after it is killed is a new interpreter."""
    shield = await two()
    nursery, *others = Path(f"/proc/{shield.pid}/task/{shield.pid}/children").read_text().split()
    assert others == []
    os.kill(int(nursery), signal.SIGKILL)
    await gone(int(nursery))
    pids = [worker["pid"] for worker in (await shield.status())["workers"]]
    assert all(map(alive, pids))
    os.kill(pids[0], signal.SIGKILL)
    await shield.logged("worker_ended", worker=0, pid=pids[0], status=255)
    await shield.logged("worker_started", worker=0, count=2)
    lines = await served(client, shield, (f"127.24.{n}.1" for n in range(NETWORKS)), "after")
    assert {line["worker"] for line in lines} == {0, 1}


async def test_a_worker_that_hangs_is_replaced(two: Start, client: Client) -> None:
    """Stopped, it beats no more; the other one serves meanwhile."""
    shield = await two()
    shield.expected = {"worker_hangs"}
    pids = [worker["pid"] for worker in (await shield.status())["workers"]]
    os.kill(pids[1], signal.SIGSTOP)
    await shield.logged("worker_hangs", worker=1, pid=pids[1])
    await shield.logged("worker_ended", worker=1, pid=pids[1], status=-signal.SIGKILL)
    await shield.logged("worker_started", worker=1, count=2)
    lines = await served(client, shield, (f"127.25.{n}.1" for n in range(NETWORKS)), "after")
    assert {line["worker"] for line in lines} == {0, 1}


async def challenged(session: aiohttp.ClientSession, shield: Any) -> dict[str, Any]:
    """The answer to a challenge that the session gets."""
    async with session.get(shield.url("/page")) as response:
        assert response.status == 503
        challenge = (await response.json(content_type=None))["challenge"]
    token = challenge["token"]
    return {"token": token, "nonces": solver.solve(token, challenge["k"], int(challenge["target"], 16))}


async def test_a_pass_is_good_at_every_worker_and_an_answer_buys_one_at_whichever(two: Start, client: Client) -> None:
    """The workers share the signing keys, and know of each other what was answered."""
    shield = await two(challenge={"mode": "always", "least_hashes": 256, "most_hashes": 1024})
    program = {"User-Agent": "feed-reader/2.1", "Accept": "application/json"}
    for n in range(NETWORKS):
        async with client(f"127.20.{n}.1", program).get(shield.url(f"/page/{n}")) as response:
            assert response.status == 503
    met: dict[int, str] = {}
    for n in range(NETWORKS):
        if len(met) < 2:
            line = await shield.logged("refused", path=f"/page/{n}")
            met.setdefault(line["worker"], line["address"])
    zero, one = client(met[0], program, jar=False), client(met[1], program, jar=False)

    answer, other = await challenged(zero, shield), await challenged(zero, shield)
    url = shield.url("/.well-known/shield/answer")
    async with zero.post(url, json=answer) as response:
        assert response.status == 200
        token = (await response.json())["pass"]
    async with zero.post(url, json=answer) as response:
        assert (response.status, (await response.json(content_type=None))["reason"]) == (400, "spent")
    async with one.post(url, json=answer) as response:
        assert (response.status, (await response.json(content_type=None))["reason"]) == (400, "spent")
    async with one.post(url, json=other) as response:  # its visitor has another address now
        assert response.status == 200
    async with zero.post(url, json=other) as response:
        assert (response.status, (await response.json(content_type=None))["reason"]) == (400, "spent")
    for session, worker in ((zero, 0), (one, 1)):
        async with session.get(shield.url(f"/page/with-pass/{worker}"), headers={"Shield-Pass": token}) as response:
            assert response.status == 200
        await shield.logged("request", path=f"/page/with-pass/{worker}", worker=worker)


async def test_a_changed_number_of_workers_forgets_nobody(
    start: Start, origin: str, client: Client, tmp_path: Path
) -> None:
    settings = {
        "state": {"directory": tmp_path / "state"},
        "history": {"window": 0.2},
        "upstream": {"servers": [origin]},
    }

    async def tiers(shield: Any, mark: str) -> list[int]:
        return [line["tier"] for line in await served(client, shield, (f"127.23.{n}.1" for n in range(4)), mark)]

    several = await start(listen={"workers": 2}, **settings)
    assert await tiers(several, "first") == [3, 3, 3, 3]
    async with asyncio.timeout(30):
        for n in range(1_000_000):
            if await tiers(several, f"again/{n}") == [1, 1, 1, 1]:
                break
    assert await several.end() == 0
    files = {path.name for path in (tmp_path / "state").iterdir()}
    assert files == {"keys", *(f"{kind}-{worker}.json" for kind in ("history", "learned") for worker in (0, 1))}

    alone = await start(listen={"workers": 1}, **settings)
    assert alone.seen("started")[0].get("workers") is None
    assert alone.seen("started")[0]["known"] >= 4
    assert await tiers(alone, "alone") == [1, 1, 1, 1]


async def test_behind_trusted_proxies_connections_are_spread_by_the_kernel(two: Start, client: Client) -> None:
    """All of them come from a few networks; steered, they would all meet one worker."""
    shield = await two(listen={"workers": 2, "trusted_proxies": ["127.0.0.0/8"]})
    assert shield.seen("started", steered=False)
    session = client()
    for n in range(64):
        async with session.get(shield.url(f"/page/{n}"), headers={"Connection": "close"}) as response:
            assert response.status == 200
    status = await shield.status()
    assert all(worker["requests"]["forward"]["ok"] for worker in status["workers"])


async def test_behind_a_trusted_proxy_a_ban_at_one_worker_holds_at_both(two: Start, client: Client) -> None:
    shield = await two(
        listen={"workers": 2, "trusted_proxies": ["127.0.0.0/8"]},
        limits={"honeypots": ["/trap"]},
    )
    headers = {"X-Forwarded-For": "192.0.2.1", "Connection": "close"}
    session = client("127.0.0.1", {"User-Agent": "scanner/1.0"}, jar=False)
    async with session.get(shield.url("/trap"), headers=headers) as response:
        assert response.status == 403
    await shield.until(lambda now: [worker["active_bans"]["clients"] for worker in now["workers"]] == [1, 1])
    for n in range(32):
        async with session.get(shield.url(f"/page/{n}"), headers=headers) as response:
            assert response.status == 403
    status = await shield.status()
    assert all(worker["requests"]["ban"]["client_banned"] for worker in status["workers"]), "both were asked"
    assert status["active_bans"] == {"clients": 1, "addresses": 0}


async def test_a_failed_start_is_one_line(launch: Start, origin: str, tls: Any) -> None:
    """What stands in the way of the supervisor, and what only a worker can find out."""
    with socket.create_server(("127.0.0.1", 0)) as occupied:
        address = f"127.0.0.1:{occupied.getsockname()[1]}"
        shields = [
            await launch(listen={"workers": 2, "address": address}, upstream={"servers": [origin]}),
            await launch(listen={"workers": 2}, upstream={"servers": ["https://localhost:1"], "ca": str(tls.key)}),
        ]
        for shield, why in zip(shields, (f"cannot listen on {address}: Address already", "upstream: "), strict=True):
            assert await shield.ended() == 3
            (line,) = shield.text
            assert line.startswith(f"shield: {why}")
