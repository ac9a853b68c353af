"""sd_notify over a real socket."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from shield.process.systemd import notify


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
