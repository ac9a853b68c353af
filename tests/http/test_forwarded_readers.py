"""What middleware of frameworks makes of the fields that Shield writes: the one client, scheme and host."""

from __future__ import annotations

from typing import Any

import pytest
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.wrappers import Request

from tests.http.test_client_fields import CLIENT, EDGE, told

FORGED = "6.6.6.6"
HOPS = ["10.0.0.3", "10.0.0.4"]


def ways(hops: list[str]) -> dict[str, tuple[str, list[tuple[str, str]]]]:
    """For each way to Shield, the client and what the service gets. `hops`: trusted proxies in front of the nearest."""
    chain = ", ".join([FORGED, CLIENT, *hops])
    elements = ", ".join(f"for={address};proto=https;host=shop.example" for address in [FORGED, CLIENT, *hops])
    alone = [f"X-Forwarded-For: {FORGED}", "X-Forwarded-Proto: http", "X-Forwarded-Host: evil", f"Client-IP: {FORGED}"]
    return {
        "x-forwarded-for": (
            CLIENT,
            told("x-forwarded-for", f"X-Forwarded-For: {chain}", *EDGE[1:], f"Forwarded: for={FORGED}"),
        ),
        "forwarded": (CLIENT, told("forwarded", f"Forwarded: {elements}", *alone)),
        "none": ("127.0.0.1", told("none", *alone, f"Forwarded: for={FORGED}", scheme="https", host="shop.example")),
        "untrusted": (CLIENT, told("forwarded", *alone, peer=CLIENT, scheme="https", host="shop.example")),
    }


CASES = [
    pytest.param(client, pairs, count, id=f"{way}-{len(hops)}")
    for hops in ([], HOPS)
    for way, (client, pairs) in ways(hops).items()
    for count in [len(dict(pairs)["x-forwarded-for"].split(","))]
]


def environ(pairs: list[tuple[str, str]]) -> dict[str, Any]:
    """A WSGI environment of a request that Shield has sent."""
    fields = {"HTTP_" + name.upper().replace("-", "_"): value for name, value in pairs}
    server = {
        "SERVER_NAME": "internal",
        "SERVER_PORT": "8080",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": "internal:8080",
    }
    return {"wsgi.url_scheme": "http", "REQUEST_METHOD": "GET", "PATH_INFO": "/", **server, **fields}


def scope(pairs: list[tuple[str, str]]) -> dict[str, Any]:
    """The same as an ASGI scope."""
    headers = [(b"host", b"internal:8080")] + [(name.encode(), value.encode()) for name, value in pairs]
    return {"type": "http", "scheme": "http", "client": ("127.0.0.1", 1), "headers": headers}


@pytest.mark.parametrize(("client", "pairs", "count"), CASES)
def test_werkzeug(client: str, pairs: list[tuple[str, str]], count: int) -> None:
    seen: list[Request] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.append(Request(environ))
        return []

    list(ProxyFix(app, x_for=count, x_proto=1, x_host=1, x_port=1)(environ(pairs), lambda *_: None))
    assert (seen[0].remote_addr, seen[0].url) == (client, "https://shop.example/")


@pytest.mark.parametrize("trusted", ["*", ["127.0.0.1", "10.0.0.0/8"]])
@pytest.mark.parametrize(("client", "pairs", "count"), CASES)
async def test_uvicorn(client: str, pairs: list[tuple[str, str]], count: int, trusted: Any) -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope)

    await ProxyHeadersMiddleware(app, trusted_hosts=trusted)(scope(pairs), None, None)  # type: ignore[arg-type]
    assert (seen[0]["client"][0], seen[0]["scheme"]) == (client, "https")
