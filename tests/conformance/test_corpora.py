"""Other people's requests: the corpus of http-desync-guardian, which gives each a tier. It is not in the repository.

    Compliant    passes, unless our own rules are stricter
    Acceptable   either way, but never as two requests at the origin
    Ambiguous    refused, or passed on in a form with one reading, over a connection that is not used again
    Severe       refused, the connection closed, and nothing reaches the origin

The corpus has no Host, which its own proxy does not look at; HTTP/1.1 needs one, so it is added here where it is
missing. Bodies are added as the head announces them, and a smuggled request behind what is ambiguous.
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conformance.cases import SMUGGLED
from tests.harness import Received, get, shielded

FOLDER = Path(__file__).parents[2].parent / "shared" / "corpora" / "http-desync-guardian"
NO_CORPUS = "the corpus of http-desync-guardian is not here"

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # five times as fast, where it was built
OTHER_CODINGS = "other codings than chunked are refused"
STRICTER = {
    "Different Transfer-Encoding headers": OTHER_CODINGS,
    "Different Transfer-Encoding headers combined": OTHER_CODINGS,
    "Transfer-Encoding with a param: chunked;custom_param": OTHER_CODINGS,
    "Correct TE OK": OTHER_CODINGS,
    "Transfer-Encoding: identity and chunked OK": OTHER_CODINGS,
    "Multiple transfer encoding headers in a single request OK": OTHER_CODINGS,
    "TE with custom parameters OK": OTHER_CODINGS,
    "Compliant URL": "a fragment in the target is refused",
    "International in URI": "a target is ASCII (RFC 3986 section 2)",
    "Empty URI": "a target is not empty (RFC 9112 section 3.2)",
}
"""Requests that the corpus calls compliant and our own rules refuse."""


def _load() -> list[Any]:
    if not FOLDER.is_dir():
        return [pytest.param(None, marks=pytest.mark.skip(reason=NO_CORPUS))]
    cases = []
    for path in sorted(FOLDER.glob("*.yaml")):
        for number, case in enumerate(yaml.load(path.read_text("utf-8"), LOADER)):  # noqa: S506 - it is safe
            cases.append(pytest.param(case, id=f"{path.stem} {number}: {case['name']}"))
    return cases


def _bytes(text: object) -> bytes:
    return "".join(str(text)).encode("utf-8" if any(ord(c) > 255 for c in str(text)) else "latin-1")


def build(case: dict[str, Any]) -> bytes:
    headers = case["headers"] or []
    lines = [b" ".join(_bytes(case[part]) for part in ("method", "uri", "version"))]
    if not any(str(header["name"]).strip().lower() == "host" for header in headers):
        lines.append(b"Host: a.example")
    lines += [_bytes(header["name"]) + b": " + _bytes(header["value"]) for header in headers]
    return b"\r\n".join([*lines, b"", b""])


def _body(head: bytes) -> bytes:
    """The body that a plain reading of `head` announces."""
    length = re.search(rb"(?im)^content-length: *([0-9]+) *\r$", head)
    if re.search(rb"(?im)^transfer-encoding: *chunked *\r$", head):
        return b"0\r\n\r\n"
    return b"x" * min(int(length[1]), 1 << 24) if length else b""


@pytest.mark.parametrize("case", _load())
async def test_desync_guardian(case: dict[str, Any]) -> None:
    tier = case["expected"]["tier"]
    head = build(case)
    async with shielded() as (shield, origin):
        async with await shield.client() as victim, await shield.client() as client:
            assert (await victim.ask(get("/before"))).status == 200
            feeding = asyncio.create_task(
                client.feed(head + _body(head) + (SMUGGLED if tier in ("Ambiguous", "Severe") else b""))
            )
            answer = await client.response(case["method"])
            if tier == "Severe" or (tier == "Compliant" and case["name"] in STRICTER):
                assert answer.status in (400, 413, 501, 505)
            elif tier == "Compliant":
                assert answer.status == 200
            await feeding
            refused = answer.status != 200
            if refused:
                assert answer.get("Connection") == "close"
                assert await client.gone()
            else:
                client.half_close()
                await client.rest()
            assert (await victim.ask(get("/after"))).body == b"GET /after"
        between = [r for r in origin.requests if r.target not in ("/before", "/after")]
        if refused:
            assert between == []
            return
        if tier == "Ambiguous":
            # What we take for a request of its own behind it is one by our reading; the upstream must not be able
            # to read it otherwise, so the connection of the ambiguous one has ended.
            await _ended(origin, between[0])
            between = [r for r in between if r.target != "/smuggled"]
        assert len(between) == 1


async def _ended(origin: Any, request: Received) -> None:
    link = next(link for link in origin.links if request.raw_head in bytes(link.raw))
    await asyncio.wait_for(link.lost.wait(), 5)
    assert bytes(link.raw).endswith(request.raw_head + request.body) or b"chunked" in request.raw_head


def test_what_we_refuse_beyond_the_corpus_is_in_it() -> None:
    if not FOLDER.is_dir():
        pytest.skip(NO_CORPUS)
    names = {param.values[0]["name"] for param in _load() if param.values[0]["expected"]["tier"] == "Compliant"}
    assert names >= set(STRICTER)
