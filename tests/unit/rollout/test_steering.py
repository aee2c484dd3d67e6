"""What people, calendars and alarms do to a rollout: words, approvals, windows, holdback, edited specs, late starts."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from orchestrator_operator.rollout.model import Alarm, ClearFlag, DropAnnotation, Plan, Power, SetFlag, Tell, Unreadable
from orchestrator_operator.rollout.planning.situation import ABORT, APPROVE, PAUSE, PROMOTE, RESUME
from orchestrator_operator.rollout.statistics.evidence import Cell
from orchestrator_operator.specs.rollout_status import Phase, Word

from orchestrator.flag import CLEAR, FlagValues
from tests.support.rollouts import DOCUMENT, FAILING, GOOD, HOUR, START, World, cells, cohorts, spec

MINUTE = timedelta(minutes=1)
DOWN = Unreadable("PrometheusUnreachable", "no answer")
CLOSED = {"timeZone": "America/Sao_Paulo", "promote": ["Mon-Thu 09:00-17:00"]}  # START is a Sunday
MISMATCH = Alarm("SampleRatioMismatch", "V2 got 9 % where 5 % was asked for")


def passing(percent: str) -> Any:
    v2 = (600, 5600) if percent == "5" else (6000, 33_000)
    return cohorts((Cell(Decimal(percent), 19_000, 100_000, *v2),))


def stages(*rows: tuple[str, float], **last: Any) -> dict[str, Any]:
    found = [{"name": name, "percent": percent, "duration": "1h"} for name, percent in rows]
    return {"stages": [*found[:-1], {**found[-1], **last}]}


def approval(name: str) -> dict[str, Any]:
    return {"stages": [{**stage, "approval": stage["name"] == name} for stage in DOCUMENT["stages"]]}


def told(planned: Plan) -> list[tuple[str, str]]:
    return [(a.decision.action, a.decision.reason) for a in planned.actions if isinstance(a, Tell)]


def kinds(planned: Plan) -> set[type]:
    return {type(action) for action in planned.actions}


def state(world: World) -> tuple[str, str]:
    return world.status.phase.value, world.status.reason


def condition(world: World, kind: str) -> tuple[str, str]:
    found = next(item for item in world.status.conditions if item.type == kind)
    return found.status, found.reason


def heard(world: World, verb: str) -> Word:
    return next(word for word in world.status.heard if word.verb == verb)


def overdue(**changes: Any) -> World:
    """The first stage has every Pass, and its time is over."""
    world = World(spec(**changes)).running()
    world.cohorts = passing("5")
    world.settle(40 * MINUTE)  # the flag is renewed on the way
    world.now += 20 * MINUTE
    return world


# -- windows


def test_a_promotion_waits_for_the_window_and_says_until_when() -> None:
    world = overdue(windows=CLOSED)
    planned = world.step()
    assert state(world) == ("Progressing", "WindowClosed")
    assert told(planned) == [("Wait", "WindowClosed")]
    assert "window closed until Mon 2026-03-02 09:00 America/Sao_Paulo" in world.status.message
    assert world.status.window == "closed until Mon 2026-03-02 09:00 America/Sao_Paulo"
    assert world.status.next == START + timedelta(days=1)  # 12:00 in UTC


def test_the_promotion_follows_when_the_window_opens() -> None:
    world = overdue(windows=CLOSED)
    world.step()
    world.now = START + timedelta(days=1)
    world.step()
    assert (world.status.stage, world.status.window) == ("two", "open")


def test_a_completion_waits_for_the_window_too() -> None:
    world = World(spec(**stages(("all", 100)), windows={"freeze": ["2026-03-01"]})).running()
    world.cohorts = cohorts(cells("100", v2=(5, 500)))
    world.step(HOUR)
    assert state(world) == ("Progressing", "WindowClosed")


def test_a_rollback_waits_for_no_window() -> None:
    world = World(spec(windows={**CLOSED, "freeze": ["2026-03-01/2026-12-31"]})).running()
    world.cohorts = cohorts(FAILING)
    world.step(MINUTE)
    assert state(world) == ("RollingBack", "CriterionFailed")
    assert world.flag.values == CLEAR


def test_an_approval_is_remembered_until_the_window_opens() -> None:
    world = overdue(windows=CLOSED, **approval("two"))
    world.step()
    assert world.status.phase is Phase.AWAITING_APPROVAL
    world.says(APPROVE, "two")
    assert state(world) == ("Progressing", "WindowClosed")
    world.now = START + timedelta(days=1)
    world.step()
    assert (world.status.stage, world.status.approved) == ("two", "")
    assert world.status.decisions[-1].actor == f"person (annotation {APPROVE})"


@pytest.mark.parametrize("windows", [CLOSED, {"freeze": ["2026-01-01/2026-12-31"]}], ids=["hours", "a freeze"])
def test_a_start_waits_for_no_window_however_late_it_comes(windows: dict[str, Any]) -> None:
    world = World(spec(windows=windows))
    world.cohorts = {}
    world.step()
    world.step(MINUTE)
    assert state(world) == ("Pending", "WaitingForMetrics")
    world.cohorts = cohorts(cells())
    assert world.running().status.phase is Phase.PROGRESSING


@pytest.mark.parametrize("keeps", [{"paused": True}, approval("one")], ids=["a pause", "an approval"])
def test_a_person_keeps_a_start_out_of_a_freeze(keeps: dict[str, Any]) -> None:
    world = World(spec(windows={"freeze": ["2026-01-01/2026-12-31"]}, **keeps))
    for _ in range(3):
        world.step(HOUR)
    assert (world.status.phase, world.flag.values) == (Phase.PENDING, CLEAR)


# -- approval into a stage


def test_a_stage_that_wants_approval_is_entered_by_a_person_alone() -> None:
    world = overdue(**approval("two"))
    world.step(100 * HOUR)
    assert state(world) == ("AwaitingApproval", "ApprovalNeeded")
    assert (world.status.percent, world.status.awaits) == ("5", "two")
    assert f"{APPROVE}=two" in world.status.message


@pytest.mark.parametrize("word", ["two", "true"])
def test_an_approval_lets_it_in(word: str) -> None:
    world = overdue(**approval("two"))
    world.step()
    planned = world.says(APPROVE, word)
    assert (world.status.stage, world.flag.values.percent) == ("two", "25")
    assert told(planned) == [("Promote", "Approved")]
    assert heard(world, "approve").done


def test_an_approval_by_name_may_be_given_in_advance() -> None:
    world = World(spec(**approval("two"))).running()
    planned = world.says(APPROVE, "two")
    assert told(planned) == [("Approve", "Approved")]
    assert world.status.stage == "one"
    world.cohorts = passing("5")
    world.step(HOUR)
    assert world.status.stage == "two"


@pytest.mark.parametrize(
    ("found", "reason"),
    [({"sticky": 0.5}, "StickyTraffic"), ({}, "Underpowered")],
    ids=["a routing key", "no Pass"],
)
def test_an_approval_in_advance_answers_nothing_that_is_only_seen_later(found: dict[str, Any], reason: str) -> None:
    world = World(spec(analysis={"underpowered": "Approve", "extend": "0s"}, **approval("two"))).running()
    world.says(APPROVE, "two")
    world.found = found
    world.cohorts = passing("5") if found else cohorts(GOOD)
    world.settle(HOUR)
    assert state(world) == ("AwaitingApproval", reason)
    world.says(APPROVE, "two")
    assert world.status.stage == "two"


def test_what_only_may_come_to_need_an_approval_cannot_be_approved_in_advance() -> None:
    world = World(spec(analysis={"underpowered": "Approve", "extend": "0s"})).running()
    planned = world.says(APPROVE, "one")
    assert told(planned) == [("Refuse", "ApproveRefused")]
    world.cohorts = cohorts(GOOD)
    world.settle(HOUR)
    assert state(world) == ("AwaitingApproval", "Underpowered")


def test_an_approval_that_waits_for_its_window_does_not_answer_what_comes_up_meanwhile() -> None:
    world = overdue(windows=CLOSED, **approval("two"))
    world.step()
    world.says(APPROVE, "two")
    world.found = {"sticky": 0.5}
    world.step(MINUTE)
    assert state(world) == ("AwaitingApproval", "StickyTraffic")
    assert told(world.says(APPROVE, "two")) == [("Wait", "WindowClosed"), ("Approve", "Approved")]


def test_an_approval_in_advance_is_forgotten_when_the_spec_asks_for_another_one() -> None:
    world = World(spec(**approval("two"))).running()
    world.says(APPROVE, "two")
    one, two, three = DOCUMENT["stages"]
    world.spec, world.cohorts = spec(stages=[one, {**two, "name": "again", "approval": True}, three]), passing("5")
    world.step(HOUR)
    assert world.status.phase is Phase.AWAITING_APPROVAL


def test_an_approval_of_the_stage_that_runs_is_none_of_the_next_one() -> None:
    world = World(spec()).running()
    world.says(APPROVE, "one")
    world.spec, world.cohorts = spec(**approval("two")), passing("5")
    world.step(HOUR)
    assert world.status.phase is Phase.AWAITING_APPROVAL


def test_an_approval_that_says_true_counts_only_while_one_is_awaited() -> None:
    world = World(spec(**approval("two"))).running()
    planned = world.says(APPROVE)
    assert told(planned) == [("Refuse", "ApproveRefused")]
    assert "name the stage" in heard(world, "approve").answer


def test_a_first_stage_that_wants_approval_does_not_start_without() -> None:
    world = World(spec(**approval("one")))
    planned = world.step()
    assert (state(world), SetFlag in kinds(planned)) == (("Pending", "ApprovalNeeded"), False)
    world.says(APPROVE, "one")
    assert state(world) == ("Progressing", "StageRunning")
    assert world.status.decisions[-1].actor == f"person (annotation {APPROVE})"


def test_an_approval_of_a_stage_is_no_approval_of_the_next_one() -> None:
    world = overdue(analysis={"underpowered": "Approve", "extend": "0s"}, **approval("two"))
    world.step()
    world.extra["annotations"] = {APPROVE: "two"}  # and the lights go out before it is taken off
    world.step()
    assert world.status.stage == "two"
    world.step(HOUR)
    assert (world.status.phase, world.status.stage) == (Phase.AWAITING_APPROVAL, "two")


# -- pause and resume


def test_a_pause_holds_until_it_is_resumed() -> None:
    world = World().running()
    planned = world.says(PAUSE, "release freeze")
    assert state(world) == ("Paused", "Paused")
    assert planned.actions[0] == DropAnnotation(PAUSE)
    assert "release freeze" in world.status.message
    world.cohorts = passing("5")
    world.step(100 * HOUR)
    assert (world.status.phase, world.status.stage) == (Phase.PAUSED, "one")
    world.says(RESUME)
    assert world.status.stage == "two"


def test_a_pause_does_not_stop_a_rollback() -> None:
    world = World().running()
    world.says(PAUSE)
    world.cohorts = cohorts(FAILING)
    world.step(MINUTE)
    assert world.status.phase is Phase.ROLLING_BACK


def test_a_pause_before_the_start_keeps_it_from_starting() -> None:
    world = World()
    world.says(PAUSE)
    assert state(world) == ("Pending", "Paused")
    world.says(RESUME)
    assert world.status.phase is Phase.PROGRESSING


def test_one_that_came_back_from_a_backup_begins_when_a_person_says_so() -> None:
    world = World()
    world.status = world.status.model_copy(update={"restored": True})
    planned = world.step()
    assert state(world) == ("Pending", "Restored")
    assert SetFlag not in kinds(planned)
    world.step(MINUTE)
    assert state(world) == ("Pending", "Restored")
    world.says(RESUME)
    assert world.status.phase is Phase.PROGRESSING
    assert heard(world, "resume").done


def test_a_word_that_came_back_with_it_lets_nothing_begin() -> None:
    world = World()
    world.status = world.status.model_copy(update={"restored": True})
    world.says(RESUME)
    assert state(world) == ("Pending", "Restored")
    assert (heard(world, "resume").done, "say it again" in heard(world, "resume").answer) == (False, True)


def test_a_pause_in_the_spec_is_not_lifted_by_an_annotation() -> None:
    world = World().running()
    world.spec = spec(paused=True)
    world.says(RESUME)
    assert world.status.phase is Phase.PAUSED
    assert (heard(world, "resume").done, "spec.paused" in heard(world, "resume").answer) == (False, True)


def test_pause_beats_resume() -> None:
    world = World().running()
    world.extra["annotations"] = {PAUSE: "true", RESUME: "true"}
    world.step()
    assert world.status.phase is Phase.PAUSED
    assert not heard(world, "resume").done


@pytest.mark.parametrize("verb", [PAUSE, RESUME])
def test_pause_and_resume_twice_are_as_once(verb: str) -> None:
    world = World().running()
    world.says(verb)
    first = world.status.phase
    world.step()
    planned = world.says(verb)
    assert (world.status.phase, told(planned)) == (first, [])
    assert heard(world, verb.partition("/")[2]).done


def test_a_completed_rollout_refuses_a_pause() -> None:
    world = World(spec(**stages(("all", 100)))).running()
    world.cohorts = cohorts(cells("100", v2=(5, 500)))
    world.step(HOUR)
    world.says(PAUSE)
    assert (world.status.phase, heard(world, "pause").done) == (Phase.COMPLETED, False)


# -- promote


@pytest.mark.parametrize("word", ["one", "true"])
def test_promote_ends_the_wait_of_a_stage_that_has_every_pass(word: str) -> None:
    world = World().running()
    world.cohorts = passing("5")
    planned = world.says(PROMOTE, word)
    assert (world.status.stage, world.flag.values.percent) == ("two", "25")
    assert told(planned) == [("Promote", "Promoted")]
    assert heard(world, "promote").done


def test_a_word_to_promote_promotes_once_however_long_it_stands() -> None:
    world = World(spec(**stages(("one", 5), ("two", 25), ("three", 50), ("four", 100)))).running()
    both = (Cell(Decimal(5), 19_000, 100_000, 600, 5600), Cell(Decimal(25), 19_000, 100_000, 6000, 33_000))
    world.cohorts, world.extra["annotations"] = cohorts(both), {PROMOTE: "true"}
    for _ in range(3):
        world.step()
    assert world.status.stage == "two"
    del world.extra["annotations"]
    world.step()
    world.says(PROMOTE)
    assert world.status.stage == "three"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"cohorts": cohorts(GOOD)}, "not yet shown"),
        ({"cohorts": cohorts(DOWN)}, "no answer"),
        ({"found": {"alarms": (MISMATCH,)}}, "V2 got 9 %"),
        ({"spec": spec(windows=CLOSED)}, "window closed until"),
        ({"spec": spec(paused=True)}, "resume it first"),
    ],
    ids=["no Pass", "blind", "alarm", "window", "paused"],
)
def test_promote_skips_nothing_but_the_wait(change: dict[str, Any], why: str) -> None:
    world = World().running()
    world.cohorts = passing("5")
    for name, value in change.items():
        setattr(world, name, value)
    planned = world.says(PROMOTE, "one")
    assert world.status.stage == "one"
    assert ("Refuse", "PromoteRefused") in told(planned)
    assert why in heard(world, "promote").answer


@pytest.mark.parametrize("word", ["force", "force:one"])
def test_a_forced_promotion_says_what_it_did_without(word: str) -> None:
    world = World().running()
    world.cohorts, world.found = cohorts(GOOD), {"alarms": (MISMATCH,)}
    planned = world.says(PROMOTE, word)
    assert world.status.stage == "two"
    assert told(planned) == [("Promote", "Forced")]
    assert "without: V2 got 9 %" in world.status.decisions[-1].message
    assert "not yet shown that V2 is better" in world.status.decisions[-1].message


def test_force_opens_no_window_and_lifts_no_pause() -> None:
    for document in (spec(windows=CLOSED), spec(paused=True)):
        world = World().running()
        world.spec = document
        world.says(PROMOTE, "force:one")
        assert world.status.stage == "one"


def test_force_does_not_stop_a_rollback() -> None:
    world = World().running()
    world.cohorts = cohorts(FAILING)
    world.says(PROMOTE, "force:one")
    assert world.status.phase is Phase.ROLLING_BACK


def test_a_word_that_names_another_stage_promotes_nothing() -> None:
    world = World().running()
    world.cohorts = passing("5")
    world.says(PROMOTE, "two")
    assert world.status.stage == "one"
    assert "does not name the stage that runs: one" in heard(world, "promote").answer


def test_promote_into_a_stage_that_wants_approval_is_the_approval() -> None:
    world = World(spec(**approval("two"))).running()
    world.cohorts = passing("5")
    world.says(PROMOTE, "one")
    assert world.status.stage == "two"


# -- alarms, sticky traffic, power


@pytest.mark.parametrize("reason", ["SampleRatioMismatch", "SharedDegradation", "NotCalibrated"])
def test_an_alarm_holds_and_never_rolls_back(reason: str) -> None:
    world = overdue(blind={"budget": "1m", "then": "Rollback"})
    world.found = {"alarms": (Alarm(reason, "something is wrong"),)}
    planned = world.step()
    assert state(world) == ("Held", reason)
    assert (world.flag.values.percent, ClearFlag in kinds(planned)) == ("5", False)
    assert [action.warning for action in planned.actions if isinstance(action, Tell)] == [True]
    world.step(1000 * HOUR)
    assert state(world) == ("Held", reason)
    world.found = {}
    world.step()
    assert world.status.stage == "two"


def test_a_conviction_beats_an_alarm_and_names_it() -> None:
    world = World().running()
    world.cohorts, world.found = cohorts(FAILING), {"alarms": (MISMATCH,)}
    world.step(MINUTE)
    assert state(world) == ("RollingBack", "CriterionFailed")
    assert "at the same time: V2 got 9 %" in world.status.message


def test_nothing_starts_into_an_alarm() -> None:
    world = World()
    world.found = {"alarms": (Alarm("SharedDegradation", "V1 fails more than before"),)}
    world.step()
    assert state(world) == ("Pending", "SharedDegradation")


def test_an_a_a_comparison_that_fires_is_a_condition() -> None:
    world = World().running()
    world.extra["calibration"] = cells("5", v1=(1, 9), v2=(0, 1))
    world.step()
    assert condition(world, "Calibrated") == ("True", "Calibrated")
    world.found = {"alarms": (Alarm("NotCalibrated", "V1 differs from itself"),)}
    world.step()
    assert condition(world, "Calibrated") == ("False", "NotCalibrated")


def test_a_calibration_that_was_not_read_is_unknown() -> None:
    world = World().running()
    assert condition(world, "Calibrated") == ("Unknown", "TooEarly")
    world.extra["calibration"] = DOWN
    world.step()
    assert condition(world, "Calibrated") == ("Unknown", "PrometheusUnreachable")


@pytest.mark.parametrize(("share", "stage"), [(0.19, "two"), (0.21, "one"), (None, "two")])
def test_sticky_traffic_above_a_fifth_waits_for_approval(share: float | None, stage: str) -> None:
    world = overdue()
    world.found = {"sticky": share}
    world.step()
    assert world.status.stage == stage
    if stage == "one":
        assert state(world) == ("AwaitingApproval", "StickyTraffic")
        assert "21% of the executions were routed by a key" in world.status.message
        world.says(APPROVE)
        assert world.status.stage == "two"


def test_what_a_stage_cannot_show_is_said_once_and_is_a_condition() -> None:
    world = World().running()
    assert condition(world, "Powered") == ("Unknown", "TooEarly")
    world.found = {"power": Power(4.0, "at 50 executions/h, 5 % for 1h shows only about 4")}
    assert told(world.step()) == [("Warn", "NotPowered")]
    assert condition(world, "Powered") == ("False", "NotPowered")
    assert told(world.step(MINUTE)) == []
    world.found = {"power": Power(1.8, "enough")}
    world.step()
    assert condition(world, "Powered") == ("True", "Powered")


# -- holdback


def test_a_holdback_keeps_its_share_on_v1_and_is_told() -> None:
    world = World(spec(**stages(("all", 100), holdback=1))).running()
    assert (world.status.percent, world.flag.values.percent) == ("99", "99")
    assert world.status.message == "all: 99 % of new executions go to V2"


def test_completion_ends_the_holdback() -> None:
    world = World(spec(**stages(("all", 100), holdback=1))).running()
    world.cohorts = cohorts((Cell(Decimal(99), 1000, 9000, 60_000, 930_000),))
    world.found = {"arms": (10_000, 990_000)}
    world.says(PROMOTE, "force:all")
    assert world.status.phase is Phase.COMPLETED
    assert (world.flag.values, world.status.percent) == (FlagValues("true"), "100")
    assert "the 1 % that were held back too" in world.status.message


def test_with_a_holdback_v1_needs_its_executions_too() -> None:
    world = World(spec(**stages(("all", 100), holdback=1))).running()
    world.found = {"arms": (3, 990_000), "criteria": ()}
    world.step(HOUR)
    assert state(world) == ("Progressing", "Extended")
    assert "3 on V1" in world.status.message


# -- a spec that is edited in mid-ramp


def second(**changes: Any) -> World:
    """At 25 %, in the stage `two`."""
    world = overdue(**changes)
    world.settle()
    assert (world.status.stage, world.status.percent) == ("two", "25")
    world.cohorts = cohorts(cells("25"))
    return world


@pytest.mark.parametrize(
    "rows",
    [
        (("zero", 1), ("one", 5), ("one-and-a-half", 10), ("two", 25), ("three", 100)),
        (("two", 25), ("three", 100)),
        (("uno", 5), ("two", 25), ("tre", 100)),
    ],
    ids=["inserted", "removed", "renamed"],
)
def test_the_stage_that_runs_is_known_by_its_name(rows: tuple[tuple[str, float], ...]) -> None:
    world = second()
    world.spec = spec(**stages(*rows))
    planned = world.step(MINUTE)
    assert (world.status.stage, world.status.percent, told(planned)) == ("two", "25", [])
    assert world.spec.stages[world.status.stage_index].name == "two"
    assert world.status.next == START + 2 * HOUR


def test_a_new_name_for_the_running_stage_keeps_its_time_and_is_told() -> None:
    world = second()
    world.spec = spec(**stages(("one", 5), ("zwei", 25), ("three", 100)))
    planned = world.step(MINUTE)
    assert told(planned) == [("SetPercent", "SpecEdited")]
    assert (world.status.stage, world.status.percent) == ("zwei", "25")
    assert world.status.next == START + 2 * HOUR
    assert told(world.step(MINUTE)) == []


def test_a_running_stage_that_is_gone_is_replaced_by_the_one_below_and_begins_anew() -> None:
    world = second()
    world.spec = spec(**stages(("one", 5), ("more", 50), ("three", 100)))
    planned = world.step(MINUTE)
    assert told(planned) == [("SetPercent", "SpecEdited")]
    assert "two is gone, and one takes its place: V2 gets 5 % (before: 25 %)" in world.status.decisions[-1].message
    assert (world.status.stage, world.flag.values.percent) == ("one", "5")
    assert world.status.stage_started_at == world.now


@pytest.mark.parametrize(
    "change",
    [
        {"analysis": {"restart": "10m"}},
        {"analysis": {"ages": ["1m"]}},
        {"analysis": {"falseRollback": 0.02}},
        {"criteria": DOCUMENT["criteria"][:1]},
    ],
    ids=str,
)
def test_an_analysis_that_is_edited_in_mid_ramp_divides_the_level_anew_and_says_so(change: dict[str, Any]) -> None:
    world = World().running()
    world.cohorts = cohorts(GOOD)
    world.spec = spec(**change)
    planned = world.step(MINUTE)
    assert ("Warn", "AnalysisEdited") in told(planned)
    assert told(world.step(MINUTE)) == []


@pytest.mark.parametrize("change", [{"windows": CLOSED}, {"deadman": "2h"}, {"analysis": {"extend": "1h"}}], ids=str)
def test_other_edits_divide_nothing(change: dict[str, Any]) -> None:
    world = World().running()
    world.spec = spec(**change)
    assert told(world.step(MINUTE)) == []


@pytest.mark.parametrize("paused", [False, True])
def test_a_percent_that_is_edited_down_is_lowered_at_once(paused: bool) -> None:
    world = second()
    world.spec = spec(**stages(("one", 5), ("two", 12.5), ("three", 100)), paused=paused, windows=CLOSED)
    planned = world.step(MINUTE)
    assert world.flag.values.percent == "12.5"
    assert told(planned)[0] == ("SetPercent", "SpecEdited")
    assert world.status.decisions[-1 - paused].actor == "person (spec.stages)"


def test_a_percent_that_is_edited_up_is_raised_with_a_reason_and_the_stage_begins_anew() -> None:
    world = second()
    world.spec = spec(**stages(("one", 5), ("two", 40), ("three", 100)))
    planned = world.step(MINUTE)
    assert told(planned) == [("SetPercent", "SpecEdited")]
    assert (world.flag.values.percent, world.status.next) == ("40", world.now + HOUR)


@pytest.mark.parametrize(
    "hold",
    [
        {"cohorts": cohorts(DOWN)},
        {"found": {"alarms": (MISMATCH,)}},
        {"spec": spec(**stages(("one", 5), ("two", 40), ("three", 100)), paused=True)},
        {"spec": spec(**stages(("one", 5), ("two", 40), ("three", 100)), windows=CLOSED)},
    ],
    ids=["blind", "alarm", "paused", "window"],
)
def test_a_percent_that_is_edited_up_waits_for_whatever_holds(hold: dict[str, Any]) -> None:
    world = second()
    world.spec = spec(**stages(("one", 5), ("two", 40), ("three", 100)))
    for name, value in hold.items():
        setattr(world, name, value)
    world.step(MINUTE)
    assert (world.status.percent, world.flag.values.percent) == ("25", "25")


def test_the_failed_stage_is_known_by_its_name_when_a_rollout_is_armed_again() -> None:
    world = second()
    world.cohorts = cohorts(FAILING)
    for _ in range(4):
        world.step(MINUTE)
    rows = (("zero", 1), ("one", 5), ("two", 25), ("three", 100))
    world.spec, world.cohorts = spec(**stages(*rows), attempt=2), cohorts(cells())
    world.settle(3 * HOUR)
    assert (world.status.phase, world.status.stage, world.status.percent) == (Phase.PROGRESSING, "one", "5")


@pytest.mark.parametrize("edited", ["before it is armed again", "between that and its start"])
def test_a_failed_stage_that_is_gone_is_started_from_below_its_share(edited: str) -> None:
    world = second()
    world.cohorts = cohorts(FAILING)
    for _ in range(4):
        world.step(MINUTE)
    rows = (("a", 2), ("b", 10), ("c", 20), ("d", 60), ("e", 100))
    if edited == "before it is armed again":
        world.spec = spec(**stages(*rows), attempt=2)
        world.step(3 * HOUR)
    else:
        world.spec = spec(attempt=2, paused=True)
        world.step(3 * HOUR)
        world.spec = spec(**stages(*rows), attempt=2)
    world.cohorts = cohorts(cells())
    world.settle()
    assert (world.status.phase, world.status.stage, world.status.percent) == (Phase.PROGRESSING, "b", "10")


def test_a_stage_that_is_put_first_before_the_start_is_the_first_one() -> None:
    world = World(spec(paused=True))
    world.step()
    world.spec = spec(**stages(("zero", 1), ("one", 5), ("three", 100)))
    world.step()
    assert (world.status.stage, world.status.percent) == ("zero", "1")


# -- after a rollback


def rolled_back() -> World:
    world = World().running()
    world.says(ABORT)
    for _ in range(3):
        world.step(MINUTE)
    assert world.status.phase is Phase.ROLLED_BACK
    return world


def test_starts_on_v2_after_a_rollback_are_told_once_as_a_warning() -> None:
    world = rolled_back()
    world.extra["late_starts"] = 3
    planned = world.step(MINUTE)
    assert told(planned) == [("Alert", "RollbackNotEffective")]
    assert condition(world, "RollbackNotEffective") == ("True", "RollbackNotEffective")
    assert "3 executions were sent to V2" in world.status.decisions[-1].message
    assert told(world.step(MINUTE)) == []
    assert state(world) == ("RolledBack", "Aborted")


def test_a_flag_that_is_followed_after_a_rollback_is_cleared_again() -> None:
    world = rolled_back()
    world.write(FlagValues("true", "50"))
    world.extra["late_starts"] = 0
    assert ClearFlag not in kinds(world.step(MINUTE))  # a key that came back, but nobody follows it
    world.extra["late_starts"] = 1
    assert ClearFlag in kinds(world.step(MINUTE))
    cleared = world.step(MINUTE)
    assert (world.flag.values, ClearFlag in kinds(cleared)) == (CLEAR, False)
    assert world.status.flag_cleared_at == world.now  # starts are late from here on


def test_starts_that_cannot_be_counted_are_no_finding() -> None:
    world = rolled_back()
    world.extra["late_starts"] = 2
    world.step(MINUTE)
    world.extra["late_starts"] = None
    world.step(MINUTE)
    assert condition(world, "RollbackNotEffective")[0] == "True"
    world.extra["late_starts"] = 0
    world.step(MINUTE)
    assert condition(world, "RollbackNotEffective") == ("False", "Effective")


def test_a_flag_that_expired_and_is_set_again_is_told() -> None:
    world = World().running()
    world.cohorts = cohorts(GOOD)
    world.step(30 * MINUTE)
    planned = world.step(61 * MINUTE)
    assert ("SetPercent", "DeadmanExpired") in told(planned)


def test_a_new_attempt_ends_the_finding() -> None:
    world = rolled_back()
    world.extra["late_starts"] = 2
    world.step(MINUTE)
    world.spec, world.extra["late_starts"] = spec(attempt=2), None
    world.settle(3 * HOUR)
    assert condition(world, "RollbackNotEffective") == ("False", "Rearmed")


# -- words in general


def test_a_long_word_is_remembered_short_and_still_heard_once() -> None:
    world = World().running()
    world.extra["annotations"] = {PAUSE: "because " * 10_000}
    world.step()
    assert world.status.phase is Phase.PAUSED
    assert len(heard(world, "pause").value) <= 256
    assert len(world.status.message) < 1000
    del world.extra["annotations"]
    world.says(RESUME)
    world.extra["annotations"] = {RESUME: "true"}
    assert told(world.step()) == []


def test_a_word_that_is_read_once_more_after_it_was_heard_is_an_echo() -> None:
    world = World().running()
    world.says(PAUSE)
    world.says(RESUME)
    world.extra["annotations"] = {RESUME: "true"}
    first = world.step()
    assert world.status.phase is Phase.PROGRESSING
    world.extra["annotations"] = {RESUME: "true"}
    second = world.step()
    assert (told(first), told(second)) == ([], [])
    assert DropAnnotation(RESUME) in second.actions


def test_an_abort_of_what_is_rolled_back_already_is_followed_and_changes_nothing() -> None:
    world = rolled_back()
    before = world.status.decisions
    world.says(ABORT, "again")
    assert (world.status.decisions, heard(world, "abort").done) == (before, True)


def test_annotations_of_others_are_left_alone() -> None:
    world = World().running()
    world.extra["annotations"] = {"argocd.argoproj.io/sync": "x"}
    assert world.step().actions == ()
