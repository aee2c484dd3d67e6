"""The durable engine's loop, over a store in memory: what is committed with what, and what nobody may lose."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator import events as e
from orchestrator.errors import StepError
from orchestrator.faults import Boundary
from orchestrator.model import Status
from orchestrator.payloads import MAX_PAYLOAD
from orchestrator.store.messages import Control, Delivery
from orchestrator.testing import Bench, faults
from tests.support.engine import node, spec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.nodes.base import StepContext

LARGE = "x" * MAX_PAYLOAD
WAITS = spec(node("s", type_="signal", **{"with": {"name": "go"}}))
ONCE = {"maxAttempts": 1}


@pytest.fixture
def bench() -> Iterator[Bench]:
    with Bench(stubs={"http": lambda with_, _: with_.get("body")}) as bench:
        bench.workflow(WAITS, name="waits")
        yield bench


def child(id_: str = "k", *needs: str, of: str = "waits", input_: Any = None, **fields: Any) -> dict[str, Any]:
    return node(id_, *needs, type_="workflow", **{"with": {"workflow": of, "input": input_ or {}}}, **fields)


def http(id_: str, *needs: str, body: Any = None, **fields: Any) -> dict[str, Any]:
    return node(id_, *needs, type_="http", **{"with": {"url": "https://x", "body": body}}, **fields)


def the_child(bench: Bench, parent: str, at: int = 0) -> str:
    """The id of a child that an execution began."""
    return [event.child for event in bench.history(parent) if isinstance(event, e.ChildStarted)][at]


# ---- children


def test_a_childs_output_comes_back(bench: Bench) -> None:
    x = bench.submit(spec(child(), output="${nodes.k.output}"))
    bench.run()
    bench.signal(the_child(bench, x), "go")
    bench.run()
    assert bench.get(x).status is Status.SUCCESS


def test_a_cancel_reaches_the_child_and_waits_for_it(bench: Bench) -> None:
    x = bench.submit(spec(child()))
    bench.run()
    bench.cancel(x)
    bench.run()
    assert (bench.get(the_child(bench, x)).status, bench.get(x).status) == (Status.CANCELLED, Status.CANCELLED)


def test_a_cancel_reaches_the_childs_child(bench: Bench) -> None:
    bench.workflow(spec(child()), name="between")
    x = bench.submit(spec(child(of="between")))
    bench.run()
    bench.cancel(x)
    bench.run()
    between = the_child(bench, x)
    assert bench.get(the_child(bench, between)).status is Status.CANCELLED


def test_a_child_that_begins_while_its_parent_is_asked_to_cancel_is_cancelled_before_it_does_anything(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.workflow(spec(http("a")), name="works")
    x = bench.submit(spec(child(of="works")))
    current = bench.store.current

    async def current_after_a_cancel(workflow_id: str) -> Any:
        await bench.store.control(x, Control.CANCEL, bench.clock.now())
        return await current(workflow_id)

    monkeypatch.setattr(bench.store, "current", current_after_a_cancel)
    bench.run()
    assert [bench.get(id_).status for id_ in (x, the_child(bench, x))] == [Status.CANCELLED, Status.CANCELLED]
    assert bench.effects == []


def test_a_child_is_asked_to_cancel_in_the_commit_of_its_parents_failure() -> None:
    """Otherwise a crash between the two would leave a parent that waits for ever, or cancel a child for nothing."""
    with Bench(stubs={"bad": broken_after_an_hour}) as bench:
        bench.workflow(WAITS, name="waits")
        x = bench.submit(spec(child(), node("bad", timeout="2h", retry=ONCE)))
        bench.advance(timedelta(minutes=59))
        with faults.record() as reached:
            bench.run()
        assert bench.get(the_child(bench, x)).status is Status.CANCELLED
        assert bench.get(x).status is Status.FAILED
        assert reached[Boundary.DELIVER, faults.Moment.AFTER] == 0


async def broken_after_an_hour(_with: Any, _context: StepContext) -> Any:
    await asyncio.sleep(3600)
    raise StepError("Broken", "no", retryable=False)


def test_the_child_of_a_node_that_joins_always_does_its_work_after_a_failure(bench: Bench) -> None:
    bench.workflow(spec(node("clean")), name="cleaning")
    x = bench.submit(
        spec(
            node("f", type_="fail", **{"with": {"message": "no"}}),
            child("k", "f", of="cleaning", join="always"),
        )
    )
    bench.run()
    assert bench.get(the_child(bench, x)).status is Status.SUCCESS
    assert bench.get(x).status is Status.FAILED


def test_a_child_whose_input_is_too_large_fails_its_node_and_not_the_worker(bench: Bench) -> None:
    x = bench.submit(spec(child(input_={"a": "${input.a}", "b": "${input.a}"})), {"a": LARGE[:-100]})
    bench.run()
    failure = bench.get(x).failure
    assert failure is not None
    assert (failure.kind, failure.node) == ("PayloadTooLarge", "k")


def test_a_child_whose_limit_cannot_be_evaluated_fails_its_node_and_not_the_worker(bench: Bench) -> None:
    bench.workflow(spec(node("a")) | {"concurrency": {"limit": 1, "key": "${input.customer.id}"}}, name="limited")
    x = bench.submit(spec(child(of="limited")))
    bench.run()
    failure = bench.get(x).failure
    assert failure is not None
    assert (failure.kind, failure.node) == ("ExpressionError", "k")
    assert "spec.concurrency.key" in failure.message


def test_a_child_whose_input_does_not_fit_fails_its_node(bench: Bench) -> None:
    strict = spec(node("a")) | {"input": {"schema": {"type": "object", "required": ["n"]}}}
    bench.workflow(strict, name="strict")
    x = bench.submit(spec(child(of="strict")))
    bench.run()
    failure = bench.get(x).failure
    assert failure is not None
    assert failure.kind == "InvalidInput"
    assert "spec.input.n: is required" in failure.message


def test_a_workflow_that_is_not_there_yet_is_tried_again(bench: Bench) -> None:
    x = bench.submit(spec(child(of="later"), retry={"initialInterval": "1m", "jitter": "none"}))
    bench.settle()
    bench.workflow(spec(node("a")), name="later")
    bench.run()
    assert bench.get(x).status is Status.SUCCESS


def test_a_workflow_that_calls_itself_ends_somewhere(bench: Bench) -> None:
    bench.workflow(spec(child(of="self")), name="self")
    x = bench.submit(spec(child(of="self")))
    bench.run()
    failure = bench.get(x).failure
    assert failure is not None
    assert "TooDeep" in failure.message


def test_a_child_is_made_once_however_often_its_parents_worker_dies(bench: Bench) -> None:
    x = bench.submit(spec(child()))
    bench.settle()
    bench.crash()
    bench.run()
    assert sum(isinstance(event, e.ChildStarted) for event in bench.history(x)) == 1


# ---- values that no store keeps


def test_an_output_that_is_too_large_fails_its_step_by_name(bench: Bench) -> None:
    x = bench.submit(spec(http("a", body="${input.a + input.a}")), {"a": LARGE[:-100]})
    bench.run()
    failure = bench.get(x).failure
    assert failure is not None
    assert (failure.kind, failure.node, failure.retryable) == ("PayloadTooLarge", "a", False)
    assert "the output of node a" in failure.message


def test_an_output_that_is_too_large_is_not_tried_again(bench: Bench) -> None:
    bench.submit(spec(http("a", body="${input.a + input.a}")), {"a": LARGE[:-100]})
    bench.run()
    assert len(bench.effects) == 1


def test_results_of_a_map_that_are_too_large_together_fail_the_map(bench: Bench) -> None:
    do = {"type": "http", "with": {"url": "https://x", "body": "${input.a}"}}
    x = bench.submit(spec(node("m", type_="map", **{"with": {"items": [1, 2, 3], "do": do}})), {"a": LARGE[:100_000]})
    bench.run()
    failure = bench.get(x).failure
    assert failure is not None
    assert (failure.kind, failure.node) == ("PayloadTooLarge", "m")


def test_a_list_of_a_map_that_is_too_large_fails_the_map(bench: Bench) -> None:
    items = "${[input.a, input.a, input.a]}"
    x = bench.submit(
        spec(node("m", type_="map", **{"with": {"items": items, "do": {"type": "transform"}}})), {"a": LARGE[:100_000]}
    )
    bench.run()
    failure = bench.get(x).failure
    assert failure is not None
    assert (failure.kind, failure.node) == ("PayloadTooLarge", "m")
    assert "the list of node m" in failure.message


def test_an_output_of_the_execution_that_is_too_large_undoes_what_was_done(bench: Bench) -> None:
    undo = {"type": "http", "with": {"url": "https://x/refund"}}
    x = bench.submit(
        spec(http("a", body="${input.a}", compensate=undo), output="${[nodes.a.output, nodes.a.output, input.a]}"),
        {"a": LARGE[:100_000]},
    )
    bench.run()
    failure = bench.get(x).failure
    assert failure is not None
    assert (failure.kind, bench.get(x).status) == ("PayloadTooLarge", Status.FAILED)
    assert [effect.key for effect in bench.effects] == [f"{x}/a", f"{x}/a:compensate"]


def test_a_fail_with_a_text_that_is_too_large_ends_its_execution(bench: Bench) -> None:
    x = bench.submit(
        spec(node("f", type_="fail", **{"with": {"message": "${input.a + input.a}"}})), {"a": LARGE[:-100]}
    )
    bench.run()
    assert bench.get(x).status is Status.FAILED


# ---- others' events while a step is in flight


@pytest.mark.parametrize("times", [1, 3])
def test_a_result_whose_commit_came_too_late_is_kept_and_what_follows_is_decided_again(times: int) -> None:
    """Something was recorded meanwhile, so the store refused the append with the result and what followed from it."""
    heard: list[int] = []

    async def meanwhile(_with: Any, context: StepContext) -> None:
        heard.append(context.attempt)
        for number in range(times):
            event = e.SignalReceived(bench.clock.now(), "unheard", None, f"{context.node_id}{number}")
            await bench.store.deliver([Delivery(context.execution_id, event)])

    with Bench(stubs={"transform": meanwhile}) as bench:
        items = node("m", "a", type_="map", **{"with": {"items": [1, 2, 3], "do": {"type": "transform"}}})
        x = bench.submit(spec(node("a"), items, node("b", "a"), node("c", "m", "b")))
        bench.run()
        assert bench.get(x).status is Status.SUCCESS
        assert (len(bench.effects), set(heard)) == (6, {1})


def test_a_signal_moves_its_branch_while_another_one_is_in_flight() -> None:
    async def long(_with: Any, _context: StepContext) -> None:
        await asyncio.sleep(3600)

    with Bench(stubs={"a": long}) as bench:
        nodes = (node("a", timeout="2h"), node("s", type_="signal", **{"with": {"name": "go"}}), node("b", "s"))
        x = bench.submit(spec(*nodes))
        bench.advance(timedelta(minutes=1))
        bench.signal(x, "go")
        bench.advance(timedelta(minutes=1))
        assert [effect.node for effect in bench.effects] == ["a", "b"]
