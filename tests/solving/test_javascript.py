"""The module for Node and browsers, and the challenge page's own solver, run by Node."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

import shield
from shield.policy.challenge.challenge import solved
from tests.solving.conftest import NODE, PACKAGE, PROBLEMS, WORKER, Node, Serve, Site
from tests.solving.test_vectors import FILE, VECTORS

HERE = Path(__file__).parent / "javascript"

pytestmark = pytest.mark.skipif(not NODE, reason="node is not installed, or clients/ no part of the wheel")


@pytest.fixture(scope="module")
def found(module: Path) -> dict[str, Any]:
    done = subprocess.run(
        ["node", HERE / "vectors.mjs", module, WORKER, FILE], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.mark.parametrize("where", ["simd", "plain", "worker"])
def test_the_browsers_source_agrees_with_the_vectors(found: dict[str, Any], where: str) -> None:
    """In jobs of four nonces, as it is given them, it finds the nonce or one before it, and never one that fails."""
    page = found["pages"][where]
    assert page["hashes"] == [[True, True]] * len(VECTORS["hashes"])
    assert page["smallest"] == [row["nonces"] for row in VECTORS["solutions"]]


def test_the_module_agrees_with_the_vectors(found: dict[str, Any]) -> None:
    assert found["documents"] == [row["challenge"] for row in VECTORS["documents"]]
    for row, nonces in zip(VECTORS["solutions"], found["solutions"], strict=True):
        assert solved(row["token"], int(row["target"], 16), nonces) == row["k"]
    assert solved("A", 2**46, found["byWorkers"]) == 4


def test_the_package_has_shields_version() -> None:
    assert json.loads((PACKAGE / "package.json").read_text("utf-8"))["version"] == shield.__version__


async def test_calls_of_node(node: Node, site: Site, serve: Serve) -> None:
    """One Node for all of them: it takes a tenth of a second to start."""
    inside = [[200, "in"]]
    found = await node.call(f"{site.url}/a", method="POST", body="body")
    assert found == inside
    assert await node.call(f"{site.url}/b") == inside, "the pass is kept"
    posts = [("POST", "/a", "", b"body"), ("POST", "/a", "P1", b"body")]
    assert site.asked == [*posts, ("GET", "/b", "P1", b"")]
    ((fields, said),) = site.answered
    assert said.keys() == {"token", "nonces"}
    assert "Shield-Pass" not in fields

    site.good.clear()
    site.answers = [(400, {"reason": "expired"}, {})]
    headers = {"User-Agent": "mine"}
    streamed = await node.call(site.url, client=2, parallel=5, method="PUT", body="x", stream=True, headers=headers)
    assert streamed == inside * 5, "one pass for all, streams sent again, and one more answer where the first was late"
    assert [fields["User-Agent"] for fields, _ in site.answered[1:]] == ["mine", "mine"]

    site.answers = [(202, {"ticket": "AXc"}, {"Retry-After": "0"})]
    assert await node.call(site.url, client=3) == inside
    assert site.answered[-1][1] == {"ticket": "AXc"}
    site.refusals = [(429, {"type": f"{PROBLEMS}limit"}, {"Retry-After": "0"})]
    assert await node.call(site.url, client=3) == inside
    site.refusals = [(429, {"type": f"{PROBLEMS}limit"}, {"Retry-After": "61"})]
    assert (await node.call(site.url, client=3))[0][0] == 429
    site.refusals = [(503, {"title": "down"}, {})]
    assert await node.call(site.url, client=3) == [[503, '{"title": "down"}']]

    seen: list[tuple[str, str | None, str | None, bytes]] = []

    async def elsewhere(request: web.Request) -> web.Response:
        fields = request.headers
        seen.append((request.method, fields.get("Shield-Pass"), fields.get("Authorization"), await request.read()))
        return web.Response(text="elsewhere")

    other = await serve(elsewhere)
    for status in (302, 307, 303):
        site.refusals = [(status, {}, {"Location": other})]
        said = await node.call(site.url, client=3, method="POST", body="b", headers={"Authorization": "secret"})
        assert said == [[200, "elsewhere"]]
    assert seen == [("GET", None, None, b""), ("POST", None, None, b"b"), ("GET", None, None, b"")]
    site.refusals = [(302, {}, {"Location": "/"})] * 21
    assert (await node.call(site.url, client=3))[0] == "TypeError"

    site.good.clear()
    site.refusals, site.bits = [], 50
    code, text = await node.call(site.url, client=4, budget={"bits": 30})
    assert (code, text) == ("too_expensive", "the challenge takes 2^50.0 hashes, and the budget is 2^30")
    code, text = await node.call(site.url, client=5, budget={"seconds": 2})
    assert code == "too_expensive"
    assert "and the budget is 2 s" in text
    assert (await node.call(site.url, client=6, budget={"seconds": 1e15}, abort=400))[0] == 23, "TIMEOUT_ERR"
    site.challenge = {"answer_to": "http://127.0.0.2/answer"}
    assert (await node.call(site.url, client=7))[0] == "not_understood"
    site.challenge, site.bits = {}, 8
    site.answers = [(400, {"reason": "wrong"}, {})]
    assert (await node.call(site.url, client=8))[0] == "turned_down"
    site.answers = [(202, {"ticket": "AXc"}, {"Retry-After": "9"})]
    assert (await node.call(site.url, client=9, budget={"wait": 5}))[0] == "too_expensive"


@pytest.mark.clients
def test_npm_packs_it(tmp_path: Path) -> None:
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    for name in ("clients/js", "shield/replies/static"):
        shutil.copytree(PACKAGE.parents[1] / name, tmp_path / name)
    folder = tmp_path / "clients" / "js"
    done = subprocess.run(["npm", "pack", "--json"], cwd=folder, capture_output=True, text=True, check=True, timeout=60)
    (packed,) = json.loads(done.stdout)
    names = {each["path"] for each in packed["files"]}
    assert names == {"README.md", "package.json", "shield.d.ts", "shield.js", "work.js"}
    subprocess.run(["tar", "xf", packed["filename"]], cwd=folder, check=True)
    code = 'import("./package/shield.js").then(({ solve }) => solve({ token: "A", k: 1, target: "f".repeat(16) }))'
    subprocess.run(["node", "-e", f"{code}.then(console.log)"], cwd=folder, check=True, timeout=30)
