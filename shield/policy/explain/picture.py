"""What the questions that are asked of a request go by, as a value of one moment."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from shield.model import Reason, Verdict
from shield.policy.rules.rule import Rule
from shield.policy.rules.trial import TriedRule
from shield.policy.whereabouts import Whereabouts


@dataclass(frozen=True, slots=True)
class Budget:
    """A bucket: units left (less than none after a dear request), rate (units/s) and burst (units)."""

    left: float
    rate: float
    burst: float


@dataclass(frozen=True, slots=True)
class PassPicture:
    """A pass. Times are monotonic seconds."""

    key: bytes
    kind: str
    issued: float
    expires: float
    revoked: bool
    scarce: bool
    known: bool  # it has a history
    networks: int  # that it was seen in of late
    budget: Budget


@dataclass(frozen=True, slots=True)
class HistoryPicture:
    """A history: first and last visit (monotonic seconds), good windows and units."""

    first: float
    last: float
    windows: int
    units: float


@dataclass(frozen=True, slots=True)
class RoutePicture:
    """What the config has set for the route of a request. `limits`: the name of a route, whose limit it is (client,
    address, network), and what is left, in requests, by requests/s."""

    label: str
    challenge: str  # "" where it is as elsewhere
    cost: float  # units
    plain: bool  # the path is spelled as the route's, so that what allows more holds, too
    dry_run: bool
    limits: tuple[tuple[str, str, Budget], ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """One client at one moment; with a `verdict`, one request of it. Times are monotonic seconds, 0 for none.

    It has more than 15 attributes because each question goes by some.
    """

    now: float
    where: str  # the address, as its entry is named
    there: Whereabouts
    verdict: Verdict | None
    tier: int
    path: str
    route: RoutePicture | None
    braked_by: str  # the route whose limit refused it, or would have; empty for none
    rule: Rule | None  # that says whether it may come
    limit: Rule | None  # that limits it
    challenge: Rule | None  # that says whether it is challenged
    rules_tried: Sequence[TriedRule]
    named: Reason | None  # by identity.allow and identity.deny
    crawler: str  # that it claims to be
    vouched: bool | None  # what DNS says to that
    client_banned: float
    address_banned: float
    relapses: int
    dropped: float
    history: HistoryPicture | None
    shown: PassPicture | None
    score: float
    address_score: float
    p: float
    pressed: bool
    attack_since: float
    attack_cause: str
    tried: Collection[str]  # measures (tried.py) that refuse nobody now
    dry_run: bool  # nothing does
    spared: bool  # it is under a path, or in a network, where nobody is challenged
    unanswered: int
    challenged_since: float
    client: Budget
    address: Budget

    @property
    def allowed(self) -> bool:
        """Whether the operator has named it as one that is let in."""
        return self.named is Reason.ALLOWLISTED or (self.rule is not None and self.rule.kind == "allow")
