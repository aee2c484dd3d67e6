"""V2, the durable engine: one claimed execution, driven until it ends, waits, or is lost to another worker.

    load events ▶ fold ▶ decide ▶ append (durable) ▶ run nodes ▶ their results become events ▶ decide …

No step starts before the append that decided on it is committed, and no result counts before its own append is.
"""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from dataclasses import dataclass, field
from functools import reduce
from typing import TYPE_CHECKING

import structlog

from orchestrator import events as e
from orchestrator import telemetry
from orchestrator.decide import Decision, RunNode, decide, project
from orchestrator.errors import LeaseLost, StepError
from orchestrator.fold import apply, fold
from orchestrator.model import Engine, Execution, Failure, Workflow
from orchestrator.nodes.base import StepContext
from orchestrator.retry import decide_retry
from orchestrator.store.port import Append, Claim, Outcome, Release, Store

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from orchestrator.clock import Clock
    from orchestrator.journal import GroupCommit
    from orchestrator.nodes.runner import NodeRunner

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Tools:
    """What driving needs from outside; one for all executions of a worker."""

    store: Store
    journal: GroupCommit[Append, Outcome]
    runner: NodeRunner
    clock: Clock
    lease: timedelta
    chance: random.Random = field(default_factory=random.SystemRandom)


class Drive:
    """One claimed execution. `moved` is set from outside when a request (cancel, …) was recorded meanwhile."""

    def __init__(self, claim: Claim, tools: Tools, known: Execution | None) -> None:
        self.claim, self.tools = claim, tools
        self.moved = asyncio.Event()
        self.stopping = False  # start nothing more: let go as soon as nothing is in flight
        self.seq = claim.seq  # of the last event known here
        self.state = known if known is not None and known.seq == claim.seq else None
        self._tasks: dict[asyncio.Task[e.Event], str] = {}
        self._deadlines: dict[str, datetime] = {}
        self._last_append: tuple[int, float] | None = None  # (first seq, ms its commit took)

    async def run(self) -> None:
        """Drive it as far as it goes; raises LeaseLost when another worker owns it."""
        try:
            await self._run()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self) -> None:
        workflow = await self.tools.store.workflow(self.claim.workflow_id, self.claim.revision)
        state = self.state or fold(self.claim.id, await self.tools.store.events(self.claim.id))
        results: list[e.Event] = []
        while True:
            self.state, self.seq = state, state.seq
            after = reduce(apply, results, state)
            decision = decide(workflow, after, self._tasks.values(), self.tools.clock.now())
            events = (*results, *decision.events)
            over = not decision.runs and not self._tasks
            if events:
                if not await self._committed(workflow, state.seq + 1, events, decision, release=over):
                    state = await self._catch_up(state)
                    continue
                state, results = decision.execution, []
                self.state, self.seq = state, state.seq
            elif over:
                await self._release(decision.wake_at)
            if over:
                return
            if self.stopping and not self._tasks:
                await self._release(self.tools.clock.now())
                return
            for run in () if self.stopping else decision.runs:
                self._start(run)
            results = await self._next_results(decision.wake_at)
            if self.moved.is_set():
                self.moved.clear()
                state = await self._catch_up(state)

    async def _release(self, due_at: datetime | None) -> None:
        release = Release(self.claim.fence, self.seq, due_at)
        await self.tools.store.release({self.claim.id: release}, self.tools.clock.now())

    async def _catch_up(self, state: Execution) -> Execution:
        """Take in what others recorded: requests of people."""
        for recorded in await self.tools.store.events(self.claim.id, after=state.seq):
            state = apply(state, recorded.event)
        return state

    async def _committed(
        self, workflow: Workflow, first_seq: int, events: tuple[e.Event, ...], decision: Decision, *, release: bool
    ) -> bool:
        """Append, durably; False when a request was recorded meanwhile. Raises LeaseLost."""
        now = self.tools.clock.now()
        state = decision.execution
        limits = [now + run.node.timeout for run in decision.runs]
        limits += [self._deadlines[node] for node in self._tasks.values()]
        timed_append, timed_ms = self._last_append or (None, None)
        append = Append(
            execution_id=self.claim.id,
            append_id=uuid.uuid4().hex,
            fence=self.claim.fence,
            first_seq=first_seq,
            events=events,
            projection=project(workflow, state),
            due_at=decision.wake_at if release else now + self.tools.lease,
            release=release,
            step_deadline=max(limits, default=None),
            timed_append=timed_append,
            timed_ms=timed_ms,
        )
        began = time.perf_counter()
        outcome = await self.tools.journal.put(append)
        took = time.perf_counter() - began
        if outcome is Outcome.FENCED:
            telemetry.FENCED.inc()
            raise LeaseLost(f"execution {self.claim.id}: another worker owns it")
        if outcome is Outcome.STALE:
            return False
        self._last_append = (first_seq, took * 1000)
        _observe(events, state, took)
        return True

    def _start(self, run: RunNode) -> None:
        task = asyncio.create_task(self._attempt(run), name=f"{self.claim.id}/{run.node.id}")
        self._tasks[task] = run.node.id
        self._deadlines[run.node.id] = self.tools.clock.now() + run.node.timeout

    async def _next_results(self, wake_at: datetime | None) -> list[e.Event]:
        """The events of the steps that end next; [] when a timer is due or a request came first."""
        timeout = None if wake_at is None else max(0.0, (wake_at - self.tools.clock.now()).total_seconds())
        moved = asyncio.create_task(self.moved.wait())
        try:
            await asyncio.wait([*self._tasks, moved], timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            moved.cancel()
        done = [task for task in self._tasks if task.done()]
        results = []
        for task in done:
            del self._tasks[task]
            results.append(task.result())
        return results

    async def _attempt(self, run: RunNode) -> e.Event:
        node, started = run.node, self.tools.clock.now()
        context = StepContext(
            execution_id=self.claim.id,
            workflow_id=self.claim.workflow_id,
            namespace=self.claim.workflow_id.partition("/")[0],
            node_id=node.id,
            attempt=run.attempt,
            engine=Engine.V2,
            timeout=node.timeout,
        )
        began = time.perf_counter()
        try:
            output = await self.tools.runner.run(node, run.with_, context)
        except StepError as error:
            failure = Failure(error.kind, error.message, error.retryable, node.id)
        else:
            took = time.perf_counter() - began
            telemetry.STEPS.labels("v2", node.type, "success").inc()
            telemetry.STEP_SECONDS.labels("v2", node.type).observe(took)
            return e.StepCompleted(
                self.tools.clock.now(), node.id, node.type, run.attempt, output, started, took * 1000
            )
        took = time.perf_counter() - began
        telemetry.STEPS.labels("v2", node.type, "failed").inc()
        telemetry.STEP_SECONDS.labels("v2", node.type).observe(took)
        first = self.state.node(node.id).first_started_at if self.state else None
        now = self.tools.clock.now()
        retry = decide_retry(
            node.retry,
            attempt=run.attempt,
            retryable=failure.retryable,
            first_started_at=first or started,
            now=now,
            chance=self.tools.chance.random(),
        )
        return e.StepFailed(now, node.id, node.type, run.attempt, failure, started, took * 1000, retry.at)


def _observe(events: tuple[e.Event, ...], state: Execution, took: float) -> None:
    """Count what a commit made true."""
    for event in events:
        if isinstance(event, e.StepCompleted):
            telemetry.CHECKPOINT_SECONDS.labels(event.node_type).observe(took)
        final = isinstance(event, e.StepCompleted) or (isinstance(event, e.StepFailed) and event.retry_at is None)
        if final and isinstance(event, e.StepCompleted | e.StepFailed) and event.attempt > 1:
            outcome = "success" if isinstance(event, e.StepCompleted) else "failed"
            telemetry.RETRIES.labels("v2", outcome).inc()
    if state.status.terminal:
        telemetry.FINISHED.labels("v2", state.status.value).inc()
        if state.started_at and state.finished_at:
            took = (state.finished_at - state.started_at).total_seconds()
            telemetry.EXECUTION_SECONDS.labels("v2").observe(took)
