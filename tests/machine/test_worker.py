"""Workers on real stores: executions end, faults are survived, nothing runs twice after its commit."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from orchestrator import events as e
from orchestrator.clock import SystemClock
from orchestrator.decide import project
from orchestrator.errors import StoreUnavailable
from orchestrator.fold import fold
from orchestrator.functions import Functions, NonRetryable
from orchestrator.model import Engine, Status
from orchestrator.nodes.runner import NodeRunner
from orchestrator.store import Control, Store, open_store
from orchestrator.store.postgres import Lines
from orchestrator.worker import Worker, WorkerSettings
from tests.support.engine import ended, node, spec, working
from tests.support.stores import submission, workflow

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pytest

    from orchestrator.store import Append, Outcome
    from tests.support.postgres import LocalPostgres

FAST = {"retry": {"maxAttempts": 3, "initialInterval": "10ms", "jitter": "none"}}


def registered(**functions: Callable[..., Any]) -> Functions:
    registry = Functions()
    for name, function in functions.items():
        registry.register(function, f"tests:{name}")
    return registry


def call(id_: str, *needs: str, **args: Any) -> dict[str, Any]:
    return node(id_, *needs, type_="python", **{"with": {"call": f"tests:{id_}", "args": args}})


def now() -> datetime:
    return datetime.now(UTC)


async def check(store: Store, execution_id: str) -> None:
    """The invariants of every V2 execution."""
    history = await store.events(execution_id)
    record = await store.get(execution_id)
    assert record is not None
    assert [r.seq for r in history] == list(range(1, len(history) + 1))
    flow = await store.workflow(record.workflow_id, record.revision)
    row = project(flow, fold(execution_id, history))
    assert (row.status, row.current_node, row.done, row.retries, row.output, row.failure) == (
        record.status,
        record.current_node,
        record.done,
        record.retries,
        record.output,
        record.failure,
    )
    completions = Counter(r.event.node for r in history if isinstance(r.event, e.StepCompleted))
    assert set(completions.values()) <= {1}


async def test_a_workflow_runs_to_its_output(store: Store) -> None:
    flow = workflow(
        spec(
            node("a", **{"with": {"x": "${input.n + 1}"}}),
            node("w", "a", type_="wait", **{"with": {"duration": "50ms"}}),
            node("b", "w", **{"with": {"y": "${nodes.a.output.x * 2}"}}),
            output={"y": "${nodes.b.output.y}"},
        )
    )
    await store.submit([submission("x1", workflow=flow)], now())
    async with working(store):
        (record,) = await ended(store, ["x1"])
    assert (record.status, record.output, record.done) == (Status.SUCCESS, {"y": 4}, 3)
    await check(store, "x1")


async def test_a_failed_attempt_is_retried_by_itself(store: Store) -> None:
    attempts = []

    def flaky(context: Any) -> str:
        attempts.append(context.idempotency_key)
        if len(attempts) < 3:
            raise RuntimeError("not yet")
        return "done"

    flow = workflow(spec(call("flaky"), output="${nodes.flaky.output}", **FAST))
    await store.submit([submission("x1", workflow=flow)], now())
    async with working(store, registered(flaky=flaky)):
        (record,) = await ended(store, ["x1"])
    assert (record.status, record.output, record.retries) == (Status.SUCCESS, "done", 2)
    assert attempts == ["x1/flaky"] * 3
    await check(store, "x1")


async def test_attempts_end_at_their_maximum(store: Store) -> None:
    def broken() -> None:
        raise RuntimeError("always")

    await store.submit([submission("x1", workflow=workflow(spec(call("broken"), **FAST)))], now())
    async with working(store, registered(broken=broken)):
        (record,) = await ended(store, ["x1"])
    assert record.status is Status.FAILED
    assert record.failure is not None
    assert (record.failure.node, record.failure.kind, record.failure.message) == ("broken", "RuntimeError", "always")
    assert sum(isinstance(r.event, e.StepFailed) for r in await store.events("x1")) == 3
    await check(store, "x1")


async def test_an_error_that_cannot_be_retried_is_not(store: Store) -> None:
    def final() -> None:
        raise NonRetryable("no such customer")

    await store.submit([submission("x1", workflow=workflow(spec(call("final"), **FAST)))], now())
    async with working(store, registered(final=final)):
        (record,) = await ended(store, ["x1"])
    assert (record.status, record.retries) == (Status.FAILED, 0)


async def test_parallel_branches_overlap(store: Store) -> None:
    meeting = asyncio.Barrier(3)

    async def branch() -> None:
        async with asyncio.timeout(10):
            await meeting.wait()

    nodes = [node(i, type_="python", **{"with": {"call": "tests:branch"}}) for i in "abc"]
    await store.submit([submission("x1", workflow=workflow(spec(*nodes)))], now())
    async with working(store, registered(branch=branch)):
        (record,) = await ended(store, ["x1"])
    assert record.status is Status.SUCCESS


async def test_executions_do_not_see_each_other(store: Store) -> None:
    flow = workflow(
        spec(
            node("a", **{"with": {"x": "${input.n}"}}),
            node("w", "a", type_="wait", **{"with": {"duration": "20ms"}}),
            node("b", "w", **{"with": {"x": "${nodes.a.output.x}"}}),
            output="${nodes.b.output.x}",
        )
    )
    ids = [f"x{i}" for i in range(30)]
    await store.submit([submission(id_, workflow=flow, input={"n": i}) for i, id_ in enumerate(ids)], now())
    async with working(store):
        records = await ended(store, ids)
    assert [record.output for record in records] == list(range(30))


async def test_v1_lets_the_context_of_one_execution_leak_into_another(store: Store) -> None:
    """The baseline is kept as it was: this is what V2's promise 8 is about."""
    flow = workflow(
        spec(
            node("a", **{"with": {"x": "${input.n}"}}),
            node("w", "a", type_="wait", **{"with": {"duration": "200ms"}}),
            output="${nodes.a.output.x}",
        )
    )
    ids = [f"x{i}" for i in range(10)]
    await store.submit(
        [submission(id_, workflow=flow, input={"n": i}, engine=Engine.V1) for i, id_ in enumerate(ids)], now()
    )
    async with working(store):
        records = await ended(store, ids)
    assert [record.output for record in records] != list(range(10))


async def test_v1_does_not_retry(store: Store) -> None:
    attempts = []

    def broken() -> None:
        attempts.append(1)
        raise RuntimeError("always")

    flow = workflow(spec(call("broken"), **FAST))
    await store.submit([submission("x1", workflow=flow, engine=Engine.V1)], now())
    async with working(store, registered(broken=broken)):
        (record,) = await ended(store, ["x1"])
    assert (record.status, len(attempts)) == (Status.FAILED, 1)
    assert [line for _, line in await store.edge_logs(record.created_at, contains="ERROR")]


async def test_v1_keeps_no_events(store: Store) -> None:
    await store.submit([submission("x1", engine=Engine.V1)], now())
    async with working(store):
        (record,) = await ended(store, ["x1"])
    assert record.status is Status.SUCCESS
    assert await store.events("x1") == []


async def test_a_committed_step_does_not_run_again_on_another_worker(store: Store) -> None:
    runs: Counter[str] = Counter()
    hold = asyncio.Event()

    async def first() -> None:
        runs["first"] += 1

    async def second() -> None:
        runs["second"] += 1
        await hold.wait()

    functions = registered(first=first, second=second)
    await store.submit([submission("x1", workflow=workflow(spec(call("first"), call("second", "first"))))], now())
    short = WorkerSettings(poll=timedelta(milliseconds=20), lease=timedelta(seconds=2), drain=timedelta(0))
    async with working(store, functions, short):
        async with asyncio.timeout(10):
            while not runs["second"]:
                await asyncio.sleep(0.01)
    hold.set()
    async with working(store, functions, short):
        (record,) = await ended(store, ["x1"])
    assert record.status is Status.SUCCESS
    assert runs == {"first": 1, "second": 2}
    await check(store, "x1")


async def test_a_cancel_stops_an_execution_between_its_steps(store: Store) -> None:
    began, go = asyncio.Event(), asyncio.Event()

    async def first() -> None:
        began.set()
        await go.wait()

    async def second() -> None:
        raise AssertionError("must not start")

    functions = registered(first=first, second=second)
    flow = workflow(spec(call("first"), call("second", "first")))
    await store.submit([submission("x1", workflow=flow)], now())
    async with working(store, functions):
        await asyncio.wait_for(began.wait(), 10)
        assert await store.control("x1", Control.CANCEL, now())
        go.set()
        (record,) = await ended(store, ["x1"])
    assert (record.status, record.done) == (Status.CANCELLED, 1)
    await check(store, "x1")


async def test_a_suspended_execution_goes_on_after_a_resume(store: Store) -> None:
    flow = workflow(spec(node("w", type_="wait", **{"with": {"duration": "100ms"}}), node("b", "w")))
    await store.submit([submission("x1", workflow=flow)], now())
    assert await store.control("x1", Control.SUSPEND, now())
    async with working(store):
        async with asyncio.timeout(10):
            while (record := await store.get("x1")) is None or record.status is not Status.SUSPENDED:
                await asyncio.sleep(0.02)
        assert await store.control("x1", Control.RESUME, now())
        (record,) = await ended(store, ["x1"])
    assert record.status is Status.SUCCESS
    await check(store, "x1")


async def test_a_restored_execution_starts_only_when_a_person_says_so(store: Store) -> None:
    await store.submit([submission("x1", suspended="Restored")], now())
    async with working(store):
        await store.submit([submission("x2")], now())
        await ended(store, ["x2"])
        record = await store.get("x1")
        assert record is not None
        assert (record.status, record.message) == (Status.SUSPENDED, "Restored")
        await store.control("x1", Control.RESUME, now())
        await ended(store, ["x1"])


async def test_an_answer_that_is_lost_after_the_commit_repeats_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database commits, but the caller sees an error: the retry of the same append is recognised."""
    runs: Counter[str] = Counter()
    commit, lost = store.append, 0

    async def committed_but_lost(batch: list[Append]) -> list[Outcome]:
        nonlocal lost
        answers = await commit(batch)
        if lost < 3:
            lost += 1
            raise StoreUnavailable("the connection broke after the commit")
        return answers

    monkeypatch.setattr(store, "append", committed_but_lost)
    functions = registered(**{i: lambda i=i: runs.update([i]) for i in "abcd"})
    chain = spec(call("a"), call("b", "a"), call("c", "b"), call("d", "c"))
    await store.submit([submission("x1", workflow=workflow(chain))], now())
    async with working(store, functions):
        (record,) = await ended(store, ["x1"])
    assert (record.status, lost) == (Status.SUCCESS, 3)
    assert runs == dict.fromkeys("abcd", 1)
    await check(store, "x1")


async def test_a_hundred_executions_share_commits(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = []
    commit = store.append

    async def counted(batch: list[Append]) -> list[Outcome]:
        batches.append(len(batch))
        return await commit(batch)

    monkeypatch.setattr(store, "append", counted)
    chain = spec(node("a"), node("b", "a"), node("c", "b"))
    ids = [f"x{i}" for i in range(100)]
    await store.submit([submission(id_, workflow=workflow(chain)) for id_ in ids], now())
    async with working(store):
        await ended(store, ids)
    assert sum(batches) == 300  # one durable append a step: the last one carries the end, too
    assert len(batches) < 100


async def test_an_execution_alone_costs_a_claim_a_commit_a_step_and_no_reading(
    postgres: LocalPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    ask = Lines.ask

    async def noted(lines: Lines, query: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        asked.append(query)
        return await ask(lines, query, values)

    chain = spec(node("a"), node("b", "a"), node("c", "b"))
    over = asyncio.Event()
    store = await open_store(postgres.create_database())
    async with NodeRunner() as runner:
        rarely = WorkerSettings(poll=timedelta(minutes=1))
        worker = Worker(store, runner, SystemClock(), rarely, on_end=lambda _: over.set())
        stop = asyncio.Event()
        task = asyncio.create_task(worker.run(stop))
        await store.submit([submission("warm", workflow=workflow(chain))], now())
        worker.hint()
        async with asyncio.timeout(20):
            await over.wait()
        over.clear()
        monkeypatch.setattr(Lines, "ask", noted)
        await store.submit([submission("x1", workflow=workflow(chain))], now())
        worker.hint(Engine.V2)
        async with asyncio.timeout(20):
            await over.wait()
        stop.set()
        await task
    await store.close()
    names = [re.findall(r"orchestrator_(\w+)_1", query) for query in asked]
    assert names == [["submit"], ["claim"], *[["append"]] * 3]


async def test_two_workers_share_the_work_and_run_nothing_twice(store: Store) -> None:
    runs: Counter[str] = Counter()

    async def step(context: Any) -> None:
        runs[context.idempotency_key] += 1

    flow = workflow(spec(node("a", type_="python", **{"with": {"call": "tests:step"}})))
    ids = [f"x{i}" for i in range(60)]
    await store.submit([submission(id_, workflow=flow) for id_ in ids], now())
    small = WorkerSettings(poll=timedelta(milliseconds=20), concurrency=5)
    async with working(store, registered(step=step), small), working(store, registered(step=step), small):
        await ended(store, ids)
    assert runs == {f"{id_}/a": 1 for id_ in ids}


async def test_a_revision_stays_with_its_execution(store: Store) -> None:
    old, new = workflow(spec(node("a"), output="old")), workflow(spec(node("a"), output="new"))
    await store.submit([submission("x1", workflow=old)], now())
    await store.put_workflow(new)
    async with working(store):
        (record,) = await ended(store, ["x1"])
    assert record.output == "old"
