"""What is asked of the peers in the throughput runs: one entry here is one table there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from bench.common.guard import Target
from bench.common.processes import Cores
from bench.load import generators, http2, websocket
from bench.load.plan import Plan, Result
from bench.peers import PEERS
from bench.peers.plan import Limits

CONNECTIONS: Final = 64


@dataclass(frozen=True, slots=True)
class Workload:
    """One table. `refused` is the status that every answer but a handful has to have; None: no 4xx or 5xx may be."""

    name: str
    title: str
    limits: Limits = Limits.OUT_OF_REACH
    refused: int | None = None
    without: Mapping[str, str] = field(default_factory=dict)  # peers that cannot, and why
    path: str = "/"
    body: int = 0  # bytes; with any it is a POST
    varied: bool = False  # another cookie in each request
    close: bool = False  # one request per connection
    connections: int = CONNECTIONS
    exact: int = 20_000  # requests of the run by number
    challenge: bool = False
    transfer: bool = False  # bytes/s are what counts
    websocket: bool = False  # messages instead of requests
    tls: bool = False
    streams: int = 0  # of HTTP/2, open at a time on each connection; 0: HTTP/1.1
    idle_origin: bool = False  # so that the load may use its cores too

    @property
    def unit(self) -> str:
        return "messages" if self.websocket else "requests"

    @property
    def own_load(self) -> bool:
        """Whether wrk cannot do it: it speaks no WebSocket and no HTTP/2, and it resumes TLS sessions."""
        return self.websocket or self.streams > 0 or (self.tls and self.close)

    @property
    def in_flight(self) -> int:
        """Requests under way at a time."""
        return self.connections * max(1, self.streams)

    @property
    def generator(self) -> str:
        """What sends it, where wrk is there."""
        return "h2load" if self.streams else "own" if self.own_load else "wrk"

    def plan(self, port: int, seconds: float, requests: int = 0) -> Plan:
        where = Target("127.0.0.1", port, self.path, self.tls)
        return Plan(where, self.connections, seconds, requests, self.close, self.body, self.varied)

    def by_time(self, plan: Plan, cores: Cores, wrk: bool) -> Result:
        """Load on all cores that it may use."""
        if self.websocket:
            return websocket.run(plan, cores.load)
        if self.streams:
            return http2.run(plan, self.streams, cores.load | cores.origin if self.idle_origin else cores.load)
        generate = generators.with_wrk if wrk and not self.own_load else generators.with_own
        return generate(plan, cores.load | cores.origin if self.idle_origin else cores.load)

    def by_number(self, plan: Plan, cores: Cores) -> Result:
        if self.streams:
            return http2.run(plan, self.streams, cores.load)
        return websocket.run(plan, cores.load) if self.websocket else generators.with_own(plan, cores.load)


POST_BYTES: Final = 10 << 10
DOWNLOAD_BYTES: Final = 1 << 20
LARGE_BYTES: Final = 100 << 20

NO_LIMITER: Final = dict.fromkeys(("direct", "aiohttp", "caddy", "anubis"), "no limiter")
SHIELD: Final = frozenset({"shield", "told", "shipped", "logged"})
NO_CHALLENGE: Final = {name: "no challenges" for name in PEERS if name not in {*SHIELD, "anubis"}}
NO_HTTP_2: Final = dict.fromkeys(("direct", "anubis", "aiohttp"), "no HTTP/2")
NO_TLS: Final = dict.fromkeys(("direct", "anubis"), "no TLS")

_ALL: Final = (
    Workload("proxied", "Proxied small GET"),
    Workload("proxied-varied", "Proxied small GET, another cookie in each", varied=True),
    Workload(
        "refused", "Refused (429) on keep-alive connections", Limits.TINY, 429, without=NO_LIMITER, idle_origin=True
    ),
    Workload(
        "refused-close",
        "Refused (429), one request per connection",
        Limits.TINY,
        429,
        without=NO_LIMITER,
        close=True,
        idle_origin=True,
    ),
    Workload(
        "challenged",
        "Challenged (503), a page with a challenge of its own each",
        refused=503,
        without=NO_CHALLENGE,
        challenge=True,
        idle_origin=True,
    ),
    Workload("post", "Proxied POST of 10 KiB", body=POST_BYTES),
    Workload(
        "download",
        "Proxied download of 1 MiB",
        path=f"/bytes/{DOWNLOAD_BYTES}",
        connections=16,
        exact=200,
        transfer=True,
    ),
    Workload(
        "download-large",
        "Proxied download of 100 MiB",
        path=f"/bytes/{LARGE_BYTES}",
        connections=4,
        exact=8,
        transfer=True,
    ),
    Workload(
        "websocket",
        f"WebSocket messages of {websocket.MESSAGE_BYTES} bytes, each sent back by the origin",
        path="/echo",
        websocket=True,
    ),
    Workload("tls", "Proxied small GET over TLS 1.3, kept connections", without=NO_TLS, tls=True),
    Workload(
        "tls-handshake",
        "Proxied small GET over TLS 1.3, a connection and a full handshake each",
        without=NO_TLS,
        close=True,
        tls=True,
        exact=2000,
        idle_origin=True,  # nearly: it is asked thousands of times a second, and can answer a hundred thousand
    ),
    Workload("h2", "Proxied small GET over HTTP/2, a stream at a time", without=NO_HTTP_2, tls=True, streams=1),
    Workload(
        "h2-ten",
        "Proxied small GET over HTTP/2, ten streams at a time",
        without=NO_HTTP_2,
        tls=True,
        streams=10,
        connections=16,
    ),
    Workload(
        "h2-refused",
        "Refused (429) over HTTP/2, ten streams at a time",
        Limits.TINY,
        429,
        without={**NO_HTTP_2, **NO_LIMITER},
        tls=True,
        streams=10,
        connections=16,
        idle_origin=True,
    ),
)
WORKLOADS: Final = {workload.name: workload for workload in _ALL}
