"""Workers when things go wrong in between: nothing is lost, stuck, or done again after its commit."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator import events as e
from orchestrator.clock import SystemClock
from orchestrator.errors import InvalidPayload
from orchestrator.functions import Functions
from orchestrator.model import Engine, Status
from orchestrator.nodes.addresses import AllowList
from orchestrator.nodes.runner import NodeRunner
from orchestrator.store import Control, Store, open_store
from orchestrator.worker import Worker, WorkerSettings
from tests.support.engine import ended, node, spec, working
from tests.support.stores import submission, workflow

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from orchestrator.events import Recorded
    from orchestrator.store import Append, Claim, Outcome
    from tests.support.postgres import LocalPostgres

QUICK = WorkerSettings(poll=timedelta(milliseconds=20), lease=timedelta(milliseconds=600), drain=timedelta(seconds=20))


def registered(**functions: Callable[..., Any]) -> Functions:
    registry = Functions()
    for name, function in functions.items():
        registry.register(function, f"tests:{name}")
    return registry


def call(id_: str, *needs: str, **fields: Any) -> dict[str, Any]:
    return node(id_, *needs, type_="python", **({"with": {"call": f"tests:{id_}"}} | fields))


def now() -> datetime:
    return datetime.now(UTC)


async def until(condition: Callable[[], Any], within: float = 20) -> None:
    async with asyncio.timeout(within):
        while not condition():
            await asyncio.sleep(0.01)


async def until_status(store: Store, id_: str, status: Status) -> None:
    async with asyncio.timeout(20):
        while (record := await store.get(id_)) is None or record.status is not status:
            await asyncio.sleep(0.02)


async def test_a_stopped_worker_keeps_what_it_drains_from_others(store: Store) -> None:
    runs: Counter[str] = Counter()

    async def slow() -> None:
        runs["slow"] += 1
        await asyncio.sleep(2)  # several leases long

    await store.submit([submission("x1", workflow=workflow(spec(call("slow"))))], now())
    functions = registered(slow=slow)
    async with NodeRunner(allowed=AllowList.parse(""), functions=functions) as runner:
        worker, stop = Worker(store, runner, SystemClock(), QUICK), asyncio.Event()
        first = asyncio.create_task(worker.run(stop))
        await until(lambda: runs["slow"])
        stop.set()
        async with working(store, functions, QUICK):
            (record,) = await ended(store, ["x1"])
        await first
    assert (record.status, runs["slow"]) == (Status.SUCCESS, 1)


async def test_renewing_survives_an_error_that_nobody_expected(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: Counter[str] = Counter()
    renew, failures = store.renew, 0

    async def failing_once(*args: Any) -> dict[str, int]:
        nonlocal failures
        failures += 1
        if failures == 1:
            raise RuntimeError("nobody expected this")
        return await renew(*args)

    async def slow() -> None:
        runs["slow"] += 1
        await asyncio.sleep(4)  # more than two leases

    monkeypatch.setattr(store, "renew", failing_once)
    await store.submit([submission("x1", workflow=workflow(spec(call("slow"))))], now())
    async with working(store, registered(slow=slow), replace(QUICK, lease=timedelta(seconds=1.5))):
        (record,) = await ended(store, ["x1"])
    assert (record.status, runs["slow"]) == (Status.SUCCESS, 1)


async def test_a_value_that_the_store_refuses_fails_the_execution_and_is_not_made_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: Counter[str] = Counter()
    commit = store.append

    async def refusing(batch: Sequence[Append]) -> list[Outcome]:
        for append in batch:
            if any(isinstance(event, e.StepCompleted) and event.node == "big" for event in append.events):
                raise InvalidPayload("the database cannot keep a value: too large")
        return await commit(batch)

    def big() -> str:
        runs["big"] += 1
        return "much"

    monkeypatch.setattr(store, "append", refusing)
    await store.submit([submission("x1", workflow=workflow(spec(call("big"))))], now())
    async with working(store, registered(big=big), QUICK):
        (record,) = await ended(store, ["x1"])
    assert record.failure is not None
    assert (record.status, record.failure.kind, record.failure.node) == (Status.FAILED, "InvalidPayload", "big")
    assert runs["big"] == 1


async def test_an_output_that_the_store_refuses_fails_the_execution(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = store.append

    async def refusing(batch: Sequence[Append]) -> list[Outcome]:
        if any(isinstance(event, e.ExecutionSucceeded) for append in batch for event in append.events):
            raise InvalidPayload("the database cannot keep a value: too large")
        return await commit(batch)

    monkeypatch.setattr(store, "append", refusing)
    flow = workflow(spec(node("w", type_="wait", **{"with": {"duration": "20ms"}}), output="x"))
    await store.submit([submission("x1", workflow=flow)], now())
    async with working(store, settings=QUICK):
        (record,) = await ended(store, ["x1"])
    assert record.failure is not None
    assert (record.status, record.failure.kind) == (Status.FAILED, "InvalidPayload")


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+23:00", "9999-12-31T23:59:59-23:00"])
async def test_a_moment_that_no_calendar_has_in_utc_fails_the_execution(store: Store, moment: str) -> None:
    flow = workflow(spec(node("w", type_="wait", **{"with": {"until": "${input.until}"}})))
    await store.submit([submission("x1", workflow=flow, input={"until": moment})], now())
    async with working(store, settings=QUICK):
        (record,) = await ended(store, ["x1"])
    assert record.status is Status.FAILED


async def test_a_function_that_cancels_itself_has_failed(store: Store) -> None:
    runs: Counter[str] = Counter()

    async def odd() -> None:
        runs["odd"] += 1
        raise asyncio.CancelledError

    retry = {"retry": {"maxAttempts": 2, "initialInterval": "10ms"}}
    await store.submit([submission("x1", workflow=workflow(spec(call("odd"), **retry)))], now())
    async with working(store, registered(odd=odd), QUICK):
        (record,) = await ended(store, ["x1"])
    assert (record.status, runs["odd"]) == (Status.FAILED, 2)


async def test_a_resume_that_comes_while_a_worker_looks_and_finds_nothing_is_not_lost(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    load, asked = store.histories, False

    async def loaded(ids: Collection[str]) -> dict[str, list[Recorded]]:
        nonlocal asked
        histories = await load(ids)
        if not asked and any(isinstance(r.event, e.SuspendRequested) for r in histories.get("x1", ())):
            asked = True
            assert await store.control("x1", Control.RESUME, now())
        return histories

    await store.submit([submission("x1", suspended="Restored")], now())
    await store.control("x1", Control.RESUME, now())
    await store.control("x1", Control.SUSPEND, now())  # nothing to do for the worker that is woken by the two
    monkeypatch.setattr(store, "histories", loaded)
    async with working(store, settings=QUICK):
        (record,) = await ended(store, ["x1"])
    assert (record.status, asked) == (Status.SUCCESS, True)


async def test_no_retry_starts_after_a_committed_cancel_beside_a_running_branch(store: Store) -> None:
    runs: Counter[str] = Counter()
    go = asyncio.Event()

    async def long() -> None:
        await go.wait()

    async def flaky() -> None:
        runs["flaky"] += 1
        raise RuntimeError("not yet")

    retry = {"retry": {"maxAttempts": 9, "initialInterval": "200ms", "multiplier": 1, "jitter": "none"}}
    await store.submit([submission("x1", workflow=workflow(spec(call("long"), call("flaky", **retry))))], now())
    patient = WorkerSettings(poll=timedelta(milliseconds=20))  # its renewals are too rare to tell of the cancel
    async with working(store, registered(long=long, flaky=flaky), patient):
        async with asyncio.timeout(10):
            while not [r for r in await store.events("x1") if isinstance(r.event, e.StepFailed)]:
                await asyncio.sleep(0.01)
        assert await store.control("x1", Control.CANCEL, now())
        at_the_cancel = runs["flaky"]
        await asyncio.sleep(0.6)  # two retries would have been due
        go.set()
        (record,) = await ended(store, ["x1"])
    assert (record.status, runs["flaky"]) == (Status.CANCELLED, at_the_cancel)


async def test_a_worker_that_gets_back_what_it_lost_stops_its_first_try(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its renewals did not come through, its claims did: two drives of one execution in one process."""
    ends: list[str] = []
    runs: Counter[str] = Counter()

    async def slow() -> int:
        runs["slow"] += 1
        number = runs["slow"]
        try:
            await asyncio.sleep(3 if number == 1 else 0.1)
        except asyncio.CancelledError:
            ends.append(f"{number} stopped")
            raise
        ends.append(f"{number} ended")
        return number

    async def lost(*_: Any) -> dict[str, int]:
        raise RuntimeError("does not come through")

    monkeypatch.setattr(store, "renew", lost)
    flow = workflow(spec(call("slow"), output="${nodes.slow.output}"))
    await store.submit([submission("x1", workflow=flow)], now())
    async with working(store, registered(slow=slow), QUICK):
        (record,) = await ended(store, ["x1"])
        assert record.output == 2
        assert ends == ["1 stopped", "2 ended"]


async def test_a_worker_that_waits_until_idle_sees_a_resume_that_nobody_took_up_yet(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = store.claim

    async def claiming(owner: str, engine: Engine, *args: Any) -> list[Claim]:
        claims = await claim(owner, engine, *args)
        if engine is Engine.V2 and not claims:
            await store.control("x1", Control.RESUME, now())  # right after the look
        return claims

    await store.submit([submission("x1", suspended="Restored")], now())
    monkeypatch.setattr(store, "claim", claiming)
    async with NodeRunner(allowed=AllowList.parse(""), functions=Functions()) as runner:
        worker = Worker(store, runner, SystemClock(), QUICK)
        async with asyncio.timeout(20):
            await worker.run(asyncio.Event(), until_idle=True)
    record = await store.get("x1")
    assert record is not None
    assert record.status is Status.SUCCESS


async def test_what_is_suspended_keeps_no_worker_from_being_idle(store: Store) -> None:
    await store.submit([submission("x1"), submission("v1", suspended="Restored", engine=Engine.V1)], now())
    await store.control("x1", Control.SUSPEND, now())
    async with NodeRunner(allowed=AllowList.parse(""), functions=Functions()) as runner:
        async with asyncio.timeout(20):
            await Worker(store, runner, SystemClock(), QUICK).run(asyncio.Event(), until_idle=True)
    record = await store.get("x1")
    assert record is not None
    assert record.status is Status.SUSPENDED


async def test_a_suspended_execution_can_be_cancelled(store: Store) -> None:
    await store.submit([submission("x1")], now())
    await store.control("x1", Control.SUSPEND, now())
    async with working(store, settings=QUICK):
        await until_status(store, "x1", Status.SUSPENDED)
        await store.control("x1", Control.CANCEL, now())
        (record,) = await ended(store, ["x1"])
    assert (record.status, record.done) == (Status.CANCELLED, 0)


async def test_a_cancel_ends_a_wait_long_before_its_time(store: Store) -> None:
    flow = workflow(spec(node("w", type_="wait", **{"with": {"duration": "30d"}})))
    await store.submit([submission("x1", workflow=flow)], now())
    async with working(store, settings=QUICK):
        await until_status(store, "x1", Status.WAITING)
        await store.control("x1", Control.CANCEL, now())
        (record,) = await ended(store, ["x1"])
    assert record.status is Status.CANCELLED


async def test_a_server_that_dies_under_load_costs_no_step(postgres: LocalPostgres) -> None:
    runs: Counter[str] = Counter()

    async def step(context: Any) -> None:
        runs[context.idempotency_key] += 1

    step_of = {"with": {"call": "tests:step"}}
    chain = [node("n0", type_="python", **step_of)]
    chain += [node(f"n{i}", f"n{i - 1}", type_="python", **step_of) for i in range(1, 12)]
    ids = [f"x{i}" for i in range(40)]
    store = await open_store(postgres.create_database())
    try:
        await store.submit([submission(id_, workflow=workflow(spec(*chain))) for id_ in ids], now())
        async with working(store, registered(step=step)):
            for steps in (60, 200):
                async with asyncio.timeout(20):
                    while sum(runs.values()) < steps:
                        await asyncio.sleep(0.01)
                await asyncio.to_thread(postgres.kill)
                await asyncio.to_thread(postgres.start)
            records = await ended(store, ids, within=60)
        assert {record.status for record in records} == {Status.SUCCESS}
        # Appends are offered again until the server answers: not one step was done twice.
        assert runs == {f"{id_}/n{i}": 1 for id_ in ids for i in range(12)}
    finally:
        await store.close()
