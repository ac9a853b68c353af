"""Tells the operator of attacks: by a webhook, and by mail. What is told stands in operator/notices.py.

Nothing here keeps a client waiting. Each way has a queue of its own, so that a webhook that hangs holds up no mail.
What fails is tried again PAUSES later, and then given up with a line in the log.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from email.message import EmailMessage
from email.policy import SMTP
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import orjson

from shield.operator.notices import CHANGED, Notice, NotifySettings, Watcher, letter, subject, trial
from shield.process.signals import Tell

LOOK_SECONDS: Final = 2.0
HOOK_SECONDS: Final = 10.0
"""Within which a webhook has answered."""
MAIL_SECONDS: Final = 30.0
"""Within which sendmail has taken a mail."""
PAUSES: Final = (5.0, 30.0, 120.0)
"""Before each further try, in seconds."""
MOST_WAITING: Final = 16
"""Notices of one way. Beyond it those that tell of a change go first, then the oldest."""
MOST_ERROR: Final = 200
"""Characters of what sendmail says."""

Look = Callable[[], Awaitable[Mapping[str, Any]]]
"""Gives what /api/status says."""
Send = Callable[[Notice], Awaitable[None]]
"""Raises OSError for what did not arrive."""


class Notifier:
    """From `start` to `close`. `look` gives the status; `event` logs. `pauses` as PAUSES."""

    __slots__ = ("_clock", "_look", "_tasks", "_watcher", "_ways")

    def __init__(
        self,
        settings: NotifySettings,
        look: Look,
        event: Tell,
        clock: Callable[[], float] = time.time,
        pauses: tuple[float, ...] = PAUSES,
    ) -> None:
        self._look = look
        self._clock = clock
        self._watcher = Watcher(socket.gethostname(), settings.again)
        self._ways = [_Way(where, send, event, pauses) for where, send in ways(settings)]
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, former: Notifier | None = None) -> None:
        """Begin. `former` had other settings: what it has seen of an attack is known, and what it had not sent yet is
        sent to those who are still to be told."""
        if former is not None:
            self._watcher.keep(former._watcher)
            left = {way.where: way for way in former._ways}
            for way in self._ways:
                if way.where in left:
                    way.take(left[way.where])
        if self._ways:
            self._tasks = [asyncio.create_task(self._run()), *(asyncio.create_task(way.run()) for way in self._ways)]

    async def close(self) -> None:
        """Tell nobody anything more."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                status = await self._look()
                if (notice := self._watcher.look(self._clock(), status)) is not None:
                    for way in self._ways:
                        way.put(notice)
            except Exception as error:  # a status that cannot be read is a bug, and must not end the notices
                what = {"message": "the notifier has missed a look", "exception": error}
                asyncio.get_running_loop().call_exception_handler(what)
            await asyncio.sleep(LOOK_SECONDS)


class _Way:
    """One way of telling: sends what is put, in order, until it is cancelled."""

    __slots__ = ("_filled", "_pauses", "_send", "_tell", "_waiting", "where")

    def __init__(self, where: str, send: Send, event: Tell, pauses: tuple[float, ...]) -> None:
        self.where = where
        self._send = send
        self._tell = event
        self._pauses = pauses
        self._waiting: deque[Notice] = deque()
        self._filled = asyncio.Event()

    def put(self, notice: Notice) -> None:
        """Send this after what waits."""
        self._waiting.append(notice)
        if len(self._waiting) > MOST_WAITING:
            self._waiting.remove(next((one for one in self._waiting if one["event"] == CHANGED), self._waiting[0]))
        self._filled.set()

    def take(self, former: _Way) -> None:
        """Send what another one has not sent."""
        for notice in former._waiting:
            self.put(notice)

    async def run(self) -> None:
        while True:
            await self._filled.wait()
            while self._waiting:
                notice = self._waiting[0]  # it waits until it is sent, or given up: a reload takes it over
                await self._try(notice)
                with contextlib.suppress(ValueError):
                    self._waiting.remove(notice)
            self._filled.clear()

    async def _try(self, notice: Notice) -> None:
        for pause in (*self._pauses, None):
            try:
                await self._send(notice)
            except OSError as error:
                if pause is None:
                    self._tell("notice_not_sent", of=notice["event"], where=self.where, error=said(error))
                    return
                await asyncio.sleep(pause)
            else:
                self._tell("notice_sent", of=notice["event"], where=self.where)
                return


async def send_trial(settings: NotifySettings, now: float) -> list[tuple[str, str]]:
    """Send everybody who is to be told a trial notice, once; of each way what went wrong, or "". `now` is Unix time."""
    notice = trial(now, socket.gethostname())

    async def one(where: str, send: Send) -> tuple[str, str]:
        try:
            await send(notice)
        except OSError as error:
            return where, said(error)
        return where, ""

    return await asyncio.gather(*(one(where, send) for where, send in ways(settings)))


def ways(settings: NotifySettings) -> list[tuple[str, Send]]:
    """All ways of telling that are set, each with what the log calls it. A webhook's path is often its secret."""
    found: list[tuple[str, Send]] = []
    if settings.webhook:
        parts = urlsplit(settings.webhook)
        found.append((f"{parts.scheme}://{parts.netloc}", lambda notice: post(settings.webhook, notice)))
    if settings.mail:
        found.append((f"mail to {', '.join(settings.mail)}", lambda notice: mail(settings, notice)))
    return found


async def post(url: str, notice: Notice) -> None:
    """Send a notice to a webhook. Raises OSError unless it is answered with a 2xx within HOOK_SECONDS."""
    headers = {"Content-Type": "application/json", "User-Agent": "Shield"}
    timeout = aiohttp.ClientTimeout(total=HOOK_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, headers=headers) as session,
            session.post(url, data=orjson.dumps(notice), allow_redirects=False) as response,
        ):
            status = response.status
    except TimeoutError:
        raise OSError(f"no answer within {HOOK_SECONDS:.0f} s") from None
    except aiohttp.ClientError as error:
        raise OSError(said(error)) from error
    if not 200 <= status < 300:
        raise OSError(f"it answered {status}")


async def mail(settings: NotifySettings, notice: Notice) -> None:
    """Give a notice to sendmail. Raises OSError unless it takes it within MAIL_SECONDS."""
    message = EmailMessage(policy=SMTP.clone(linesep="\n"))  # what sendmail reads ends lines as Unix does
    message["To"] = ", ".join(settings.mail)
    if settings.mail_from:
        message["From"] = settings.mail_from
    message["Subject"] = subject(notice)
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no holiday notice comes back
    message.set_content(letter(notice))
    await asyncio.get_running_loop().run_in_executor(None, give, settings, message.as_bytes())


def give(settings: NotifySettings, message: bytes) -> None:
    """Run sendmail, which blocks. Raises OSError with what it says."""
    sender = ("-f", settings.mail_from) if settings.mail_from else ()
    command = [settings.sendmail, "-i", *sender, "--", *settings.mail]
    try:
        done = subprocess.run(  # noqa: S603 - it is what the operator has set
            command, input=message, capture_output=True, timeout=MAIL_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise OSError(f"sendmail took more than {MAIL_SECONDS:.0f} s") from None
    if done.returncode:
        text = done.stderr.decode(errors="replace").strip()[:MOST_ERROR]
        raise OSError(text or f"sendmail ended with status {done.returncode}")


def said(error: Exception) -> str:
    """An error in words."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
