"""challenge.presets: programs that cannot answer, by what they ask for. The requests are those of real programs."""

from __future__ import annotations

import re
from typing import Any, get_args

import pytest

from shield.model import Action, Reason, Tier
from shield.policy.challenge.settings import ChallengeSettings, PresetName
from shield.policy.presets import KEPT_CHARS, MOST_KEPT, PRESETS, Presets

NPM_11 = {"Accept": "application/json", "User-Agent": "npm/11.19.1 node/v20.20.2 linux x64 workspaces/false"}
NPM = {"Accept": "application/vnd.npm.install-v1+json; q=1.0, application/json; q=0.8, */*"}
ACTIVITY = {"Accept": "application/activity+json, application/ld+json", "User-Agent": "Mastodon/4.4.2 (+https://a/)"}
SLACK = {"User-Agent": "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", "Accept": "*/*"}
FACEBOOK = {"User-Agent": "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)"}


def typed(kind: str) -> dict[str, str]:
    return {"Content-Type": kind}


UNDER: list[tuple[str, str, str, dict[str, str]]] = [
    ("robots", "GET", "/robots.txt", {}),
    ("robots", "HEAD", "/ads.txt", {}),
    ("well-known", "GET", "/.well-known/security.txt", {}),
    ("well-known", "GET", "/.well-known/acme-challenge/LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0", {}),
    ("well-known", "GET", "/.well-known/webfinger", {}),
    ("well-known", "GET", "/.well-known/matrix/client", {}),
    *(
        ("feeds", "GET", path, {})
        for path in (
            *("/feed", "/feed/", "/comments/feed/", "/category/news/feed/rss2", "/rss", "/atom.xml", "/blog/index.xml"),
            *("/feed.json", "/feeds/all.atom.xml", "/feeds/posts", "/user/project/commits.atom", "/news.rss"),
            "/blog/rss.xml",
        )
    ),
    ("health-checks", "GET", "/healthz", {}),
    ("health-checks", "HEAD", "/up", {}),
    ("health-checks", "GET", "/actuator/health/readiness", {}),
    ("git", "GET", "/team/project.git/info/refs", {"User-Agent": "git/2.39.5", "Git-Protocol": "version=2"}),
    ("git", "POST", "/team/project.git/git-upload-pack", typed("application/x-git-upload-pack-request")),
    ("git", "POST", "/a/b/c/git-receive-pack", typed("application/x-git-receive-pack-request")),
    ("git", "POST", "/team/project.git/info/lfs/objects/batch", typed("application/vnd.git-lfs+json; charset=utf-8")),
    ("git", "GET", f"/p.git/objects/{'ab'}/{'0' * 38}", {}),
    ("git", "GET", f"/p.git/objects/pack/pack-{'1' * 40}.idx", {}),
    ("package-managers", "GET", "/simple/", {}),
    ("package-managers", "GET", "/mirror/pypi/simple/requests/", {}),
    ("package-managers", "GET", "/packages/a/requests-2.32.3-py3-none-any.whl", {}),
    ("package-managers", "GET", "/packages/a/requests-2.32.3-py3-none-any.whl.metadata", {}),
    ("package-managers", "GET", "/lodash", NPM),
    ("package-managers", "GET", "/@types%2fnode", NPM),
    ("package-managers", "GET", "/@types%2fnode", NPM_11),
    ("package-managers", "GET", "/lodash/-/lodash-4.17.21.tgz", {}),
    ("package-managers", "GET", "/@types/node/-/node-20.1.0.tgz", {}),
    ("package-managers", "POST", "/-/npm/v1/security/advisories/bulk", typed("application/json")),
    *(
        ("package-managers", "GET", path, {})
        for path in (
            "/se/rd/serde",
            "/index/se/rd/serde",
            "/ra/nd/rand",
            "/3/u/url",
            "/2/cc",
            "/index/1/a",
            "/config.json",
        )
    ),
    ("package-managers", "GET", "/api/v1/crates/serde/1.0.200/download", {}),
    ("package-managers", "GET", "/golang.org/x/text/@v/v0.14.0.info", {}),
    ("package-managers", "GET", "/github.com/!burnt!sushi/toml/@latest", {}),
    ("package-managers", "GET", "/v2/", {}),
    ("package-managers", "GET", "/v2/library/nginx/manifests/1.27", {}),
    ("package-managers", "HEAD", f"/v2/library/nginx/blobs/sha256:{'a' * 64}", {}),
    ("package-managers", "GET", "/debian/dists/stable/main/binary-amd64/Packages.xz", {}),
    ("package-managers", "GET", "/debian/pool/main/h/hello/hello_2.10-3_amd64.deb", {}),
    ("package-managers", "GET", "/gems/rake-13.0.6.gem", {}),
    ("package-managers", "GET", "/p2/monolog/monolog.json", {}),
    ("package-managers", "GET", "/maven2/org/slf4j/slf4j-api/2.0.9/slf4j-api-2.0.9.pom.sha1", {}),
    ("activitypub", "POST", "/users/alice/inbox", typed("application/activity+json")),
    ("activitypub", "POST", "/inbox", typed('application/ld+json; profile="https://www.w3.org/ns/activitystreams"')),
    ("activitypub", "GET", "/users/alice", ACTIVITY),
    ("activitypub", "GET", "/@alice/114000000000000001", ACTIVITY),
    ("activitypub", "GET", "/users/alice/statuses/114/activity", ACTIVITY),
    ("activitypub", "GET", "/nodeinfo/2.0", {}),
    ("webhooks", "POST", "/webhooks/stripe", typed("application/json; charset=utf-8")),
    ("webhooks", "POST", "/hooks/payments", typed("application/x-www-form-urlencoded")),
    ("webhooks", "POST", "/api/v1/webhook", typed("application/cloudevents+json")),
    ("link-previews", "GET", "/2026/some-article", SLACK),
    ("link-previews", "GET", "/", FACEBOOK),
    ("link-previews", "GET", "/img/cover.jpg", FACEBOOK),
    ("link-previews", "GET", "/index.html", {"User-Agent": "Twitterbot/1.0"}),
]
NOT_UNDER: list[tuple[str, str, str, dict[str, str]]] = [
    ("robots", "POST", "/robots.txt", {}),
    ("robots", "GET", "/robots.txt/", {}),
    ("robots", "GET", "/x/robots.txt", {}),
    ("well-known", "GET", "/.well-known/", {}),
    ("well-known", "GET", "/.well-known/../search", {}),
    ("well-known", "GET", "/.well-known/x/%2e%2e/%2e%2e/search", {}),
    ("well-known", "GET", "/.well-known//search", {}),
    ("well-known", "POST", "/.well-known/x", {}),
    ("feeds", "GET", "/index.php/feed", {}),
    ("feeds", "GET", "/search;x.rss", {}),
    ("feeds", "GET", "/feedback", {}),
    ("feeds", "GET", "/a/b/c/d/feed", {}),
    ("feeds", "GET", "/feed/../search", {}),
    ("feeds", "GET", "/search%2F..%2Ffeed", {}),
    ("feeds", "GET", "/feed\n", {}),
    ("feeds", "POST", "/feed", {}),
    ("health-checks", "GET", "/health/records", {}),
    ("git", "GET", "/search", {"User-Agent": "git/2.39.5"}),
    ("git", "POST", "/team/project.git/git-upload-pack", {}),
    ("git", "POST", "/search", typed("application/x-git-upload-pack-request")),
    ("package-managers", "GET", "/lodash", {}),
    ("package-managers", "GET", "/lodash", {"Accept": "application/json"}),
    ("package-managers", "GET", "/search/all", NPM_11),
    ("package-managers", "GET", "/search/all", NPM),
    ("package-managers", "POST", "/lodash", NPM),
    ("package-managers", "GET", "/en/us/products", {}),
    ("package-managers", "GET", "/se/rd/search", {}),
    ("package-managers", "GET", "/3/a/buy", {}),
    ("activitypub", "GET", "/search", ACTIVITY),
    ("activitypub", "POST", "/inbox", typed("application/json")),
    ("activitypub", "GET", "/users/alice", {"User-Agent": "Mastodon/4.4.2"}),
    ("webhooks", "POST", "/webhooks/stripe", typed("multipart/form-data")),
    ("webhooks", "GET", "/webhooks/stripe", typed("application/json")),
    ("webhooks", "POST", "/login", typed("application/json")),
    ("link-previews", "GET", "/2026/some-article", {"User-Agent": "Mozilla/5.0"}),
    ("link-previews", "POST", "/", SLACK),
    ("link-previews", "GET", "/export.csv", SLACK),
]


def world_of(make: Any, *names: str, mode: str = "auto", concurrency: int = 100) -> Any:
    challenge = ChallengeSettings(least_hashes=64, most_hashes=256, presets=names, mode=mode)  # type: ignore[arg-type]
    return make(concurrency, challenge=challenge)


@pytest.mark.parametrize("mode", ["auto", "always"])
@pytest.mark.parametrize("name", PRESETS)
def test_programs_of_a_preset_are_not_challenged_and_all_others_are(make: Any, name: str, mode: str) -> None:
    world = world_of(make, name, mode=mode)
    world.storm(0.5)
    numbers = iter(range(1, 250))
    for preset, method, path, headers in UNDER:
        request = world.ask(world.client(f"198.51.100.{next(numbers)}"), path, method=method, headers=headers)
        if preset == name:
            assert (path, request.verdict.reason) == (path, Reason.OK)
            world.end(request)
        elif name != "link-previews":
            assert (path, request.verdict.action) == (path, Action.CHALLENGE)
    for preset, method, path, headers in NOT_UNDER:
        if preset == name:
            request = world.ask(world.client(f"203.0.113.{next(numbers)}"), path, method=method, headers=headers)
            assert (path, request.verdict.action) == (path, Action.CHALLENGE)


def test_a_trap_at_a_path_of_programs_is_noticed() -> None:
    presets = Presets(["feeds", "link-previews", "robots"])
    assert presets.names("/blog/feed") == "feeds"
    assert presets.names("/wp-login.php") == presets.names("/pages/about") == ""


def test_whatever_is_under_a_preset_has_its_hint() -> None:
    for name, _, path, _ in UNDER:
        assert re.search(PRESETS[name].hint, path), path


def test_each_preset_has_recorded_requests() -> None:
    assert {preset for preset, *_ in UNDER} == {preset for preset, *_ in NOT_UNDER} == set(PRESETS)
    assert set(get_args(PresetName)) == set(PRESETS)
    assert ChallengeSettings().presets == ("robots", "well-known", "feeds", "health-checks")


def test_a_botnet_that_asks_for_feeds_gets_their_share_and_no_more(make: Any) -> None:
    """A thousand addresses ask for the feed, each within its own limits: what they get together is the preset's."""
    world = world_of(make, "feeds", concurrency=4)
    user = world.client("192.0.2.77")
    world.settle_down(user)
    world.storm(0.9)
    capacity = world.engine._windows.weather.capacity
    share = PRESETS["feeds"].share * capacity
    begun, served, refused = world.now, 0.0, []
    for turn in range(12):
        for number in range(1000):
            client = world.client(f"10.{number % 250}.{number // 250}.{turn + 1}")
            request = world.ask(client, "/feed")
            if request.verdict.action is Action.FORWARD:
                served += request.cost
                world.end(request)
            else:
                refused.append(request)
        world.pass_time(0.5)
        world.storm(0.9)
    assert share * 0.9 * (world.now - begun) < served < share * (world.now - begun + 5.0) + 25
    assert {request.verdict.reason for request in refused} == {Reason.ROUTE_RATE}
    assert {request.braked_by for request in refused} == {"preset feeds"}
    assert all(request.verdict.retry_after >= 1 for request in refused)
    for _ in range(20):  # who was here before has its own limits
        request = world.visit(user, "/feed")
        assert (request.verdict.reason, request.tier) == (Reason.OK, Tier.T1)
        world.pass_time(0.1)


def test_one_program_that_asks_without_end_is_limited_as_anybody(make: Any) -> None:
    world = world_of(make, "health-checks", "feeds")
    world.storm(0.5)
    client = world.client("198.51.100.1")
    reasons = [world.visit(client, "/healthz").verdict.reason for _ in range(1500)]
    assert Reason.OK in reasons[:20]
    assert {Reason.CLIENT_RATE, Reason.ROUTE_RATE} & set(reasons[-100:])
    assert Reason.NEWCOMER not in reasons


def test_a_ban_and_a_trap_hold_for_programs_too(make: Any) -> None:
    world = world_of(make, "feeds")
    client = world.client("198.51.100.1")
    client.entry.banned_until = world.now + 100
    assert world.ask(client, "/feed").verdict.reason is Reason.CLIENT_BANNED


def test_no_pressure_no_budget(make: Any) -> None:
    """In calm weather, and where nobody is challenged, a preset changes nothing."""
    for mode in ("auto", "off"):
        world = world_of(make, "health-checks", mode=mode)
        for number in range(600):
            assert (
                world.visit(world.client(f"10.0.{number // 250}.{number % 250}"), "/healthz").verdict.reason
                is Reason.OK
            )
    world.storm(0.9)
    for number in range(60):
        assert world.visit(world.client(f"10.9.1.{number}"), "/healthz").verdict.reason is not Reason.ROUTE_RATE


def test_what_is_remembered_of_paths_is_bounded(make: Any) -> None:
    presets = Presets(["git", "git", "feeds"])
    assert [budget.name for budget in presets.budgets] == ["git", "feeds"]
    world = world_of(make)
    world.storm(0.5)
    client = world.client()
    for number in range(MOST_KEPT + 10):
        assert presets.of(world.request(client, f"/{number}")) is None
    assert len(presets._kept) == 10
    assert presets.of(world.request(client, "/feed/" + "x" * KEPT_CHARS)) is None
    assert len(presets._kept) == 10
    assert presets.of(world.request(client, "/feed")) is presets.budgets[1]
    fresh = presets.budgets[0]
    request = world.request(client, "/p.git/info/refs")
    request.cost = 1.0
    assert fresh.refusal(request, world.now) is None, "no window was closed"
    fresh.spend(request, world.now)


def test_no_pattern_takes_long_for_a_path_made_to_be_slow() -> None:
    """Each is matched against a path of KEPT_CHARS at most; none backtracks without end. (Counted by the tests' time
    limit: an exponential one would take years.)"""
    for preset in PRESETS.values():
        for rule in preset.rules:
            for piece in ("/a", "/a-", "/a.", "a", "/.", "/@", "/a/", "%2f"):
                assert rule.path.fullmatch((piece * KEPT_CHARS)[:KEPT_CHARS] + "!") is None
            assert not re.search(r"\)\*|\)\+", rule.path.pattern), "repeats of groups are bounded"
