"""Containers outlive their workers: who lets go of one, who finds it again, and who stops it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from orchestrator import events as e
from orchestrator.authoring import compile_workflow
from orchestrator.clock import SystemClock
from orchestrator.errors import StepError
from orchestrator.model import Assignment, Engine, Status
from orchestrator.nodes.runner import NodeRunner
from orchestrator.store import open_store
from orchestrator.store.messages import Control, Submission
from orchestrator.worker import Worker, WorkerSettings
from tests.support.engine import ended, node, spec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from orchestrator.nodes.base import StepContext
    from orchestrator.nodes.container_with import ContainerWith
    from orchestrator.store import Store

ONCE = {"maxAttempts": 1}


class Ship:
    """Containers that go on without any worker, as a cluster's do: by the name of the attempt."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.running: set[str] = set()
        self.removed: list[str] = []
        self.ended = asyncio.Event()
        self.changed = asyncio.Condition()

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(20), self.changed:
            await self.changed.wait_for(holds)

    async def note(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    async def remove(self, name: str) -> None:
        self.running.discard(name)
        self.removed.append(name)
        await self.note()


class Runtime:
    """A worker's view of the ship."""

    def __init__(self, ship: Ship) -> None:
        self.ship = ship
        self.waiting: set[str] = set()
        self._stops: dict[str, asyncio.Event] = {}

    async def run(self, spec: ContainerWith, context: StepContext) -> Any:
        name, ship = f"{context.idempotency_key}/{context.attempt}", self.ship
        if name not in ship.running:
            ship.begun.append(name)
            ship.running.add(name)
        self.waiting.add(name)
        await ship.note()
        stop = self._stops.setdefault(context.idempotency_key, asyncio.Event())
        over = [asyncio.create_task(event.wait()) for event in (ship.ended, stop)]
        try:
            await asyncio.wait(over, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in over:
                one.cancel()
        if stop.is_set():
            await ship.remove(name)
            raise StepError("Stopped", "nobody wants it", retryable=False)
        ship.running.discard(name)
        return {"exitCode": 0, "result": spec.image}

    def stop(self, idempotency_key: str) -> None:
        self._stops.setdefault(idempotency_key, asyncio.Event()).set()

    async def settle(self, namespace: str, execution_id: str) -> None:
        assert namespace == "default"
        for name in [name for name in self.ship.running if name.startswith(f"{execution_id}/")]:
            await self.ship.remove(name)

    async def aclose(self) -> None:
        """The ship sails on."""


def box(id_: str = "box", *needs: str, **fields: Any) -> dict[str, Any]:
    return node(id_, *needs, type_="container", **{"with": {"image": "shop/box:1"}, "timeout": "1h", **fields})


@pytest.fixture
def ship() -> Ship:
    return Ship()


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await open_store(str(tmp_path / "store.db"))
    yield opened
    await opened.close()


async def submit(store: Store, workflow: dict[str, Any], **fields: Any) -> None:
    compiled = compile_workflow({**workflow, **fields}, namespace="default", name="w")
    await store.submit([Submission("x", compiled, Engine.V2, Assignment.EXPLICIT, {})], SystemClock().now())


@asynccontextmanager
async def worker(store: Store, runtime: Runtime, *, dies: bool = False) -> AsyncIterator[Worker]:
    """A worker that drains when the block ends; or, if it `dies`, forgets everything and releases nothing."""
    settings = WorkerSettings(poll=timedelta(milliseconds=20), lease=timedelta(seconds=1))
    async with NodeRunner(containers=runtime) as runner:
        made = Worker(store, runner, SystemClock(), settings)
        stop = asyncio.Event()
        task = asyncio.create_task(made.run(stop))
        try:
            yield made
        finally:
            if dies:
                made._let_go = nothing  # type: ignore[method-assign]  # a killed process does nothing at its end
                task.cancel()
                for drive in made._tasks[Engine.V2].values():
                    drive.cancel()
            stop.set()
            await asyncio.gather(task, return_exceptions=True)


async def nothing() -> None:
    """What a killed process does."""


async def failures(store: Store) -> list[tuple[str, str]]:
    history = await store.events("x")
    return [(r.event.node, r.event.failure.kind) for r in history if isinstance(r.event, e.StepFailed)]


@pytest.mark.parametrize("dies", [False, True], ids=["drained", "killed"])
async def test_the_next_worker_finds_the_container_again(store: Store, ship: Ship, dies: bool) -> None:
    await submit(store, spec(box(), output="${nodes.box.output.result}"))
    async with worker(store, Runtime(ship), dies=dies):
        await ship.until(lambda: bool(ship.running))
    assert (await store.get("x")).status is Status.RUNNING  # type: ignore[union-attr]  # it is there
    second = Runtime(ship)
    async with worker(store, second):
        await ship.until(lambda: bool(second.waiting))
        ship.ended.set()
        (record,) = await ended(store, ["x"])
    assert (record.status, record.output, ship.begun) == (Status.SUCCESS, "shop/box:1", ["x/box/1"])


async def test_a_worker_that_drains_waits_for_short_steps_and_not_for_containers(store: Store, ship: Ship) -> None:
    await submit(store, spec(box(), box("other")))
    async with worker(store, Runtime(ship)) as made:
        await ship.until(lambda: len(ship.running) == 2)
        drain = made._settings.drain
    assert drain > timedelta(seconds=5)  # the block above would not end before
    assert ship.running == {"x/box/1", "x/other/1"}
    assert (await store.claim("next", Engine.V2, 5, timedelta(seconds=1), SystemClock().now()))[0].id == "x"


async def test_a_cancel_stops_the_container_and_ends_when_it_is_gone(store: Store, ship: Ship) -> None:
    await submit(store, spec(box()))
    async with worker(store, Runtime(ship)):
        await ship.until(lambda: bool(ship.running))
        await store.control("x", Control.CANCEL, SystemClock().now())
        (record,) = await ended(store, ["x"])
    assert (record.status, ship.removed, ship.running) == (Status.CANCELLED, ["x/box/1"], set())
    assert await failures(store) == [("box", "Stopped")]


async def test_a_cancel_that_a_dead_worker_never_heard_of_removes_its_container(store: Store, ship: Ship) -> None:
    await submit(store, spec(box()))
    async with worker(store, Runtime(ship), dies=True):
        await ship.until(lambda: bool(ship.running))
    await store.control("x", Control.CANCEL, SystemClock().now())
    async with worker(store, Runtime(ship)):
        (record,) = await ended(store, ["x"])
    assert (record.status, ship.removed) == (Status.CANCELLED, ["x/box/1"])


async def test_what_a_dead_worker_began_is_gone_before_it_is_undone(store: Store, ship: Ship) -> None:
    undo = {"type": "transform", "with": {"undone": True}}
    await submit(store, spec(box(compensate=undo)), onCancel="compensate")
    async with worker(store, Runtime(ship), dies=True):
        await ship.until(lambda: bool(ship.running))
    await store.control("x", Control.CANCEL, SystemClock().now())
    async with worker(store, Runtime(ship)):
        await ended(store, ["x"])
    kinds = [type(recorded.event).__name__ for recorded in await store.events("x")]
    assert "CompensationStarted" in kinds
    assert ship.removed == ["x/box/1"]


async def test_the_end_of_an_executions_time_stops_the_container(store: Store, ship: Ship) -> None:
    await submit(store, spec(box()), timeout="1s")
    async with worker(store, Runtime(ship)):
        (record,) = await ended(store, ["x"])
    assert record.failure is not None
    assert (record.failure.kind, ship.removed) == ("ExecutionTimeout", ["x/box/1"])


async def test_a_failure_beside_it_lets_the_container_end_by_itself(store: Store, ship: Ship) -> None:
    nap = node("nap", type_="wait", **{"with": {"duration": "100ms"}})
    await submit(store, spec(box(), nap, node("bad", "nap", type_="fail", **{"with": {"message": "no"}})))
    async with worker(store, Runtime(ship)):
        await ship.until(lambda: bool(ship.running))
        while await failures(store) != [("bad", "Failed")]:
            await asyncio.sleep(0.02)
        assert ship.running == {"x/box/1"}
        ship.ended.set()
        (record,) = await ended(store, ["x"])
    assert (record.status, ship.removed) == (Status.FAILED, [])
