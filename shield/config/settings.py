"""Everything the operator can set: one settings class per TOML table, each defined beside the code that it governs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from annotated_types import MaxLen
from pydantic import ConfigDict
from typing_extensions import Doc

from shield.accept.listener import ListenSettings
from shield.accept.tls import TlsSettings
from shield.client.watch import TimeoutSettings
from shield.cluster.settings import ClusterSettings
from shield.config.site import MOST_SITES, SiteSettings
from shield.config.state import StateSettings
from shield.config.validation import STRICT
from shield.http.settings import HttpSettings
from shield.model import DEFAULT_SITE
from shield.operator.log import LogSettings
from shield.operator.notices import NotifySettings
from shield.operator.server import AdminSettings
from shield.operator.tracing import TracesSettings
from shield.policy.challenge.settings import ChallengeSettings
from shield.policy.concurrency.settings import ConcurrencySettings
from shield.policy.drops import DropsSettings
from shield.policy.history import HistorySettings
from shield.policy.identity import IdentitySettings
from shield.policy.judges import WORDS
from shield.policy.limits.settings import LimitsSettings
from shield.policy.per_route.settings import MOST_ROUTES, RouteSettings
from shield.policy.pressure.settings import PressureSettings
from shield.policy.pricing.settings import PricingSettings
from shield.policy.queue.settings import QueueSettings
from shield.policy.reputation import ReputationSettings
from shield.policy.routes import RoutesSettings
from shield.policy.settings import EngineSettings
from shield.policy.standouts import StandoutsSettings
from shield.policy.table import TableSettings
from shield.replies.redirect import ACME_CHALLENGES
from shield.replies.settings import PagesSettings
from shield.upstream.settings import DEMO, UpstreamSettings


@dataclass(frozen=True, slots=True)
class Site:
    """What one site is made by: everything that is set, of the site or of all."""

    name: str
    hosts: tuple[str, ...]
    upstream: UpstreamSettings
    policy: EngineSettings
    http: HttpSettings
    timeouts: TimeoutSettings
    forwarded_from: str


@dataclass(frozen=True, slots=True)
class Config:
    """Everything the operator can set."""

    dry_run: Annotated[
        bool, Doc("Decide, count and log, but forward everything and set no cookie. Begin with this.")
    ] = False
    listen: Annotated[ListenSettings, Doc("Where clients connect.")] = ListenSettings()
    tls: Annotated[TlsSettings, Doc("Certificates, and what a handshake may cost.")] = TlsSettings()
    timeouts: Annotated[TimeoutSettings, Doc("How long a client may take.")] = TimeoutSettings()
    http: Annotated[HttpSettings, Doc("What a request may look like.")] = HttpSettings()
    upstream: Annotated[UpstreamSettings, Doc("The service that is shielded.")] = UpstreamSettings()
    admin: Annotated[AdminSettings, Doc("The operator's listener.")] = AdminSettings()
    log: Annotated[LogSettings, Doc("JSON lines on stderr.")] = LogSettings()
    notify: Annotated[NotifySettings, Doc("Who is told of an attack.")] = NotifySettings()
    traces: Annotated[TracesSettings, Doc("Requests, for an OpenTelemetry collector.")] = TracesSettings()
    state: Annotated[StateSettings, Doc("What survives a restart.")] = StateSettings()
    cluster: Annotated[ClusterSettings, Doc("Several machines as one.")] = ClusterSettings()
    identity: Annotated[IdentitySettings, Doc("Who is asking.")] = IdentitySettings()
    tables: Annotated[TableSettings, Doc("How much is remembered.")] = TableSettings()
    limits: Annotated[LimitsSettings, Doc("Token buckets.")] = LimitsSettings()
    routes: Annotated[RoutesSettings, Doc("What a request costs.")] = RoutesSettings()
    route: Annotated[tuple[RouteSettings, ...], MaxLen(MOST_ROUTES), Doc("Rules for single routes.")] = ()
    site: Annotated[tuple[SiteSettings, ...], MaxLen(MOST_SITES), Doc("Several sites, by host names.")] = ()
    history: Annotated[HistorySettings, Doc("Who was here before.")] = HistorySettings()
    reputation: Annotated[ReputationSettings, Doc("Who misbehaved.")] = ReputationSettings()
    drops: Annotated[DropsSettings, Doc("Who is not answered any more.")] = DropsSettings()
    pressure: Annotated[PressureSettings, Doc("When the service is under attack.")] = PressureSettings()
    hitters: Annotated[StandoutsSettings, Doc("Programs, networks and routes that stand out.")] = StandoutsSettings()
    concurrency: Annotated[ConcurrencySettings, Doc("How much the service takes at once.")] = ConcurrencySettings()
    queue: Annotated[QueueSettings, Doc("Who waits, and for how long.")] = QueueSettings()
    challenge: Annotated[ChallengeSettings, Doc("Proof of work and passes.")] = ChallengeSettings()
    pages: Annotated[PagesSettings, Doc("How the pages for people look.")] = PagesSettings()
    market: Annotated[PricingSettings, Doc("What a pass costs under attack, and who gets one.")] = PricingSettings()

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    @property
    def sites(self) -> tuple[Site, ...]:
        """What is served: the service of [upstream], or the sites, first that for the hosts which no other one names if
        there is one."""
        told = self.listen.forwarded_from
        upstream = replace(self.upstream, servers=()) if self.listen.gate else self.upstream
        usual = Site(DEFAULT_SITE, (), upstream, self.policy(), self.http, self.timeouts, told)
        if not self.site:
            return (usual,)
        sites = [self._site(each) for each in self.site]
        if not any(not each.hosts for each in sites) and self.upstream.servers != (DEMO,):
            sites.append(replace(usual, policy=replace(usual.policy, sites=len(sites) + 1)))
        return tuple(sorted(sites, key=lambda each: bool(each.hosts)))

    def _site(self, site: SiteSettings) -> Site:
        usual = self.policy()
        mode = usual.challenge.mode if site.challenge is None else WORDS[site.challenge]
        most = usual.pressure.max_pressure if site.max_pressure is None else site.max_pressure
        policy = replace(
            usual,
            challenge=replace(usual.challenge, mode=mode),
            pressure=replace(usual.pressure, max_pressure=most),
            route=(*site.route, *self.route),
            dry_run=self.dry_run if site.dry_run is None else site.dry_run,
            sites=len(self.site) + (self.upstream.servers != (DEMO,)),
        )
        http = self.http
        http = replace(
            http,
            max_body_bytes=http.max_body_bytes if site.body_bytes is None else site.body_bytes,
            body_buffer_bytes=http.body_buffer_bytes if site.body_buffer_bytes is None else site.body_buffer_bytes,
            preserve_host=http.preserve_host if site.preserve_host is None else site.preserve_host,
        )
        told = site.forwarded_from or self.listen.forwarded_from
        return Site(site.label, site.hosts, site.upstream, policy, http, site.timeouts.over(self.timeouts), told)

    def only(self, site: Site) -> Config:
        """The config of one of its sites, as if there were no other."""
        policy = site.policy
        return replace(
            self,
            site=(),
            upstream=site.upstream,
            route=policy.route,
            dry_run=policy.dry_run,
            challenge=replace(self.challenge, mode=policy.challenge.mode),
            pressure=policy.pressure,
            http=site.http,
            timeouts=site.timeouts,
        )

    def policy(self) -> EngineSettings:
        """What the policy's engine is made with."""
        return EngineSettings(
            identity=self.identity,
            tables=self.tables,
            limits=self.limits,
            routes=self.routes,
            history=self.history,
            reputation=self.reputation,
            drops=self.drops,
            pressure=self.pressure,
            standouts=self.hitters,
            concurrency=self.concurrency,
            queue=self.queue,
            challenge=self._challenge(),
            pricing=self.market,
            route=self.route,
            dry_run=self.dry_run,
            by_rates=self.listen.gate,
        )

    def _challenge(self) -> ChallengeSettings:
        """With what `tls.acme` promises to let through."""
        challenge = self.challenge
        return replace(challenge, never=(*challenge.never, ACME_CHALLENGES)) if self.tls.acme else challenge
