"""What `shield check` remarks on: valid, and unwise."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
import trustme

from shield.config.load import parse, remarks
from shield.config.unwise import unwise

DAY = 86_400.0
TOKENS = "write 0123456789abcdef0123456789abcdef ann\n"


def found(text: str, tmp_path: Path) -> list[tuple[str, int]]:
    """Keys and lines."""
    path = tmp_path / "config.toml"
    path.write_text(text)
    return [(item.key, item.line) for item in remarks(str(path))]


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ('[listen]\naddress = "0.0.0.0:80"', []),
        ('[listen]\naddress = "0.0.0.0:443"', ["listen.address"]),
        ('[listen]\naddress = ["0.0.0.0:80", "[::]:443"]', ["listen.address[1]"]),
        ('[listen]\ntrusted_proxies = ["10.0.0.0/8", "2001:db8::/32"]', []),
        ('[listen]\ntrusted_proxies = ["10.0.0.0/8", "0.0.0.0/0"]', ["listen.trusted_proxies[1]"]),
        (
            '[listen]\ntrusted_proxies = ["::/0", "0.0.0.0/1"]',
            ["listen.trusted_proxies[0]", "listen.trusted_proxies[1]"],
        ),
        ('[identity]\nallow = ["192.0.2.0/24"]', []),
        ('[identity]\nallow = ["0.0.0.0/0", "::/0"]', ["identity.allow[0]", "identity.allow[1]"]),
        ('[identity]\nallow = ["0.0.0.0/1", "128.0.0.0/1"]', ["identity.allow[0]", "identity.allow[1]"]),
        ('[admin]\naddress = "[::1]:9901"', []),
        ('[admin]\naddress = "localhost:9901"', []),
        ('[admin]\naddress = "127.9.9.9:9901"', []),
        ('[admin]\naddress = ""', []),
        ('[admin]\naddress = "0.0.0.0:9901"', ["admin.address"] * 2),
        ('[admin]\naddress = ":9901"', ["admin.address"] * 2),
        ('[admin]\naddress = "shield.internal:9901"\ntoken_file = "TOKENS"', ["admin.address"]),
        ('[challenge]\nnever = ["/feed"]', []),
        ('[challenge]\nnever = ["/feed", "/"]', ["challenge.never[1]"]),
        ('[limits]\nhoneypots = ["/wp-login.php", "/feeds", "/old/robots.txt"]\n[challenge]\nnever = ["/feed"]', []),
        ('[limits]\nhoneypots = ["/trap", "/feed/all"]\n[challenge]\nnever = ["/feed/"]', ["limits.honeypots[1]"]),
        ('[limits]\nhoneypots = ["/robots.txt"]', ["limits.honeypots[0]"]),
        ('[limits]\nhoneypots = ["/blog/feed"]', ["limits.honeypots[0]"]),
        ('[limits]\nhoneypots = ["/blog/feed"]\n[challenge]\npresets = []', []),
        (
            '[limits]\nhoneypots = ["/.well-known/acme-challenge/x"]\n[tls]\nacme = true',
            ["limits.honeypots[0]"],
        ),
        ('[state]\ndirectory = "state"', ["state.directory"]),
        ('[state]\ndirectory = "/var/lib/shield"', []),
        ("[limits]\nclient = { rate = 1, burst = 80 }", []),
        ("[limits]\nclient = { rate = 1, burst = 79 }", ["limits.client"]),
        ("[limits]\npass = { rate = 1, burst = 20 }", ["limits.pass"]),
        ("[limits]\ncalm_cost = 0.2\nclient = { rate = 1, burst = 16 }", []),
        ("[limits]\naddress = { rate = 50, burst = 100 }", ["limits.address"]),
        ("[limits]\naddress = { rate = 50, burst = 50 }", ["limits.address", "limits.address"]),
    ],
)
def test_remarks(text: str, keys: list[str], tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(TOKENS)
    tokens.chmod(0o600)
    assert [key for key, _ in found(text.replace("TOKENS", str(tokens)), tmp_path)] == keys


def test_a_remark_has_its_line(tmp_path: Path) -> None:
    text = '[listen]\ntrusted_proxies = [\n  "10.0.0.0/8",\n  "0.0.0.0/0",\n]\n'
    assert found(text, tmp_path) == [("listen.trusted_proxies[1]", 4)]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """A certificate that was made to hold for ninety days, and when that ends."""
    ends = dt.datetime(2030, 4, 1, 12, tzinfo=dt.UTC)
    made = trustme.CA().issue_cert("shop.example", not_before=ends - dt.timedelta(days=90), not_after=ends)
    path = tmp_path_factory.mktemp("certificate") / "site.pem"
    made.private_key_and_cert_chain_pem.write_to_path(path)
    return path, ends.timestamp()


@pytest.mark.parametrize(
    ("days_left", "said"),
    [
        (89, ""),
        (14.5, ""),
        (13.5, "ends in 13 days (2030-04-01): renew it"),
        (1, "ends on 2030-04-01: renew it"),
        (-1, "has ended (2030-04-01): browsers refuse it"),
        (91, "does not hold yet: browsers refuse it; is the clock right?"),
    ],
)
def test_a_certificate_that_ends_soon(certificate: tuple[Path, float], days_left: float, said: str) -> None:
    path, ends = certificate
    config = parse(f'[[tls.certificates]]\nchain = "{path}"')
    found = list(unwise(config, ends - days_left * DAY))
    assert found == ([(("tls", "certificates", 0, "chain"), said)] if said else [])
