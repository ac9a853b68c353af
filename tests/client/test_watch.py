"""What a connection waits for, and for how long."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shield.client import watch as module
from shield.client.watch import LAST_SECONDS, NEVER, WAITS, Limits, TimeoutSettings, Watch
from shield.upstream.settings import UpstreamSettings

CLIENT = TimeoutSettings(header=3.0, keep_alive=5.0, connection=900.0, progress=7.0, min_rate=100, linger=1.0)
UPSTREAM = UpstreamSettings(first_byte_timeout=11.0, idle_timeout=13.0, tunnel_idle_timeout=17.0)
NOW = 1000.0


def made() -> Watch:
    return Watch(Limits(CLIENT, UPSTREAM), NOW, last=False)


@pytest.mark.parametrize(
    ("verb", "why", "seconds"),
    [
        (lambda watch: watch.head(NOW), "head", 3.0),
        (lambda watch: watch.next_request(NOW, 0), "next request", 5.0),
        (lambda watch: watch.body(NOW, 0), "body", 7.0),
        (lambda watch: watch.client_reading(NOW, 0), "client reading", 7.0),
        (lambda watch: watch.rest(NOW), "rest of a body", 7.0),
        (lambda watch: watch.lingering(NOW), "lingering", 1.0),
        (lambda watch: watch.closing(NOW), "closing", 7.0),
        (lambda watch: watch.queue(), "queue", NEVER),
        (lambda watch: watch.connecting(), "connecting", NEVER),
        (lambda watch: watch.first_byte(NOW), "first byte", 11.0),
        (lambda watch: watch.upstream_reading(NOW), "upstream reading", 11.0),
        (lambda watch: watch.next_byte(NOW), "next byte", 13.0),
        (lambda watch: watch.next_event(NOW), "next event", 17.0),
        (lambda watch: watch.tunnel(NOW), "tunnel", 17.0),
        (lambda watch: watch.nothing(), "nothing", NEVER),
    ],
)
def test_each_wait_has_its_limit(verb: Callable[[Watch], None], why: str, seconds: float) -> None:
    watch = made()
    watch.head(0.0)
    verb(watch)
    assert (WAITS[watch.why], watch.deadline) == (why, NEVER if seconds == NEVER else NOW + seconds)
    assert repr(watch) == f"<Watch {why}{'' if seconds == NEVER else f' until {NOW + seconds:.1f}'}>"


@pytest.mark.parametrize(("last", "why", "seconds"), [(False, "head", 3.0), (True, "last head", LAST_SECONDS)])
def test_a_new_connection_waits_for_its_first_request(last: bool, why: str, seconds: float) -> None:
    watch = Watch(Limits(CLIENT, UPSTREAM), NOW, last)
    assert (WAITS[watch.why], watch.deadline) == (why, NOW + seconds)


def test_the_docstring_shows_every_wait() -> None:
    table = (module.__doc__ or "").split("---\n")[-1].split("\n\n")[0]
    assert {line[:21].strip() for line in table.splitlines() if line.strip()} == set(WAITS)


def test_a_connection_has_lived_long_enough_after_timeouts_connection() -> None:
    watch = made()
    watch.next_request(NOW + 1, 0)
    assert watch.expires == NOW + 900.0


def test_a_deadline_is_met_once() -> None:
    watch = made()
    watch.head(NOW)
    watch.met()
    assert (watch.deadline, WAITS[watch.why]) == (NEVER, "head")


def test_a_client_may_rest_whether_it_reads_or_sends_until_it_has_rested_long_enough() -> None:
    watch = made()
    for begin in (watch.body, watch.client_reading):
        begin(NOW, 0)
        assert watch.pause(NOW + 7)
        assert watch.deadline == NOW + 14
        assert watch.pause(NOW + 84)
        assert watch.deadline == NOW + 90, "timeouts.pause, and no longer"
        assert not watch.pause(NOW + 90)
    watch.head(NOW)
    assert not watch.pause(NOW)


def test_a_pace_is_kept_from_the_least_rate_on() -> None:
    watch = made()
    watch.body(NOW, 5000)
    assert watch.kept_pace(5700)
    assert not watch.kept_pace(5699)


def test_a_pace_that_nobody_has_measured_since_bytes_were_handed_over_counts_as_kept() -> None:
    watch = made()
    watch.next_request(NOW, 5000)
    assert watch.kept_pace(4999), "the client has not even taken what had been sent by then"
    assert not watch.kept_pace(5000)
