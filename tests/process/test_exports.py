"""Telling others who is dropped."""

from __future__ import annotations

import asyncio
import json
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from shield.policy.drops import DropsSettings
from shield.process import exports
from shield.process.exports import Exports, remove, replace

NOW = 1_790_000_000.0
DROPPED = [("192.0.2.7", NOW + 60.0), ("2001:db8::/64", NOW + 120.0), ("192.0.2.8", NOW - 1.0)]
PREFIXES = [("192.0.2.7/32", NOW + 60.0), ("2001:db8::/64", NOW + 120.0)]


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "EXPORT_SECONDS", 0.0)
    monkeypatch.setattr(exports, "AGAIN_SECONDS", 0.01)


def made(events: Any, **settings: Any) -> Exports:
    return Exports(DropsSettings(**settings), [443, 80, 443], lambda: NOW, events.event)


async def soon(what: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not what():
            await asyncio.sleep(0.01)


def prefixes(path: Path) -> list[str]:
    return [each["prefix"] for each in json.loads(path.read_text())["prefixes"]] if path.exists() else []


async def test_a_file_has_the_list_and_is_empty_at_the_end(tmp_path: Path, events: Any) -> None:
    path = tmp_path / "dropped.json"
    told = made(events, export_file=str(path))
    told.show(DROPPED)
    await soon(path.exists)
    assert json.loads(path.read_text()) == {
        "version": 1,
        "time": NOW,
        "flow": {"protocol": 6, "destination_ports": [80, 443], "traffic_rate": 0},
        "prefixes": [{"prefix": prefix, "reason": "ignores_refusals", "expires": until} for prefix, until in PREFIXES],
    }
    assert stat.S_IMODE(path.stat().st_mode) == 0o644, "others are to read it"
    told.show(DROPPED[1:])
    await soon(lambda: prefixes(path) == ["2001:db8::/64"])
    await told.close()
    assert prefixes(path) == []
    await told.close()
    assert events == []


async def test_who_leaves_it_to_another_process_changes_nothing(tmp_path: Path, events: Any) -> None:
    path = tmp_path / "dropped.json"
    told = made(events, export_file=str(path))
    told.show(DROPPED)
    await soon(path.exists)
    await told.close(ended=False)
    told.show([])
    assert prefixes(path) == ["192.0.2.7/32", "2001:db8::/64"]


@pytest.mark.parametrize("settings", [{}, {"export_file": "/nowhere/at/all", "enabled": False}])
async def test_without_somebody_to_tell_nothing_is_done(settings: dict[str, Any], events: Any) -> None:
    told = made(events, **settings)
    told.show(DROPPED)
    await told.close()
    assert events == []


async def test_what_fails_is_told_once_and_tried_again(tmp_path: Path, events: Any) -> None:
    folder = tmp_path / "later"
    told = made(events, export_file=str(folder / "dropped.json"))
    told.show(DROPPED)
    await soon(lambda: events)
    await asyncio.sleep(0.05)  # several times AGAIN_SECONDS
    assert events.names() == ["drops_not_exported"]
    assert events[0][1]["where"] == str(folder / "dropped.json")
    assert events[0][1]["error"] == "No such file or directory"
    folder.mkdir()
    await soon((folder / "dropped.json").exists)
    await told.close()


async def test_a_webhook_gets_the_list(events: Any) -> None:
    """Whatever it answers: only a 2xx is good, and nobody is sent elsewhere."""
    answers = [302, 500, 204]
    got: list[Any] = []

    async def hook(request: web.Request) -> web.Response:
        got.append((request.headers["Content-Type"], (await request.json())["prefixes"]))
        status = answers.pop(0) if answers else 200
        return web.Response(status=status, headers={"Location": "/elsewhere"} if status == 302 else {})

    app = web.Application()
    app.router.add_post("/hook", hook)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook?key=1"
    told = made(events, export_url=url)
    told.show(DROPPED[:1])
    await soon(lambda: not answers)
    await told.close()
    await runner.cleanup()
    sent = [{"prefix": "192.0.2.7/32", "reason": "ignores_refusals", "expires": NOW + 60.0}]
    assert got[:3] == [("application/json", sent)] * 3
    assert got[-1] == ("application/json", [])
    assert [fields["error"] for _, fields in events] == ["it answered 302", "it answered 500"]


@pytest.mark.parametrize(("script", "error"), [("echo no right >&2; exit 1", "no right"), ("exit 1", "nft failed")])
async def test_what_nft_says_is_told(
    script: str, error: str, tmp_path: Path, events: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    nft = tmp_path / "nft"
    nft.write_text(f"#!/bin/sh\n{script}\n")
    nft.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    told = made(events, nftables="shield")
    told.show(DROPPED)
    await soon(lambda: events)
    await told.close(ended=False)
    assert [(fields["where"], fields["error"]) for _, fields in events] == [("nftables shield", error)]


SCRIPT = """
import subprocess, sys
from shield.process.exports import remove, replace, run_nft
now = 1000.0
for prefixes in ([], [("192.0.2.7/32", now + 60), ("192.0.2.0/30", now + 60), ("2001:db8::/64", now + 90)], []):
    run_nft(replace("shield", [80, 443], prefixes, now))
    print(subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True).stdout)
    print("---")
run_nft(remove("shield"))
print(subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True).stdout)
"""


def test_nftables_takes_it(tmp_path: Path) -> None:
    """In a network namespace of its own."""
    command = ["unshare", "-rn", sys.executable, "-c", SCRIPT]
    if not shutil.which("nft", path="/usr/sbin:/sbin:/usr/bin") or not shutil.which("unshare"):
        pytest.skip("nft or unshare is missing")
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(exports.__file__).parents[2])
    if "unshare" in done.stderr or "Operation not permitted" in done.stderr:
        pytest.skip(f"no network namespace can be made here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    empty, full, again, gone = done.stdout.split("---")
    assert "elements" not in empty
    assert "192.0.2.7 timeout 1m" in full
    assert "192.0.2.0/30 timeout 1m" in full
    assert "2001:db8::/64 timeout 1m30s" in full
    assert "ip saddr @dropped4 tcp dport { 80, 443 } drop" in full
    assert "elements" not in again
    assert gone.strip() == ""


def test_a_table_is_replaced_in_one_transaction() -> None:
    commands = replace("shield", [443], [("192.0.2.7/32", 60.4)], 0.0)
    table = {"table": {"family": "inet", "name": "shield"}}
    assert commands[:3] == [{"add": table}, {"delete": table}, {"add": table}], "whatever was there before is gone"
    assert remove("shield") == [{"delete": table}]
    (of_set,) = [each["add"]["set"] for each in commands if "dropped4" in str(each) and "set" in each.get("add", {})]
    assert of_set["elem"] == [{"elem": {"val": "192.0.2.7", "timeout": 60}}]
