"""What a picture on somebody else's page makes a browser do: it speaks TLS to a port for plain HTTP.

`<img src="https://site:80/1.png">`, eight times on a page: whoever looks at it opens eight connections and sends a
ClientHello over each. The visitors have the addresses that they are given, those of people who use the site.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import itertools
import ssl
import time
from collections.abc import Sequence
from typing import Any, Final

from bench.common.guard import Target

PICTURES: Final = 8  # on a page
PATIENCE: Final = 5.0  # seconds for an answer
ALERT: Final = 0x15  # the first byte of a TLS record that holds one


def client_hello(name: str = "site.example") -> bytes:
    """As OpenSSL sends it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    sent = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):  # the answer
        context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname=name).do_handshake()
    return sent.read()


class Pictures:
    """What all visitors of the page share. `rate` in connections/s."""

    def __init__(self, site: Target, addresses: Sequence[str], rate: float) -> None:
        self.site = site
        self.addresses = addresses
        self.rate = rate
        self.hello = client_hello()
        self.counts: collections.Counter[str] = collections.Counter()
        self.statuses: collections.Counter[str] = collections.Counter()
        self.first_byte: float | None = None

    async def run(self, starts: float, seconds: float) -> dict[str, Any]:
        """From the monotonic time `starts` on."""
        visitors = itertools.cycle(self.addresses)
        async with asyncio.TaskGroup() as group:
            for number in range(round(self.rate * seconds / PICTURES)):
                await asyncio.sleep(starts + number * PICTURES / self.rate - time.monotonic())
                address = next(visitors)
                for _ in range(PICTURES):
                    group.create_task(self.picture(address))
        return {"first_byte": self.first_byte, **self.counts, "statuses": dict(sorted(self.statuses.items()))}

    async def picture(self, address: str) -> None:
        """One connection, until the other side ends it."""
        try:
            async with asyncio.timeout(PATIENCE):
                reader, writer = await asyncio.open_connection(self.site.host, self.site.port, local_addr=(address, 0))
                self.first_byte = self.first_byte or time.monotonic()
                self.counts["sent"] += 1
                try:
                    writer.write(self.hello)
                    self.statuses[said(await reader.read())] += 1
                finally:
                    writer.close()
        except TimeoutError:
            self.counts["unanswered"] += 1
        except OSError:
            self.counts["reset"] += 1


def said(answer: bytes) -> str:
    """What the other side answered to a ClientHello."""
    if answer.startswith(b"HTTP/"):
        return answer[9:12].decode("latin-1")
    return "nothing" if not answer else "alert" if answer[0] == ALERT else "other"
