"""What all tests share: uvloop as in production, and no browser test skipped where one is required."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme
import uvloop
from hypothesis import settings

from shield.operator.events import EVENTS
from shield.process.generations import GC_THRESHOLDS

gc.set_threshold(*GC_THRESHOLDS)  # as in production; thousands of tests live long, and need no look again and again
settings.register_profile("untimed", deadline=None)  # how long an example takes says more of the machine than of us
settings.load_profile("untimed")


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, Callable[[], Any]]:
    """Async tests run on the event loop that Shield runs on."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With SHIELD_REQUIRE_BROWSER=1 a browser test that is skipped, for whatever reason, has failed."""
    report = yield
    if report.skipped and item.get_closest_marker("browser") and os.environ.get("SHIELD_REQUIRE_BROWSER") == "1":
        report.outcome = "failed"
        report.longrepr = f"skipped although SHIELD_REQUIRE_BROWSER=1: {report.longrepr}"
    return report


class Clock:
    """A hand-moved clock of monotonic seconds. It starts at an odd place, so that a stray real reading shows."""

    def __init__(self, now: float = 7_654_321.5) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> float:
        self.now += seconds
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


class Events(list[tuple[str, dict[str, Any]]]):
    """A log that remembers its events."""

    def event(self, name: str, **fields: Any) -> None:
        self.append((name, {"level": EVENTS[name].level, **fields}))

    def names(self) -> list[str]:
        return [name for name, _ in self]


@pytest.fixture
def events() -> Events:
    return Events()


@dataclass(frozen=True)
class Tls:
    """PEM files: a certificate for localhost and 127.0.0.1, its key, and the authority that signed it."""

    certificate: Path
    key: Path
    authority: Path


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1", "::1")
    files = Tls(folder / "certificate.pem", folder / "key.pem", folder / "authority.pem")
    files.certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    files.key.write_bytes(issued.private_key_pem.bytes())
    authority.cert_pem.write_to_path(files.authority)
    return files
