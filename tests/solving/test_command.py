"""shield solve: what it asks, what it says on which stream, and how it ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from shield import cli
from shield.solving import conversation
from tests.solving.conftest import PROBLEMS, Site

Run = Callable[..., Any]


@pytest.fixture
def run(capfdbinary: pytest.CaptureFixture[bytes]) -> Run:
    """run(...) is the exit status, and what came to stdout and stderr."""

    async def one(*arguments: str) -> tuple[int, str, str]:
        try:
            status = await asyncio.to_thread(cli.main, ["solve", *arguments])
        except SystemExit as end:
            status = int(str(end.code))
        out, err = capfdbinary.readouterr()
        return status, out.decode(), err.decode()

    return one


async def test_the_pass_goes_to_stdout_and_the_rest_to_stderr(run: Run, site: Site) -> None:
    status, out, err = await run(
        f"{site.url}/data?x=1", "--header", "Accept-Language: de", "--header", "user-agent: me"
    )
    assert (status, out) == (0, "Shield-Pass: P1\n")
    asking, asks, solved = err.splitlines()
    assert asking == f"asking {site.url}, which is 127.0.0.1"
    assert asks == f"{site.url} asks for 2^8.0 hashes, and gets them at {site.url}/.well-known/shield/answer"
    assert solved.startswith("solved in 0.")
    assert solved.endswith("with the pass the site answers 200 OK")
    assert site.asked == [("GET", "/data?x=1", "", b""), ("GET", "/data?x=1", "P1", b"")]
    ((fields, _),) = site.answered
    assert {name.lower(): value for name, value in fields.items()}["user-agent"] == "me"
    assert fields["Accept-Language"] == "de"


async def test_as_a_cookie_as_json_and_the_response(run: Run, site: Site) -> None:
    assert (await run(site.url, "--cookie"))[:2] == (0, "shield_pass=P1\n")
    assert (await run(site.url, "--response"))[:2] == (0, "in")
    status, out, err = await run(site.url, "--json")
    found = json.loads(out)
    assert (status, err) == (0, "")
    assert found.pop("seconds") < 5
    assert found == {
        "url": site.url, "ok": True, "error": "", "status": 200, "challenged": True, "bits": 8.0, "pass": "P3",
        "header": "Shield-Pass", "cookie": "shield_pass", "lifetime": 3600.0,
    }  # fmt: skip


async def test_a_site_that_asks_for_nothing(run: Run, site: Site) -> None:
    site.refusals = [(200, {"a": 1}, {}), (404, {"a": 2}, {}), (404, {"a": 2}, {})]
    assert await run(site.url) == (
        0,
        "",
        f"asking {site.url}, which is 127.0.0.1\nno challenge was asked: the site answers 200 OK\n",
    )
    assert (await run(site.url))[0] == 1
    assert (await run(site.url, "--response"))[:2] == (1, '{"a": 2}')


async def test_with_a_pass_the_sites_own_errors_are_no_failure_of_the_command(run: Run, site: Site) -> None:
    site.serve_found = 404
    assert (await run(site.url))[0] == 0
    assert (await run(site.url, "--response"))[0] == 1


async def test_above_the_budget(run: Run, site: Site) -> None:
    site.bits = 40
    status, out, err = await run(site.url, "--bits", "20")
    assert (status, out) == (1, "")
    assert "no pass: the challenge takes 2^40.0 hashes, and the budget is 2^20 (--bits sets the budget)\n" in err
    status, out, err = await run(site.url, "--budget", "1")
    assert status == 1
    assert "(--budget 4 would allow more)" in err
    status, out, err = await run(site.url, "--bits", "20", "--json")
    assert (status, err) == (1, "")
    assert json.loads(out)["error"].startswith("the challenge takes 2^40")
    assert site.answered == []


async def test_a_wait_is_told_and_bounded(run: Run, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "LEAST_WAIT", 0.0)
    ticket = {"ticket": "AXc"}
    site.answers = [(202, ticket, {"Retry-After": "0"})]
    status, out, err = await run(site.url)
    assert (status, out) == (0, "Shield-Pass: P2\n")
    assert "the site asks to wait: 0 s\n" in err
    site.answers = [(202, ticket, {"Retry-After": "9"})]
    status, _, err = await run(site.url, "--wait", "5s")
    assert status == 1
    assert "(--wait 10 would allow more)" in err


async def test_a_site_that_challenges_again(run: Run, site: Site) -> None:
    site.good = Never()
    status, _, err = await run(site.url)
    assert status == 1
    assert err.endswith("the site asks again in spite of the pass\n")


class Never(set[str]):
    def add(self, _: str) -> None:
        pass


async def test_a_refusal_that_says_no_when_is_one(run: Run, site: Site) -> None:
    site.refusals = [(403, {"type": f"{PROBLEMS}ban"}, {})]
    status, out, err = await run(site.url)
    assert (status, out) == (1, "")
    assert err.endswith("the site answers 403 Forbidden\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("http://u:p@127.0.0.1/",), "a name and password go into a field"),
        (("ftp://127.0.0.1/",), "is no address"),
        (("http://127.0.0.1:99999/",), "is no address"),
        (("http://127.0.0.1/a b",), "no spaces"),
        (("http://x/", "--header", "nonsense"), "write 'Name: value'"),
        (("http://x/", "--header", "A: b\r\nC: d"), "write 'Name: value'"),
        (("http://x/", "--bits", "0"), "no number from 1 to 64"),
        (("http://x/", "--cookie", "--response"), "not allowed with"),
    ],
)
async def test_wrong_usage(run: Run, arguments: tuple[str, ...], said: str) -> None:
    status, out, err = await run(*arguments)
    assert (status, out) == (2, "")
    assert said in err


async def test_nobody_there(run: Run) -> None:
    status, out, err = await run("http://127.0.0.1:1/")
    assert (status, out) == (3, "")
    assert err == "shield: http://127.0.0.1:1: [Errno 111] Connection refused\n"
