"""The scan for lines finds what tomllib finds, where it stands."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shield.config.key_lines import Path as Place
from shield.config.key_lines import key_lines

DOCUMENT = '''\
# a comment with "quotes" and [brackets]
title = "it's" # not \'a string
dry_run = true # "x
[a]
b = [ "x", # ]
  "y]",
  { q = 1, "r s" = [2,
 3] } ]
c.d = """
multi = 3 \\""" ] }
"""
"e\\u0041\\n" = 1.5
f = {}
g = []
[[t]]
x=1
[t.sub]
y=\'\'\'a
'b\'\'\'
[[t]]
x=2
date = 1979-05-27 07:32:00
[t.sub]
y = ""
[limits]
pass = { rate = 2, burst = 3e1 }
long = """"quoted""""
'''


def paths(value: Any, path: Place = ()) -> Iterator[Place]:
    if path:
        yield path
    if isinstance(value, dict):
        for key, item in value.items():
            yield from paths(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from paths(item, (*path, index))


def test_finds_exactly_what_the_document_holds() -> None:
    assert set(key_lines(DOCUMENT)) == set(paths(tomllib.loads(DOCUMENT)))


@pytest.mark.parametrize("path", sorted((Path(__file__).parent / "good").glob("*.toml")), ids=lambda path: path.stem)
def test_finds_what_the_good_files_hold(path: Path) -> None:
    text = path.read_text()
    assert set(key_lines(text)) == set(paths(tomllib.loads(text)))


def test_lines() -> None:
    found = key_lines(DOCUMENT)
    lines = DOCUMENT.splitlines()
    for at, line in found.items():
        key = at[-1]
        if isinstance(key, str) and key.isidentifier():
            assert key in lines[line - 1], at
    assert lines[found["a", "b", 1] - 1].strip() == '"y]",'
    assert lines[found["a", "b", 2, "r s", 1] - 1].strip() == "3] } ]"
    assert lines[found["t", 1, "x"] - 1] == "x=2"
    assert lines[found["t", 1, "sub", "y"] - 1] == 'y = ""'
    assert lines[found["limits", "pass", "burst"] - 1].startswith("pass")


def test_windows_line_ends() -> None:
    assert key_lines('a = 1\r\n[b]\r\nc = """x\r\ny"""\r\nd = 2\r\n') == {
        ("a",): 1,
        ("b",): 2,
        ("b", "c"): 3,
        ("b", "d"): 5,
    }
