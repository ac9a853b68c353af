"""What differs between two configs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from shield.config.diff import NOT_SHOWN, Difference, differences
from shield.config.load import parse
from shield.config.settings import Config


def between(before: str, after: str) -> list[Difference]:
    return list(differences(parse(before), parse(after)))


def test_nothing_differs_from_itself() -> None:
    assert between("", "") == []
    assert between("dry_run = true", "dry_run = true") == []
    assert list(differences(Config(), parse("[listen]\nworkers = 1"))) == []


def test_values_are_shown_as_the_file_has_them() -> None:
    before = '[limits]\nclient = { rate = 10, burst = 200 }\n[upstream]\nservers = ["http://a:1"]'
    after = 'dry_run = true\n[limits]\nclient = { rate = 0.5, burst = 200 }\n[upstream]\nservers = ["http://b:1"]'
    assert between(before, after) == [
        Difference("dry_run", "false", "true"),
        Difference("upstream.servers", '["http://a:1"]', '["http://b:1"]'),
        Difference("limits.client", "{ rate = 10, burst = 200 }", "{ rate = 0.5, burst = 200 }"),
    ]


ROUTES = '[[route]]\nname = "a"\npath = "/a"\n[[route]]\nname = "b"\npath = "/b"\ncost = 2\n'


def test_tables_of_one_name_are_compared() -> None:
    after = '[[route]]\nname = "b"\npath = "/b"\ncost = 3\nchallenge = "never"'
    assert between(ROUTES, after) == [
        Difference("route[a]", '{ path = "/a", name = "a" }', ""),
        Difference("route[b].cost", "2", "3"),
        Difference("route[b].challenge", "-", '"never"'),
    ]
    assert between("", '[[route]]\npath = "/x"') == [Difference("route[/x]", "", '{ path = "/x" }')]


def test_the_order_of_tables_counts() -> None:
    first, second = ROUTES.split("[[route]]\n")[1:]
    assert between(ROUTES, f"[[route]]\n{second}[[route]]\n{first}") == [Difference("order of route", "a, b", "b, a")]


def test_secrets_are_not_shown() -> None:
    keys = '[identity]\napi_key_header = "X-Key"\napi_keys = ["{}"]'
    (found,) = between(keys.format("0" * 64), keys.format("1" * 64))
    assert found == Difference("identity.api_keys", NOT_SHOWN, NOT_SHOWN)


def test_tables_without_a_name_are_paired_with_the_one_most_alike() -> None:
    @dataclass(frozen=True)
    class Table:
        place: str
        a: int = 0
        b: int = 0
        c: int = 0
        d: int = 0
        e: int = 0
        f: int = 0

    @dataclass(frozen=True)
    class Tables:
        some: tuple[Table, ...]

    one, two, three = Table("one", 1, 2, 3), Table("two", 4, 5), Table("three", 9)
    before, after = Tables((one, two)), Tables((three, two, Table("one", 1, 2, 4)))
    found = list(differences(cast("Config", before), cast("Config", after)))
    assert [(each.key, each.after) for each in found] == [
        ("some[0]", '{ place = "three", a = 9 }'),
        ("some[2].c", "4"),
        ("order of some", "1, 2"),
    ]
