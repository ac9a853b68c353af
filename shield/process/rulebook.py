"""The operator's rules of one Shield: changed one at a time, kept on disk, and told to every worker.

    a wish comes          the book refuses it (policy/rules/), or has a change
    kept                  in rules.json of the state directory, in a thread, before anybody goes by it; what the disk
                          does not take holds all the same, and is tried again every LOOK_SECONDS
    told                  every engine goes by the whole list, so that a worker which starts anew needs nothing else
    logged                a line each: rule_added, rule_lifted, rule_ended, rule_undone, pardoned

Changes wait while a config is read again, or another process comes in the place of this one.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final

import orjson

from shield.config.settings import Config
from shield.lookup.known import whereabouts
from shield.operator.desk import Asker, DeskError
from shield.policy.cluster.changes import Change as Elsewhere
from shield.policy.explain.refusing import Pardoned
from shield.policy.rules.book import (
    ADDED,
    LIFTED,
    PARDONED,
    RELOADED,
    UNDONE,
    Book,
    Change,
)
from shield.policy.rules.lockout import OWN, Precious
from shield.policy.rules.rule import (
    DRY_RUN,
    KEY,
    OF_SITES,
    SPARE,
    MissingError,
    RefusedError,
    Rule,
    who,
    wish,
    with_digest,
)
from shield.policy.tried import MEASURES
from shield.policy.whereabouts import region_of
from shield.process.signals import Tell
from shield.process.state import RULES, load, save

TOLD_SECONDS: Final = 5.0
"""Within which all workers go by a change. One that does not hangs, and is replaced; the next goes by it."""
LOOK_SECONDS: Final = 60.0
"""How often it is looked whether a rule has ended, at the least."""
WISHES: Final = frozenset({"kind", "subject", "value", "seconds", "note", "author", "here", "force", DRY_RUN})
MOST_HERE: Final = 8
KEY_BEGINS: Final = "shk_"
"""What API keys begin with, so that programs that look for secrets in what is published find them."""
KEY_BYTES: Final = 32
DIGEST_CHARS: Final = 64
MOST_OPERATORS: Final = 16
SPARED_SECONDS: Final = 86_400.0
"""How long no file, AS or country of the config concerns the address from where a change was asked for."""
_LOOPBACK: Final = frozenset(map(who, OWN))

Follow = Callable[[Sequence[Rule], str], Awaitable[Pardoned]]
"""Have every engine go by these rules, and forget what it did by itself to a subject, unless that is ""."""

Reload = Callable[[], Awaitable[tuple[str, list[str]]]]


class Rulebook:
    """The Desk of one Shield. `go_by` before the start and after each reload, `serve` once there is somebody to tell,
    `close` at the end. `wall` gives seconds of the wall clock. `changing` is held while something changes.
    """

    __slots__ = (
        "_book", "_changing", "_config", "_follow", "_left", "_operators", "_reload", "_saving", "_tell", "_timer",
        "_unsaved", "_untold", "_wall",
    )  # fmt: skip

    def __init__(
        self,
        wall: Callable[[], float],
        changing: asyncio.Lock,
    ) -> None:
        self._follow: Follow | None = None
        self._reload: Reload | None = None
        self._tell: Tell | None = None
        self._untold: list[tuple[str, dict[str, Any]]] = []  # events from before there was somebody to tell
        self._wall = wall
        self._changing = changing
        self._book = Book()
        self._config: Config | None = None
        self._left = False
        self._operators: dict[str, float] = {}  # networks from where they ask, and until when these are spared
        self._unsaved = ""  # why the disk has not what holds
        self._saving: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    # For the processes

    def go_by(self, config: Config) -> None:
        """Take this config. The first time, and when it names another directory, rules that are kept there are read."""
        former, self._config = self._config, config
        if former is None or former.state.directory != config.state.directory:
            for saved in load(config.state, RULES, self, self._wall()):
                self._book.load(saved.rows, self._wall())
        self._look_later()

    def rows(self) -> list[list[Any]]:
        """The rules and what was changed, for a process that comes in the place of this one."""
        return list(self._book.rows())

    def take(self, rows: Sequence[list[Any]]) -> None:
        """Take what another process gives, in whose place this one comes, unless the directory has all of it: a disk
        that was full has an older list."""
        given = Book()
        given.load(rows, self._wall())
        if given.last > self._book.last:
            if self._keeps and given.rules(self._wall()) != self.holding():
                self._unsaved = "the process before this one could not save it"
            self._book = given
        self._look_later()

    def holding(self) -> tuple[Rule, ...]:
        """The rules that hold."""
        return self._book.rules(self._wall())

    def followed(self) -> tuple[Rule, ...]:
        """What engines go by: the rules that hold, and from where the operator has asked for changes within a day."""
        wall = self._wall()
        self._operators = {name: until for name, until in self._operators.items() if until > wall}
        spared = (Rule(0, SPARE, name, "", "", "", wall, until) for name, until in self._operators.items())
        return (*self.holding(), *spared)

    def event(self, name: str, **fields: Any) -> None:
        """Log an event, or keep it until there is a log."""
        if self._tell is None:
            self._untold.append((name, fields))
        else:
            self._tell(name, **fields)

    def serve(self, follow: Follow, reload: Reload, tell: Tell) -> None:
        """Answer from now on. `follow` tells the engines, `reload` reads the config and says what stood in the way."""
        self._follow, self._reload, self._tell = follow, reload, tell
        for name, fields in self._untold:
            tell(name, **fields)
        self._untold.clear()

    def leave(self) -> None:
        """Another process comes in the place of this one: nothing is changed here any more."""
        self._left = True
        self.close()

    def close(self) -> None:
        """Look for no more rules that end, and save nothing again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._saving is not None:
            self._saving.cancel()

    # For the operator

    def rules(self) -> dict[str, Any]:
        return {"rules": [rule.plain() for rule in self.holding()], **self._kept()}

    def audit(self, limit: int) -> dict[str, Any]:
        self._expire()
        return {"changes": [change.plain() for change in self._book.changes()[:limit]]}

    async def add(self, asked: Mapping[str, Any], asker: Asker) -> dict[str, Any]:
        if unknown := asked.keys() - WISHES:
            raise DeskError(422, "Not understood", f"unknown: {', '.join(sorted(unknown))[:100]}")
        seconds, force, here = asked.get("seconds"), asked.get("force", False), asked.get("here", [])
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float, type(None))):
            raise DeskError(422, "Not understood", "seconds: a number")
        if not isinstance(force, bool):
            raise DeskError(422, "Not understood", "force: true or false")
        dry_run = asked.get(DRY_RUN, False)
        if not isinstance(dry_run, bool):
            raise DeskError(422, "Not understood", "dry_run: true or false")
        precious = await self._precious(asker, here)
        key = ""
        if asked.get("kind") == KEY:
            asked, key = self._with_key(asked)

        def change(book: Book, wall: float) -> list[Change]:
            if asked.get("kind") == KEY and book.has(KEY, wish(asked, "subject"), wall):
                raise RefusedError(
                    f"there is a key of the name {wish(asked, 'subject')}: revoke it first, or make one of another "
                    "name, so that both hold until its owner has changed over"
                )
            self._check_site(wish(asked, "kind"), wish(asked, "subject"))
            if asked.get("kind") != KEY:
                self._check_region(wish(asked, "subject"))
            return book.add(
                wish(asked, "kind"),
                wish(asked, "subject"),
                wish(asked, "value"),
                author=asker.name or wish(asked, "author"),
                note=wish(asked, "note"),
                seconds=seconds,
                precious=precious,
                force=force,
                wall=wall,
                dry_run=dry_run,
            )

        made, _ = await self._change(change)
        told = {"key": key, "header": self._key_header} if key else {}  # nobody can be told again
        return {"change": made[-1].plain(), **told, **self._kept()}

    async def lift(
        self,
        numbers: Sequence[int],
        subject: str,
        kinds: Sequence[str],
        pardon: bool,
        note: str,
        asker: Asker,
        here: Any = (),
    ) -> dict[str, Any]:
        precious = await self._precious(asker, here)
        named = _named(subject) if pardon else ""

        def change(book: Book, wall: float) -> list[Change]:
            wanted = [*numbers, *(book.of(subject, kinds, wall) if kinds else ())]
            if not wanted and not pardon:
                about = f" for {subject[:50]}" if subject else ""
                raise MissingError(
                    f"no rule of the kind {' or '.join(kinds)} holds{about}: GET /api/rules (shield rules) has all"
                )
            made = book.lift(wanted, author=asker.name, note=note, wall=wall, precious=precious)
            if pardon:
                made.append(book.note(PARDONED, author=asker.name, note=note, subject=named, wall=wall))
            return made

        made, pardoned = await self._change(change, named)
        changes, refusing = [each.plain() for each in made], list(pardoned.refusing)
        return {"changes": changes, "pardoned": pardoned.lifted, "refusing": refusing, **self._kept()}

    async def undo(self, note: str, asker: Asker, here: Any = ()) -> dict[str, Any]:
        precious = await self._precious(asker, here)
        (made,), _ = await self._change(
            lambda book, wall: [book.undo(author=asker.name, note=note, wall=wall, precious=precious)], missing=409
        )
        return {"change": made.plain(), **self._kept()}

    async def adopt(self, changes: Sequence[Elsewhere], pardons: Sequence[str]) -> None:
        """Take what was changed at other machines, once there is somebody to tell."""
        async with self._changing:
            if self._left or self._follow is None:
                return  # it is told again
            wall = self._wall()
            made = [change for each in changes if (change := self._book.adopt(*each, wall)) is not None]
            if made:
                await self._save()
                await self._tell_all(self._follow, "")
            for subject in pardons:
                await self._tell_all(self._follow, subject)
            for each in made:
                self._log(each)
        self._look_later()

    async def reload(self, note: str, asker: Asker) -> dict[str, Any]:
        _, reload = self._serving()
        error, mistakes = await reload()
        if error:
            raise DeskError(
                409, "The config cannot be used", f"{error}; the config from before stays", mistakes=mistakes
            )
        await self._change(
            lambda book, wall: [book.note(RELOADED, author=asker.name, note=note, subject="", wall=wall)]
        )
        return {"reloaded": True}

    @property
    def _key_header(self) -> str:
        return "" if self._config is None else self._config.identity.api_key_header

    def _with_key(self, asked: Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
        """The wish for an API key, with the hash of a new key unless it brings one; and that key. DeskError."""
        if not self._key_header:
            raise DeskError(
                422, "Refused", "identity.api_key_header is empty, so no field carries a key: name one, and reload"
            )
        value = asked.get("value", "")
        if not isinstance(value, str) or len(value) >= DIGEST_CHARS:
            return asked, ""
        key = KEY_BEGINS + secrets.token_urlsafe(KEY_BYTES)
        try:
            return {**asked, "value": with_digest(value, sha256(key.encode("ascii")).hexdigest())}, key
        except RefusedError as error:
            raise DeskError(422, "Refused", str(error)) from None

    # How a change is made

    @property
    def _keeps(self) -> bool:
        return self._config is not None and bool(self._config.state.directory)

    def _kept(self) -> dict[str, Any]:
        """Whether what holds outlives this process, and if not, why."""
        if not self._keeps:
            return {"kept": False, "not_kept": "there is no state.directory to keep it in"}
        if self._unsaved:
            return {
                "kept": False,
                "not_kept": f"state.directory has not taken it, which is tried again: {self._unsaved}",
            }
        return {"kept": True}

    def _serving(self) -> tuple[Follow, Reload]:
        if self._left:
            raise DeskError(503, "Gone", "another process has come in the place of this one: ask again")
        if self._follow is None or self._reload is None:
            raise DeskError(503, "Not yet", "Shield is starting: ask again")
        return self._follow, self._reload

    async def _change(
        self, change: Callable[[Book, float], list[Change]], pardon: str = "", missing: int = 404
    ) -> tuple[list[Change], Pardoned]:
        """Change the book, keep it, and have it followed; the changes, and what came of a pardon."""
        async with self._changing:
            follow, _ = self._serving()
            self._expire()
            try:
                made = change(self._book, self._wall())
            except RefusedError as error:
                status = missing if isinstance(error, MissingError) else 422
                raise DeskError(status, "Refused", str(error)) from None
            await self._save()
            pardoned = await self._tell_all(follow, pardon)
            for each in made:
                self._log(each)
        self._look_later()
        return made, pardoned

    async def _tell_all(self, follow: Follow, pardon: str) -> Pardoned:
        told = asyncio.ensure_future(follow(self.followed(), pardon))
        done, _ = await asyncio.wait([told], timeout=TOLD_SECONDS)
        if done:
            return told.result()
        told.add_done_callback(lambda task: task.cancelled() or task.exception())
        self.event("rules_not_followed", effect="a worker does not answer; the one after it will go by them")
        return Pardoned()

    async def _save(self) -> None:
        config = self._config
        if config is None or not self._keeps:
            return
        rows = orjson.dumps(list(self._book.rows()))
        loop, about = asyncio.get_running_loop(), {"time": self._wall()}
        error = await loop.run_in_executor(None, save, config.state, RULES, [rows], about)
        if error and error != self._unsaved:
            self.event("rules_not_saved", path=config.state.directory, error=error)
        self._unsaved = error

    async def _save_again(self) -> None:
        async with self._changing:
            if not self._left:
                await self._save()
        self._look_later()

    def _expire(self) -> None:
        for change in self._book.expire(self._wall()):
            self._log(change)

    def _log(self, change: Change) -> None:
        rule, what = change.rule or change.before, change.what
        if what == RELOADED:
            return  # who reads the config again says so
        said = {"change": change.number, "author": change.author, "note": change.note, "subject": change.subject}
        if rule is not None:
            value = rule.value[:-DIGEST_CHARS].rstrip() if rule.kind == KEY else rule.value
            said |= {"rule": rule.number, "kind": rule.kind, "value": value, "expires": rule.expires}
            said |= {DRY_RUN: rule.dry_run}
        if what == PARDONED:
            self.event("pardoned", **said)
        elif what == UNDONE:
            self.event("rule_undone", **said)
        else:
            self.event("rule_added" if what == ADDED else "rule_lifted" if what == LIFTED else "rule_ended", **said)

    def _check_site(self, kind: str, subject: str) -> None:
        """Refuse what is said of a site that there is not. What was said of one that is no more does nothing."""
        sites = () if self._config is None else [site.name for site in self._config.sites]
        if kind in OF_SITES and subject and subject not in (*sites, *MEASURES):
            measures = f"; nor is that a measure, which are: {', '.join(MEASURES)}" if kind == "dry_run" else ""
            raise RefusedError(f'there is no site "{subject[:64]}"; the sites are: {", ".join(sites)}{measures}')

    def _check_region(self, subject: str) -> None:
        """Refuse what is said of an AS or a country while no database tells which addresses are there."""
        region = region_of(subject)
        key = "asn" if region.startswith("AS") else "country"
        if region and (self._config is None or not getattr(self._config.identity, key)):
            raise RefusedError(
                f"Shield cannot tell which addresses are in {region}: name a database in identity.{key} and reload"
            )

    async def _precious(self, asker: Asker, here: Any) -> Precious:
        """Who must not be locked out; `here` has addresses besides the one that is asked from. DeskError."""
        if not isinstance(here, (list, tuple)) or len(here) > MOST_HERE or not all(map(_is_address, here)):
            raise DeskError(422, "Not understood", f"here: a list of up to {MOST_HERE} addresses")
        operators = [*([asker.address] if asker.address else ()), *here]
        until = self._wall() + SPARED_SECONDS
        for name in map(who, operators):
            if name not in _LOOPBACK:
                self._operators.pop(name, None)
                self._operators[name] = until
        self._operators = dict(list(self._operators.items())[-MOST_OPERATORS:])
        if self._config is None:
            return Precious(operators)
        there = await asyncio.to_thread(whereabouts, self._config.identity, operators)
        return Precious(operators, self._config.listen.trusted_proxies, there)

    def _look_later(self) -> None:
        """Tell of rules that end when they do, which the engines let go of by themselves; save what is not saved."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        end = self._book.next_end()
        if (end or self._unsaved) and not self._left:
            seconds = min(max(end - self._wall(), 0.1), LOOK_SECONDS) if end else LOOK_SECONDS
            self._timer = asyncio.get_running_loop().call_later(seconds, self._look)

    def _look(self) -> None:
        self._expire()
        if self._unsaved and (self._saving is None or self._saving.done()):
            self._saving = asyncio.create_task(self._save_again())
        self._look_later()


def _named(subject: str) -> str:
    try:
        return who(subject)
    except RefusedError as error:
        raise DeskError(422, "Refused", str(error)) from None


def _is_address(text: Any) -> bool:
    if not isinstance(text, str) or "/" in text:
        return False
    try:
        return "/" in who(text)
    except RefusedError:
        return False
