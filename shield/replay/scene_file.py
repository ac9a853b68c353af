"""A scene for `shield simulate` out of logs: a model of the service, and of those who use it in a busy hour.

    service       slots, and the time and errors of each route, as the survey has found them
    returning     regulars with a browser: how many, in how many networks, with how many User-Agents, what they ask for
    posting       the same people where they send something, if they do
    newcomers     other browsers, that come once
    programs      regulars without a browser

Who is in a hurry is left out: attackers are laid over the scene by `shield simulate FILE --attack botnet`. The rates
are those of the hour in which regulars asked for most, and of others what comes with these in the middle hour: so an
attack within the logs makes no busy hour. No address, User-Agent or query gets into the file, and of paths only
templates.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

import orjson

from shield.policy.locations import locate
from shield.replay.driver import PART
from shield.replay.lines import Line
from shield.replay.survey import HURRY, Places, Survey, Visitor
from shield.simulate.scene import MAX_FILE_BYTES, Scene, parse

MOST_PATHS: Final = 40
"""Paths of a population, and routes of the service."""
SECONDS: Final = 600
CALM: Final = 300
MOST_PARTS: Final = 60
MOST_MEMBERS: Final = 200_000
LEAST_MEMBERS: Final = 20
POSTS: Final = 0.005
"""Share of the requests of regulars that must send something for that to be a population."""
OTHER: Final = "/other/*"
_FIT: Final = re.compile(r"/[!-~]{0,127}")
_SPANS: Final = ((6 * 3600.0, 3600), (1800.0, 300), (0.0, 60))
"""Seconds of the logs, from which on rates are found by pieces of so many seconds."""


class Group:
    """What visitors of one kind ask for. Counts by piece of time; routes as templates of paths."""

    __slots__ = ("agents", "members", "networks", "pages", "parts", "parts_of", "pieces")

    def __init__(self) -> None:
        self.pieces: Counter[int] = Counter()  # visits
        self.pages: Counter[str] = Counter()
        self.parts: Counter[str] = Counter()
        self.members = 0
        self.networks: set[str] = set()
        self.agents: set[int] = set()

    def close(self) -> None:
        """Where most pages have no parts, parts are asked for as pages are."""
        if self.parts.total() * 2 < self.pages.total():
            more = 1.0 + self.parts.total() / self.pages.total()
            self.pieces = Counter({piece: round(count * more) for piece, count in self.pieces.items()})
            self.pages += self.parts
            self.parts = Counter()


class Portrait:
    """What the second reading finds of those who use the service."""

    def __init__(self, survey: Survey) -> None:
        self.survey = survey
        self.groups = {name: Group() for name in ("returning", "posting", "newcomers", "programs")}
        self.hurried = 0  # requests
        self.piece = next(size for least, size in _SPANS if survey.seconds >= least)
        self._places = Places()
        self._kinds = {key: _kind(visitor) for key, visitor in survey.visitors.items()}
        for key, kind in self._kinds.items():
            group = self.groups.get(kind)
            if group is not None:
                visitor = survey.visitors[key]
                group.members += 1
                group.agents.add(hash(visitor.agent))
                if len(group.networks) < MOST_MEMBERS:
                    group.networks.add(_network(visitor.address))

    def add(self, line: Line) -> None:
        """Take the next line."""
        kind = self._kinds.get(line.key, "newcomers" if line.agent.startswith("Mozilla/") else "hurried")
        if kind == "hurried":
            self.hurried += 1
            return
        reads = line.method in ("GET", "HEAD")
        if kind == "returning" and not reads:
            kind = "posting"
        elif not reads:
            return
        group = self.groups[kind]
        path = self._places.of(line).partition(" ")[2]
        if not _FIT.fullmatch(path):
            path = OTHER
        if reads and kind != "programs" and PART.search(line.path):
            group.parts[path] += 1
        else:
            group.pages[path] += 1
            group.pieces[int(line.at // self.piece)] += 1

    def text(self, title: str) -> str:
        """The scene as TOML. ValueError when there is nobody in it."""
        made = "\n".join(self._lines(title)) + "\n"
        if len(made.encode()) > MAX_FILE_BYTES:
            raise ValueError("the scene would be larger than a scene may be")
        return made

    def scene(self, title: str) -> Scene:
        """The scene itself."""
        return parse(self.text(title), title)

    def _lines(self, title: str) -> Iterator[str]:
        survey = self.survey
        for group in self.groups.values():
            group.close()
        rates = self._rates()
        if not any(rates.values()):
            raise ValueError(
                "nobody comes regularly in these logs, and no browser: there is nothing to make a scene of"
            )
        yield f"title = {_quoted(title)}"
        yield "about = '''"
        seen = "as seen at its limit" if survey.limit_seen else "twice what it did at most: its limit was not seen"
        yield f"Made by shield replay --scene from {survey.requests} requests. Slots: {seen}."
        if not survey.timed:
            yield "The logs do not say how long requests took: times are guessed."
        yield f"Left out: {self.hurried} requests of visitors in a hurry."
        yield "'''"
        yield f"seconds = {SECONDS}"
        yield f"calm = {CALM}"
        yield ""
        yield "[service]"
        yield f"slots = {survey.slots}"
        yield f"time = {_figure(self._usual())}"
        populations = list(self._populations(rates))
        asked = {path for name, _, paths, part in populations for path in (*paths, part)}
        yield from self._routes(asked)
        for name, keys, paths, part in populations:
            yield ""
            yield f"[populations.{name}]"
            yield from keys
            if part:
                yield f"part_path = {_quoted(part)}"
            yield f"[populations.{name}.paths]"
            yield from (f"{_quoted(path)} = {weight}" for path, weight in paths.items())

    def _populations(self, rates: dict[str, float]) -> Iterator[tuple[str, list[str], dict[str, int], str]]:
        """Name, keys, paths and path of parts."""
        for name, group in self.groups.items():
            rate = rates[name]
            if not rate or (name == "posting" and not rates["returning"]):
                continue
            pages = dict(group.pages.most_common(MOST_PATHS))
            members = max(min(group.members or self.groups["returning"].members, MOST_MEMBERS), 1)
            if name == "newcomers":
                members = max(members, LEAST_MEMBERS)
            keys = [
                f'kind = "{"programs" if name == "programs" else "people"}"',
                f"members = {members}",
                f"rate = {_figure(rate)}",
            ]
            if name == "posting":
                keys += ['behind = "returning"', 'method = "POST"', *self._past(self.groups["returning"])]
                keys.append(f"agents = {max(len(self.groups['returning'].agents), 1)}")
                yield name, keys, pages, ""
                continue
            keys += [
                f"networks = {max(min(len(group.networks), members), -(-members // 250))}",
                f"agents = {max(len(group.agents), 1)}",
            ]
            part = ""
            if name != "programs":
                keys.append("browser = true")
                parts = min(round(group.parts.total() / group.pages.total()), MOST_PARTS)
                if parts:
                    keys.append(f"parts = {parts}")
                    part = group.parts.most_common(1)[0][0]
            if name == "newcomers":
                keys.append("fresh = true")
            else:
                keys += self._past(group)
            if name == "returning":
                keys.append('passes = "earned"')
            yield name, keys, pages, part

    def _past(self, group: Group) -> list[str]:
        """As after a week with Shield: what each of them asked for in these logs was asked for before."""
        visits = (group.pages.total() + group.parts.total()) / max(group.members, 1)
        units = max(visits * self._usual() / 0.01, 1.0)
        return [f"past = {{ windows = 20, units = {_figure(min(units, 10_000.0))}, days = 14 }}"]

    def _rates(self) -> dict[str, float]:
        """Visits/s of each group in the piece of time in which regulars asked for most."""
        returning = self.groups["returning"].pieces or self.groups["programs"].pieces
        whole = max(self.survey.seconds, 1.0)
        seconds = min(float(self.piece), whole)
        if not returning:
            return {name: group.pieces.total() / whole for name, group in self.groups.items()}
        busiest = max(returning.values())
        rates = {}
        for name, group in self.groups.items():
            shares = sorted(group.pieces[piece] / count for piece, count in returning.items())
            share = shares[len(shares) // 2]
            if not share and group.pieces:
                share = sum(group.pieces[piece] for piece in returning) / returning.total()
            rates[name] = busiest * share / seconds
        if rates["posting"] < POSTS * rates["returning"]:
            rates["posting"] = 0.0
        return rates

    def _usual(self) -> float:
        """Seconds that half of the requests take undisturbed."""
        routes = sorted(self.survey.routes.values(), key=lambda route: route.median)
        half = sum(route.count for route in routes) / 2
        for route in routes:
            half -= route.count
            if half <= 0:
                return route.median
        return routes[-1].median

    def _routes(self, asked: Iterable[str]) -> Iterator[str]:
        """The routes of the service that are asked for, by path; of a path with several methods the most asked."""
        wanted = set(asked)
        by_path: dict[str, str] = {}
        for name in sorted(self.survey.routes, key=lambda name: self.survey.routes[name].count):
            by_path[name.partition(" ")[2]] = name
        for path in sorted(wanted & by_path.keys()):
            route = self.survey.routes[by_path[path]]
            yield f"[service.routes.{_quoted(path)}]"
            yield f"time = {_figure(route.median)}"
            yield f"variation = {_figure(route.variation)}"
            if route.errors:
                yield f"errors = {_figure(min(route.errors / route.count, 1.0))}"
                yield "status = 500"


def _kind(visitor: Visitor) -> str:
    if visitor.requests > HURRY * visitor.minutes:
        return "hurried"
    browser = visitor.is_browser or bool(visitor.who and not visitor.agent)
    if visitor.is_regular:
        return "returning" if browser else "programs"
    return "newcomers" if browser else "hurried"


def _network(address: str) -> str:
    try:
        return locate(address)[2]
    except ValueError:
        return ""


def _quoted(text: str) -> str:
    """As TOML has it: its basic strings are those of JSON."""
    return orjson.dumps("".join(each if each.isprintable() else "?" for each in text)).decode()


def _figure(value: float) -> str:
    return f"{value:.4g}" if value >= 0.001 else f"{value:.6f}"
