"""`shield replay`: read logs twice, and say what a config would have done."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from shield.console import show
from shield.errors import StartError
from shield.http.forwarded import parse_node
from shield.policy.locations import Cidrs
from shield.replay import files, report
from shield.replay.driver import Driver
from shield.replay.files import LogError, Progress, Skipped
from shield.replay.hosts import HOSTLESS, Hosts
from shield.replay.kept import Kept
from shield.replay.lines import Line
from shield.replay.order import Astray, Log, in_order
from shield.replay.scene_file import Portrait
from shield.replay.survey import Survey
from shield.simulate import progress
from shield.simulate.scene import parse
from shield.simulate.world import GC_THRESHOLDS
from shield.terminal import say

if TYPE_CHECKING:
    from shield.config.settings import Config
    from shield.replay.outcome import Outcomes
    from shield.simulate.scene import Scene

TOLD_EVERY: Final = 4096
"""Lines after which the progress bar is moved."""

MOST_HOPS: Final = 32
NOBODY: Final[Mapping[str, Hosts]] = {}

Tell = Callable[[float, str], None]


def replay(names: Sequence[str], configs: Mapping[str, Config], json: bool, site: str = "") -> None:
    """Say what each config would have done. `site`: for which one lines are that tell no host. Raises StartError."""
    began = time.perf_counter()
    if site and not any(config.site for config in configs.values()):
        raise StartError("--site names one of several sites, and the config has no [[site]]")
    hosts = {name: Hosts(config, site) for name, config in configs.items()}
    logs = Logs(names, [proxy for config in configs.values() for proxy in config.listen.trusted_proxies])
    with closing(logs.keep()), logs.bar("replay", 1 + len(configs)) as tell:
        survey, services = logs.survey(tell, hosts)
        found = logs.replay(survey, configs, tell, hosts, services)
    hostless = next((each for each in found.values() if each.hostless == each.requests), None)
    if hostless is not None:
        raise LogError(
            f"{', '.join(names[:3])}: {HOSTLESS}. Name the site with --site, or log the host: docs/replay.md"
        )
    took = time.perf_counter() - began
    what = names, survey, logs.skipped, logs.astray, found, took
    if json:
        say(orjson.dumps(report.as_json(*what), option=orjson.OPT_INDENT_2).decode(), 1)
        return
    noted = [name for name, config in configs.items() if config.dry_run]
    if noted:
        say(f"{', '.join(noted)}: dry_run is on there, and left out here: this is what it would do without")
    say(report.text(*what), 1)


def make_scene(names: Sequence[str], file: str, trusted: Sequence[str]) -> None:
    """Write a scene for the simulator, made from logs, to a new file, and say what is in it. Raises LogError."""
    if Path(file).exists():
        raise LogError(f"{file}: there is such a file; name another one, or remove it")
    logs = Logs(names, trusted)
    with logs.bar("scene", 2) as tell:
        portrait = Portrait(logs.survey(tell)[0])
        for line in logs.told("second reading", tell):
            portrait.add(line)
    title = f"A busy hour as in {Path(names[0]).name}{' and others' if len(names) > 1 else ''}"
    try:
        text = portrait.text(title)
        made = parse(text, file)
        with Path(file).open("x", encoding="utf-8") as target:
            target.write(text)
    except ValueError as error:
        raise LogError(f"{file}: {error}") from error
    except OSError as error:
        raise LogError(f"{file}: cannot be written: {error.strerror}") from error
    say("\n".join(_made(file, made, portrait, logs.skipped)), 1)


def _made(file: str, made: Scene, portrait: Portrait, skipped: Skipped) -> Iterator[str]:
    yield f"{file}: a service with {made.service.slots} slots and {len(made.service.routes)} routes"
    for name, model in made.populations.items():
        more = f", pages of {model.parts} parts" if model.parts else ""
        yield f"  {name}: {model.members:,} {model.kind}, {model.rate:.3g} visits/s{more}"
    if portrait.hurried:
        yield f"  left out: {portrait.hurried:,} requests of visitors in a hurry, and of programs that came once"
    if skipped.foreign:
        yield f"  left out: {skipped.foreign:,} lines that cannot be read: {show.plain(skipped.named[0])}"
    yield f"Play it: shield simulate {file} --config config.toml"
    yield f"Attack it: shield simulate {file} --attack botnet --config config.toml"


class Logs:
    """The logs, to be read more than once. `trusted`: proxies whose word about a client's address is believed."""

    def __init__(self, names: Sequence[str], trusted: Sequence[str] = ()) -> None:
        self._names = names
        self._trusted = Cidrs(trusted)
        self._bytes = files.check(names)
        self._progress = Progress(self._bytes)
        self.skipped = Skipped()
        self.astray = Astray()
        self._starts: list[tuple[float, str]] = []
        self._kept: Kept | None = None

    def keep(self) -> Kept:
        """Keep the lines of the first reading for the second, until what is given is closed."""
        self._kept = Kept()
        return self._kept

    def bar(self, title: str, times: int) -> Any:
        """A progress bar for reading all that so many times; two configs are two times."""
        self._progress = Progress(self._bytes * times)
        return progress.bar(title, 0.0, float(self._progress.total), "{doing}")

    def survey(self, tell: Tell, hosts: Mapping[str, Hosts] = NOBODY) -> tuple[Survey, dict[str, dict[str, Survey]]]:
        """The first reading: of everything, and of the service of each site of each config. LogError when there is no
        request in it."""
        found = Survey()
        services = {
            name: {site.name: Survey() if len(each.sites) > 1 else found for site in each.sites}
            for name, each in hosts.items()
        }
        several = [(hosts[name], of) for name, of in services.items() if len(of) > 1]
        read = self._lines(self.skipped, self.astray, 1)
        if self._kept is not None:
            read = self._kept.keep(read, self._progress)
        with _no_garbage():
            for line in _told(read, self._progress, tell, "first reading"):
                found.add(line)
                for each, of in several:
                    site = each.of(line)
                    if site is not None:
                        of[site.name].serve(line)
        found.close()
        for _, of in several:
            for each_service in of.values():
                each_service.close()
        if not found.requests:
            named = "".join(f"\n  {each}" for each in self.skipped.named)
            raise LogError(f"{', '.join(self._names[:3])}: no request in it{named}")
        return found, services

    def replay(
        self,
        survey: Survey,
        configs: Mapping[str, Config],
        tell: Tell,
        hosts: Mapping[str, Hosts],
        services: Mapping[str, Mapping[str, Survey]],
    ) -> dict[str, Outcomes]:
        """The second reading, by all configs at once."""
        answering = frozenset(
            key for key, visitor in survey.regulars() if visitor.is_browser or (visitor.who and not visitor.agent)
        )
        drivers = {
            name: Driver(config, survey, answering, hosts[name], services[name]) for name, config in configs.items()
        }
        with _no_garbage():
            times = len(drivers)
            kept = self._kept
            lines = kept.lines(self._progress, times) if kept else self._lines(Skipped(), Astray(), times)
            for line in _told(lines, self._progress, tell, "replay"):
                for driver in drivers.values():
                    if not driver.ask(line):
                        self.skipped.other += 1
        for driver in drivers.values():
            driver.close()
        return {name: driver.outcomes for name, driver in drivers.items()}

    def told(self, doing: str, tell: Tell) -> Iterator[Line]:
        """Another reading, of all lines in their order."""
        return _told(self._lines(Skipped(), Astray(), 1), self._progress, tell, doing)

    def _lines(self, skipped: Skipped, astray: Astray, times: int) -> Iterator[Line]:
        if not self._starts:
            self._starts = [(_first(name), name) for name in self._names]
        logs: list[Log] = [
            (start, partial(files.lines, name, skipped, self._progress, times)) for start, name in self._starts
        ]
        found = in_order(logs, astray)
        return self._behind(found) if self._trusted else found

    def _behind(self, lines: Iterable[Line]) -> Iterator[Line]:
        """Have requests come from who asked a trusted proxy: the last hop that is none."""
        for line in lines:
            if line.forwarded and line.address in self._trusted:
                for hop in reversed(line.forwarded.split(",")[-MOST_HOPS:]):
                    address = parse_node(hop)
                    if address is None:
                        break
                    line.ask_from(address)
                    if address not in self._trusted:
                        break
            yield line


def _first(name: str) -> float:
    """The time of a log's first line; 0 when it has none."""
    line = next(iter(files.lines(name, Skipped())), None)
    return 0.0 if line is None else line.at


def _told(lines: Iterable[Line], read: Progress, tell: Tell, doing: str) -> Iterator[Line]:
    for number, line in enumerate(lines):
        if not number % TOLD_EVERY:
            tell(float(min(read.done, read.total)), f"{doing}, {report.clock(line.at)}")
        yield line


class _no_garbage:  # noqa: N801 - it is used as a statement
    """Looks for garbage in cycles more rarely: a replay makes none."""

    def __enter__(self) -> None:
        self._before = gc.get_threshold()
        gc.set_threshold(*GC_THRESHOLDS)

    def __exit__(self, *_: object) -> None:
        gc.set_threshold(*self._before)
