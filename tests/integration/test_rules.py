"""The operator's rules in running Shields, with one worker and with two."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

Client = Callable[..., aiohttp.ClientSession]
Start = Callable[..., Awaitable[Any]]

HERE, THERE = "127.31.7.1", "127.31.8.1"


@pytest.fixture
async def origin(serve: Callable[..., Awaitable[str]], site: web.Application) -> str:
    return await serve(site)


async def call(shield: Any, method: str, path: str, **more: Any) -> tuple[int, dict[str, Any]]:
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session,
        session.request(method, f"http://{shield.admin}{path}", **more) as response,
    ):
        return response.status, json.loads(await response.text())


async def visit(shield: Any, client: Client, address: str) -> int:
    async with client(address, jar=False).get(shield.url("/page")) as response:
        return response.status


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_ban_holds_in_every_worker_and_over_all_that_may_happen(
    workers: int, start: Start, launch: Start, origin: str, client: Client, tmp_path: Path
) -> None:
    settings = {
        "listen": {"workers": workers},
        "upstream": {"servers": [origin]},
        "state": {"directory": tmp_path / "state"},
    }
    shield = await start(**settings)
    assert [await visit(shield, client, address) for address in (HERE, THERE)] == [200, 200]

    wish = {"kind": "ban", "subject": "127.31.7.0/24", "seconds": 600, "note": "scrapes", "author": "ann"}
    status, answer = await call(shield, "POST", "/api/rules", json=wish)
    assert (status, answer["kept"]) == (201, True)
    line = await shield.logged("rule_added")
    assert (line["author"], line["note"], line["subject"]) == ("ann", "scrapes", "127.31.7.0/24")
    assert [await visit(shield, client, address) for address in (HERE, THERE)] == [403, 200]

    shield.reload(history={"windows": 3})
    await shield.logged("reloaded", count=1 if workers == 1 else 3)
    assert await visit(shield, client, HERE) == 403

    if workers == 2:  # whichever worker serves it
        for worker in (await shield.status())["workers"]:
            os.kill(worker["pid"], signal.SIGKILL)
        await shield.until(lambda status: all(each["restarts"] == 1 and each["answers"] for each in status["workers"]))
        assert await visit(shield, client, HERE) == 403

    assert (await call(shield, "GET", "/api/audit"))[1]["changes"][0]["author"] == "ann"
    assert await shield.end() == 0

    again = await start(**settings)
    assert await visit(again, client, HERE) == 403
    status, answer = await call(again, "POST", "/api/undo", json={"author": "bob"})
    assert (status, answer["change"]["what"]) == (200, "undone")
    assert await visit(again, client, HERE) == 200
    assert (await call(again, "GET", "/api/rules"))[1]["rules"] == []


@pytest.mark.parametrize("workers", [1, 2])
async def test_what_holds_for_everybody_is_changed_and_seen(
    workers: int, start: Start, origin: str, client: Client
) -> None:
    shield = await start(
        listen={"workers": workers, "trusted_proxies": ["10.0.0.0/8"]} if workers == 1 else {"workers": workers},
        upstream={"servers": [origin]},
        identity={"deny": ["127.31.7.0/24"]},
    )
    assert await visit(shield, client, HERE) == 403
    await call(shield, "POST", "/api/rules", json={"kind": "dry_run", "value": "on"})
    assert (await shield.status())["dry_run"] is True
    assert await visit(shield, client, HERE) == 200
    await call(shield, "DELETE", "/api/rules?kind=dry_run")
    assert (await shield.status())["dry_run"] is False

    await call(shield, "POST", "/api/rules", json={"kind": "pressure", "value": "0.5"})
    await shield.until(lambda status: all(each["attack"] for each in status.get("workers", [status])))
    assert await visit(shield, client, THERE) == 503
    await call(shield, "POST", "/api/rules", json={"kind": "challenge", "subject": "/page", "value": "never"})
    assert await visit(shield, client, THERE) == 200

    if workers == 1:
        status, answer = await call(shield, "POST", "/api/rules", json={"kind": "ban", "subject": "10.1.0.0/16"})
        assert (status, "listen.trusted_proxies" in answer["detail"]) == (422, True)


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_ban_is_tried_before_it_holds(
    workers: int, start: Start, origin: str, client: Client, tmp_path: Path
) -> None:
    """The story: an operator is not sure whether only scrapers come from a network. The ban is tried, and made later
    with the same command."""
    settings = {
        "listen": {"workers": workers},
        "upstream": {"servers": [origin]},
        "state": {"directory": tmp_path / "state"},
    }
    shield = await start(**settings)
    wish = {"kind": "ban", "subject": "127.31.7.0/24", "dry_run": True, "author": "ann"}
    status, answer = await call(shield, "POST", "/api/rules", json=wish)
    rule = answer["change"]["rule"]
    assert (status, rule["dry_run"]) == (201, True)
    assert (await shield.logged("rule_added"))["dry_run"] is True
    visits = [await visit(shield, client, address) for address in (HERE, "127.31.7.2", "127.31.7.2", THERE)]
    assert visits == [200] * 4
    number = str(rule["number"])
    seen = await shield.until(lambda status: status["rules_tried"][number]["requests"] == 3)
    assert seen["rules_tried"][number] == {"requests": 3, "visitors": 2, "known": 0}
    assert (seen["would"]["ban"]["requests"], "ban" in seen["requests"]) == (3, False)
    assert seen["requests"]["ban_dry_run"] == {"operator_banned": 3}
    asked = (await call(shield, "GET", f"/api/explain?address={HERE}"))[1]["subjects"][0]["questions"]
    (tried,) = [each for each in asked if each["question"] == "Is a rule of yours tried on it?"]
    assert tried["numbers"]["rule"] == rule["number"]
    async with aiohttp.ClientSession() as session, session.get(f"http://{shield.admin}/metrics") as response:
        assert f'shield_rule_would_requests{{rule="{number}"' in await response.text()
    status, answer = await call(shield, "POST", "/api/rules", json={"kind": "allow", "subject": HERE, "dry_run": True})
    assert (status, "what can be tried is ban, deny" in answer["detail"]) == (422, True)
    status, answer = await call(shield, "POST", "/api/rules", json={**wish, "dry_run": "yes"})
    assert (status, answer["detail"]) == (422, "dry_run: true or false")

    assert await shield.end() == 0
    again = await start(**settings)
    assert await visit(again, client, HERE) == 200
    await call(again, "POST", "/api/rules", json={**wish, "dry_run": False})
    assert [rule.get("dry_run") for rule in (await call(again, "GET", "/api/rules"))[1]["rules"]] == [None]
    assert await visit(again, client, HERE) == 403
    assert (await again.status())["rules_tried"] == {}


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_config_is_read_again_and_the_answer_says_what_came_of_it(
    workers: int, start: Start, origin: str
) -> None:
    shield = await start(listen={"workers": workers}, upstream={"servers": [origin]})
    assert (await call(shield, "POST", "/api/reload", json={"author": "ann"}))[0] == 200
    await shield.logged("reloaded")
    shield.expected.add("reload_refused")
    shield.config.write_text("[listen]\nbacklog = 0\n")
    status, answer = await call(shield, "POST", "/api/reload", json={})
    assert status == 409
    assert "listen.backlog" in answer["mistakes"][0]
    assert (await call(shield, "GET", "/api/audit"))[1]["changes"][0]["what"] == "reloaded"


async def test_bans_that_shield_made_by_itself_are_lifted(start: Start, origin: str, client: Client) -> None:
    shield = await start(upstream={"servers": [origin]}, limits={"honeypots": ["/trap"]}, listen={"workers": 2})
    session = client(HERE, headers={"User-Agent": "Tool/1.0"})
    async with session.get(shield.url("/trap")) as response:
        assert response.status == 403
    async with session.get(shield.url("/page")) as response:
        assert response.status == 403
    answer = (await call(shield, "GET", "/api/bans"))[1]
    assert ([ban["address"] for ban in answer["bans"]], answer["total"]) == ([HERE], 1)
    status, answer = await call(shield, "DELETE", f"/api/rules?subject={HERE}&kind=ban&kind=deny&pardon=1")
    assert (status, answer["pardoned"]) == (200, 1)
    async with session.get(shield.url("/page")) as response:
        assert response.status == 200


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_second_shield_on_the_same_state_is_refused(
    workers: int, start: Start, launch: Start, origin: str, tmp_path: Path
) -> None:
    settings = {
        "listen": {"workers": workers},
        "upstream": {"servers": [origin]},
        "state": {"directory": tmp_path / "state"},
    }
    first = await start(**settings)
    second = await launch(**settings)
    assert await second.ended() == 3
    assert "stop that one first, or give this one a directory of its own" in second.text[-1]
    assert await first.end() == 0
    again = await start(**settings)
    assert again.seen("started")


@pytest.mark.parametrize("workers", [1, 2])
async def test_an_api_key_is_made_used_and_revoked(
    workers: int, start: Start, serve: Callable[..., Awaitable[str]], client: Client, tmp_path: Path
) -> None:
    seen: list[str | None] = []

    async def show(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Shield-Key"))
        return web.Response()

    site = web.Application()
    site.router.add_get("/show", show)
    settings = {
        "listen": {"workers": workers},
        "upstream": {"servers": [await serve(site)]},
        "challenge": {"mode": "always"},
        "identity": {"tell_api_keys": True},
        "state": {"directory": tmp_path / "state"},
    }
    shield = await start(**settings)

    async def asked(key: str, shield: Any = shield) -> int:
        headers = {"Shield-Key": key, "User-Agent": "program/1"}
        async with client("127.0.0.1", headers=headers, jar=False).get(shield.url("/show")) as response:
            told = response.headers.get("RateLimit-Policy"), "RateLimit" in response.headers
            assert told == (('"pass_rate";q=50;w=10', True) if response.status == 200 else (None, False))
            return response.status

    assert await asked("none") == 503
    status, made = await call(shield, "POST", "/api/rules", json={"kind": "key", "subject": "billing", "value": "5/50"})
    assert (status, made["kept"]) == (201, True)
    assert [await asked(made["key"]) for _ in range(4)] == [200] * 4, "whichever worker serves it"
    assert seen == [made["key"]] * 4, "the service may want to know the program, too"
    (rule,) = (await call(shield, "GET", "/api/rules"))[1]["rules"]
    assert (rule["subject"], made["key"] in str(rule)) == ("billing", False)
    assert await shield.end() == 0

    again = await start(**settings)
    assert await asked(made["key"], again) == 200
    assert (await call(again, "DELETE", "/api/rules?kind=key&subject=billing"))[0] == 200
    assert await asked(made["key"], again) == 503
    assert (await call(again, "POST", "/api/undo", json={}))[1]["change"]["what"] == "undone"
    assert await asked(made["key"], again) == 200
