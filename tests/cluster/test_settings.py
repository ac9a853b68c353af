"""Where a store is, as its URL says; and what is wrong with one is said so that it can be mended."""

from __future__ import annotations

from pathlib import Path

import pytest

from shield.cluster.settings import ClusterSettings, Place, read

GOOD = {
    "valkey://10.0.0.5": Place("", False, "", (("10.0.0.5", 6379),), 0, ""),
    "redis://store.example:7000/3": Place("", False, "", (("store.example", 7000),), 3, ""),
    "valkeys://shield@[2001:db8::1]:6380": Place("", True, "shield", (("2001:db8::1", 6380),), 0, ""),
    "rediss+sentinel://a,b:5000/main": Place("sentinel", True, "", (("a", 26379), ("b", 5000)), 0, "main"),
    "valkey+cluster://u%40v@a:1,b:2": Place("cluster", False, "u@v", (("a", 1), ("b", 2)), 0, ""),
}
BAD = {
    "10.0.0.5:6379": "valkey://HOST",
    "http://10.0.0.5": "valkey://HOST",
    "valkey://": "valkey://HOST",
    "valkey://user:secret@a": "no password here",
    "valkey://a,b": "one host",
    "valkey://a/x": "the database is a number",
    "valkey://a:99999": "no host and port",
    "valkey://a?db=1": "no options",
    "valkey://[a": "valkey://HOST",
    "valkey+sentinel://a": "what do the sentinels call",
    "valkey+cluster://a/1": "one database only",
}


@pytest.mark.parametrize("url", GOOD)
def test_a_store_is_found(url: str) -> None:
    assert read(url) == GOOD[url]
    assert ClusterSettings(store=url).place() == GOOD[url]


@pytest.mark.parametrize("url", BAD)
def test_what_is_wrong_with_a_store_is_said(url: str) -> None:
    with pytest.raises(ValueError, match=BAD[url]):
        read(url)
    assert [at for at, _ in ClusterSettings(store=url).complaints()] == [("store",)]


def test_what_else_may_be_wrong(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret\n")
    wrong = ClusterSettings(
        store="valkey://shield@a", name="a b", node="é", ca_file="/nowhere", password_file=str(tmp_path / "none")
    )
    assert [at for at, _ in wrong.complaints()] == [
        ("name",),
        ("node",),
        ("ca_file",),
        ("password_file",),
        ("ca_file",),
    ]
    assert [at for at, _ in ClusterSettings(store="valkey://shield@a").complaints()] == [("password_file",)]
    right = ClusterSettings(store="valkey://shield@a", password_file=str(tmp_path / "password"))
    assert list(right.complaints()) == []
    assert list(ClusterSettings(name="a b").complaints()) == [], "there is none"
