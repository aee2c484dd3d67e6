"""Compensation: what was done is undone, the last first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from orchestrator import events as e
from orchestrator.decide import decide
from orchestrator.fold import apply, submitted
from orchestrator.model import Failure, Lineage, Status
from tests.support.driven import Driven
from tests.support.engine import AT, node, spec
from tests.support.stores import workflow

UNDO = {"compensate": {"type": "transform"}}

if TYPE_CHECKING:
    from orchestrator.model import Execution


def undoable(id_: str, *needs: str, **fields: Any) -> dict[str, Any]:
    return node(id_, *needs, **UNDO | fields)


def shop(**fields: Any) -> Driven:
    """Two steps that can be undone and one that cannot, of which the last is in flight."""
    x = Driven(undoable("a"), undoable("b", "a"), node("c", "b"), **fields)
    x.complete("a", "b")
    return x


def undo_all(x: Driven) -> None:
    while x.running:
        x.complete(x.running[0])


def test_what_completed_is_undone_the_last_first() -> None:
    x = shop()
    x.fail("c")
    assert (x.status, x.running) == (Status.COMPENSATING, ["b:compensate"])
    x.complete("b:compensate")
    assert x.running == ["a:compensate"]
    x.complete("a:compensate")
    assert (x.status, x.failure.node) == (Status.FAILED, "c")


def test_the_order_is_that_of_completion_not_of_the_workflow() -> None:
    x = Driven(undoable("a"), undoable("b"), node("c"))
    x.complete("b", "a")
    x.fail("c")
    undo_all(x)
    assert x.undone == ["a", "b"]


def test_undoing_waits_for_what_is_in_flight() -> None:
    x = Driven(undoable("a"), node("c"))
    x.fail("c")
    assert x.running == ["a"]
    x.complete("a")
    assert x.running == ["a:compensate"]


def test_undoing_waits_for_the_nodes_that_join_always() -> None:
    x = Driven(undoable("a"), node("c", "a"), node("d", "c", join="always"))
    x.complete("a")
    x.fail("c")
    assert x.running == ["d"]
    x.complete("d")
    assert x.running == ["a:compensate"]


def test_what_a_node_that_joins_always_did_is_undone_too() -> None:
    x = Driven(node("c"), undoable("d", "c", join="always"))
    x.fail("c")
    x.complete("d")
    assert x.running == ["d:compensate"]


def test_without_anything_to_undo_it_fails_at_once() -> None:
    x = Driven(node("c"))
    x.fail("c")
    assert x.kinds()[-1] == "ExecutionFailed"
    assert "CompensationStarted" not in x.kinds()


def test_a_compensation_has_an_idempotency_key_of_its_own() -> None:
    x = shop()
    x.fail("c")
    assert x.in_flight["b:compensate"].idempotency_key == "x/b:compensate"


def test_a_compensation_reads_what_its_step_gave() -> None:
    take_back = {"type": "transform", "with": {"hold": "${result.hold}", "shop": "${input.shop}"}}
    x = Driven(undoable("a", compensate=take_back), node("c", "a"), input_={"shop": "tea"})
    x.complete("a", output={"hold": 7})
    x.fail("c")
    assert x.in_flight["a:compensate"].with_ == {"hold": 7, "shop": "tea"}


def test_a_failed_compensation_is_tried_again() -> None:
    x = shop()
    x.fail("c")
    x.fail("b:compensate", retryable=True)
    assert (x.running, x.status) == ([], Status.COMPENSATING)
    x.wait(1)
    assert x.in_flight["b:compensate"].attempt == 2


def test_a_compensation_that_fails_for_good_is_told_and_the_others_go_on() -> None:
    x = shop()
    x.fail("c")
    x.fail("b:compensate")
    x.complete("a:compensate")
    assert x.status is Status.FAILED
    assert x.failure.message == "c broke; NOT undone: b: Broken: b:compensate broke"
    assert x.failure.node == "c"


def test_a_compensation_that_cannot_be_evaluated_is_told() -> None:
    x = Driven(undoable("a", compensate={"type": "transform", "with": {"v": "${result.deep.v}"}}), node("c", "a"))
    x.complete("a")
    x.fail("c")
    assert x.status is Status.FAILED
    assert "NOT undone: a: ExpressionError" in x.failure.message
    assert "spec.nodes[0].compensate.with.v" in x.failure.message


def test_many_that_could_not_be_undone_are_counted() -> None:
    steps = [undoable(f"n{index}") for index in range(5)]
    x = Driven(*steps, node("c"))
    x.complete(*(f"n{index}" for index in range(5)))
    x.fail("c")
    while x.running:
        x.fail(x.running[0])
    assert x.failure.message.count("Broken: ") == 3
    assert x.failure.message.endswith(" and 2 more")


def test_a_step_that_failed_is_not_undone() -> None:
    x = Driven(undoable("a"))
    x.fail("a")
    assert (x.status, x.undone) == (Status.FAILED, [])


def test_a_step_that_failed_is_undone_if_its_effect_may_have_taken_place() -> None:
    x = Driven(undoable("a", compensate={"type": "transform", "whenFailed": True}))
    x.fail("a")
    assert x.running == ["a:compensate"]


def test_a_step_between_two_attempts_is_undone_first_if_its_effect_may_have_taken_place() -> None:
    x = Driven(undoable("a", compensate={"type": "transform", "whenFailed": True}), undoable("b"), node("c"))
    x.fail("a", retryable=True)
    x.complete("b")
    x.fail("c")
    undo_all(x)
    assert x.undone == ["a", "b"]


def test_a_step_that_never_began_is_not_undone() -> None:
    x = Driven(node("c"), undoable("a", "c", compensate={"type": "transform", "whenFailed": True}))
    x.fail("c")
    assert x.undone == []


def test_a_skipped_step_is_not_undone() -> None:
    x = Driven(undoable("a", when="${false}"), node("c"))
    x.fail("c")
    assert x.undone == []


def test_each_item_of_a_map_is_undone_with_its_element() -> None:
    take_back = {"type": "transform", "with": {"id": "${item}", "got": "${result}"}}
    items = {"items": ["tea", "milk"], "key": "${item}", "do": {"type": "transform"}}
    x = Driven(node("m", type_="map", compensate=take_back, **{"with": items}), node("c", "m"))
    x.complete("m/milk", output=1)
    x.complete("m/tea", output=2)
    x.fail("c")
    assert x.in_flight["m/tea:compensate"].with_ == {"id": "tea", "got": 2}
    assert x.in_flight["m/tea:compensate"].idempotency_key == "x/m/tea:compensate"
    undo_all(x)
    assert x.undone == ["m/tea", "m/milk"]


def test_the_items_that_completed_of_a_map_that_failed_are_undone() -> None:
    items = {"items": [1, 2, 3], "do": {"type": "transform"}}
    x = Driven(node("m", type_="map", **{"with": items}, **UNDO))
    x.complete("m/1")
    x.fail("m/0")
    x.complete("m/2")
    undo_all(x)
    assert x.undone == ["m/2", "m/1"]


def test_a_cancel_undoes_nothing_unless_it_is_told_to() -> None:
    x = shop()
    x.cancel()
    x.complete("c")
    assert (x.status, x.undone) == (Status.CANCELLED, [])


def test_a_cancel_may_undo_what_was_done() -> None:
    x = shop(onCancel="compensate")
    x.cancel()
    x.complete("c")
    undo_all(x)
    assert (x.status, x.undone) == (Status.CANCELLED, ["b", "a"])


def test_a_cancel_with_nothing_to_undo_is_over_at_once() -> None:
    x = Driven(node("c"), onCancel="compensate")
    x.cancel()
    x.complete("c")
    assert x.kinds()[-1] == "ExecutionCancelled"


def test_a_cancelled_execution_that_could_not_be_undone_has_failed() -> None:
    x = shop(onCancel="compensate")
    x.cancel()
    x.complete("c")
    x.fail("b:compensate")
    x.complete("a:compensate")
    assert (x.status, x.failure.kind) == (Status.FAILED, "CompensationFailed")
    assert "NOT undone: b" in x.failure.message


def test_a_suspended_execution_is_undone_by_a_cancel() -> None:
    x = shop(onCancel="compensate")
    x.suspend()
    x.complete("c")
    assert x.status is Status.SUSPENDED
    x.cancel()
    undo_all(x)
    assert (x.status, x.undone) == (Status.CANCELLED, ["b", "a"])


def test_a_cancel_while_it_is_undone_changes_nothing() -> None:
    x = shop()
    x.fail("c")
    x.cancel()
    undo_all(x)
    assert (x.status, x.undone) == (Status.FAILED, ["b", "a"])


def test_a_suspension_while_it_is_undone_changes_nothing() -> None:
    x = shop()
    x.fail("c")
    x.suspend()
    undo_all(x)
    assert (x.status, x.undone) == (Status.FAILED, ["b", "a"])


def test_a_crash_while_it_is_undone_repeats_the_one_in_flight_alone() -> None:
    x = shop()
    x.fail("c")
    x.complete("b:compensate")
    x.crash()
    x.turn()
    assert x.running == ["a:compensate"]


def test_a_step_in_flight_when_the_worker_died_is_undone_if_it_never_runs_again() -> None:
    x = Driven(undoable("a"), onCancel="compensate")
    x.crash()
    x.cancel()
    assert x.running == ["a:compensate"]


def test_a_step_in_flight_when_the_worker_died_is_undone_once_after_it_ran_again() -> None:
    x = Driven(undoable("a"), node("c", "a"))
    x.crash()
    x.turn()
    x.complete("a")
    x.fail("c")
    undo_all(x)
    assert (x.undone, x.status) == (["a"], Status.FAILED)


def test_a_child_that_was_never_made_is_not_undone() -> None:
    child = node("k", type_="workflow", **{"with": {"workflow": "child"}}, **UNDO)
    x = Driven(child, onCancel="compensate")
    x.crash()  # a child is made by the commit that tells of it
    x.cancel()
    assert (x.status, x.undone) == (Status.CANCELLED, [])


def test_an_output_that_cannot_be_evaluated_undoes_what_was_done() -> None:
    x = Driven(undoable("a"), output="${nodes.a.output.deep.v}")
    x.complete("a")
    assert x.running == ["a:compensate"]
    undo_all(x)
    assert (x.status, x.failure.kind) == (Status.FAILED, "ExpressionError")


def test_an_output_that_no_store_keeps_undoes_what_was_done() -> None:
    x = Driven(undoable("a"))
    x.refused[""] = ("PayloadTooLarge", "the execution's output is too large")
    x.complete("a")
    undo_all(x)
    assert (x.status, x.failure.kind, x.undone) == (Status.FAILED, "PayloadTooLarge", ["a"])


def test_a_timeout_undoes_what_was_done() -> None:
    x = Driven(undoable("a"), node("w", "a", type_="wait", **{"with": {"duration": "1m"}}), timeout="10s")
    x.complete("a")
    x.wait(10)
    undo_all(x)
    assert (x.undone, x.failure.kind) == (["a"], "ExecutionTimeout")


def failing_after_a_carried_step(root: str) -> Execution:
    """`a` was carried from execution x, `b` was done here, and `c` has just failed for good."""
    x = submitted("y", e.ExecutionSubmitted(AT, CARRYING.id, CARRYING.revision, {}, Lineage("x", 9, root)))
    carried = e.StepCarried(AT, "a", "transform", {"n": 1})
    done = e.StepCompleted(AT, "b", "transform", 1, None, AT, 1)
    broken = e.StepFailed(AT, "c", "transform", 1, Failure("Broken", "m"), AT, 1, None)
    for event in (carried, e.ExecutionStarted(AT), done, broken):
        x = apply(x, event)
    return x


CARRYING = workflow(spec(undoable("a"), undoable("b", "a"), node("c", "b")))


@pytest.mark.parametrize(("root", "undone"), [("x", ["b", "a"]), ("y", ["b"])], ids=["repetition", "another request"])
def test_only_a_repetition_undoes_what_it_carried_for_it_stands_for_the_execution_that_did_it(
    root: str, undone: list[str]
) -> None:
    x, keys = failing_after_a_carried_step(root), []
    while (decision := decide(CARRYING, x, (), AT)).runs:
        (run,) = decision.runs
        keys.append(run.key.removesuffix(":compensate"))
        x = apply(decision.execution, e.StepCompleted(AT, keys[-1], "transform", 1, None, AT, 1, undo=True))
    assert (keys, decision.execution.status) == (undone, Status.FAILED)
