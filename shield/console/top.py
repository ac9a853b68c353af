"""`shield top`: the dashboard in a terminal, live by /api/stream, with every command of this folder at hand.

Much of what is shown was sent by strangers (paths, User-Agents), so texts are shown as they are, without markup and
without what a terminal takes for an order. Needs textual (the `top` extra).
"""

from __future__ import annotations

import argparse
import shlex
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final, NoReturn

from rich.text import Text
from textual import work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Grid, Horizontal, Vertical, VerticalScroll
from textual.message import Message
from textual.screen import ModalScreen, Screen
from textual.widgets import DataTable, Footer, Input, Sparkline, Static

from shield.console import arguments, board, commands, show
from shield.console.board import ACTIONS, Cells, Figures
from shield.console.client import Admin, Stream, UnreachableError

PATH: Final = "/api/stream"
SILENCE: Final = 6.0
"""Seconds without an event, after which the figures are called old and another stream is opened."""
PAUSES: Final = (0.5, 1.0, 2.0, 4.0)
"""Before a stream is opened again, in seconds; from then on the last."""
BAN_FOR: Final = "1h"


class _Parser(argparse.ArgumentParser):
    """Says what is wrong, and ends nothing."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def parse(line: str) -> argparse.Namespace:
    """A command as it is typed, with or without `shield` before it. Raises ValueError for wrong usage."""
    words = shlex.split(line)
    if words[:1] == ["shield"]:
        del words[0]
    if not words or words[0] not in arguments.NAMES:
        raise ValueError(f"commands here: {', '.join(arguments.NAMES)}")
    if {"-h", "--help"} & set(words):
        raise ValueError(f"see `shield {words[0]} --help` in another terminal")
    parser = _Parser(prog="shield", add_help=False)
    arguments.add(parser.add_subparsers(dest="command", required=True))
    options = parser.parse_args(words)
    options.json = False
    return options


def carry_out(line: str, admin: Admin) -> str:
    """Carry out a command; what to show. Raises ValueError or UnreachableError."""
    options = parse(line)
    try:
        status, answer = commands.ask(options, admin)
    except SystemExit:  # what argparse cannot see is wrong, as `pressure hold` without a number
        raise ValueError(f"wrong usage of {options.command}: see `shield {options.command} --help`") from None
    return show.answer(options.command, answer) if status < 300 else show.problem(answer)


class Rows(DataTable[Text]):
    """A table whose rows are filled anew; the first cell of a row is its subject."""

    def __init__(self, name: str, title: str, columns: Sequence[str]) -> None:
        super().__init__(id=name, cursor_type="row", zebra_stripes=True)
        self.border_title = title
        self._columns = columns
        self._shown: Sequence[Cells] = ()

    def on_mount(self) -> None:
        for column in self._columns:
            self.add_column(column, key=column)

    def fill(self, rows: Sequence[Cells]) -> None:
        """Show these, unless they are shown; the cursor stays on the row of the same subject."""
        if rows == self._shown:
            return
        picked = self.picked()
        self._shown = rows
        self.clear()
        for row in rows:
            self.add_row(*(Text(cell) for cell in row))
        place = next((number for number, row in enumerate(rows) if picked and row[0] == picked[0]), None)
        if place is not None:
            self.move_cursor(row=place)

    def picked(self) -> Cells:
        """The row under the cursor; empty where there is none."""
        return self._shown[self.cursor_row] if 0 <= self.cursor_row < len(self._shown) else ()


class Answer(ModalScreen[None]):
    """What a command was answered."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,enter,q,space", "dismiss", "Back")]

    def __init__(self, title: str, text: str) -> None:
        super().__init__()
        self._title = title
        self._text = text

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="answer"):
            yield Static(Text(self._title, "bold"))
            yield Static(Text(self._text))
            yield Static(Text("Escape: back", "dim"))


class Prompt(ModalScreen[str]):
    """Asks for a command."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss('')", "Back")]

    def __init__(self, line: str) -> None:
        super().__init__()
        self._line = line

    def compose(self) -> ComposeResult:
        with Vertical(id="prompt"):
            yield Static(Text("A command, as after `shield`. Enter carries it out, Escape leaves it.", "dim"))
            yield Input(self._line, select_on_focus=False)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.dismiss(event.value)


class Heard(Message):
    """An event of the stream."""

    def __init__(self, event: str, data: Mapping[str, Any]) -> None:
        super().__init__()
        self.event = event
        self.data = data


class Lost(Message):
    """The stream has ended."""

    def __init__(self, why: str) -> None:
        super().__init__()
        self.why = why


class Top(App[None]):
    """The screen. `open_stream` opens a stream of the admin listener's, anew after each end."""

    TITLE = "shield top"
    ENABLE_COMMAND_PALETTE = False
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide")]  # noqa: RUF012 - as App has it
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "Quit"),
        Binding("b", "ban", "Ban…"),
        Binding("w", "why", "Why?"),
        Binding("u", "prompt('undo')", "Undo…"),
        Binding("r", "run('rules')", "Rules"),
        Binding("s", "run('status')", "Status"),
        Binding("p", "pause", "Pause"),
        Binding("colon,slash", "prompt('')", "Command…", key_display=":"),
    ]
    CSS = """
    #head { height: auto; padding: 0 1; }
    #head.calm { background: $success-darken-2; color: $text; }
    #head.warn { background: $warning-darken-2; color: $text; }
    #head.bad { background: $error; color: $text; }
    #facts { height: auto; padding: 0 1; }
    #plots { height: 4; }
    #plots Vertical { width: 1fr; padding: 0 1; }
    #plots Sparkline { height: 2; }
    #tables { grid-size: 2; grid-rows: 3fr 2fr 2fr; grid-gutter: 0 1; height: 1fr; }
    #events, #sites { column-span: 2; }
    #sites { display: none; }
    .sited #sites { display: block; }
    .sited #tables { grid-rows: 2fr 3fr 2fr 2fr; }
    .-narrow #tables { grid-size: 1; grid-rows: 8; height: auto; }
    .-narrow #events, .-narrow #sites { column-span: 1; }
    .-narrow #tables DataTable { height: 8; }
    .-narrow #plots { height: 8; layout: grid; grid-size: 2; }
    DataTable { border-title-style: bold; border-top: solid $primary; height: 1fr; }
    #answer { width: 90%; height: 80%; padding: 1 2; background: $surface; border: round $primary; }
    #prompt { width: 90%; height: auto; padding: 1 2; background: $surface; border: round $primary; }
    Answer, Prompt { align: center middle; }
    """

    def __init__(self, admin: Admin, open_stream: Callable[[], Stream]) -> None:
        super().__init__()
        self._admin = admin
        self._open_stream = open_stream
        self._figures = Figures()
        self._state: dict[str, Any] = {}
        self._heard: float | None = None  # monotonic seconds
        self._wrong = ""
        self._paused = False
        self._ended = threading.Event()
        self._stream: Stream | None = None

    def compose(self) -> ComposeResult:
        yield Static(id="head")
        yield Static(id="facts")
        with Horizontal(id="plots"):
            for name in ("let through", "refused", "pressure", "known clients, p95"):
                with Vertical():
                    yield Static(Text(name, "dim"), classes="name")
                    yield Sparkline([], summary_function=max, id=f"plot-{name.partition(' ')[0].rstrip(',')}")
        with Grid(id="tables"):
            for name, title, columns in TABLES:
                yield Rows(name, title, columns)
        yield Footer()

    def on_mount(self) -> None:
        self._board.query_one("#refused").focus()
        self.set_interval(1.0, self._show_head)
        self._show_head()
        # No pool's thread: that would be waited for at the end, and this one waits for the next event.
        threading.Thread(target=self._read, name="stream", daemon=True).start()

    def on_unmount(self) -> None:
        self._ended.set()
        if self._stream is not None:
            self._stream.close()

    @property
    def _board(self) -> Screen[Any]:
        """What is below a prompt or an answer."""
        return self.screen_stack[0]

    @property
    def _gone(self) -> bool:
        """Whether the screen is being taken down: its widgets go before `on_unmount`, while timers still run."""
        return self._ended.is_set() or not self.is_running

    def _read(self) -> None:
        """Read streams, one after the other, in a thread of its own."""
        failed = 0
        while not self._ended.is_set():
            why = "Shield has ended the stream"
            try:
                self._stream = self._open_stream()
                for name, data in self._stream:
                    failed = 0
                    self.post_message(Heard(name, data))
                    if name == "closed":
                        why = str(data.get("detail", ""))
            except UnreachableError as error:
                why = str(error)
            self.post_message(Lost(why))
            self._ended.wait(PAUSES[min(failed, len(PAUSES) - 1)])
            failed += 1

    def on_lost(self, message: Lost) -> None:
        self._lost(message.why)

    def on_heard(self, message: Heard) -> None:
        """Show an event of the stream. One that is not as expected is another version's, and the head says so."""
        try:
            self._take(message.event, message.data)
        except (KeyError, TypeError, IndexError, AttributeError) as error:
            self._lost(f"not as this version expects it ({type(error).__name__}: {error})")

    def _lost(self, why: str) -> None:
        self._wrong = board.clean(why)
        self._show_head()

    def _take(self, name: str, data: Mapping[str, Any]) -> None:
        if name == "history":
            self._figures.begin(data)
        elif name == "now":
            self._figures.add(data["row"])
            self._state = {"events": self._state.get("events", []), **data["state"]}
        else:
            return
        self._heard, self._wrong = time.monotonic(), ""
        if not self._paused and not self._gone:
            self._show()

    def _show(self) -> None:
        self._show_head()
        figures, state = self._figures, self._state
        line = Text()
        for name, value in board.facts(figures, state):
            line.append(f"{name} ", "dim").append(f"{value}   ")
        self._board.query_one("#facts", Static).update(line)
        for name, data in (
            ("let", figures.column("forward")),
            ("refused", figures.column(*ACTIONS[1:])),
            ("pressure", figures.column("pressure")),
            ("known", figures.column("known_p95")),
        ):
            self._board.query_one(f"#plot-{name}", Sparkline).data = data[-max(self.size.width // 4 - 2, 10) * 4 :]
        self._board.set_class(bool(state.get("sites")), "sited")
        for name, rows in (
            ("sites", board.sites(state)),
            ("refused", board.refusals(state)),
            ("networks", board.networks(state)),
            ("tiers", board.people(state)),
            ("reasons", board.reasons(state)),
            ("events", board.events(state)),
        ):
            self._board.query_one(f"#{name}", Rows).fill(rows)

    def _show_head(self) -> None:
        if self._gone:
            return
        head = self._board.query_one("#head", Static)
        old = None if self._heard is None else time.monotonic() - self._heard
        if self._wrong or old is None or old > SILENCE:
            title = "No connection to Shield" if self._wrong else "Waiting for figures"
            mood, sentence = "warn", self._wrong or self._admin.address
            if old is not None:
                sentence += f" The figures are {board.span(old)} old."
        else:
            mood, title, sentence = board.headline(self._figures, self._state)
        if self._paused:
            title += " (paused)"
        head.set_classes(mood)
        head.update(Text(f"{title}\n", "bold").append(sentence, "not bold"))

    def _picked(self, *names: str) -> Cells:
        """The row under the cursor, if it is in one of these tables."""
        table = self.focused
        return table.picked() if isinstance(table, Rows) and table.id in names else ()

    def action_ban(self) -> None:
        """Ask for a ban of the address or network under the cursor."""
        picked = self._picked("refused", "networks")
        self.action_prompt(f"ban {picked[0] if picked else 'WHO'} --for {BAN_FOR} --note ''")

    def action_why(self) -> None:
        """Explain the request under the cursor that was refused; else ask which."""
        picked = self._picked("refused")
        if picked:
            self.action_run(f"explain {picked[-1]}")
        else:
            self.action_prompt("explain ")

    def action_pause(self) -> None:
        self._paused = not self._paused
        self._show_head()

    def action_prompt(self, line: str) -> None:
        def carry_on(typed: str | None) -> None:
            if typed:
                self.action_run(typed)

        self.push_screen(Prompt(line), carry_on)

    @work(thread=True, exclusive=True)
    def action_run(self, line: str) -> None:
        """Carry out a command, and show its answer."""
        try:
            text = carry_out(line, self._admin)
        except (ValueError, UnreachableError) as error:
            text = show.plain(str(error))
        self.call_from_thread(self.push_screen, Answer(f"shield {board.clean(line)}", text))


TABLES: Final[tuple[tuple[str, str, tuple[str, ...]], ...]] = (
    ("sites", "Sites", ("site", "pressure", "state", "asked", "at the service", "waiting", "demand, units/s")),
    ("refused", "Who is refused, and why", ("address", "why", "times", "", "request", "where", "id")),
    ("networks", "Networks of strangers (under pressure)", ("network", "share", "where")),
    ("tiers", "People", ("tier", "asked", "served", "p50", "p95")),
    ("reasons", "Why requests are refused", ("rate", "verdict", "why")),
    ("events", "What has happened", ("time", "what")),
)
"""Each table's name, title and columns; the first column is the subject."""


def run(admin: Admin) -> None:
    """Show it until the operator quits."""
    Top(admin, lambda: Stream(admin, PATH, SILENCE)).run()
