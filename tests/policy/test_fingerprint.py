"""Short names for programs."""

from __future__ import annotations

from shield.policy.fingerprint import shape


def test_the_shape_of_a_program_is_its_header_names_in_order() -> None:
    assert shape(["Host", "Accept"], ["*/*"]) == shape(["host", "accept"], ["*/*"])
    assert len({shape(["a", "b"], []), shape(["b", "a"], []), shape(["a"], ["b"]), shape(["a", "b"], [""])}) >= 3
