"""Addresses that do not listen: they go on against refusals far beyond what honest programs do.

A refusal costs Shield little, but not nothing, and whoever ignores it pays nothing at all. So refusals are counted by
address, in a bucket that drains: more than `refusals` that come faster than `per_second` are no retry loop and no page.
Nothing of such an address is answered any more for `least_seconds`, and for `longer` times as long each time after
that. Its connections are reset, and new ones are dropped by the kernel where it can (accept/dropping.py).

Nobody who listens is dropped with the others behind an address, and nobody for what somebody else made it send:

    somebody there has a history              the address is never dropped
    a challenge was answered from there       the count begins anew (sales.py), and nobody is dropped for SPARED s
    somebody there showed a pass              likewise
    another client there was served           not dropped, while Shield's core has time
    a page elsewhere may have had it sent,    not counted, while Shield's core has time: pictures and what else shows no
    or nobody could answer a challenge        page. A browser asks for hundreds of them a second, if a page so wishes
    the operator allows it, DNS vouches       never
    it is 127.0.0.1 or ::1                    never: health checks come from there
    it could be anybody (overflow)            never

Of a flood of refusals each SAMPLED-th counts for SAMPLED, since a refusal is to stay cheap. At most `addresses` are
dropped at a time: when there are more, the one that was dropped first is let go.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Final

from annotated_types import Ge, Gt, Le
from typing_extensions import Doc

from shield.complaints import WEBHOOK, Complaint
from shield.marks import Unit, Why
from shield.policy.entries import AddressEntry
from shield.policy.history import History
from shield.policy.identity import Client
from shield.policy.locations import locate
from shield.policy.notes import Notes
from shield.policy.provoked import could_answer
from shield.policy.request import Request

SAMPLED: Final = 16
SPARED: Final = 600.0
"""Seconds for which an address is not dropped after somebody there paid: for as long as a pass lives under attack."""
LOOPBACK: Final = frozenset(locate(address)[1] for address in ("127.0.0.1", "::1"))
TABLE: Final = re.compile("[A-Za-z][A-Za-z0-9_]{0,30}")
MET_AGAIN: Final = 4.0
"""times `most_seconds` since the last drop ended, after which an address begins with `least_seconds` again."""


@dataclass(frozen=True, slots=True)
class DropsSettings:
    """When nothing of an address is answered any more, and for how long."""

    enabled: Annotated[bool, Doc("Whether addresses that go on against refusals are dropped.")] = True
    kernel: Annotated[
        bool,
        Doc(
            "Whether the kernel drops their connections, where it can: on Linux, without listen.trusted_proxies. "
            "Where it does not, Shield accepts and closes them."
        ),
    ] = True
    refusals: Annotated[
        float,
        Ge(SAMPLED),
        Unit("requests"),
        Doc("Refused requests of an address, beyond `per_second`, after which it is dropped."),
        Why(
            "Chosen",
            "six loads of a page of 100 parts in vain; 100 requests/s come to it in 6 s, 30 requests/s in 24 s",
        ),
    ] = 600.0
    per_second: Annotated[
        float,
        Gt(0),
        Unit("requests/s"),
        Doc("Refused requests that an address may go on with for ever."),
        Why("Chosen", "five programs that poll each second and cannot pay are a nuisance, and no attack"),
    ] = 5.0
    least_seconds: Annotated[
        float, Gt(0), Unit("s"), Doc("Time for which an address is dropped at first."), Why("Precedent", "as a ban")
    ] = 60.0
    longer: Annotated[
        float,
        Ge(1),
        Le(10),
        Unit("times"),
        Doc("Length of each further drop as a multiple of the last."),
        Why("Precedent", "as `reputation.relapse`"),
    ] = 2.0
    most_seconds: Annotated[
        float,
        Gt(0),
        Unit("s"),
        Doc("Time for which an address is dropped at most. Four times as long after a drop it begins anew."),
        Why(
            "Chosen",
            "newcomers share the address, or get it next; to drop it again costs Shield some hundred refusals",
        ),
    ] = 600.0
    addresses: Annotated[
        int,
        Ge(1),
        Le(65_536),
        Unit("entries"),
        Doc("Addresses that are dropped at a time, and remembered after that. The kernel takes 800 to 2,000 of them."),
        Why("Chosen", "more than a program in the kernel can hold; 300 B each"),
    ] = 4096

    export_file: Annotated[
        str,
        Doc(
            "File that always has a list of what is dropped, as JSON, for whoever filters earlier; an absolute path. "
            "Empty: none."
        ),
    ] = ""
    export_url: Annotated[
        str,
        Doc("Webhook that is sent the same list whenever it changes: http:// or https://. Empty: none."),
    ] = ""
    nftables: Annotated[
        str,
        Doc(
            "Table of nftables (family inet) that Shield makes, and in which it has nft(8) drop them; needs "
            "CAP_NET_ADMIN. Empty: none."
        ),
    ] = ""

    @property
    def exports(self) -> bool:
        """Whether somebody else is to be told who is dropped."""
        return self.enabled and bool(self.export_file or self.export_url or self.nftables)

    @property
    def by_kernel(self) -> bool:
        """Whether the kernel is to drop connections."""
        return self.enabled and self.kernel

    def complaints(self) -> Iterator[Complaint]:
        if self.most_seconds < self.least_seconds:
            yield ("most_seconds",), f"at least drops.least_seconds, which is {self.least_seconds}"
        if self.export_file and not self.export_file.startswith("/"):
            yield ("export_file",), "an absolute path"
        if self.export_url and not WEBHOOK.fullmatch(self.export_url):
            yield ("export_url",), "a URL that begins with http:// or https:// and has a host"
        if self.nftables and not TABLE.fullmatch(self.nftables):
            yield ("nftables",), "a name of letters, digits and _, which begins with a letter"


class _Drop:
    """What is remembered of an address that was dropped: until when, and how often."""

    __slots__ = ("times", "until")

    def __init__(self) -> None:
        self.until = 0.0
        self.times = 0


class Drops:
    """Which addresses are dropped. `version` changes with them."""

    __slots__ = ("_addresses", "_full", "_history", "_notes", "_refused", "_settings", "active", "version")

    def __init__(self, settings: DropsSettings, history: History, notes: Notes) -> None:
        self._settings = settings
        self._history = history
        self._notes = notes
        self._addresses: dict[str, _Drop] = {}  # by name; the one dropped last is last
        self._refused = 0
        self._full = False  # Shield's core
        self.active: dict[str, float] = {}  # name of an address that is dropped: until when
        self.version = 0

    def refused(self, request: Request, now: float) -> None:
        """A request was refused."""
        self._refused += 1
        if self._refused % SAMPLED == 0 and (self._full or could_answer(request)):
            self._count_client(request.client, now)

    def broken(self, client: Client, now: float) -> None:
        """A banned client has sent what is no request."""
        self._refused += 1
        if self._refused % SAMPLED == 0:
            self._count_client(client, now)

    def refused_unread(self, source: AddressEntry, now: float) -> None:
        """A request from an address that is banned for all was refused."""
        self._refused += 1
        if self._refused % SAMPLED == 0:
            self._count(source, 0, now)

    def release(self, freed: Callable[[str], bool]) -> None:
        """Answer those addresses again, by name, that `freed` says."""
        over = [name for name in self.active if freed(name)]
        for name in over:
            del self.active[name]
            self._addresses.pop(name, None)
        if over:
            self.version += 1

    def close_window(self, full: bool, now: float) -> None:
        """Let go of those whose turn is over, and forget those of long ago. `full`: Shield's core has no time left."""
        self._full = full
        over = [name for name, until in self.active.items() if until <= now]
        for name in over:
            del self.active[name]
        if over:
            self.version += 1
        forgotten = now - MET_AGAIN * self._settings.most_seconds
        while self._addresses:
            name, drop = next(iter(self._addresses.items()))
            if drop.until > forgotten:
                break
            del self._addresses[name]

    def rows(self, shift: float) -> Iterator[list[Any]]:
        """The addresses as plain rows: name, until when, how often. `shift`: from our clock to that of the rows."""
        for name, drop in tuple(self._addresses.items()):
            yield [name, drop.until + shift, drop.times]

    def restore(self, source: AddressEntry, until: float, times: int, now: float) -> bool:
        """Take what a row from before a restart says of an address, unless it may not be dropped."""
        settings, rare, name = self._settings, source.rare, source.name
        until = min(until, now + settings.most_seconds)
        if rare.overflow or rare.named is not None or rare.vouched or name in self._addresses or name in LOOPBACK:
            return False
        if self._history.clients_at(name) or not settings.enabled or len(self._addresses) >= settings.addresses:
            return False
        drop = self._addresses[name] = _Drop()
        drop.times, drop.until = times, until
        if until > now:
            self.active[name] = until
            self.version += 1
        return True

    def _count_client(self, client: Client, now: float) -> None:
        self._count(client.source, client.source.served - (client.entry.windows > 0), now)

    def _count(self, source: AddressEntry, others: int, now: float) -> None:
        """`others`: clients at the address that were served, besides the one that was refused."""
        settings, rare = self._settings, source.rare
        name = source.name
        if rare.overflow or rare.named is not None or rare.vouched or name in self.active or name in LOOPBACK:
            return
        unheeded = max(rare.unheeded - (now - rare.unheeded_at) * settings.per_second, 0.0) + SAMPLED
        source.unheeded_at = now
        if unheeded >= settings.refusals:
            unheeded = settings.refusals  # or the address would be dropped long after
            listens = rare.paid_at + SPARED > now or (others > 0 and not self._full) or self._history.clients_at(name)
            if settings.enabled and not listens:
                unheeded = 0.0
                self._drop(name, now)
        source.unheeded = unheeded

    def _drop(self, name: str, now: float) -> None:
        settings = self._settings
        drop = self._addresses.pop(name, None) or _Drop()
        if len(self._addresses) >= settings.addresses:
            first = next(iter(self._addresses))
            del self._addresses[first]
            self.active.pop(first, None)
        self._addresses[name] = drop
        seconds = min(settings.least_seconds * settings.longer ** min(drop.times, 32), settings.most_seconds)
        drop.times += 1
        drop.until = self.active[name] = now + seconds
        self.version += 1
        self._notes.add("address_dropped", address=name, seconds=seconds, times=drop.times)
