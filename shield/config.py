"""The config file: one settings dataclass per TOML table, each defined beside the code that it governs.

load() reads, validates and cross-checks, and reports every mistake together. Each option is listed once, in its
dataclass; nothing here repeats a name, a bound or a default.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final

from pydantic import ConfigDict
from typing_extensions import Doc

from shield.admin.server import AdminSettings
from shield.cross_checks import check
from shield.log import LogSettings
from shield.policy.admission import QueueSettings
from shield.policy.challenge import ChallengeSettings
from shield.policy.concurrency import ConcurrencySettings
from shield.policy.history import HistorySettings
from shield.policy.hitters import HittersSettings
from shield.policy.identity import IdentitySettings
from shield.policy.limits import LimitsSettings
from shield.policy.market import MarketSettings
from shield.policy.pressure import PressureSettings
from shield.policy.reputation import ReputationSettings
from shield.policy.routes import RoutesSettings
from shield.policy.table import TableSettings
from shield.proxy.edge import TimeoutSettings
from shield.proxy.headers import HttpSettings
from shield.proxy.listener import ListenSettings
from shield.proxy.tls import TlsSettings
from shield.proxy.upstream import UpstreamSettings
from shield.state import StateSettings
from shield.toml_places import places
from shield.validation import STRICT, Mistake, mistake, validate

FILE_NAME: Final = "config.toml"

MAX_FILE_BYTES: Final = 1 << 20
"""A config is written by hand; a larger file is the wrong file."""


@dataclass(frozen=True, slots=True)
class Config:
    """Everything the operator can set."""

    dry_run: Annotated[
        bool, Doc("Decide, count and log, but forward everything and set no cookie. Begin with this.")
    ] = False
    listen: Annotated[ListenSettings, Doc("Where clients connect.")] = ListenSettings()
    tls: Annotated[TlsSettings, Doc("Certificates, and what a handshake may cost.")] = TlsSettings()
    timeouts: Annotated[TimeoutSettings, Doc("How long a client may take.")] = TimeoutSettings()
    http: Annotated[HttpSettings, Doc("What a request may look like.")] = HttpSettings()
    upstream: Annotated[UpstreamSettings, Doc("The service that is shielded.")] = UpstreamSettings()
    admin: Annotated[AdminSettings, Doc("The operator's listener.")] = AdminSettings()
    log: Annotated[LogSettings, Doc("JSON lines on stderr.")] = LogSettings()
    state: Annotated[StateSettings, Doc("What survives a restart.")] = StateSettings()
    identity: Annotated[IdentitySettings, Doc("Who is asking.")] = IdentitySettings()
    tables: Annotated[TableSettings, Doc("How much is remembered.")] = TableSettings()
    limits: Annotated[LimitsSettings, Doc("Token buckets.")] = LimitsSettings()
    routes: Annotated[RoutesSettings, Doc("What a request costs.")] = RoutesSettings()
    history: Annotated[HistorySettings, Doc("Who was here before.")] = HistorySettings()
    reputation: Annotated[ReputationSettings, Doc("Who misbehaved.")] = ReputationSettings()
    pressure: Annotated[PressureSettings, Doc("When the service is under attack.")] = PressureSettings()
    hitters: Annotated[HittersSettings, Doc("Programs, networks and routes that stand out.")] = HittersSettings()
    concurrency: Annotated[ConcurrencySettings, Doc("How much the service takes at once.")] = ConcurrencySettings()
    queue: Annotated[QueueSettings, Doc("Who waits, and for how long.")] = QueueSettings()
    challenge: Annotated[ChallengeSettings, Doc("Proof of work and passes.")] = ChallengeSettings()
    market: Annotated[MarketSettings, Doc("What a pass costs under attack, and who gets one.")] = MarketSettings()

    __pydantic_config__: ClassVar[ConfigDict] = STRICT


class ConfigError(Exception):
    """The config cannot be used. `mistakes` are all of them, in the order of the lines; str() is the whole report."""

    def __init__(self, path: str, mistakes: Sequence[Mistake]) -> None:
        self.path = path
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(f"{path}: {item}" for item in self.mistakes))


def find(path: str | None) -> str:
    """The file to read: `path`, else config.toml in the current directory, else the one that Shield ships."""
    if path is not None:
        return path
    if Path(FILE_NAME).is_file():
        return FILE_NAME
    package = Path(__file__).parent
    shipped = package / FILE_NAME  # in a wheel
    return str(shipped if shipped.is_file() else package.parent / FILE_NAME)


def load(path: str | None = None) -> Config:
    """The settings in the file that find() finds. Raises ConfigError."""
    name = find(path)
    try:
        with Path(name).open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(name, [Mistake((), 0, "", f"cannot be read: {error.strerror}")]) from error
    if len(data) > MAX_FILE_BYTES:
        raise ConfigError(name, [Mistake((), 0, "", f"more than {MAX_FILE_BYTES} bytes; is this the right file?")])
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = 1 + data.count(b"\n", 0, error.start)
        raise ConfigError(name, [Mistake((), line, f"byte 0x{data[error.start]:02x}", "allowed: UTF-8")]) from error
    return parse(text, name)


def parse(text: str, name: str = FILE_NAME) -> Config:
    """The settings in a TOML document; `name` is for the report. Raises ConfigError."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(name, [_syntax(str(error))]) from error
    lines = places(text)
    config, mistakes = validate(Config, data, lines)
    if config is None:
        # What is sound is cross-checked all the same, so that one run of `shield check` shows everything.
        config, _ = validate(Config, _without(data, mistakes), lines)
    if config is not None:
        unsound = {item.path[:2] for item in mistakes}
        mistakes += [mistake(data, lines, at, why) for at, why in check(config) if unsound.isdisjoint((at[:1], at[:2]))]
    if config is None or mistakes:
        raise ConfigError(name, sorted(mistakes, key=lambda item: item.line))
    return config


def _without(data: Mapping[str, Any], mistakes: Sequence[Mistake]) -> dict[str, Any]:
    """The document less each option with a mistake in it; an option is a key of a table or of the top level."""
    unsound = {item.path[:2] for item in mistakes}
    return {
        name: {key: value for key, value in table.items() if (name, key) not in unsound}
        if isinstance(table, dict)
        else table
        for name, table in data.items()
        if (name,) not in unsound
    }


def _syntax(message: str) -> Mistake:
    """tomllib's "Expected '=' after a key in a key/value pair (at line 3, column 5)" as a mistake."""
    match = re.search(r" \(at line (\d+), column \d+\)$", message)
    if match is None:
        return Mistake((), 0, "", f"not TOML: {message}")
    return Mistake((), int(match.group(1)), "", f"not TOML: {message[: match.start()]}")


def as_json(mistakes: Sequence[Mistake]) -> list[Mapping[str, Any]]:
    """For `shield check --json`."""
    return [{"key": m.key, "line": m.line, "found": m.found, "allowed": m.allowed} for m in mistakes]
