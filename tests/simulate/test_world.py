"""Small scenes: that people, programs and attackers do what the document says, and that what they got is counted."""

from __future__ import annotations

from math import inf, isnan
from typing import Any

import pytest

from shield.config.settings import Config
from shield.model import Reason
from shield.policy.engine import Engine
from shield.simulate.result import Result
from shield.simulate.scene import SceneError, parse
from shield.simulate.world import run

CHEAP = """
[config.challenge]
least_hashes = 64
most_hashes = 4096
"""
PEOPLE = """
[populations.people]
kind = "people"
members = 50
rate = 5
"""


def play(text: str, seconds: float = 20, calm: float = 5, **more: Any) -> Result:
    return run(parse(f'title = "A test"\nseconds = {seconds}\ncalm = {calm}\n{text}'), **more)


def test_a_quiet_day() -> None:
    result = play(PEOPLE + "parts = 4")
    people = result.population("people")
    assert people.asked() == pytest.approx(20 * 5 * 5, rel=0.3)
    assert people.share == people.share_at_once == 1.0
    assert people.tries == people.forwarded >= people.asked() + people.asked(-5, 0)
    assert people.latency(0.5) == pytest.approx(0.018, rel=0.2)
    assert people.worst()[1] == 1.0
    assert people.longest_lockout == 0.0
    assert result.goodput(0, 19) == pytest.approx(people.served(0, 19) / 19, rel=0.05)
    answered = [at for at in result.upstream.times if at >= 0.0]
    assert result.goodput(0, 20) * 20 == len(answered), "to the last second"
    assert result.upstream.quantile(0.5) == pytest.approx(0.018, rel=0.2)
    assert result.first("attack_onset") == inf
    assert max(result.values("pressure")) == 0.0
    assert not people.refusals
    assert isnan(people.solving.quantile(0.5))


def test_the_same_seed_is_the_same_course_and_another_is_another() -> None:
    def tell(seed: int) -> Any:
        told = play(PEOPLE, seed=seed).as_json()
        return {**told, "wall_seconds": 0}

    assert tell(1) == tell(1)
    assert tell(1)["populations"]["people"]["asked_in"] != tell(2)["populations"]["people"]["asked_in"]


def test_a_member_of_the_past_is_known_and_one_with_a_pass_more_so() -> None:
    past = "past = { windows = 5, units = 50 }"
    tiers = {}
    for more in ("", past, past + '\npasses = "earned"', past + '\npasses = "shared"', 'passes = "forged"'):
        result = play(PEOPLE + "networks = 1\n" + more, seconds=5, calm=0)
        assert result.population("people").share == 1.0
        tiers[more] = {name for name, count in result.status["requests_by_tier"].items() if count}
    assert list(tiers.values()) == [{"T3"}, {"T1"}, {"T0"}, {"T0"}, {"T3"}]


def test_a_shared_pass_is_one_budget() -> None:
    text = """
    [populations.friends]
    kind = "programs"
    retries = 0
    members = 8
    networks = 1
    rate = 100
    past = { windows = 5 }
    passes = "shared"
    """
    friends = play(text, seconds=60, calm=0).population("friends")
    assert friends.refusals[Reason.PASS_RATE]
    assert 200 < friends.served() < 300 + 20 * 60


def test_people_solve_what_they_are_asked_and_are_served() -> None:
    result = play(CHEAP + 'mode = "always"\n' + PEOPLE + "hash_rate = 64\nparts = 2\n")
    people = result.population("people")
    assert people.share > 0.97
    assert people.share_at_once < 0.9
    assert people.solved == people.answers["accepted"] > 30
    assert people.challenged >= people.solved
    assert people.hashes >= 64 * people.solved
    assert people.solving.quantile(0.5) == pytest.approx(1.1, rel=0.2)  # 64 hashes at 64/s, and a round trip
    assert people.latency(0.99) > 1.0
    assert result.verify_hashes == 16 * people.solved


@pytest.mark.parametrize(
    ("answers", "expected"),
    [("wrong", "wrong"), ("almost", "wrong"), ("forged", "forged"), ("replayed", "spent")],
)
def test_bad_answers_are_refused(answers: str, expected: str) -> None:
    text = f"""
    [populations.cheats]
    kind = "attackers"
    members = 2
    rate = 2
    hash_rate = 1e6
    answers = "{answers}"
    """
    result = play(CHEAP + 'mode = "always"\n' + text)
    cheats = result.population("cheats")
    assert cheats.answers[expected] >= 1
    if answers == "replayed":
        assert cheats.solved == 1
    else:
        assert cheats.solved == 0
        assert cheats.share == 0.0
    if expected == "wrong":
        assert cheats.refusals[Reason.CLIENT_BANNED]
        assert result.first("ban") > -5


def test_one_solver_has_one_machine() -> None:
    text = """
    [populations.solver]
    kind = "attackers"
    members = 1000
    rate = 100
    hash_rate = 640
    one_solver = true
    pass_rate = 0.1
    """
    solver = play(CHEAP + 'mode = "always"\n' + text).population("solver")
    assert solver.solved == pytest.approx(10 * 25, rel=0.2)
    assert solver.forwarded > solver.solved


def test_who_is_told_to_come_back_does_and_gives_up_in_the_end() -> None:
    text = """
    [service]
    slots = 2
    time = 0.1
    [config.upstream]
    max_concurrency = 2
    [config.queue]
    calm_patience = 0.2
    [config.challenge]
    mode = "off"
    [populations.{kind}]
    kind = "{kind}"
    members = 500
    rate = 60
    """
    kinds = {kind: play(text.format(kind=kind), seconds=40).population(kind) for kind in ("programs", "attackers")}
    assert kinds["programs"].tries > 2 * kinds["programs"].asked()
    assert kinds["attackers"].tries < 1.2 * kinds["attackers"].asked() + 60 * 5
    for tally in kinds.values():
        assert 0.1 < tally.share < 0.6
        assert tally.refusals
        assert tally.worst()[1] < 0.6
        assert 1.0 < tally.longest_lockout <= 45.0


def test_who_gets_something_meanwhile_is_not_locked_out() -> None:
    text = """
    [service]
    changes = [{ at = 0, errors = 0.5 }]
    [populations.program]
    kind = "programs"
    members = 1
    rate = 5
    """
    program = play(text, seconds=60).population("program")
    assert program.share < 0.97  # each had four tries, 2 s apart
    assert 0.0 < program.longest_lockout < 3.0


def test_what_comes_later_than_the_patience_is_of_no_use() -> None:
    text = "[service]\nslots = 1\ntime = 0.2\nvariation = 0.0\n" + PEOPLE.replace(
        "rate = 5", "rate = 1\npatience = 0.1"
    )
    people = play(text).population("people")
    assert people.forwarded > 10
    assert people.share == 0.0


def test_who_leaves_has_asked_in_vain_and_frees_the_slot() -> None:
    text = "[service]\nslots = 1\ntime = 0.5\nvariation = 0.0\n" + PEOPLE.replace("rate = 5", "rate = 1\nleaves = 0.4")
    result = play(text)
    people = result.population("people")
    assert people.forwarded > 10
    assert people.served() == 0
    assert result.status["in_flight"] <= 1
    staying = play(text.replace("leaves = 0.4", "leaves = 10"))
    assert staying.population("people").share == 1.0


def test_an_answer_that_is_an_error_is_asked_for_again() -> None:
    failing = play("[service]\nerrors = 0.5\n" + PEOPLE + "retries = 1").population("people")
    assert failing.share == pytest.approx(0.75, abs=0.15)
    poor = '[service.routes."/missing"]\ntime = 0.01\nerrors = 1.0\nstatus = 404\n'
    missing = play(poor + PEOPLE + 'paths = { "/missing" = 1.0 }').population("people")
    assert missing.share == 1.0  # it is the answer that there is


def test_who_keeps_cookies_earns_a_pass_by_coming_again() -> None:
    result = play("[config.history]\nwindow = 10\n" + PEOPLE.replace("50", "5"), seconds=60)
    assert result.status["requests_by_tier"]["T1"] > 0
    assert result.status["live_passes"]["in_use"] == 5


def test_shield_itself_has_one_core() -> None:
    text = "[costs]\nrefuse = 0.02\nforward = 0.02\nbacklog = 1.7\n" + PEOPLE.replace("rate = 5", "rate = {}")
    busy = play(text.format(20))
    assert busy.population("people").lost == 0
    assert busy.population("people").share == 1.0
    assert 0.2 < max(busy.values("cpu")) <= 1.0
    flooded = play(text.format(200))
    assert flooded.population("people").lost > 100
    assert 0.15 < max(flooded.values("lag")) < 0.8, "what lies before it, beyond a second and a half"
    assert max(flooded.values("pressure")) > 0.05


def test_the_config_can_be_changed_replaced_and_wrong() -> None:
    text = "[config.limits]\nclient = { rate = 1, burst = 1 }\ncalm_cost = 2.0\n" + PEOPLE.replace("50", "1")
    strict = play(text)
    assert strict.population("people").refusals[Reason.CLIENT_RATE]
    for config in ({"limits": {"client": {"rate": 100, "burst": 100}}}, {"dry_run": True}):
        assert play(text, config=config).population("people").share == 1.0
    assert play(text, config=Config()).population("people").share == 1.0
    with pytest.raises(SceneError, match="unknown key; did you mean limits"):
        play(text, config={"limit": {}})


def test_a_part_can_be_replaced_and_progress_is_told() -> None:
    seen: list[Engine] = []
    told: list[tuple[float, str]] = []
    play(PEOPLE, prepare=seen.append, progress=lambda at, doing: told.append((at, doing)))
    assert isinstance(seen[0], Engine)
    assert [at for at, _ in told] == [float(at) for at in range(-5, 21)]


def test_a_flood_is_noticed_and_told() -> None:
    from shield.simulate.report import text as report

    flood = """
    [service]
    slots = 4
    [config.upstream]
    max_concurrency = 4
    [populations.people]
    kind = "people"
    members = 100
    rate = 4
    past = { windows = 10 }
    [populations.flood]
    kind = "attackers"
    members = 2000
    rate = 500
    from = 0
    until = 20
    """
    result = play(flood, seconds=120, calm=10)
    said = report(result)
    for words in (
        "flood begin: 500/s, 2,000 of them",
        "ONSET by",
        "pressure 0.9",
        "flood end",
        "nobody is challenged any more" if result.value("pressure", 119) <= 0.05 else "pressure",
        "people",
        "flood refused: ",
    ):
        assert words in said
    assert result.population("people").share > 0.97
    assert result.population("flood").share < 0.1
