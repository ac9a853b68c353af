"""What members do with challenges: solve them, send the answer, wait for their turn, and use the pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import Any, Final, Protocol

from shield.model import Action
from shield.policy.challenge.challenge import TOKEN_CHARS, Challenge, Redeemed, Redemption
from shield.policy.engine import Engine
from shield.policy.request import Request
from shield.simulate.calendar import Calendar
from shield.simulate.core import Core
from shield.simulate.people import AGAIN, BEGINS, MOST_WAITING, ROUND_TRIP, Member, Want
from shield.simulate.scene import Costs

SPREAD: Final = (1.0, 1.25)  # times what the site says, after which the page sends the same answer again
MOST_BACKLOG: Final = 60.0  # seconds of work that lie before one solver; more would expire
ANSWER_PATH: Final = "/.well-known/shield/answer"


class CheckedWork:
    """Takes the place of hashing: an answer says itself how many of its parts are right."""

    __slots__ = ("hashes",)

    def __init__(self) -> None:
        self.hashes = 0  # that Shield would have computed

    def check(self, token: str, target: int, nonces: Sequence[int]) -> int:
        """How many parts of an answer are right, as the policy's `CheckWork` wants it."""
        self.hashes += min(nonces[0] + 1, len(nonces))
        return nonces[0]


class Asking(Protocol):
    """The world, which lets members ask."""

    def ask(self, want: Want, now: float) -> None:
        """Make one try."""

    def try_again(self, want: Want, after: float, now: float) -> None:
        """Make another try in `after` seconds, or give it up."""

    def ended(self, want: Want, now: float, served: bool) -> None:
        """Note that it was had, or given up."""


class Solving:
    """Solves challenges for members. `lifetime` is that of a challenge, in seconds."""

    def __init__(
        self,
        engine: Engine,
        calendar: Calendar,
        core: Core,
        costs: Costs,
        work: CheckedWork,
        lifetime: float,
        asking: Asking,
    ) -> None:
        self._engine = engine
        self._calendar = calendar
        self._core = core
        self._costs = costs
        self._work = work
        self._lifetime = lifetime
        self._asking = asking

    def solve(self, want: Want, challenge: Challenge, now: float) -> None:
        """Set a member to work on a challenge, unless it solves one already."""
        member = want.member
        crowd = member.crowd
        want.challenged = True
        want.patience = max(want.patience, crowd.model.waits)
        if len(member.waiting) >= MOST_WAITING or now - want.asked_at >= want.patience:
            self._asking.ended(want, now, False)
            return
        if member.solving:
            member.waiting.append(want)
            return
        answers = crowd.model.answers
        token, right, seconds = challenge.token, challenge.k, 0.0
        if answers == "forged":
            token = "A" * TOKEN_CHARS
        elif answers == "wrong":
            right = 0
        elif answers == "replayed" and crowd.spent:
            token = crowd.spent
        elif crowd.model.hash_rate:
            seconds = crowd.solving_time(challenge.k, challenge.expected_hashes)
            if answers == "almost":
                right -= 1
            crowd.tally.hashes += challenge.expected_hashes
        done = now + seconds
        if crowd.model.one_solver:
            if crowd.solver_free > now + MOST_BACKLOG:
                self._asking.ended(want, now, False)
                return
            crowd.solver_free = done = max(crowd.solver_free, now) + seconds
        member.begin_to_solve(want)
        sent = done + ROUND_TRIP
        self._calendar.at(sent, self._post, (self._answer, (member, token, (right,) * challenge.k, now, sent)))

    def wait_out(self, want: Want, request: Request, now: float) -> None:
        """Have a member that runs no scripts wait, for one want at a time, until its ticket is good for a pass."""
        member = want.member
        crowd = member.crowd
        if member.waits_for is not want and now < member.waits_until:
            self._asking.ended(want, now, False)
            return
        want.challenged = True
        want.patience = max(want.patience, crowd.model.waits)
        turn = self._engine.wait(request, member.ticket, now)
        if turn.result is Redeemed.ACCEPTED:
            member.ticket, member.waits_for, member.waits_until = "", None, -inf
            member.begin_to_solve(want)
            self._accepted(member, turn.pass_token, want.asked_at, now)
            return
        if turn.result is Redeemed.EXPIRED:
            member.ticket = self._engine.mint(request, now).token
        if not turn.wait or now + turn.wait - want.asked_at > want.patience:
            member.waits_for, member.waits_until = None, -inf
            self._asking.ended(want, now, False)
            return
        again = now + turn.wait * crowd.random.uniform(1.0, 1.1)
        member.waits_for, member.waits_until = want, again + 1.0
        self._calendar.at(again, self._asking.ask, want)

    def _post(self, what: tuple[Callable[[Any, float], None], Any], now: float) -> None:
        """Let an answer or a claim arrive. It waits for Shield to read it, and is sent again if it is lost."""
        then, about = what
        member: Member = about[0]
        begins = self._core.arrive(now, member.is_stranger)
        if begins <= now:
            then(about, now)
        elif begins < inf:
            self._calendar.at(begins, self._post_late, what)
        else:
            member.crowd.tally.lost += 1
            if member.gave_up(now):
                self._no_pass(member, now)
            else:
                self._calendar.at(now + member.crowd.random.uniform(*AGAIN), self._post, what)

    def _post_late(self, what: tuple[Callable[[Any, float], None], Any], now: float) -> None:
        self._core.begin()
        then, about = what
        then(about, now)

    def _answer(self, answer: tuple[Member, str, tuple[int, ...], float, float], now: float) -> None:
        """Redeem an answer to a challenge. It was first sent some time ago if there was no room for it."""
        member, token, nonces, since, sent = answer
        tally = member.crowd.tally
        client = member.client
        if not self._tolled(member, "POST", now):
            self._no_pass(member, now)
            return
        hashes = self._work.hashes
        redemption = self._engine.redeem(client, token, nonces, now)
        self._core.work(self._costs.answer + (self._work.hashes - hashes) * self._costs.hash_, now)
        if redemption.result is Redeemed.ACCEPTED or redemption.result is Redeemed.WAITING:
            member.crowd.spent = token
            tally.hashing.add(now - BEGINS, sent - since)
        if redemption.result is Redeemed.BUSY and now - since < self._lifetime and not member.gave_up(now):
            tally.answers[redemption.result.value] += 1
            after = redemption.retry_after * member.crowd.random.uniform(*SPREAD)
            self._calendar.at(now + after, self._post, (self._answer, answer))
        else:
            self._redeemed(member, redemption, since, now)

    def _claim(self, place: tuple[Member, str, float], now: float) -> None:
        """Let a member in the waiting room ask whether it is its turn."""
        member, ticket, since = place
        if member.gave_up(now):
            self._no_pass(member, now)
        elif self._tolled(member, "POST", now):
            self._core.work(self._costs.answer, now)
            self._redeemed(member, self._engine.claim(member.client, ticket, now), since, now)
        else:
            self._no_pass(member, now)

    def _redeemed(self, member: Member, redemption: Redemption, since: float, now: float) -> None:
        """Go on with what came of an answer or a claim."""
        member.crowd.tally.answers[redemption.result.value] += 1
        if redemption.result is Redeemed.ACCEPTED:
            self._accepted(member, redemption.pass_token, since, now)
        elif redemption.result is Redeemed.WAITING:
            place = member, redemption.ticket, since
            self._calendar.at(now + redemption.retry_after, self._post, (self._claim, place))
        else:
            self._no_pass(member, now)

    def _tolled(self, member: Member, method: str, now: float) -> bool:
        """Whether Shield answers a request to itself at all."""
        request = Request(member.client, method, ANSWER_PATH, member.crowd.headers, member.shown_pass, False, None)
        verdict = self._engine.toll(request, now)
        if verdict.action is Action.LIMIT or verdict.action is Action.BAN:
            member.crowd.tally.refusals[verdict.reason] += 1
            return False
        return True

    def _accepted(self, member: Member, token: str, since: float, now: float) -> None:
        """Take a pass that was bought: everything that waited for it is asked again."""
        crowd = member.crowd
        crowd.tally.solved += 1
        crowd.tally.solving.add(now - BEGINS, now - since)
        member.shown_pass = self._engine.present(token, now)
        for want in member.stop_solving():
            self._calendar.at(now + ROUND_TRIP, self._asking.ask, want)
        if crowd.model.pass_rate and not member.armed:
            member.armed = True
            self._calendar.at(now + crowd.random.expovariate(crowd.model.pass_rate), self._use_pass, member)

    def _no_pass(self, member: Member, now: float) -> None:
        for want in member.stop_solving():
            self._asking.try_again(want, member.crowd.random.uniform(*AGAIN), now)

    def _use_pass(self, member: Member, now: float) -> None:
        """Let a member that has bought a pass use it as long as it has it."""
        crowd = member.crowd
        if member.shown_pass is None or now >= crowd.ends:
            member.armed = False
            return
        self._calendar.at(now + crowd.random.expovariate(crowd.model.pass_rate), self._use_pass, member)
        path = crowd.path()
        self._asking.ask(Want(member, path.text(crowd.random), path.times, None, now), now)
