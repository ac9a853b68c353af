"""The bench's newcomers get into a site behind Shield as people with a browser do."""

# The bench is beside the package, not in it, so it is imported only after a look for it.
# ruff: noqa: E402

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
if not (ROOT / "bench").is_dir():  # the tests of an installed wheel run without it
    pytest.skip("bench/ is not beside these tests", allow_module_level=True)
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))

from aiohttp import web

from bench.common import guard
from bench.load import users


async def page(request: web.Request) -> web.Response:
    return web.Response(text=request.path)


async def test_a_newcomer_solves_the_challenge_once_and_a_returning_user_never(
    start: Callable[..., Any], serve: Callable[..., Any]
) -> None:
    site = web.Application()
    site.router.add_get("/{path:.*}", page)
    challenge = {"mode": "always", "least_hashes": 256, "most_hashes": 1024}
    shield = await start(challenge=challenge, upstream={"servers": [await serve(site)]})
    now = time.monotonic()
    people = [
        users.Person("127.2.0.1", users.AGENTS[0], "en", [now, now + 0.01], 3, "newcomer"),
        users.Person("127.2.0.2", users.AGENTS[0], "en", [now], 3),
    ]
    result = await users.run(guard.Target("127.0.0.1", shield.port), people)
    newcomer = [row for row in result["samples"] if row["group"] == "newcomer"]
    assert [row["good"] for row in newcomer] == [True] * 8
    assert [row["challenge"] for row in newcomer if row["page"]] == [True, True]
    assert result["cookies"] == [["shield_pass", "shield_pass_wait"], ["shield_pass_wait"]], "who waits gets in, too"
    (refused,) = [row for row in result["samples"] if row["group"] == "returning"]
    assert (refused["good"], refused["challenge"]) == (False, True)
    minted = (await shield.asked("/metrics"))[1]
    assert "shield_challenges_minted_total 3.0" in minted  # a page for each of the three clicks
