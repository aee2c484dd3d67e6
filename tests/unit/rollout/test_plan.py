"""The plan: how a rollout goes on, what holds it, what rolls it back, and who may start it again."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from orchestrator_operator.rollout.model import (
    CancelInFlight,
    ClearFlag,
    DropAnnotation,
    Plan,
    Release,
    RememberTotals,
    SetFlag,
    Tell,
    Unreadable,
)
from orchestrator_operator.rollout.ownership import judged_attempt, owner
from orchestrator_operator.rollout.planning.onward import goes_on
from orchestrator_operator.rollout.planning.plan import RULES
from orchestrator_operator.rollout.planning.situation import ABORT, APPROVE, PROMOTE
from orchestrator_operator.rollout.statistics.evidence import Cell
from orchestrator_operator.specs.rollout_status import Phase

from orchestrator import flag
from orchestrator.errors import Problem
from orchestrator.flag import CLEAR, FlagSnapshot, FlagValues, parse_instant
from orchestrator.router import Owner
from tests.support.rollouts import FAILING, GOOD, HOUR, START, World, cells, cohorts, spec

MINUTE = timedelta(minutes=1)
DOWN = Unreadable("PrometheusUnreachable", "no answer")


def of(planned: Plan, kind: type[Any]) -> list[Any]:
    return [action for action in planned.actions if isinstance(action, kind)]


def told(planned: Plan) -> list[tuple[str, str]]:
    return [(tell.decision.action, tell.decision.reason) for tell in of(planned, Tell)]


def passing(percent: str) -> Any:
    v2 = (600, 5600) if percent == "5" else (6000, 33_000)
    return cohorts((Cell(Decimal(percent), 19_000, 100_000, *v2),))


def state(world: World) -> tuple[str, str]:
    return world.status.phase.value, world.status.reason


# -- the way up


def test_a_new_rollout_starts_at_the_first_stage() -> None:
    world = World()
    planned = world.step()
    assert state(world) == ("Progressing", "StageRunning")
    assert (world.status.stage, world.status.percent, world.status.attempt) == ("one", "5", 1)
    assert world.status.attempt_id == "3f2a9c1e-1"
    assert of(planned, SetFlag)[0].values == FlagValues("true", "5", "2026-03-01T13:00:00Z")
    assert told(planned) == [("Start", "StageRunning")]


def test_the_intent_is_remembered_before_the_flag_is_written_with_the_version_that_was_seen() -> None:
    planned = World().decide()
    intent = planned.status.flag_intent
    assert intent is not None
    assert (intent.percent, intent.seen_version, intent.confirmed) == ("5", "1", False)
    assert of(planned, SetFlag)[0].version == "1"


def test_a_flag_that_says_what_was_intended_is_confirmed_and_left_alone() -> None:
    world = World()
    planned = world.settle()
    assert planned.status.flag_intent is not None
    assert planned.status.flag_intent.confirmed
    assert planned.actions == ()


def test_a_stage_does_not_end_before_its_time_even_with_every_pass() -> None:
    world = World().running()
    world.cohorts = passing("5")
    world.step(HOUR - timedelta(seconds=1))
    assert world.status.stage == "one"
    assert world.status.next == START + HOUR


def test_a_stage_whose_time_is_over_and_whose_criteria_pass_is_promoted() -> None:
    world = World().running()
    world.cohorts = passing("5")
    planned = world.step(HOUR)
    assert told(planned) == [("Promote", "StagePassed")]
    assert (world.status.stage, world.status.percent) == ("two", "25")
    assert world.flag.values.percent == "25"


def test_the_whole_way_to_the_end_leaves_the_flag_true_alone() -> None:
    world = World().running()
    for percent in ("5", "25", "100"):
        world.cohorts = passing(percent)
        world.settle(HOUR)
    assert state(world) == ("Completed", "StagePassed")
    assert world.flag.values == FlagValues("true")
    assert world.status.percent == "100"


def test_a_completed_rollout_does_nothing_more() -> None:
    world = World().running()
    for percent in ("5", "25", "100"):
        world.cohorts = passing(percent)
        world.settle(HOUR)
    assert world.step(100 * HOUR).actions == ()


def test_every_step_of_the_way_is_among_the_decisions() -> None:
    world = World().running()
    for percent in ("5", "25", "100"):
        world.cohorts = passing(percent)
        world.settle(HOUR)
    assert [decision.action for decision in world.status.decisions] == ["Start", "Promote", "Promote", "Complete"]


def test_only_the_last_20_decisions_are_kept() -> None:
    world = World().running()
    for i in range(30):
        assert world.spec is not None
        world.spec = world.spec.model_copy(update={"paused": i % 2 == 0})
        world.step(MINUTE / 10)
    assert len(world.status.decisions) == 20
    assert world.status.decisions[-1].action == "Resume"


# -- a stage that ends without a Pass


def test_without_a_pass_a_stage_is_extended_and_says_why() -> None:
    world = World().running()
    world.cohorts = cohorts(GOOD)
    world.step(HOUR)
    assert state(world) == ("Progressing", "Extended")
    assert "not yet shown that V2 is better" in world.status.message
    assert world.status.next == START + HOUR + 30 * MINUTE


def test_a_pass_during_the_extension_promotes() -> None:
    world = World().running()
    world.cohorts = cohorts(GOOD)
    world.step(HOUR)
    world.cohorts = passing("5")
    world.step(MINUTE)
    assert world.status.stage == "two"


def underpowered(what: str) -> World:
    world = World(spec(analysis={"underpowered": what})).running()
    world.cohorts = cohorts(GOOD)
    world.settle(HOUR)
    world.settle(30 * MINUTE)
    return world


def test_underpowered_promote_promotes_and_says_why() -> None:
    world = underpowered("Promote")
    assert world.status.stage == "two"
    decision = world.status.decisions[-1]
    assert (decision.action, decision.reason) == ("Promote", "Underpowered")
    assert "no Pass: failures: not yet shown" in decision.message
    assert "underpowered: Promote" in decision.message


def test_underpowered_hold_holds_until_a_pass_appears() -> None:
    world = underpowered("Hold")
    assert state(world) == ("Held", "Underpowered")
    world.cohorts = passing("5")
    world.step(MINUTE)
    assert world.status.stage == "two"


def test_underpowered_approve_waits_for_a_person() -> None:
    world = underpowered("Approve")
    assert state(world) == ("AwaitingApproval", "Underpowered")
    assert f"{APPROVE}=one" in world.status.message
    world.step(100 * HOUR)
    assert world.status.phase is Phase.AWAITING_APPROVAL


@pytest.mark.parametrize("word", ["one", "true"])
def test_an_approval_promotes_and_is_taken_off(word: str) -> None:
    world = underpowered("Approve")
    world.extra = {"annotations": {APPROVE: word}}
    planned = world.step()
    assert world.status.stage == "two"
    assert told(planned) == [("Promote", "Approved")]
    assert of(planned, DropAnnotation) == [DropAnnotation(APPROVE)]
    assert world.status.decisions[-1].actor == f"person (annotation {APPROVE})"


def test_an_approval_of_another_stage_does_nothing_and_is_taken_off() -> None:
    world = underpowered("Approve")
    world.extra = {"annotations": {APPROVE: "two"}}
    planned = world.step()
    assert world.status.phase is Phase.AWAITING_APPROVAL
    assert of(planned, DropAnnotation) == [DropAnnotation(APPROVE)]


def test_an_approval_does_not_shorten_a_stage() -> None:
    world = World().running()
    world.extra = {"annotations": {APPROVE: "true"}}
    planned = world.step()
    assert world.status.stage == "one"
    assert of(planned, DropAnnotation) == [DropAnnotation(APPROVE)]


def test_too_few_executions_count_as_no_pass() -> None:
    world = World(spec(analysis={"minimumExecutions": 10_000})).running()
    world.cohorts = passing("5")  # V2 has had 6200
    world.step(HOUR)
    assert state(world) == ("Progressing", "Extended")
    assert "6200 executions on V2" in world.status.message
    assert "10000 are needed" in world.status.message


def test_the_last_stage_needs_no_executions_on_v1() -> None:
    world = World().running()
    for percent in ("5", "25"):
        world.cohorts = passing(percent)
        world.settle(HOUR)
    world.cohorts = cohorts(cells("100", v2=(5, 500)))
    world.step(HOUR)
    assert world.status.phase is Phase.COMPLETED


# -- what rolls back


def test_a_conviction_clears_the_flag_at_once_and_names_the_criterion_with_its_counts() -> None:
    world = World().running()
    world.cohorts = cohorts(FAILING)
    planned = world.step(MINUTE)
    assert state(world) == ("RollingBack", "CriterionFailed")
    assert of(planned, ClearFlag) == [ClearFlag()]
    assert world.flag.values == CLEAR
    assert world.status.failed is not None
    assert world.status.failed.criterion == "failures"
    assert world.status.failed.counts == "V2 60 of 100 (60 %), V1 20 of 1900 (1.05 %)"
    assert "needed 200" in world.status.failed.evidence


@pytest.mark.parametrize("change", [{"paused": True}, {}])
def test_a_conviction_rolls_back_whatever_else_is_going_on(change: dict[str, Any]) -> None:
    world = World(spec(**change))
    world.spec = spec()
    world.running()
    world.spec = spec(**change)
    world.cohorts = cohorts(FAILING)
    world.extra = {"guardrails": {}}
    world.step(MINUTE)
    assert world.status.phase is Phase.ROLLING_BACK


def test_a_rollback_waits_until_nothing_is_in_flight_on_v2() -> None:
    world = World().running()
    world.cohorts, world.extra = cohorts(FAILING), {"in_flight": 3}
    world.settle(MINUTE)
    world.step(MINUTE)
    assert state(world) == ("RollingBack", "CriterionFailed")
    world.extra = {"in_flight": 0}
    planned = world.step(MINUTE)
    assert state(world) == ("RolledBack", "CriterionFailed")
    assert told(planned) == [("RolledBack", "CriterionFailed")]


def test_a_store_that_does_not_answer_does_not_end_a_rollback() -> None:
    world = World().running()
    world.cohorts, world.extra = cohorts(FAILING), {"in_flight": None}
    for _ in range(3):
        world.step(MINUTE)
    assert world.status.phase is Phase.ROLLING_BACK


def test_a_rollback_is_not_over_before_the_flag_was_read_back_clear() -> None:
    world = World().running()
    world.cohorts = cohorts(FAILING)
    world.step(MINUTE)
    stubborn = replace(world.flag, values=FlagValues("true", "5"))  # our clear did not arrive
    world.flag = stubborn
    planned = world.decide()
    assert planned.status.phase is Phase.ROLLING_BACK
    assert of(planned, ClearFlag) == [ClearFlag()]
    assert planned.status.flag_cleared_at is None


def test_executions_in_flight_are_cancelled_where_the_spec_asks_for_it_and_only_after_the_flag_is_clear() -> None:
    world = World(spec(rollback={"inFlight": "Cancel"})).running()
    world.cohorts, world.extra = cohorts(FAILING), {"in_flight": 3}
    assert of(world.step(MINUTE), CancelInFlight) == []
    world.step()
    assert of(world.step(), CancelInFlight) == [CancelInFlight()]


def test_executions_in_flight_are_left_alone_by_default() -> None:
    world = World().running()
    world.cohorts, world.extra = cohorts(FAILING), {"in_flight": 3}
    assert not any(of(world.step(MINUTE), CancelInFlight) for _ in range(4))


def test_an_abort_beats_everything_and_is_taken_off() -> None:
    world = World().running()
    world.cohorts, world.extra = cohorts(FAILING), {"annotations": {ABORT: "shop is down"}}
    planned = world.step(MINUTE)
    assert state(world) == ("RollingBack", "Aborted")
    assert "shop is down" in world.status.message
    assert of(planned, DropAnnotation) == [DropAnnotation(ABORT)]


def test_a_completed_rollout_can_be_aborted_too() -> None:
    world = World().running()
    for percent in ("5", "25", "100"):
        world.cohorts = passing(percent)
        world.settle(HOUR)
    world.extra = {"annotations": {ABORT: "true"}}
    world.settle(MINUTE)
    assert world.flag.values == CLEAR


# -- holding


def test_blindness_holds_and_is_no_evidence() -> None:
    world = World().running()
    world.cohorts = cohorts(DOWN)
    planned = world.step(MINUTE)
    assert state(world) == ("Held", "Blind")
    assert of(planned, ClearFlag) == []
    assert world.flag.values.percent == "5"
    assert [item.status for item in world.status.conditions if item.type == "Blind"] == ["True"]


def test_sight_that_returns_goes_on_where_it_was() -> None:
    world = World().running()
    world.cohorts = cohorts(DOWN)
    world.step(MINUTE)
    world.cohorts = cohorts(GOOD)
    planned = world.step(5 * MINUTE)
    assert state(world) == ("Progressing", "StageRunning")
    assert told(planned) == [("Resume", "StageRunning")]
    assert world.status.blind_spent == 300
    assert world.status.blind == "5m of 10m"


def test_a_blind_stage_is_not_promoted_when_its_time_is_over() -> None:
    world = World(spec(analysis={"underpowered": "Promote"})).running()
    world.cohorts = cohorts(DOWN)
    world.step(3 * HOUR)
    assert (world.status.phase, world.status.stage) == (Phase.HELD, "one")


def test_blindness_beyond_the_budget_holds_by_default() -> None:
    world = World().running()
    world.cohorts = cohorts(DOWN)
    world.step(MINUTE)
    world.step(11 * MINUTE)
    assert state(world) == ("Held", "BlindBudgetSpent")


def test_blindness_beyond_the_budget_rolls_back_where_asked_and_says_that_it_is_no_evidence() -> None:
    world = World(spec(blind={"budget": "10m", "then": "Rollback"})).running()
    world.cohorts = cohorts(DOWN)
    world.step(MINUTE)
    world.step(10 * MINUTE)
    assert world.status.phase is Phase.HELD
    world.step(MINUTE)
    assert state(world) == ("RollingBack", "BlindBudgetSpent")
    assert "no evidence against V2" in world.status.message


def test_spells_of_blindness_add_up_within_a_stage() -> None:
    world = World(spec(blind={"budget": "10m", "then": "Rollback"})).running()
    for _ in range(2):
        world.cohorts = cohorts(DOWN)
        world.step(MINUTE)
        world.step(3 * MINUTE)
        world.cohorts = cohorts(GOOD)
        world.step(MINUTE)
    assert state(world) == ("Progressing", "StageRunning")  # 8 minutes
    world.cohorts = cohorts(DOWN)
    world.step(MINUTE)
    world.step(3 * MINUTE)
    assert state(world) == ("RollingBack", "BlindBudgetSpent")


def test_a_pause_stops_promotion() -> None:
    world = World().running()
    world.spec = spec(paused=True)
    world.cohorts = passing("5")
    world.step(2 * HOUR)
    assert (world.status.phase, world.status.stage) == (Phase.PAUSED, "one")
    world.spec = spec()
    world.step(MINUTE)
    assert world.status.stage == "two"


GUARDED: dict[str, Any] = {
    "criteria": [
        {"name": "failures", "type": "comparison", "preset": "failures"},
        {"name": "stalled", "type": "guardrail", "query": "q", "max": 2, "for": "10m"},
    ]
}


def test_a_broken_guardrail_holds_and_recovers() -> None:
    world = World(spec(**GUARDED))
    world.extra = {"guardrails": {"stalled": 0.0}}
    world.running()
    world.extra = {"guardrails": {"stalled": 3.0}}
    world.step(MINUTE)
    assert world.status.phase is Phase.PROGRESSING
    world.step(10 * MINUTE)
    assert state(world) == ("Held", "GuardrailBroken")
    world.extra = {"guardrails": {"stalled": 1.0}}
    world.step(MINUTE)
    assert world.status.phase is Phase.PROGRESSING


def test_a_broken_guardrail_rolls_back_where_asked_and_says_that_this_is_outside_the_guarantee() -> None:
    document = {**GUARDED, "criteria": [GUARDED["criteria"][0], {**GUARDED["criteria"][1], "onBreach": "Rollback"}]}
    world = World(spec(**document))
    world.extra = {"guardrails": {"stalled": 0.0}}
    world.running()
    world.extra = {"guardrails": {"stalled": 3.0}}
    world.step(MINUTE)
    world.step(10 * MINUTE)
    assert state(world) == ("RollingBack", "GuardrailBroken")
    assert "outside the guarantee" in world.status.message


def test_a_guardrail_that_is_broken_beforehand_keeps_a_rollout_from_starting() -> None:
    document = {**GUARDED, "criteria": [GUARDED["criteria"][0], {**GUARDED["criteria"][1], "for": 0}]}
    world = World(spec(**document))
    world.extra = {"guardrails": {"stalled": 3.0}}
    world.step()
    assert state(world) == ("Pending", "GuardrailBroken")


# -- before the start


def test_nothing_moves_before_the_criteria_can_be_read() -> None:
    world = World()
    world.cohorts = {}
    planned = world.step()
    assert state(world) == ("Pending", "WaitingForMetrics")
    assert of(planned, SetFlag) == []
    assert world.status.attempt_id == "3f2a9c1e-1"  # so that the operator can export its counters
    world.cohorts = cohorts(cells())
    world.step()
    assert world.status.phase is Phase.PROGRESSING


def test_a_flag_that_is_set_already_is_not_taken_over() -> None:
    world = World()
    world.flag = FlagSnapshot(FlagValues("true", "10"), "4", {flag.ENABLED: "kubectl-edit"})
    planned = world.step()
    assert state(world) == ("Pending", "FlagConflict")
    assert "kubectl-edit" in world.status.message
    assert of(planned, SetFlag) == of(planned, ClearFlag) == []


def test_a_paused_rollout_does_not_start() -> None:
    world = World(spec(paused=True))
    world.step()
    assert state(world) == ("Pending", "Paused")


def test_a_missing_secret_is_named_by_its_field() -> None:
    world = World()
    world.flag = FlagSnapshot(exists=False)
    world.step()
    assert state(world) == ("Pending", "SecretMissing")
    valid = next(item for item in world.status.conditions if item.type == "Valid")
    assert (valid.status, valid.reason) == ("False", "SecretMissing")
    assert valid.message.startswith("spec.flag.secret: ")


def test_a_flag_that_an_older_rollout_owns_is_not_touched() -> None:
    world = World()
    world.extra = {"rival": "shop/older"}
    planned = world.step()
    assert state(world) == ("Pending", "Conflict")
    assert "shop/older" in world.status.message
    assert of(planned, SetFlag) == []


def test_a_wrong_spec_is_refused_with_its_paths() -> None:
    world = World()
    world.spec = None
    world.extra = {"problems": (Problem("spec.stages[1].percent", "does not ascend"),)}
    planned = world.step()
    assert state(world) == ("Pending", "InvalidSpec")
    assert told(planned) == [("Refuse", "InvalidSpec")]
    valid = next(item for item in world.status.conditions if item.type == "Valid")
    assert valid.message == "spec.stages[1].percent: does not ascend"


def test_a_spec_that_becomes_wrong_holds_and_its_flag_is_not_renewed() -> None:
    world = World().running()
    world.spec = None
    world.extra = {"problems": (Problem("spec.stages", "at least one stage is needed"),)}
    planned = world.step(50 * MINUTE)
    assert state(world) == ("Held", "InvalidSpec")
    assert of(planned, SetFlag) == []


# -- the flag in other hands


def test_the_expiry_is_renewed_when_less_than_half_of_it_is_left() -> None:
    world = World().running()
    assert of(world.step(30 * MINUTE), SetFlag) == []
    planned = world.step(timedelta(seconds=1))
    assert of(planned, SetFlag)[0].values == FlagValues("true", "5", "2026-03-01T13:30:01Z")
    assert told(planned) == []


def test_the_expiry_is_renewed_while_a_rollout_is_held() -> None:
    world = World().running()
    world.cohorts = cohorts(DOWN)
    assert of(world.step(40 * MINUTE), SetFlag)


def test_the_controller_wakes_in_time_to_renew() -> None:
    world = World().running()
    planned = world.step()
    assert planned.wake_at is not None
    assert planned.wake_at <= START + 30 * MINUTE


def test_without_a_deadman_there_is_no_expiry() -> None:
    world = World(spec(deadman=0)).running()
    assert world.flag.values == FlagValues("true", "5")
    assert world.step(100 * MINUTE).actions == () or world.flag.values.expires is None


def test_after_a_long_absence_the_controller_renews_what_has_expired() -> None:
    world = World().running()
    world.cohorts = cohorts(GOOD)
    world.step(59 * MINUTE)
    world.step(0.9 * HOUR)
    assert world.flag.values.expires is not None
    assert parse_instant(world.flag.values.expires) > world.now


@pytest.mark.parametrize(
    "left",
    [CLEAR, FlagValues(None, "5", None), FlagValues("false", "5", "2026-03-01T13:00:00Z"), FlagValues("true", "0")],
)
def test_a_flag_that_a_person_turns_off_rolls_back_and_is_never_set_again(left: FlagValues) -> None:
    world = World().running()
    world.write(left)
    world.step(MINUTE)
    assert state(world) == ("RollingBack", "FlagClearedByHand")
    for _ in range(5):
        planned = world.step(10 * HOUR)
        assert of(planned, SetFlag) == []
    assert world.status.phase is Phase.ROLLED_BACK
    assert world.flag.values == CLEAR


def test_a_secret_that_is_deleted_is_a_flag_cleared_by_hand() -> None:
    world = World().running()
    world.flag = FlagSnapshot(exists=False)
    world.step(MINUTE)
    assert state(world) == ("RollingBack", "FlagClearedByHand")


def test_a_completed_rollout_notices_a_flag_cleared_by_hand() -> None:
    world = World().running()
    for percent in ("5", "25", "100"):
        world.cohorts = passing(percent)
        world.settle(HOUR)
    world.write(CLEAR)
    world.step(MINUTE)
    assert state(world) == ("RollingBack", "FlagClearedByHand")


def test_after_a_crash_between_intent_and_write_the_flag_is_written() -> None:
    world = World()
    world.status = world.decide().status  # remembered, and then the lights went out
    planned = world.step(MINUTE)
    assert world.status.phase is Phase.PROGRESSING
    assert of(planned, SetFlag)
    assert world.flag.values.percent == "5"


def test_after_a_crash_a_flag_that_was_cleared_meanwhile_counts_as_cleared_by_hand() -> None:
    world = World()
    planned = world.decide()
    world.status = planned.status
    world.write(of(planned, SetFlag)[0].values)  # written; the lights went out before it was confirmed
    world.write(CLEAR)  # and a person cleared it
    world.step(MINUTE)
    assert state(world) == ("RollingBack", "FlagClearedByHand")


def test_after_a_crash_between_write_and_confirmation_the_rollout_just_goes_on() -> None:
    world = World()
    planned = world.decide()
    world.status = planned.status
    world.write(of(planned, SetFlag)[0].values)
    after = world.step(timedelta(seconds=1))
    assert after.actions == ()
    assert world.status.flag_intent is not None
    assert world.status.flag_intent.confirmed


def test_after_a_crash_during_a_promotion_the_promotion_is_finished() -> None:
    world = World().running()
    world.cohorts = passing("5")
    world.now += HOUR
    world.status = world.decide().status
    world.step(MINUTE)
    assert (world.status.stage, world.flag.values.percent) == ("two", "25")


@pytest.mark.parametrize("theirs", ["50", "2.5", "fifty", None])
def test_a_share_that_a_person_edits_is_set_back_and_said(theirs: str | None) -> None:
    world = World().running()
    ours = world.flag.values
    world.write(replace(ours, percent=theirs))
    planned = world.step(MINUTE)
    assert world.flag.values.percent == "5"
    assert told(planned) == [("SetPercent", "FlagEdited")]
    conflict = next(item for item in world.status.conditions if item.type == "FlagConflict")
    assert (conflict.status, conflict.reason) == ("True", "FlagEdited")


def rolled_back() -> World:
    world = World().running()
    world.cohorts = passing("5")
    world.settle(HOUR)
    world.cohorts = cohorts(FAILING)
    for _ in range(4):
        world.step(MINUTE)
    assert world.status.phase is Phase.ROLLED_BACK
    return world


def test_a_key_that_reappears_after_a_rollback_is_a_conflict_with_a_name_and_is_left_alone() -> None:
    world = rolled_back()
    world.flag = FlagSnapshot(FlagValues("true", "50"), "99", {flag.ENABLED: "argocd"})
    planned = world.step(MINUTE)
    conflict = next(item for item in world.status.conditions if item.type == "FlagConflict")
    assert (conflict.status, conflict.reason) == ("True", "FlagReappeared")
    assert "argocd" in conflict.message
    assert planned.actions == ()
    assert owner(world.status) is Owner.ROLLED_BACK


# -- starting again


def test_a_rolled_back_rollout_does_not_start_again_by_itself() -> None:
    world = rolled_back()
    world.cohorts = passing("5")
    world.step(1000 * HOUR)
    assert world.status.phase is Phase.ROLLED_BACK


def test_a_higher_attempt_waits_for_the_cooldown() -> None:
    world = rolled_back()
    world.spec = spec(attempt=2)
    world.step(HOUR)
    assert state(world) == ("RolledBack", "CriterionFailed")
    assert world.status.next is not None
    world.step(HOUR)
    assert state(world) == ("Pending", "Rearmed")


def test_a_higher_attempt_starts_one_stage_below_the_failed_one_with_an_id_of_its_own() -> None:
    world = rolled_back()
    assert world.status.stage == "two"
    world.spec, world.cohorts = spec(attempt=2), cohorts(cells())
    world.settle(3 * HOUR)
    assert (world.status.phase, world.status.stage) == (Phase.PROGRESSING, "one")
    assert (world.status.attempt, world.status.attempt_id) == (2, "3f2a9c1e-2")
    assert (world.status.failed, world.status.flag_cleared_at) == (None, None)


def test_an_attempt_that_was_raised_before_the_rollback_does_not_start_again_after_it() -> None:
    world = World().running()
    world.spec, world.cohorts = spec(attempt=2), cohorts(FAILING)
    for _ in range(5):
        world.step(HOUR)
    assert state(world) == ("RolledBack", "CriterionFailed")
    world.spec = spec(attempt=3)
    world.step(HOUR)
    assert state(world) == ("Pending", "Rearmed")


def ignored(world: World) -> tuple[str, str] | None:
    """What the condition AttemptIgnored says."""
    found = next((item for item in world.status.conditions if item.type == "AttemptIgnored"), None)
    return found and (found.status, found.message)


def test_an_attempt_that_is_raised_while_a_stage_runs_does_nothing_and_a_condition_says_so() -> None:
    world = World().running()
    assert ignored(world) is None
    world.spec = spec(attempt=2)
    world.step(MINUTE)
    assert (world.status.phase, world.status.attempt) == (Phase.PROGRESSING, 1)
    said = ignored(world)
    assert said is not None
    assert said[0] == "True"
    assert "spec.attempt: 2 does nothing while it is Progressing: to begin anew, abort it" in said[1]
    world.spec = spec(attempt=1)
    world.step(MINUTE)
    assert ignored(world) == ("False", "spec.attempt says nothing new")


def test_an_attempt_that_a_rollback_used_up_is_told_with_the_next_number() -> None:
    world = World().running()
    world.spec = spec(attempt=2)
    world.says(ABORT)
    for _ in range(3):
        world.step(HOUR)
    assert world.status.phase is Phase.ROLLED_BACK
    said = ignored(world)
    assert said is not None
    assert "spec.attempt: 2 was raised before the rollback, which ended it: raise it to 3" in said[1]
    world.spec = spec(attempt=3)
    world.settle(HOUR)
    assert world.status.attempt_id == "3f2a9c1e-3"
    assert ignored(world) == ("False", "spec.attempt says nothing new")


def test_a_usual_rollback_and_the_attempt_after_it_leave_no_such_condition() -> None:
    world = rolled_back()
    world.spec, world.cohorts = spec(attempt=2), cohorts(cells())
    world.settle(3 * HOUR)
    assert world.status.attempt == 2
    assert ignored(world) is None


# -- what the runbook says about a rollout that is held


def reset() -> World:
    """Held, for the counters are lower than they were."""
    world = World().running()
    world.cohorts = cohorts(GOOD)
    world.step(MINUTE)
    world.cohorts = cohorts(Unreadable("CounterReset", "failures went down"))
    world.step(MINUTE)
    assert state(world) == ("Held", "CounterReset")
    return world


def test_no_restart_of_the_evidence_and_no_higher_attempt_cures_a_counter_that_was_reset() -> None:
    world = reset()
    world.spec = spec(attempt=2)
    kept = [of(world.step(HOUR), RememberTotals) for _ in range(48)]
    assert state(world) == ("Held", "CounterReset")
    assert (any(kept), world.status.attempt) == (False, 1)


def test_a_counter_that_was_reset_is_cured_by_an_abort_and_an_attempt_after_it() -> None:
    world = reset()
    world.says(ABORT)
    for _ in range(3):
        world.step(HOUR)
    world.spec, world.cohorts = spec(attempt=2), cohorts(cells())  # it counts under an id of its own, from zero
    world.settle(HOUR)
    assert (state(world), world.status.attempt_id) == (("Progressing", "StageRunning"), "3f2a9c1e-2")


def test_a_counter_that_comes_back_whole_needs_no_cure() -> None:
    world = reset()
    world.cohorts = cohorts(GOOD)
    world.step(MINUTE)
    assert state(world) == ("Progressing", "StageRunning")


def test_an_underpowered_stage_is_not_promoted_without_force() -> None:
    world = underpowered("Hold")
    world.says(PROMOTE, "one")
    assert (state(world), world.status.stage) == (("Held", "Underpowered"), "one")
    world.says(PROMOTE, "force:one")
    assert (state(world), world.status.stage) == (("Progressing", "Forced"), "two")


def test_an_underpowered_stage_goes_on_when_it_is_given_more_time() -> None:
    world = underpowered("Hold")
    world.spec = spec(analysis={"underpowered": "Hold", "extend": "5h"})
    world.step(MINUTE)
    assert state(world) == ("Progressing", "Extended")
    world.cohorts = passing("5")
    world.step(MINUTE)
    assert world.status.stage == "two"


def test_a_rearmed_rollout_does_not_start_on_a_flag_that_reappeared() -> None:
    world = rolled_back()
    world.spec, world.cohorts = spec(attempt=2), cohorts(cells())
    world.write(FlagValues("true", "50"))
    world.settle(3 * HOUR)
    assert state(world) == ("Pending", "FlagConflict")
    assert owner(world.status) is Owner.ROLLED_BACK


# -- deletion


def test_deletion_clears_the_flag_before_the_resource_goes() -> None:
    world = World().running()
    world.extra = {"deleting": True, "in_flight": 5}
    assert of(world.step(), Release) == []
    assert world.flag.values == CLEAR
    assert of(world.step(), Release) == [Release()]


def test_deletion_of_a_completed_rollout_clears_the_flag_too() -> None:
    world = World().running()
    for percent in ("5", "25", "100"):
        world.cohorts = passing(percent)
        world.settle(HOUR)
    world.extra = {"deleting": True}
    world.step()
    assert world.flag.values == CLEAR


def test_deletion_with_keep_leaves_the_flag_without_an_expiry() -> None:
    world = World(spec(deletionPolicy="Keep")).running()
    world.extra = {"deleting": True}
    assert of(world.step(), Release) == []
    assert world.flag.values == FlagValues("true", "5")
    assert of(world.step(), Release) == [Release()]


def test_deletion_of_a_rollout_that_never_started_leaves_a_stranger_s_flag_alone() -> None:
    world = World()
    world.write(FlagValues("true", "10"))
    world.step()
    world.extra = {"deleting": True}
    planned = world.step()
    assert of(planned, Release) == [Release()]
    assert world.flag.values == FlagValues("true", "10")


def test_an_abort_of_a_rollout_that_never_started_leaves_a_stranger_s_flag_alone() -> None:
    world = World()
    world.write(FlagValues("true", "10"))
    world.step()
    world.extra = {"annotations": {ABORT: "true"}}
    world.settle()
    assert world.flag.values == FlagValues("true", "10")


def test_deletion_after_a_rollback_takes_reappeared_keys_along() -> None:
    world = rolled_back()
    world.write(FlagValues("true"))
    world.extra = {"deleting": True}
    world.step()
    assert world.flag.values == CLEAR
    assert of(world.step(), Release) == [Release()]


# -- restarts of the evidence


def test_the_totals_are_kept_when_a_restart_begins() -> None:
    world = World(spec(analysis={"restart": "20m"})).running()
    world.cohorts = cohorts(GOOD)
    assert of(world.step(19 * MINUTE), RememberTotals) == []
    kept = of(world.step(MINUTE), RememberTotals)
    assert [item.restart.index for item in kept] == [1]
    assert kept[0].restart.cohorts["failures", timedelta(minutes=1)] == GOOD


def test_restarts_that_were_missed_are_kept_late() -> None:
    world = World(spec(analysis={"restart": "20m"})).running()
    world.cohorts = cohorts(GOOD)
    kept = of(world.step(50 * MINUTE), RememberTotals)
    assert [item.restart.index for item in kept] == [1, 2]


def test_no_totals_are_kept_while_blind() -> None:
    world = World(spec(analysis={"restart": "20m"})).running()
    world.cohorts = cohorts(DOWN)
    assert of(world.step(30 * MINUTE), RememberTotals) == []


# -- the chain itself, and what the router makes of a phase


def test_the_last_rule_always_answers() -> None:
    assert RULES[-1] is goes_on


@pytest.mark.parametrize(
    ("phase", "expected"),
    [
        (Phase.PENDING, Owner.ACTIVE),
        (Phase.PROGRESSING, Owner.ACTIVE),
        (Phase.PAUSED, Owner.ACTIVE),
        (Phase.HELD, Owner.ACTIVE),
        (Phase.AWAITING_APPROVAL, Owner.ACTIVE),
        (Phase.COMPLETED, Owner.COMPLETED),
        (Phase.ROLLING_BACK, Owner.ROLLED_BACK),
        (Phase.ROLLED_BACK, Owner.ROLLED_BACK),
    ],
)
def test_each_phase_has_a_meaning_for_the_router(phase: Phase, expected: Owner) -> None:
    assert owner(World().status.model_copy(update={"phase": phase})) is expected


def test_executions_are_counted_under_the_attempt_only_while_a_stage_runs() -> None:
    world = World().running()
    assert judged_attempt(world.status) == "3f2a9c1e-1"
    world.extra = {"annotations": {ABORT: "true"}}
    world.step()
    assert judged_attempt(world.status) == ""
