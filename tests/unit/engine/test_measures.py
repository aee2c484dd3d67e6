"""What V2 counts of steps that ended, by how often they had been retried."""

from __future__ import annotations

import pytest

from orchestrator import events as e
from orchestrator import telemetry
from orchestrator.engines.measures import observe
from orchestrator.fold import fold
from orchestrator.model import Failure
from tests.support.engine import AT, at
from tests.support.measured import Growth, series

BEGUN = (e.ExecutionSubmitted(AT, "default/w", "rev", {}), e.ExecutionStarted(at(1)))
STATE = fold("x", [e.Recorded(seq, event) for seq, event in enumerate(BEGUN, 1)])
FAILURE = Failure("HttpStatus", "500")


def failed(attempt: int, *, final: bool) -> e.StepFailed:
    return e.StepFailed(AT, "a", "http", attempt, FAILURE, AT, 1, None if final else AT)


@pytest.mark.parametrize(("attempt", "label"), [(1, "0"), (2, "1"), (5, "4"), (6, "5+"), (60, "5+")])
def test_a_step_that_succeeds_counts_under_its_retries(attempt: int, label: str) -> None:
    ended = Growth("orchestrator_steps_ended")
    observe((e.StepCompleted(AT, "a", "http", attempt, None, AT, 1),), STATE, 0.01)
    assert ended.so_far() == {("v2", "success", label): 1}


def test_an_attempt_that_is_retried_has_not_ended_its_step() -> None:
    ended, retried = Growth("orchestrator_steps_ended"), Growth("orchestrator_retries")
    observe((failed(1, final=False), failed(2, final=True)), STATE, 0.01)
    assert ended.so_far() == {("v2", "failed", "1"): 1}
    assert retried.so_far() == {("v2", "failed"): 1}


def test_a_worker_begins_with_the_zeros_of_its_engines() -> None:
    telemetry.begin(["v2"])
    finished = {labels for _, labels in series("orchestrator_executions_finished_total")}
    assert {("v2", "success"), ("v2", "failed"), ("v2", "cancelled")} <= finished
