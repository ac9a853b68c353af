"""Forward-confirmed reverse DNS."""

from __future__ import annotations

import asyncio

from shield.upstream.crawlers import MAX_CHECKS, Counts, Crawlers

DOMAINS = ("crawl.example",)


class Dns:
    """A name server as two dicts; an address in neither gets no answer."""

    def __init__(self, reverse: dict[str, list[str]], forward: dict[str, list[str]]) -> None:
        self.reverse = reverse
        self.forward = forward
        self.hold = asyncio.Event()
        self.hold.set()

    async def names(self, address: str) -> list[str]:
        await self.hold.wait()
        if address not in self.reverse:
            raise OSError("no answer")
        return self.reverse[address]

    async def ask(self, name: str) -> tuple[list[str], float]:
        if name not in self.forward:
            raise OSError("no such name")
        return self.forward[name], 60.0


async def verdicts(dns: Dns, *addresses: str) -> dict[str, bool]:
    told: dict[str, bool] = {}
    crawlers = Crawlers(dns, told.__setitem__)
    for address in addresses:
        crawlers.check(address, DOMAINS)
    while crawlers._checks:
        await asyncio.sleep(0)
    return told


async def test_a_name_in_the_domain_that_leads_back_is_believed() -> None:
    dns = Dns({"192.0.2.1": ["bot-1.crawl.example"]}, {"bot-1.crawl.example": ["192.0.2.1"]})
    assert await verdicts(dns, "192.0.2.1") == {"192.0.2.1": True}


async def test_ipv6_is_compared_by_value() -> None:
    dns = Dns({"2001:db8::1": ["six.crawl.example"]}, {"six.crawl.example": ["2001:db8:0:0::1"]})
    assert await verdicts(dns, "2001:db8::1") == {"2001:db8::1": True}


async def test_a_name_that_only_ends_like_the_domain_is_not_in_it() -> None:
    dns = Dns({"192.0.2.1": ["evilcrawl.example"]}, {"evilcrawl.example": ["192.0.2.1"]})
    assert await verdicts(dns, "192.0.2.1") == {"192.0.2.1": False}


async def test_a_forged_reverse_name_does_not_lead_back() -> None:
    dns = Dns({"192.0.2.1": ["bot-1.crawl.example"]}, {"bot-1.crawl.example": ["198.51.100.7"]})
    assert await verdicts(dns, "192.0.2.1") == {"192.0.2.1": False}


async def test_no_answer_is_neither_true_nor_false() -> None:
    assert await verdicts(Dns({}, {}), "192.0.2.1") == {}


async def test_a_flood_of_false_crawlers_is_no_flood_of_queries() -> None:
    dns = Dns({f"192.0.2.{i}": [] for i in range(100)}, {})
    dns.hold.clear()
    told: dict[str, bool] = {}
    crawlers = Crawlers(dns, told.__setitem__)
    for i in range(100):
        crawlers.check(f"192.0.2.{i}", DOMAINS)
        crawlers.check(f"192.0.2.{i}", DOMAINS)
    assert len(crawlers._checks) == MAX_CHECKS
    await crawlers.close()
    assert told == {}


async def test_what_becomes_of_those_who_claim_to_be_one_is_counted() -> None:
    names = {"192.0.2.1": ["bot-1.crawl.example"], "192.0.2.2": ["evil.example"]}
    crawlers = Crawlers(Dns(names, {"bot-1.crawl.example": ["192.0.2.1"]}), lambda address, ok: None, lambda: 7.0)
    for last in (1, 2, 3):  # of the third DNS says nothing
        crawlers.claimed("Bot")
        crawlers.check(f"192.0.2.{last}", DOMAINS, "Bot")
    assert crawlers.of("Bot").looking == 3
    while crawlers._checks:
        await asyncio.sleep(0)
    assert crawlers.of("Bot") == Counts(claims=3, confirmed=1, refuted=1, unanswered=1, answered=7.0)
    assert crawlers.of("Other") == Counts()
