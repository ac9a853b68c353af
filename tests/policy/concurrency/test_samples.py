"""The bounds of what is kept of upstream times."""

from __future__ import annotations

from shield.policy.concurrency.samples import MOST_SAMPLES, Samples


def test_samples_and_clients_are_bounded() -> None:
    samples = Samples(4)
    for i in range(5 * MOST_SAMPLES):
        samples.add(i.to_bytes(4, "big"), 1.0, 0.0, error=i % 2 == 0)
    assert samples.full
    assert len(samples) == MOST_SAMPLES
    assert len(samples.ratios) == len(samples.excess) == samples.errors == MOST_SAMPLES // 2
    assert samples.clients == len(samples._clients) == 4


def test_of_an_error_only_the_number_is_kept() -> None:
    samples = Samples(4)
    samples.add(b"a", 0.01, -0.09, error=True)
    samples.add(b"a", 2.0, 0.1, error=False)
    assert (samples.errors, samples.ratios, samples.excess, samples.clients) == (1, [2.0], [0.1], 1)


def test_the_last_are_kept_and_then_none() -> None:
    samples = Samples(4)
    for ratio in (1.0, 2.0, 3.0):
        samples.add(b"a", ratio, ratio - 1.0, error=False)
    samples.keep_last(2)
    assert (samples.ratios, samples.excess) == ([2.0, 3.0], [1.0, 2.0])
    assert not samples.full
    samples.clear()
    assert (len(samples), samples.clients, samples.excess) == (0, 0, [])


def test_what_is_forgotten_makes_room() -> None:
    samples = Samples(4)
    for i in range(MOST_SAMPLES):
        samples.add(b"a", 1.0, 0.0, error=i < 9)
    samples.keep_last(16)
    assert not samples.full
    samples.add(b"a", 2.0, 1.0, error=False)
    assert samples.ratios[-1] == 2.0
    for _ in range(2 * MOST_SAMPLES):
        samples.add(b"a", 1.0, 0.0, error=False)
    assert len(samples) == MOST_SAMPLES
