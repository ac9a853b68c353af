"""Which site a host is: hosts as clients write them, and as many as they like."""

from __future__ import annotations

from typing import Any

import pytest

from shield.client.hosting import KEPT_BYTES, MOST_KEPT, Hosting


def hosting(default: bool = True) -> Any:
    sites: list[Any] = [
        (["shop.example", "*.shop.example", "[2001:db8::1]", "192.0.2.1"], "shop"),
        (["*.de.shop.example", "b.de.shop.example"], "german"),
    ]
    return Hosting([*sites, ([], "rest")] if default else sites)


@pytest.mark.parametrize(
    ("host", "site"),
    [
        (b"shop.example", "shop"),
        (b"SHOP.Example:8443", "shop"),
        (b"shop.example.", "shop"),
        (b"a.shop.example", "shop"),
        (b"a.b.shop.example", "shop"),
        (b"de.shop.example", "shop"),
        (b"a.de.shop.example", "german"),
        (b"b.de.shop.example", "german"),
        (b"[2001:db8::1]:80", "shop"),
        (b"192.0.2.1:80", "shop"),
        (b"shop.example.org", "rest"),
        (b"notshop.example", "rest"),
        (b".shop.example", "shop"),
        (b"example", "rest"),
        (b"", "rest"),
        (b":80", "rest"),
        (b"...", "rest"),
    ],
)
def test_a_host_is_the_site_that_names_it_best(host: bytes, site: str) -> None:
    sites = hosting()
    assert sites.of(host) == site
    assert sites.of(host) == site  # as it is remembered
    assert hosting(default=False).of(host) == (None if site == "rest" else site)


def test_hosts_of_strangers_take_no_memory() -> None:
    sites = hosting()
    for number in range(3 * MOST_KEPT):
        assert sites.of(b"%d.example" % number) == "rest"
        assert len(sites._kept) <= MOST_KEPT
    for longer in (b"a" * KEPT_BYTES + b".shop.example", b"a." * 4000 + b"shop.example"):
        assert sites.of(longer) == "rest"
        assert longer not in sites._kept
    assert sites.of(b"a." * 120 + b"shop.example") == "shop"
