"""What no type can say: every table's complaints about itself, and those that concern several tables.

Each check yields (path, what is allowed); validation.py adds the line and what was found.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import TYPE_CHECKING

from shield.complaints import Complaint

if TYPE_CHECKING:
    from shield.config.settings import Config


def check(config: Config) -> Iterator[Complaint]:
    """Everything that is wrong with a config whose types and ranges are right."""
    for table in fields(config):
        complaints = getattr(getattr(config, table.name), "complaints", None)
        if complaints is not None:
            yield from (((table.name, *place), allowed) for place, allowed in complaints())
    yield from _listening_twice(config)


def _listening_twice(config: Config) -> Iterator[Complaint]:
    """The listener for plain HTTP and the admin listener need addresses of their own; port 0 is never taken."""
    clients = config.listen.addresses
    for number, address in enumerate(config.tls.redirect_from):
        if address in clients and not address.endswith(":0"):
            yield ("tls", "redirect_from", number), "clients connect here already"
    address = config.admin.address
    if address and address in (*clients, *config.tls.redirect_from) and not address.endswith(":0"):
        yield ("admin", "address"), "clients connect here already: choose another port"
