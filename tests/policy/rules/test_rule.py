"""What a wish must be to become a rule."""

from __future__ import annotations

import contextlib
from base64 import urlsafe_b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shield.policy.bucket import Rate
from shield.policy.rules.matching import Matching
from shield.policy.rules.rule import (
    KINDS,
    MOST_SECONDS,
    RefusedError,
    Rule,
    checked,
    ends,
    network_of,
    read,
    said,
    who,
    wish,
    with_digest,
    within,
)

WALL = 1_700_000_000.0
CLIENT = "0123456789abcdef" * 2
TOKEN = urlsafe_b64encode(b"\x01\x02" + bytes.fromhex("00ff00ff00ff00ff") + b"\0" * 21).rstrip(b"=").decode()


def rule(kind: str = "ban", subject: str = "192.0.2.0/24", value: str = "", expires: float = WALL + 60) -> Rule:
    return Rule(7, kind, subject, value, "ann", "a note", WALL, expires)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("192.0.2.7", "192.0.2.7/32"),
        ("192.0.2.0/24", "192.0.2.0/24"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:DB8::/32", "2001:db8::/32"),
        ("::ffff:192.0.2.7", "192.0.2.7/32"),
        ("as64500", "AS64500"),
        ("Country:xx", "country:XX"),
        (CLIENT, CLIENT),
        ("pass:00ff00ff00ff00ff", "pass:00ff00ff00ff00ff"),
        (TOKEN, "pass:00ff00ff00ff00ff"),
        (f"pass:{TOKEN}", "pass:00ff00ff00ff00ff"),
    ],
)
def test_whom_a_rule_is_for(written: str, meant: str) -> None:
    assert who(written) == meant
    assert who(meant) == meant


@pytest.mark.parametrize(
    ("written", "advice"),
    [
        ("", "is no network, AS, country, client or pass"),
        ("192.0.2", "is no network"),
        ("192.0.2.0/33", "is no network"),
        ("192.0.2.0/255.255.255.0", "is no network"),
        ("192.0.2.0/٢٤", "is no network"),
        ("192.0.2.7/24", "the network is 192.0.2.0/24, the address 192.0.2.7"),
        ("2001:db8::/65", "less than a /64"),
        ("::ffff:192.0.2.0/120", "write it as such"),
        ("fe80::1%eth0/64", "is no network"),
        ("example.org", "is no network"),
        ("pass:12", "16 hex digits of its id, or its whole token"),
        ("\x1b[2J" + "x" * 500, "\\x1b[2J"),
    ],
)
def test_whom_no_rule_is_for(written: str, advice: str) -> None:
    with pytest.raises(RefusedError) as refused:
        who(written)
    assert advice in str(refused.value)
    assert len(str(refused.value)) < 400
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    ("wanted", "made"),
    [
        (("ban", "192.0.2.7", ""), ("ban", "192.0.2.7/32", "")),
        (("limit", "192.0.2.7", "20/400"), ("limit", "192.0.2.7/32", "20/400")),
        (("limit", "client", "0.5/1000000"), ("limit", "client", "0.5/1000000")),
        (("limit", "address", "20.0/400.250"), ("limit", "address", "20/400.25")),
        (("pressure", "", "0.50"), ("pressure", "", "0.5")),
        (("pressure", "", "1"), ("pressure", "", "1")),
        (("challenge", "/feed/", "never"), ("challenge", "/feed", "never")),
        (("dry_run", "", "on"), ("dry_run", "", "on")),
        (("dry_run", "bans", "off"), ("dry_run", "bans", "off")),
    ],
)
def test_a_wish_is_written_in_one_way(wanted: tuple[str, str, str], made: tuple[str, str, str]) -> None:
    assert checked(*wanted) == made
    assert checked(*made) == made


@pytest.mark.parametrize(
    ("wanted", "advice"),
    [
        (("block", "192.0.2.7", ""), 'kind: "block" is none of: ban, deny, allow'),
        (("ban", "192.0.2.7", "1"), "ban has no value"),
        (("limit", "192.0.2.7", "20"), "is no RATE/BURST, like 20/400"),
        (("limit", "192.0.2.7", "0/400"), "a rate above 0"),
        (("limit", "192.0.2.7", "1/0.5"), "burst of at least 1"),
        (("limit", "everybody", "20/400"), "is no network"),
        (("pressure", "", "1.5"), "from 0 (nobody is challenged) to 1"),
        (("pressure", "", "nan"), "is no number"),
        (("pressure", "", "high"), "is no number"),
        (("pressure", "", "\u0661"), "is no number"),  # a one in Arabic, which float() takes
        (("pressure", "", " 1_0e-1 "), "is no number"),
        (("limit", "192.0.2.7", "0.0001/400"), "at most three decimals"),
        (("pressure", "192.0.2.0/24", "0.5"), "is no name of a site"),
        (("challenge", "/feed", "sometimes"), "is none of: never, always"),
        (("challenge", "/feed", "always"), "in a [[route]] of the config, and reload"),
        (("challenge", "pass:" + "ab" * 8, "never"), "who shows a pass has answered already"),
        (("challenge", "feed", "never"), "or for never a path, which begins with"),
        (("challenge", "/feed?x", "never"), "is no path"),
        (("challenge", "/feed#x", "never"), "is no path"),
        (("challenge", "/" + "x" * 300, "never"), "is no path"),
        (("challenge", "/", "never"), "nobody would be challenged"),
        (("dry_run", "", "maybe"), "is none of: on, off"),
        (("dry_run", "Captcha!", "on"), "is no name of a site"),
    ],
)
def test_what_is_no_rule(wanted: tuple[str, str, str], advice: str) -> None:
    with pytest.raises(RefusedError) as refused:
        checked(*wanted)
    assert advice in str(refused.value)


def test_when_a_rule_ends() -> None:
    assert ends(None, WALL) == 0.0
    assert ends(3600.0, WALL) == WALL + 3600
    for seconds in (0.0, -1.0, MOST_SECONDS + 1, float("nan")):
        with pytest.raises(RefusedError):
            ends(seconds, WALL)
    assert rule().holds(WALL)
    assert not rule().holds(WALL + 60)
    assert rule(expires=0.0).holds(WALL + 1e9)


def test_notes_are_fit_for_a_log_and_a_terminal() -> None:
    assert said("für Müller & Söhne, see #12") == "für Müller & Söhne, see #12"
    for note in ("two\nlines", "\x1b[31m", "x" * 201):
        with pytest.raises(RefusedError):
            said(note)


def test_a_rule_is_read_as_it_was_written() -> None:
    for made in (rule(), rule("limit", "client", "20/400"), rule("challenge", "/feed", "never", 0.0)):
        assert read(made.plain()) == made


@pytest.mark.parametrize(
    "change",
    [
        {"subject": "192.0.2.7/24"},
        {"subject": 7},
        {"number": "1"},
        {"note": "two\nlines"},
        {"kind": "unknown"},
        {"expires": None},
        {"more": 1},
        {"subject": "192.0.2.7"},
    ],
)
def test_what_was_changed_on_disk_is_no_rule(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whatever it says
        read({**rule().plain(), **change})
    with pytest.raises(ValueError, match="no rule"):
        read([])


def test_what_a_rule_says_of_itself() -> None:
    assert rule("ban").slot == rule("allow").slot != rule("limit", value="1/1").slot
    assert rule("limit", value="20/400").rate == Rate(20.0, 400.0)
    assert str(rule().network) == "192.0.2.0/24"
    for other in ("client", CLIENT, "pass:00ff00ff00ff00ff", "/feed", ""):
        assert network_of(other) is None


def test_who_is_within_a_network() -> None:
    network = network_of("2001:db8::/32")
    assert network is not None
    assert within("2001:db8:1:2::/64", network)
    assert not within("192.0.2.7", network)
    assert not within("other", network)


def test_a_wish_is_made_of_texts() -> None:
    assert wish({"kind": "ban"}, "kind") == "ban"
    assert wish({}, "note") == ""
    with pytest.raises(RefusedError, match="note: a text"):
        wish({"note": 1}, "note")


ANYTHING = st.text(max_size=60) | st.text(st.sampled_from("0123456789abcdef.:/%-_pas"), max_size=60)


@pytest.mark.untraced
@given(st.sampled_from([*KINDS, "", "other"]), ANYTHING, ANYTHING)
def test_whatever_is_asked_is_a_rule_or_refused(kind: str, subject: str, value: str) -> None:
    try:
        made = checked(kind, subject, value)
    except RefusedError:
        return
    assert checked(*made) == made
    again = Rule(1, *made, "ann", "", WALL, 0.0)
    assert read(again.plain()) == again
    assert Matching([again]) is not None


@pytest.mark.untraced
@given(ANYTHING)
def test_whoever_is_named_is_somebody_or_refused(subject: str) -> None:
    with contextlib.suppress(RefusedError):
        found = who(subject)
        assert who(found) == found
        assert found.startswith("pass:") or len(found) == 32 or network_of(found) is not None


DIGEST = "ab" * 32


def test_a_key_has_a_name_a_hash_and_perhaps_a_budget() -> None:
    assert checked("key", "partner-2", f"20.0/400 {DIGEST}") == ("key", "partner-2", f"20/400 {DIGEST}")
    made = rule("key", "partner-2", f"20/400 {DIGEST}")
    assert (made.digest, made.budget) == (bytes.fromhex(DIGEST), Rate(20.0, 400.0))
    assert rule("key", "a", DIGEST).budget is None
    assert checked("key", "a", DIGEST) == ("key", "a", DIGEST)
    assert read(made.plain()) == made
    assert (with_digest("1/2", DIGEST), with_digest("", DIGEST)) == (f"1/2 {DIGEST}", DIGEST)


@pytest.mark.parametrize("name", ["", "-a", "a b", "a/b", "a" * 65, "b\u00fc", "a\n", "pass:00ff00ff00ff00ff"])
def test_what_is_no_name_of_a_key(name: str) -> None:
    with pytest.raises(RefusedError, match="is no name of a key"):
        checked("key", name, DIGEST)


@pytest.mark.parametrize("value", ["", "20/400", "ab", f"20 {DIGEST}", f"0/0 {DIGEST}", DIGEST.upper(), f" {DIGEST}"])
def test_what_no_key_can_say(value: str) -> None:
    with pytest.raises(RefusedError, match=r"key: |limit: "):
        checked("key", "a", value)
