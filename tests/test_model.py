"""The vocabulary: what belongs together is said once."""

from __future__ import annotations

from shield.model import DRY_RUN_TWIN, Action, Fault, Reason, Verdict


def test_a_reason_knows_its_action_and_is_found_by_its_word() -> None:
    assert Reason("client_rate") is Reason.CLIENT_RATE
    assert Reason.CLIENT_RATE.action is Action.LIMIT
    assert Reason.CLIENT_RATE.value == "client_rate"


def test_a_fault_knows_its_status_and_is_found_by_its_word() -> None:
    assert Fault("head_timeout") is Fault.HEAD_TIMEOUT
    assert (Fault.HEAD_TIMEOUT.value, Fault.HEAD_TIMEOUT.status) == ("head_timeout", 408)
    assert all(400 <= fault.status <= 508 for fault in Fault)


def test_every_action_that_is_no_dry_run_has_reasons() -> None:
    assert {reason.action for reason in Reason} == set(Action) - set(DRY_RUN_TWIN.values())


def test_a_verdict_has_the_action_of_its_reason() -> None:
    assert all(Verdict(reason).action is reason.action for reason in Reason)


def test_a_dry_run_reports_the_twin_of_what_refuses_and_the_rest_as_it_is() -> None:
    limited = Verdict(Reason.PASS_RATE, 7, (10.0, 200.0), 0.5)
    twin = limited.in_dry_run()
    assert (twin.action, twin.reason) == (Action.LIMIT_DRY_RUN, Reason.PASS_RATE)
    assert (twin.retry_after, twin.limit, twin.remaining) == (7, (10.0, 200.0), 0.5)
    assert limited.action is Action.LIMIT  # it is shared, and stays as it was
    assert Verdict(Reason.OK).in_dry_run().action is Action.FORWARD
