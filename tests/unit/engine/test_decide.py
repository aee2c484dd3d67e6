"""What happens next, purely."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator import events as e
from orchestrator.decide import Decision, decide, project
from orchestrator.fold import apply, submitted
from orchestrator.model import Execution, Failure, Status
from tests.support.engine import AT, at, node, spec
from tests.support.stores import workflow

if TYPE_CHECKING:
    from orchestrator.model import Workflow


def running(flow: Workflow, input_: Any = None, *events: e.Event) -> Execution:
    state = submitted("x", e.ExecutionSubmitted(AT, flow.id, flow.revision, input_))
    for event in (e.ExecutionStarted(AT), *events):
        state = apply(state, event)
    return state


def completed(id_: str, output: Any = None) -> e.StepCompleted:
    return e.StepCompleted(AT, id_, "transform", 1, output, AT, 1)


def failed(id_: str, retry_at: float | None = None) -> e.StepFailed:
    due = None if retry_at is None else at(retry_at)
    return e.StepFailed(AT, id_, "transform", 1, Failure("K", "broken", node=id_), AT, 1, due)


def kinds(decision: Decision) -> list[str]:
    return [type(event).__name__ for event in decision.events]


def runs(decision: Decision) -> list[str]:
    return [run.node.id for run in decision.runs]


DIAMOND = workflow(spec(node("a"), node("b", "a"), node("c", "a"), node("d", "b", "c"), output="done"))


def test_nodes_without_needs_run_first() -> None:
    assert runs(decide(DIAMOND, running(DIAMOND), (), AT)) == ["a"]


def test_branches_run_side_by_side() -> None:
    assert runs(decide(DIAMOND, running(DIAMOND, None, completed("a")), (), AT)) == ["b", "c"]


def test_a_join_waits_for_all_it_needs() -> None:
    state = running(DIAMOND, None, completed("a"), completed("b"))
    assert runs(decide(DIAMOND, state, ("c",), AT)) == []


def test_what_is_in_flight_is_not_started_again() -> None:
    assert runs(decide(DIAMOND, running(DIAMOND, None, completed("a")), ("b",), AT)) == ["c"]


def test_the_end_comes_in_the_same_decision_as_the_last_step() -> None:
    state = running(DIAMOND, None, *(completed(i) for i in "abcd"))
    decision = decide(DIAMOND, state, (), AT)
    assert kinds(decision) == ["ExecutionSucceeded"]
    assert decision.execution.output == "done"


def test_a_false_condition_skips_a_node_and_those_that_need_it() -> None:
    flow = workflow(spec(node("a", when="${input.go}"), node("b", "a"), node("c")))
    decision = decide(flow, running(flow, {"go": False}), (), AT)
    assert kinds(decision) == ["StepSkipped", "StepSkipped"]
    assert runs(decision) == ["c"]


def test_a_skipped_nodes_output_is_null() -> None:
    flow = workflow(spec(node("a", when="${input.go}"), output={"a": "${nodes.a.output == null}"}))
    assert decide(flow, running(flow, {"go": False}), (), AT).execution.output == {"a": True}


def test_reading_a_field_of_null_fails_the_execution_with_its_place() -> None:
    flow = workflow(spec(node("a", when="${input.go}"), output={"a": "${nodes.a.output.x}"}))
    decision = decide(flow, running(flow, {"go": False}), (), AT)
    assert decision.execution.status is Status.FAILED
    assert decision.execution.failure is not None
    assert "spec.output" in decision.execution.failure.message
    assert "nodes.a.output.x" in decision.execution.failure.message


def test_a_with_that_cannot_be_evaluated_fails_its_node() -> None:
    flow = workflow(spec(node("a", **{"with": {"v": "${input.missing.deep}"}})))
    decision = decide(flow, running(flow, {}), (), AT)
    assert kinds(decision) == ["StepFailed", "ExecutionFailed"]
    assert decision.execution.failure is not None
    assert decision.execution.failure.node == "a"


def test_a_failure_lets_steps_in_flight_end_and_starts_nothing_more() -> None:
    state = running(DIAMOND, None, completed("a"), failed("b"))
    waiting = decide(DIAMOND, state, ("c",), AT)
    assert (kinds(waiting), runs(waiting)) == ([], [])
    over = decide(DIAMOND, apply(state, completed("c")), (), AT)
    assert kinds(over) == ["ExecutionFailed"]


def test_a_retry_runs_when_it_is_due_and_not_before() -> None:
    flow = workflow(spec(node("a")))
    state = running(flow, None, failed("a", retry_at=5))
    early = decide(flow, state, (), at(4))
    assert (runs(early), early.wake_at, early.execution.status) == ([], at(5), Status.RUNNING)
    due = decide(flow, state, (), at(5))
    assert [(run.node.id, run.attempt) for run in due.runs] == [("a", 2)]


def test_a_wait_is_a_stored_timer_that_no_worker_holds() -> None:
    flow = workflow(spec(node("w", type_="wait"), node("b", "w")))
    decision = decide(flow, running(flow), (), AT)
    assert kinds(decision) == ["TimerStarted", "ExecutionWaiting"]
    assert decision.wake_at == at(1)
    fired = decide(flow, decision.execution, (), at(1))
    assert (kinds(fired), runs(fired)) == (["StepCompleted"], ["b"])


def test_a_timer_beside_a_running_step_does_not_make_it_wait() -> None:
    flow = workflow(spec(node("w", type_="wait"), node("b")))
    decision = decide(flow, running(flow), (), AT)
    assert (kinds(decision), runs(decision)) == (["TimerStarted"], ["b"])
    assert decision.execution.status is Status.RUNNING


def test_after_a_cancel_no_step_starts() -> None:
    state = apply(running(DIAMOND, None, completed("a")), e.CancelRequested(AT))
    assert runs(decide(DIAMOND, state, ("b",), AT)) == []
    assert kinds(decide(DIAMOND, state, (), AT)) == ["ExecutionCancelled"]


def test_a_suspended_execution_goes_on_where_it_stood() -> None:
    state = apply(running(DIAMOND, None, completed("a")), e.SuspendRequested(AT))
    suspended = decide(DIAMOND, state, (), AT)
    assert (kinds(suspended), runs(suspended), suspended.wake_at) == (["ExecutionSuspended"], [], None)
    resumed = decide(DIAMOND, apply(suspended.execution, e.ResumeRequested(AT)), (), AT)
    assert (kinds(resumed), runs(resumed)) == (["ExecutionResumed"], ["b", "c"])


def test_a_cancel_beats_a_suspension() -> None:
    state = apply(apply(running(DIAMOND), e.SuspendRequested(AT)), e.CancelRequested(AT))
    assert kinds(decide(DIAMOND, state, (), AT)) == ["ExecutionCancelled"]


def test_the_row_is_where_a_person_would_look() -> None:
    row = project(DIAMOND, running(DIAMOND, None, completed("a"), completed("b")))
    assert (row.current_node, row.done, row.total) == ("c", 2, 4)
