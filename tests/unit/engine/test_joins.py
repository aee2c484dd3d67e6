"""When a node begins, seen from the nodes that it needs."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.model import Status, StepStatus
from tests.support.driven import Driven
from tests.support.engine import node

SKIPPED: dict[str, Any] = {"when": "${false}"}


def test_any_begins_with_the_first_node_that_completes() -> None:
    x = Driven(node("a"), node("b"), node("c", "a", "b", join="any"))
    x.complete("b")
    assert x.running == ["a", "c"]


def test_any_begins_once() -> None:
    x = Driven(node("a"), node("b"), node("c", "a", "b", join="any"))
    x.complete("a", "b", "c")
    assert x.started.count("c") == 1
    assert x.status is Status.SUCCESS


def test_any_waits_on_when_one_of_its_needs_was_skipped() -> None:
    x = Driven(node("a", **SKIPPED), node("b"), node("c", "a", "b", join="any"))
    assert x.running == ["b"]
    x.complete("b")
    assert x.running == ["c"]


def test_any_is_skipped_when_none_of_its_needs_completed() -> None:
    x = Driven(node("a", **SKIPPED), node("b", **SKIPPED), node("c", "a", "b", join="any"))
    assert x.why_skipped("c") == "none of a, b leads here"
    assert x.status is Status.SUCCESS


def test_always_waits_for_all_it_needs_while_nothing_failed() -> None:
    x = Driven(node("a"), node("b"), node("c", "a", "b", join="always"))
    x.complete("a")
    assert x.running == ["b"]


def test_always_begins_behind_skipped_nodes() -> None:
    x = Driven(node("a", **SKIPPED), node("c", "a", join="always"))
    assert x.running == ["c"]


def test_always_begins_after_what_it_needs_failed() -> None:
    x = Driven(node("a"), node("c", "a", join="always"))
    x.fail("a")
    assert x.running == ["c"]
    x.complete("c")
    assert x.status is Status.FAILED


def test_the_first_failure_is_the_executions_even_if_what_joins_always_fails_too() -> None:
    x = Driven(node("a"), node("c", "a", join="always"))
    x.fail("a", kind="First")
    x.fail("c", kind="Second")
    assert (x.failure.kind, x.failure.node) == ("First", "a")


def test_always_begins_behind_a_node_that_will_never_begin() -> None:
    x = Driven(node("a"), node("b", "a"), node("c", "b", join="always"))
    x.fail("a")
    assert x.running == ["c"]
    assert x.is_(StepStatus.PENDING, "b")


def test_always_waits_for_a_need_that_is_in_flight_when_another_node_fails() -> None:
    x = Driven(node("a"), node("b"), node("c", "b", join="always"))
    x.fail("a")
    assert x.running == ["b"]
    x.complete("b")
    assert x.running == ["c"]


def test_always_does_not_wait_for_a_retry_that_was_given_up() -> None:
    x = Driven(node("a"), node("b"), node("c", "b", join="always"))
    x.fail("b", retryable=True)
    x.fail("a")
    assert x.running == ["c"]
    assert x.is_(StepStatus.RETRYING, "b")


def test_always_does_not_wait_for_a_timer_that_was_given_up() -> None:
    x = Driven(node("a"), node("w", type_="wait"), node("c", "w", join="always"))
    x.fail("a")
    assert x.running == ["c"]


def test_always_waits_for_the_items_of_a_map_that_are_in_flight() -> None:
    items = {"items": [1, 2], "do": {"type": "transform"}}
    x = Driven(node("a"), node("m", type_="map", **{"with": items}), node("c", "m", join="always"))
    x.fail("a")
    assert x.running == ["m/0", "m/1"]
    x.complete("m/0")
    assert x.running == ["m/1"]
    x.complete("m/1")
    assert x.running == ["c"]


def test_always_waits_for_a_child_to_end() -> None:
    child = node("k", type_="workflow", **{"with": {"workflow": "child"}})
    x = Driven(node("a"), child, node("c", "k", join="always"))
    x.begin_child("k")
    x.fail("a")
    assert x.running == []
    x.child_ends("k", Status.CANCELLED)
    assert x.running == ["c"]


def test_nodes_that_join_always_wait_for_each_other_after_a_failure() -> None:
    x = Driven(node("a"), node("b", "a", join="always"), node("c", "b", join="always"))
    x.fail("a")
    assert x.running == ["b"]
    x.complete("b")
    assert x.running == ["c"]
    x.complete("c")
    assert x.status is Status.FAILED


def test_a_node_that_joins_always_is_tried_again_after_a_failure() -> None:
    x = Driven(node("a"), node("c", "a", join="always"))
    x.fail("a")
    x.fail("c", retryable=True)
    assert (x.running, x.status) == ([], Status.RUNNING)
    x.wait(1)
    assert x.running == ["c"]


def test_what_needs_a_node_that_joins_always_does_not_begin_after_a_failure() -> None:
    x = Driven(node("a"), node("c", "a", join="always"), node("d", "c"))
    x.fail("a")
    x.complete("c")
    assert x.status is Status.FAILED
    assert "d" not in x.started


def test_a_cancel_lets_nothing_begin_that_joins_always() -> None:
    x = Driven(node("a"), node("c", "a", join="always"))
    x.cancel()
    x.fail("a")
    assert (x.started, x.status) == (["a"], Status.CANCELLED)


def test_after_a_failure_an_execution_waits_for_the_signal_of_a_node_that_joins_always() -> None:
    x = Driven(node("a"), node("s", "a", type_="signal", join="always"))
    x.fail("a")
    assert x.status is Status.WAITING
    x.signal("s")
    assert x.status is Status.FAILED


def test_a_retry_that_was_given_up_keeps_nobody_from_letting_go_of_what_waits_for_a_signal() -> None:
    x = Driven(node("a"), node("b"), node("s", "a", type_="signal", join="always"))
    x.fail("b", retryable=True)
    x.fail("a")
    assert (x.status, x.wake_at) == (Status.WAITING, None)


def test_a_timer_that_was_given_up_is_not_waited_for_beside_a_retry_that_is_not() -> None:
    x = Driven(node("a"), node("w", type_="wait"), node("c", "a", join="always"))
    x.fail("a")
    x.fail("c", retryable=True)
    assert (x.status, x.wake_at) == (Status.RUNNING, x.step("c").due)


def test_after_a_failure_a_condition_is_still_looked_at() -> None:
    x = Driven(node("a"), node("c", "a", join="always", when="${false}"))
    x.fail("a")
    assert x.is_(StepStatus.SKIPPED, "c")
    assert x.status is Status.FAILED


@pytest.mark.parametrize("join", ["all", "any"])
def test_a_failure_lets_nothing_else_begin(join: str) -> None:
    x = Driven(node("a"), node("b"), node("c", "b", join=join))
    x.fail("a")
    x.complete("b")
    assert x.started == ["a", "b"]
    assert x.status is Status.FAILED


# ---- switch


def switch(*cases: tuple[str, list[str]], default: tuple[str, ...] = ()) -> dict[str, Any]:
    with_ = {"cases": [{"when": when, "to": to} for when, to in cases], "default": list(default)}
    return node("s", type_="switch", **{"with": with_})


def test_the_first_true_case_is_taken_and_the_others_are_skipped() -> None:
    ways = switch(("${false}", ["a"]), ("${true}", ["b"]), ("${true}", ["c"]))
    x = Driven(ways, node("a", "s"), node("b", "s"), node("c", "s"))
    assert x.step("s").output == {"case": 1, "taken": ["b"]}
    assert x.running == ["b"]
    assert x.why_skipped("a") == "s took another branch"


def test_without_a_true_case_the_default_is_taken() -> None:
    x = Driven(switch(("${false}", ["a"]), default=("b",)), node("a", "s"), node("b", "s"))
    assert x.step("s").output == {"case": None, "taken": ["b"]}
    assert x.running == ["b"]


def test_without_a_default_all_branches_are_skipped() -> None:
    x = Driven(switch(("${false}", ["a"])), node("a", "s"))
    assert (x.started, x.status) == ([], Status.SUCCESS)


def test_a_node_that_no_case_names_runs_behind_the_switch_anyway() -> None:
    x = Driven(switch(("${false}", ["a"])), node("a", "s"), node("z", "s"))
    assert x.running == ["z"]


def test_a_branch_is_skipped_as_a_whole() -> None:
    x = Driven(switch(("${false}", ["a"])), node("a", "s"), node("b", "a"))
    assert x.why_skipped("b") == "a was skipped"


def test_branches_meet_in_a_node_that_joins_any() -> None:
    x = Driven(
        switch(("${true}", ["a"]), ("${true}", ["b"])),
        node("a", "s"),
        node("b", "s"),
        node("end", "a", "b", join="any"),
    )
    x.complete("a")
    assert x.running == ["end"]


def test_branches_that_meet_in_a_node_that_joins_all_skip_it() -> None:
    x = Driven(switch(("${true}", ["a"]), ("${true}", ["b"])), node("a", "s"), node("b", "s"), node("end", "a", "b"))
    x.complete("a")
    assert x.is_(StepStatus.SKIPPED, "end")


def test_a_switch_that_took_another_way_leads_nowhere_for_a_node_that_joins_any() -> None:
    x = Driven(switch(("${true}", ["a"]), ("${true}", ["b"])), node("a", "s"), node("b", "s", join="any"))
    assert x.is_(StepStatus.SKIPPED, "b")


def test_a_node_that_joins_always_runs_though_the_switch_took_another_way() -> None:
    x = Driven(switch(("${true}", ["a"]), ("${true}", ["b"])), node("a", "s"), node("b", "s", join="always"))
    assert x.running == ["a", "b"]


def test_a_case_that_cannot_be_evaluated_fails_the_switch_with_its_place() -> None:
    x = Driven(switch(("${input.missing.deep}", ["a"])), node("a", "s"))
    assert x.failure.kind == "ExpressionError"
    assert "spec.nodes[0].with.cases[0].when" in x.failure.message


# ---- fail


def test_fail_ends_the_execution_with_its_authors_words() -> None:
    x = Driven(
        node("f", type_="fail", **{"with": {"kind": "OutOfStock", "message": "no ${input.what}"}}),
        input_={"what": "tea"},
    )
    assert (x.failure.kind, x.failure.message, x.failure.node) == ("OutOfStock", "no tea", "f")


def test_a_kind_that_is_no_word_is_refused() -> None:
    x = Driven(node("f", type_="fail", **{"with": {"kind": "${input.k}", "message": "m"}}), input_={"k": "a b"})
    assert x.failure.kind == "InvalidWith"


def test_the_message_of_a_fail_is_cut_before_no_store_could_keep_it() -> None:
    x = Driven(node("f", type_="fail", **{"with": {"message": "${input.m}"}}), input_={"m": "x" * 300_000})
    assert len(x.failure.message) == 2000
