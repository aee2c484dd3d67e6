"""The bench: the real engine in memory, with time that jumps."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator import events as e
from orchestrator.errors import InvalidExecution, InvalidWorkflow, OrchestratorError, StepError, UnknownExecution
from orchestrator.faults import Boundary
from orchestrator.model import Status
from orchestrator.store.messages import Delivered
from orchestrator.testing import Bench, FakeClock, faults, run_workflow
from tests.support.engine import node, spec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from orchestrator.nodes.base import StepContext

START = datetime(2026, 1, 1, tzinfo=UTC)
NO_JITTER = {"retry": {"maxAttempts": 3, "initialInterval": "10s", "jitter": "none"}}


@pytest.fixture
def bench() -> Iterator[Bench]:
    with Bench() as bench:
        yield bench


def test_a_workflow_runs_to_its_end() -> None:
    ran = run_workflow(
        spec(node("a", **{"with": {"x": "${input.n + 1}"}}), output={"x": "${nodes.a.output.x}"}), {"n": 1}
    )
    assert (ran.record.status, ran.record.output) == (Status.SUCCESS, {"x": 2})
    assert type(ran.history[-1]) is e.ExecutionSucceeded


def test_a_timer_of_days_ends_at_its_own_moment(bench: Bench) -> None:
    x = bench.submit(spec(node("w", type_="wait", **{"with": {"duration": "30d"}})))
    bench.run()
    assert (bench.get(x).status, bench.get(x).finished_at) == (Status.SUCCESS, START + timedelta(days=30))


def test_time_stands_still_until_it_is_told(bench: Bench) -> None:
    x = bench.submit(spec(node("w", type_="wait", **{"with": {"duration": "1h"}})))
    bench.advance(timedelta(minutes=59))
    assert (bench.get(x).status, bench.clock.now()) == (Status.WAITING, START + timedelta(minutes=59))
    bench.advance(timedelta(minutes=1))
    assert (bench.get(x).status, bench.clock.now()) == (Status.SUCCESS, START + timedelta(hours=1))


def test_settling_lets_no_time_pass(bench: Bench) -> None:
    x = bench.submit(spec(node("a"), node("w", "a", type_="wait")))
    bench.settle()
    assert (bench.get(x).done, bench.clock.now()) == (1, START)


def test_the_clock_may_be_the_testers_own() -> None:
    clock = FakeClock(datetime(2030, 1, 1, tzinfo=UTC))
    ran = run_workflow(spec(node("w", type_="wait", **{"with": {"until": "2030-06-01T00:00:00Z"}})), clock=clock)
    assert ran.record.finished_at == clock.now() == datetime(2030, 6, 1, tzinfo=UTC)


def test_attempts_are_as_far_apart_as_their_policy_says() -> None:
    def unwilling(_with: Any, context: StepContext) -> Any:
        if context.attempt < 3:
            raise StepError("HttpStatus", "503", retryable=True, status=503)
        return {"status": 200}

    flow = spec(node("pay", type_="http", **NO_JITTER, **{"with": {"url": "https://shop.example/pay"}}))
    ran = run_workflow(flow, stubs={"pay": unwilling})
    attempts = [event.at for event in ran.history if isinstance(event, e.StepFailed | e.StepCompleted)]
    assert [(at - START).total_seconds() for at in attempts] == [0, 10, 30]


def test_the_same_seed_draws_the_same_jitter() -> None:
    def waits(seed: int) -> list[datetime]:
        def fails(_with: Mapping[str, Any], _context: StepContext) -> Any:
            raise StepError("HttpStatus", "503", retryable=True, status=503)

        with Bench(stubs={"http": fails}, seed=seed) as bench:
            with_ = {"method": "GET", "url": "https://shop.example"}
            x = bench.submit(spec(node("a", type_="http", retry={"maxAttempts": 4}, **{"with": with_})))
            bench.run()
            return [event.at for event in bench.history(x)]

    assert waits(1) == waits(1)
    assert waits(1) != waits(2)


def test_every_attempt_is_noted_with_its_key() -> None:
    flow = spec(node("pay", type_="http", **{"with": {"url": "https://shop.example/${input.n}"}}))
    ran = run_workflow(flow, {"n": 7}, stubs={"http": lambda _with, _context: {"status": 200}})
    (effect,) = ran.effects
    assert (effect.node, effect.attempt, effect.key) == ("pay", 1, "execution-1/pay")
    assert effect.with_["url"] == "https://shop.example/7"


def test_nothing_leaves_the_process_without_a_stub() -> None:
    ran = run_workflow(spec(node("pay", type_="http", **{"with": {"url": "https://shop.example"}})))
    assert ran.record.failure is not None
    assert (ran.record.failure.kind, "pay" in ran.record.failure.message) == ("NoStub", True)


@pytest.mark.parametrize("plain", [True, False])
def test_functions_are_called_by_their_names(plain: bool) -> None:
    def plain_double(n: int, context: StepContext) -> int:
        assert context.attempt == 1
        return 2 * n

    async def double(n: int) -> int:
        await asyncio.sleep(20)
        return 2 * n

    flow = spec(
        node("d", type_="python", **{"with": {"call": "double", "args": {"n": "${input.n}"}}}),
        output="${nodes.d.output}",
    )
    ran = run_workflow(flow, {"n": 4}, functions={"double": plain_double if plain else double})
    assert (ran.record.status, ran.record.output) == (Status.SUCCESS, 8)


def test_a_function_that_sleeps_too_long_times_out_at_its_own_moment() -> None:
    async def sleepy() -> None:
        await asyncio.sleep(3600)

    step = node("s", type_="python", timeout="5m", retry={"maxAttempts": 1}, **{"with": {"call": "sleepy"}})
    ran = run_workflow(spec(step), functions={"sleepy": sleepy})
    assert ran.record.failure is not None
    assert (ran.record.failure.kind, ran.record.finished_at) == ("Timeout", START + timedelta(minutes=5))


def test_a_signal_wakes_who_waits_for_it(bench: Bench) -> None:
    x = bench.submit(spec(node("s", type_="signal", **{"with": {"name": "go"}}), output="${nodes.s.output}"))
    bench.run()
    assert bench.get(x).status is Status.WAITING
    assert bench.signal(x, "go", {"by": "eve"}, id="1") is Delivered.RECORDED
    assert bench.signal(x, "go", {"by": "eve"}, id="1") is Delivered.DUPLICATE
    bench.run()
    assert (bench.get(x).status, bench.get(x).output) == (Status.SUCCESS, {"by": "eve"})


def test_a_signal_that_its_node_would_not_take_is_refused(bench: Bench) -> None:
    with_ = {"name": "paid", "schema": {"type": "object", "required": ["amount"]}}
    x = bench.submit(spec(node("s", type_="signal", **{"with": with_})))
    with pytest.raises(InvalidExecution, match="amount"):
        bench.signal(x, "paid", {})
    with pytest.raises(InvalidExecution, match="paid"):
        bench.signal(x, "payed", {"amount": 1})
    assert bench.signal(x, "paid", {"amount": 1}) is Delivered.RECORDED


def test_a_cancelled_one_ends(bench: Bench) -> None:
    x = bench.submit(spec(node("w", type_="wait", **{"with": {"duration": "1h"}})))
    bench.settle()
    assert bench.cancel(x)
    bench.run()
    assert (bench.get(x).status, bench.clock.now()) == (Status.CANCELLED, START)


def test_a_suspended_one_goes_on_when_it_is_resumed(bench: Bench) -> None:
    x = bench.submit(spec(node("w", type_="wait", **{"with": {"duration": "1h"}}), node("a", "w")))
    bench.settle()
    assert bench.suspend(x)
    bench.run()
    assert bench.get(x).status is Status.SUSPENDED
    assert bench.resume(x)
    bench.run()
    assert bench.get(x).status is Status.SUCCESS


def test_children_run_the_workflow_of_their_name(bench: Bench) -> None:
    bench.workflow(spec(node("a", **{"with": {"x": "${input.n}"}}), output="${nodes.a.output.x}"), name="child")
    x = bench.submit(
        spec(
            node("c", type_="workflow", **{"with": {"workflow": "child", "input": {"n": 3}}}),
            output="${nodes.c.output}",
        )
    )
    bench.run()
    assert (bench.get(x).status, bench.get(x).output) == (Status.SUCCESS, 3)


def test_a_worker_that_dies_is_followed_by_another() -> None:
    async def slow() -> str:
        await asyncio.sleep(10)
        return "done"

    with Bench(functions={"slow": slow}) as bench:
        x = bench.submit(spec(node("a", type_="python", **{"with": {"call": "slow"}})))
        bench.advance(timedelta(seconds=5))
        bench.crash()
        bench.run()
        assert (bench.get(x).status, len(bench.effects)) == (Status.SUCCESS, 2)
        assert len({effect.key for effect in bench.effects}) == 1
        assert bench.get(x).fence == 2


def test_a_lost_answer_repeats_no_step(bench: Bench) -> None:
    x = bench.submit(spec(node("a"), node("b", "a")))
    with faults.lose(Boundary.APPEND, times=3):
        bench.run()
    assert (bench.get(x).status, [effect.node for effect in bench.effects]) == (Status.SUCCESS, ["a", "b"])


def test_a_bench_that_cannot_rest_says_so(bench: Bench) -> None:
    bench.submit(spec(node("w", type_="wait", **{"with": {"duration": "2d"}})))
    with pytest.raises(AssertionError, match="not at rest within 1 day"):
        bench.run(within=timedelta(days=1))


def test_what_the_product_would_refuse_is_refused(bench: Bench) -> None:
    with pytest.raises(InvalidWorkflow, match="nobody"):
        bench.submit(spec(node("a", "nobody")))
    flow = spec(node("a")) | {"input": {"schema": {"type": "object", "required": ["n"]}}}
    with pytest.raises(InvalidExecution, match="n"):
        bench.submit(flow, {})
    with pytest.raises(UnknownExecution, match="nobody"):
        bench.get("nobody")


async def test_inside_another_loop_a_bench_says_what_to_do() -> None:
    with pytest.raises(OrchestratorError, match="to_thread"):
        Bench()
    ran = await asyncio.to_thread(run_workflow, spec(node("a")))
    assert ran.record.status is Status.SUCCESS


def test_many_executions_share_a_bench(bench: Bench) -> None:
    flow = bench.workflow(spec(node("w", type_="wait", **{"with": {"duration": "${input.d}"}})))
    ids = [bench.submit(flow, {"d": f"{n}h"}) for n in range(1, 51)]
    bench.run()
    assert [bench.get(x).finished_at for x in ids] == [START + timedelta(hours=n) for n in range(1, 51)]


def test_a_clock_that_jumps_back_harms_nobody(bench: Bench) -> None:
    x = bench.submit(spec(node("w", type_="wait", **{"with": {"duration": "1h"}}), node("a", "w")))
    bench.settle()
    bench.clock.advance(-86400)
    bench.run()
    assert (bench.get(x).status, bench.get(x).finished_at) == (Status.SUCCESS, START + timedelta(hours=1))
