"""A page of another origin that has its visitor's Chromium send whatever a page can: nobody is punished for it."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from shield.http.rules import Rule
from tests.browser.conftest import WAIT

pytestmark = pytest.mark.browser

ROUNDS = {"1.1": 6, "2": 2}  # by the version of HTTP over TLS
HONEYPOT = "/wp-login.php"

# Everything that a page can do, against `plain` and `tls`, which are host:port. Fails silently, as a page would.
ATTACK = """async ({plain, tls, trap, rounds}) => {
  const quietly = (what) => Promise.race([
    Promise.resolve().then(what).catch(() => 0), new Promise((end) => setTimeout(end, 1000))]);
  const picture = (source) => new Promise((end) => {
    const image = new Image(); image.referrerPolicy = 'no-referrer';
    image.onload = image.onerror = end; image.src = source; });
  const element = (name, fields) => new Promise((end) => {
    const made = Object.assign(document.createElement(name), fields);
    made.onload = made.onerror = end; document.body.append(made); });
  const form = (action, fields, enctype) => {
    const frame = document.createElement('iframe'); frame.name = 'f' + Math.random();
    const made = Object.assign(document.createElement('form'), {action, method: 'post', enctype, target: frame.name});
    for (const [name, value] of fields) {
      const area = document.createElement('textarea'); area.name = name; area.value = value; made.append(area); }
    document.body.append(frame, made); made.submit();
    return new Promise((end) => { frame.onload = end; }); };
  const odd = '%00%0d%0a/..//%2e%2e/%ff?|^`{}[]"\\'<>\\u00e4&x=' + '%'.repeat(9);
  for (let round = 0; round < rounds; round++) {
    const todo = [];
    for (const [scheme, at] of [['https', plain], ['http', tls], ['http', plain], ['https', tls]]) {
      const site = scheme + '://' + at, some = round + Math.random();
      todo.push(
        () => picture(site + '/1.png?' + some), () => picture(site + trap), () => picture(site + '//x/..' + odd),
        () => picture(site.replace('127.0.0.1', 'other_name.localhost') + '/?' + some),
        () => picture(site + '/?' + 'x'.repeat(9000)), () => picture(site + '/?' + 'x'.repeat(60000)),
        () => element('link', {rel: 'prefetch', href: site + trap, referrerPolicy: 'no-referrer'}),
        () => element('iframe', {src: site + trap, referrerPolicy: 'no-referrer'}),
        () => element('script', {src: site + '/no-script.js'}),
        () => fetch(site + trap, {mode: 'no-cors', method: 'HEAD'}),
        () => fetch(site + trap, {method: 'PATCH', headers: {'X-Odd': '\\u00e4'}}),
        () => fetch(site + '/.well-known/shield/pass', {method: 'POST', mode: 'no-cors', body: '{"token": "x"}'}),
        () => fetch(site + '/big', {mode: 'no-cors'}),
        () => navigator.sendBeacon(site + trap, '\\0\\r\\n\\r\\nGET / HTTP/1.1'),
        () => form(site + '/?' + some, [['a\\r\\n\\r\\nGET /x HTTP/9', '\\0\\u00e4']], 'text/plain'),
        () => form(site + trap, [['a"\\r\\nb', '\\0']], 'multipart/form-data'),
        () => new Promise((end) => {
          const opened = new WebSocket(site.replace('http', 'ws') + '/?' + some);
          opened.onopen = opened.onerror = opened.onclose = end; }));
    }
    for (const at of [plain, tls])
      todo.push(() => {
        const peer = new RTCPeerConnection({iceTransportPolicy: 'relay', iceServers: [
          {urls: [`turn:${at}?transport=tcp`, `turns:${at}?transport=tcp`], username: 'u', credential: 'c'}]});
        peer.createDataChannel('x');
        return peer.createOffer().then((offer) => peer.setLocalDescription(offer)).then(
          () => new Promise((end) => setTimeout(() => { peer.close(); end(); }, 300))); });
    await Promise.all(todo.map(quietly));
  }
  return true;
}"""

# What a page can do besides where HTTP/2 is spoken: more streams than there may be, cancelled before and after they are
# answered, bodies given up half way, and targets longer than any header block that is read.
MANY_STREAMS = """async ({tls, trap, rounds}) => {
  const site = 'https://' + tls;
  const quietly = (what) => Promise.race([
    Promise.resolve().then(what).catch(() => 0), new Promise((end) => setTimeout(end, 2000))]);
  const given_up = (path, after, fields) => {
    const end = new AbortController();
    const asked = fetch(site + path, {mode: 'no-cors', signal: end.signal, ...fields});
    if (after < 0) end.abort(); else setTimeout(() => end.abort(), after);
    return asked; };
  for (let number = 0; number < 20; number++)  // each ends a connection
    await quietly(() => fetch(site + '/?' + 'x'.repeat(70000 + number), {mode: 'no-cors'}));
  for (let round = 0; round < rounds; round++) {
    const todo = [];
    for (let number = 0; number < 150; number++) {
      const some = '?' + round + '-' + number;
      todo.push(
        () => given_up('/' + some, number % 4), () => given_up(trap + some, -1 + number % 3),
        () => given_up('/' + some, 5, {method: 'POST', body: 'x'.repeat(200000)})); }
    for (const length of [9000, 60000, 200000, 1000000])
      todo.push(() => fetch(site + '/?' + 'x'.repeat(length), {mode: 'no-cors'}));
    for (let number = 0; number < 20; number++)
      todo.push(() => new Promise((end) => {
        const opened = new WebSocket('wss://' + tls + trap + '?' + number);
        opened.onopen = opened.onerror = opened.onclose = end; setTimeout(() => opened.close(), number); }));
    await Promise.all(todo.map(quietly));
  }
  return true;
}"""


@pytest.fixture(params=["1.1", "2"])
def version(request: pytest.FixtureRequest) -> str:
    """Of HTTP, over TLS."""
    return str(request.param)


@pytest.fixture
async def shield(
    version: str, tmp_path: Path, tls: Any, serve: Callable[..., Awaitable[str]], page: Callable[..., bytes]
) -> AsyncIterator[dict[str, str]]:
    """Shield with a port for TLS and one for plain HTTP of its own, two processes of one config but for the ports."""

    async def site(method: str, target: str, fields: dict[str, str], body: bytes) -> bytes:
        if target == "/":
            return page("Home")
        return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"

    upstream = await serve(site)
    found: dict[str, str] = {}
    running = []
    for name in ("plain", "tls"):
        config = tmp_path / f"{name}.toml"
        secure = f'[[tls.certificates]]\nchain = "{tls.certificate}"\nkey = "{tls.key}"\n' if name == "tls" else ""
        http = "[http]\nh2 = true\n" if version == "2" else ""
        config.write_text(
            '[listen]\naddress = "127.0.0.1:0"\n[admin]\naddress = "127.0.0.1:0"\n[challenge]\nmode = "auto"\n'
            f'[limits]\nhoneypots = ["{HONEYPOT}"]\n[upstream]\nservers = [{json.dumps(upstream)}]\n{secure}{http}'
        )
        command = (sys.executable, "-m", "shield", "run", "--config", str(config))
        process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
        assert process.stderr is not None
        async with asyncio.timeout(WAIT):
            async for line in process.stderr:
                if line.startswith(b"{") and (event := json.loads(line)).get("event") == "started":
                    found[name], found[f"{name} admin"] = event["listen"][0], event["admin"]
                    break
        running.append((process, asyncio.create_task(process.stderr.read())))
    yield found
    for process, said in running:
        process.terminate()
        await asyncio.wait_for(process.wait(), WAIT)
        assert b'"event":"ban"' not in await said


async def test_a_hostile_page_gets_nobody_punished(
    version: str, browser: Any, shield: dict[str, str], serve: Callable[..., Awaitable[str]], page: Callable[..., bytes]
) -> None:
    async def hostile(method: str, target: str, fields: dict[str, str], body: bytes) -> bytes:
        return page("Hostile")

    elsewhere = (await serve(hostile)).replace("127.0.0.1", "localhost")
    tab = await browser.tab()
    await tab.call("Security.setIgnoreCertificateErrors", ignore=True)
    await tab.go(elsewhere)
    await tab.until("document.title === 'Hostile'")
    target = {"plain": shield["plain"], "tls": shield["tls"], "trap": HONEYPOT, "rounds": ROUNDS[version]}
    assert await tab.call_with(target, ATTACK)
    if version == "2":
        assert await tab.call_with(target | {"rounds": 1}, MANY_STREAMS)

    async with aiohttp.ClientSession() as session:
        for name, fault in (("plain", "tls_on_plain_port"), ("tls", "http_on_tls_port")):
            async with session.get(f"http://{shield[f'{name} admin']}/api/status") as answer:
                status = await answer.json()
            assert status["faults"][fault] >= ROUNDS[version], "the page has had the browser speak the wrong protocol"
            assert status["active_bans"] == {"clients": 0, "addresses": 0}
            broken = {rule for rule, count in status["rules"]["request"].items() if count}
            broken.discard(Rule.NOT_HTTP.value)  # STUN over TCP, of which nobody is accused
            assert not {rule for rule in broken if Rule(rule).charged}
    for scheme, name in (("http", "plain"), ("https", "tls")):
        visitor = await browser.tab()
        await visitor.call("Security.setIgnoreCertificateErrors", ignore=True)
        await visitor.go(f"{scheme}://{shield[name]}/")
        await visitor.until("document.title === 'Home'")
    # A program at the same address, which the visitor shares with colleagues who have never been here.
    async with aiohttp.ClientSession() as session, session.get(f"http://{shield['plain']}/") as answer:
        assert answer.status == 200
