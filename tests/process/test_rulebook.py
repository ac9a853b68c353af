"""The operator's rules of one Shield: all that is refused, what is kept, and who is told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shield.accept.listener import ListenSettings
from shield.config.settings import Config
from shield.config.state import StateSettings
from shield.operator.desk import Asker, DeskError
from shield.operator.events import EVENTS
from shield.policy.explain.refusing import Pardoned
from shield.policy.identity import IdentitySettings
from shield.policy.rules.rule import KINDS, Rule
from shield.process import rulebook as module
from shield.process.rulebook import Rulebook
from tests.lookup.databases import asn, write

ANN = Asker("ann", "")
AWAY = Asker("", "198.51.100.7")
BAN = {"kind": "ban", "subject": "192.0.2.0/24"}


class Shield:
    """In the place of the engines and the log."""

    def __init__(self, directory: Path | str = "") -> None:
        self.wall = 1_700_000_000.0
        self.told: list[tuple[list[str], str]] = []
        self.lines: list[tuple[str, dict[str, Any]]] = []
        self.trouble: tuple[str, list[str]] = ("", [])
        self.slow: asyncio.Event | None = None
        self.config = Config(
            state=StateSettings(str(directory)), listen=replace(ListenSettings(), trusted_proxies=("10.0.0.0/8",))
        )
        self.book = Rulebook(lambda: self.wall, asyncio.Lock())
        self.book.go_by(self.config)

    def serve(self) -> Shield:
        self.book.serve(self.follow, self.reload, self.event)
        return self

    async def follow(self, rules: Sequence[Rule], pardon: str) -> Pardoned:
        if self.slow is not None:
            await self.slow.wait()
        self.told.append(([rule.subject for rule in rules], pardon))
        return Pardoned(2, ("identity.deny",)) if pardon else Pardoned()

    async def reload(self) -> tuple[str, list[str]]:
        return self.trouble

    def event(self, name: str, **fields: Any) -> None:
        assert set(fields) <= set(EVENTS[name].fields)
        self.lines.append((name, fields))

    async def lift(self, numbers: Sequence[int] = (), subject: str = "", kinds: Sequence[str] = (), **more: Any) -> Any:
        return await self.book.lift(numbers, subject, kinds, more.pop("pardon", False), "enough", ANN)


@pytest.fixture
async def shield(tmp_path: Path) -> Any:
    made = Shield(tmp_path).serve()
    yield made
    made.book.close()


async def test_a_change_is_kept_told_and_logged(shield: Shield) -> None:
    answer = await shield.book.add({**BAN, "seconds": 60, "note": "scrapes"}, ANN)
    assert answer["kept"] is True
    assert (answer["change"]["author"], answer["change"]["rule"]["note"]) == ("ann", "scrapes")
    assert shield.told == [(["192.0.2.0/24"], "")]
    ((name, said),) = shield.lines
    assert name == "rule_added"
    assert (said["author"], said["note"], said["kind"], said["expires"]) == ("ann", "scrapes", "ban", shield.wall + 60)
    assert shield.book.rules()["rules"] == [answer["change"]["rule"]]


async def test_rules_and_the_audit_list_outlive_a_restart(shield: Shield, tmp_path: Path) -> None:
    await shield.book.add(BAN, ANN)
    await shield.book.add({"kind": "dry_run", "value": "on", "seconds": 60}, ANN)
    assert (tmp_path / "rules.json").stat().st_mode & 0o777 == 0o600
    again = Shield(tmp_path)
    assert [rule.kind for rule in again.book.holding()] == ["ban", "dry_run"]
    assert again.book.audit(10) == shield.book.audit(10)
    assert again.book.audit(1)["changes"][0]["rule"]["kind"] == "dry_run"
    again.book.close()


async def test_a_file_that_was_damaged_is_put_aside_and_told_of(tmp_path: Path) -> None:
    (tmp_path / "rules.json").write_text('{"version":1,"about":{},"rows":[["rule",{}]]}')
    shield = Shield(tmp_path)
    assert shield.lines == []
    shield.serve()
    ((name, said),) = shield.lines
    assert (name, Path(said["kept_as"]).exists()) == ("rules_unusable", True)
    assert shield.book.holding() == ()


async def test_a_disk_that_takes_nothing_is_told_of_and_the_rule_holds(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    shield = Shield(tmp_path / "file" / "below").serve()
    await shield.book.add(BAN, ANN)
    assert [name for name, _ in shield.lines] == ["rules_not_saved", "rule_added"]
    assert len(shield.book.holding()) == 1


async def test_who_bans_while_the_disk_is_full_is_told_and_the_ban_is_saved_once_it_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.01)
    (tmp_path / "file").write_text("")
    shield = Shield(tmp_path / "file" / "below").serve()
    answer = await shield.book.add(BAN, ANN)
    assert (answer["kept"], "Not a directory" in answer["not_kept"]) == (False, True)
    assert shield.book.rules()["kept"] is False
    await asyncio.sleep(0.1)
    (tmp_path / "file").unlink()
    async with asyncio.timeout(5):
        while not shield.book.rules()["kept"]:
            await asyncio.sleep(0.01)
    assert [name for name, _ in shield.lines] == ["rules_not_saved", "rule_added"]  # told of once, not at each try
    again = Shield(tmp_path / "file" / "below")
    assert [rule.subject for rule in again.book.holding()] == ["192.0.2.0/24"]
    again.book.close()
    shield.book.close()


async def test_an_upgrade_while_the_disk_is_full_loses_no_rule(tmp_path: Path) -> None:
    old = Shield(tmp_path).serve()
    await old.book.add(BAN, ANN)
    await old.book.add({"kind": "deny", "subject": "198.51.100.0/24"}, ANN)
    kept = (tmp_path / "rules.json").read_bytes()
    await old.lift([2])
    await old.book.add({"kind": "dry_run", "value": "on"}, ANN)
    (tmp_path / "rules.json").write_bytes(kept)  # the disk took none of the last two
    heir = Shield(tmp_path)
    heir.book.take(old.book.rows())
    assert heir.book.holding() == old.book.holding()
    assert (heir.book.rules()["kept"], heir.book.audit(9)) == (False, old.book.audit(9))
    heir.serve()
    await heir.book.add({"kind": "pressure", "value": "1"}, ANN)
    assert heir.book.rules()["kept"] is True
    heir.book.close()
    old.book.close()


async def test_what_the_directory_has_counts_where_it_is_newer(tmp_path: Path) -> None:
    old = Shield(tmp_path).serve()
    rows = old.book.rows()
    await old.book.add(BAN, ANN)
    heir = Shield(tmp_path)
    heir.book.take(rows)
    assert (heir.book.holding(), heir.book.rules()["kept"]) == (old.book.holding(), True)
    heir.book.close()
    old.book.close()


async def test_without_a_directory_rules_are_not_kept_and_say_so() -> None:
    shield = Shield().serve()
    answer = await shield.book.add(BAN, ANN)
    assert (answer["kept"], answer["not_kept"]) == (False, "there is no state.directory to keep it in")
    assert shield.book.rules()["kept"] is False


@pytest.mark.parametrize(
    ("wish", "advice"),
    [
        ({**BAN, "ttl": 60}, "unknown: ttl"),
        ({**BAN, "seconds": "60"}, "seconds: a number"),
        ({**BAN, "seconds": True}, "seconds: a number"),
        ({**BAN, "seconds": 0}, "from 1 second to 366 days"),
        ({**BAN, "force": "yes"}, "force: true or false"),
        ({**BAN, "here": "198.51.100.7"}, "here: a list"),
        ({**BAN, "here": ["192.0.2.0/24"]}, "here: a list"),
        ({**BAN, "here": ["nowhere"]}, "here: a list"),
        ({**BAN, "note": 1}, "note: a text"),
        ({**BAN, "note": "two\nlines"}, "one line"),
        ({"kind": "ban", "subject": "192.0.2.0/40"}, "is no network"),
        ({"kind": "ban", "subject": "10.2.0.0/16"}, "listen.trusted_proxies"),
        ({"kind": "ban", "subject": "198.51.100.0/24"}, "you would lock yourself out"),
        ({**BAN, "here": ["192.0.2.9"]}, "you would lock yourself out"),
        ({"kind": "ban", "subject": "0.0.0.0/0", "force": True}, "everybody"),
        ({}, "kind"),
    ],
)
async def test_wishes_that_are_refused_change_nothing(shield: Shield, wish: Any, advice: str) -> None:
    with pytest.raises(DeskError) as refused:
        await shield.book.add(wish, AWAY)
    assert refused.value.status == 422
    assert advice in str(refused.value)
    assert (shield.told, shield.lines, shield.book.audit(9)["changes"]) == ([], [], [])


async def test_who_has_no_token_says_who_they_are(shield: Shield) -> None:
    answer = await shield.book.add({**BAN, "author": "bob"}, Asker("", "127.0.0.1"))
    assert answer["change"]["author"] == "bob"
    answer = await shield.book.add({**BAN, "author": "mallory"}, ANN)
    assert answer["change"]["author"] == "ann"


async def test_rules_are_lifted_by_whom_they_are_for_and_shield_s_own_bans_with_them(shield: Shield) -> None:
    await shield.book.add(BAN, ANN)
    answer = await shield.lift(subject="192.0.2.0/24", kinds=("ban", "deny"), pardon=True)
    assert ([change["what"] for change in answer["changes"]], answer["pardoned"]) == (["lifted", "pardoned"], 2)
    assert answer["refusing"] == ["identity.deny"]
    assert shield.told[-1] == ([], "192.0.2.0/24")
    answer = await shield.lift(subject="192.0.2.77", kinds=("ban", "deny"), pardon=True)
    assert [change["what"] for change in answer["changes"]] == ["pardoned"]
    assert [name for name, _ in shield.lines] == ["rule_added", "rule_lifted", "pardoned", "pardoned"]


async def test_what_is_not_there_cannot_be_lifted_or_undone(shield: Shield) -> None:
    for more in ({"numbers": [7]}, {"subject": "192.0.2.0/24", "kinds": ["ban"]}):
        with pytest.raises(DeskError) as refused:
            await shield.lift(**more)  # type: ignore[arg-type]
        assert refused.value.status == 404
    with pytest.raises(DeskError, match="no network"):
        await shield.lift(subject="nobody", pardon=True)
    with pytest.raises(DeskError) as refused:
        await shield.book.undo("", ANN)
    assert refused.value.status == 409


async def test_the_last_change_is_undone(shield: Shield) -> None:
    await shield.book.add(BAN, ANN)
    answer = await shield.book.undo("too much", ANN)
    assert (answer["change"]["what"], shield.told[-1]) == ("undone", ([], ""))
    assert shield.lines[-1][0] == "rule_undone"


async def test_a_reload_says_what_came_of_it(shield: Shield) -> None:
    assert await shield.book.reload("new limits", ANN) == {"reloaded": True}
    assert shield.book.audit(1)["changes"][0]["what"] == "reloaded"
    shield.trouble = "config.toml: 1 mistakes", ["line 3: listen.backlog"]
    with pytest.raises(DeskError) as refused:
        await shield.book.reload("", ANN)
    assert (refused.value.status, refused.value.more) == (409, {"mistakes": ["line 3: listen.backlog"]})
    assert len(shield.book.audit(9)["changes"]) == 1


async def test_a_rule_that_ends_is_told_of(shield: Shield) -> None:
    await shield.book.add({**BAN, "seconds": 1}, ANN)
    shield.wall += 2
    assert shield.book.audit(1)["changes"][0]["what"] == "ended"
    assert shield.lines[-1][0] == "rule_ended"
    await shield.book.add({**BAN, "seconds": 1}, ANN)
    shield.wall += 2
    async with asyncio.timeout(5):
        while shield.lines[-1][0] != "rule_ended":  # by its own timer
            await asyncio.sleep(0.01)


async def test_nothing_is_changed_before_shield_serves_and_after_another_has_come(shield: Shield) -> None:
    starting = Shield()
    with pytest.raises(DeskError, match="starting"):
        await starting.book.add(BAN, ANN)
    shield.book.leave()
    for asked in (shield.book.add(BAN, ANN), shield.book.reload("", ANN), shield.book.undo("", ANN)):
        with pytest.raises(DeskError) as refused:
            await asked
        assert refused.value.status == 503


async def test_a_worker_that_hangs_keeps_nobody_waiting(shield: Shield, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TOLD_SECONDS", 0.01)
    shield.slow = asyncio.Event()
    assert (await shield.book.add(BAN, ANN))["change"]["what"] == "added"
    assert [name for name, _ in shield.lines] == ["rules_not_followed", "rule_added"]
    shield.slow.set()
    async with asyncio.timeout(5):
        while not shield.told:
            await asyncio.sleep(0)


async def test_another_directory_is_read_when_the_config_names_it(shield: Shield, tmp_path: Path) -> None:
    await shield.book.add(BAN, ANN)
    other = Shield()
    other.book.go_by(replace(other.config, state=StateSettings(str(tmp_path))))
    assert [rule.subject for rule in other.book.holding()] == ["192.0.2.0/24"]
    other.book.close()


VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.lists(st.text(max_size=9))
WISH = st.dictionaries(st.sampled_from(sorted(module.WISHES)), VALUES) | st.fixed_dictionaries(
    {"kind": st.sampled_from(KINDS), "subject": st.sampled_from(["192.0.2.0/24", "client", "/feed", ""])},
    optional={"value": st.sampled_from(["20/400", "0.5", "never", "on"]), "seconds": VALUES, "here": VALUES},
)


@settings(max_examples=25)
@given(st.lists(WISH, max_size=4))
def test_whatever_is_wished_is_a_rule_or_refused(wishes: list[dict[str, Any]]) -> None:
    async def ask() -> None:
        shield = Shield().serve()
        for wish in wishes:
            with contextlib.suppress(DeskError):
                await shield.book.add(wish, AWAY)
        assert orjson.loads(orjson.dumps(shield.book.rules()))["rules"] == shield.book.rules()["rules"]
        shield.book.close()

    asyncio.run(ask())


async def test_a_rule_for_an_as_needs_what_tells_of_it_and_does_not_lock_its_author_out(
    shield: Shield, tmp_path: Path
) -> None:
    wish = {"kind": "deny", "subject": "AS64500"}
    with pytest.raises(DeskError) as refused:
        await shield.book.add(wish, AWAY)
    assert "name a database in identity.asn and reload" in str(refused.value)
    path = write(tmp_path / "asn.mmdb", "GeoLite2-ASN", {"198.51.100.0/24": asn(64500), "192.0.2.0/24": asn(64501)})
    shield.book.go_by(replace(shield.config, identity=IdentitySettings(asn=str(path))))
    with pytest.raises(DeskError) as refused:
        await shield.book.add(wish, AWAY)
    assert "198.51.100.7, from where you ask, is in AS64500" in str(refused.value)
    answer = await shield.book.add({"kind": "deny", "subject": "as64501"}, AWAY)
    assert answer["change"]["rule"]["subject"] == "AS64501"


async def test_from_where_the_operator_asks_is_spared_for_a_day(shield: Shield) -> None:
    await shield.book.add({**BAN, "here": ["2001:db8:5::7", "127.0.0.1"]}, AWAY)
    assert shield.told[-1][0] == ["192.0.2.0/24", "198.51.100.7/32", "2001:db8:5::/64"]
    assert [rule["subject"] for rule in shield.book.rules()["rules"]] == ["192.0.2.0/24"]
    shield.wall += 86_401
    assert [rule.subject for rule in shield.book.followed()] == ["192.0.2.0/24"]


async def test_a_key_is_shown_once_and_only_its_hash_is_kept(shield: Shield, tmp_path: Path) -> None:
    made = await shield.book.add({"kind": "key", "subject": "billing", "value": "20/400", "author": "ann"}, ANN)
    key, header = made["key"], made["header"]
    assert key.startswith("shk_")
    assert len(key) == 47
    assert header == "Shield-Key"
    digest = sha256(key.encode()).hexdigest()
    assert made["change"]["rule"]["value"] == f"20/400 {digest}"
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.is_file())
    assert digest.encode() in written
    assert key.encode() not in written
    assert key not in str((shield.lines, shield.book.rules(), shield.book.audit(9)))
    (line,) = [fields for name, fields in shield.lines if name == "rule_added"]
    assert (line["kind"], line["subject"], line["value"]) == ("key", "billing", "20/400")
    other = await shield.book.add({"kind": "key", "subject": "other"}, ANN)
    assert other["key"] != key
    assert other["change"]["rule"]["value"] == sha256(other["key"].encode()).hexdigest()
    brought = await shield.book.add({"kind": "key", "subject": "third", "value": f"1/2 {digest}"}, ANN)
    assert "key" not in brought, "its owner has it"


@pytest.mark.parametrize(
    ("wish", "advice"),
    [
        ({"subject": "billing"}, "make one of another name"),
        ({"subject": "a b"}, "is no name of a key"),
        ({"subject": 7}, "subject: a text"),
        ({"subject": "x", "value": "20"}, "is no RATE/BURST"),
        ({"subject": "x", "value": 7}, "value: a text"),
        ({"subject": "x", "value": "y" * 64}, "(64 hex digits)"),
    ],
)
async def test_keys_that_are_refused(shield: Shield, wish: dict[str, Any], advice: str) -> None:
    await shield.book.add({"kind": "key", "subject": "billing"}, ANN)
    with pytest.raises(DeskError) as refused:
        await shield.book.add({"kind": "key", **wish}, ANN)
    assert advice in str(refused.value)
    assert len(shield.book.rules()["rules"]) == 1


async def test_without_a_field_to_carry_them_there_are_no_keys(shield: Shield) -> None:
    shield.book.go_by(replace(shield.config, identity=IdentitySettings(api_key_header="")))
    with pytest.raises(DeskError, match=r"identity\.api_key_header is empty"):
        await shield.book.add({"kind": "key", "subject": "billing"}, ANN)
