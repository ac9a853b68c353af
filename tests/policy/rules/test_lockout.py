"""Rules that would lock out the operator, a trusted proxy or everybody."""

from __future__ import annotations

import pytest

from shield.policy.bucket import Rate
from shield.policy.rules.lockout import Precious, check
from shield.policy.rules.rule import RefusedError

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
        ("ban", "198.51.100.0/24", None, "you would lock yourself out"),
        ("ban", "2001:db8:5::/48", None, "you would lock yourself out"),
        ("ban", "10.0.0.0/8", None, "10.0.0.0/16 in listen.trusted_proxies"),
        ("ban", "10.0.3.0/24", None, "Name the clients that it speaks for"),
        ("deny", "2001:db8:9:1::/64", None, "listen.trusted_proxies"),
        ("limit", "198.51.100.0/24", Rate(0.5, 400.0), "you would lock yourself out"),
        ("limit", "client", Rate(20.0, 5.0), "would lock everybody out"),
        ("limit", "address", Rate(0.1, 500.0), "would lock everybody out"),
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
        ("ban", "127.0.0.0/8", None),
        ("allow", "198.51.100.0/24", None),
        ("limit", "198.51.100.0/24", Rate(20.0, 400.0)),
        ("limit", "client", Rate(20.0, 400.0)),
        ("limit", "ab" * 16, Rate(0.1, 1.0)),
        ("ban", "ab" * 16, None),
        ("pressure", "", None),
    ],
)
def test_who_would_not(kind: str, subject: str, rate: Rate | None) -> None:
    check(kind, subject, rate, HERE, force=False)


def test_an_address_of_a_socket_for_both_versions_is_ours_too() -> None:
    with pytest.raises(RefusedError, match="lock yourself out"):
        check("ban", "198.51.100.0/24", None, Precious(("::ffff:198.51.100.7",)), force=False)
    check("ban", "127.0.0.0/24", None, Precious(("::ffff:127.0.0.1",)), force=False)


def test_who_insists_may_name_large_networks_and_still_not_everybody_or_themselves() -> None:
    check("ban", "64.0.0.0/7", None, HERE, force=True)
    for subject in ("0.0.0.0/0", "198.0.0.0/7"):
        with pytest.raises(RefusedError):
            check("ban", subject, None, HERE, force=True)
