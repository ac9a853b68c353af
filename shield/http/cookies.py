"""The pass in a Cookie field: found, and taken out before the field goes on to the upstream."""

from __future__ import annotations

from typing import Final

HOST_ONLY: Final = b"__Host-"
"""A cookie whose name begins so was set over TLS, by this very host, for all of it (RFC 6265bis section 4.1.3.2)."""

WAITS: Final = b"_wait"
"""What the name of a pass cookie ends with where it holds the ticket of somebody who waits for one."""

MOST_LOOKED_AT: Final = 32
"""Places in one field where the name may stand. A browser sends it twice for each path and domain that set it."""
_BETWEEN: Final = b"; \t\n\r\x0b\x0c"


def take_cookie(cookies: bytes, name: bytes) -> tuple[bytes, bytes]:
    """Split a Cookie value into (our token or b"", the other cookies as they were sent).

    The first cookie called HOST_ONLY + `name` counts, else the first called `name`, which another host of the same
    domain can set as well. Every one of both names is removed, so that the pass never reaches the upstream. What stands
    behind MOST_LOOKED_AT places is dropped. The field is searched and not split, since it may hold 16,000 cookies.
    """
    place = cookies.find(name)
    if place < 0:
        return b"", cookies
    own = any_host = b""
    kept = []
    at = 0  # what stands before it has been read
    end = len(cookies)
    for _ in range(MOST_LOOKED_AT):
        host_only = cookies[max(0, place - 7) : place] == HOST_ONLY
        before = cookies[at : place - 7 if host_only else place].rstrip()
        value = place + len(name) + 1
        if cookies[value - 1 : value] == b"=" and (not before or before[-1:] == b";"):
            stop = cookies.find(b";", value)
            if stop < 0:
                stop = end
            token = cookies[value:stop].strip()
            if host_only:
                own = own or token
            else:
                any_host = any_host or token
            if before:
                kept.append(before)
            at = stop + 1
        place = cookies.find(name, max(value, at))
        if place < 0:
            kept.append(cookies[at:])
            break
    return own or any_host, b"".join(kept).strip(_BETWEEN)
