"""Settings of the policy that contradict each other say so; config/ adds the file and the line."""

from __future__ import annotations

from typing import Any

import pytest

from shield.policy.bucket import Rate
from shield.policy.challenge.settings import ChallengeSettings
from shield.policy.concurrency.settings import ConcurrencySettings
from shield.policy.identity import CrawlerSettings, IdentitySettings
from shield.policy.limits.settings import LimitsSettings
from shield.policy.pressure.settings import PressureSettings
from shield.policy.pricing.settings import PricingSettings
from shield.policy.queue.settings import QueueSettings
from shield.policy.reputation import ReputationSettings
from shield.policy.routes import RoutesSettings

DIGEST = "0123456789abcdefABCDEF" + "0" * 42
ALL = (
    ChallengeSettings, ConcurrencySettings, IdentitySettings, LimitsSettings, PressureSettings, PricingSettings,
    QueueSettings, ReputationSettings, RoutesSettings,
)  # fmt: skip


def places(settings: Any) -> list[tuple[str | int, ...]]:
    return [place for place, allowed in settings.complaints() if allowed]


@pytest.mark.parametrize("cls", ALL)
def test_the_defaults_agree(cls: Any) -> None:
    assert places(cls()) == []


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        (ChallengeSettings(most_hashes=2**19), [("most_hashes",)]),
        (ChallengeSettings(least_hashes=8), [("least_hashes",)]),
        (ChallengeSettings(bought_rate=0.1), [("bought_rate",)]),
        (ChallengeSettings(never=("/feed", "192.0.2.0/24", "feed")), [("never", 2)]),
        (ChallengeSettings(bought_life=60.0), [("bought_life",)]),
        (ChallengeSettings(cookie="a b", header="é"), [("cookie",), ("header",)]),
        (ConcurrencySettings(most=3), [("most",)]),
        (ConcurrencySettings(start=2000), [("start",)]),
        (IdentitySettings(allow=("192.0.2.1/24", "nobody"), deny=("::1", "::2")), [("allow", 0), ("allow", 1)]),
        (IdentitySettings(allow=("192.0.2.0/24",), deny=("192.0.2.0/24",)), [("deny", 0)]),
        (IdentitySettings(api_key_header="X-Api-Key", api_keys=(DIGEST, "secret")), [("api_keys", 1)]),
        (IdentitySettings(api_key_header="", api_keys=(DIGEST,)), [("api_keys",)]),
        (IdentitySettings(api_key_header="X Api Key"), [("api_key_header",)]),
        (IdentitySettings(deny=("192.0.2.0/24", "::/0")), [("deny", 1)]),
        (IdentitySettings(deny=("::/0",), allow=("192.0.2.0/24",)), []),
        (IdentitySettings(crawlers=(CrawlerSettings("", ()),)), [("crawlers", 0, "agent"), ("crawlers", 0, "domains")]),
        (IdentitySettings(crawlers=(CrawlerSettings("Googlebot", ("googlebot.com",)),)), []),
        (LimitsSettings(costs={"login": 20.0, "/login": 20.0}), [("costs", "login")]),
        (LimitsSettings(costs={"/a?b": 1.0, "/users/{id}": 1.0}), [("costs", "/a?b"), ("costs", "/users/{id}")]),
        (LimitsSettings(costs={"/users/*": 1.0, "/users/12": 2.0}), [("costs", "/users/12")]),
        (LimitsSettings(honeypots=("/", "wp", "/wp-login.php")), [("honeypots", 0), ("honeypots", 1)]),
        (LimitsSettings(client=Rate(10.0, 0.2), address=Rate(10.0, 0.1)), [("refused_cost",)]),
        (PressureSettings(brownout_ill=61.0), [("brownout_ill",)]),
        (PricingSettings(least_rise=3.0), [("most_rise",)]),
        (PricingSettings(first_used=0.001), [("first_used",)]),
        (QueueSettings(least_retry=7), [("most_retry",)]),
        (ReputationSettings(least_ban=100_000.0), [("most_ban",)]),
        (ReputationSettings(ban_score=8.0), [("ban_score",)]),
        (ReputationSettings(ban_score=40.0), [("most_score",)]),
        (RoutesSettings(least_cost=60.0), [("most_cost",)]),
    ],
)
def test_settings_that_contradict_each_other_are_found(settings: Any, found: list[tuple[str | int, ...]]) -> None:
    assert places(settings) == found
