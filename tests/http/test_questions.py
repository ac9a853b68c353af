"""What other proxies ask, and what nginx is told and brings back."""

from __future__ import annotations

import pytest

from shield.http.head import Examiner, Head
from shield.http.plain_head import PlainHeads
from shield.http.questions import PROXIES, NoQuestionError, asked_about, proxy_of, said_of, verdict_said
from shield.http.settings import HttpSettings
from shield.model import Action, Reason, Tier, Verdict

NGINX, CADDY, TRAEFIK, ENVOY = PROXIES
HEADS = PlainHeads(Examiner(HttpSettings(), "Shield-Pass"))


def head(target: str, *fields: str, method: str = "GET", host: str = "shop.example") -> Head:
    text = "\r\n".join([f"{method} {target} HTTP/1.1", f"Host: {host}", *fields, "", ""]).encode("latin-1")
    return HEADS.read(text, text.find(b"\r\n")) or HEADS.examiner.examine(text, text.find(b"\r\n"))


@pytest.mark.parametrize(
    ("target", "proxy"),
    [
        ("/shield-gate/nginx", NGINX),
        ("/shield-gate/nginx?x", NGINX),
        ("/shield-gate/nginx/more", None),
        ("/shield-gate/caddy", CADDY),
        ("/shield-gate/traefik", TRAEFIK),
        ("/shield-gate/envoy", ENVOY),
        ("/shield-gate/envoy/shop?q=1", ENVOY),
        ("/shield-gate/envoys", None),
        ("/shield-gate/", None),
        ("/shop", None),
    ],
)
def test_each_proxy_asks_at_its_own_path(target: str, proxy: object) -> None:
    assert proxy_of(head(target)) is proxy


def test_the_request_is_written_anew_without_what_the_proxy_has_added() -> None:
    question = head(
        "/shield-gate/nginx",
        "X-Original-Method: POST",
        "X-Original-URI: /form?a=1",
        "X-Forwarded-For: 192.0.2.1",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Uri: /elsewhere",
        "X-Shield-Verdict: newcomer;wait=1",
        "Connection: close",
        "Content-Length: 0",
        "Cookie: a=1",
        "Hostess: kept",
        "Content-Type: application/json",
    )
    assert asked_about(NGINX, question) == (
        b"POST /form?a=1 HTTP/1.1\r\nHost: shop.example\r\n"
        b"Cookie: a=1\r\nHostess: kept\r\nContent-Type: application/json\r\n\r\n"
    )


def test_caddy_and_traefik_name_the_host_and_envoy_asks_with_the_request_itself() -> None:
    fields = ("X-Forwarded-Method: DELETE", "X-Forwarded-Uri: /a//b", "X-Forwarded-Host: shop.example:8443")
    for proxy in (CADDY, TRAEFIK):
        asked = asked_about(proxy, head(proxy.path, *fields, host="127.0.0.1:8080"))
        assert asked == b"DELETE /a//b HTTP/1.1\r\nHost: shop.example:8443\r\n\r\n"
    asked = asked_about(ENVOY, head("/shield-gate/envoy/a?b=/shield-gate/envoy", method="PATCH"))
    assert asked == b"PATCH /a?b=/shield-gate/envoy HTTP/1.1\r\nHost: shop.example\r\n\r\n"


@pytest.mark.parametrize(
    "question",
    [
        head("/shield-gate/nginx", "X-Original-URI: /"),
        head("/shield-gate/nginx", "X-Original-URI: /", "X-Original-Method: "),
        head("/shield-gate/nginx", "X-Original-URI: /", "X-Original-Method: GET", "x-original-uri: /admin"),
        head("/shield-gate/nginx", "X-Forwarded-Uri: /", "X-Forwarded-Method: GET", "X-Forwarded-Host: a"),
        head("/shield-gate/caddy", "X-Original-URI: /", "X-Original-Method: GET"),
        head("/shield-gate/traefik", "X-Forwarded-Uri: /", "X-Forwarded-Method: GET"),
        head("/shield-gate/envoy"),
    ],
)
def test_what_does_not_say_what_it_is_about_is_no_question(question: Head) -> None:
    """A field that stands twice may be the client's own: which of the two the proxy wrote cannot be told."""
    proxy = proxy_of(question)
    assert proxy is not None
    with pytest.raises(NoQuestionError):
        asked_about(proxy, question)


@pytest.mark.parametrize(
    "verdict",
    [
        Verdict(Reason.NEWCOMER, 3),
        Verdict(Reason.CLIENT_RATE, 2, (10.0, 200.0), 0.25),
        Verdict(Reason.ROUTE_RATE, 12, (1 / 12, 10), 1e-7),
        Verdict(Reason.CLIENT_BANNED, 60),
        Verdict(Reason.DENYLISTED),
    ],
    ids=lambda verdict: verdict.reason.value,
)
def test_nginx_brings_back_what_it_was_told(verdict: Verdict) -> None:
    for request_id in (b"", b"cafe-1"):
        found, tier, said_id = verdict_said(said_of(verdict, Tier.T3, request_id).decode())
        assert tier is Tier.T3
        assert (found.reason, found.action, found.retry_after) == (verdict.reason, verdict.action, verdict.retry_after)
        assert (found.limit, found.remaining, said_id) == (verdict.limit, verdict.remaining, request_id)


@pytest.mark.parametrize(
    "text",
    [
        *("", "newcomer", "newcomer;wait=1", "newcomer;tier=5;wait=1", "newcomer;tier=3;wait=-1"),
        *(f"{reason};tier=3;wait=0" for reason in ("ok", "allowlisted", "at_capacity", "nobody")),
        *(
            f"newcomer;tier=3;wait=1{rest}"
            for rest in (
                *(";id=a b", ";rate=0;burst=1;left=0", ";rate=nan;burst=1;left=0", ";rate=1;burst=-1;left=0"),
                *("\r\nX: y", "\u0661", "9" * 10_000),
            )
        ),
    ],
)
def test_what_else_comes_back_lets_nobody_in(text: str) -> None:
    with pytest.raises(NoQuestionError):
        verdict_said(text)


def test_every_verdict_that_refuses_can_be_told() -> None:
    refusing = {reason for reason in Reason if reason.action not in (Action.FORWARD, Action.QUEUE)}
    assert {verdict_said(said_of(Verdict(reason), 3, b"").decode())[0].reason for reason in refusing} == refusing
