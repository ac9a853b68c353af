"""What an operator has forgotten is seen in the traffic, and said in the log, the status and the metrics."""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme

from shield.client.unbelieved import LEAST_SEEN

Client = Callable[..., aiohttp.ClientSession]
Start = Callable[..., Awaitable[Any]]
GENEROUS = {"rate": 1e6, "burst": 1e6}


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_proxy_in_front_that_is_not_trusted_is_named(
    workers: int, start: Start, echoing: str, client: Client
) -> None:
    """All its clients count as one: in production that was found when they were refused."""
    shield = await start(
        listen={"workers": workers},
        upstream={"servers": [echoing]},
        limits=dict.fromkeys(("client", "address", "network"), GENEROUS),
    )
    session = client("127.0.0.1")

    async def come(number: int) -> None:
        headers = {"X-Forwarded-For": f"198.51.100.{number % 250}", "User-Agent": f"Mozilla/5.0 ({number})"}
        async with session.get(shield.url("/page"), headers=headers) as response:
            assert response.status == 200

    for number in range(LEAST_SEEN + 10):
        await come(number)
    line = await shield.logged("proxy_not_trusted")
    assert (line["address"], line["setting"]) == ("127.0.0.1", "listen.trusted_proxies")
    status = await shield.until(lambda status: status["untrusted_proxy"]["peer"])
    assert status["untrusted_proxy"]["share"] > 0.9
    assert "\nshield_untrusted_proxy_ratio" in (await shield.asked("/metrics"))[1]

    shield.reload(listen={"trusted_proxies": ["127.0.0.0/8"]})
    await shield.logged("reloaded")
    for number in range(LEAST_SEEN + 10):
        await come(number)
    assert (await shield.status())["untrusted_proxy"]["peer"] == ""


async def test_a_certificate_that_ends_soon_is_told_of_at_the_start(start: Start, echoing: str, tmp_path: Path) -> None:
    now = dt.datetime.now(dt.UTC)
    chain = tmp_path / "site.pem"
    made = trustme.CA().issue_cert(
        "localhost", not_before=now - dt.timedelta(days=80), not_after=now + dt.timedelta(days=10, hours=1)
    )
    made.private_key_and_cert_chain_pem.write_to_path(chain)
    shield = await start(tls={"certificates": [{"chain": chain}]}, upstream={"servers": [echoing]})
    line = await shield.logged("certificate_ends")
    assert line["level"] == "warning"
    assert (line["chain"], line["names"]) == (str(chain), ["localhost"])
    assert line["trouble"].startswith("ends in 10 days (")
    shown = (await shield.status())["certificates"][str(chain)]
    assert 10 * 86_400 < shown["ends_in"] < 10.1 * 86_400
    assert f'shield_certificate_ends_in_seconds{{certificate="{chain}"}} 86' in (await shield.asked("/metrics"))[1]
