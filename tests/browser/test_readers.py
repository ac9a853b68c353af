"""What Chromium says when it asks for each kind of thing, live, and who reads the answer by that (shield/readers.py).

The same rows, with the fields that other browsers send, are in tests/test_readers.py.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from shield.readers import NOBODY, PERSON, PREFLIGHT, SCRIPT, SENDER, Reader, reader_of

pytestmark = pytest.mark.browser

WORKER = b"""
self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
self.addEventListener("fetch", (event) => {
  const { request } = event, { pathname } = new URL(request.url);
  if (pathname === "/handed-on") event.respondWith(fetch(request));
  if (pathname === "/asked-anew") event.respondWith(fetch(request, { cache: "no-store", credentials: "include" }));
  if (pathname === "/by-address") event.respondWith(fetch(request.url));
});
"""

ASK = """async ({ elsewhere }) => {
  const asked = [], patience = new Promise((end) => setTimeout(end, 1000));
  const quietly = (promise) => asked.push(promise.catch(() => {}));
  const add = (name, attributes, parent = document.body) => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    asked.push(Promise.race([patience, new Promise((end) => { element.onload = element.onerror = end; })]));
    parent.append(element);
    return element;
  };
  quietly(fetch("/fetch"));
  quietly(fetch("/fetch-same-origin", { mode: "same-origin", credentials: "omit" }));
  quietly(fetch("/fetch-no-cors", { mode: "no-cors" }));
  quietly(fetch("/fetch-html", { headers: { Accept: "text/html, application/xhtml+xml" } }));
  quietly(fetch(elsewhere + "/fetch-elsewhere", { credentials: "include" }));
  quietly(fetch(elsewhere + "/put-elsewhere", { method: "PUT" }));
  quietly(new Promise((end) => {
    const request = new XMLHttpRequest();
    request.open("GET", "/request");
    request.setRequestHeader("Accept", "text/html");
    request.setRequestHeader("X-Requested-With", "XMLHttpRequest");
    request.onloadend = end;
    request.send();
  }));
  const events = new EventSource("/events");
  const socket = new WebSocket(location.origin.replace("http", "ws") + "/socket");
  const worker = new Worker("/worker.js");
  navigator.sendBeacon("/beacon", "x");
  quietly(new FontFace("x", "url(/font.woff2)").load());
  quietly(import("/module.js"));
  for (const [rel, href, as] of [["stylesheet", "/style.css"], ["manifest", "/manifest.json"], ["prefetch", "/ahead"],
    ["preload", "/preload.js", "script"], ["modulepreload", "/modulepreload.js"]])
    add("link", as ? { rel, href, as } : { rel, href }, document.head);
  add("img", { src: "/image.png" });
  add("img", { src: elsewhere + "/image-elsewhere.png", crossorigin: "anonymous" });
  add("script", { src: "/script.js" });
  add("iframe", { src: "/frame" });
  add("iframe", { src: "/frame-sandbox", sandbox: "" });
  add("object", { data: "/object" });
  add("embed", { src: "/embed" });
  const film = add("video", { src: "/film.mp4" });
  add("audio", { src: "/sound.mp3", crossorigin: "use-credentials" });
  add("track", { src: "/track.vtt", kind: "subtitles", default: "" }, film);
  const rules = document.createElement("script");
  rules.type = "speculationrules";
  rules.textContent = JSON.stringify({ prefetch: [{ urls: ["/speculation"], eagerness: "immediate" }] });
  document.head.append(rules);
  const link = document.createElement("a");
  Object.assign(link, { href: "/download", download: "x" });
  document.body.append(link);
  link.click();
  await Promise.all(asked);
  events.close();
  socket.close();
  worker.terminate();
  return true;
}"""

WANTED: dict[str, Reader] = {
    "/": PERSON,
    "/frame": PERSON,
    "/frame-sandbox": PERSON,
    "/object": PERSON,
    "/embed": PERSON,
    "/redirected": PERSON,
    "/handed-on": PERSON,
    "/asked-anew": PERSON,
    "/form": SENDER,
    "/fetch": SCRIPT,
    "/fetch-same-origin": SCRIPT,
    "/fetch-html": SCRIPT,
    "/fetch-elsewhere": SCRIPT,
    "/by-address": SCRIPT,
    "/request": SCRIPT,
    "/events": SCRIPT,
    "OPTIONS /put-elsewhere": PREFLIGHT,
    "/put-elsewhere": SCRIPT,
    "/fetch-no-cors": NOBODY,
    "/socket": NOBODY,
    "/worker.js": NOBODY,
    "/beacon": NOBODY,
    "/font.woff2": NOBODY,
    "/module.js": NOBODY,
    "/style.css": NOBODY,
    "/manifest.json": NOBODY,
    "/ahead": NOBODY,
    "/preload.js": NOBODY,
    "/modulepreload.js": NOBODY,
    "/image.png": NOBODY,
    "/image-elsewhere.png": NOBODY,
    "/script.js": NOBODY,
    "/film.mp4": NOBODY,
    "/sound.mp3": NOBODY,
    "/track.vtt": NOBODY,
    "/speculation": NOBODY,
    "/download": NOBODY,
    "/sw.js": NOBODY,
}


async def asked_of(
    tab: Any, serve: Callable[..., Awaitable[str]], page: Callable[..., bytes], then: Callable[[], Awaitable[Any]]
) -> dict[str, Reader]:
    """Has a tab ask for each kind of thing, and does `then`; who reads the answer to each, by its target."""
    found: dict[str, Reader] = {}

    async def site(method: str, target: str, fields: dict[str, str], body: bytes) -> bytes:
        names = {name.title(): value for name, value in fields.items()}
        found[f"OPTIONS {target}" if method == "OPTIONS" else target] = reader_of(method, names)
        if target == "/redirect":
            return b"HTTP/1.1 302 Found\r\nLocation: /redirected\r\nContent-Length: 0\r\n\r\n"
        script = WORKER if target == "/sw.js" else b""
        if not target.endswith(".js") and method != "OPTIONS":
            return page("Here")
        return (
            b"HTTP/1.1 200 OK\r\nContent-Type: text/javascript\r\nAccess-Control-Allow-Methods: PUT\r\n"
            b"Access-Control-Allow-Origin: *\r\nContent-Length: %d\r\n\r\n%b" % (len(script), script)
        )

    here = await serve(site)
    await tab.go(here)
    await tab.until("document.title === 'Here'")
    await tab.call_with({"elsewhere": here.replace("127.0.0.1", "localhost")}, ASK)
    await then()
    await tab.go(f"{here}/redirect")
    await tab.until("location.pathname === '/redirected' && document.title === 'Here'")
    await tab.evaluate(
        "navigator.serviceWorker.register('/sw.js').then(() => navigator.serviceWorker.ready).then(() => "
        "navigator.serviceWorker.controller || new Promise((end) => navigator.serviceWorker.oncontrollerchange = end))"
        ".then(() => true)"
    )
    for path in ("/handed-on", "/asked-anew", "/by-address"):
        await tab.go(here + path)
        await tab.until(f"location.pathname === '{path}' && document.title === 'Here'")
    await tab.evaluate(
        "document.body.append(Object.assign(document.createElement('form'), {method: 'post', action: '/form'})),"
        "setTimeout(() => document.forms[0].submit()) && 0"
    )
    await tab.until("location.pathname === '/form' && document.title === 'Here'")
    return {target: reader for target, reader in found.items() if target in WANTED}


async def test_each_kind_of_request_is_read_by_whom_the_table_says(
    browser: Any, serve: Callable[..., Awaitable[str]], page: Callable[..., bytes]
) -> None:
    tab = await browser.tab()
    # Chromium asks for the manifest only when somebody wants to know
    assert await asked_of(tab, serve, page, lambda: tab.call("Page.getAppManifest")) == WANTED
