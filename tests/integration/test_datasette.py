"""An application nobody here wrote: datasette over a database built here. Through Shield it is the same application."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import aiohttp
import pytest

PEOPLE = 5_000
TOO_LARGE_FOR_A_READ = 300_000
"""Bytes of the CSV file: more than one read of a socket brings."""

SAME = ("Content-Type", "Content-Length", "Cache-Control", "Location", "Link", "Vary", "ETag", "Content-Disposition")


@pytest.fixture(scope="module")
def datasette(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a datasette with a table of people, and a form that adds one."""
    folder = tmp_path_factory.mktemp("datasette")
    with sqlite3.connect(folder / "town.db") as database:
        database.execute("create table people (id integer primary key, name text, street text, note text)")
        rows = ((n, f"Zoë {n}", f"{n % 97} Rue de l'Été", "“quoted”, and more " * 3) for n in range(1, PEOPLE + 1))
        database.executemany("insert into people values (?, ?, ?, ?)", rows)
        database.execute("create table visitors (name text)")
    database.close()
    add = {"sql": "insert into visitors (name) values (:name)", "write": True}
    (folder / "metadata.json").write_text(json.dumps({"databases": {"town": {"queries": {"visit": add}}}}))
    options = ("-p", "0", "--metadata", "metadata.json", "--setting", "default_cache_ttl", "60")
    process = subprocess.Popen(
        (sys.executable, "-m", "datasette", "serve", "town.db", *options),
        cwd=folder,
        env={**os.environ, "PYTHONWARNINGS": "ignore", "HOME": str(folder)},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                yield found[0]
                break
        else:
            pytest.fail("".join(said))
    finally:
        process.terminate()
        process.communicate(timeout=20)


async def fetch(session: aiohttp.ClientSession, url: str, **options: Any) -> tuple[int, dict[str, str], bytes]:
    method = options.pop("method", "GET")
    async with session.request(method, url, allow_redirects=False, **options) as response:
        fields = {name: response.headers[name] for name in SAME if name in response.headers}
        return response.status, fields, await response.read()


PAGES = (
    "/town",
    "/town/people",
    "/town/people?_size=5&_next=5",
    "/town/people/17",
    "/town/people?name__contains=Zo%C3%AB+99&_sort_desc=id",
    "/town?sql=select+count(*)+from+people",
    "/-/static/app.css",
    "/town/nothing",
    "/town/people/",
    "/-/metadata.json",
    "/town/people.json?_shape=array&_size=1000",
    "/town/people.json?id__gt=4990",
    "/town.json?sql=select+*+from+nowhere",
    "/town/people.csv?_size=10",
    "/town/people.csv?_stream=on",
)


TIMES = re.compile(rb'(Queries took|"query_ms":) ?[\d.e-]+|(Many|5,000) rows')
"""What differs by the time that a query took. Rows that it could not count in time, datasette calls many."""


async def test_pages_json_and_streamed_csv_are_those_fetched_directly(
    datasette: str, start: Callable[..., Any], client: Callable[..., aiohttp.ClientSession]
) -> None:
    shield = await start(upstream={"servers": [datasette]})
    session = client()
    for path in PAGES:
        direct, shielded = await asyncio.gather(
            fetch(session, datasette + path, headers={"Host": shield.address}), fetch(session, shield.url(path))
        )
        timeless = [(s, f, TIMES.sub(b"", b)) for s, f, b in (direct, shielded)]
        for fields in (timeless[0][1], timeless[1][1]):
            if "text/html" in fields.get("Content-Type", "") or "json" in fields.get("Content-Type", ""):
                fields.pop("Content-Length", None)  # the time that a query took is part of those
        assert timeless[0] == timeless[1], path
    head = await fetch(session, shield.url("/town/people.json"), method="HEAD")
    assert (head[0], head[2]) == (200, b"")

    status, fields, body = await fetch(session, shield.url("/town/people.csv?_stream=on"))
    assert status == 200
    assert "Content-Length" not in fields, "streamed"
    assert len(body) > TOO_LARGE_FOR_A_READ
    rows = list(csv.DictReader(io.StringIO(body.decode())))
    assert [int(row["id"]) for row in rows] == list(range(1, PEOPLE + 1))
    calm = await shield.status()
    assert calm["requests"] == {"forward": {"ok": len(PAGES) + 2}}


async def test_forms_are_posted_as_by_a_browser(
    datasette: str, start: Callable[..., Any], client: Callable[..., aiohttp.ClientSession]
) -> None:
    shield = await start(upstream={"servers": [datasette]})
    session = client()
    _, _, form = await fetch(session, shield.url("/town/visit"))
    token = re.search(rb'name="csrftoken" value="([^"]+)"', form)
    assert token is not None
    data = {"name": "Ünal", "csrftoken": token[1].decode()}
    status, fields, _ = await fetch(session, shield.url("/town/visit"), method="POST", data=data)
    assert (status, fields["Location"]) == (302, "/town/visit")
    status, _, page = await fetch(session, shield.url("/town/visit"))
    assert b"1 row affected" in page, "the message comes by way of a signed cookie"
    data["csrftoken"] = "forged"
    status, _, _ = await fetch(session, shield.url("/town/visit"), method="POST", data=data)
    assert status == 403
    query = "/town.json?sql=select+name+from+visitors&_shape=arrayfirst"
    assert json.loads((await fetch(session, shield.url(query)))[2]) == ["Ünal"]


async def test_a_dozen_readers_at_once_get_what_one_gets(
    datasette: str, start: Callable[..., Any], client: Callable[..., aiohttp.ClientSession]
) -> None:
    shield = await start(upstream={"servers": [datasette]})
    session = client()
    path = "/town/people.json?_shape=array&_size=1000"
    wanted = await fetch(session, datasette + path)
    for answer in await asyncio.gather(*(fetch(client(f"127.3.1.{n}"), shield.url(path)) for n in range(1, 13))):
        assert answer[2] == wanted[2]
