"""What time does to an execution: retries, its own time-out, and what cannot start yet."""

from __future__ import annotations

from orchestrator.decide.runs import MOST_IN_FLIGHT
from orchestrator.model import Status, StepStatus
from tests.support.driven import Driven
from tests.support.engine import at, node


def test_an_execution_that_takes_too_long_fails() -> None:
    x = Driven(node("w", type_="wait", **{"with": {"duration": "1h"}}), timeout="10s")
    assert x.wake_at == at(10)
    x.wait(10)
    assert (x.status, x.failure.kind) == (Status.FAILED, "ExecutionTimeout")
    assert "10 s" in x.failure.message


def test_its_time_is_not_over_a_moment_before() -> None:
    x = Driven(node("w", type_="wait", **{"with": {"duration": "1h"}}), timeout="10s")
    x.wait(9.999)
    assert x.status is Status.WAITING


def test_when_its_time_is_over_steps_in_flight_end_and_nothing_starts() -> None:
    x = Driven(node("a"), node("b", "a"), timeout="10s")
    x.wait(10)
    assert (x.running, x.status) == (["a"], Status.RUNNING)
    x.complete("a")
    assert (x.started, x.failure.kind) == (["a"], "ExecutionTimeout")


def test_what_joins_always_runs_when_the_time_is_over() -> None:
    x = Driven(node("w", type_="wait", **{"with": {"duration": "1h"}}), node("c", "w", join="always"), timeout="10s")
    x.wait(10)
    assert x.running == ["c"]


def test_a_failure_before_its_time_is_over_stays_the_reason() -> None:
    x = Driven(node("a"), node("b"), timeout="10s")
    x.fail("a")
    x.wait(10)
    x.complete("b")
    assert x.failure.kind == "Broken"


def test_a_cancel_before_its_time_is_over_stays_a_cancel() -> None:
    x = Driven(node("a"), timeout="10s")
    x.cancel()
    x.wait(10)
    x.complete("a")
    assert x.status is Status.CANCELLED


def test_a_retry_is_given_up_when_another_node_fails() -> None:
    x = Driven(node("a"), node("b"))
    x.fail("a", retryable=True)
    x.fail("b")
    assert x.status is Status.FAILED
    assert x.started == ["a", "b"]


def test_a_retry_that_is_due_at_once_starts_once() -> None:
    x = Driven(node("a", retry={"initialInterval": "0s"}))
    x.fail("a", retryable=True)
    x.fail("a", retryable=True)
    assert (x.running, x.in_flight["a"].attempt) == (["a"], 3)


def test_a_retry_comes_after_a_suspension() -> None:
    x = Driven(node("a"))
    x.fail("a", retryable=True)
    x.suspend()
    x.wait(5)
    assert (x.status, x.running, x.wake_at) == (Status.SUSPENDED, [], None)
    x.resume()
    assert x.running == ["a"]


def test_a_clock_that_went_back_delays_a_retry() -> None:
    x = Driven(node("a"))
    x.fail("a", retryable=True)
    x.wait(-10)
    assert (x.running, x.wake_at) == ([], at(1))


def test_retries_that_are_due_while_too_much_is_in_flight_wait_without_being_looked_at() -> None:
    steps = [node(f"n{index}") for index in range(MOST_IN_FLIGHT + 1)]
    x = Driven(*steps, checked=False)
    x.fail("n0", retryable=True)  # the last one takes its place
    x.wait(5)
    assert (len(x.running), x.wake_at) == (MOST_IN_FLIGHT, None)
    x.complete("n1")
    assert x.running[-1] == "n0"


def test_no_more_is_in_flight_at_once_than_a_worker_can_bear() -> None:
    x = Driven(*(node(f"n{index}") for index in range(MOST_IN_FLIGHT + 50)), checked=False)
    assert len(x.running) == MOST_IN_FLIGHT
    x.complete("n0")
    assert len(x.running) == MOST_IN_FLIGHT


def test_an_attempt_in_flight_when_the_worker_died_is_made_again_under_the_same_key() -> None:
    x = Driven(node("a"))
    first = x.in_flight["a"]
    x.crash()
    x.turn()
    assert (x.in_flight["a"].attempt, x.in_flight["a"].idempotency_key) == (1, first.idempotency_key)


def test_an_output_that_cannot_be_mapped_has_failed_the_step() -> None:
    x = Driven(node("w", type_="workflow", output="${result.deep.v}", **{"with": {"workflow": "child"}}))
    x.begin_child("w")
    x.child_ends("w", output={})
    assert x.is_(StepStatus.FAILED, "w")
    assert "spec.nodes[0].output" in x.failure.message
