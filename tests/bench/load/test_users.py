"""Users click when they like, and know when they were refused."""

from __future__ import annotations

import time

from bench.common import guard
from bench.load import users
from bench.origins import small_origin
from bench.suites import experience
from tests.bench.serving import capacity, listening


class TestUsers:
    def test_users_share_networks_and_addresses_as_people_do(self) -> None:
        crowd = users.crowd(20)
        addresses = [address for address, _, _ in crowd]
        assert len(set(crowd)) == 20
        assert len(set(addresses)) == 18  # two pairs behind one address, with different programs
        networks = [address.rpartition(".")[0] for address in addresses]
        assert networks.count("127.2.0") == 10
        assert all(address.startswith("127.2.") for address in addresses)

    async def test_a_user_loads_pages_and_keeps_cookies(self) -> None:
        now = time.monotonic()
        person = users.Person("127.2.0.1", users.AGENTS[0], "en", [now, now + 0.05], parts=7)
        async with capacity() as (site, service):
            result = await users.run(site, [person])
        assert [row["good"] for row in result["samples"]] == [True] * 16
        assert service.arrived == {"user": 16}
        assert service.taken == 0
        assert result["cookies"] == [["session"]]
        assert all(0 < row["latency"] < 5 for row in result["samples"])
        assert experience.figures(result["samples"])["pages"] == 1.0

    async def test_a_refused_user_has_failed_and_a_challenge_is_seen(self) -> None:
        body = b'{"challenge":{"token":"x"}}'
        answer = small_origin.render(body, b"application/problem+json").replace(b"200 OK", b"503 No", 1)
        person = users.Person("127.2.0.1", users.AGENTS[0], "en", [time.monotonic()])
        async with listening(lambda: small_origin.Origin(answer)) as port:
            result = await users.run(guard.Target("127.0.0.1", port), [person])
        (row,) = result["samples"]  # without the page nobody asks for its parts
        assert (row["good"], row["status"], row["challenge"]) == (False, 503, True)
