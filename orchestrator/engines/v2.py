"""V2, the durable engine: one claimed execution, driven until it ends, waits, or is lost to another worker.

    load events ▶ fold ▶ decide ▶ append (durable) ▶ run nodes ▶ their results become events ▶ decide …

No step starts before the append that decided on it is committed, and no result counts before its own append is. A
step that needs no append to start (a retry beside a running branch) starts after a look at the lease and the requests.
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
from orchestrator.engines.measures import observe
from orchestrator.engines.refusals import failed_end, failed_result
from orchestrator.errors import InvalidPayload, LeaseLost, StepError
from orchestrator.fold import apply, fold
from orchestrator.model import Engine, Execution, Failure, Workflow
from orchestrator.nodes.base import StepContext
from orchestrator.retry import decide_retry
from orchestrator.store.port import Append, Claim, Outcome, Release, Store

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime, timedelta

    from orchestrator.clock import Clock
    from orchestrator.journal import GroupCommit
    from orchestrator.nodes.runner import NodeRunner

log = structlog.get_logger(__name__)

_REQUESTS = (e.CancelRequested, e.SuspendRequested, e.ResumeRequested)  # what others than the owner may record


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
        self._results: list[e.Event] = []  # of steps that ended, not committed yet
        self._refused = ""  # why the store refused them
        self._last_append: tuple[int, float] | None = None  # (first seq, ms its commit took)
        self._known_at: datetime | None = tools.clock.now()  # when the store last said that it is ours, at `seq`

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
        state: Execution | None = self.state or await self._load()
        while state is not None:
            state = await self._turn(workflow, state)

    async def _turn(self, workflow: Workflow, state: Execution) -> Execution | None:
        """Decide, commit, start what follows, and wait: once. None when this worker has nothing left to do for it."""
        self.state, self.seq = state, state.seq
        after = reduce(apply, self._results, state)
        decision = decide(workflow, after, self._tasks.values(), self.tools.clock.now())
        decision = failed_end(after, decision, self._refused) if self._refused else decision
        events = (*self._results, *decision.events)
        over = not decision.runs and not self._tasks
        if events:
            try:
                committed = await self._committed(workflow, state.seq + 1, events, decision, release=over)
            except InvalidPayload as error:
                self._refuse(error)
                return state
            if not committed:
                return await self._catch_up(state)
            state, self._results, self._refused = decision.execution, [], ""
            self.state, self.seq = state, state.seq
        elif over:
            await self._release(decision.wake_at)
        if over:
            return None
        if self.stopping and not self._tasks:
            await self._release(self.tools.clock.now())
            return None
        return await self._go_on(state, decision)

    async def _go_on(self, state: Execution, decision: Decision) -> Execution:
        runs = () if self.stopping else decision.runs
        if runs and not await self._still_so():
            return await self._catch_up(state)
        for run in runs:
            self._start(run)
        self._results = await self._next_results(decision.wake_at)
        if not self._results:
            self._known_at = None  # time went by without a commit
        if self.moved.is_set():
            self.moved.clear()
            return await self._catch_up(state)
        return state

    def _refuse(self, error: InvalidPayload) -> None:
        """The store can never keep this: what follows is told as a failure (see refusals.py)."""
        if self._refused:
            raise error  # the failure was refused, too
        self._refused = str(error)
        self._results = [failed_result(result, self._refused) for result in self._results]

    async def _release(self, due_at: datetime | None) -> None:
        release = Release(self.claim.fence, self.seq, due_at)
        await self.tools.store.release({self.claim.id: release}, self.tools.clock.now())

    async def _load(self) -> Execution:
        history = await self.tools.store.events(self.claim.id)
        self._check_ours(recorded for recorded in history if recorded.seq > self.claim.seq)
        return fold(self.claim.id, history)

    async def _catch_up(self, state: Execution) -> Execution:
        """Take in what others recorded: requests of people. Raises LeaseLost."""
        news = await self.tools.store.events(self.claim.id, after=state.seq)
        self._check_ours(news)
        return reduce(apply, (recorded.event for recorded in news), state)

    def _check_ours(self, news: Iterable[e.Recorded]) -> None:
        if not all(isinstance(recorded.event, _REQUESTS) for recorded in news):
            raise LeaseLost(f"execution {self.claim.id}: another worker went on with it")

    async def _still_so(self) -> bool:
        """Whether a step may start on what is known here; False when a request was recorded. Raises LeaseLost."""
        now = self.tools.clock.now()
        if self._known_at is not None and now - self._known_at < self.tools.lease / 3:
            return True
        ours = await self.tools.store.renew({self.claim.id: self.claim.fence}, self.tools.lease, now)
        if self.claim.id not in ours:
            raise LeaseLost(f"execution {self.claim.id}: another worker owns it")
        self._known_at = now
        return ours[self.claim.id] == self.seq

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
        self._known_at = now
        self._last_append = (first_seq, took * 1000)
        observe(events, state, took)
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
