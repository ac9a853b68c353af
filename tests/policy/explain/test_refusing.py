"""What refuses whom Shield has pardoned."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from shield.policy.intervals import Intervals
from shield.policy.rules.rule import Rule, checked, who
from shield.policy.standing import Listed, Standing
from shield.policy.whereabouts import NOWHERE, Whereabouts
from tests.policy.conftest import WALL, World


def follow(world: World, *rules: tuple[str, str]) -> None:
    made = [Rule(number, *checked(*rule, ""), "ann", "", WALL, 0.0) for number, rule in enumerate(rules, 1)]
    world.engine.follow(made, world.now)


def refusing(world: World, subject: str) -> list[str]:
    return world.engine.explainer.refusing(who(subject))


def test_a_file_of_the_config_is_named(world: World) -> None:
    six = ip_network("2001:db8::/48")
    files = Intervals([(0xC0000200, 0xC000027F)], [(int(six[0]), int(six[-1]))])
    world.engine.know(Standing(denied=[Listed("drop.txt", files)]), world.now)
    said = ["identity.deny_files: drop.txt"]
    assert refusing(world, "192.0.2.7") == refusing(world, "2001:db8::1") == refusing(world, "192.0.2.0/24") == said
    assert refusing(world, "192.0.2.200") == refusing(world, "192.0.2.128/25") == refusing(world, "2001:db8:1::1") == []
    client = world.client("192.0.2.7")
    world.ask(client)
    assert refusing(world, client.key.hex()) == said
    follow(world, ("allow", "192.0.2.7"))
    assert refusing(world, "192.0.2.7") == []


def test_the_config_is_named(world: World) -> None:
    world.engine.know(Standing(deny=("192.0.2.0/28",)), world.now)
    for subject, said in {
        "192.0.2.7": ["identity.deny"],
        "192.0.2.0/24": ["identity.deny"],
        "192.0.3.0/24": [],
        "2001:db8::/32": [],
        "ab" * 16: [],
        f"pass:{'00' * 8}": [],
    }.items():
        assert refusing(world, subject) == said


def test_rules_about_more_are_named(world: World) -> None:
    follow(world, ("deny", "192.0.0.0/16"), ("ban", "2001:db8::/32"), ("allow", "192.0.2.8"), ("ban", "ab" * 16))
    assert refusing(world, "192.0.2.7") == refusing(world, "192.0.2.0/24") == ["rule 1 (deny 192.0.0.0/16)"]
    assert refusing(world, "2001:db8:1::1") == ["rule 2 (ban 2001:db8::/32)"]
    assert refusing(world, "192.0.2.8") == refusing(world, "198.51.100.0/24") == []


@pytest.mark.parametrize("subject", ["AS64500", "country:XX"])
def test_an_as_or_a_country_of_the_config_is_named(world: World, subject: str) -> None:
    def where(address: str) -> Whereabouts:
        return Whereabouts(64500, "XX") if address == "192.0.2.7" else NOWHERE

    world.engine.know(Standing(deny=(subject,), where=where), world.now)
    assert refusing(world, "192.0.2.7") == [f"identity.deny ({subject})"]
    assert refusing(world, subject) == ["identity.deny"]
    assert refusing(world, "192.0.2.8") == refusing(world, "AS64501") == refusing(world, "country:YY") == []
    world.engine.know(Standing(allow=(subject,), where=where), world.now)
    assert refusing(world, subject) == []
