"""Passes that come with a document."""

from __future__ import annotations

from typing import Any

import pytest

from shield.exchange.earned import EarnedPasses, document_of
from shield.operator.metrics import Metrics
from shield.policy.request import Request
from tests.harness import PermissiveEngine, request_head

PAGE = b"Content-Type: text/html; charset=utf-8\r\n"


def fields_for(fields: list[bytes], method: str = "GET", anywhere: bool = False, grant: str = "token") -> list[bytes]:
    engine: Any = PermissiveEngine()
    engine.grants = {"/": grant} if grant else {}
    metrics = Metrics()
    earned = EarnedPasses(engine, metrics, lambda token, secure: f"{token} {secure}".encode(), anywhere)
    head = request_head(method)
    request = Request(engine.identify("192.0.2.1", "", "", "", 0.0), method, "/", {}, None, False, None)
    given = earned.fields(request, head, fields, True, 0.0)
    assert metrics.passes_granted["earned"] == bool(given)
    return given


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ([], (False, False)),
        ([PAGE], (True, False)),
        ([b"content-type: image/png\r\n"], (False, False)),
        ([PAGE, b"SET-COOKIE: a=b\r\n"], (True, True)),
        ([PAGE, b"Cache-Control: max-age=0, no-cache\r\n"], (True, True)),
        ([PAGE, b"Cache-Control: private\r\n"], (True, True)),
        ([PAGE, b"Cache-Control: no-store\r\n"], (True, True)),
        ([PAGE, b"Cache-Control: max-age=60\r\n"], (True, False)),
        ([PAGE, b"Cache-Control: private\r\n", b"Cache-Control: max-age=60\r\n"], (True, True)),
    ],
)
def test_documents_are_known_by_their_fields(fields: list[bytes], found: tuple[bool, bool]) -> None:
    assert document_of(fields) == found


def test_a_pass_comes_with_a_document_that_no_shared_cache_keeps() -> None:
    private = [PAGE, b"Cache-Control: private\r\n"]
    assert fields_for(private) == [b"Set-Cookie: token True\r\n"]
    assert fields_for([PAGE]) == []
    assert fields_for([PAGE], anywhere=True) == [b"Cache-Control: private\r\n", b"Set-Cookie: token True\r\n"]
    assert fields_for([b"Cache-Control: private\r\n"]) == []
    assert fields_for(private, method="POST") == []
    assert fields_for(private, grant="") == []
