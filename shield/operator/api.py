"""The admin API: what can be asked and changed at run time, as JSON. docs/operating.md says how it is used.

Bodies are JSON objects of at most MAX_BODY bytes, and must say so in Content-Type: a form of a page elsewhere, which a
browser would send to 127.0.0.1 unasked, cannot. There is no CORS, so no script of another origin can ask either. What
is wrong is answered with a problem document (RFC 9457).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
from aiohttp import web

from shield.operator.access import Role
from shield.operator.desk import Asker, Desk, DeskError
from shield.operator.openapi import document

MAX_BODY: Final = 16_384
"""Bytes of a body: the longest wish has 2 KB."""
BODY_SECONDS: Final = 5.0
"""Within which a body is here."""
MOST_NUMBERS: Final = 1000
MOST_SHOWN: Final = 500

Answer = tuple[int, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Call:
    """One thing that can be asked, and by whom."""

    role: Role
    answer: Callable[[Api, web.BaseRequest, Asker], Awaitable[Answer]]


class Api:
    """Answers what is asked of `desk`."""

    __slots__ = ("_desk",)

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def rules(self, request: web.BaseRequest, asker: Asker) -> Answer:
        return 200, self._desk.rules()

    async def add(self, request: web.BaseRequest, asker: Asker) -> Answer:
        return 201, await self._desk.add(await wish(request), asker)

    async def lift(self, request: web.BaseRequest, asker: Asker) -> Answer:
        query = request.query
        numbers = [_number("number", text) for text in query.getall("number", [])[:MOST_NUMBERS]]
        kinds, subject = query.getall("kind", []), query.get("subject", "")
        pardon = query.get("pardon", "") in ("1", "true")
        if not numbers and not kinds and not pardon:
            raise DeskError(422, "Nothing named", "Say which: number=N, or kind=KIND with subject=SUBJECT")
        asker = Asker(asker.name or query.get("author", "")[:64], asker.address)
        here = query.getall("here", [])
        return 200, await self._desk.lift(numbers, subject, kinds, pardon, query.get("note", ""), asker, here)

    async def audit(self, request: web.BaseRequest, asker: Asker) -> Answer:
        limit = _number("limit", request.query.get("limit", "100"))
        return 200, self._desk.audit(min(max(limit, 1), MOST_SHOWN))

    async def undo(self, request: web.BaseRequest, asker: Asker) -> Answer:
        asked = await wish(request)
        return 200, await self._desk.undo(_text(asked, "note"), _named(asker, asked), asked.get("here", []))

    async def reload(self, request: web.BaseRequest, asker: Asker) -> Answer:
        asked = await wish(request)
        return 200, await self._desk.reload(_text(asked, "note"), _named(asker, asked))

    async def openapi(self, request: web.BaseRequest, asker: Asker) -> Answer:
        return 200, document()


CALLS: Final[Mapping[str, Mapping[str, Call]]] = {
    "/api/rules": {
        "GET": Call("read", Api.rules),
        "POST": Call("write", Api.add),
        "DELETE": Call("write", Api.lift),
    },
    "/api/audit": {"GET": Call("read", Api.audit)},
    "/api/undo": {"POST": Call("write", Api.undo)},
    "/api/reload": {"POST": Call("write", Api.reload)},
    "/api/openapi.json": {"GET": Call("read", Api.openapi)},
}


def encoded(answer: Any, indent: bool = False) -> bytes:
    """A value as JSON, also where a client has put what is no UTF-8 into it."""
    option = orjson.OPT_NON_STR_KEYS | (orjson.OPT_INDENT_2 if indent else 0)
    try:
        return orjson.dumps(answer, default=str, option=option)
    except orjson.JSONEncodeError:  # a lone surrogate
        return json.dumps(answer, default=str, indent=2 if indent else None).encode("ascii")


def problem(status: int, title: str, detail: str, **more: Any) -> dict[str, Any]:
    """A problem document."""
    return {"type": "about:blank", "title": title, "status": status, "detail": detail, **more}


async def wish(request: web.BaseRequest) -> dict[str, Any]:
    """The JSON object in a request's body. DeskError when there is none."""
    if request.content_type != "application/json":
        raise DeskError(415, "Not JSON", "Send a JSON object, with Content-Type: application/json")
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise DeskError(415, "Not JSON", "Send the JSON object as it is, without Content-Encoding")
    if (request.content_length or 0) > MAX_BODY:
        raise DeskError(413, "Too large", f"A body has at most {MAX_BODY} bytes")
    data = b""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.content.iter_any():
                data += chunk
                if len(data) > MAX_BODY:
                    raise DeskError(413, "Too large", f"A body has at most {MAX_BODY} bytes")
    except TimeoutError:
        raise DeskError(408, "Too slow", f"A body is to be here within {BODY_SECONDS:.0f} seconds") from None
    except web.RequestPayloadError as error:
        raise DeskError(400, "Not a body", f"The body breaks HTTP: {error}") from None
    try:
        found = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise DeskError(400, "Not JSON", str(error)) from None
    if not isinstance(found, dict):
        raise DeskError(422, "No object", 'Send a JSON object, like {"kind": "ban", "subject": "192.0.2.0/24"}')
    return found


def _text(asked: Mapping[str, Any], name: str) -> str:
    value = asked.get(name, "")
    if not isinstance(value, str):
        raise DeskError(422, "Not understood", f"{name}: a text")
    return value


def _named(asker: Asker, asked: Mapping[str, Any]) -> Asker:
    """Who needs no token says who they are; a token's name is not to be overruled."""
    return Asker(asker.name or _text(asked, "author"), asker.address)


def _number(name: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 12):
        raise DeskError(422, "Not understood", f"{name}: a whole number of at most 11 digits")
    return int(text)
