"""One line of an access log as a `Line`, whichever server wrote it.

    Combined   nginx, Apache, Caddy, Traefik: address, time, request, status, size, Referer, User-Agent. Behind these
               may stand a duration (`rt=0.012`, `request_time=0.012`, three decimals or more, `12ms`), the
               service's own time (`urt=0.010`), the host (`host=shop.example`, or in front of all of it, with
               its port), and X-Forwarded-For in quotes
    HAProxy    `option httplog`, as it comes from syslog or from a file
    JSON       json_lines.py

What is in a line was sent by strangers. A line has at most MOST_BYTES, and every pattern reads it once from its start.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from shield.replay.stamps import Stamps

MOST_BYTES: Final = 32_768
"""Of a line: URLs and User-Agents of 8 KiB each, and what JSON adds to them."""
TEXT_CHARS: Final = 256
"""Of a User-Agent, Host or language that are kept; as many count for who somebody is."""
PATH_CHARS: Final = 1024
UNKNOWN: Final = -1.0
"""Seconds, where a log does not say how long something took."""
NOTHING: Final[Mapping[str, str]] = {}


class ForeignError(ValueError):
    """A line that is in no format that is known; str() says why."""


class Line:
    """A request as a log tells of it.

    It has more than 15 attributes because each is a field of access logs.

    `at` is when it came (Unix time), `seconds` how long it took until its end, `service` how long the service took for
    it: UNKNOWN where a log does not say. `exact`: its time is finer than a second. `status` is the service's answer, 0
    when another Shield, or nobody, has answered. `fields` are further request fields. `who` names its client, where the
    log of a Shield does.
    """

    __slots__ = (
        "address", "agent", "at", "exact", "fields", "forwarded", "host", "key", "language", "method", "path",
        "referer", "seconds", "service", "status", "who",
    )  # fmt: skip

    def __init__(
        self,
        at: float,
        seconds: float,
        exact: bool,
        address: str,
        method: str,
        target: str,
        status: int,
        agent: str = "",
        host: str = "",
        referer: str = "",
        language: str = "",
        fields: Mapping[str, str] = NOTHING,
        service: float = UNKNOWN,
        who: str = "",
        forwarded: str = "",
    ) -> None:
        """`target` is as it was sent: a path, or an absolute URL."""
        self.at = at
        self.seconds = seconds
        self.exact = exact
        self.method = method
        self.path = path_of(target)
        self.status = status
        self.agent = agent[:TEXT_CHARS]
        self.host = host[:TEXT_CHARS]
        self.referer = referer
        self.language = language[:TEXT_CHARS]
        self.fields = fields
        self.service = service
        self.who = who
        self.forwarded = forwarded
        self.ask_from(address)

    @classmethod
    def again(cls, values: tuple[Any, ...]) -> Line:
        """Make the line whose `values` kept.py has kept."""
        self = cls.__new__(cls)
        (
            self.at, self.exact, self.address, self.agent, self.host, self.key, self.language, self.method, self.path,
            self.referer, self.seconds, self.service, self.status, self.who, fields,
        ) = values  # fmt: skip
        self.fields = NOTHING if fields is None else fields
        self.forwarded = ""
        return self

    def ask_from(self, address: str) -> None:
        """Have it come from there."""
        self.address = address
        self.key = hash((address, self.agent, self.language, self.who))

    def __repr__(self) -> str:
        return f"<{self.at:.3f} {self.address} {self.method} {self.path} {self.status} {self.seconds:.3f} s>"


def path_of(target: str) -> str:
    """The path of a request target, as Shield has it."""
    if target[:1] != "/":
        scheme, found, rest = target.partition("://")
        target = "/" + rest.partition("/")[2] if found and scheme.isalpha() else target
    return target.partition("?")[0][:PATH_CHARS]


_ADDRESS: Final = re.compile(r"[0-9A-Fa-f:.]{2,45}")
_METHOD: Final = re.compile(r"[A-Z][A-Z_-]{0,31}")


def address_of(text: str) -> str:
    """An address, without the port that it may come with. ForeignError for what is none."""
    if text[:1] == "[":
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    if _ADDRESS.fullmatch(text) is None:
        raise ForeignError(f"no address of a client: {shown(text)}")
    return text


def shown(text: str) -> str:
    """The beginning of what a stranger has sent, for a message on a terminal."""
    return repr(text[:40])


def is_method(text: str) -> bool:
    return _METHOD.fullmatch(text) is not None


_QUOTED: Final = r'"((?:[^"\\]|\\.)*)"'
_SYSLOG: Final = r"(?:<\d{1,3}>)?(?:[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \S{1,255} [^\s:]{1,255}: )?"
_COMBINED: Final = re.compile(
    _SYSLOG + r"(?:([\w.-]{1,255}):\d{1,5} )?"
    r"(\S{1,255}) \S{1,255} [^\[]{0,255}\[(\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\] "
    + _QUOTED
    + r" (\d{3}) (?:\d+|-)(?: "
    + _QUOTED
    + " "
    + _QUOTED
    + r")?(.*)"
)
_NAMED_TIME: Final = re.compile(r"\b(rt|request_time|urt|upstream_response_time)=\"?(\d+(?:\.\d+)?)")
_NAMED_HOST: Final = re.compile(r"\b(?:host|vhost)=\"?([\w.:-]{1,255})")
_MILLISECONDS: Final = re.compile(r" (\d{1,9})ms$")
_SECONDS: Final = re.compile(r"(?:^| )(\d{1,6}\.\d{3,9})(?= |$)")
_FORWARDED: Final = re.compile(r' "([0-9A-Fa-f:., ]{3,512})"')
_HAPROXY: Final = re.compile(
    r"\[(\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d\.\d{3})\] \S{1,255} \S{1,255} "
    r"-?\d+/-?\d+/-?\d+/(-?\d+)/\+?(-?\d+) (\d{3}|-1) \+?\d+ \S+ \S+ \S{4} [\d/+]+ [\d/]+ "
    r"((?:\{[^{}]*\} )*)" + _QUOTED[:-1] + '"?'
)
_PROGRAM: Final = re.compile(r"[A-Za-z][\w.-]{1,40}/\d")


class Parser:
    """Reads the lines of one log. `parse` gives None for a line that is known and tells of no request."""

    __slots__ = ("_forms", "_json", "_stamps")

    def __init__(self, json: Callable[[Mapping[str, Any]], Line | None]) -> None:
        self._json = json
        self._stamps = Stamps()
        self._forms: list[Callable[[str], Line | None]] = [self._combined, self._haproxy]  # the last that fitted first

    def parse(self, data: bytes) -> Line | None:
        """Raises ForeignError for what is in no format that is known."""
        start = data.find(b"{")
        if start >= 0 and (start == 0 or data[:start].isspace() or data[start - 2 : start] == b": "):
            try:
                found = orjson.loads(data[start:])
            except orjson.JSONDecodeError:
                found = None
            if isinstance(found, dict):
                return self._json(found)
            if start == 0:
                raise ForeignError("it begins as JSON does, and is none")
        text = data.decode("utf-8", "replace").rstrip("\r\n")
        why = "it is in no format that is known"
        for number, form in enumerate(self._forms):
            try:
                line = form(text)
            except ForeignError as error:
                why = str(error) or why
                continue
            if number:
                self._forms.reverse()
            return line
        raise ForeignError(why)

    def _combined(self, text: str) -> Line | None:
        found = _COMBINED.match(text)
        if found is None:
            raise ForeignError
        host, address, stamp, request, status, referer, agent, rest = found.groups()
        words = request.split(" ")
        if len(words) not in (2, 3) or not is_method(words[0]):
            return None  # a handshake, a scan, nothing at all: no request that could be judged
        seconds = service = UNKNOWN
        forwarded = ""
        if rest:
            seconds, service = _times(rest)
            behind = _FORWARDED.search(rest)
            forwarded = behind.group(1) if behind is not None else ""
            if host is None and (said := _NAMED_HOST.search(rest)) is not None:
                host = said.group(1)
        at = _stamp(self._stamps.common, stamp)
        # Traefik alone writes "ms", and the time at which a request has come; others that of its end.
        if seconds > 0 and not rest.endswith("ms"):
            at -= seconds
        return Line(
            at,
            seconds,
            False,
            address_of(address),
            words[0],
            words[1],
            int(status),
            "" if agent is None or agent == "-" else agent,
            host or "",
            "" if referer is None or referer == "-" else referer,
            service=service,
            forwarded=forwarded,
        )

    def _haproxy(self, text: str) -> Line | None:
        begin = text.find(" [")
        found = _HAPROXY.match(text, begin + 1) if begin > 0 else None
        if found is None:
            raise ForeignError
        stamp, service, total, status, captured, request = found.groups()
        words = request.split(" ")
        if len(words) < 2 or not is_method(words[0]):
            return None  # <BADREQ>
        seconds = int(total) / 1000.0 if int(total) >= 0 else UNKNOWN
        agent = ""
        for each in captured.replace("} {", "|").strip("{} ").split("|"):
            if _PROGRAM.match(each):
                agent = each
        return Line(
            _stamp(self._stamps.haproxy, stamp),
            seconds,
            True,
            address_of(text[:begin].rpartition(" ")[2].rpartition(":")[0]),
            words[0],
            words[1],
            max(int(status), 0),
            agent,
            service=int(service) / 1000.0 if int(service) >= 0 else UNKNOWN,
        )


def _stamp(read: Callable[[str], float], text: str) -> float:
    try:
        return read(text)
    except (ValueError, KeyError):
        raise ForeignError(f"no time: {shown(text)}") from None


def _times(rest: str) -> tuple[float, float]:
    """Seconds until the end, and of the service, out of what stands behind the User-Agent."""
    seconds = service = UNKNOWN
    if "=" in rest:
        for name, value in _NAMED_TIME.findall(rest):
            if name[0] == "u":
                service = float(value)
            else:
                seconds = float(value)
        if seconds >= 0 or service >= 0:
            return (seconds if seconds >= 0 else service), service
    if rest.endswith("ms") and (found := _MILLISECONDS.search(rest)) is not None:
        return int(found.group(1)) / 1000.0, UNKNOWN
    found = _SECONDS.search(rest)
    return (float(found.group(1)) if found is not None else UNKNOWN), service
