"""One story about the client, whichever field a service reads and in whichever mode Shield finds it out."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from shield.http.client_fields import CLIENT_FIELDS, Tells
from shield.http.forwarded import Forwarding, Story
from shield.http.head import Examiner
from shield.http.plain_head import PlainHeads
from shield.http.settings import HttpSettings
from tests.harness import get, shielded

TRUSTED = ("127.0.0.1", "10.0.0.0/8")
CLIENT = "192.0.2.7"
NAMES = sorted(name.decode("ascii") for name in CLIENT_FIELDS)
CHAINS = ["X-Forwarded-For", "Forwarded"]
OURS = {"x-forwarded-for", "forwarded", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "x-real-ip"}


def told(
    mode: str, *fields: str, peer: str = "127.0.0.1", scheme: str = "http", host: str = "internal:8080"
) -> list[tuple[str, str]]:
    """The fields about the client that a service gets, by name in lower case, of a request with `fields`."""
    data = "\r\n".join(("GET / HTTP/1.1", f"Host: {host}", *fields, "", "")).encode("latin-1")
    head = PlainHeads(Examiner(HttpSettings(), "Shield-Pass")).read(data, data.index(b"\r\n"))
    assert head is not None
    forwarding = Forwarding(TRUSTED, mode)
    trusted = forwarding.trusts(peer)
    story = forwarding.resolve(peer, scheme, head) if trusted else Story((peer,), scheme)
    lines = b"".join(head.fields) + forwarding.fields(head, story)
    pairs = [line.split(": ", 1) for line in lines.decode("latin-1").split("\r\n")[:-1]]
    return [(name.lower(), value) for name, value in pairs]


def one(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The same where each may come once."""
    pairs = list(pairs)
    assert len({name for name, _ in pairs}) == len(pairs), "a field comes twice"
    return dict(pairs)


# What a proxy writes. Readers of Forwarded saw this proxy as the client, and an internal host.
EDGE = (f"X-Forwarded-For: {CLIENT}", "X-Forwarded-Proto: https", "X-Forwarded-Host: shop.example")


def test_readers_of_forwarded_and_of_x_forwarded_see_the_same_client_and_host() -> None:
    assert one(told("x-forwarded-for", *EDGE)) == {
        "x-forwarded-for": f"{CLIENT}, 127.0.0.1",
        "x-forwarded-proto": "https",
        "x-forwarded-host": "shop.example",
        "x-forwarded-port": "443",
        "x-real-ip": CLIENT,
        "forwarded": f"for={CLIENT};proto=https;host=shop.example, for=127.0.0.1;proto=https;host=shop.example",
    }


@pytest.mark.parametrize("mode", ["x-forwarded-for", "forwarded", "none", "untrusted"])
@pytest.mark.parametrize("hops", [(), ("10.0.0.3",), ("2001:db8::3", "10.0.0.3")])
@pytest.mark.parametrize("forged", ["", "6.6.6.6"])
def test_all_that_is_written_agrees(mode: str, hops: tuple[str, ...], forged: str) -> None:
    """For one and several trusted hops, and with what a client has written in front of them, in either field."""
    addresses = [*((forged,) if forged else ()), CLIENT, *hops]
    nodes = [f'"[{address}]"' if ":" in address else address for address in addresses]
    elements = [f"for={node};proto=https;host=shop.example" for node in nodes]
    forwarding = Forwarding((*TRUSTED, "2001:db8::3"), mode if mode != "untrusted" else "none")
    fields = {
        "x-forwarded-for": ["X-Forwarded-For: " + ", ".join(addresses), *EDGE[1:], "Forwarded: for=6.6.6.6"],
        "forwarded": ["Forwarded: " + ", ".join(elements), "X-Forwarded-For: 6.6.6.6", "X-Forwarded-Host: evil"],
    }.get(mode, [*EDGE, "Forwarded: for=6.6.6.6;host=evil"])
    data = "\r\n".join(("GET / HTTP/1.1", "Host: internal:8080", *fields, "X-Real-IP: 6.6.6.6", "", "")).encode()
    head = PlainHeads(Examiner(HttpSettings(), "Shield-Pass")).read(data, data.index(b"\r\n"))
    assert head is not None
    peer = "198.51.100.9" if mode == "untrusted" else "127.0.0.1"
    story = forwarding.resolve(peer, "http", head) if forwarding.trusts(peer) else Story((peer,), "http")
    believed = mode in ("x-forwarded-for", "forwarded")
    assert tuple(story.hops) == ((CLIENT, *hops, peer) if believed else (peer,))
    assert (story.scheme, story.host) == (("https", "shop.example") if believed else ("http", ""))
    lines = forwarding.fields(head, story)
    assert b"6.6.6.6" not in lines
    assert b"evil" not in lines
    host, port = ("shop.example", "443") if believed else ("internal:8080", "8080")
    told = dict(line.split(": ", 1) for line in lines.decode("ascii").split("\r\n")[:-1])
    assert told["X-Forwarded-For"] == ", ".join(story.hops)
    assert told["X-Real-IP"] == story.hops[0]
    assert (told["X-Forwarded-Host"], told["X-Forwarded-Port"]) == (host, port)
    for element, hop in zip(told["Forwarded"].split(", "), story.hops, strict=True):
        parts = dict(part.split("=", 1) for part in element.replace('"', "").split(";"))
        assert parts == {"for": f"[{hop}]" if ":" in hop else hop, "proto": told["X-Forwarded-Proto"], "host": host}


@pytest.mark.parametrize("name", [*NAMES, *CHAINS, "X-Forwarded-Anything"])
def test_nobody_but_a_trusted_proxy_writes_any_of_them(name: str) -> None:
    for value in ("6.6.6.6", "https", "on", "evil", "/evil"):
        pairs = one(told("x-forwarded-for", f"{name}: {value}", peer="198.51.100.9"))
        assert set(pairs) == OURS
        assert value not in pairs.values()
        assert "evil" not in "".join(pairs.values())


@pytest.mark.parametrize(
    ("tells", "agrees", "differs"),
    [
        (
            Tells.ADDRESS,
            [CLIENT, f"{CLIENT}:4711", f"{CLIENT}, 10.0.0.3"],
            ["6.6.6.6", f"6.6.6.6, {CLIENT}", "unknown", ""],
        ),
        (Tells.SCHEME, ["https", "HTTPS", "ssl", '{"scheme":"https"}'], ["http", '{"scheme":"http"}', "ftp", ""]),
        (Tells.SECURE, ["on", "1", "true", "256"], ["off", "0", "False", ""]),
        (Tells.HOST, ["shop.example", "Shop.Example"], ["evil", "shop.example:80", ""]),
        (Tells.MORE, ["/shop", "anything"], []),
        (Tells.ANOTHER_PATH, [], ["/admin"]),
    ],
)
def test_of_a_trusted_proxys_those_are_kept_that_tell_the_same(
    tells: Tells, agrees: list[str], differs: list[str]
) -> None:
    for name in (name for name in NAMES if CLIENT_FIELDS[name.encode()] is tells):
        for value in agrees:
            assert one(told("x-forwarded-for", *EDGE, f"{name}: {value}"))[name] == value
        for value in differs:
            assert name not in one(told("x-forwarded-for", *EDGE, f"{name}: {value}"))


def test_a_client_ip_that_differs_from_x_forwarded_for_never_reaches_a_service() -> None:
    """Rails takes such a pair for an attack and answers 500; some phone networks' proxies send it."""
    assert "client-ip" not in one(told("x-forwarded-for", "Client-IP: 10.1.2.3", peer="198.51.100.9"))
    assert "client-ip" not in one(told("x-forwarded-for", *EDGE, "Client-IP: 10.1.2.3"))


@pytest.mark.parametrize(
    ("fields", "scheme", "host", "port"),
    [
        # Two hops that each add to the lists: what the one next to the client saw counts.
        (["X-Forwarded-Proto: https, http", "X-Forwarded-Host: shop.example, lb:80"], "https", "shop.example", "443"),
        # Only the nearer one writes them.
        (["X-Forwarded-Proto: https", "X-Forwarded-Host: shop.example"], "https", "shop.example", "443"),
        (["X-Forwarded-Proto: https", "X-Forwarded-Host: a.test", "X-Forwarded-Port: 8443"], "https", "a.test", "8443"),
        (["X-Forwarded-Host: shop.example:81", "X-Forwarded-Port: 8443"], "http", "shop.example:81", "81"),
        (["X-Forwarded-Host: [2001:db8::1]", "X-Forwarded-Port: x"], "http", "[2001:db8::1]", "80"),
        (["X-Forwarded-Host: a b", "X-Forwarded-Proto: ftp", "X-Forwarded-Port: 0"], "http", "internal:8080", "8080"),
    ],
)  # fmt: skip
def test_scheme_host_and_port_by_way_of_two_trusted_hops(fields: list[str], scheme: str, host: str, port: str) -> None:
    pairs = one(told("x-forwarded-for", f"X-Forwarded-For: {CLIENT}, 10.0.0.3", *fields))
    assert (pairs["x-forwarded-proto"], pairs["x-forwarded-host"], pairs["x-forwarded-port"]) == (scheme, host, port)


def test_an_element_of_forwarded_without_a_host_leaves_it_to_the_next_hop() -> None:
    pairs = one(told("forwarded", f"Forwarded: for={CLIENT}, for=10.0.0.3;proto=https;host=shop.example"))
    assert (pairs["x-forwarded-proto"], pairs["x-forwarded-host"]) == ("https", "shop.example")


def test_a_prefix_is_taken_from_a_trusted_proxy_line_by_line() -> None:
    pairs = told("x-forwarded-for", *EDGE, "X-Forwarded-Prefix: /shop", "X-Forwarded-Prefix: /de")
    assert [value for name, value in pairs if name == "x-forwarded-prefix"] == ["/shop", "/de"]


@pytest.mark.parametrize("name", ["Via", "Early-Data", "CDN-Loop"])
def test_what_proxies_say_of_themselves_passes(name: str) -> None:
    """RFC 9110 section 7.6.3, RFC 8470 section 5.1, RFC 8586 section 2: nobody on the way removes it."""
    assert one(told("x-forwarded-for", f"{name}: 1", peer="198.51.100.9"))[name.lower()] == "1"


# a loop


async def test_a_request_that_comes_back_is_refused_as_a_loop() -> None:
    """The report's: upstream.servers names Shield's own listener, and requests went in circles until 503."""
    mark = Forwarding((), "none", b"shield-0123")
    async with shielded(forwarding=mark) as (shield, origin), await shield.client() as client:
        assert (await client.ask(get("/", "CDN-Loop: another-shield; v=2"))).status == 200
        assert [value for name, value in origin.requests[0].fields if name == "CDN-Loop"] == [
            "another-shield; v=2",
            "shield-0123",
        ]
        response = await client.ask(get("/", "CDN-Loop: another-shield, shield-0123"))
        assert (response.status, shield.log.faults) == (508, ["loop_detected"])
        assert shield.metrics.faults["loop_detected"] == 1
        assert shield.engine.signals == [], "the operator's mistake"
        assert len(origin.requests) == 1


@pytest.mark.parametrize("address", ["192.0.2.7", "2001:db8::7"])
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("host", ["shop.example", "shop.example:8443", "[2001:db8::1]:81", ""])
def test_a_client_without_a_proxy_is_told_of_like_one_hop(address: str, scheme: str, host: str) -> None:
    """What is remembered of a host is what is worked out for it, and nothing of what a proxy has told of its port."""
    data = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    head = PlainHeads(Examiner(HttpSettings(), "Shield-Pass")).read(data, data.index(b"\r\n"))
    assert head is not None
    head.host = host.encode()
    wanted = Forwarding((), "none", b"shield").fields(head, Story((address,), scheme))
    forwarding = Forwarding((), "none", b"shield")
    forwarding.fields(head, Story((address,), scheme, port="4711"))
    assert [forwarding.fields_of_own(head, address, scheme) for _ in range(2)] == [wanted] * 2
