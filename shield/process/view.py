"""What one process shows of itself to its admin listener."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, Protocol

from prometheus_client.core import Metric

from shield.lookup.known import Known
from shield.lookup.web_bot_auth import Verified, WebBotAuth
from shield.operator.exposition import families
from shield.operator.status import (
    CertificateStatus,
    ClusterStatus,
    CrawlerStatus,
    DatabaseStatus,
    ListStatus,
    ServerStatus,
    SiteStatus,
    Status,
    UntrustedProxyStatus,
    plain,
)
from shield.policy.status import PolicyStatus, TriedRuleStatus
from shield.process.build import Parts, Place, Setting
from shield.process.explaining import explain
from shield.upstream.crawlers import Counts
from shield.upstream.server import Server

LOOKS: Final = 2000
"""Entries that are looked at in one turn of the loop, in 0.3 ms."""


class Shown(Protocol):
    """What can be shown of other machines."""

    def status(self) -> ClusterStatus: ...


class ProcessView:
    """The AdminView of one process. `draining()` says whether its end has begun."""

    __slots__ = ("_draining", "_node", "_parts", "_setting")

    def __init__(self, setting: Setting, parts: Parts, draining: Callable[[], bool], node: Shown | None = None) -> None:
        """`node`: of a cluster."""
        self._node = node
        self._setting = setting
        self._parts = parts
        self._draining = draining

    def ready(self) -> tuple[bool, str]:
        if self._draining():
            return False, "draining"
        now = self._setting.clock()
        remarks = [f"{one.path} cannot be used" for one in self._parts.known.sources if one.error]
        down = [place.site.name for place in self._parts.places if not place.pool.available(now)]
        if down and self._setting.config.listen.gate:  # it asks no server
            down = []
        if down and len(down) == len(self._parts.places):  # another Shield could serve none of the others better
            return False, "no upstream server is healthy"
        said = f"ready, but for {', '.join(down)}" if down else "ready"
        return True, "; ".join((said, *remarks))

    def status(self) -> dict[str, Any]:
        shown: dict[str, Any] = plain(self._status())
        return shown

    def metrics(self) -> Iterable[Metric]:
        yield from self._parts.metrics.families()
        yield from families(self._status())

    async def explain(self, question: Mapping[str, str]) -> dict[str, Any]:
        setting = self._setting
        return explain(self._parts.sites, setting.refusals, question, setting.clock(), setting.wall_offset)

    async def bans(self) -> list[dict[str, Any]]:
        setting, found = self._setting, []
        for count, ban in enumerate(self._parts.sites.bans(setting.clock())):
            if ban is not None:
                there = self._parts.known.where(ban.address.removesuffix("/64"))
                found.append(ban.plain(setting.wall_offset) | {"where": there.words()})
            if count % LOOKS == LOOKS - 1:
                await asyncio.sleep(0)
        return found

    async def recent(self) -> dict[str, Any]:
        setting, timeline = self._setting, self._setting.log.timeline
        refused = setting.refusals.recent(setting.clock(), setting.wall_offset)
        return {"refused": refused, "events": [] if timeline is None else timeline.plain()}

    def _status(self) -> Status:
        parts, now = self._parts, self._setting.clock()
        unbelieved = parts.serving.recognition.unbelieved
        wall = now + self._setting.wall_offset
        crawlers = {each.agent: parts.crawlers.of(each.agent) for each in self._setting.config.identity.crawlers}
        policies = {engine.site: engine.status(now) for engine in parts.sites}
        worst = max(parts.places, key=lambda place: (place.engine.attack, place.engine.pressure))
        return Status(
            ready=self.ready()[0],
            dry_run=worst.engine.dry_run,
            policy=policies[worst.site.name],
            counters=parts.metrics.counters(),
            tasks=len(asyncio.all_tasks()),
            upstream=[_server(server, now) for server in worst.pool.servers],
            certificates={
                chain: CertificateStatus(*ends)
                for chain, ends in (parts.certificates.ends() if parts.certificates is not None else {}).items()
            },
            untrusted_proxy=UntrustedProxyStatus(unbelieved.peer, unbelieved.share),
            networks_in=_in_words(parts.known, _networks(policies.values())),
            databases=dict(_databases(parts.known, wall)),
            lists=dict(_lists(parts.known, wall)),
            crawlers={agent: _crawler(each) for agent, each in crawlers.items()} | _bots(parts.bots),
            crawlers_answered={
                agent: each.answered + self._setting.wall_offset for agent, each in crawlers.items() if each.answered
            },
            rules_tried={
                str(number): TriedRuleStatus(met.requests, met.visitors, met.known)
                for number, met in parts.sites.first.rules_tried().items()
            },
            cluster=ClusterStatus() if self._node is None else self._node.status(),
            sites={place.site.name: _site(place, policies[place.site.name], now) for place in parts.places}
            if self._setting.config.site
            else {},
        )


def _networks(policies: Iterable[PolicyStatus]) -> set[str]:
    """The networks that stand out at any site."""
    return {name for policy in policies for found in (policy.networks, policy.hitters.networks) for name in found}


def _in_words(known: Known, networks: Iterable[str]) -> dict[str, str]:
    """Where networks are, of those that are all at one place."""
    found = {network: known.around(network).words() for network in networks} if known.tells else {}
    return {network: words for network, words in found.items() if words}


def _databases(known: Known, wall: float) -> Iterator[tuple[str, DatabaseStatus]]:
    for one in known.sources:
        if one.use in ("asn", "country"):
            kind, built = ("", 0.0) if one.database is None else (one.database.type, one.database.built)
            age = wall - built if built else 0.0
            yield one.path, DatabaseStatus(one.use, kind, built, age, bool(one.error), one.error)


def _lists(known: Known, wall: float) -> Iterator[tuple[str, ListStatus]]:
    for one in known.sources:
        if one.use in ("allow", "deny"):
            spared, age = len(list(known.spared(one))), wall - one.changed if one.changed else 0.0
            yield one.path, ListStatus(one.use, one.entries, spared, one.changed, age, bool(one.error), one.error)


def _bots(bots: WebBotAuth | None) -> dict[str, CrawlerStatus]:
    """Bots that sign their requests, by the names of their files. Their counts are of requests."""
    if bots is None:
        return {}
    counts = {name: bots.counts.get(name, Verified()) for name in bots.keys.names}
    return {
        name: CrawlerStatus(each.claims, each.confirmed, each.refuted, 0, each.put_off, 0)
        for name, each in counts.items()
    }


def _crawler(counts: Counts) -> CrawlerStatus:
    return CrawlerStatus(
        counts.claims, counts.confirmed, counts.refuted, counts.unanswered, counts.put_off, counts.looking
    )


def _site(place: Place, policy: PolicyStatus, now: float) -> SiteStatus:
    return SiteStatus(
        ready=place.pool.available(now),
        dry_run=place.engine.dry_run,
        pressure=policy.pressure,
        attack=policy.attack,
        attack_seconds=policy.attack_seconds,
        attack_cause=policy.attack_cause,
        demand=policy.demand,
        capacity=policy.capacity,
        concurrency=policy.concurrency,
        in_flight=policy.in_flight,
        waiting=policy.waiting,
        price=policy.price,
        requests_by_tier=policy.requests_by_tier,
        upstream=[_server(server, now) for server in place.pool.servers],
    )


def _server(server: Server, now: float) -> ServerStatus:
    return ServerStatus(
        server=server.name,
        healthy=server.healthy,
        ejected=server.ejected_until > now,
        outstanding=server.outstanding,
        idle=server.kept(),
    )
