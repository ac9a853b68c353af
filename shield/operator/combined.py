"""A request as a line of the Combined Log Format, which log analysers read.

    ADDRESS - - [day/month/year:time zone] "METHOD path PROTOCOL" STATUS BYTES "Referer" "User-Agent"

The path is without its query, as everywhere in the log. Quotes, backslashes and all that is no printable ASCII are
written \\xHH, as nginx does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

REFERER_CHARACTERS: Final = 1024

_PLAIN: Final = re.compile(r"[ !#-\[\]-~]*")
_BYTES: Final = [chr(byte) if _PLAIN.fullmatch(chr(byte)) and byte < 128 else f"\\x{byte:02X}" for byte in range(256)]
_MONTHS: Final = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
NO_FIELDS: Final[Mapping[str, str]] = {}


def line(
    when: str,
    address: str,
    asked: str,
    status: int,
    sent: int,
    fields: Mapping[str, str] = NO_FIELDS,
    agent_characters: int = REFERER_CHARACTERS,
) -> bytes:
    """One line. `asked` is the request line; `when` as `clock` makes it; `fields` are those of the request."""
    referer, agent = fields.get("Referer"), fields.get("User-Agent")
    return (
        f'{address} - - [{when}] "{escaped(asked)}" {status} {sent} '
        f'"{escaped(referer[:REFERER_CHARACTERS]) if referer else "-"}" '
        f'"{escaped(agent[:agent_characters]) if agent else "-"}"\n'
    ).encode("ascii", "backslashreplace")


def clock(wall: int) -> str:
    """A second of the wall clock, in UTC."""
    at = datetime.fromtimestamp(wall, UTC)
    return f"{at.day:02d}/{_MONTHS[at.month - 1]}/{at.year}:{at:%H:%M:%S} +0000"


def escaped(text: str) -> str:
    """Text of strangers, fit to stand in quotes on a line."""
    if _PLAIN.fullmatch(text):
        return text
    return "".join([_BYTES[byte] for byte in text.encode("utf-8", "surrogateescape")])
