"""What each command asks, what it prints, and its exit status."""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from shield import cli
from shield.console.client import Admin, UnreachableError
from shield.console.show import change, clock, plain, span, status

NOW = time.time()
RULE = {
    "number": 7,
    "kind": "ban",
    "subject": "192.0.2.0/24",
    "value": "",
    "author": "ann",
    "note": "scrapes",
    "created": NOW,
    "expires": 0.0,
}
CHANGE = {
    "number": 8,
    "what": "added",
    "at": NOW,
    "author": "ann",
    "note": "scrapes",
    "subject": "192.0.2.0/24",
    "rule": RULE,
    "before": None,
    "of": 0,
}
STATUS = {
    "ready": True,
    "dry_run": False,
    "attack": True,
    "attack_seconds": 200.0,
    "attack_cause": "demand",
    "pressure": 0.62,
    "demand": 900.0,
    "capacity": 800.0,
    "in_flight": 8,
    "concurrency": 8.0,
    "waiting": 3,
    "requests_per_second": 1200.0,
    "requests": {"forward": {"ok": 9}, "limit": {"client_rate": 5, "pass_rate": 0}, "challenge": {"newcomer": 70}},
    "active_bans": {"clients": 2, "addresses": 1},
    "dropped": 4,
    "hitters": {
        "networks": {"192.0.2.0/24": 0.61, "198.51.100.0/24": 0.1},
        "fingerprints": [{"user_agent": "curl/8\x1b[31m", "share": 0.5}],
        "routes": {},
    },
}


class Shield:
    """In the place of the admin listener."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Any]] = []
        self.answers: dict[str, tuple[int, dict[str, Any]]] = {
            "GET /api/status": (200, STATUS),
            "GET /api/rules": (200, {"rules": [RULE], "kept": True}),
            "POST /api/rules": (201, {"change": CHANGE, "kept": True}),
            "DELETE /api/rules": (200, {"changes": [{**CHANGE, "what": "lifted", "rule": None, "before": RULE}]}),
            "GET /api/audit": (200, {"changes": [CHANGE]}),
            "POST /api/undo": (200, {"change": {**CHANGE, "what": "undone", "rule": None, "of": 7}, "kept": True}),
            "POST /api/reload": (200, {"reloaded": True}),
        }
        self.answers["DELETE /api/rules"][1].update(pardoned=0, refusing=[], kept=True)

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, dict[str, Any]]:
        self.asked.append((method, path, body))
        return self.answers[f"{method} {urlsplit(path).path}"]


@pytest.fixture
def shield(monkeypatch: pytest.MonkeyPatch) -> Shield:
    made = Shield()
    monkeypatch.setattr(Admin, "ask", lambda self, *asked: made.ask(*asked))
    monkeypatch.setenv("USER", "ann")
    monkeypatch.delenv("SUDO_USER", raising=False)
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    return made


def run(*arguments: str) -> int:
    return cli.main([*arguments, "--admin", "127.0.0.1:9901"])


@pytest.mark.parametrize(
    ("arguments", "wish"),
    [
        ("ban 192.0.2.0/24 --for 1h --note scrapes", {"subject": "192.0.2.0/24", "seconds": 3600.0, "note": "scrapes"}),
        ("deny 64.0.0.0/7 --force", {"subject": "64.0.0.0/7", "force": True}),
        ("allow 192.0.2.7 --author bob", {"subject": "192.0.2.7", "author": "bob"}),
        ("limit client 20/400 --for 30m", {"subject": "client", "value": "20/400", "seconds": 1800.0}),
        ("pressure hold 0.5 --for 10m", {"value": "0.5", "seconds": 600.0}),
        ("challenge never /feed", {"subject": "/feed", "value": "never"}),
        ("challenge always AS64500", {"subject": "AS64500", "value": "always"}),
        ("challenge always country:XX --dry-run", {"subject": "country:XX", "value": "always", "dry_run": True}),
        ("ban 192.0.2.0/24 --dry-run", {"kind": "ban", "subject": "192.0.2.0/24", "dry_run": True}),
        (
            "limit 192.0.2.7 5/50 --dry-run --force",
            {"subject": "192.0.2.7", "value": "5/50", "dry_run": True, "force": True},
        ),
        ("dry-run on", {"kind": "dry_run", "value": "on"}),
        ("dry-run on challenge", {"kind": "dry_run", "value": "on", "subject": "challenge"}),
        ("key make billing", {"subject": "billing", "value": ""}),
        ("key make billing --rate 5/50 --for 2d", {"subject": "billing", "value": "5/50", "seconds": 172800.0}),
    ],
)
def test_wishes(shield: Shield, arguments: str, wish: dict[str, Any], capfd: pytest.CaptureFixture[str]) -> None:
    assert run(*arguments.split()) == 0
    kind = arguments.split(maxsplit=1)[0]
    assert shield.asked == [("POST", "/api/rules", {"kind": kind, "author": "ann", "note": "", "here": [], **wish})]
    assert "192.0.2.0/24 is banned  by ann: scrapes" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "query"),
    [
        ("unban 192.0.2.7", {"subject": ["192.0.2.7"], "kind": ["ban", "deny"], "pardon": ["1"]}),
        ("lift 7 9", {"number": ["7", "9"]}),
        ("pressure release", {"kind": ["pressure"]}),
        ("challenge auto /feed", {"subject": ["/feed"], "kind": ["challenge"]}),
        ("dry-run config", {"kind": ["dry_run"]}),
        ("key revoke billing", {"kind": ["key"], "subject": ["billing"]}),
        ("dry-run config bans", {"kind": ["dry_run"], "subject": ["bans"]}),
    ],
)
def test_lifting(shield: Shield, arguments: str, query: Any, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(*arguments.split()) == 0
    ((method, path, body),) = shield.asked
    assert (method, urlsplit(path).path, body) == ("DELETE", "/api/rules", None)
    assert parse_qs(urlsplit(path).query) == {**query, "author": ["ann"]}
    assert "lifted: 192.0.2.0/24 is banned" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ("rules", "   7  192.0.2.0/24 is banned  by ann: scrapes"),
        ("audit", "added: 192.0.2.0/24 is banned"),
        ("undo", "undone: change 7; 192.0.2.0/24: there is no such rule any more"),
        ("reload", "reloaded: the config holds"),
    ],
)
def test_what_is_shown(shield: Shield, arguments: str, shown: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 0
    assert shown in capfd.readouterr().out


@pytest.mark.parametrize(
    ("asked", "query"),
    [
        ("192.0.2.7", "address=192.0.2.7"),
        ("2001:db8::7", "address=2001%3Adb8%3A%3A7"),
        ("5f3a91c0-1b", "request_id=5f3a91c0-1b"),
        ("pass:00ff00ff00ff00ff", "pass=pass%3A00ff00ff00ff00ff"),
        ("A" * 42, f"pass={'A' * 42}"),
    ],
)
def test_explain(shield: Shield, asked: str, query: str, capfd: pytest.CaptureFixture[str]) -> None:
    first = {
        "question": "Is there a rule of yours?",
        "answer": "no",
        "decides": False,
        "change": "shield allow does",
    }
    last = {
        "question": "Is it banned?",
        "answer": "yes",
        "decides": True,
        "numbers": {"score": 18.0},
        "until": NOW + 60,
    }
    refused = {"at": NOW, "id": "ab-1", "method": "GET", "host": "a.example", "path": "/x", "user_agent": "curl\x1b"}
    shield.answers["GET /api/explain"] = (
        200,
        {
            "found": False,
            "subjects": [{"subject": "client ab", "questions": [first, last]}],
            "refused": [{**refused, "status": 403, "reason": "client_banned"}],
        },
    )
    assert run("explain", asked) == 0
    assert shield.asked == [("GET", f"/api/explain?{query}", None)]
    assert capfd.readouterr().out.splitlines() == [
        "client ab:",
        "    Is there a rule of yours? no",
        "      would change it: shield allow does",
        " => Is it banned? yes",
        "      score 18.0",
        f"      until {clock(NOW + 60)}",
        "",
        "refused of late:",
        f"  {clock(NOW)}  403 client_banned  GET a.example/x  curl?  ab-1",
        "Nothing is remembered of it, so it is asked as anybody new is.",
    ]
    shield.answers["GET /api/explain"] = 200, {"found": True, "subjects": [], "refused": []}
    assert run("explain", asked) == 0
    assert capfd.readouterr().out == "\n"


def test_bans(shield: Shield, capfd: pytest.CaptureFixture[str]) -> None:
    ban = {"address": "192.0.2.7", "client": "", "until": NOW, "relapses": 1, "score": 20.0}
    shield.answers["GET /api/bans"] = 200, {"bans": [ban, {**ban, "client": "ab"}], "total": 3}
    assert run("bans") == 0
    assert capfd.readouterr().out.splitlines() == [
        f"all of 192.0.2.7 until {clock(NOW)}, ban 1, score 20.0",
        f"client ab at 192.0.2.7 until {clock(NOW)}, ban 1, score 20.0",
        "and 1 more",
    ]
    shield.answers["GET /api/bans"] = 200, {"bans": [], "total": 0}
    run("bans")
    assert capfd.readouterr().out == "nobody is banned\n"


def test_status_says_what_an_operator_asks_first(shield: Shield, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("status") == 0
    assert capfd.readouterr().out.splitlines() == [
        "Shield is serving",
        "ATTACK for 3 min, seen by demand",
        "pressure 0.62, demand 900 of 800 units/s",
        "at the service 8 of 8, waiting 3, 1200 requests/s",
        "refused since the start: challenge newcomer 70, limit client_rate 5",
        "banned by Shield: 2 clients, 1 addresses; dropped: 4",
        "networks that stand out: 192.0.2.0/24 (61%), 198.51.100.0/24 (10%)",
        "programs that stand out: curl/8?[31m (50%)",
        "rules of yours: 1",
        "     7  192.0.2.0/24 is banned  by ann: scrapes",
    ]


def test_status_of_several_workers(shield: Shield, capfd: pytest.CaptureFixture[str]) -> None:
    calm = {**STATUS, "attack": False, "hitters": {"networks": {"192.0.2.0/24": 0.7}}}
    workers = [{**calm, "worker": 0, "answers": True}, {"worker": 1, "answers": False}]
    shield.answers["GET /api/status"] = (
        200,
        {**calm, "hitters": None, "ready": False, "dry_run": True, "workers": workers},
    )
    shield.answers["GET /api/rules"] = 200, {"rules": [], "kept": True}
    assert run("status") == 0
    shown = capfd.readouterr().out
    assert shown.startswith("Shield is NOT READY, in a dry run: nothing is refused\nno attack\n")
    assert "192.0.2.0/24 (70%)" in shown
    assert shown.endswith("no rules of yours\nworker 1 does not answer\n")


def test_status_says_what_was_forgotten(shield: Shield, capfd: pytest.CaptureFixture[str]) -> None:
    certificates = {
        "/soon.pem": {"ends_in": 864_000.0, "lifetime": 7_776_000.0},
        "/ended.pem": {"ends_in": -5.0, "lifetime": 7_776_000.0},
        "/fine.pem": {"ends_in": 6_000_000.0, "lifetime": 7_776_000.0},
    }
    proxy = {"peer": "10.0.0.5\x1b", "share": 0.93}
    shield.answers["GET /api/status"] = 200, {**STATUS, "certificates": certificates, "untrusted_proxy": proxy}
    assert run("status") == 0
    shown = capfd.readouterr().out
    assert "10.0.0.5? tells of 93% of the clients and is not trusted, so they count as one" in shown
    assert "the certificate /soon.pem ends in 10 days: renew it\n" in shown
    assert "the certificate /ended.pem has ended: renew it\n" in shown
    assert "/fine.pem" not in shown


def test_status_says_what_is_tried_and_whom_that_would_have_met(
    shield: Shield, capfd: pytest.CaptureFixture[str]
) -> None:
    would = {"challenge": {"requests": 900, "visitors": 312, "known": 290}, "ban": {"requests": 0, "visitors": 0}}
    tried = {**STATUS, "tried": ["challenge"], "would": would, "would_seconds": 720.0}
    shield.answers["GET /api/status"] = 200, tried
    assert run("status") == 0
    shown = capfd.readouterr().out
    assert "in a dry run of their own: challenge\n" in shown
    assert "dry runs of the last 12 min would have challenged 312 visitors, 290 of them known\n" in shown


def test_everything_as_json(shield: Shield, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("status", "--json") == 0
    assert json.loads(capfd.readouterr().out) == STATUS
    assert [path for _, path, _ in shield.asked] == ["/api/status"]


def test_a_refusal_says_what_to_do_instead(shield: Shield, capfd: pytest.CaptureFixture[str]) -> None:
    problem = {"title": "Refused", "detail": "you would lock yourself out", "mistakes": ["line 3: x\x1b[2J"]}
    shield.answers["POST /api/rules"] = 422, problem
    assert run("ban", "192.0.2.7") == 1
    assert capfd.readouterr() == ("", "shield: you would lock yourself out\nline 3: x?[2J\n")
    assert run("ban", "192.0.2.7", "--json") == 1
    assert json.loads(capfd.readouterr().out) == problem


def test_nobody_there(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    def nobody(*_: Any) -> Any:
        raise UnreachableError("nobody answers at 127.0.0.1:9901: refused")

    monkeypatch.setattr(Admin, "ask", nobody)
    assert run("rules") == 3
    assert capfd.readouterr().err == "shield: nobody answers at 127.0.0.1:9901: refused\n"
    assert run("rules", "--json") == 3
    assert "nobody answers" in json.loads(capfd.readouterr().out)["detail"]


@pytest.mark.parametrize("arguments", ["pressure hold", "pressure release 0.5"])
def test_pressure_needs_a_number_or_none(shield: Shield, arguments: str) -> None:
    with pytest.raises(SystemExit) as caught:
        run(*arguments.split())
    assert (caught.value.code, shield.asked) == (2, [])


def test_nobody_bans_themselves_over_ssh(shield: Shield, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_CONNECTION", "192.0.2.9 50000 10.0.0.1 22")
    monkeypatch.setenv("SUDO_USER", "bob")
    run("ban", "192.0.2.0/24")
    assert (shield.asked[0][2]["here"], shield.asked[0][2]["author"]) == (["192.0.2.9"], "bob")
    monkeypatch.setenv("SSH_CONNECTION", "fe80::1%eth0 50000 fe80::2 22")
    run("ban", "192.0.2.0/24")
    assert shield.asked[1][2]["here"] == ["fe80::1"]


def test_what_ends_with_the_process_says_so(shield: Shield, capfd: pytest.CaptureFixture[str]) -> None:
    for answer in shield.answers.values():
        answer[1].update(kept=False, not_kept="there is no state.directory to keep it in")
    shield.answers["DELETE /api/rules"][1]["changes"] += [{**CHANGE, "what": "pardoned", "rule": None}]
    for arguments in (["ban", "192.0.2.7"], ["unban", "192.0.2.7"], ["rules"]):
        assert run(*arguments) == 0
        assert "no state.directory" in capfd.readouterr().out
    shield.answers["GET /api/rules"] = 200, {"rules": [], "kept": False}
    run("rules")
    assert capfd.readouterr().out == "no rules: all is as the config has it\n"


def test_rules_that_are_tried_say_whom_they_would_have_refused(
    shield: Shield, capfd: pytest.CaptureFixture[str]
) -> None:
    tried = [
        {**RULE, "number": n, "kind": kind, "expires": 0.0, "dry_run": True} for n, kind in ((7, "ban"), (8, "limit"))
    ]
    shield.answers["GET /api/rules"] = 200, {"rules": tried, "kept": True}
    met = {"7": {"requests": 312, "visitors": 41, "known": 2}, "8": {"requests": 0, "visitors": 0, "known": 0}}
    shield.answers["GET /api/status"] = 200, {**STATUS, "rules_tried": met}
    assert run("rules") == 0
    shown = capfd.readouterr().out
    assert "      would have refused 312 requests of 41 visitors, 2 of them known\n" in shown
    assert "      would have limited nobody so far\n" in shown
    shield.answers["GET /api/status"] = 500, {"detail": "a bug"}
    assert run("rules") == 0
    assert "would have" not in capfd.readouterr().out
    with pytest.raises(SystemExit):
        run("challenge", "auto", "AS64500", "--dry-run")
    assert "leave out --dry-run" in capfd.readouterr().err


def test_what_refuses_somebody_who_is_pardoned_is_named(shield: Shield, capfd: pytest.CaptureFixture[str]) -> None:
    answer = shield.answers["DELETE /api/rules"][1]
    answer["changes"] = [{**CHANGE, "what": "pardoned", "rule": None, "subject": "192.0.2.7/32"}]
    answer["refusing"] = ["identity.deny_files: /etc/drop.txt"]
    assert run("unban", "192.0.2.7") == 0
    assert capfd.readouterr().out == (
        "192.0.2.7/32: 0 bans of Shield's own lifted\n"
        "Refused all the same by identity.deny_files: /etc/drop.txt. To let it in: shield allow 192.0.2.7/32\n"
    )


def test_changes_in_words() -> None:
    def said(kind: str, subject: str = "", value: str = "", expires: float = 0.0) -> dict[str, Any]:
        return {**RULE, "kind": kind, "subject": subject, "value": value, "expires": expires}

    def shown(**more: Any) -> str:
        return change({**CHANGE, "author": "", "note": "", **more}).partition(": ")[2]

    assert shown(rule=said("limit", "client", "20/400")) == "every client is limited to 20/400"
    assert shown(rule=said("limit", "192.0.2.7/32", "1/9")) == "192.0.2.7/32 is limited to 1/9"
    assert shown(rule=said("pressure", value="0.5")) == "the pressure is held at 0.5"
    assert shown(rule=said("challenge", "/feed")) == "nobody is challenged below /feed"
    assert shown(rule=said("challenge", "AS64500", "always")) == "AS64500 is always challenged"
    assert shown(rule={**said("ban", "a"), "dry_run": True}) == "dry run: a is banned"
    assert shown(rule=said("deny", "a"), before=said("allow", "a")) == "a is denied (before: a is allowed)"
    assert shown(what="ended", rule=None, before=said("dry_run", value="on")) == "dry run is on"
    assert shown(rule=said("dry_run", "bans", "off")) == "dry run of bans is off"
    assert shown(what="undone", of=3, rule=said("ban", "a")) == "change 3; 192.0.2.0/24: again a is banned"
    assert shown(what="reloaded", subject="") == ""
    assert shown(rule=said("ban", "a", expires=NOW + 400 * 86_400)).startswith("a is banned until 20")
    assert len(clock(NOW)) == 8
    assert (span(45), span(720), span(12_600)) == ("45 s", "12 min", "3.5 h")
    assert plain("a\x1b\u202eb") == "a??b"


def test_status_tells_of_files_and_crawlers() -> None:
    found = {"age": 86_400.0 * 3, "failed": False, "error": ""}
    said = {
        "databases": {
            "/asn.mmdb": {"of": "asn", "type": "GeoLite2-ASN", "built": 1.0, **found},
            "/c.mmdb": {"of": "country", "type": "", "built": 0.0, **found, "failed": True, "error": "is damaged"},
        },
        "lists": {
            "/drop.txt": {"of": "deny", "entries": 2, "spared": 1, "changed": 1.0, **found, "failed": True,
                          "error": 'line 3: "x" is no network'},
        },
        "crawlers": {
            "Googlebot": {"claims": 12, "confirmed": 3, "refuted": 8, "unanswered": 1, "put_off": 2, "looking": 0},
            "bingbot": dict.fromkeys(("claims", "confirmed", "refuted", "unanswered", "put_off", "looking"), 0),
        },
        "crawlers_answered": {"Googlebot": 1_700_000_000.0},
    }  # fmt: skip
    shown = "\n".join(status({**STATUS, **said}, ()))
    assert "AS by /asn.mmdb: GeoLite2-ASN, made 3 days ago\n" in shown
    assert "countries by /c.mmdb: none is in use; WHAT IS THERE NOW IS NOT USED: is damaged\n" in shown
    assert (
        "denied by /drop.txt: 2 networks, written 3 days ago; but for trusted proxies and this machine; "
        'WHAT IS THERE NOW IS NOT USED: line 3: "x" is no network\n'
    ) in shown
    assert (
        "crawler Googlebot: 12 claims; addresses confirmed 3, refuted 8, without an answer 1, put off 2, looked up "
        "now 0; DNS last answered at 2023-11-1"
    ) in shown
    assert (
        "crawler bingbot: 0 claims; addresses confirmed 0, refuted 0, looked up now 0; DNS was not asked yet" in shown
    )


KEY = {**RULE, "kind": "key", "subject": "billing", "value": f"20/400 {'ab' * 32}"}


def test_a_key_is_shown_when_it_is_made(shield: Shield, capfd: pytest.CaptureFixture[str]) -> None:
    made = {"change": {**CHANGE, "subject": "billing", "rule": KEY}, "key": "shk_secret", "header": "Shield-Key"}
    shield.answers["POST /api/rules"] = (201, {**made, "kept": False})
    assert run("key", "make", "billing", "--rate", "20/400") == 0
    added, key, field, kept = capfd.readouterr().out.splitlines()
    assert added.endswith("added: the key billing may use 20/400  by ann: scrapes")
    assert key == "The key, which cannot be shown again: shk_secret"
    assert field == "Programs send it in the field Shield-Key."
    assert kept == "This ends with Shield: there is no state.directory to keep it in."
    assert run("key", "make", "billing", "--json") == 0
    assert json.loads(capfd.readouterr().out)["key"] == "shk_secret"


def test_keys_are_listed_without_their_hashes(shield: Shield, capfd: pytest.CaptureFixture[str]) -> None:
    plain_one = {**KEY, "subject": "other", "value": "cd" * 32, "expires": NOW + 60}
    shield.answers["GET /api/rules"] = (200, {"rules": [RULE, KEY, plain_one], "kept": True})
    assert run("key", "list") == 0
    first, second = capfd.readouterr().out.splitlines()
    assert first == f"billing  may use 20/400, made {clock(NOW)}, holds until it is revoked  by ann: scrapes"
    assert (
        second == f"other  may use what a pass may, made {clock(NOW)}, holds until {clock(NOW + 60)}  by ann: scrapes"
    )
    assert shield.asked == [("GET", "/api/rules", None)]
    assert run("key", "list", "--json") == 0
    assert [rule["subject"] for rule in json.loads(capfd.readouterr().out)["rules"]] == ["billing", "other"]
    shield.answers["GET /api/rules"] = (200, {"rules": [RULE], "kept": True})
    assert run("key", "list") == 0
    assert capfd.readouterr().out == "no keys were made; those of the config are in identity.api_keys\n"
    shield.answers["GET /api/rules"] = (200, {"rules": [KEY], "kept": False, "not_kept": "the disk is full"})
    assert run("key", "list") == 0
    assert capfd.readouterr().out.endswith("This ends with Shield: the disk is full.\n")


@pytest.mark.parametrize("arguments", ["key", "key make", "key revoke", "key list billing"])
def test_wrong_usage_of_keys(arguments: str) -> None:
    with pytest.raises(SystemExit) as end:
        run(*arguments.split())
    assert end.value.code == 2
