"""What another proxy asks about a request that it carries itself (forward-auth).

Such a proxy sends a request of its own, the *question*: the fields of the request that it is about, and in fields that
the proxy writes what the question's own first line does not say. Each proxy has its own way, and asks at a path of its
own, so that a field which one proxy writes is never believed where another asks and passes on what a client wrote.

    asked at               who          method, target, host of the request are in
    /shield-gate/nginx     auth_request      X-Original-Method, X-Original-URI, Host
    /shield-gate/caddy     forward_auth      X-Forwarded-Method, X-Forwarded-Uri, X-Forwarded-Host
    /shield-gate/traefik   ForwardAuth       the same
    /shield-gate/envoy     ext_authz         the question's own method, its path behind this one, Host

The client's address and scheme are in X-Forwarded-For and X-Forwarded-Proto, or in Forwarded, as behind any trusted
proxy (forwarded.py). From the question the head of the request is written as HTTP/1.1 would write it, and then read as
any other: the same rules hold for it, with the same meaning.

nginx cannot carry an answer: it knows 2xx, 401 and 403, and drops the rest. So it is told the verdict in a field, and
its `error_page` asks for the answer by sending the request itself, with that field (`Said`). Envoy takes a status of
5xx for a failure of the gate, and drops the answer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from shield.http.client_fields import PREFIX as FORWARDED_FIELDS
from shield.model import Action, Reason, Tier, Verdict

if TYPE_CHECKING:
    from shield.http.head import Head

ASKED_BELOW: Final = "/shield-gate/"
"""Where questions are asked; a path that no service has by chance."""
SAID: Final = "X-Shield-Verdict"
"""The field with the verdict that nginx brings back."""


class NoQuestionError(ValueError):
    """A question that does not say what it is about. Its text tells the operator what is missing."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """How one kind of proxy asks. `method`, `target`, `host`: names of fields; empty: as the question's first line.

    `twice`: it carries no answer, and asks again for one. `most_status`: a higher one is no answer to it."""

    name: str
    method: str
    target: str
    host: str
    twice: bool = False
    most_status: int = 599

    @property
    def path(self) -> str:
        """Where it asks."""
        return ASKED_BELOW + self.name


PROXIES: Final = (
    Proxy("nginx", "X-Original-Method", "X-Original-URI", "Host", twice=True),
    Proxy("caddy", "X-Forwarded-Method", "X-Forwarded-Uri", "X-Forwarded-Host"),
    Proxy("traefik", "X-Forwarded-Method", "X-Forwarded-Uri", "X-Forwarded-Host"),
    Proxy("envoy", "", "", "Host", most_status=499),
)


def proxy_of(head: Head) -> Proxy | None:
    """Who asks a question with this head; None when it is none."""
    path = head.path
    if not path.startswith(ASKED_BELOW):
        return None
    for proxy in PROXIES:
        if path == proxy.path or (not proxy.target and path.startswith(proxy.path + "/")):
            return proxy
    return None


def asked_about(proxy: Proxy, head: Head) -> bytes:
    """The head of the request that a question is about, with CRLF CRLF, as HTTP/1.1 writes it; whether it is one that
    may pass is not looked at. Raises NoQuestionError."""
    method = _only(head, proxy.method) if proxy.method else head.method
    target = _only(head, proxy.target) if proxy.target else head.target[len(proxy.path) :]
    host = _only(head, proxy.host)
    if not target:
        raise NoQuestionError(f"there is no path behind {proxy.path}: set it as path_prefix")
    first = f"{method} {target} HTTP/1.1\r\nHost: {host}"
    lines = [first.encode("utf-8", "surrogateescape"), *filter(_is_kept, head.headers.lines())]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def _only(head: Head, name: str) -> str:
    """The value of a field that must be there once: of two, one may be the client's."""
    values = head.headers.getall(name) or []
    if len(values) != 1 or not values[0]:
        raise NoQuestionError(f"the field {name} is needed, once: there are {len(values)}")
    return values[0]


_OWN: Final = re.compile(
    rb"(?:host|content-length|transfer-encoding|connection|expect|forwarded|x-original-(?:method|uri)|%b|%b[^:]*):"
    % (SAID.lower().encode("ascii"), FORWARDED_FIELDS),
    re.IGNORECASE,
)
"""Fields that belong to the question: those of its framing, and those that the proxy has written."""


def _is_kept(line: bytes) -> bool:
    return _OWN.match(line) is None


def said_of(verdict: Verdict, tier: int, request_id: bytes) -> bytes:
    """A verdict that refuses, and the tier of its request, as the value of SAID."""
    text = f"{verdict.reason.value};tier={tier:d};wait={verdict.retry_after}"
    if verdict.limit is not None:
        rate, burst = verdict.limit
        text += f";rate={rate!r};burst={burst!r};left={verdict.remaining!r}"
    if request_id:
        text += f";id={request_id.decode('ascii')}"
    return text.encode("ascii")


_NUMBER: Final = r"-?[0-9]{1,12}(?:\.[0-9]{1,20})?(?:e-?[0-9]{1,2})?"
_SAID: Final = re.compile(
    rf"([a-z_]{{1,40}});tier=([0-4]);wait=([0-9]{{1,9}})(?:;rate=({_NUMBER});burst=({_NUMBER});left=({_NUMBER}))?"
    r"(?:;id=([!-~]{1,128}))?",
    re.ASCII,
)
_REFUSING: Final = {
    reason.value: reason
    for reason in Reason
    if reason.action in (Action.CHALLENGE, Action.LIMIT, Action.SHED, Action.BAN)
}


def verdict_said(text: str) -> tuple[Verdict, Tier, bytes]:
    """The verdict, and the tier and the id of its request, that a value of SAID tells. It is only believed of a trusted
    proxy, and can only refuse. Raises NoQuestionError."""
    match = _SAID.fullmatch(text)
    reason = None if match is None else _REFUSING.get(match[1])
    if match is None or reason is None:
        raise NoQuestionError(f"the field {SAID} holds no verdict: set it to what the question was answered with")
    limit = None
    left = 0.0
    if match[4] is not None:
        limit, left = (float(match[4]), float(match[5])), float(match[6])
        if not limit[0] > 0.0 or limit[1] < 0.0:
            raise NoQuestionError(f"the field {SAID} holds no verdict: its rate is not above 0")
    return Verdict(reason, int(match[3]), limit, left), Tier(int(match[2])), (match[7] or "").encode("ascii")
