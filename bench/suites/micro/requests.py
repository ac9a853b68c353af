"""Cases of whole requests and connections, from the bytes that a client sends to those that it is sent."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from bench.suites import rig
from bench.suites.asymmetry import http2
from bench.suites.micro.case import BATCH, Batch, cpu, timed
from bench.suites.micro.heads import CLOSE, GET
from bench.suites.micro.policy import CHEAP, buy


def with_pass(proxy: rig.Proxy) -> bytes:
    """A request that shows a pass, as the engine takes it."""
    token = buy(proxy.engine, "127.0.0.1")
    return GET.replace(b"Cookie: ", b"Cookie: shield_pass=%s; " % token.encode())


def present_again() -> Batch:
    """What the connection does with the pass of a request whose connection has shown it before."""
    proxy = rig.Proxy(rig.OUT_OF_REACH + CHEAP, lambda: rig.START)
    head = with_pass(proxy)
    forwarded(proxy, [head])
    with rig.calls(proxy.engine, "present") as verified:
        proxy.connection.data_received(head)
    assert not verified, "the connection did not remember the pass"
    shown = proxy.connection._exchange.head  # type: ignore[union-attr]
    assert proxy.connection.peer.shown_pass is not None
    return timed(proxy.connection.peer.present, shown, rig.START)


def forwarded(proxy: rig.Proxy, heads: Sequence[bytes]) -> float:
    before = proxy.counted("forward")
    began = cpu()
    for head in heads:
        proxy.connection.data_received(head)
        proxy.origin.data_received(rig.RESPONSE)
    spent = cpu() - began
    assert proxy.counted("forward") - before == len(heads)
    return spent


def new_fields() -> list[bytes]:
    """Requests each of which has another cookie than the one before."""
    return [GET.replace(b"theme=dark", b"theme=%d" % number) for number in range(BATCH)]


def forward() -> Batch:
    proxy, heads = rig.Proxy(), new_fields()
    return lambda number: forwarded(proxy, heads[:number])


def forward_repeated() -> Batch:
    proxy = rig.Proxy()
    return lambda number: forwarded(proxy, [GET] * number)


def forward_with_pass() -> Batch:
    proxy = rig.Proxy(rig.OUT_OF_REACH + CHEAP, lambda: rig.START)
    head = with_pass(proxy)
    return lambda number: forwarded(proxy, [head] * number)


def forward_chunked() -> Batch:
    """640 KiB in chunks of 4 KiB, as they come from a socket: 64 KiB at a time."""
    proxy = rig.Proxy()
    body = (b"%x\r\n" % 4096 + b"x" * 4096 + b"\r\n") * 160 + b"0\r\n\r\n"
    wire = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n" + body
    reads = [wire[at : at + 65536] for at in range(0, len(wire), 65536)]

    def batch(number: int) -> float:
        before = proxy.transport.written
        began = cpu()
        for _ in range(number):
            proxy.connection.data_received(GET)
            for read in reads:
                proxy.origin.data_received(read)
        spent = cpu() - began
        assert proxy.origin.exchange is None
        assert proxy.transport.written - before > number * 160 * 4096
        return spent

    return batch


def refusing() -> rig.Proxy:
    """One that refuses everything from now on."""
    proxy = rig.Proxy(rig.TINY)
    while not proxy.counted("limit"):
        proxy.connection.data_received(GET)
        if proxy.origin.exchange:
            proxy.origin.data_received(rig.RESPONSE)
    return proxy


def refused_all(proxy: rig.Proxy, heads: Sequence[bytes]) -> float:
    before = proxy.counted("limit")
    began = cpu()
    for head in heads:
        proxy.connection.data_received(head)
    spent = cpu() - began
    assert proxy.counted("limit") - before == len(heads)
    return spent


def refuse() -> Batch:
    proxy, heads = refusing(), new_fields()
    return lambda number: refused_all(proxy, heads[:number])


def refuse_repeated() -> Batch:
    proxy = refusing()
    return lambda number: refused_all(proxy, [GET] * number)


def connection() -> Batch:
    proxy = rig.Proxy()

    def batch(number: int) -> float:
        before = proxy.counted("forward")
        began = cpu()
        for _ in range(number):
            client = proxy.connect()
            client.data_received(GET)
            proxy.origin.data_received(rig.RESPONSE)
            client.connection_lost(None)
        spent = cpu() - began
        assert proxy.counted("forward") - before == number
        return spent

    return batch


def connection_refused() -> Batch:
    proxy = refusing()

    def batch(number: int) -> float:
        before = proxy.counted("limit")
        began = cpu()
        for _ in range(number):
            client = proxy.connect()
            client.data_received(CLOSE)
            client.connection_lost(None)
        spent = cpu() - began
        assert proxy.counted("limit") - before == number
        return spent

    return batch


def streams(cookies: bool) -> list[bytes]:
    """The first request of a connection, with a browser's fields, and BATCH others that name them by HPACK's numbers;
    with `cookies` each has another one."""
    kept = [http2.HOST, *(pair for pair in http2.BROWSER if pair[0] != b"cookie" or not cookies)]
    first = http2.head(1, *(http2.kept(*pair) for pair in kept))
    numbered = http2.whole(len(kept))
    more = [b"theme=%d" % number for number in range(BATCH)] if cookies else []
    return [
        first,
        *(
            http2.head(3 + 2 * at, numbered, http2.literal(b"cookie", more[at]) if cookies else b"")
            for at in range(BATCH)
        ),
    ]


def over_http_2(proxy: rig.Proxy, heads: Sequence[bytes], number: int, action: str) -> float:
    """Ask for so many streams, one at a time."""
    client = proxy.connect_http2()
    client.data_received(http2.BEGIN + http2.frame(http2.WINDOW_UPDATE, 0, 0, struct.pack(">I", 1 << 30)))

    def ask(head: bytes) -> None:
        client.data_received(head)
        if proxy.origin.exchange is not None:
            proxy.origin.data_received(rig.RESPONSE)
        client.pump()

    ask(heads[0])
    before = proxy.counted(action)
    began = cpu()
    for head in heads[1 : number + 1]:
        ask(head)
    spent = cpu() - began
    assert proxy.counted(action) - before == number
    client.connection_lost(None)
    return spent


def forward_http_2() -> Batch:
    proxy, heads = rig.Proxy(), streams(cookies=True)
    return lambda number: over_http_2(proxy, heads, number, "forward")


def repeat_http_2() -> Batch:
    proxy, heads = rig.Proxy(), streams(cookies=False)
    return lambda number: over_http_2(proxy, heads, number, "forward")


def refuse_http_2() -> Batch:
    proxy, heads = refusing(), streams(cookies=True)
    return lambda number: over_http_2(proxy, heads, number, "limit")


def refuse_http_2_repeated() -> Batch:
    proxy, heads = refusing(), streams(cookies=False)
    return lambda number: over_http_2(proxy, heads, number, "limit")
