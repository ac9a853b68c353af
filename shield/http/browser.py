"""What a browser says about a request: where it comes from, which form it posts, which answer it brings.

By it Shield decides whether a challenged form may be posted again. `headers` is a case-insensitive mapping of field
names to their first values. The fields relied on are Origin (Fetch standard) and Sec-Fetch-Site (Fetch Metadata). Who
reads what Shield says is a question of its own (shield/readers.py).
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping
from typing import Final

import orjson

MAX_ANSWER_BYTES: Final = 8 * 1024
"""bytes. A token of 52 characters and 255 nonces of 16 digits with commas and spaces come to 4.7 KiB."""

MAX_TOKEN_CHARS: Final = 128
"""Challenge tokens have 52 characters; the rest is room for other algorithms."""

MAX_NONCES: Final = 255
"""A challenge says in one byte how many it wants."""

MAX_NONCE: Final = 2**53 - 1
"""The largest integer that JSON numbers keep exact in JavaScript."""

MAX_FORM_BYTES: Final = 64 * 1024
"""bytes. A larger form is not carried through the challenge page."""

MAX_FORM_FIELDS: Final = 1000
"""The limit of common form parsers (PHP's max_input_vars, Django's DATA_UPLOAD_MAX_NUMBER_FIELDS)."""


def cross_site(headers: Mapping[str, str], trusted: bool) -> bool:
    """Whether a browser says that a page of another origin made this request. Programs say no such thing.

    Sec-Fetch-Site decides if there is one. Without it, as over plain HTTP and from old browsers, Origin must name the
    same host as Host; but not when a `trusted` proxy brings the request, which may have replaced Host.
    """
    site = headers.get("Sec-Fetch-Site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = headers.get("Origin")
    if origin is None or trusted:
        return False
    return origin.partition("://")[2].lower() != headers.get("Host", "").lower()


def same_origin(headers: Mapping[str, str], scheme: str) -> bool:
    """Whether a browser vouches that a page of this very origin made the request.

    Sec-Fetch-Site decides if there is one, as in secure contexts; `none`, a request made by the user, is not enough for
    a post. Otherwise Origin must equal `scheme`://Host. With neither field nothing is known, so False.
    """
    site = headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "same-origin"
    origin, host = headers.get("Origin"), headers.get("Host")
    return origin is not None and host is not None and origin.lower() == f"{scheme}://{host}".lower()


def parse_answer(body: bytes) -> tuple[str, list[int]] | str | None:
    """The token and the nonces of an answer to a challenge, or the ticket of somebody who waits for a pass.

    None when it is neither. Only the form is checked.
    """
    if len(body) > MAX_ANSWER_BYTES:
        return None
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if type(answer) is not dict:
        return None
    ticket = answer.get("ticket")
    if type(ticket) is str:
        return ticket if len(ticket) <= MAX_TOKEN_CHARS and ticket.isascii() else None
    token, nonces = answer.get("token"), answer.get("nonces")
    if type(token) is not str or not 0 < len(token) <= MAX_TOKEN_CHARS or not token.isascii():
        return None
    if type(nonces) is not list or not 0 < len(nonces) <= MAX_NONCES:
        return None
    # `type(...) is int` rather than isinstance: JSON's true is not 1.
    if not all(type(nonce) is int and 0 <= nonce <= MAX_NONCE for nonce in nonces):
        return None
    return token, nonces


def parse_form(body: bytes, content_type: str) -> list[tuple[str, str]] | None:
    """The fields of a posted form, or None when the challenge page could not have a browser post the same bytes again.

    It can for application/x-www-form-urlencoded in UTF-8, as far as the fields survive hidden inputs. What a browser
    would leave out (a field without a name), change (a lone CR or LF, NUL, `_charset_`) or encode otherwise, does not.
    """
    media, _, parameters = content_type.partition(";")
    if media.strip().lower() != "application/x-www-form-urlencoded":
        return None
    if parameters.replace('"', "").strip().lower() not in ("", "charset=utf-8"):
        return None
    if len(body) > MAX_FORM_BYTES:
        return None
    try:
        fields = urllib.parse.parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            encoding="utf-8",
            errors="strict",
            max_num_fields=MAX_FORM_FIELDS,
        )
    except ValueError:  # not ASCII, not UTF-8 inside, no "=", or too many
        return None
    if all(_survives(name, value) for name, value in fields) and encode_form(fields) == body:
        return fields
    return None


def encode_form(fields: list[tuple[str, str]]) -> bytes:
    """application/x-www-form-urlencoded as browsers write it (URL standard, section 5.2)."""
    return "&".join(f"{_quote(name)}={_quote(value)}" for name, value in fields).encode("ascii")


def _quote(text: str) -> str:
    return urllib.parse.quote_plus(text, safe="*").replace("~", "%7E")


def _survives(name: str, value: str) -> bool:
    """Whether a browser posts a hidden input of this name with this value as it is."""
    if not name or name == "_charset_":
        return False
    bare = (name + "=" + value).replace("\r\n", "")  # a browser turns a lone CR or LF into CRLF
    return not ("\0" in bare or "\r" in bare or "\n" in bare)
