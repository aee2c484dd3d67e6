"""A map: one thing for each element of a list."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator import events as e
from orchestrator.model import Status, StepStatus
from tests.support.driven import Driven
from tests.support.engine import node

DO = {"type": "transform"}
CHILD = {"type": "workflow", "with": {"workflow": "child"}}


def mapping(items: Any, do: dict[str, Any] = DO, **with_: Any) -> dict[str, Any]:
    return node("m", type_="map", **{"with": {"items": items, "do": do} | with_})


def test_items_are_steps_of_their_own_with_their_place_as_key() -> None:
    x = Driven(mapping(["a", "b"]))
    assert x.running == ["m/0", "m/1"]
    assert x.in_flight["m/1"].idempotency_key == "x/m/1"


def test_a_key_of_the_items_own_tells_them_apart() -> None:
    x = Driven(mapping([{"id": "tea"}, {"id": 7}], key="${item.id}"))
    assert x.running == ["m/tea", "m/7"]


def test_an_item_reads_its_element() -> None:
    x = Driven(mapping([5, 6], {"type": "transform", "with": {"n": "${item + 1}"}}))
    assert [x.in_flight[key].with_ for key in x.running] == [{"n": 6}, {"n": 7}]


@pytest.mark.parametrize(
    ("items", "key", "message"),
    [
        (["a", "a"], "${item}", "'a' for items[0] and items[1]"),
        (["a/b"], "${item}", "with.key of items[0] is 'a/b'"),
        ([True], "${item}", "with.key of items[0]"),
        ([1.5], "${item}", "with.key of items[0]"),
        ([[]], "${item}", "with.key of items[0]"),
        ([""], "${item}", "with.key of items[0]"),
        (["x" * 129], "${item}", "at most 128"),
        ([{}], "${item.id}", "spec.nodes[0].with.key"),
    ],
)
def test_keys_that_do_not_tell_items_apart_fail_the_map(items: list[Any], key: str, message: str) -> None:
    x = Driven(mapping(items, key=key))
    assert x.started == []
    assert message in x.failure.message


@pytest.mark.parametrize("items", [{"a": 1}, "abc", None, 3])
def test_what_is_no_list_fails_the_map(items: Any) -> None:
    x = Driven(mapping("${input.items}"), input_={"items": items})
    assert (x.failure.kind, x.failure.node) == ("InvalidWith", "m")


def test_no_more_items_run_at_once_than_its_concurrency() -> None:
    x = Driven(mapping([1, 2, 3, 4, 5], concurrency=2))
    assert x.running == ["m/0", "m/1"]
    x.complete("m/1")
    assert x.running == ["m/0", "m/2"]


def test_an_item_between_two_attempts_keeps_its_place() -> None:
    x = Driven(mapping([1, 2, 3], concurrency=2))
    x.fail("m/0", retryable=True)
    assert x.running == ["m/1"]
    x.wait(1)
    assert x.running == ["m/1", "m/0"]


def test_an_item_is_tried_again_with_the_same_idempotency_key() -> None:
    x = Driven(mapping([1]))
    first = x.in_flight["m/0"]
    x.fail("m/0", retryable=True)
    x.wait(1)
    again = x.in_flight["m/0"]
    assert (again.attempt, again.idempotency_key) == (2, first.idempotency_key)


def test_the_results_stand_in_the_lists_order_whatever_ended_first() -> None:
    x = Driven(mapping([1, 2, 3]), output="${nodes.m.output.results}")
    for key in ("m/2", "m/0", "m/1"):
        x.complete(key, output=key)
    assert x.state.output == ["m/0", "m/1", "m/2"]


def test_an_empty_list_is_done_at_once() -> None:
    x = Driven(mapping([]), output="${nodes.m.output}")
    assert x.state.output == {"results": [], "failures": []}


def test_one_failed_item_fails_the_map_once_no_item_is_in_flight() -> None:
    x = Driven(mapping([1, 2, 3], concurrency=2))
    x.fail("m/0")
    assert x.running == ["m/1"]
    x.complete("m/1")
    assert x.started == ["m/0", "m/1"]
    assert (x.failure.kind, x.failure.node) == ("ItemsFailed", "m")
    assert "1 of 3 items failed, 0 are tolerated; item 0: Broken: m/0 broke" in x.failure.message


@pytest.mark.parametrize(("tolerate", "broken", "status"), [(1, 1, "success"), (1, 2, "failed"), ("50%", 2, "success")])
def test_so_many_failed_items_are_tolerated(tolerate: Any, broken: int, status: str) -> None:
    x = Driven(mapping([1, 2, 3, 4], tolerate=tolerate))
    x.fail(*x.running[:broken])
    x.complete(*x.running)
    assert x.status == status


def test_a_tolerated_failure_leaves_a_null_and_is_told() -> None:
    x = Driven(mapping([1, 2], tolerate=1), output="${nodes.m.output}")
    x.fail("m/0")
    x.complete("m/1", output="ok")
    failures = [{"key": "0", "kind": "Broken", "message": "m/0 broke"}]
    assert x.state.output == {"results": [None, "ok"], "failures": failures}


def test_a_share_of_tolerated_failures_is_rounded_down() -> None:
    x = Driven(mapping([1, 2, 3], tolerate="50%"))
    x.fail("m/0", "m/1")
    x.complete("m/2")
    assert x.status is Status.FAILED


def test_an_item_that_cannot_be_evaluated_has_failed_and_the_others_go_on() -> None:
    x = Driven(mapping([1, 0, 2], {"type": "transform", "with": {"n": "${10 / item}"}}, tolerate=1))
    assert x.running == ["m/0", "m/2"]
    assert x.step("m/1").failure is not None
    assert "spec.nodes[0].with.do.with.n" in x.step("m/1").failure.message


def test_a_retry_of_an_item_is_given_up_with_its_map() -> None:
    x = Driven(mapping([1, 2]), node("c", "m", join="always"))
    x.fail("m/0", retryable=True)
    x.fail("m/1")
    assert x.running == ["c"]
    x.wait(10)
    assert x.running == ["c"]
    x.complete("c")
    assert (x.failure.kind, x.status) == ("ItemsFailed", Status.FAILED)


def test_a_map_that_joins_always_and_gave_up_does_not_stop_what_follows() -> None:
    items = node("m", "a", type_="map", join="always", **{"with": {"items": [1, 2], "do": DO}})
    x = Driven(node("a"), items, node("c", "a", join="always"))
    x.fail("a")
    x.fail("m/0", retryable=True)
    x.fail("m/1")
    x.wait(5)  # the retry of m/0 would be due
    x.complete("c")
    assert x.status is Status.FAILED


def test_while_a_map_that_gave_up_waits_for_its_items_nobody_looks_at_retries_that_are_due() -> None:
    x = Driven(mapping([1, 2, 3]))
    x.fail("m/0", retryable=True)
    x.fail("m/1")
    x.wait(5)
    assert (x.running, x.wake_at) == (["m/2"], None)


def test_items_that_wait_for_children_count_as_being_done() -> None:
    x = Driven(mapping([1, 2, 3], CHILD, concurrency=2))
    x.begin_child("m/0", "m/1")
    assert (x.running, x.status) == ([], Status.WAITING)
    x.child_ends("m/0", output={"n": 1})
    assert x.running == ["m/2"]
    assert x.step("m/0").output == {"n": 1}


def test_the_children_of_a_map_that_gave_up_are_asked_to_cancel() -> None:
    x = Driven(mapping([1, 2], CHILD))
    x.begin_child("m/0", "m/1")
    x.child_ends("m/0", Status.FAILED)
    assert x.asked == {"m/1#1"}
    assert x.is_(StepStatus.MAPPING, "m")
    x.child_ends("m/1", Status.CANCELLED)
    assert x.failure.kind == "ItemsFailed"


def test_an_item_maps_its_output() -> None:
    do = {"type": "workflow", "with": {"workflow": "child"}, "output": "${[item, result.n]}"}
    x = Driven(mapping(["tea"], do), output="${nodes.m.output.results}")
    x.begin_child("m/0")
    x.child_ends("m/0", output={"n": 3})
    assert x.state.output == [["tea", 3]]


def test_a_list_that_no_store_keeps_fails_its_map() -> None:
    x = Driven(node("a"), node("m", "a", type_="map", **{"with": {"items": [1], "do": DO}}))
    x.refused["m"] = ("PayloadTooLarge", "the list is too large")
    x.complete("a")
    assert (x.failure.kind, x.failure.node, x.started) == ("PayloadTooLarge", "m", ["a"])


def test_results_that_no_store_keeps_fail_their_map() -> None:
    x = Driven(mapping([1]))
    x.refused["m"] = ("PayloadTooLarge", "the output is too large")
    x.complete("m/0")
    assert (x.failure.kind, x.failure.node) == ("PayloadTooLarge", "m")


def test_ten_thousand_items_are_done() -> None:
    x = Driven(mapping("${input.items}", concurrency=1000), input_={"items": list(range(10_000))}, checked=False)
    while x.in_flight:
        x.results += [x.completed(x.in_flight.pop(key), None) for key in x.running]
        x.turn()
    assert x.status is Status.SUCCESS
    assert sum(isinstance(event, e.StepCompleted) for event in x.history) == 10_001
