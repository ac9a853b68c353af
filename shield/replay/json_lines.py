"""Lines that are JSON objects: those of Shield, Caddy and Traefik, and what nginx and HAProxy are told to write.

The format of nginx and HAProxy is their operator's, so the usual names of each field are tried. Values may be numbers
or texts; what has another type than it should have makes the line a foreign one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from shield.operator.events import EVENTS, LINES
from shield.replay.lines import UNKNOWN, ForeignError, Line, address_of, is_method
from shield.replay.stamps import anything

Fields = Mapping[str, Any]

TIMES: Final = (
    "msec", "time_iso8601", "time_local", "time", "timestamp", "@timestamp", "ts", "date", "date_time", "datetime",
    "StartUTC", "gmt_date_time", "local_date_time", "t",
)  # fmt: skip
ADDRESSES: Final = (
    "remote_addr", "client_ip", "remote_ip", "realip_remote_addr", "client", "clientip", "client_addr", "src", "ip",
    "address", "remote_host", "source_ip", "ClientHost", "ci",
)  # fmt: skip
REQUESTS: Final = ("request", "http_request", "request_line", "req")
METHODS: Final = ("request_method", "method", "http_method", "verb", "HM")
TARGETS: Final = ("request_uri", "uri", "http_uri", "url", "http_path", "path", "request_path", "HU", "HP")
STATUSES: Final = ("status", "status_code", "response", "response_code", "code", "http_status", "ST")
AGENTS: Final = ("http_user_agent", "user_agent", "agent", "useragent", "http_agent", "ua")
HOSTS: Final = ("http_host", "host", "server_name", "vhost", "domain")
REFERERS: Final = ("http_referer", "http_referrer", "referer", "referrer")
LANGUAGES: Final = ("http_accept_language", "accept_language")
FORWARDED: Final = ("http_x_forwarded_for", "x_forwarded_for", "xff")
SECONDS: Final = ("request_time", "duration", "rt", "time_taken", "response_time")
MILLISECONDS: Final = ("time_active", "time_total", "Ta", "Tt", "duration_ms", "ms", "total_time", "request_time_ms")
SERVICES: Final = ("upstream_response_time", "urt", "upstream_time")
SERVICE_MILLISECONDS: Final = ("response_time_ms", "Tr", "server_time")
_GO_TIME: Final = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|μs|ms|s|m|h)")
_GO_UNITS: Final = {
    "ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0,
}  # fmt: skip
TOLD: Final = ("Accept", "Origin", "Sec-Fetch-Dest", "Sec-Fetch-Mode", "Sec-Fetch-Site", "Upgrade-Insecure-Requests")
"""Fields that Caddy logs, and by which Shield tells who reads an answer."""
LONGEST: Final = 86_400.0
"""Seconds. A request that is said to have taken longer, or less than none, is one whose duration is not known."""


def read(found: Fields) -> Line | None:
    """A line out of an object; None where it is no request. ForeignError says what is missing."""
    try:
        event = found.get("event")
        if isinstance(event, str) and (event in LINES or event in EVENTS):
            return _shield(found, event)
        request = found.get("request")
        if isinstance(request, dict):
            return _caddy(found, request)
        if "RequestMethod" in found or "DownstreamStatus" in found:
            return _traefik(found)
        if "logger" in found and "msg" in found and "status" not in found:
            return None  # Caddy's own affairs
        return _by_names(found)
    except ForeignError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise ForeignError(f"a field is not as expected: {str(error)[:60]}") from None


def _shield(found: Fields, event: str) -> Line | None:
    """What another Shield has refused, or kept from the service, tells nothing of the service's time."""
    if event not in ("request", "refused"):
        return None
    at, exact = anything(found["time"])
    passed = event == "request" and "fault" not in found
    seconds = _number(found.get("ms"), 1000.0) if event == "request" else UNKNOWN
    client = str(found.get("client", ""))
    return Line(
        at - max(seconds, 0.0),
        seconds if passed else UNKNOWN,
        exact,
        address_of(str(found["address"])),
        _method(found.get("method")),
        str(found["path"]),
        int(found["status"]) if passed else 0,
        # A line of a forwarded request has no User-Agent; its client stands for that, and for the language.
        "" if client else str(found.get("user_agent", "")),
        str(found.get("host", "")),
        who=client[:64],
    )


def _caddy(found: Fields, request: Fields) -> Line | None:
    if "status" not in found:
        return None
    at, exact = anything(found["ts"])
    seconds = _duration(found.get("duration"))
    headers = request.get("headers")
    headers = headers if isinstance(headers, dict) else {}
    address = request.get("client_ip") or request.get("remote_ip") or request.get("remote_addr")
    return Line(
        at - max(seconds, 0.0),
        seconds,
        exact,
        address_of(str(address)),
        _method(request.get("method")),
        str(request["uri"]),
        int(found["status"]),
        _first(headers, "User-Agent"),
        str(request.get("host", "")),
        _first(headers, "Referer"),
        _first(headers, "Accept-Language"),
        {name: value for name in TOLD if (value := _first(headers, name))},
        forwarded=_first(headers, "X-Forwarded-For"),
    )


def _traefik(found: Fields) -> Line | None:
    method = found.get("RequestMethod")
    if not method:
        return None
    started = found.get("StartUTC")
    at, exact = anything(started or found.get("StartLocal") or found.get("time"))
    seconds = _number(found.get("Duration"), 1e9)
    if started is None and "StartLocal" not in found:
        at -= max(seconds, 0.0)
    address = found.get("ClientHost") or found.get("ClientAddr")
    return Line(
        at,
        seconds,
        exact,
        address_of(str(address)),
        _method(method),
        str(found["RequestPath"]),
        int(found.get("DownstreamStatus") or found.get("OriginStatus") or 0),
        str(found.get("request_User-Agent", "")),
        str(found.get("RequestHost", "")),
        str(found.get("request_Referer", "")),
        str(found.get("request_Accept-Language", "")),
        service=_number(found.get("OriginDuration"), 1e9),
        forwarded=str(found.get("request_X-Forwarded-For", "")),
    )


def _by_names(found: Fields) -> Line | None:
    line = _one_of(found, REQUESTS)
    if line is not None:
        words = str(line).split(" ")
        if len(words) < 2 or not is_method(words[0]):
            return None
        method, target = words[0], words[1]
    else:
        method, target = str(_needed(found, METHODS, "method")), str(_needed(found, TARGETS, "path"))
        if not is_method(method):
            return None  # HAProxy's <BADREQ>
    at, exact = anything(_needed(found, TIMES, "time"))
    seconds = _duration(_one_of(found, SECONDS))
    if seconds < 0:
        seconds = _number(_one_of(found, MILLISECONDS), 1000.0)
    service = _duration(_last(_one_of(found, SERVICES)))
    if service < 0:
        service = _number(_one_of(found, SERVICE_MILLISECONDS), 1000.0)
    status = int(_needed(found, STATUSES, "status"))
    return Line(
        at if _begins(found) else at - max(seconds, 0.0),
        seconds,
        exact,
        address_of(str(_needed(found, ADDRESSES, "address"))),
        method,
        target,
        status if 100 <= status < 600 else 0,
        _text(_one_of(found, AGENTS)),
        _text(_one_of(found, HOSTS)),
        _text(_one_of(found, REFERERS)),
        _text(_one_of(found, LANGUAGES)),
        service=service,
        forwarded=_text(_one_of(found, FORWARDED)),
    )


def _begins(found: Fields) -> bool:
    """Whether the time is that at which a request came, as HAProxy has it."""
    return "time_active" in found or "Ta" in found or "StartUTC" in found


def _one_of(found: Fields, names: tuple[str, ...]) -> Any:
    for name in names:
        if (value := found.get(name)) is not None:
            return value
    return None


def _needed(found: Fields, names: tuple[str, ...], what: str) -> Any:
    value = _one_of(found, names)
    if value is None:
        raise ForeignError(f"JSON without a field that is known as {what}: {', '.join(names[:4])}, …")
    return value


def _method(value: Any) -> str:
    if not isinstance(value, str) or not is_method(value):
        raise ForeignError("no method of a request")
    return value


def _text(value: Any) -> str:
    return "" if value is None or value == "-" else str(value)


def _first(headers: Fields, name: str) -> str:
    """The first value of a field, as Caddy has it: a list; or a text."""
    value = headers.get(name)
    if isinstance(value, list):
        value = value[0] if value else None
    return "" if value is None else str(value)


def _last(value: Any) -> Any:
    """Of the times of several servers, as nginx has them ("0.001, 0.012 : 0.003"), the last."""
    return re.split(r"[,:] *", value)[-1] if isinstance(value, str) and ("," in value or " : " in value) else value


def _duration(value: Any) -> float:
    """Seconds, out of a number, a text with one, or Go's "1m2.5s"; UNKNOWN for nothing of the kind."""
    if isinstance(value, str) and value[-1:] in ("s", "m", "h"):
        parts = list(_parts(value))
        return _sound(sum(parts)) if parts else UNKNOWN
    return _number(value, 1.0)


def _parts(text: str) -> Iterator[float]:
    for number, unit in _GO_TIME.findall(text[:64]):
        yield float(number) * _GO_UNITS[unit]


def _number(value: Any, units: float) -> float:
    """Seconds, out of a number of so many in a second; UNKNOWN where there is none."""
    if value is None or isinstance(value, bool):
        return UNKNOWN
    try:
        return _sound(float(value) / units)
    except (ValueError, TypeError, OverflowError):
        return UNKNOWN


def _sound(seconds: float) -> float:
    return seconds if 0.0 <= seconds <= LONGEST else UNKNOWN
