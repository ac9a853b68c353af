"""Why a request was refused, and what would be asked of an address or a pass now: as the admin API says it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from shield.client.hosting import Hosting
from shield.client.serving import Serving
from shield.model import Verdict
from shield.operator.refusals import MOST_SHOWN, Refusals
from shield.policy.explain.explainer import Explainer
from shield.policy.explain.picture import Picture
from shield.policy.explain.questions import questions
from shield.policy.request import Request
from shield.policy.sites import Sites
from shield.process.build import Parts

ID_CHARS: Final = 256


class Explainers:
    """Takes pictures of refused requests at all sites: of each by the one that it is for."""

    __slots__ = ("_first", "_hosting")

    def __init__(self, first: Explainer, hosting: Hosting[Serving]) -> None:
        self._first = first
        self._hosting = hosting

    def of_request(self, request: Request, now: float) -> Picture:
        """As that of Explainer."""
        serving = self._hosting.of(request.headers.get("Host", "").encode("latin-1"))
        return (self._first if serving is None else serving.engine.explainer).of_request(request, now)

    def of_unread(self, address: str, verdict: Verdict, now: float) -> Picture:
        """As that of Explainer."""
        return self._first.of_unread(address, verdict, now)


def explainer_of(parts: Parts) -> Explainer | Explainers:
    """What takes the pictures of requests that are refused."""
    first, hosting = parts.sites.first.explainer, parts.serving.hosting
    return first if hosting is None else Explainers(first, hosting)


def explain(sites: Sites, refusals: Refusals, question: Mapping[str, str], now: float, shift: float) -> dict[str, Any]:
    """The answer to one of `address`, `request_id` or `pass`, as it is at a `site`. ValueError when it is none.

    `now` is monotonic seconds, `shift` from there to the wall clock.
    """
    site = question.get("site", "") or sites.first.site
    engine = sites.at(site)
    if engine is None:
        raise ValueError(f'there is no site "{site[:64]}"; the sites are: {", ".join(each.site for each in sites)}')
    explainer = engine.explainer
    kind, asked = next((kind, asked) for kind, asked in question.items() if kind != "site")
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
        "site": site,
        "found": len(subjects) > (kind == "address") or bool(refused),
        "subjects": [{"subject": name, "questions": questions(picture, shift)} for name, picture in subjects],
        "refused": [each.plain(shift) for each in refused],
    }
