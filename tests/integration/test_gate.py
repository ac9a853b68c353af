"""A running Shield that another proxy asks; tests/clients/test_gate.py has the proxies themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.test_challenge import CHEAP, PROGRAM, solved


@pytest.mark.parametrize("proxy", ["nginx", "caddy"])
async def test_a_newcomer_is_challenged_solves_and_is_let_through(
    start: Callable[..., Any], client: Any, proxy: str
) -> None:
    shield = await start(
        listen={"gate": True, "trusted_proxies": ["127.0.0.1"]}, challenge=CHEAP, limits={"honeypots": ["/trap"]}
    )
    session = client(headers={**PROGRAM, "X-Forwarded-For": "192.0.2.7", "Host": "shop.example"}, jar=False)
    names = ("X-Original-Method", "X-Original-URI") if proxy == "nginx" else ("X-Forwarded-Method", "X-Forwarded-Uri")
    told = {"X-Forwarded-Host": "shop.example", names[0]: "GET"}

    async def ask(path: str, **more: str) -> tuple[int, Any]:
        """What the client gets in the end: nginx asks a second time."""
        fields = {**told, names[1]: path, **{name.replace("_", "-"): text for name, text in more.items()}}
        async with session.get(shield.url(f"/shield-gate/{proxy}"), headers=fields) as response:
            if response.status not in (401, 403) or proxy != "nginx":
                return response.status, await response.json(content_type=None) if response.status >= 400 else None
            verdict = response.headers["X-Shield-Verdict"]
        async with session.get(shield.url(path), headers={"X-Shield-Verdict": verdict}) as response:
            return response.status, await response.json(content_type=None)

    status, problem = await ask("/page?x")
    assert (status, problem["reason"]) == (503, "challenge_always")
    async with session.post(shield.url("/.well-known/shield/answer"), json=solved(problem["challenge"])) as response:
        assert response.status == 200
        token = (await response.json())["pass"]
    assert await ask("/page?x", Shield_Pass=token) == (200, None)
    status, problem = await ask("/trap", Shield_Pass=token)
    assert (status, problem["reason"]) == (403, "honeypot")
    await shield.logged("request", path="/page")
    lines = [(line["event"], line["path"], line["reason"], line["status"]) for line in shield.lines if "tier" in line]
    assert lines == [("refused", "/page", "challenge_always", 503), ("request", "/page", "ok", 200)]
    status = await shield.status()
    assert status["challenges"] == {"minted": 1, "redeemed": {"accepted": 1}}
    assert (await shield.asked("/readyz"))[0] == 200, "no server is needed"
