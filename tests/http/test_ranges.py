"""Which ranges are passed on."""

from __future__ import annotations

import pytest

from shield.http.ranges import MOST, modest
from tests.harness import get, shielded


@pytest.mark.parametrize(
    "value",
    [
        "bytes=0-",
        "bytes=0-499",
        "bytes=-500",
        "bytes=0-0,-1",
        "bytes=500-600,601-999",
        "bytes=0-99, 50-149 , 100-199",
        "bytes=500-999,0-499",
        "lines=1-2,1-2,1-2,1-2,1-2",
        "nonsense",
        "bytes=" + ",".join(f"{at}-{at + 9}" for at in range(0, MOST * 100, 100)),
    ],
)
def test_what_players_and_readers_ask_for_is_passed_on(value: str) -> None:
    assert modest(value.encode())


@pytest.mark.parametrize(
    "value",
    [
        "bytes=0-,0-,0-,0-",
        "bytes=0-" + "".join(f",5-{at}" for at in range(1300)),
        "bytes=-1,-2,-3,-4",
        "bytes=10-,20-,30-,40-",
        "bytes=0-9,5-6,7-8,9-12",
        "bytes=,,,,",
        "bytes=1-2,x-y",
        "bytes=0-1,9999999999999999999-",
        "lines=" + ",".join(["1-2"] * (MOST + 1)),
        "bytes=" + ",".join(f"{at}-{at + 9}" for at in range(0, (MOST + 1) * 100, 100)),
    ],
)
def test_what_only_attackers_ask_for_is_not(value: str) -> None:
    assert not modest(value.encode())


@pytest.mark.parametrize("name", ["Range", "RANGE", "Request-Range"])
@pytest.mark.parametrize("more", [(), ("Expect: 100-continue",)], ids=["plain", "parsed"])
async def test_the_origin_sees_modest_ranges_only(name: str, more: tuple[str, ...]) -> None:
    killer = f"{name}: bytes=0-" + "".join(f",5-{at}" for at in range(300))
    async with shielded() as (shield, origin), await shield.client() as client:
        for number, fields in enumerate(
            [
                (f"{name}: bytes=0-99,200-299",),
                (killer,),
                (f"{name}: bytes=0-1", f"{name}: bytes=3-4"),
                (killer, killer),
            ]
        ):
            assert (await client.ask(get(f"/{number}", *fields, *more))).status == 200
        assert [request.get(name) for request in origin.requests] == ["bytes=0-99,200-299", None, None, None]
