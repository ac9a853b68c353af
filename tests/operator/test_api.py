"""The admin API over real sockets: bounds, wrong input, and the OpenAPI document against what is answered."""

from __future__ import annotations

import asyncio
import contextlib
import grp
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from shield.errors import StartError
from shield.operator import api
from shield.operator.access import Access
from shield.operator.api import CALLS, MAX_BODY
from shield.operator.desk import Asker, DeskError
from shield.operator.openapi import document
from shield.operator.server import BANS, CLUSTER, EXPLAIN, HISTORY, RECENT, REPORT, STREAM, AdminServer, AdminSettings
from tests.operator.test_server import View

RULE = {
    "number": 1,
    "kind": "ban",
    "subject": "192.0.2.0/24",
    "value": "",
    "author": "ann",
    "note": "",
    "created": 1.0,
    "expires": 0.0,
}
CHANGE = {
    "number": 2,
    "what": "added",
    "at": 1.0,
    "author": "ann",
    "note": "",
    "subject": "192.0.2.0/24",
    "rule": RULE,
    "before": None,
    "of": 0,
}


class Clerk:
    """A Desk that keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.error: DeskError | None = None

    def rules(self) -> dict[str, Any]:
        return {"rules": [RULE], "kept": True}

    def audit(self, limit: int) -> dict[str, Any]:
        self.asked.append(("audit", limit))
        return {"changes": [CHANGE]}

    async def add(self, wish: Mapping[str, Any], asker: Asker) -> dict[str, Any]:
        return self._done("add", dict(wish), asker.name, asker.address)

    async def lift(
        self,
        numbers: Sequence[int],
        subject: str,
        kinds: Sequence[str],
        pardon: bool,
        note: str,
        asker: Asker,
        here: Any = (),
    ) -> dict[str, Any]:
        self._done("lift", list(numbers), subject, list(kinds), pardon, note, asker.name, *here)
        return {"changes": [CHANGE], "pardoned": 3, "refusing": [], "kept": True}

    async def undo(self, note: str, asker: Asker, here: Any = ()) -> dict[str, Any]:
        return self._done("undo", note, asker.name, *here)

    async def reload(self, note: str, asker: Asker) -> dict[str, Any]:
        self._done("reload", note, asker.name)
        return {"reloaded": True}

    def _done(self, *asked: Any) -> dict[str, Any]:
        if self.error is not None:
            raise self.error
        self.asked.append(asked)
        return {"change": CHANGE, "kept": False}


@contextlib.asynccontextmanager
async def served(clerk: Clerk | None = None, **settings: Any) -> AsyncIterator[AdminServer]:
    made = AdminSettings(**{"address": "127.0.0.1:0", **settings})
    server = AdminServer(made, View(), desk=clerk or Clerk(), access=Access(made.token_file))
    await server.start()
    try:
        yield server
    finally:
        await server.close()


async def ask(server: AdminServer, method: str, path: str, **more: Any) -> tuple[int, Any, Mapping[str, str]]:
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, f"http://{server.address}{path}", **more) as response,
    ):
        found = await response.json(content_type=None) if "json" in response.content_type else None
        return response.status, found, response.headers


def fits(value: Any, schema: Mapping[str, Any], where: str = "") -> None:
    """A small JSON Schema, as much as the document uses."""
    known = {"type", "properties", "required", "items", "enum", "anyOf", "const", "$ref", "minimum", "maximum"}
    said = {"description", "examples", "maxLength", "maxItems", "additionalProperties"}
    assert schema.keys() <= known | said, where
    if "$ref" in schema:
        name = schema["$ref"].removeprefix("#/components/schemas/")
        return fits(value, document()["components"]["schemas"][name], f"{where}:{name}")
    if "anyOf" in schema:
        assert any(each == {"type": "null"} for each in schema["anyOf"])
        return None if value is None else fits(value, schema["anyOf"][0], where)
    if "enum" in schema:
        assert value in schema["enum"], where
    if "const" in schema:
        assert value == schema["const"], where
    kinds = {"string": str, "number": (int, float), "integer": int, "boolean": bool, "object": dict, "array": list}
    if "type" in schema:
        assert isinstance(value, kinds[schema["type"]]), (where, value)
    if "minimum" in schema:
        assert value >= schema["minimum"], where
    if schema.get("type") == "object":
        assert set(schema.get("required", ())) <= value.keys(), (where, value)
        if "properties" in schema:
            for name, inner in value.items():
                assert name in schema["properties"], f"{where}.{name} is not in the document"
                fits(inner, schema["properties"][name], f"{where}.{name}")
    if schema.get("type") == "array":
        for each in value:
            fits(each, schema["items"], f"{where}[]")
    return None


QUERIES = {("/api/rules", "DELETE"): "?number=1"}


@pytest.mark.parametrize(("path", "method"), [(path, method) for path in CALLS for method in CALLS[path]])
async def test_each_call_is_answered_as_the_document_says(path: str, method: str) -> None:
    said = document()["paths"][path][method.lower()]
    async with served() as server:
        body = {"json": {"kind": "ban", "subject": "192.0.2.0/24"}} if path == "/api/rules" else {"json": {}}
        query = QUERIES.get((path, method), "")
        status, answer, headers = await ask(server, method, path + query, **(body if method == "POST" else {}))
    assert headers["Content-Type"].startswith("application/json")
    assert headers["Cache-Control"] == "no-store"
    assert "Access-Control-Allow-Origin" not in headers
    fits(answer, said["responses"][str(status)]["content"]["application/json"]["schema"])


async def test_the_document_has_all_calls_and_no_others() -> None:
    async with served() as server:
        status, said, _ = await ask(server, "GET", "/api/openapi.json")
    assert (status, said["openapi"]) == (200, "3.1.0")
    calls = {(path, method.lower()) for path in CALLS for method in CALLS[path]}
    calls |= {(path, "get") for path in (EXPLAIN, BANS, CLUSTER, RECENT, HISTORY, STREAM, REPORT)}
    assert {(path, method) for path, each in said["paths"].items() for method in each} == calls
    schemas = said["components"]["schemas"]
    assert {name for name in schemas if f'"#/components/schemas/{name}"' not in str(said).replace("'", '"')} == set()


async def test_what_is_asked_reaches_the_desk() -> None:
    clerk = Clerk()
    async with served(clerk) as server:
        wish = {"kind": "ban", "subject": "192.0.2.7", "seconds": 60}
        assert (await ask(server, "POST", "/api/rules", json=wish))[0] == 201
        await ask(server, "DELETE", "/api/rules?number=3&number=4&note=enough&author=bob")
        await ask(server, "DELETE", "/api/rules?subject=192.0.2.7&kind=ban&kind=deny&pardon=1")
        await ask(server, "POST", "/api/undo", json={"note": "too much", "author": "bob"})
        await ask(server, "POST", "/api/reload", json={})
        await ask(server, "GET", "/api/audit?limit=7")
        await ask(server, "GET", "/api/audit?limit=99999")
    assert clerk.asked == [
        ("add", wish, "", "127.0.0.1"),
        ("lift", [3, 4], "", [], False, "enough", "bob"),
        ("lift", [], "192.0.2.7", ["ban", "deny"], True, "", ""),
        ("undo", "too much", "bob"),
        ("reload", "", ""),
        ("audit", 7),
        ("audit", 500),
    ]


@pytest.mark.parametrize(
    ("method", "path", "more", "status"),
    [
        ("POST", "/api/rules", {"data": b"{}", "headers": {"Content-Type": "text/plain"}}, 415),
        ("POST", "/api/rules", {"data": {"kind": "ban"}}, 415),
        ("POST", "/api/rules", {"data": b"{", "headers": {"Content-Type": "application/json"}}, 400),
        ("POST", "/api/rules", {"json": []}, 422),
        ("POST", "/api/undo", {"json": {"note": 1}}, 422),
        ("POST", "/api/undo", {"json": {"author": []}}, 422),
        ("POST", "/api/rules", {"json": {"note": "x" * MAX_BODY}}, 413),
        ("DELETE", "/api/rules", {}, 422),
        ("DELETE", "/api/rules?number=-1", {}, 422),
        ("GET", "/api/audit?limit=many", {}, 422),
        ("PUT", "/api/rules", {}, 405),
        ("OPTIONS", "/api/rules", {}, 405),
        ("POST", "/api/openapi.json", {"json": {}}, 405),
    ],
)
async def test_what_is_wrong_is_a_problem_document(method: str, path: str, more: Any, status: int) -> None:
    clerk = Clerk()
    async with served(clerk) as server:
        found, problem, headers = await ask(server, method, path, **more)
    assert (found, problem["status"], headers["Content-Type"]) == (status, status, "application/problem+json")
    fits(problem, document()["components"]["schemas"]["Problem"])
    assert problem["detail"]
    assert clerk.asked == []


async def chunks() -> AsyncIterator[bytes]:
    for _ in range(5):
        yield b" " * 4096


async def test_a_body_without_a_length_is_bounded_too() -> None:
    async with served() as server:
        more = {"data": chunks(), "headers": {"Content-Type": "application/json"}}
        assert (await ask(server, "POST", "/api/rules", **more))[0] == 413


async def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "BODY_SECONDS", 0.05)
    async with served() as server:
        reader, writer = await asyncio.open_connection(*server.address.rsplit(":", 1))
        fields = "Host: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n"
        writer.write(f"POST /api/undo HTTP/1.1\r\n{fields}".encode())
        assert (await reader.readline()).startswith(b"HTTP/1.1 408")
        writer.close()


@pytest.mark.parametrize(
    ("fields", "body", "status"),
    [
        ("Content-Encoding: gzip\r\nContent-Length: 2\r\n", b"{}", 415),
        ("Content-Encoding: deflate\r\nContent-Length: 9\r\n", b"\x78\x9cnothing", 415),
        ("Transfer-Encoding: chunked\r\n", b"2\r\n{}\r\nZ\r\n", 400),
    ],
)
async def test_a_body_that_is_compressed_or_broken_is_no_fault_of_shield(fields: str, body: bytes, status: int) -> None:
    clerk = Clerk()
    async with served(clerk) as server:
        reader, writer = await asyncio.open_connection(*server.address.rsplit(":", 1))
        head = f"POST /api/undo HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{fields}\r\n"
        writer.write(head.encode() + body)
        assert int((await reader.readline()).split()[1]) == status
        writer.close()
    assert clerk.asked == []


async def test_what_the_desk_refuses() -> None:
    clerk = Clerk()
    clerk.error = DeskError(409, "Refused", "you would lock yourself out", mistakes=["line 1"])
    async with served(clerk) as server:
        status, problem, _ = await ask(server, "POST", "/api/rules", json={})
    assert (status, problem["detail"]) == (409, "you would lock yourself out")
    assert problem["mistakes"] == ["line 1"]


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_a_page_of_another_site_changes_nothing(site: str) -> None:
    clerk = Clerk()
    async with served(clerk) as server:
        more = {"json": {}, "headers": {"Sec-Fetch-Site": site}}
        assert (await ask(server, "POST", "/api/undo", **more))[0] == 403
        assert (await ask(server, "POST", "/api/undo", json={}, headers={"Host": "attacker.example"}))[0] == 421
        assert clerk.asked == []
        more["headers"]["Sec-Fetch-Site"] = "same-origin"
        assert (await ask(server, "POST", "/api/undo", **more))[0] == 200


async def test_who_comes_through_a_proxy_needs_a_token(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(f"write {'w' * 32} alice\nread {'r' * 32}\n")
    tokens.chmod(0o600)
    clerk = Clerk()
    async with served(clerk, token_file=str(tokens)) as server:

        async def through(method: str, path: str, token: str = "") -> tuple[int, Mapping[str, str]]:
            headers = {"X-Forwarded-For": "192.0.2.1"} | ({"Authorization": f"Bearer {token}"} if token else {})
            more = {"json": {"author": "mallory"}} if method == "POST" else {}
            status, _, answered = await ask(server, method, path, headers=headers, **more)
            return status, answered

        status, headers = await through("GET", "/api/rules")
        assert (status, headers["WWW-Authenticate"]) == (401, 'Bearer realm="Shield"')
        assert (await through("GET", "/api/status"))[0] == 401
        assert (await through("GET", "/api/status", "r" * 32))[0] == 200
        assert (await through("POST", "/api/undo", "r" * 32))[0] == 403
        assert (await through("POST", "/api/undo", "w" * 32))[0] == 200
        async with aiohttp.ClientSession() as session:
            url = f"http://{server.address}/healthz"
            assert (await session.get(url, headers={"X-Forwarded-For": "192.0.2.1"})).status == 200
    assert clerk.asked == [("undo", "", "alice")]


@pytest.mark.parametrize(
    "field", ["Forwarded", "Via", "X-Real-IP", "X-Forwarded-Host", "X-Client-IP", "CF-Connecting-IP", "True-Client-IP"]
)
async def test_a_proxy_is_known_by_any_field_that_tells_of_a_client(field: str) -> None:
    clerk = Clerk()
    async with served(clerk) as server:
        assert (await ask(server, "POST", "/api/undo", json={}, headers={field: "192.0.2.1"}))[0] == 403
    assert clerk.asked == []


async def test_without_a_desk_there_is_nothing_to_change() -> None:
    server = AdminServer(AdminSettings(address="127.0.0.1:0"), View())
    await server.start()
    async with aiohttp.ClientSession() as session:
        assert (await session.get(f"http://{server.address}/api/rules")).status == 404
        assert (await session.post(f"http://{server.address}/api/rules", json={})).status == 405
    await server.close()


async def test_a_group_may_open_the_socket(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    group = grp.getgrgid(os.getgid()).gr_name
    async with served(address=f"unix:{path}", group=group):
        found = path.stat()
        assert (found.st_mode & 0o777, found.st_gid) == (0o660, os.getgid())
    with pytest.raises(StartError, match="there is no group nobodys-group"):
        await AdminServer(AdminSettings(address=f"unix:{path}", group="nobodys-group"), View()).start()
    (complaint,) = AdminSettings(group=group).complaints()
    assert complaint[0] == ("group",)
