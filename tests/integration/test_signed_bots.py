"""A bot that signs its requests, and a running Shield with its key in a directory."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from shield.lookup.bot_keys import thumbprint
from tests.integration.test_challenge import CHEAP

pytest.importorskip("http_message_signatures")
ed25519 = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ed25519")


def fields(private: Any, host: str, nonce: str) -> dict[str, str]:
    """A signature over the host, written out as the RFC says."""
    public = private.public_key().public_bytes_raw()
    now = int(time.time())
    covers = f'("@authority");created={now};expires={now + 60};keyid="{thumbprint(public)}";nonce="{nonce}"'
    covers += ';tag="web-bot-auth"'
    signature = private.sign(f'"@authority": {host}\n"@signature-params": {covers}'.encode())
    return {"Signature-Input": f"a={covers}", "Signature": f"a=:{base64.b64encode(signature).decode()}:"}


async def test_a_bot_that_signs_is_let_in_and_named(
    start: Callable[..., Any], serve: Any, site: web.Application, client: Any, tmp_path: Path
) -> None:
    private = ed25519.Ed25519PrivateKey.generate()
    x = base64.urlsafe_b64encode(private.public_key().public_bytes_raw()).rstrip(b"=").decode()
    keys = tmp_path / "bots"
    keys.mkdir()
    (keys / "examplebot.json").write_text(json.dumps({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": x}]}))
    shield = await start(upstream={"servers": [await serve(site)]}, challenge=CHEAP, identity={"bot_keys": str(keys)})
    assert shield.seen("bot_keys_loaded", path=str(keys / "examplebot.json"), keys=1)
    session, host = client(headers={"User-Agent": "examplebot/1.0"}), f"127.0.0.1:{shield.port}"
    signed = fields(private, host, "once")
    for headers, status in ((signed, 200), (signed, 503), (fields(private, "b.example", "x"), 503), ({}, 503)):
        async with session.get(shield.url("/"), headers=headers) as response:
            assert response.status == status
    async with session.get(shield.url("/"), headers=fields(private, host, "again")) as response:
        assert response.status == 200
    line = await shield.logged("request", count=2)
    assert (line["reason"], line["tier"], line["bot"]) == ("crawler", 0, "examplebot")
    counts = (await shield.status())["crawlers"]["examplebot"]
    assert (counts["claims"], counts["confirmed"], counts["refuted"]) == (4, 2, 2)
