"""The operator is told of an attack by webhook and by mail, whatever hangs or fails."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from shield.operator import notices
from shield.operator.notices import NotifySettings
from shield.process import notifier
from shield.process.notifier import Notifier, send_trial

NOW = 1_790_000_000.0


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifier, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(notifier, "HOOK_SECONDS", 20.0)


def said(events: Any, name: str) -> list[dict[str, Any]]:
    return [{key: fields[key] for key in fields if key != "level"} for event, fields in events if event == name]


async def soon(what: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not what():
            await asyncio.sleep(0.01)


class Hook:
    """A webhook that answers as it is told to."""

    def __init__(self) -> None:
        self.answers: list[int | None] = []  # None: never
        self.got: list[dict[str, Any]] = []
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        answer = self.answers.pop(0) if self.answers else 204
        if answer is None:
            await asyncio.sleep(60)
        if answer == 204:
            self.got.append(await request.json())
        return web.Response(status=answer or 500, headers={"Location": "/elsewhere"})


@pytest.fixture
async def hook() -> AsyncIterator[Hook]:
    found, application = Hook(), web.Application()
    application.router.add_post("/secret", found.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}/secret"
    yield found
    await runner.cleanup()


@pytest.fixture
def sendmail(tmp_path: Path) -> Path:
    """A sendmail that keeps what it gets, with what it was called with."""
    path = tmp_path / "sendmail"
    path.write_text(
        f"#!{sys.executable}\nimport sys, pathlib\n"
        f"pathlib.Path({str(tmp_path / 'args')!r}).write_text(' '.join(sys.argv[1:]))\n"
        f"pathlib.Path({str(tmp_path / 'mail')!r}).write_bytes(sys.stdin.buffer.read())\n"
    )
    path.chmod(0o755)
    return path


class Shield:
    """What is looked at."""

    def __init__(self) -> None:
        self.status: dict[str, Any] = {"attack": False}

    async def look(self) -> dict[str, Any]:
        if not self.status:
            raise RuntimeError("no status")
        return self.status


async def test_everybody_is_told_of_begin_and_end(hook: Hook, sendmail: Path, tmp_path: Path, events: Any) -> None:
    settings = NotifySettings(
        webhook=hook.url, mail=("ops@example.org", "root"), mail_from="s@example.org", sendmail=str(sendmail)
    )
    shield = Shield()
    told = Notifier(settings, shield.look, events.event)
    told.start()
    await asyncio.sleep(0.05)
    shield.status = {"attack": True, "attack_cause": "rate", "requests_per_second": 5.0}
    await soon(lambda: hook.got and (tmp_path / "mail").exists())
    shield.status = {"attack": False}
    await soon(lambda: len(said(events, "notice_sent")) == 4)
    await told.close()
    assert [each["event"] for each in hook.got] == ["attack_began", "attack_ended"]
    mail = message_from_bytes((tmp_path / "mail").read_bytes(), policy=policy.default)
    assert (mail["To"], mail["From"], mail["Auto-Submitted"]) == (
        "ops@example.org, root", "s@example.org", "auto-generated",
    )  # fmt: skip
    assert mail["Subject"].startswith("Shield on ")
    assert (tmp_path / "args").read_text() == "-i -f s@example.org -- ops@example.org root"
    assert {"of": "attack_began", "where": hook.url.removesuffix("/secret")} in said(events, "notice_sent")
    assert "secret" not in str(said(events, "notice_sent")), "a webhook's path is a secret"


async def test_what_fails_is_tried_again_and_then_given_up(
    hook: Hook, events: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifier, "HOOK_SECONDS", 1.0)
    hook.answers = [500, None, 302, 204]
    shield = Shield()
    told = Notifier(NotifySettings(webhook=hook.url), shield.look, events.event, pauses=(0.0, 0.0, 0.0))
    told.start()
    await asyncio.sleep(0.05)
    shield.status = {"attack": True}
    await soon(lambda: hook.got)
    hook.answers = [503] * 4
    shield.status = {"attack": False}
    await soon(lambda: said(events, "notice_not_sent"))
    await told.close()
    where = hook.url.removesuffix("/secret")
    assert said(events, "notice_not_sent") == [{"of": "attack_ended", "where": where, "error": "it answered 503"}]


async def test_a_webhook_that_hangs_holds_up_no_mail(
    hook: Hook, sendmail: Path, tmp_path: Path, events: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifier, "HOOK_SECONDS", 60.0)
    hook.answers = [None] * 9
    shield = Shield()
    settings = NotifySettings(webhook=hook.url, mail=("root",), sendmail=str(sendmail))
    told = Notifier(settings, shield.look, events.event)
    told.start()
    await asyncio.sleep(0.05)
    shield.status = {"attack": True}
    await soon(lambda: (tmp_path / "mail").exists() and said(events, "notice_sent"))
    await told.close()
    assert hook.got == []


async def test_a_reload_takes_over_what_was_not_sent(hook: Hook, events: Any) -> None:
    hook.answers = [500]
    shield = Shield()
    former = Notifier(NotifySettings(webhook=hook.url), shield.look, events.event, pauses=(60.0,))
    former.start()
    await asyncio.sleep(0.05)
    shield.status = {"attack": True}
    await soon(lambda: not hook.answers)
    await former.close()
    told = Notifier(NotifySettings(webhook=hook.url, again=60.0), shield.look, events.event)
    told.start(former)
    await soon(lambda: hook.got)
    await told.close()
    assert [each["event"] for each in hook.got] == ["attack_began"]


async def test_a_look_that_fails_ends_nothing(hook: Hook, events: Any) -> None:
    seen: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, what: seen.append(what))
    shield = Shield()
    told = Notifier(NotifySettings(webhook=hook.url), shield.look, events.event)
    told.start()
    await asyncio.sleep(0.05)
    shield.status = {}
    await soon(lambda: seen)
    shield.status = {"attack": True}
    await soon(lambda: hook.got)
    await told.close()


async def test_who_has_nobody_to_tell_looks_at_nothing(events: Any) -> None:
    shield = Shield()
    shield.status = {}  # a look would fail
    told = Notifier(NotifySettings(), shield.look, events.event)
    told.start()
    await asyncio.sleep(0.05)
    await told.close()


def test_the_queue_is_bounded_and_keeps_begin_and_end(events: Any) -> None:
    async def play() -> list[str]:
        shield = Shield()
        told = Notifier(NotifySettings(webhook="http://127.0.0.1:9/"), shield.look, events.event)
        (way,) = told._ways
        for name in (notices.BEGAN, *[notices.CHANGED] * 40, notices.ENDED):
            way.put({"event": name})
        return [each["event"] for each in way._waiting]

    waiting = asyncio.run(play())
    assert len(waiting) == notifier.MOST_WAITING
    assert (waiting[0], waiting[-1]) == (notices.BEGAN, notices.ENDED)


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ("#!/bin/sh\necho no such user >&2\nexit 67\n", "no such user"),
        ("#!/bin/sh\nexit 75\n", "sendmail ended with status 75"),
        ("#!/bin/sh\nexec sleep 60\n", "sendmail took more than"),
        ("", "No such file or directory"),
    ],
)
async def test_a_trial_says_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, error: str
) -> None:
    monkeypatch.setattr(notifier, "MAIL_SECONDS", 0.5)
    path = tmp_path / "sendmail"
    if script:
        path.write_text(script)
        path.chmod(0o755)
    ((where, wrong),) = await send_trial(NotifySettings(mail=("root",), sendmail=str(path)), NOW)
    assert where == "mail to root"
    assert error in wrong


async def test_a_trial_arrives(hook: Hook) -> None:
    assert await send_trial(NotifySettings(webhook=hook.url), NOW) == [(hook.url.removesuffix("/secret"), "")]
    assert hook.got[0]["event"] == "test"
