"""sd_notify over a real socket."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest

from shield.process.systemd import keep_alive, notify, reloading, watchdog_seconds


@pytest.mark.parametrize("abstract", [False, True])
def test_tells_the_manager(tmp_path: Path, abstract: bool) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        name = f"@{tmp_path}/notify" if abstract else f"{tmp_path}/notify"
        manager.bind(name.replace("@", "\0") if abstract else name)
        assert notify("READY=1", {"NOTIFY_SOCKET": name})
        assert manager.recv(100) == b"READY=1"


@pytest.mark.parametrize("address", ["", "relative", "/nowhere/at/all"])
def test_nobody_listens(address: str) -> None:
    assert not notify("READY=1", {"NOTIFY_SOCKET": address})


async def test_reloading_and_the_watchdog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"{tmp_path}/notify")
        manager.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", f"{tmp_path}/notify")
        assert reloading()
        first, second = manager.recv(100).decode().split("\n")
        assert first == "RELOADING=1"
        assert int(second.removeprefix("MONOTONIC_USEC=")) > 0
        monkeypatch.setenv("WATCHDOG_USEC", "2000")
        monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
        keep_alive()
        for _ in range(3):
            assert await asyncio.get_running_loop().sock_recv(manager, 100) == b"WATCHDOG=1"
        monkeypatch.setenv("WATCHDOG_USEC", "")  # ends it


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, 0.0),
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, 0.0),
        ({"WATCHDOG_USEC": "x"}, 0.0),
    ],
)
def test_how_often_systemd_wants_to_hear(environment: dict[str, str], seconds: float) -> None:
    assert watchdog_seconds(environment) == seconds
