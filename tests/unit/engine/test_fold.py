"""Events to executions."""

from __future__ import annotations

import pytest

from orchestrator import events as e
from orchestrator.errors import IllegalTransition
from orchestrator.fold import fold
from orchestrator.model import Failure, Status, StepStatus
from tests.support.engine import AT, at


def history(*events: e.Event) -> list[e.Recorded]:
    return [e.Recorded(seq, event) for seq, event in enumerate(events, 1)]


SUBMITTED = e.ExecutionSubmitted(AT, "default/w", "rev", {"n": 1})
STARTED = e.ExecutionStarted(at(1))
FAILURE = Failure("HttpStatus", "503", retryable=True, node="a")


def failed(attempt: int, seconds: float, retry_at: float | None) -> e.StepFailed:
    due = None if retry_at is None else at(retry_at)
    return e.StepFailed(at(seconds), "a", "http", attempt, FAILURE, at(seconds - 1), 1000, due)


def test_a_completed_step_keeps_its_output() -> None:
    state = fold("x", history(SUBMITTED, STARTED, e.StepCompleted(at(2), "a", "http", 1, {"k": 1}, at(1), 900)))
    assert (state.status, state.seq, state.step("a").status) == (Status.RUNNING, 3, StepStatus.COMPLETED)
    assert state.step("a").output == {"k": 1}


def test_a_retry_is_remembered_with_its_moment() -> None:
    state = fold("x", history(SUBMITTED, STARTED, failed(1, 2, retry_at=5)))
    assert (state.step("a").status, state.step("a").due, state.retries) == (StepStatus.RETRYING, at(5), 1)
    assert state.step("a").first_started_at == at(1)


def test_the_first_start_counts_for_all_attempts() -> None:
    state = fold("x", history(SUBMITTED, STARTED, failed(1, 2, retry_at=5), failed(2, 6, retry_at=None)))
    assert (state.step("a").status, state.step("a").attempts) == (StepStatus.FAILED, 2)
    assert state.step("a").first_started_at == at(1)


def test_a_gap_in_the_history_is_refused() -> None:
    with pytest.raises(IllegalTransition, match="event 3 stands where 2 belongs"):
        fold("x", [e.Recorded(1, SUBMITTED), e.Recorded(3, STARTED)])


def test_a_step_that_completed_cannot_complete_again() -> None:
    done = e.StepCompleted(at(2), "a", "http", 1, None, at(1), 1)
    with pytest.raises(IllegalTransition, match="'a', which is completed"):
        fold("x", history(SUBMITTED, STARTED, done, done))


def test_nothing_happens_after_the_end() -> None:
    with pytest.raises(IllegalTransition, match="success"):
        fold("x", history(SUBMITTED, STARTED, e.ExecutionSucceeded(at(2), None), e.CancelRequested(at(3))))


def test_an_empty_history_is_no_execution() -> None:
    with pytest.raises(IllegalTransition, match="no events"):
        fold("x", [])


def test_a_history_must_begin_with_the_submission() -> None:
    with pytest.raises(IllegalTransition, match="not submitted"):
        fold("x", history(STARTED))


def test_a_resumed_execution_runs_again() -> None:
    state = fold(
        "x",
        history(SUBMITTED, e.ExecutionSuspended(AT, "Restored"), e.ResumeRequested(at(3)), e.ExecutionResumed(at(4))),
    )
    assert (state.status, state.suspend_requested, state.started_at) == (Status.RUNNING, False, at(4))
