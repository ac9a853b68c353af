"""What others are to hear of, each thing once."""

from __future__ import annotations

from shield.policy.news import NOBODY, News


def test_a_thing_is_told_once_however_often_it_changes() -> None:
    news, one, other = News(True), object(), object()
    news.changed("client", one)
    news.changed("client", other)
    news.changed("client", one)
    news.changed("address", one)
    assert news.take() == [("client", one), ("client", other), ("address", one)]
    assert news.take() == []


def test_there_is_a_bound() -> None:
    news, things = News(True, 2), [object() for _ in range(3)]
    for thing in things * 2:
        news.changed("client", thing)
    assert news.take() == [("client", things[0]), ("client", things[1])]
    assert news.lost == 2


def test_whoever_is_alone_tells_nobody() -> None:
    NOBODY.changed("client", object())
    assert NOBODY.take() == []
