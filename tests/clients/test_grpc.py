"""grpcio as client and as service, with Shield between them: as directly. It comes with the extra `clients`."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
from typing import Any, Final

import pytest

from tests.clients.conftest import DEADLINE, PROGRAMS

pytestmark = pytest.mark.clients

EXPECTED: Final = {
    "once": str(3 << 20),
    "tail": "t",
    "many": ["0", "1", "2"],
    "gathered": "9",
    "answered": ["<0>", "<1>", "<2>"],
    "failed": ["FAILED_PRECONDITION", "no good", "because"],
    "unknown": "UNIMPLEMENTED",
}


async def test_calls_of_each_kind(launch: Any) -> None:
    if importlib.util.find_spec("grpc") is None:
        pytest.skip("grpcio is not installed")
    async with asyncio.timeout(DEADLINE):
        service = await asyncio.create_subprocess_exec(
            sys.executable, str(PROGRAMS / "grpc_service.py"), stdout=asyncio.subprocess.PIPE
        )
        try:
            assert service.stdout is not None
            port = int(await service.stdout.readline())
            shield = await launch(listen={"h2c": True}, upstream={"servers": [f"h2c://127.0.0.1:{port}"]})
            await shield.begin()
            for where in (port, shield.port):
                client = await asyncio.create_subprocess_exec(
                    sys.executable,
                    str(PROGRAMS / "by_grpcio.py"),
                    f"127.0.0.1:{where}",
                    stdout=asyncio.subprocess.PIPE,
                )
                assert client.stdout is not None
                assert json.loads(await client.stdout.read()) == EXPECTED
                await client.wait()
            await shield.logged("request", count=6, within=DEADLINE)
            assert {line["http"] for line in shield.seen("request")} == {"2"}
        finally:
            service.kill()
            await service.wait()
