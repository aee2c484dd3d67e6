"""A `workflow` node: a child execution, as its parent decides."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator import events as e
from orchestrator.model import Status, StepStatus
from tests.support.driven import Driven
from tests.support.engine import node


def child(id_: str = "k", *needs: str, **fields: Any) -> dict[str, Any]:
    return node(id_, *needs, type_="workflow", **{"with": {"workflow": "child"}}, **fields)


def begun(*nodes: dict[str, Any], **fields: Any) -> Driven:
    x = Driven(child(), *nodes, **fields)
    x.begin_child("k")
    return x


def test_a_parent_waits_for_its_child() -> None:
    x = begun()
    assert (x.status, x.wake_at, x.asked) == (Status.WAITING, None, set())


def test_the_childs_output_is_the_nodes() -> None:
    x = begun(output="${nodes.k.output}")
    x.child_ends("k", output={"n": 1})
    assert x.state.output == {"n": 1}


def test_the_childs_output_is_mapped() -> None:
    x = Driven(child(output="${result.n}"), output="${nodes.k.output}")
    x.begin_child("k")
    x.child_ends("k", output={"n": 1})
    assert x.state.output == 1


@pytest.mark.parametrize(("ended", "kind"), [(Status.FAILED, "ChildFailed"), (Status.CANCELLED, "ChildCancelled")])
def test_a_child_that_did_not_succeed_fails_its_node(ended: Status, kind: str) -> None:
    x = begun()
    x.child_ends("k", ended)
    assert (x.failure.kind, x.failure.node) == (kind, "k")


def test_the_failure_tells_why_the_child_failed() -> None:
    x = begun()
    x.child_ends("k", Status.FAILED)
    assert x.failure.message == "child execution k#1 ended failed: Inner: the child broke"


def test_a_failed_child_is_not_tried_again_by_itself() -> None:
    x = begun()
    x.child_ends("k", Status.FAILED)
    assert x.started == ["k"]


def test_a_policy_may_ask_for_another_child() -> None:
    x = Driven(child(retry={"retryable": ["ChildFailed"]}))
    x.begin_child("k")
    x.child_ends("k", Status.FAILED)
    assert x.is_(StepStatus.RETRYING, "k")
    x.wait(1)
    x.begin_child("k")
    assert x.step("k").child == "k#2"
    x.child_ends("k")
    assert (x.status, x.step("k").attempts) == (Status.SUCCESS, 2)


def test_a_cancel_asks_the_children_first_and_waits_for_them() -> None:
    x = begun()
    x.cancel()
    assert (x.asked, x.status) == ({"k#1"}, Status.WAITING)
    x.child_ends("k", Status.CANCELLED)
    assert x.status is Status.CANCELLED


def test_a_failure_elsewhere_asks_the_children_to_cancel_and_waits_for_them() -> None:
    x = begun(node("a"))
    x.fail("a")
    assert (x.asked, x.status) == ({"k#1"}, Status.WAITING)
    x.child_ends("k", Status.CANCELLED)
    assert (x.status, x.failure.node) == (Status.FAILED, "a")


def test_a_timeout_of_the_parent_asks_the_children_to_cancel() -> None:
    x = begun(timeout="10s")
    x.wait(10)
    assert x.asked == {"k#1"}
    x.child_ends("k", Status.CANCELLED)
    assert x.failure.kind == "ExecutionTimeout"


def test_the_child_of_a_node_that_joins_always_may_do_its_work_after_a_failure() -> None:
    x = Driven(node("a"), child("k", "a", join="always"))
    x.fail("a")
    x.begin_child("k")
    assert x.asked == set()
    x.child_ends("k")
    assert (x.status, x.failure.node) == (Status.FAILED, "a")


def test_a_child_that_was_begun_when_the_cancel_came_is_asked_to_cancel() -> None:
    x = Driven(child())
    x.cancel()
    x.begin_child("k")
    assert x.asked == {"k#1"}


def test_a_suspension_does_not_wait_for_children() -> None:
    x = begun()
    x.suspend()
    assert (x.status, x.asked) == (Status.SUSPENDED, set())


def test_a_child_that_ends_while_its_parent_is_suspended_is_taken_in_and_nothing_starts() -> None:
    x = begun(node("b", "k"))
    x.suspend()
    x.child_ends("k")
    assert (x.status, x.running) == (Status.SUSPENDED, [])
    assert x.is_(StepStatus.COMPLETED, "k")
    x.resume()
    assert x.running == ["b"]


def test_a_child_that_ended_during_a_suspension_is_undone_by_a_cancel() -> None:
    undo = {"compensate": {"type": "transform"}}
    x = Driven(child(**undo), onCancel="compensate")
    x.begin_child("k")
    x.suspend()
    x.child_ends("k")
    x.cancel()
    assert x.running == ["k:compensate"]


def test_an_end_that_is_told_for_a_child_of_nobody_changes_nothing() -> None:
    x = begun()
    x.outside(e.ChildEnded(x.now, "stranger", Status.SUCCESS, None, None))
    x.turn()
    assert x.status is Status.WAITING


def test_an_output_that_no_store_keeps_fails_the_node() -> None:
    x = begun()
    x.outside(e.ChildEnded(x.now, "k#1", Status.SUCCESS, "large", None))
    x.turn(accepted=False)
    x.refused["k"] = ("PayloadTooLarge", "the output is too large")
    x.turn()
    assert x.failure.kind == "PayloadTooLarge"
