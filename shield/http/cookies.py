"""The pass in a Cookie field: found, and taken out before the field goes on to the upstream."""

from __future__ import annotations

from typing import Final

HOST_ONLY: Final = b"__Host-"
"""A cookie whose name begins so was set over TLS, by this very host, for all of it (RFC 6265bis section 4.1.3.2)."""


def take_cookie(cookies: bytes, name: bytes) -> tuple[bytes, bytes]:
    """Split a Cookie value into (our token or b"", the other cookies as they were).

    The first cookie called HOST_ONLY + `name` counts, else the first called `name`, which another host of the same
    domain can set as well. Every one of both names is removed, so that the pass never reaches the upstream.
    """
    if name not in cookies:
        return b"", cookies
    own = any_host = b""
    rest = []
    for part in cookies.split(b";"):
        key, equals, value = part.strip().partition(b"=")
        if not equals:
            rest.append(part.strip())
        elif key == name:
            any_host = any_host or value
        elif key == HOST_ONLY + name:
            own = own or value
        else:
            rest.append(part.strip())
    return own or any_host, b"; ".join(rest)
