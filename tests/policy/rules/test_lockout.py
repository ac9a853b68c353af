"""Rules that would lock out the operator, a trusted proxy or everybody."""

from __future__ import annotations

import pytest

from shield.policy.rules.lockout import Precious, check, locked_out
from shield.policy.rules.rule import RefusedError, Rule
from shield.policy.whereabouts import Whereabouts

HERE = Precious(("198.51.100.7", "127.0.0.1", "2001:db8:5::7"), ("10.0.0.0/16", "2001:db8:9::/48"))


@pytest.mark.parametrize(
    ("kind", "subject", "value", "advice"),
    [
        ("ban", "0.0.0.0/0", "", "pressure hold 1"),
        ("deny", "::/0", "", "pressure hold 1"),
        ("allow", "0.0.0.0/0", "", "dry_run on"),
        ("ban", "64.0.0.0/7", "", "or insist (--force)"),
        ("ban", "2001::/18", "", "larger than a /19"),
        ("allow", "64.0.0.0/7", "", "larger than a /8"),
        ("ban", "127.0.0.0/24", "", "health checks and programs here would be refused"),
        ("deny", "::/64", "", "or insist (--force)"),
        ("limit", "127.0.0.1/32", "0.5/400", "that is this machine"),
        ("ban", "10.0.0.0/8", "", "10.0.0.0/16 in listen.trusted_proxies"),
        ("ban", "10.0.3.0/24", "", "Name the clients that it speaks for"),
        ("deny", "2001:db8:9:1::/64", "", "listen.trusted_proxies"),
        ("limit", "client", "20/5", "would lock everybody out"),
        ("limit", "address", "0.1/500", "would lock everybody out"),
        ("allow", "country:XX", "", "or insist (--force)"),
        ("challenge", "0.0.0.0/0", "always", "use pressure hold 1"),
        ("challenge", "::/0", "never", "use pressure hold 0"),
        ("challenge", "127.0.0.1/32", "always", "health checks"),
        ("challenge", "64.0.0.0/7", "never", "larger than a /8"),
    ],
)
def test_who_would_be_locked_out(kind: str, subject: str, value: str, advice: str) -> None:
    with pytest.raises(RefusedError) as refused:
        check(rule(kind, subject, value), HERE, force=False)
    assert advice in str(refused.value)


@pytest.mark.parametrize(
    ("kind", "subject", "value"),
    [
        ("ban", "203.0.113.0/24", ""),
        ("ban", "127.31.7.0/24", ""),
        ("limit", "127.0.0.1/32", "20/400"),
        ("allow", "127.0.0.0/8", ""),
        ("allow", "198.51.100.0/24", ""),
        ("limit", "198.51.100.0/24", "20/400"),
        ("limit", "client", "20/400"),
        ("limit", "ab" * 16, "0.1/1"),
        ("ban", "ab" * 16, ""),
        ("ban", "country:XX", ""),
        ("allow", "AS64500", ""),
        ("pressure", "", "0.5"),
        ("challenge", "198.51.100.0/24", "always"),
        ("challenge", "127.0.0.0/8", "never"),
        ("challenge", "country:XX", "always"),
        ("challenge", "/feed", "never"),
    ],
)
def test_who_would_not(kind: str, subject: str, value: str) -> None:
    check(rule(kind, subject, value), HERE, force=False)


def test_who_insists_may_name_large_networks_and_this_machine_and_still_not_everybody_or_a_proxy() -> None:
    check(rule("ban", "64.0.0.0/7"), HERE, force=True)
    check(rule("ban", "127.0.0.0/8"), HERE, force=True)
    check(rule("allow", "country:XX"), HERE, force=True)
    for subject in ("0.0.0.0/0", "10.0.0.0/7"):
        with pytest.raises(RefusedError):
            check(rule("ban", subject), HERE, force=True)


def rule(kind: str, subject: str, value: str = "", expires: float = 0.0) -> Rule:
    return Rule(1, kind, subject, value, "", "", 0.0, expires)


@pytest.mark.parametrize(
    ("rules", "refused"),
    [
        ([rule("ban", "198.51.100.0/24")], True),
        ([rule("deny", "198.51.100.7/32", expires=60.0)], True),
        ([rule("deny", "203.0.113.0/24"), rule("pressure", "", "1")], False),
        ([rule("ban", "198.51.100.0/24"), rule("allow", "198.51.100.7/32")], False),
        ([rule("ban", "198.51.100.0/24", expires=60.0), rule("allow", "198.51.100.7/32", expires=60.0)], False),
        ([rule("ban", "198.51.100.0/24", expires=61.0), rule("allow", "198.51.100.7/32", expires=60.0)], True),
        ([rule("ban", "198.51.100.7/32"), rule("allow", "198.51.100.0/24")], True),
        ([rule("limit", "198.51.100.0/24", "0.5/400")], True),
        ([rule("limit", "198.51.100.0/24", "20/9")], True),
        ([rule("limit", "198.51.100.0/24", "0.5/400"), rule("limit", "198.51.100.7/32", "20/400")], False),
        ([rule("limit", "198.51.100.7/32", "0.5/400"), rule("allow", "198.51.100.0/24")], False),
    ],
)
def test_whom_all_rules_together_refuse(rules: list[Rule], refused: bool) -> None:
    assert bool(locked_out(rules, HERE)) is refused
    assert bool(locked_out(rules, Precious(("::ffff:198.51.100.7",)))) is refused


def test_an_ipv6_address_is_in_its_64_and_this_machine_is_not_looked_at() -> None:
    assert list(locked_out([rule("ban", "2001:db8:5::/64")], HERE)) == ["2001:db8:5::7"]
    assert locked_out([rule("ban", "127.0.0.0/8")], HERE) == {}


@pytest.mark.parametrize(
    ("rules", "refused"),
    [
        ([rule("deny", "AS64500")], True),
        ([rule("deny", "AS64501"), rule("deny", "country:YY")], False),
        ([rule("ban", "country:XX")], True),
        ([rule("limit", "country:XX", "0.5/400")], True),
        ([rule("deny", "country:XX"), rule("allow", "AS64500")], False),
        ([rule("deny", "AS64500"), rule("allow", "country:XX")], True),
        ([rule("deny", "AS64500"), rule("allow", "198.51.100.7/32")], False),
    ],
)
def test_whom_rules_for_an_as_or_a_country_refuse(rules: list[Rule], refused: bool) -> None:
    here = Precious(("198.51.100.7",), there={"198.51.100.7": Whereabouts(64500, "XX")})
    assert bool(locked_out(rules, here)) is refused
    assert locked_out(rules, Precious(("198.51.100.7",))) == {}


def test_a_key_locks_nobody_out_though_it_is_called_as_their_network() -> None:
    there = Precious(("198.51.100.7",), (), {"198.51.100.7": Whereabouts(64500, "XX")})
    assert locked_out([Rule(1, "key", "AS64500", "ab" * 32, "", "", 0.0, 0.0)], there) == {}
    assert locked_out([Rule(1, "deny", "AS64500", "", "", "", 0.0, 0.0)], there) != {}
