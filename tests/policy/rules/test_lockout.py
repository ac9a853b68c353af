"""Rules that would lock out the operator, a trusted proxy or everybody."""

from __future__ import annotations

import pytest

from shield.policy.bucket import Rate
from shield.policy.rules.lockout import Precious, check, locked_out
from shield.policy.rules.rule import RefusedError, Rule
from shield.policy.whereabouts import Whereabouts

HERE = Precious(("198.51.100.7", "127.0.0.1", "2001:db8:5::7"), ("10.0.0.0/16", "2001:db8:9::/48"))


@pytest.mark.parametrize(
    ("kind", "subject", "rate", "advice"),
    [
        ("ban", "0.0.0.0/0", None, "pressure hold 1"),
        ("deny", "::/0", None, "pressure hold 1"),
        ("allow", "0.0.0.0/0", None, "dry_run on"),
        ("ban", "64.0.0.0/7", None, "or insist (--force)"),
        ("ban", "2001::/18", None, "larger than a /19"),
        ("allow", "64.0.0.0/7", None, "larger than a /8"),
        ("ban", "127.0.0.0/24", None, "health checks and programs here would be refused"),
        ("deny", "::/64", None, "or insist (--force)"),
        ("limit", "127.0.0.1/32", Rate(0.5, 400.0), "that is this machine"),
        ("ban", "10.0.0.0/8", None, "10.0.0.0/16 in listen.trusted_proxies"),
        ("ban", "10.0.3.0/24", None, "Name the clients that it speaks for"),
        ("deny", "2001:db8:9:1::/64", None, "listen.trusted_proxies"),
        ("limit", "client", Rate(20.0, 5.0), "would lock everybody out"),
        ("limit", "address", Rate(0.1, 500.0), "would lock everybody out"),
        ("allow", "country:XX", None, "or insist (--force)"),
    ],
)
def test_who_would_be_locked_out(kind: str, subject: str, rate: Rate | None, advice: str) -> None:
    with pytest.raises(RefusedError) as refused:
        check(kind, subject, rate, HERE, force=False)
    assert advice in str(refused.value)


@pytest.mark.parametrize(
    ("kind", "subject", "rate"),
    [
        ("ban", "203.0.113.0/24", None),
        ("ban", "127.31.7.0/24", None),
        ("limit", "127.0.0.1/32", Rate(20.0, 400.0)),
        ("allow", "127.0.0.0/8", None),
        ("allow", "198.51.100.0/24", None),
        ("limit", "198.51.100.0/24", Rate(20.0, 400.0)),
        ("limit", "client", Rate(20.0, 400.0)),
        ("limit", "ab" * 16, Rate(0.1, 1.0)),
        ("ban", "ab" * 16, None),
        ("ban", "country:XX", None),
        ("allow", "AS64500", None),
        ("pressure", "", None),
    ],
)
def test_who_would_not(kind: str, subject: str, rate: Rate | None) -> None:
    check(kind, subject, rate, HERE, force=False)


def test_who_insists_may_name_large_networks_and_this_machine_and_still_not_everybody_or_a_proxy() -> None:
    check("ban", "64.0.0.0/7", None, HERE, force=True)
    check("ban", "127.0.0.0/8", None, HERE, force=True)
    check("allow", "country:XX", None, HERE, force=True)
    for subject in ("0.0.0.0/0", "10.0.0.0/7"):
        with pytest.raises(RefusedError):
            check("ban", subject, None, HERE, force=True)


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
