"""The settings of the whole policy: those of each part, as the part takes them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Final

from typing_extensions import Doc

from shield.policy.challenge.settings import ChallengeSettings
from shield.policy.concurrency.settings import ConcurrencySettings
from shield.policy.drops import DropsSettings
from shield.policy.history import HistorySettings
from shield.policy.identity import IdentitySettings
from shield.policy.limits.settings import LimitsSettings
from shield.policy.per_route.settings import RouteSettings
from shield.policy.pressure.settings import PressureSettings
from shield.policy.pricing.settings import PricingSettings
from shield.policy.queue.settings import QueueSettings
from shield.policy.reputation import ReputationSettings
from shield.policy.routes import RoutesSettings
from shield.policy.standouts import StandoutsSettings
from shield.policy.table import TableSettings

LEAST_ENTRIES: Final = 16


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """The settings of one engine. Each part of the policy takes its own object, whole."""

    identity: IdentitySettings = field(default_factory=IdentitySettings)
    tables: TableSettings = field(default_factory=TableSettings)
    limits: LimitsSettings = field(default_factory=LimitsSettings)
    routes: RoutesSettings = field(default_factory=RoutesSettings)
    history: HistorySettings = field(default_factory=HistorySettings)
    reputation: ReputationSettings = field(default_factory=ReputationSettings)
    drops: DropsSettings = field(default_factory=DropsSettings)
    pressure: PressureSettings = field(default_factory=PressureSettings)
    standouts: StandoutsSettings = field(default_factory=StandoutsSettings)
    concurrency: ConcurrencySettings = field(default_factory=ConcurrencySettings)
    queue: QueueSettings = field(default_factory=QueueSettings)
    challenge: ChallengeSettings = field(default_factory=ChallengeSettings)
    pricing: PricingSettings = field(default_factory=PricingSettings)
    route: tuple[RouteSettings, ...] = ()
    dry_run: Annotated[bool, Doc("Report verdicts, and forward all the same.")] = False
    by_rates: Annotated[bool, Doc("Nothing is known of the service but how much is asked of it.")] = False
    sites: Annotated[int, Doc("Engines that divide the tables of what is each site's own.")] = 1

    def part(self, entries: int) -> int:
        """The entries of a table that one site has of its own."""
        return max(entries // self.sites, LEAST_ENTRIES) if self.sites > 1 else entries

    @property
    def tried(self) -> frozenset[str]:
        """The measures that are in a dry run of their own, by their names in tried.py."""
        single = {
            "challenge": self.challenge.dry_run,
            "limits": self.limits.dry_run,
            "bans": self.reputation.dry_run,
            "queue": self.queue.dry_run,
        }
        return frozenset(name for name, tried in single.items() if tried)

    @property
    def challenges(self) -> bool:
        """Whether strangers are challenged under pressure."""
        return self.challenge.mode != "off" and self.pressure.max_pressure > self.pressure.threshold
