"""h2spec, which sends what RFC 9113 and RFC 7541 forbid, where it is on PATH:

go install github.com/summerwind/h2spec/cmd/h2spec@latest

It is of 2020, after RFC 7540. What it finds otherwise than it wants is named here, and why it may stay.
"""

from __future__ import annotations

import asyncio
import re
import shutil
from typing import Any, Final

import pytest

from tests.clients import site
from tests.clients.conftest import DEADLINE

pytestmark = pytest.mark.clients

PRIORITIES: Final = "RFC 9113 section 5.3.2: priorities of RFC 7540 are gone, and Shield says so in its SETTINGS"
CLOSED: Final = (
    "libnghttp2 drops what comes for a stream that is gone, as who has reset it must for a while (RFC 9113 section "
    "5.1). It costs the client's budget (calm.py), and the service sees nothing of it"
)
DIFFERENCES: Final = {
    "closed: Sends a DATA frame after sending RST_STREAM frame": CLOSED,
    "closed: Sends a HEADERS frame after sending RST_STREAM frame": CLOSED,
    "closed: Sends a DATA frame": CLOSED,
    "closed: Sends a HEADERS frame": CLOSED,
    "Sends stream identifier that is numerically smaller than previous": CLOSED,
    "Sends PRIORITY frame that depend on itself": PRIORITIES,
    "Sends a PRIORITY frame with 0x0 stream identifier": PRIORITIES,
    "Sends multiple WINDOW_UPDATE frames increasing the flow control window to above 2^31-1 on a stream": (
        "ends the connection, which RFC 9113 section 5.4.2 allows for any error of a stream"
    ),
}


async def test_what_h2spec_finds(launch: Any, serve: Any) -> None:
    if shutil.which("h2spec") is None:
        pytest.skip("h2spec is not installed")
    shield = await launch(
        listen={"h2c": True},
        upstream={"servers": [await serve(site.app())]},
        identity={"allow": ["127.0.0.1/32"]},  # it breaks the protocol a hundred times
    )
    await shield.logged("started", within=DEADLINE)
    await shield.begin()
    command = ("h2spec", "-h", "127.0.0.1", "-p", str(shield.port), "-P", "/item/1", "--timeout", "10")
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    async with asyncio.timeout(10 * DEADLINE):
        said, _ = await process.communicate()
    text = said.decode("utf-8", "replace")
    assert re.search(r"^145 tests, ", text, re.MULTILINE), text[-500:]
    found = set(re.findall(r"^ *\xd7 \d+: (.*)$", text, re.MULTILINE))
    assert found == set(DIFFERENCES)
