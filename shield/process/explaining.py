"""Why a request was refused, and what would be asked of an address or a pass now: as the admin API says it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from shield.operator.refusals import MOST_SHOWN, Refusals
from shield.policy.explain.explainer import Explainer
from shield.policy.explain.picture import Picture
from shield.policy.explain.questions import questions

ID_CHARS: Final = 256


def explain(
    explainer: Explainer, refusals: Refusals, question: Mapping[str, str], now: float, shift: float
) -> dict[str, Any]:
    """The answer to one of `address`, `request_id` or `pass`. ValueError when it is none.

    `now` is monotonic seconds, `shift` from there to the wall clock.
    """
    ((kind, asked),) = question.items()
    subjects: list[tuple[str, Picture]] = []
    refused = []
    match kind:
        case "request_id":
            found = refusals.by_id(asked[:ID_CHARS])
            if found is not None:
                subjects = [(f"request {found.id}", found.picture)]
                refused = [found]
        case "address":
            try:
                known = explainer.of_address(asked, now)
            except ValueError:
                raise ValueError(f'"{asked[:50]}" is no address') from None
            subjects = [(f"client {key}" if key else "somebody new there", picture) for key, picture in known]
            address = known[-1][1].where
            refused = refusals.of(lambda each: each.picture.where == address, MOST_SHOWN)
        case _:
            picture = explainer.of_pass(asked, now)
            if picture is not None and picture.shown is not None:
                name = picture.shown.key.hex()
                subjects = [(f"pass:{name}", picture)]
                refused = refusals.of(lambda each: each.shown == name, MOST_SHOWN)
    return {
        "asked": asked,
        "found": len(subjects) > (kind == "address") or bool(refused),
        "subjects": [{"subject": name, "questions": questions(picture, shift)} for name, picture in subjects],
        "refused": [each.plain(shift) for each in refused],
    }
