"""Who is banned for a honeypot, and who was only led there."""

from __future__ import annotations

from typing import Any

import pytest

from shield.model import Action, Reason
from shield.policy.limits.settings import LimitsSettings

HONEYPOT = LimitsSettings(honeypots=("/wp-login.php",))


def test_who_asks_for_a_honeypot_is_banned(make: Any, says: Any) -> None:
    world = make(limits=HONEYPOT)
    client = world.client()
    request = world.ask(client, "/wp-login.php")
    assert says(request) == (Action.BAN, Reason.HONEYPOT)
    assert request.verdict.retry_after == 60
    assert says(world.ask(client)) == (Action.BAN, Reason.CLIENT_BANNED)


PAGE = {"Host": "shop.example", "Accept-Language": "de", "Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
IMAGE = {"Host": "shop.example", "Accept-Language": "de", "Accept": "image/avif,image/webp,*/*;q=0.8"}
SCRIPT = {"Host": "shop.example", "Accept-Language": "de", "Accept": "*/*"}
TOOL = {"Host": "shop.example", "Accept": "*/*", "User-Agent": "Mozilla/5.0"}
ELSEWHERE = {"Referer": "https://forum.example/thread"}
HERE = {"Referer": "https://SHOP.example/cart"}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        TOOL,
        TOOL | HERE,
        TOOL | {"Cookie": "a=b"},
    ],
)
def test_who_means_to_ask_for_a_honeypot_is_banned(make: Any, headers: dict[str, str]) -> None:
    world = make(limits=HONEYPOT)
    assert world.ask(world.client(), "/wp-login.php", headers=headers).verdict.action is Action.BAN


@pytest.mark.parametrize(
    "headers",
    [
        PAGE | {"Sec-Fetch-Site": "none", "Sec-Fetch-Dest": "document"},  # typed in, or a link in a mail
        PAGE | {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Dest": "document"},  # a link in a comment here
        SCRIPT | {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Dest": "empty"},  # fetched ahead for such a link
        TOOL | {"Sec-Fetch-Site": "none"},  # a browser whose language an extension hides
        TOOL | {"Origin": "https://forum.example"},  # a report, or a preflight
        PAGE | HERE,
        PAGE | {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "document"},
        PAGE | {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Dest": "document"},
        IMAGE | {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "image"},
        IMAGE | {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Dest": "image"},  # in a comment here
        PAGE | {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Dest": "iframe"},
        PAGE | ELSEWHERE,
        IMAGE | ELSEWHERE,
        TOOL | ELSEWHERE,
        IMAGE | HERE,  # in a comment here, over plain HTTP
        PAGE,  # from elsewhere over plain HTTP, the Referer suppressed: a link or a frame,
        IMAGE,  # an image,
        SCRIPT,  # or a script
        {"Referer": "https://shop.example/"},
    ],
)
def test_what_somebody_else_put_on_a_page_gets_no_reader_banned(make: Any, headers: dict[str, str]) -> None:
    world = make(limits=HONEYPOT)
    request = world.ask(world.client(), "/wp-login.php", headers=headers)
    assert request.verdict.action is Action.FORWARD
    assert request.client.entry.score == 0.0


NAVIGATION = PAGE | {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"}
FETCH = SCRIPT | {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}


@pytest.mark.parametrize(
    ("headers", "points"),
    [
        ({}, 1.0),  # a program
        (TOOL, 1.0),
        (PAGE, 1.0),
        (NAVIGATION, 1.0),
        (NAVIGATION | {"Sec-Fetch-Site": "cross-site"}, 0.0),  # a frame in a page elsewhere, or a link there
        (FETCH, 0.0),
        (SCRIPT, 0.0),  # over plain HTTP
        (IMAGE, 0.0),
    ],
)
def test_only_who_could_answer_ignores_a_challenge(world: Any, headers: dict[str, str], points: float) -> None:
    """A page that polled by fetch() once a second had its visitor's next challenge cost four times as much."""
    client = world.client()
    world.storm()
    world.engine.mint(world.ask(client, headers=headers), world.now)
    world.ask(client, headers=headers)
    assert client.entry.score == points
