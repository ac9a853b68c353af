"""The [cluster] table: several machines as one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, NamedTuple
from urllib.parse import unquote, urlsplit

from annotated_types import Ge, Gt, Le
from typing_extensions import Doc

from shield.complaints import Complaint
from shield.marks import Unit, Why

PORT: Final = 6379
SENTINEL_PORT: Final = 26379
_SCHEME: Final = re.compile(r"(valkey|redis|valkeys|rediss)(\+sentinel|\+cluster)?")
_NAME: Final = re.compile(r"[0-9A-Za-z_.-]{1,64}")
_FORM: Final = 'write "valkey://HOST:PORT", or valkeys:// for TLS'


class Place(NamedTuple):
    """Where the store is: `kind` is "", "sentinel" or "cluster"; `service` is what sentinels call it."""

    kind: str
    tls: bool
    user: str
    hosts: tuple[tuple[str, int], ...]
    database: int
    service: str


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """Several machines as one, over a store that they share. It needs the extra: pip install '.[cluster]'."""

    store: Annotated[
        str,
        Doc(
            'Valkey or Redis 7 that all nodes reach: "valkey://user@host:6379/0", valkeys:// for TLS, '
            '"valkey+sentinel://host:26379,host:26379/service", "valkey+cluster://host:6379,host:6379". Empty: this '
            "machine is alone."
        ),
    ] = ""
    name: Annotated[
        str, Doc("Name of the cluster; everything in the store begins with it in braces. Nodes of one name are one.")
    ] = "shield"
    node: Annotated[str, Doc("Name of this node, which no other one has. Empty: the host name.")] = ""
    nodes: Annotated[
        int,
        Ge(1),
        Le(1024),
        Unit("nodes"),
        Doc("How many nodes there are to be. A node that has not reached the store yet takes this part of its limits."),
        Why("Chosen", "who sets up more says how many"),
    ] = 1
    lease: Annotated[
        float,
        Gt(0),
        Le(1),
        Unit("of a burst"),
        Doc("What one node lets a client have of its burst before it has heard what the client has had elsewhere."),
        Why("Chosen", "a page of a hundred parts loads at once from one node"),
    ] = 0.5
    one_service: Annotated[
        bool,
        Doc(
            "The nodes stand before the same servers, so a fixed upstream.max_concurrency is for all of them together. "
            "False: each node has servers of its own."
        ),
    ] = True
    password_file: Annotated[str, Doc("File with the password for the store, one line, mode 0600. Empty: none.")] = ""
    ca_file: Annotated[
        str, Doc("PEM file with the authorities that the store's certificate may be from. Empty: those of the system.")
    ] = ""
    deadline: Annotated[
        float,
        Gt(0),
        Le(1),
        Unit("seconds"),
        Doc("Time in which the store must answer. One that takes longer is taken for lost."),
        Why("Chosen", "a hundred times what it takes in one data centre"),
    ] = 0.25

    def place(self) -> Place:
        """Where the store is. ValueError says what is wrong with it."""
        return read(self.store)

    def complaints(self) -> Iterator[Complaint]:
        if not self.store:
            return
        try:
            place = read(self.store)
        except ValueError as error:
            yield ("store",), str(error)
            return
        if not _NAME.fullmatch(self.name):
            yield ("name",), "1 to 64 letters, digits and . _ -"
        if self.node and not _NAME.fullmatch(self.node):
            yield ("node",), "1 to 64 letters, digits and . _ -"
        if place.user and not self.password_file:
            yield ("password_file",), f"the user {place.user} has a password; name the file that it is in"
        if self.ca_file and not place.tls:
            yield ("ca_file",), "of no use without TLS: the store must begin with valkeys:// or rediss://"
        for key in ("password_file", "ca_file"):
            path = getattr(self, key)
            if path and not Path(path).is_file():
                yield (key,), f"there is no file {path}"


def read(store: str) -> Place:
    """Where a store is, by its URL. ValueError says what is wrong with it."""
    scheme, found, rest = store.partition("://")
    form = _SCHEME.fullmatch(scheme)
    if not found or form is None:
        raise ValueError(f"{_FORM}, with +sentinel or +cluster after the scheme if it is one")
    kind = (form[2] or "").removeprefix("+")
    try:
        where = urlsplit(f"//{rest}")
    except ValueError:
        raise ValueError(_FORM) from None
    userinfo, _, hosts = where.netloc.rpartition("@")
    user, has_password, _ = userinfo.partition(":")
    if has_password:
        raise ValueError("no password here: others can read this file. Name the file that has it in password_file")
    if where.query or where.fragment:
        raise ValueError(f"{_FORM}; there are no options after it")
    port = SENTINEL_PORT if kind == "sentinel" else PORT
    path = where.path.strip("/")
    several = hosts.split(",")
    if len(several) > 1 and not kind:
        raise ValueError("one host; several are the sentinels of valkey+sentinel:// or nodes of valkey+cluster://")
    if kind == "sentinel" and not path:
        raise ValueError("what do the sentinels call the service? valkey+sentinel://HOST:26379/NAME")
    if kind == "cluster" and path:
        raise ValueError("a cluster of the store has one database only: leave out what follows the hosts")
    if not kind and path and not (path.isascii() and path.isdecimal() and len(path) < 6):
        raise ValueError(f"the database is a number, not {path[:20]}")
    return Place(
        kind,
        form[1] in ("valkeys", "rediss"),
        unquote(user),
        tuple(_host(one, port) for one in several),
        int(path) if path and not kind else 0,
        path if kind == "sentinel" else "",
    )


def _host(text: str, port: int) -> tuple[str, int]:
    try:
        split = urlsplit(f"//{text}")
        host, given = split.hostname, split.port
    except ValueError:
        raise ValueError(f"{text[:60]} is no host and port") from None
    if not host:
        raise ValueError(_FORM)
    return host, given or port
