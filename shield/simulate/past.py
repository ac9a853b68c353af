"""The past of a scene, as after a restart: the histories that Shield remembers, and the passes that clients hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from shield.model import Outcome
from shield.policy.request import Request

if TYPE_CHECKING:
    from shield.policy.engine import Engine
    from shield.policy.identity import Client
    from shield.simulate.people import Crowd

DAY: Final = 86_400.0
SPREAD: Final = 4.0
"""How much more or less than `past.units` one was served, at most; evenly on a log scale."""

Row = list[Any]


def remember(
    engine: Engine, another: Callable[[], Engine], crowds: Iterable[Crowd], now: float, wall_offset: float
) -> None:
    """Give the engine the past of all crowds, and each crowd the passes that its members hold.

    `another` makes an engine with the same keys: it tells the names of clients and gives the passes, so that nothing
    but what a restart would bring gets into this one.
    """
    rows: list[Row] = []
    for crowd in crowds:
        model = crowd.model
        if not model.past.windows:
            continue
        first = now - model.past.days * DAY
        namer = another()
        count = 1 if model.passes == "shared" else model.members  # the others have it from the first
        clients = [crowd.identify(namer, member, first) for member in range(count)]
        units = [model.past.units * SPREAD ** crowd.random.uniform(-1.0, 1.0) for _ in clients]

        keys = [client.key for client in clients]
        its_rows = _rows(clients, keys, units, first, now, model.past.windows, wall_offset)
        if model.passes in ("earned", "shared"):
            before = first + DAY * 1.5  # a network that has been known for a day gets as many passes as it likes
            giver = another()
            giver.import_history(_rows(clients, keys, units, first, before, model.past.windows, wall_offset), before)
            tokens = [_earn(giver, crowd.identify(giver, member, before), before) for member in range(count)]
            crowd.tokens.update(enumerate(tokens))
            ids = [_id_of(giver, token, before) for token in tokens]
            its_rows += _rows(clients, ids, units, first, now, model.past.windows, wall_offset)
        rows += its_rows
    engine.import_history(rows, now)


def _rows(
    clients: list[Client],
    keys: list[bytes],
    units: list[float],
    first: float,
    last: float,
    windows: int,
    wall_offset: float,
) -> list[Row]:
    """Rows of history as Engine.export_history makes them."""
    return [
        [key.hex(), client.home, client.network, first + wall_offset, last + wall_offset, windows, served]
        for client, key, served in zip(clients, keys, units, strict=True)
    ]


def _earn(engine: Engine, client: Client, now: float) -> str:
    """The pass that a known client is given with a page."""
    request = Request(client, "GET", "/", {}, None, False, None)
    engine.decide(request, now)
    engine.learn(request, Outcome(200, 0.01), now)
    token = engine.grant(request, now)
    if token is None:
        raise ValueError(f"{client} was given no pass: is its network denied?")
    return token


def _id_of(engine: Engine, token: str, now: float) -> bytes:
    """The id of a pass that the engine has given."""
    found = engine.present(token, now)
    if found is None:
        raise ValueError("a pass that was just given is void")
    return found.key
