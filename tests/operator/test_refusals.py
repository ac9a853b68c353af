"""The requests that were refused in the last minutes: which are kept, found, and forgotten."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from shield.model import Reason, Tier, Verdict
from shield.operator.refusals import BRIEF_CHARS, CHARS, MOST_RECENT, PER_NETWORK, PER_SECOND, SECONDS, Refusals
from shield.policy.whereabouts import NOWHERE
from shield.readers import PERSON, PROGRAM

PROGRAMS = {"reader": PROGRAM}
BANNED = Verdict(Reason.CLIENT_BANNED, 60)


class Taker:
    """Takes no pictures, but notes of what."""

    def of_request(self, request: Any, now: float) -> Any:
        return SimpleNamespace(verdict=request.verdict, where=request.client.home, tier=request.tier, there=NOWHERE)

    def of_unread(self, address: str, verdict: Any, now: float) -> Any:
        return SimpleNamespace(verdict=verdict, where=address, tier=Tier.T0, there=NOWHERE)


def request(address: str = "192.0.2.1", **more: Any) -> Any:
    network = address.rpartition(".")[0] + ".0/24"
    client = SimpleNamespace(address=address, home=address, network=network, key=b"\1" * 16)
    headers = {"Host": "a.example", "User-Agent": "x" * 1000}
    made = {
        "client": client,
        "headers": headers,
        "method": "GET",
        "path": "/p" * 1000,
        "shown_pass": None,
        "tier": Tier.T3,
        "reader": PERSON,
    }
    return cast("Any", SimpleNamespace(**{**made, "verdict": BANNED, **more}))


@pytest.fixture
def refusals() -> Refusals:
    made = Refusals(most=50)
    made.taker = Taker()
    return made


def addresses(refusals: Refusals) -> list[str]:
    return [each.address for each in refusals.of(lambda _: True, 1000)]


def test_a_request_is_found_by_its_id_and_its_address(refusals: Refusals) -> None:
    refusals.note(5.0, request(shown_pass=SimpleNamespace(key=b"\2" * 8)), 403, b"abc-1", False)
    found = refusals.by_id("abc-1")
    assert found is not None
    said = found.plain(1000.0)
    assert (said["at"], said["id"], said["status"], said["reason"]) == (1005.0, "abc-1", 403, "client_banned")
    assert (said["host"], len(said["path"]), len(said["user_agent"])) == ("a.example", CHARS, CHARS)
    assert found.shown == "02" * 8
    assert refusals.of(lambda each: each.address == "192.0.2.1", 5) == [found]
    assert refusals.of(lambda each: each.address == "192.0.2.2", 5) == []
    assert refusals.by_id("abc-2") is None


@pytest.mark.parametrize(("networks", "known"), [(1, False), (4, False), (250, True)])
def test_a_flood_does_not_take_the_place_of_the_user_who_calls(refusals: Refusals, networks: int, known: bool) -> None:
    for second in range(4):
        for i in range(1000):
            refusals.note(
                second + i / 1000, request(f"198.51.{i % networks}.1"), 503, f"flood-{second}-{i}".encode(), False
            )
            if i == 900:
                refusals.note(second + 0.9, request("192.0.2.1"), 429, f"user-{second}".encode(), known)
    assert all(refusals.by_id(f"user-{second}") is not None for second in range(4))
    kept = min(PER_NETWORK * networks, PER_SECOND) + 1
    assert len(addresses(refusals)) == 4 * kept


def test_programs_take_no_place_of_those_who_see_a_page(refusals: Refusals) -> None:
    for i in range(200):
        refusals.note(float(i), request(**PROGRAMS), 503, b"program-%d" % i, False)
    assert refusals.by_id("program-199") is not None
    assert refusals.by_id("program-0") is None
    refusals.note(200.0, request("192.0.2.9"), 503, b"abc-1", False)
    assert len(addresses(refusals)) == 51
    assert addresses(refusals)[0] == "192.0.2.9"


def test_old_ones_are_forgotten(refusals: Refusals) -> None:
    refusals.note(0.0, request("192.0.2.1"), 503, b"a", False)
    refusals.note_unread(0.5, "192.0.3.1", BANNED, 403, b"b")
    refusals.note(SECONDS + 0.2, request("192.0.2.2"), 503, b"c", False)
    assert addresses(refusals) == ["192.0.2.2", "192.0.3.1"]
    refusals.note_unread(SECONDS + 1.6, "2001:db8::1", BANNED, 403, b"d")
    assert addresses(refusals) == ["2001:db8::1", "192.0.2.2"]


def test_what_was_not_read_is_found_by_its_id(refusals: Refusals) -> None:
    refusals.note_unread(1.0, "192.0.2.1", BANNED, 403, b"abc-1")
    found = refusals.by_id("abc-1")
    assert found is not None
    assert found.plain(0.0)["reason"] == "client_banned"


def test_nothing_is_kept_before_there_is_a_policy_to_ask() -> None:
    refusals = Refusals()
    refusals.note(1.0, request(), 403, b"a", False)
    refusals.note_unread(1.0, "192.0.2.1", BANNED, 403, b"b")
    assert addresses(refusals) == []


def test_who_was_refused_of_late_and_known_clients_first(refusals: Refusals) -> None:
    refusals.note(1.0, request("192.0.9.1"), 429, b"", False)  # more than a minute ago
    for at in (70.0, 71.0, 72.0):
        refusals.note(at, request(), 403, b"", False)
    refusals.note(71.0, request("192.0.3.1", tier=Tier.T1), 429, b"abc-1", True)
    refusals.note_unread(73.0, "192.0.4.1", BANNED, 403, b"abc-2")
    told = refusals.recent(75.0, 1000.0)
    assert [(each["address"], each["known"], each["count"]) for each in told] == [
        ("192.0.3.1", True, 1),
        ("192.0.4.1", False, 1),  # nothing was read: nobody knows who that was
        ("192.0.2.1", False, 3),
    ]
    assert (told[2]["at"], told[2]["action"], told[2]["reason"]) == (1072.0, "ban", "client_banned")
    assert (len(told[2]["path"]), len(told[2]["user_agent"])) == (BRIEF_CHARS, BRIEF_CHARS)


def test_what_is_told_of_late_is_bounded(refusals: Refusals) -> None:
    for number in range(50):
        refusals.note(10.0 + number // 5, request(f"192.0.{number}.1"), 403, b"", False)
    assert len(refusals.recent(20.0, 0.0)) == MOST_RECENT
