"""What is kept for the log."""

from __future__ import annotations

from shield.policy.notes import MOST_NOTES, Notes


def test_a_flood_of_bans_does_not_push_the_onset_out() -> None:
    notes = Notes()
    notes.add_turning_point("attack_onset", cause="demand")
    for i in range(MOST_NOTES + 5):
        notes.add("ban", seconds=i)
    taken = notes.take()
    assert taken[0] == ("attack_onset", {"cause": "demand"})
    assert [fields["seconds"] for _, fields in taken[1:]] == list(range(5, MOST_NOTES + 5))
    assert notes.take() == []
