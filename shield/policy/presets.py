"""Programs that cannot answer a challenge, by what they ask for: `challenge.presets`.

A preset is some rules, and a request is under it when it fits one of them: its method, its path in the spelling that
the programs use, and where a rule names some, the type of its body, the type that it accepts, or how its program names
itself. No rule goes by that name alone. A path that a service may read as another one fits none (readings.py).

Who is under a preset is not challenged, and all else holds: the limits of its client and address, and bans. Under
pressure newcomers are slowed, as everywhere. And all newcomers under one preset together may take `share` of what the
service can do, as whoever attacks may ask for the same. Beyond, they are refused (`route_rate`, with the preset's name
as `route`) and told when to come back. Somebody with a history or a pass does not count.

Key of what is remembered: method and path; size: MOST_KEPT, dropped together; the rest of a rule is looked at each
time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from shield.model import Reason, Verdict
from shield.policy.bucket import Bucket, Rate
from shield.policy.per_route.readings import ambiguous
from shield.policy.refusals import limited
from shield.policy.request import Request

MOST_KEPT: Final = 2048
KEPT_CHARS: Final = 256
"""Of a method and path that is remembered."""
BURST_SECONDS: Final = 5.0
"""For which the budget of a preset may be saved up: programs come in bursts, as at the full hour."""
LEAST_BURST: Final = 20.0
"""units. A page with its preview, or a clone, on a service of any size."""

READING: Final = frozenset({"GET", "HEAD"})
POSTING: Final = frozenset({"POST"})


@dataclass(frozen=True, slots=True)
class Rule:
    """Requests with one of these `methods`, and a path that `path` fits as a whole. Where they are named: with a body
    of one of `types`; accepting one of `accepts`; of a program that names itself with one of `agents`, in lower case.
    """

    methods: frozenset[str]
    path: re.Pattern[str]
    types: tuple[str, ...] = ()
    accepts: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()

    def holds(self, headers: Mapping[str, str]) -> bool:
        """Whether the fields of a request are as the rule wants them."""
        if self.types and headers.get("Content-Type", "").partition(";")[0].strip(" \t").lower() not in self.types:
            return False
        if self.accepts:
            accept = headers.get("Accept", "").lower()
            if not any(kind in accept for kind in self.accepts):
                return False
        if self.agents:
            agent = headers.get("User-Agent", "").lower()
            return any(name in agent for name in self.agents)
        return True


@dataclass(frozen=True, slots=True)
class Preset:
    """What is under it, and the share of the capacity that newcomers under it may take under pressure. `hint`: what is
    found in each of its paths, so that other paths, of which a flood makes many, need no closer look; empty: nothing
    is."""

    rules: tuple[Rule, ...]
    share: float
    hint: str = ""


def _reading(*paths: str, accepts: Sequence[str] = (), agents: Sequence[str] = ()) -> Rule:
    return Rule(READING, re.compile("|".join(paths)), (), tuple(accepts), tuple(agents))


def _posting(*paths: str, types: Sequence[str]) -> Rule:
    return Rule(POSTING, re.compile("|".join(paths)), tuple(types))


_FOLDERS: Final = r"(?:/[A-Za-z0-9_~-]{1,64}){0,3}"
"""Folders without a dot in their names: below index.php, a service may read anything as its own page."""
_REPOSITORY: Final = r"(?:/[A-Za-z0-9._~@+-]{1,128}){1,6}"
_SCOPE: Final = re.compile(r"^(/@[\w.~-]+)%2[fF]")
"""npm writes the slash within a package's name as an escape."""
_NPM_PACKAGE: Final = r"/(?:@[\w.~-]+/)?[\w.~-]+"
_CRATE: Final = (
    r"3/(?P<letter>[\w-])/(?P=letter)[\w-]{2}|(?P<two>[\w-]{2})/(?P<more>[\w-]{2})/(?P=two)(?P=more)[\w-]{0,60}"
)
"""A file of cargo's index: its folders are how the crate's name begins. Other pages are two folders deep, too."""
_ACTIVITY: Final = ("application/activity+json", "application/ld+json")
_HEALTH: Final = "health|healthz|healthcheck|health-check|livez|readyz|ping|up|heartbeat"

PRESETS: Final[Mapping[str, Preset]] = {
    "robots": Preset((_reading(r"/robots\.txt|/(?:app-)?ads\.txt"),), 0.02, r"/(?:robots|ads|app-ads)\.txt"),
    "well-known": Preset((_reading(r"/\.well-known/[^/]+(?:/[^/]+){0,4}"),), 0.05, r"/\.well-known/"),
    "feeds": Preset(
        (
            _reading(
                rf"{_FOLDERS}/(?:feed|rss|atom)(?:/(?:rss|rss2|rdf|atom))?/?",
                rf"{_FOLDERS}/(?:feed|rss|rss2|atom|index)\.(?:xml|rdf|json|rss|atom)",
                rf"{_FOLDERS}/feeds/[A-Za-z0-9._~-]{{1,64}}",
                rf"{_FOLDERS}/[A-Za-z0-9_~-]{{1,64}}\.(?:rss|atom)",
            ),
        ),
        0.05,
        r"/(?:feed|rss|atom|index\.)|\.(?:rss|atom)$",
    ),
    "health-checks": Preset(
        (
            _reading(
                rf"/(?:{_HEALTH}|_health|__heartbeat__|__lbheartbeat__)",
                r"/(?:health|actuator/health)/(?:live|ready|liveness|readiness|startup)",
                r"/actuator/health",
            ),
        ),
        0.01,
        rf"/(?:{_HEALTH}|_health|__)",
    ),
    "git": Preset(
        (
            _reading(rf"{_REPOSITORY}/info/refs"),
            _reading(  # as it is read from files, without a program on the server's side
                rf"{_REPOSITORY}/HEAD",
                rf"{_REPOSITORY}/objects/(?:info/(?:packs|alternates|http-alternates)|[0-9a-f]{{2}}/[0-9a-f]{{38,62}})",
                rf"{_REPOSITORY}/objects/pack/pack-[0-9a-f]{{40,64}}\.(?:pack|idx)",
            ),
            _posting(rf"{_REPOSITORY}/git-upload-pack", types=("application/x-git-upload-pack-request",)),
            _posting(rf"{_REPOSITORY}/git-receive-pack", types=("application/x-git-receive-pack-request",)),
            _posting(
                rf"{_REPOSITORY}/info/lfs/objects/batch",
                rf"{_REPOSITORY}/info/lfs/locks(?:/verify)?",
                types=("application/vnd.git-lfs+json",),
            ),
        ),
        0.2,
    ),
    "package-managers": Preset(
        (
            _reading(  # pip, uv
                r"(?:/[\w.-]+){0,3}/simple/(?:[\w.-]+/?)?",
                r"(?:/[\w.+!-]+){1,12}\.(?:whl|tar\.gz|tar\.bz2|zip)(?:\.metadata|\.asc)?",
            ),
            _reading(_NPM_PACKAGE, accepts=("application/vnd.npm.install-v1+json",)),  # npm, yarn, pnpm
            _reading(_NPM_PACKAGE, accepts=("application/json",), agents=("npm/", "yarn/", "bun/")),  # npm from 11 on
            _reading(r"/(?:@[\w.~-]+/)?[\w.~-]+/-/(?:@[\w.~-]+/)?[\w.~+-]+\.tgz", r"/-/ping"),
            _posting(r"/-/npm/v1/security/(?:advisories/bulk|audits/quick)", types=("application/json",)),
            _reading(  # cargo, Go, OCI registries, apt, RubyGems, Composer, Maven
                rf"(?:/index)?/(?:config\.json|1/\w|2/[\w-]{{2}}|{_CRATE})",
                r"/api/v1/crates/[\w-]{1,64}/[\w.+-]{1,64}/download",
                r"(?:/[\w.~!-]+){1,8}/@(?:latest|v/(?:list|[\w.+!-]+\.(?:info|mod|zip)))",
                r"/v2/|/v2(?:/[a-z0-9._-]+){1,8}/(?:manifests/[\w.:-]+|blobs/[a-z0-9]+:[0-9a-f]+|tags/list)",
                r"(?:/[\w.-]+){0,3}/dists(?:/[\w.+:-]+){1,8}",
                r"(?:/[\w.-]+){0,3}/pool(?:/[\w.+:~-]+){1,8}\.(?:deb|udeb|dsc|tar\.[a-z0-9]+)",
                r"/(?:versions|names|info/[\w.-]+|gems/[\w.-]+\.gem)",
                r"/packages\.json|/p2/[\w.-]+/[\w.~-]+\.json",
                r"(?:/[\w.-]+){3,14}\.(?:pom|jar|module)(?:\.(?:sha1|sha256|sha512|md5|asc))?",
            ),
        ),
        0.2,
    ),
    "activitypub": Preset(
        (
            _posting(r"/inbox|/(?:users|u|c|actors?|accounts|ap/users)/[\w.@-]{1,64}/inbox", types=_ACTIVITY),
            _reading(
                r"/actor|/@[\w.@-]{1,128}(?:/[\w-]{1,64})?",
                r"/(?:users|u|c|actors?|accounts|ap/users)/[\w.@-]{1,64}(?:/[\w-]{1,64}){0,4}",
                r"/(?:objects|activities|notes|notice|post|comment)/[\w-]{1,64}(?:/[\w-]{1,64})?",
                accepts=_ACTIVITY,
            ),
            _reading(r"/nodeinfo/[0-9]\.[0-9](?:\.json)?"),
        ),
        0.1,
    ),
    "webhooks": Preset(
        (
            _posting(
                r"(?:/api(?:/v[0-9])?)?/(?:web)?hooks?(?:/[\w.-]{1,128}){0,6}/?",
                types=(
                    "application/json",
                    "application/x-www-form-urlencoded",
                    "application/cloudevents+json",
                    "application/cloudevents-batch+json",
                ),
            ),
        ),
        0.1,
    ),
    "link-previews": Preset(
        (
            _reading(
                r"/(?:[\w.~%+,@-]{1,200}/){0,8}(?:[\w~%+,@-]{1,200}(?:\.(?:html?|png|jpe?g|webp|gif))?)?",
                agents=(
                    *("facebookexternalhit/", "twitterbot/", "slackbot-linkexpanding ", "discordbot/", "telegrambot "),
                    *(
                        "whatsapp/",
                        "linkedinbot/",
                        "skypeuripreview ",
                        "mastodon/",
                        "bluesky cardyb/",
                        "signal-desktop",
                    ),
                    *("iframely/", "embedly/", "pinterestbot/", "redditbot/", "synapse/", "mattermost-bot/"),
                ),
            ),
        ),
        0.02,
    ),
}
"""Shares: what programs of the kind ask a service of the kind for. Where a git server is attacked, most of its honest
requests are git's; the others are few, and quick to serve."""


class Budget:
    """What newcomers under one preset may take under pressure: units/s of this worker, found anew with each window."""

    __slots__ = ("_bucket", "name", "preset")

    def __init__(self, name: str, preset: Preset) -> None:
        self.name = name
        self.preset = preset
        self._bucket: Bucket | None = None  # there was no pressure yet

    def close_window(self, capacity: float) -> None:
        """Go by so many units/s that the service can do."""
        rate = max(self.preset.share * capacity, 1e-3)
        burst = max(rate * BURST_SECONDS, LEAST_BURST)
        bucket = self._bucket
        if bucket is None:
            self._bucket = Bucket(Rate(rate, burst))
        else:
            bucket.rate, bucket.burst = rate, burst

    def refusal(self, request: Request, now: float) -> Verdict | None:
        """The refusal, where the budget has not enough for a request; nothing is charged."""
        bucket = self._bucket
        wait = 0.0 if bucket is None else bucket.wait(request.cost, now)
        if bucket is None or not wait:
            return None
        request.braked_by = f"preset {self.name}"
        return limited(Reason.ROUTE_RATE, bucket.rate, bucket.burst, wait)

    def spend(self, request: Request, now: float) -> None:
        """Charge a request that was let in."""
        if self._bucket is not None:
            self._bucket.spend(request.cost, now)


class Presets:
    """Finds the preset that a request is under, the first of those that are named."""

    __slots__ = ("_hint", "_kept", "budgets")

    def __init__(self, names: Sequence[str]) -> None:
        self.budgets = tuple(Budget(name, PRESETS[name]) for name in dict.fromkeys(names))
        hints = [budget.preset.hint for budget in self.budgets]
        self._hint = re.compile("|".join(hints)) if all(hints) else None
        self._kept: dict[str, tuple[tuple[Budget, Rule], ...]] = {}

    def of(self, request: Request) -> Budget | None:
        """The budget of the preset that a request is under; None when it is under none."""
        target = request.method + request.path
        candidates = self._kept.get(target)
        if candidates is None:
            candidates = self._find(request, target)
        for budget, rule in candidates:
            if rule.holds(request.headers):
                return budget
        return None

    def names(self, path: str) -> str:
        """The names of the presets that a path is for, in a list; not where the program's name or what it accepts
        decides."""

        def fits(rule: Rule) -> bool:
            return not (rule.agents or rule.accepts) and rule.path.fullmatch(path) is not None

        return ", ".join(budget.name for budget in self.budgets if any(map(fits, budget.preset.rules)))

    def close_window(self, capacity: float) -> None:
        """Go by so many units/s that the service can do, as far as they are this worker's."""
        for budget in self.budgets:
            budget.close_window(capacity)

    def _find(self, request: Request, target: str) -> tuple[tuple[Budget, Rule], ...]:
        """Those that fit by method and path."""
        if len(target) > KEPT_CHARS:  # no path of theirs is so long
            return ()
        hint = self._hint
        found = () if hint is not None and hint.search(request.path) is None else self._match(request)
        if len(self._kept) >= MOST_KEPT:
            self._kept.clear()
        self._kept[target] = found
        return found

    def _match(self, request: Request) -> tuple[tuple[Budget, Rule], ...]:
        method, path = request.method, _SCOPE.sub(r"\1/", request.path, count=1)
        if ambiguous(path):
            return ()
        return tuple(
            (budget, rule)
            for budget in self.budgets
            for rule in budget.preset.rules
            if method in rule.methods and rule.path.fullmatch(path) is not None
        )
