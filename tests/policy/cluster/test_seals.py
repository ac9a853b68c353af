"""Nobody without the key can say anything that is believed, nor move what somebody else has said."""

from __future__ import annotations

from shield.policy.cluster.seals import HEAD_BYTES, Seals
from shield.policy.keys import Keys

OLD, NEW = b"\x01" * 32, b"\x02" * 32


def test_what_was_sealed_is_opened_at_its_place_only() -> None:
    seals = Seals(Keys(NEW))
    value = seals.seal("news", b"content")
    assert seals.open("news", value) == b"content"
    assert seals.open("beat a", value) is None
    assert seals.rejected == {"version": 0, "key": 0, "forged": 1, "content": 0}


def test_a_changed_byte_is_noticed_wherever_it_is() -> None:
    seals = Seals(Keys(NEW))
    value = seals.seal("news", b"content")
    for at in range(len(value)):
        assert seals.open("news", value[:at] + bytes([value[at] ^ 1]) + value[at + 1 :]) is None
    for end in range(HEAD_BYTES):
        assert seals.open("news", value[:end]) is None
    assert sum(seals.rejected.values()) == len(value) + HEAD_BYTES


def test_keys_are_changed_one_node_after_the_other() -> None:
    before, between, after = Seals(Keys(OLD, NEW)), Seals(Keys(NEW, OLD)), Seals(Keys(NEW))
    assert between.open("news", before.seal("news", b"1")) == b"1"
    assert before.open("news", between.seal("news", b"2")) == b"2"
    assert after.open("news", before.seal("news", b"3")) is None
    assert after.rejected["key"] == 1


def test_what_another_version_has_written_is_left_out_and_counted() -> None:
    seals = Seals(Keys(NEW))
    assert seals.open("news", b"\x02" + seals.seal("news", b"1")[1:]) is None
    seals.senseless()
    assert seals.rejected == {"version": 1, "key": 0, "forged": 0, "content": 1}
