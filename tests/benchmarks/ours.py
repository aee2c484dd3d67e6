"""This engine: a worker, and a submitter that uses the store as the operator does, in one process."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any, Self

import tests.benchmarks.steps  # noqa: F401 - registers the function of a trivial step
from orchestrator import events as e
from orchestrator.authoring import compile_workflow
from orchestrator.cli.tuning import tune
from orchestrator.clock import SystemClock
from orchestrator.journal import GroupCommit
from orchestrator.model import Assignment, Engine, Status
from orchestrator.nodes.addresses import AllowList
from orchestrator.nodes.runner import NodeRunner
from orchestrator.store import Submission, open_store
from orchestrator.store.messages import Outcome
from orchestrator.worker import Worker, WorkerSettings
from tests.benchmarks.load import STEPS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from orchestrator.store import Store
    from orchestrator.store.messages import Append, Submitted

CONFIGURATION = {
    "as": "one process: a worker (concurrency = executions at once, engine V2 only, else defaults) and a submitter",
    "steps": "trivial: a `python` node, an async function; transform: a `transform` node; http: an `http` node",
    "durability": "every step's completion is committed before the next step starts",
}


def chain(workload: str, steps: int = STEPS, url: str = "") -> dict[str, Any]:
    """A workflow of steps, one after the other."""
    kinds: dict[str, dict[str, Any]] = {
        "trivial": {"type": "python", "with": {"call": "bench-step", "args": {"number": 1}}},
        "transform": {"type": "transform", "with": {"number": 1}},
        "http": {"type": "http", "with": {"method": "GET", "url": url}},
    }
    nodes = [{"id": f"s{n}", "needs": [f"s{n - 1}"] if n else [], **kinds[workload]} for n in range(steps)]
    return {"nodes": nodes}


class Watched:
    """A store that tells when executions end, by the very commits that end them: nothing is polled."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.steps = 0
        self.ends: dict[str, asyncio.Future[Status]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def append(self, batch: Sequence[Append]) -> list[Outcome]:
        outcomes = await self._store.append(batch)
        for append, outcome in zip(batch, outcomes, strict=True):
            if outcome is Outcome.COMMITTED:
                self.steps += sum(isinstance(event, e.StepCompleted) for event in append.events)
                end = self.ends.get(append.execution_id) if append.projection.status.terminal else None
                if end is not None and not end.done():
                    end.set_result(append.projection.status)
        return outcomes


class Ours:
    """One process of this engine under load."""

    def __init__(
        self, database: str, workload: str, at_once: int, url: str = "", spec: dict[str, Any] | None = None
    ) -> None:
        self._database, self._at_once = database, at_once
        self._workflow = compile_workflow(spec or chain(workload, url=url), namespace="bench", name=workload)
        self._clock = SystemClock()

    @property
    def steps(self) -> int:
        """Steps whose completion is committed."""
        count: int = self._watched.steps
        return count

    async def __aenter__(self) -> Self:
        store = await open_store(self._database)
        self._watched: Any = Watched(store)
        self._submissions: GroupCommit[Submission, Submitted] = GroupCommit(self._submit)
        runner = NodeRunner(allowed=AllowList.parse("127.0.0.0/8"))
        settings = WorkerSettings(concurrency=max(200, self._at_once), engines=(Engine.V2,))
        self._worker = Worker(self._watched, runner, self._clock, settings)
        tune()  # as the worker's process does
        self._running = asyncio.create_task(self._worker.run(asyncio.Event()), name="worker")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.cancel()

    async def execute(self) -> None:
        """Submit, and wait for the commit that ends it."""
        execution_id = uuid.uuid4().hex
        end = self._watched.ends[execution_id] = asyncio.get_running_loop().create_future()
        await self._submissions.put(
            Submission(
                id=execution_id,
                workflow=self._workflow,
                engine=Engine.V2,
                assignment=Assignment.EXECUTION,
                input={},
            )
        )
        self._worker.hint(Engine.V2)
        status = await end
        del self._watched.ends[execution_id]
        if status is not Status.SUCCESS:
            raise RuntimeError(f"execution {execution_id} ended {status}")

    async def _submit(self, batch: Sequence[Submission]) -> list[Submitted]:
        submitted: list[Submitted] = await self._watched.submit(batch, self._clock.now())
        return submitted
