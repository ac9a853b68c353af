"""Programs, networks and routes that stand out under pressure, and how many clients ask.

A botnet whose every address asks once stands out in nothing that is counted by address. It mostly stands out in what
all its hosts have in common: the program that they run, with one User-Agent, Accept-Language and TLS hello (together
its **fingerprint**), the networks that it rents, or the route that it aims at. Requests of those without a history (T2
to T4) are counted by all three while p is above the threshold, and never before: calm weather pays nothing for it.

    sketch     Who asks most, by Space-Saving (sketch.py). Counts decay by half in `half_life`, so that newer requests
               weigh more (forward decay, Cormode et al. 2009).
    clients    How many different ones ask within a minute.
    sample     Beyond `per_second` every n-th request counts for n: a flood costs no more for being larger.

A fingerprint is **armed** when all who carry it and have neither pass nor history (T3, T4) share one token bucket: a
botnet that is one program is limited as one client is. But people who come for the first time carry the same
fingerprints as people who came before. So a fingerprint is armed only while it makes at least `share` of the strangers'
requests, of at least `least_to_limit`, and at most `known_share` of the known clients (T0, T1), and a share smaller by
`contrast`, may have it.

May: when k of n known clients were seen with it, at most (k + 2 sqrt(k) + 3) / n have it, beyond chance (two standard
deviations; the rule of three for k = 0). A known client counts once a minute, however much it asks and whatever it says
of itself: otherwise one sleeper could make its botnet's program look like everybody's, or everybody's like nobody's.
All bounds are on the safe side of what the sketch leaves open. An armed fingerprint is released only at `release` of
these bounds.

Of a small site's known clients that says nothing: of fewer than 3 / `known_share` none need to have a fingerprint for
it to be people's. There it is armed when it makes `contrast` times `share` of the strangers' requests, no known client
was seen with it, and none who has it has bought a pass, all of that for `unanswered`. People of a flash crowd buy
passes within seconds. After twice that time it is released, for as long as it took to arm it: whoever comes meanwhile
with a browser of that fingerprint is challenged, and with the first pass it is people's. Where nobody is challenged,
this says nothing either.

A network is named at the width at which it stands out: /24, /20 or /16, and /48 or /32. A wider one is named instead
of its parts where no two of them make most of it, and with each that makes half.

Bounded: five sketches of strangers and one of known clients, `places` entries each of at most `PLACE_BYTES`; a bitmap
of 64 KiB; `MOST_SEEN` keys of known clients of each of two minutes, and as many fingerprints of those who paid.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

from annotated_types import Ge, Gt, Le
from typing_extensions import Doc

from shield.marks import Unit, Why
from shield.model import Tier
from shield.policy.bucket import Bucket, Rate
from shield.policy.fingerprint import Fingerprint, fingerprint_of, shape
from shield.policy.locations import wider
from shield.policy.notes import Notes
from shield.policy.request import Request
from shield.policy.sketch import Counter, Distinct, K, Sketch
from shield.policy.status import StandoutsStatus

PLACE_BYTES: Final = 900
"""Of a program whose two values have 256 characters each, by tracemalloc; a network takes 260."""
MINUTE: Final = 60.0  # over which clients are told apart
EARLY: Final = 10.0  # seconds after which a minute that is not over says more than the one before
MOST_SEEN: Final = 4096  # known clients told apart in a minute
RESCALE: Final = 2.0**40  # weight of a request at which all counts are divided by it
TOP: Final = 5  # named of each kind
MOST_NETWORKS: Final = 12  # named by size
AGENT_CHARS: Final = 80  # of a User-Agent in the log
MOST_OF_IT: Final = 0.8  # of a network's requests: what its parts make, if they are named instead of it
CYCLE: Final = 3.0  # of so many times `unanswered` a fingerprint without passes is armed for all but the first
HALF_OF_IT: Final = 0.5  # what a part makes that is named with it

_T2: Final = Tier.T2


@dataclass(frozen=True, slots=True)
class StandoutsSettings:
    """When a program, network or route stands out, and when a program is limited as one client."""

    share: Annotated[
        float,
        Gt(0),
        Le(1),
        Unit("share"),
        Doc("Part of the strangers' requests above which something stands out."),
        Why(
            "Chosen",
            "a twentieth. Less names more, with more mistakes",
        ),
    ] = 0.05
    known_share: Annotated[
        float,
        Ge(0),
        Le(1),
        Unit("share"),
        Doc("Part of the known clients above which a fingerprint is never limited: it is people's, too."),
        Why("Chosen", "as `hitters.share`"),
    ] = 0.05
    contrast: Annotated[
        float,
        Ge(1),
        Unit("times"),
        Doc("How much more common among strangers than among known clients a fingerprint must be to be limited."),
        Why(
            "Chosen",
            "less limits programs that people use, too; more lets floods with common programs pass",
        ),
    ] = 5.0
    rate_share: Annotated[
        float,
        Gt(0),
        Le(1),
        Unit("share"),
        Doc("Part of the capacity that is the rate of the one bucket of a fingerprint that stands out."),
        Why(
            "Chosen",
            "what is limited by mistake still works, and nine tenths are left to others",
        ),
    ] = 0.1
    rate_burst: Annotated[
        float,
        Gt(0),
        Unit("s"),
        Doc("Time of that rate that may be asked for at once."),
        Why(
            "Chosen",
            "a page loads at once, should its program be limited by mistake",
        ),
    ] = 4.0
    unanswered: Annotated[
        float,
        Gt(0),
        Unit("s"),
        Doc(
            "Time for which a fingerprint stands out, and nobody who has it buys a pass, before it is limited where "
            "too few clients are known to tell by them."
        ),
        Why("Chosen", "a browser takes some seconds for a challenge, and many are at it in a flash crowd"),
    ] = 30.0
    release: Annotated[
        float,
        Gt(0),
        Le(1),
        Unit("share"),
        Doc("Part of the bounds below which what is limited is released, so that it does not flap."),
        Why("Chosen", "as `pressure.release`"),
    ] = 0.5
    least_counted: Annotated[
        float,
        Gt(0),
        Unit("requests"),
        Doc("Requests of strangers before anything is said to stand out."),
        Why(
            "Chosen",
            "below it a share of a twentieth is ten requests",
        ),
    ] = 200.0
    least_to_limit: Annotated[
        float,
        Gt(0),
        Unit("requests"),
        Doc("Requests of strangers before a fingerprint is limited."),
        Why(
            "Chosen",
            "twelve pages of eighty parts. Less limits a program after fewer visits",
        ),
    ] = 1000.0
    many_clients: Annotated[
        float,
        Gt(0),
        Unit("clients/min"),
        Doc("Clients above which the log calls them many."),
        Why(
            "Chosen",
            "it only chooses a word of the log",
        ),
    ] = 200.0
    few_requests: Annotated[
        float,
        Gt(0),
        Unit("requests/min"),
        Doc("Requests of a client up to which the log calls them few."),
        Why(
            "Chosen",
            "it only chooses a word of the log",
        ),
    ] = 6.0
    many_requests: Annotated[
        float,
        Gt(0),
        Unit("requests/min"),
        Doc("Requests of a client above which the log calls them many."),
        Why(
            "Chosen",
            "one a second; it only chooses a word of the log",
        ),
    ] = 60.0
    half_life: Annotated[
        float,
        Gt(0),
        Unit("s"),
        Doc("Time in which what was counted loses half of its weight."),
        Why(
            "Chosen",
            "less shows a new flood sooner, on fewer requests",
        ),
    ] = 60.0
    per_second: Annotated[
        float,
        Ge(1),
        Unit("requests/s"),
        Doc("Requests that are counted one by one. Of more a sample is counted, so that a flood costs nothing more."),
        Why(
            "Chosen",
            "what makes a twentieth is counted fifty times a second",
        ),
    ] = 1000.0
    places: Annotated[
        int,
        Ge(16),
        Le(65_536),
        Unit("entries"),
        Doc("Entries of each sketch; more than one over `share`, so that what stands out is in it."),
        Why(
            "Paper",
            "Metwally, Agrawal and El Abbadi 2005 (Space-Saving): what makes more than one in so many is among them",
        ),
    ] = 128


class Standouts:
    """Counts who asks under pressure, names what stands out, and holds the buckets of fingerprints that are armed.

    It has more than 15 attributes because each thing that is counted, of this minute and of the one before, is one.
    """

    def __init__(self, settings: StandoutsSettings, notes: Notes, challenges: bool = True) -> None:
        """`notes` takes what is to be logged; `challenges`: strangers are challenged under pressure."""
        self._settings = settings
        self._notes = notes
        self._challenges = challenges
        self._programs: Sketch[Fingerprint] = Sketch(settings.places)
        self._networks: Sketch[str] = Sketch(settings.places)  # /24 and /48
        self._blocks: Sketch[str] = Sketch(settings.places)  # /20
        self._regions: Sketch[str] = Sketch(settings.places)  # /16 and /32
        self._routes: Sketch[str] = Sketch(settings.places)
        self._known: Sketch[Fingerprint] = Sketch(settings.places)  # of known clients, each once a minute
        self._seen: dict[bytes, Fingerprint] = {}  # known clients of this minute
        self._seen_before: dict[bytes, Fingerprint] = {}  # and of the one before
        self._paid: dict[bytes, Fingerprint] = {}  # by pass, of those that were bought in this attack; the oldest first
        self._unanswered: dict[Fingerprint, float] = {}  # seconds for which it stood out, and nobody had paid
        self._clients = Distinct()  # strangers of this minute
        self._last = (0, 0.0)  # strangers' requests and clients of the minute before
        self._asked = 0  # requests of strangers in this minute
        self._asked_before = 0  # of these, before the window that is open
        self._minute = 0.0  # seconds of it so far
        self._weight = 1.0  # of one request now
        self._stride = 1
        self.armed: dict[Fingerprint, Bucket] = {}

    def count(self, request: Request, known: bool) -> None:
        """Count a request under pressure; `known`: of T0 or T1."""
        client, shown = request.client, request.shown_pass
        if known:
            key = client.key if shown is None else shown.key  # one pass can be shown under any number of names
            if key not in self._seen and len(self._seen) < MOST_SEEN:
                who = self._seen[key] = fingerprint_of(client)
                self._known.add(who, self._weight)
            return
        if request.tier is _T2 and shown is not None and shown.key not in self._paid:
            if len(self._paid) >= MOST_SEEN:
                del self._paid[next(iter(self._paid))]
            self._paid[shown.key] = fingerprint_of(client)
        self._asked += 1
        self._clients.add(client.entry.key)
        if self._asked % self._stride:
            return
        weight = self._weight * self._stride
        self._programs.add(fingerprint_of(client), weight)
        network = client.network
        self._networks.add(network, weight)
        block, region = wider(network)
        if block:
            self._blocks.add(block, weight)
        self._regions.add(region, weight)
        self._routes.add(request.route.template, weight)

    def refuses(self, request: Request, now: float) -> bool:
        """Charge a request of T3 or T4 to the bucket of its fingerprint, if that is armed; whether it is empty."""
        bucket = self.armed.get(fingerprint_of(request.client))
        return bucket is not None and not bucket.take(request.cost, now)

    def close_window(self, seconds: float, pressed: bool, capacity: float) -> None:
        """The window of `seconds` is over: see who stands out. `capacity` in units/s."""
        if not pressed:
            self.armed.clear()
            self._unanswered.clear()
            return
        settings = self._settings
        asked = self._asked - self._asked_before
        self._stride = max(1, math.ceil(asked / (seconds * settings.per_second)))
        self._minute += seconds
        self._wait_for_answers(seconds)
        self._arm(capacity)
        if self._minute >= MINUTE:
            self._last = (self._asked, self._clients.count())
            self._begin_minute()
        self._asked_before = self._asked
        self._weight *= 2.0 ** (seconds / settings.half_life)
        if self._weight > RESCALE:
            for sketch in self._sketches():
                sketch.scale(1.0 / self._weight)
            self._weight = 1.0

    def clear(self) -> None:
        """The attack is over: forget it."""
        for sketch in self._sketches():
            sketch.clear()
        self.armed.clear()
        self._begin_minute()
        self._seen_before.clear()
        self._paid.clear()
        self._unanswered.clear()
        self._asked_before = 0
        self._last = (0, 0.0)
        self._weight = 1.0
        self._stride = 1

    def status(self) -> StandoutsStatus:
        """What stands out now."""
        requests, clients = self._last_minute()
        return StandoutsStatus(
            pattern=pattern(requests, clients, self._settings),
            clients=round(clients),
            requests_per_client=round(requests / clients, 2) if clients else 0.0,
            fingerprints=[
                {**_named(counter.key), **self._shares(counter), "armed": counter.key in self.armed}
                for counter in self._standing(self._programs)
            ],
            networks=self._networks_named(),
            routes=_shares(self._routes, self._standing(self._routes)),
        )

    @property
    def asked(self) -> float:
        """Requests of strangers under pressure, each of a minute ago (`half_life`) counted as half of one."""
        return round(self._networks.total / self._weight, 1)

    def networks(self) -> dict[str, float]:
        """The same of the networks that ask most, whether they stand out or not: what each has at least."""
        least = {c.key: round((c.count - c.error) / self._weight, 1) for c in self._networks.heaviest(0.0)}
        return {network: count for network, count in list(least.items())[:MOST_NETWORKS] if count}

    def _standing(self, sketch: Sketch[K]) -> list[Counter[K]]:
        if sketch.total < self._settings.least_counted * self._weight:
            return []
        return sketch.heaviest(self._settings.share)[:TOP]

    def _sketches(self) -> tuple[Sketch[Any], ...]:
        return self._programs, self._networks, self._blocks, self._regions, self._routes, self._known

    def _networks_named(self) -> dict[str, float]:
        """The networks that stand out, each at the width at which it does, the heaviest first."""
        if self._networks.total < self._settings.least_counted * self._weight:
            return {}
        narrow = {counter.key: self._networks.share(counter) for counter in self._heavy(self._networks)}
        blocks = {counter.key: self._blocks.share(counter) for counter in self._heavy(self._blocks)}
        # Blocks are a part of all requests, those of IPv6 among them.
        part = self._blocks.total / self._networks.total
        blocks = {name: share * part for name, share in blocks.items() if share * part >= self._settings.share}
        regions = {counter.key: self._regions.share(counter) for counter in self._heavy(self._regions)}
        named: dict[str, float] = {}
        for region, share in regions.items():
            inside = {name: at for name, at in blocks.items() if wider(name)[1] == region}
            if ":" in region:
                inside = {name: at for name, at in narrow.items() if wider(name)[1] == region}
            for name, at in _at_width(region, share, inside).items():
                within = {key: held for key, held in narrow.items() if name in wider(key)} if name in blocks else {}
                named |= _at_width(name, at, within)
        named |= {name: share for name, share in narrow.items() if wider(name)[1] not in regions}
        best = sorted(named, key=lambda name: -named[name])[:TOP]
        return {name: round(named[name], 3) for name in best}

    def _heavy(self, sketch: Sketch[str]) -> list[Counter[str]]:
        return sketch.heaviest(self._settings.share) if sketch.total else []

    def _shares(self, counter: Counter[Fingerprint]) -> dict[str, Any]:
        """The share of a fingerprint among strangers, at least, and how many known clients were seen with it."""
        seen = self._seen_before | self._seen
        having = sum(who == counter.key for who in seen.values())
        clients = "client" if len(seen) == 1 else "clients"
        known = f"seen at {having} of {len(seen)} known {clients}"
        return {"share": round(self._programs.share(counter), 3), "known": known}

    def _too_few_known(self) -> bool:
        """Whether so few known clients ask that none of them need to have a fingerprint that is people's."""
        return self._known.total * self._settings.known_share < 3.0 * self._weight

    def _wait_for_answers(self, seconds: float) -> None:
        """Add a window to the time for which fingerprints have stood out without a pass or a known client."""
        settings = self._settings
        if not self._challenges or self._programs.total < settings.least_counted * self._weight:
            self._unanswered.clear()
            return
        least = min(settings.contrast * settings.share, 1.0) * settings.release
        paid = set(self._paid.values())
        self._unanswered = {
            counter.key: (self._unanswered.get(counter.key, 0.0) + seconds) % (CYCLE * settings.unanswered)
            for counter in self._programs.heaviest(least)
            if counter.key not in paid and counter.key not in self._known
        }

    def _known_share(self, who: Fingerprint) -> float:
        """The share of known clients that may have a fingerprint, in [0, 1]."""
        clients = self._known.total / self._weight
        if not clients:
            return 1.0
        seen = self._known.most(who) * clients
        return min((seen + 2.0 * math.sqrt(seen) + 3.0) / clients, 1.0)

    def _last_minute(self) -> tuple[int, float]:
        """Requests and clients of this minute so far, or of the one before while this one is too young."""
        if self._minute < EARLY and self._last[0]:
            return self._last
        return self._asked, self._clients.count()

    def _arm(self, capacity: float) -> None:
        """Arm fingerprints that stand out and are not people's, and release those that do not any more."""
        settings, armed = self._settings, self.armed
        if self._programs.total < (settings.release if armed else 1.0) * settings.least_to_limit * self._weight:
            armed.clear()
            return
        rate = Rate(settings.rate_share * capacity, settings.rate_share * capacity * settings.rate_burst)
        wanted: dict[Fingerprint, Bucket] = {}
        few = self._too_few_known()
        unpaid = min(settings.contrast * settings.share, 1.0)
        for counter in self._programs.heaviest(settings.release * settings.share):
            bucket = armed.get(counter.key)
            share, known = self._programs.share(counter), self._known_share(counter.key)
            most = min(settings.known_share, share / settings.contrast)
            if few:
                fits = self._unanswered.get(counter.key, 0.0) >= settings.unanswered
                keeps, arms = fits, fits and share >= unpaid
            else:
                keeps, arms = known <= most / settings.release, known <= most and share >= settings.share
            if bucket is not None:
                if keeps:
                    bucket.rate, bucket.burst = rate.rate, rate.burst
                    wanted[counter.key] = bucket
            elif arms:
                wanted[counter.key] = Bucket(rate)
                self._notes.add("fingerprint_limited", **_named(counter.key), **self._shares(counter))
        self.armed = wanted

    def _begin_minute(self) -> None:
        self._seen_before, self._seen = self._seen, {}
        self._clients.clear()
        self._asked = 0
        self._minute = 0.0


def pattern(requests: float, clients: float, settings: StandoutsSettings) -> str:
    """What a minute of strangers looks like, in words; empty when it looks like nothing in particular."""
    if requests < settings.least_counted:
        return ""
    each = requests / clients
    many = "many clients" if clients >= settings.many_clients else "few clients"
    if each >= settings.many_requests:
        return f"{many}, many requests each"
    if clients >= settings.many_clients and each <= settings.few_requests:
        return f"{many}, few requests each"
    return ""


def _named(who: Fingerprint) -> dict[str, str]:
    """A fingerprint in words, and the short name of all of it."""
    agent, language, ja4 = who
    named = {"fingerprint": shape((), (agent, language, ja4)), "user_agent": agent[:AGENT_CHARS]}
    return {**named, "ja4_habit": ja4} if ja4 else named


def _at_width(name: str, share: float, parts: Mapping[str, float]) -> dict[str, float]:
    """The parts of a network if two of them make most of it, else itself, and those that make half of it."""
    two = sum(sorted(parts.values())[-2:])
    if two >= MOST_OF_IT * share:
        return dict(parts)
    return {name: share} | {part: at for part, at in parts.items() if at >= HALF_OF_IT * share}


def _shares(sketch: Sketch[str], places: list[Counter[str]]) -> dict[str, float]:
    return {counter.key: round(sketch.share(counter), 3) for counter in places}
