"""A running Shield that is told of addresses by files: their AS, lists of networks, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.integration.test_rules import HERE, THERE, call, visit
from tests.lookup.databases import asn, write

Client = Callable[..., aiohttp.ClientSession]
Start = Callable[..., Awaitable[Any]]


async def text(shield: Any, path: str) -> str:
    async with aiohttp.ClientSession() as session, session.get(f"http://{shield.admin}{path}") as response:
        return await response.text()


@pytest.mark.parametrize("workers", [1, 2])
async def test_an_as_is_refused_and_a_list_is_read_again(
    workers: int,
    start: Start,
    serve: Callable[..., Awaitable[str]],
    site: web.Application,
    client: Client,
    tmp_path: Path,
) -> None:
    example = asn(64500, "Example Net")
    database = write(tmp_path / "asn.mmdb", "GeoLite2-ASN", {"127.31.7.0/24": example, "198.51.100.0/24": example})
    drop = tmp_path / "drop.txt"
    drop.write_text("127.31.8.0/24 ; SBL1\n127.0.0.1\n")
    shield = await start(
        listen={"workers": workers},
        upstream={"servers": [await serve(site)]},
        identity={"asn": database, "deny_files": [drop]},
    )
    assert [await visit(shield, client, address) for address in (HERE, THERE, "127.0.0.1")] == [200, 403, 200]
    line = await shield.logged("request")
    assert line["asn"] == 64500
    assert (await shield.logged("list_loaded"))["spared"] == ["127.0.0.1"]

    status, answer = await call(shield, "DELETE", f"/api/rules?subject={THERE}&kind=ban&kind=deny&pardon=1")
    assert (status, answer["pardoned"], answer["refusing"]) == (200, 0, [f"identity.deny_files: {drop}"])
    status, answer = await call(shield, "POST", "/api/rules", json={"kind": "deny", "subject": "as64500"})
    assert (status, answer["change"]["subject"]) == (201, "AS64500")
    assert await visit(shield, client, HERE) == 403
    _, said = await call(shield, "GET", f"/api/explain?address={HERE}")
    assert [each["answer"] for each in said["subjects"][-1]["questions"]] == [
        "in AS64500 Example Net",
        "yes: rule 2, deny AS64500, by nobody in particular",
    ]
    await call(shield, "POST", "/api/undo", json={})
    assert await visit(shield, client, HERE) == 200
    status, answer = await call(
        shield, "POST", "/api/rules", json={"kind": "deny", "subject": "AS64500", "here": ["198.51.100.7"]}
    )
    assert (status, "you would lock yourself out" in answer["detail"]) == (422, True)
    status, answer = await call(shield, "POST", "/api/rules", json={"kind": "deny", "subject": "country:XX"})
    assert (status, "identity.country" in answer["detail"]) == (422, True)

    shield.expected.add("list_not_loaded")
    drop.write_text("127.31.8.0/24\n\n127.31.9\n")
    shield.reload()
    await shield.logged("reloaded", count=1 if workers == 1 else 3)
    assert (await shield.logged("list_not_loaded"))["error"] == 'line 3: "127.31.9" is no network'
    assert await visit(shield, client, THERE) == 403
    found = (await shield.status())["lists"][str(drop)]
    assert (found["failed"], found["entries"], found["of"]) == (True, 2, "deny")
    assert f"{drop} cannot be used" in await text(shield, "/readyz")
    assert f'shield_list_failed{{list="{drop}"' in await text(shield, "/metrics")

    drop.write_text("# nobody\n")
    shield.reload()
    await shield.logged("reloaded", count=2 if workers == 1 else 6)
    assert await visit(shield, client, THERE) == 200
    assert "cannot be used" not in await text(shield, "/readyz")
