"""The demo site, and the small flood against it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from shield import terminal
from shield.config.load import find, load
from shield.config.settings import Config
from shield.demo import flood as demo_attack
from shield.demo import site as demo
from shield.demo import trial
from shield.process import words
from shield.simulate.scene import parse
from shield.simulate.world import run

pytestmark = pytest.mark.wheel


@contextlib.asynccontextmanager
async def site() -> AsyncIterator[aiohttp.ClientSession]:
    address, runner = await demo.start_demo()
    try:
        connector = aiohttp.UnixConnector(address.removeprefix("unix:"))
        async with aiohttp.ClientSession("http://demo", connector=connector) as session:
            yield session
    finally:
        await runner.cleanup()


async def test_socket_is_private_and_goes_away() -> None:
    address, runner = await demo.start_demo()
    path = Path(address.removeprefix("unix:"))
    assert path.is_socket()
    assert path.parent.stat().st_mode & 0o777 == 0o700
    await runner.cleanup()
    assert not path.parent.exists()


async def test_page_and_its_parts() -> None:
    async with site() as session:
        async with session.get("/") as got:
            page = await got.text()
            assert got.status == 200
            assert got.headers["Cache-Control"] == "private, no-cache"
        for path, kind in (
            ("/style.css", "text/css"),
            ("/picture.svg", "image/svg+xml"),
            ("/page.js", "text/javascript"),
        ):
            assert path in page
            async with session.get(path) as got:
                assert (got.status, got.content_type) == (200, kind)
        assert "http://" not in page.replace("http://127.0.0.1", "")
        assert "https://" not in page


async def test_json_and_search() -> None:
    async with site() as session:
        async with session.get("/api/time") as got:
            assert len((await got.json())["time"]) == 8
        async with session.get("/search", params={"q": "two words"}) as got:
            assert await got.json() == {"searched": "two words", "found": 2}


async def test_form_is_shown_escaped() -> None:
    async with site() as session, session.post("/form", data={"<b>": "<script>alert(1)</script>&"}) as got:
        page = await got.text()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&amp;" in page
    assert "<script>" not in page
    assert "<b>" not in page


async def test_a_form_too_large() -> None:
    async with site() as session, session.post("/form", data=b"x" * (demo.FORM_BYTES + 1)) as got:
        assert got.status in {200, 413}


@pytest.mark.parametrize(
    ("asked", "told"), [("0", 0), ("1", 1), ("-5", 1000), ("x", 1000), ("²", 1000), ("99999999", 1000)]
)
async def test_slow_answer_is_bounded(asked: str, told: int, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(demo.asyncio, "sleep", sleep)
    async with site() as session, session.get("/slow", params={"ms": asked}) as got:
        assert await got.text() == f"This took {told} ms.\n"
    assert slept[0] == told / 1000  # aiohttp sleeps too, later


async def test_events_and_echo() -> None:
    async with site() as session:
        async with session.get("/events") as got:
            assert got.content_type == "text/event-stream"
            assert (await got.content.readline()).startswith(b"data: ")
        async with session.ws_connect("/echo") as socket:
            await socket.send_str("text")
            assert await socket.receive_str() == "text"
            await socket.send_bytes(b"bytes")
            assert await socket.receive_bytes() == b"bytes"


def test_notice_names_the_line_to_change(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('# one\n[upstream]\n\nservers = ["demo"]\n')
    assert f"line 4 of {path}" in demo.notice("http://127.0.0.1:8080/", str(path))
    shipped = find(None)
    text = demo.notice("http://127.0.0.1:8080/", shipped)
    line = int(text.partition("in line ")[2].partition(" ")[0])
    assert Path(shipped).read_text().splitlines()[line - 1].startswith("servers = ")
    assert "[upstream] in" in demo.notice("http://x/", str(tmp_path / "none"))


def test_the_welcome_is_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers write log lines to the same pipe: a second write for the last newline came after one of them."""
    writes: list[bytes] = []

    def write(descriptor: int, data: bytes) -> int:
        assert descriptor == 2
        writes.append(data)
        return len(data)

    shipped = load(find(None))
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        words.greet(dataclasses.replace(shipped, dry_run=True), "0.0.0.0:8080", words.welcome(find(None)))
    (told,) = writes
    assert told.startswith(b"Shield is up: open http://127.0.0.1:8080/ ")
    assert told.count(b"\n") == 3
    assert told.endswith(b"\n")


def test_a_long_text_is_written_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, write = tmp_path / "out", os.write
    with path.open("wb") as file:
        monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:7]))
        terminal.say("a sentence that is longer", file.fileno())
    assert path.read_text() == "a sentence that is longer\n"


def test_nobody_is_told_to_edit_an_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site packages" / "shield"
    package.mkdir(parents=True)
    installed = package / "config.toml"
    installed.write_text('[upstream]\nservers = ["demo"]\n')
    monkeypatch.setattr(demo, "__file__", str(package / "demo" / "site.py"))
    _, told = demo.notice("http://127.0.0.1:8080/", str(installed)).splitlines()
    assert told == (
        f"To shield your own service, cp '{installed}' . , change `servers` in line 2 of config.toml "
        "and start it with: shield run --config config.toml"
    )


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("http://127.0.0.1:8080/search", True),
        ("http://127.9.9.9/", True),
        ("http://[::1]:8080/", True),
        ("http://localhost:8080/", False),  # a name could point anywhere
        ("http://192.0.2.1/", False),
        ("http://127.0.0.1@192.0.2.1/", False),
        ("https://127.0.0.1/", False),
        ("http://127.0.0.1.example/", False),
        ("http:///", False),
        ("http://[::1/", False),
    ],
)
def test_the_flood_stays_on_loopback(url: str, allowed: bool, capsys: pytest.CaptureFixture[str]) -> None:
    assert demo_attack.is_loopback(url) == allowed
    if not allowed:
        with pytest.raises(SystemExit):
            demo_attack.main([url])
        assert "loopback" in capsys.readouterr().err


async def test_the_flood_is_bounded_and_tells(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sources: set[str] = set()
    flooding = 0

    async def answer(request: web.BaseRequest) -> web.Response:
        nonlocal flooding
        sources.add(request.transport.get_extra_info("peername")[0])
        hostile = "attack" in request.headers["User-Agent"]
        flooding += hostile
        return web.Response(status=429 if hostile else 200)

    server = web.ServerRunner(web.Server(answer))
    await server.setup()
    listening = web.TCPSite(server, "127.0.0.1", 0)
    await listening.start()
    port = server.addresses[0][1]
    monkeypatch.setattr(demo_attack, "USER_PAUSE", 0.1)
    phase = await demo_attack.play("here", f"http://127.0.0.1:{port}/", seconds=0.3, attackers=5, calm=0.2)
    await server.cleanup()
    assert set(phase.attackers.results) == {"limited"}
    assert 5 <= flooding <= demo_attack.RATE * 0.5
    assert set(phase.calm.results) == set(phase.users.results) == {"served"}
    assert sources == {f"127.0.0.{n}" for n in range(1, 11)} | {f"127.1.{n}.1" for n in range(5)}
    assert "limited" in capsys.readouterr().out


async def test_the_bare_site_is_on_loopback_and_ends_with_the_flood() -> None:
    async with demo_attack._bare_site() as url, aiohttp.ClientSession() as session:
        assert demo_attack.is_loopback(url)
        async with session.get(f"{url}search?q=a") as got:
            assert await got.json() == {"searched": "a", "found": 1}
    with pytest.raises(aiohttp.ClientConnectorError):
        async with aiohttp.ClientSession() as session, session.get(url):
            pass


def test_without_the_demo_there_is_nothing_to_flood(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert demo_attack.main([f"http://127.0.0.1:{port}/"]) == 1
    assert "Start `shield demo` first." in capsys.readouterr().err


async def test_an_attack_floods_the_demo_site_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """The story: `shield demo --attack`, while something else listens on port 8080."""
    asked: Counter[str] = Counter()

    async def answer(request: web.BaseRequest) -> web.Response:
        asked[request.headers["User-Agent"]] += 1
        challenged = status == 200 and request.path == "/search" and "Mozilla" in request.headers["User-Agent"]
        return web.Response(body=page, status=503 if challenged else status)

    server = web.ServerRunner(web.Server(answer))
    await server.setup()
    await web.TCPSite(server, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{server.addresses[0][1]}/"
    monkeypatch.setattr(demo_attack, "SECONDS", 1.0)
    monkeypatch.setattr(demo_attack, "CALM_SECONDS", 0.1)
    monkeypatch.setattr(demo_attack, "USER_PAUSE", 0.1)
    page, status = b"<title>Not now</title>", 503
    with pytest.raises(OSError, match="perhaps for the attack before"):
        await demo_attack.attack(url)
    page, status = b"<title>The shop</title>", 200
    with pytest.raises(OSError, match="it answers 200 without the page of the demo"):
        await demo_attack.attack(url)
    assert asked.total() == 2
    page = (Path(demo.__file__).parent / "pages" / "index.html").read_bytes()
    text = await demo_attack.attack(url)
    await server.cleanup()
    assert asked["shield-demo-attack"]
    assert text.splitlines()[0].split() == ["with", "Shield"]
    table, told = text.split("\n\n")
    assert table.splitlines()[-1].split() == ["attackers", "served", "100%"]
    assert "were strangers to this Shield" in told
    with pytest.raises(OSError, match="onnect"):
        await demo_attack.attack(url)


def test_what_an_attack_is_sent_to() -> None:
    for address, url in (
        ("0.0.0.0:8080", "http://127.0.0.1:8080/"),
        ("localhost:81", "http://127.0.0.1:81/"),
        (":82", "http://127.0.0.1:82/"),
        ("[::]:83", "http://[::1]:83/"),
        ("203.0.113.7:84", "http://127.0.0.1:84/"),
    ):
        config = dataclasses.replace(Config(), listen=dataclasses.replace(Config().listen, address=(address,)))
        found = trial.target(config)
        assert found == url
        assert demo_attack.is_loopback(found)


def test_the_table_sets_both_side_by_side() -> None:
    def crowd(served: int, lost: int, seconds: float) -> demo_attack.Crowd:
        return demo_attack.Crowd(Counter({"served": served, "no answer": lost}), [seconds] * served)

    bare = demo_attack.Phase(crowd(9, 0, 0.05), crowd(1, 9, 1.8), crowd(10, 90, 1.8))
    shielded = demo_attack.Phase(crowd(9, 0, 0.05), crowd(10, 0, 0.06), demo_attack.Crowd(Counter({"limited": 5})))
    text = demo_attack.table(without_Shield=bare, with_Shield=shielded)
    served = [line.split()[-2:] for line in text.splitlines() if "users served" in line]
    assert served == [["100%", "100%"], ["10%", "100%"]]
    assert "1800 ms" in text
    assert text.splitlines()[-1].split() == ["attackers", "served", "10%", "0%"]
    assert demo_attack.Crowd().share("served") == "none"
    assert demo_attack.Crowd().percentile(0.5) == "no answer"


def test_the_flood_is_felt_without_shield_and_not_with_it() -> None:
    """5,200 of its requests were served, and nobody was refused: a hundred attackers in turn fitted into the queue."""
    shape = f"""
        title = "what the demo's flood does"
        about = ""
        seconds = {demo_attack.SECONDS}
        calm = {demo_attack.CALM_SECONDS}
        service = {{ slots = {demo.SEARCH_WORKERS}, time = {demo.SEARCH_SECONDS}, variation = 0 }}
        [populations.users]
        kind = "people"
        members = {demo_attack.USERS}
        rate = {demo_attack.USERS / demo_attack.USER_PAUSE}
        retries = 0
        patience = {demo_attack.PATIENCE}
        paths = {{ "/search" = 1 }}
        [populations.attackers]
        kind = "attackers"
        members = {demo_attack.ATTACKERS}
        networks = 20
        rate = {demo_attack.RATE}
        from = 0
        leaves = {demo_attack.PATIENCE}
        paths = {{ "/search" = 1 }}
    """
    scene = parse(shape)
    config = trial.settings(Config())
    shielded = run(scene, 1, config)
    bare = run(scene, 1, dataclasses.replace(config, dry_run=True))
    assert shielded.population("users").share > 0.98
    assert shielded.first("attack_onset") < 5
    assert bare.population("users").share < 0.4
