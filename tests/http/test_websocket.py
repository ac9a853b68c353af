"""The proof of WebSocket, by the example of RFC 6455 section 1.3."""

from __future__ import annotations

import pytest

from shield.http.websocket import accepted

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
PROOF = b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"


@pytest.mark.parametrize("fields", [[PROOF], [b"Server: x\r\n", PROOF], [PROOF.replace(b"Accept: ", b"ACCEPT:")]])
def test_the_proof_is_found_among_the_fields(fields: list[bytes]) -> None:
    assert accepted(KEY, fields)


@pytest.mark.parametrize(
    "fields", [[], [PROOF, PROOF], [PROOF.replace(b"s3p", b"S3p")], [b"X-" + PROOF], [b"Sec-WebSocket-Accept:\r\n"]]
)
def test_anything_else_is_none(fields: list[bytes]) -> None:
    assert not accepted(KEY, fields)


def test_another_key_wants_another_proof() -> None:
    assert not accepted("AAAAAAAAAAAAAAAAAAAAAA==", [PROOF])
