"""What the operator is told of an attack."""

from __future__ import annotations

from typing import Any

import pytest

from shield.operator import notices
from shield.operator.notices import NotifySettings, Watcher, letter, subject

NOW = 1_790_000_000.0


def status(attack: bool, rate: float = 100.0, **more: Any) -> dict[str, Any]:
    return {
        "attack": attack, "attack_seconds": 0.0, "attack_cause": "rate" if attack else "", "pressure": 0.5,
        "demand": 900.0, "capacity": 300.0, "requests_per_second": rate, "concurrency": 20.0, "dropped": 3,
        "active_bans": {"client": 2, "address": 5}, "price": 4096, "dry_run": False,
        "requests": {"forward": {"ok": 50}, "challenge": {"newcomer": 10}},
        "hitters": {
            "fingerprints": [{"fingerprint": "aa", "user_agent": "Bot/1.0", "share": 0.9}],
            "networks": {"203.0.113.0/24": 0.4}, "routes": {"GET/search": 0.7},
        },
        **more,
    }  # fmt: skip


def merged(*parts: dict[str, Any]) -> dict[str, Any]:
    """As of several workers; the second leads."""
    workers = [
        {"worker": number, "answers": True, "board": {"leads": number == 1}, **part}
        for number, part in enumerate(parts)
    ]
    silent = {"worker": len(parts), "answers": False}
    return {**status(True), "hitters": {}, "attack_cause": "", "workers": [*workers, silent]}


@pytest.fixture
def watcher() -> Watcher:
    found = Watcher("web1", 300.0)
    assert found.look(NOW - 2, status(False)) is None
    return found


def test_an_attack_is_told_from_its_begin_to_its_end(watcher: Watcher) -> None:
    began = watcher.look(NOW, status(True, 1200.0, attack_seconds=3.0))
    assert began is not None
    assert (began["event"], began["since"], began["host"]) == ("attack_began", NOW - 3.0, "web1")
    assert began["text"] == "An attack begins: 1,200 requests/s; requests have suddenly become more"
    assert began["requests"] == {}, "nothing since it began"
    later = {"forward": {"ok": 80}, "challenge": {"newcomer": 510}, "limit": {"client_rate": 7}, "ban": {}}
    assert watcher.look(NOW + 50, status(True, 4000.0, requests=later)) is None
    known = watcher.look(NOW + 60, status(True, 900.0, requests=later))
    assert known is not None
    assert known["event"] == "attack_changed"
    assert known["text"] == (
        "The attack goes on for 1 min 3 s: 900 requests/s, most on GET /search; 507 requests refused so far"
    )
    assert known["requests"] == {"forward": 30, "challenge": 500, "limit": 7}
    assert known["networks"] == [("203.0.113.0/24", 0.4)]
    assert known["programs"] == [("Bot/1.0", 0.9)]
    assert known["measures"] == {"banned": 7, "dropped": 3, "price": 4096, "limit": 20.0}
    over = watcher.look(NOW + 597, status(False, 10.0, requests=later))
    assert over is not None
    assert over["text"] == "The attack is over after 10 min: at most 4,000 requests/s, 507 requests refused"
    assert watcher.look(NOW + 599, status(False)) is None


@pytest.mark.parametrize(
    ("after", "rate", "more", "told"),
    [
        (299, 300.0, {"pressure": 0.9}, False),  # too soon
        (300, 150.0, {}, False),
        (300, 200.0, {}, True),  # twice as large
        (300, 100.0, {"pressure": 0.8}, True),
        (300, 100.0, {"pressure": 0.7}, False),
        (300, 100.0, {"attack_cause": "errors"}, True),
    ],
)
def test_a_change_is_told_when_it_matters(
    watcher: Watcher, after: float, rate: float, more: dict[str, Any], told: bool
) -> None:
    watcher.look(NOW, status(True))
    assert watcher.look(NOW + 60, status(True)) is not None
    assert (watcher.look(NOW + 60 + after, status(True, rate, **more)) is not None) is told


def test_a_restart_in_the_middle_does_not_tell_of_it_again() -> None:
    watcher = Watcher("web1", 300.0)
    assert watcher.look(NOW, status(True, attack_seconds=500.0)) is None
    assert watcher.look(NOW + 2, status(True, attack_seconds=502.0)) is None
    over = watcher.look(NOW + 100, status(False))
    assert over is not None
    assert (over["event"], over["since"]) == ("attack_ended", NOW - 500.0)


def test_a_reload_in_the_middle_does_not_tell_of_it_again(watcher: Watcher) -> None:
    assert watcher.look(NOW, status(True)) is not None
    other = Watcher("web1", 60.0)
    other.keep(watcher)
    assert other.look(NOW + 2, status(True)) is None
    changed = other.look(NOW + 60, status(True))
    assert changed is not None
    assert changed["since"] == NOW


def test_of_workers_the_one_that_leads_says_why(watcher: Watcher) -> None:
    one = {"hitters": {"networks": {"203.0.113.0/24": 0.2, "198.51.100.0/24": 0.1}}}
    two = {"attack_cause": "errors", "price": 9, "hitters": {"networks": {"203.0.113.0/24": 0.5}}}
    notice = watcher.look(NOW, merged(one, two))
    assert notice is not None
    assert (notice["cause"], notice["measures"]["price"]) == ("errors", 9)
    assert notice["networks"] == [("203.0.113.0/24", 0.5), ("198.51.100.0/24", 0.1)]


def test_what_workers_say_when_none_answers_is_no_error(watcher: Watcher) -> None:
    assert watcher.look(NOW, {"workers": [{"worker": 0, "answers": False}]}) is None


def test_a_letter_says_all_in_words(watcher: Watcher) -> None:
    watcher.look(NOW, status(True))
    notice = watcher.look(NOW + 60, status(True, 1200.0, dry_run=True, requests={"challenge": {"newcomer": 3010}}))
    assert notice is not None
    assert subject(notice) == "Shield on web1: the attack goes on"
    text = letter(notice)
    for line in (
        "Shield runs dry: it only logs what it would have refused.",
        "Pressure:            0.50 of 1: requests have suddenly become more",
        "Challenged:          3,000",
        "   90%  Bot/1.0",
        "   40%  203.0.113.0/24",
        "   70%  GET /search",
    ):
        assert line in text.splitlines()
    assert letter(notices.trial(NOW, "web1")).startswith("A test: ")


def test_a_long_user_agent_is_cut(watcher: Watcher) -> None:
    programs = [{"fingerprint": "aa", "user_agent": "x" * 4000, "share": 0.9}]
    notice = watcher.look(NOW, status(True, hitters={"fingerprints": programs}))
    assert notice is not None
    assert len(notice["programs"][0][0]) == notices.MOST_CHARS


@pytest.mark.parametrize(
    ("settings", "wrong"),
    [
        ({"webhook": "ftp://example.org/"}, ("webhook",)),
        ({"webhook": "https://"}, ("webhook",)),
        ({"webhook": "https://user:secret@example.org/"}, ("webhook",)),
        ({"mail": ("a@example.org", "-oQ/etc")}, ("mail", 1)),
        ({"mail": ("a@example.org\nBcc: b",)}, ("mail", 0)),
        ({"mail_from": "Shield <a@example.org>"}, ("mail_from",)),
        ({"sendmail": "sendmail"}, ("sendmail",)),
    ],
)
def test_what_cannot_be_told_is_complained_of(settings: dict[str, Any], wrong: tuple[str | int, ...]) -> None:
    assert [where for where, _ in NotifySettings(**settings).complaints()] == [wrong]


def test_what_can_be_told_is_not() -> None:
    settings = NotifySettings(webhook="https://hooks.example.org/a/b?c", mail=("root", "ops+a@example.org"))
    assert list(settings.complaints()) == []
