"""Whom Shield challenged, how long they took, and who gave up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from shield.policy.challenge.settings import ChallengeSettings
from shield.policy.challenged import MOST_KEPT, PATIENCE, Challenged, browser_of
from shield.policy.pricing.settings import PricingSettings
from tests.policy.conftest import nonces

CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36"
ALWAYS = ChallengeSettings(mode="always", least_hashes=64, most_hashes=256)
PAGE = {"Accept": "text/html", "Accept-Language": "en", "Sec-Fetch-Mode": "navigate"}


@pytest.mark.parametrize(
    ("user_agent", "browser"),
    [
        ("", "none"),
        (CHROME, "chrome"),
        (CHROME + " Edg/156.0", "edge"),
        (CHROME + " OPR/120.0", "opera"),
        (CHROME.replace("Chrome", "SamsungBrowser/28.0 Chrome"), "samsung"),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0", "firefox"),
        ("Mozilla/5.0 (iPhone) AppleWebKit/605.1.15 (KHTML, like Gecko) FxiOS/153.0 Mobile Safari/605.1", "firefox"),
        ("Mozilla/5.0 (iPhone) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/156.0 Mobile Safari/605.1", "chrome"),
        ("Mozilla/5.0 (Macintosh) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Safari/605.1.15", "safari"),
        ("Mozilla/5.0 (compatible; Konqueror/5.0)", "other"),
        ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "robot"),
        ("Lynx/2.9.0dev.12", "text"),
        ("ELinks/0.13.2 (textmode; Linux)", "text"),
        ("curl/7.88.1", "program"),
    ],
)
def test_each_says_what_it_is(user_agent: str, browser: str) -> None:
    assert browser_of(user_agent) == browser


def asked(world: Any, client: Any) -> Any:
    request = world.ask(client, headers=PAGE)
    return world.engine.mint(request, world.now)


def counts(world: Any) -> Any:
    return world.engine.status(world.now).challenged


def test_who_gets_in_and_who_gives_up_is_told_by_browser(make: Any) -> None:
    """An operator saw how many answers came, and not whether Firefox users were among them."""
    world = make(challenge=ALWAYS)
    quick, gone = world.client(agent=CHROME), world.client("192.0.2.2", agent="Firefox of long ago")
    challenge = asked(world, quick)
    world.now += 1.2
    asked(world, quick)  # the page loaded again: the same client
    world.now += 12
    asked(world, gone)
    assert counts(world).not_yet == {"T3": {"chrome": 1, "program": 1}}
    assert world.engine.redeem(quick, challenge.token, nonces(challenge), world.now).pass_token
    found = counts(world)
    assert found.asked == {"T3": {"chrome": 1, "program": 1}}
    assert found.let_in == {"T3": {"chrome": 1}}
    assert found.not_yet == {"T3": {"program": 1}}
    assert found.seconds == {"T3": {"chrome": {"20": 1}}}
    world.now += PATIENCE + 20
    assert counts(world).not_yet == {}, "who is not in by now has given up"
    asked(world, gone)
    asked(world, quick)
    assert counts(world).asked == {"T3": {"chrome": 2, "program": 2}}


def test_what_cannot_answer_is_not_counted(make: Any) -> None:
    world = make(challenge=ALWAYS)
    request = world.ask(world.client(), "/logo.png", headers={"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"})
    world.engine.mint(request, world.now)
    assert counts(world).asked == {}


def test_who_waits_gets_in_too(make: Any) -> None:
    world = make(challenge=ALWAYS, pricing=PricingSettings(waited_least=2.0, waited_most=2.0))
    client = world.client(agent="Lynx/2.9")
    request = world.ask(client, headers=PAGE)
    ticket = world.engine.mint(request, world.now).token
    world.now += 3
    assert world.engine.wait(request, ticket, world.now).pass_token
    assert counts(world).let_in == {"T3": {"text": 1}}
    assert counts(world).seconds == {"T3": {"text": {"3": 1}}}


def test_an_answer_to_a_challenge_of_another_worker_is_counted_where_it_comes(make: Any) -> None:
    world = make(challenge=ALWAYS)
    challenged: Challenged = world.engine._sales.challenged
    challenged.let_in(world.client(agent=CHROME), world.now)
    assert counts(world).let_in == {"T3": {"chrome": 1}}
    assert counts(world).seconds == {}, "how long it took is not known here"


def test_who_shares_an_entry_is_not_counted(make: Any) -> None:
    world = make(challenge=ALWAYS)
    client = world.client()
    client.entry.overflow = True
    challenge = asked(world, client)
    world.engine.redeem(client, challenge.token, nonces(challenge), world.now)
    assert (counts(world).asked, counts(world).let_in) == ({}, {})


def test_what_is_remembered_of_user_agents_is_bounded(make: Any) -> None:
    world = make(challenge=replace(ALWAYS, lifetime=60.0))
    challenged: Challenged = world.engine._sales.challenged
    for number in range(MOST_KEPT + 10):
        assert challenged._browser(f"program/{number}") == challenged._browser("curl/7.88.1")
    challenged._browser("x" * 10_000)
    assert len(challenged._known) <= MOST_KEPT
