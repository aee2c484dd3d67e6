"""Signals and approvals: what waits for somebody outside."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.model import Status, StepStatus
from tests.support.driven import Driven
from tests.support.engine import at, node


def signal(id_: str = "s", *needs: str, output: Any = None, **with_: Any) -> dict[str, Any]:
    mapped = {} if output is None else {"output": output}
    return node(id_, *needs, type_="signal", **{"with": with_}, **mapped)


def approval(**with_: Any) -> dict[str, Any]:
    return node("ok", type_="approval", **{"with": with_})


YES = {"approved": True, "approver": "ann"}
NO = {"approved": False, "approver": "bob", "comment": "too dear"}


def test_nobody_holds_an_execution_that_waits_for_a_signal() -> None:
    x = Driven(signal())
    assert (x.status, x.wake_at) == (Status.WAITING, None)


def test_the_payload_is_the_output() -> None:
    x = Driven(signal(), output="${nodes.s.output}")
    x.signal("s", {"n": 1})
    assert (x.status, x.state.output) == (Status.SUCCESS, {"n": 1})


def test_a_signal_is_named_after_its_node_unless_it_has_a_name() -> None:
    x = Driven(signal(name="paid"))
    x.signal("s")
    assert x.status is Status.WAITING
    x.signal("paid")
    assert x.status is Status.SUCCESS


def test_a_signal_that_comes_early_is_kept() -> None:
    x = Driven(node("a"), signal("s", "a"))
    x.signal("s", 5)
    x.complete("a")
    assert (x.status, x.step("s").output, x.state.signals) == (Status.SUCCESS, 5, ())


def test_signals_of_one_name_are_taken_in_the_order_in_which_they_came() -> None:
    x = Driven(node("a"), signal("s", "a", name="n"), signal("t", "s", name="n"))
    x.signal("n", "first")
    x.signal("n", "second")
    x.complete("a")
    assert (x.step("s").output, x.step("t").output) == ("first", "second")


def test_one_signal_goes_to_one_node() -> None:
    x = Driven(signal("s", name="n"), signal("t", name="n"))
    x.signal("n")
    assert x.is_(StepStatus.COMPLETED, "s")
    assert x.is_(StepStatus.WAITING, "t")


def test_the_node_that_has_waited_longer_takes_it() -> None:
    x = Driven(node("a"), signal("s", "a", name="n"), signal("t", name="n"))
    x.wait(1)
    x.complete("a")
    x.signal("n")
    assert x.is_(StepStatus.COMPLETED, "t")
    assert x.is_(StepStatus.WAITING, "s")


def test_a_signal_that_does_not_come_in_time_fails_the_node() -> None:
    x = Driven(signal(timeout="5s"))
    assert x.wake_at == at(5)
    x.wait(5)
    assert x.failure.kind == "SignalTimeout"


@pytest.mark.parametrize("default", [None, False, {"n": "${input.n}"}])
def test_a_default_stands_for_a_signal_that_did_not_come(default: Any) -> None:
    x = Driven(signal(timeout="5s", default=default), input_={"n": 7})
    x.wait(5)
    assert x.status is Status.SUCCESS
    assert x.step("s").output == ({"n": 7} if default else default)


def test_a_default_that_cannot_be_evaluated_fails_the_node() -> None:
    x = Driven(signal(timeout="5s", default="${input.missing.deep}"))
    x.wait(5)
    assert "spec.nodes[0].with.default" in x.failure.message


def test_a_timeout_may_be_an_expression() -> None:
    assert Driven(signal(timeout="${input.t}"), input_={"t": "7s"}).wake_at == at(7)


def test_a_timeout_that_is_no_duration_fails_the_node() -> None:
    x = Driven(signal(timeout="${input.t}"), input_={"t": "soon"})
    assert x.failure.kind == "InvalidWith"


def test_the_payload_is_mapped() -> None:
    x = Driven(signal(output="${result.n + 1}"), output="${nodes.s.output}")
    x.signal("s", {"n": 1})
    assert x.state.output == 2


def test_a_payload_that_cannot_be_mapped_fails_the_node_and_is_taken() -> None:
    x = Driven(signal(output="${result.n + 1}"))
    x.signal("s", {})
    assert x.failure.kind == "ExpressionError"
    assert "spec.nodes[0].output" in x.failure.message
    assert x.state.signals == ()


def test_a_signal_is_not_taken_while_the_execution_is_suspended() -> None:
    x = Driven(signal())
    x.suspend()
    x.signal("s")
    assert (x.status, len(x.state.signals)) == (Status.SUSPENDED, 1)
    x.resume()
    assert x.status is Status.SUCCESS


def test_a_signal_that_came_in_time_counts_though_the_time_was_over_during_a_suspension() -> None:
    x = Driven(signal(timeout="5s"))
    x.suspend()
    x.signal("s", "in time")
    x.wait(60)
    x.resume()
    assert x.step("s").output == "in time"


def test_time_that_was_over_during_a_suspension_counts_after_it() -> None:
    x = Driven(signal(timeout="5s"))
    x.suspend()
    x.wait(60)
    assert x.status is Status.SUSPENDED
    x.resume()
    assert x.failure.kind == "SignalTimeout"


def test_a_signal_that_nobody_waits_for_changes_nothing() -> None:
    x = Driven(node("a"))
    x.signal("s")
    x.complete("a")
    assert x.status is Status.SUCCESS


def test_a_payload_that_no_store_keeps_fails_the_node_and_is_taken() -> None:
    x = Driven(node("a"), signal("s", "a"))
    x.signal("s", "large")
    x.turn()
    x.refused["s"] = ("PayloadTooLarge", "the output is too large")
    x.complete("a")
    assert (x.failure.kind, x.state.signals) == ("PayloadTooLarge", ())


# ---- approvals


def test_a_yes_lets_the_node_complete_with_who_said_so() -> None:
    x = Driven(approval())
    x.signal("ok", YES)
    assert x.step("ok").output == {"approved": True, "approver": "ann", "comment": None}


def test_a_no_fails_the_node_with_the_comment() -> None:
    x = Driven(approval())
    x.signal("ok", NO)
    assert (x.failure.kind, x.failure.message) == ("Rejected", "rejected by bob: too dear")
    assert x.state.signals == ()


def test_a_no_may_be_an_output() -> None:
    x = Driven(approval(onReject="continue"))
    x.signal("ok", NO)
    assert (x.status, x.step("ok").output) == (Status.SUCCESS, NO)


def test_nobody_who_decides_fails_the_node() -> None:
    x = Driven(approval(timeout="5s"))
    x.wait(5)
    assert x.failure.kind == "SignalTimeout"


def test_nobody_who_decides_may_count_as_yes() -> None:
    x = Driven(approval(timeout="5s", default=True))
    x.wait(5)
    assert x.step("ok").output == {"approved": True, "approver": None, "comment": "nobody decided in time"}


def test_nobody_who_decides_may_count_as_no() -> None:
    x = Driven(approval(timeout="5s", default=False))
    x.wait(5)
    assert x.failure.kind == "Rejected"


def test_nobody_who_decides_may_count_as_a_no_that_goes_on() -> None:
    x = Driven(approval(timeout="5s", default=False, onReject="continue"))
    x.wait(5)
    assert (x.status, x.step("ok").output["approved"]) == (Status.SUCCESS, False)


@pytest.mark.parametrize("payload", [None, "yes", [True], 1])
def test_a_payload_that_is_no_decision_fails_the_node_instead_of_the_worker(payload: Any) -> None:
    x = Driven(approval())
    x.signal("ok", payload)
    assert x.failure.kind == "InvalidSignal"


# ---- timers


def test_as_many_timers_as_there_are_fire_at_once() -> None:
    waits = [node(f"w{index}", type_="wait") for index in range(5)]
    x = Driven(*waits)
    x.wait(1)
    assert x.status is Status.SUCCESS


def test_a_timer_does_not_fire_before_its_time() -> None:
    x = Driven(node("w", type_="wait"))
    x.wait(0.999)
    assert x.status is Status.WAITING


def test_a_clock_that_went_back_delays_a_timer() -> None:
    x = Driven(node("w", type_="wait"))
    x.wait(-10)
    assert (x.status, x.wake_at) == (Status.WAITING, at(1))
