"""The dashboard in a terminal: what comes is shown, whatever it is, and commands are carried out."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Iterator
from typing import Any

import pytest

from shield.console import board
from shield.console.client import Admin, UnreachableError
from shield.operator.figures import COLUMNS

textual = pytest.importorskip("textual")
from shield.console import top  # noqa: E402
from shield.console.top import Answer, Rows, Top, parse  # noqa: E402

HOSTILE = "\x1b]0;owned\x07[red]x[/red]\u202e"


def row(**more: float) -> list[float | None]:
    return [more.get(name, 0.0) for name in COLUMNS]


def state(**more: Any) -> dict[str, Any]:
    return {
        "ready": True, "pressure": 0.4, "strictness": 0.4, "demand": 90.0, "capacity": 50.0, "in_flight": 3,
        "concurrency": 20.0, "waiting": 4, "queue": 60, "active_bans": {"client": 1}, "dropped": 0, "busy": 0.5,
        "market": {"price": 4096}, "overload": ["latency"], "signs": {"latency": "the service has become slow"},
        "attack": True, "attack_seconds": 130.0, "cause": "the service has become slow", "strangers": 200.0,
        "tiers": [{"tier": "T0", "asked": 9.0, "served": 8.0, "p50": 0.012, "p95": 2.5}],
        "refused": [
            {"at": 1.0, "id": "0000000a-1", "address": "203.0.113.7", "method": "GET", "path": f"/{HOSTILE}",
             "why": "a newcomer, under pressure", "known": False, "count": 3, "reason": "newcomer"},
            {"at": 1.0, "id": "0000000a-2", "address": "203.0.113.8", "method": "GET", "path": "/",
             "why": "a newcomer, under pressure", "known": True, "count": 1, "reason": "newcomer"},
        ],
        "networks": [["203.0.113.0/24", 100.0]], "verdicts": [{"rate": 5.0, "action": "challenge", "why": "new"}],
        "events": [{"at": 1_790_000_000.0, "text": f"An attack begins {HOSTILE}"}],
        **more,
    }  # fmt: skip


class Fake:
    """A stream whose events the test gives."""

    def __init__(self) -> None:
        self.given: queue.Queue[Any] = queue.Queue()
        self.opened = 0
        self.closed = False

    def open(self) -> Any:
        self.opened += 1
        return self

    def __iter__(self) -> Iterator[tuple[str, dict[str, Any]]]:
        while (event := self.given.get(timeout=20)) is not None:
            if isinstance(event, Exception):
                raise event
            yield event

    def close(self) -> None:
        self.closed = True
        self.given.put(None)


class FakeAdmin(Admin):
    def __init__(self) -> None:
        super().__init__("127.0.0.1:9901")
        self.asked: list[tuple[str, str, Any]] = []

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        self.asked.append((method, path, body))
        return 409, {"title": "Refused", "detail": f"that would lock you out {HOSTILE}"}


@pytest.fixture
def stream() -> Fake:
    return Fake()


async def shown(app: Top, pilot: Any, text: str) -> None:
    """Wait until the head of the screen says something."""
    async with asyncio.timeout(20):
        while text not in str(app.query_one("#head").render()):
            await pilot.pause(0.02)


def begin(stream: Fake, **more: Any) -> None:
    stream.given.put(("history", {"columns": list(COLUMNS), "rows": [row(time=1.0, forward=5.0)] * 50}))
    stream.given.put(("now", {"row": row(forward=12.0, challenge=30.0, known_p95=0.25), "state": state(**more)}))


@pytest.mark.parametrize("size", [(140, 50), (80, 24), (40, 12)])
async def test_an_attack_is_shown(stream: Fake, size: tuple[int, int]) -> None:
    app = Top(FakeAdmin(), stream.open)
    async with app.run_test(size=size) as pilot:
        await shown(app, pilot, "Waiting for figures")
        begin(stream)
        await shown(app, pilot, "Under attack: the service has become slow")
        head = str(app.query_one("#head").render())
        assert "For 2 min. 12/s let through, 30/s refused (71 %); known clients have their answer in 250 ms." in head
        assert app.query_one("#head").has_class("bad")
        refused = app.query_one("#refused", Rows)
        assert [cell.plain for cell in refused.get_row_at(0)][:3] == ["203.0.113.7", "a newcomer, under pressure", "3"]
        assert "the service has become slow" in str(app.query_one("#facts").render())
    assert stream.closed


async def test_several_sites_have_a_table_and_the_attacked_one_is_named(stream: Fake) -> None:
    site = {
        "site": "blog", "ready": False, "dry_run": True, "pressure": 0.1, "attack": False, "attack_seconds": 0.0,
        "cause": "", "asked": 4.0, "in_flight": 2, "concurrency": 20.0, "waiting": 0, "demand": 3.0, "capacity": 70.0,
    }  # fmt: skip
    shop = {**site, "site": f"shop{HOSTILE}", "ready": True, "dry_run": False, "attack": True, "attack_seconds": 130.0}
    app = Top(FakeAdmin(), stream.open)
    async with app.run_test(size=(140, 50)) as pilot:
        begin(stream)
        await shown(app, pilot, "Under attack: ")
        assert not app.query_one("#sites").display
        stream.given.put(("now", {"row": row(), "state": state(sites=[{**shop, "cause": "it is slow"}, site])}))
        await shown(app, pilot, "Under attack (shop")
        table = app.query_one("#sites", Rows)
        assert table.display
        cells = [[cell.plain for cell in table.get_row_at(number)][2:5] for number in (0, 1)]
    assert cells[0] == ["ATTACK for 2 min: it is slow", "4/s", "2 of 20"]
    assert cells[1][0] == "no server is healthy, dry run"


async def test_strangers_order_the_terminal_to_do_nothing(stream: Fake) -> None:
    app = Top(FakeAdmin(), stream.open)
    async with app.run_test(size=(140, 50)) as pilot:
        begin(stream)
        await shown(app, pilot, "Under attack")
        cells = [
            cell.plain for table in app.query(Rows) for n in range(table.row_count) for cell in table.get_row_at(n)
        ]
        text = "".join(cells)
        assert "[red]x[/red]" in text, "as it is, without markup"
        assert text.isprintable()


async def test_the_cursor_stays_with_its_subject(stream: Fake) -> None:
    app = Top(FakeAdmin(), stream.open)
    async with app.run_test(size=(140, 50)) as pilot:
        begin(stream)
        await shown(app, pilot, "Under attack")
        await pilot.press("down")
        table = app.query_one("#refused", Rows)
        assert table.picked()[0] == "203.0.113.8"
        one, two = state()["refused"]
        stream.given.put(
            ("now", {"row": row(forward=13.0), "state": state(refused=[{**one, "address": "::1"}, one, two])})
        )
        await shown(app, pilot, "13/s let through")
        assert table.picked()[0] == "203.0.113.8"


async def test_b_asks_for_a_ban_of_who_is_under_the_cursor(stream: Fake) -> None:
    admin = FakeAdmin()
    app = Top(admin, stream.open)
    async with app.run_test(size=(140, 50)) as pilot:
        begin(stream)
        await shown(app, pilot, "Under attack")
        await pilot.press("b")
        await pilot.press("enter")
        async with asyncio.timeout(20):
            while not isinstance(app.screen, Answer):
                await pilot.pause(0.02)
        text = "".join(str(each.render()) for each in app.screen.query("Static"))
        assert "that would lock you out" in text
        assert "\x1b" not in text
        await pilot.press("escape")
        assert not isinstance(app.screen, Answer)
    ((method, path, body),) = admin.asked
    assert (method, path, body["kind"], body["subject"]) == ("POST", "/api/rules", "ban", "203.0.113.7")
    assert body["seconds"] == 3600.0


async def test_w_explains_the_request(stream: Fake) -> None:
    admin = FakeAdmin()
    app = Top(admin, stream.open)
    async with app.run_test(size=(140, 50)) as pilot:
        begin(stream)
        await shown(app, pilot, "Under attack")
        await pilot.press("w")
        async with asyncio.timeout(20):
            while not admin.asked:
                await pilot.pause(0.02)
    assert admin.asked[0][:2] == ("GET", "/api/explain?request_id=0000000a-1")


async def test_a_stream_that_ends_is_opened_again(stream: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(top, "PAUSES", (0.01,))
    app = Top(FakeAdmin(), stream.open)
    async with app.run_test(size=(140, 50)) as pilot:
        stream.given.put(UnreachableError("nobody answers at 127.0.0.1:9901"))
        await shown(app, pilot, "No connection to Shield")
        await shown(app, pilot, "nobody answers")
        begin(stream)
        await shown(app, pilot, "Under attack")
        stream.given.put(("now", {"row": row(), "state": state(refused=[{}])}))
        await shown(app, pilot, "not as this version expects it")
    assert stream.opened == 2


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("", "commands here"),
        ("top", "commands here"),
        ("run --config x", "commands here"),
        ("ban", "the following arguments are required: WHO"),
        ("ban 1.2.3.4 --for never", "is no time"),
        ("ban '1.2.3.4", "No closing quotation"),
        ("ban --help", "see `shield ban --help`"),
        ("pressure hold", "wrong usage of pressure"),
    ],
)
def test_a_wrong_command_ends_nothing(line: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        top.carry_out(line, FakeAdmin())


def test_a_command_may_be_typed_as_in_a_shell() -> None:
    options = parse("shield ban 203.0.113.0/24 --for 1h --note 'it floods' --json")
    assert (options.subject, options.seconds, options.note, options.json) == (
        "203.0.113.0/24",
        3600.0,
        "it floods",
        False,
    )


@pytest.mark.parametrize(
    ("value", "text"), [(None, "-"), (0.0, "0"), (0.25, "0.2"), (12.7, "13"), (4096, "4,096"), (2_500_000, "2,500k")]
)
def test_figures_are_as_people_read_them(value: float | None, text: str) -> None:
    assert board.number(value) == text


@pytest.mark.parametrize(
    ("more", "mood", "title"),
    [
        ({"attack": False, "pressure": 0.0}, "calm", "Calm"),
        ({"attack": False}, "warn", "Pressure"),
        ({"attack": False, "pressure": 0.0, "waiting": 26, "queue": 100}, "warn", "The queue fills"),
        ({"attack": False, "pressure": 0.0, "waiting": 25, "queue": 100}, "calm", "Calm"),
        ({"attack": False, "brownout": True}, "warn", "The service is ill, and not attacked"),
        ({"brownout": True, "cause": ""}, "bad", "The service is ill"),
        ({"strictness": 0.0, "cause": ""}, "warn", "Under attack"),
        ({"ready": False}, "bad", "The service cannot be reached"),
    ],
)
def test_the_headline_says_how_it_stands(more: dict[str, Any], mood: str, title: str) -> None:
    assert board.headline(board.Figures(), state(**more))[:2] == (mood, title)
