"""V2, the durable engine: one claimed execution, driven until it ends, waits, or is lost to another worker.

    load events ▶ fold ▶ decide ▶ append (durable) ▶ run nodes ▶ their results become events ▶ decide …

No step starts before the append that decided on it is committed, and no result counts before its own append is. A
step that needs no append to start (a retry beside a running branch) starts after a look at the lease and the requests.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from orchestrator import events as e
from orchestrator.decide import OUTPUT, Decision, Frontier, RunNode, decide, project
from orchestrator.engines.attempts import Attempted, attempt, traced
from orchestrator.engines.children import end_for_parent
from orchestrator.engines.detached import detached, must_settle, unwanted
from orchestrator.engines.measures import observe
from orchestrator.engines.refusals import Unfit, encoded, refused_step
from orchestrator.engines.tools import Tools
from orchestrator.errors import InvalidPayload, LeaseLost
from orchestrator.fold import apply, fold
from orchestrator.model import Execution, Workflow, step_key_of
from orchestrator.store.messages import Append, Claim, Delivery, Outcome, Release

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

__all__ = ["Drive", "Known", "Tools"]


@dataclass(frozen=True, slots=True)
class Known:
    """An execution as a worker knew it when it let go of it, and what of it could move."""

    state: Execution
    frontier: Frontier | None = None


class Drive:
    """One claimed execution. `known` is what this worker knew of it when it last let go of it, if it ever did."""

    def __init__(self, claim: Claim, tools: Tools, known: Known | None) -> None:
        self.claim, self.tools = claim, tools
        self.stopping = False  # start nothing more: let go as soon as nothing is in flight
        self.seq = claim.seq  # of the last event known here
        known = known if known is not None and known.state.seq <= claim.seq else None
        self.state = known.state if known else None
        self._frontier = known.frontier if known else None  # None: to be built from the state
        self._tasks: dict[asyncio.Task[Attempted], RunNode] = {}
        self._dropped: list[asyncio.Task[Attempted]] = []  # cancelled here; what they waited for goes on
        self._deadlines: dict[str, datetime] = {}
        self._ended: list[Attempted] = []  # steps that ended, not committed yet
        # What was decided and cannot be kept (see Frontier).
        self._refused: dict[str, tuple[str, str]] = self._frontier.refused if self._frontier else {}
        self._told: set[str] = set()  # children that were asked to cancel
        self._last_append: tuple[int, float] | None = None  # (first seq, ms its commit took)
        self._known_at: datetime | None = tools.clock.now()  # when the store last said that it is ours, at `seq`
        self._id, self._count = uuid.uuid4().hex, count()  # of appends
        self._wake = asyncio.Event()
        self._moved = False
        self._attempt = attempt if tools.tracing is None else traced

    def nudge(self) -> None:
        """Look at the store again: others recorded something, or this worker is to stop."""
        self._moved = True
        self._wake.set()

    async def run(self) -> None:
        """Drive it as far as it goes; raises LeaseLost when another worker owns it."""
        try:
            workflow = await self.tools.store.workflow(self.claim.workflow_id, self.claim.revision)
            state: Execution | None = await self._load()
            while state is not None:
                state = await self._turn(workflow, state)
        finally:
            for task in self._tasks:
                task.cancel()
            if self._tasks or self._dropped:
                await asyncio.gather(*self._tasks, *self._dropped, return_exceptions=True)

    async def _turn(self, workflow: Workflow, state: Execution) -> Execution | None:
        """Decide, commit, start what follows, and wait: once. None when this worker has nothing left to do for it."""
        self.state, self.seq = state, state.seq
        decision, events = self._decide(workflow, state)
        over = not decision.runs and not self._tasks
        if events:
            if must_settle(workflow, events):
                await self.tools.runner.settle(workflow.id.partition("/")[0], state.id)
            try:
                committed = await self._committed(workflow, state.seq + 1, events, decision, release=over)
            except (Unfit, InvalidPayload) as error:
                self._refuse(error, events)
                return state
            if not committed:
                self._frontier = None  # it went on without the commit
                return await self._catch_up(state)
            state, self._ended = decision.execution, []
            self._refused.pop(OUTPUT, None)
            self.state, self.seq = state, state.seq
        else:
            await self._cancel_children(decision.cancels)
            if over:
                await self._release(decision.wake_at)
        if over:
            return None
        self._let_go(state)
        if self.stopping and not self._tasks:
            await self._release(self.tools.clock.now())
            return None
        return await self._go_on(state, decision)

    def _let_go(self, state: Execution) -> None:
        """Stop detached steps that nobody wants; when this worker stops, leave the others to the next one."""
        for task, run in list(self._tasks.items()):
            if unwanted(run, state):
                self.tools.runner.stop(run.idempotency_key)
            elif self.stopping and detached(run) and not task.done():
                task.cancel()
                self._dropped.append(task)
                del self._tasks[task], self._deadlines[run.key]
                self._frontier = None  # it thinks that they are in flight

    def _decide(self, workflow: Workflow, state: Execution) -> tuple[Decision, tuple[e.Event, ...]]:
        results = tuple(ended.event for ended in self._ended)
        if self._frontier is None:
            in_flight = [run.key for run in self._tasks.values()] + [step_key_of(event) for event in results]
            self._frontier = Frontier.of(workflow, state, in_flight)
            self._frontier.refused = self._refused
        for event in results:
            state = apply(state, event)
            self._frontier.advance(event, state)
        now, chance = self.tools.clock.now(), self.tools.chance.random()
        decision = decide(workflow, state, (), now, frontier=self._frontier, chance=chance)
        return decision, (*results, *decision.events)

    async def _go_on(self, state: Execution, decision: Decision) -> Execution:
        runs = () if self.stopping else decision.runs
        if runs and not await self._still_so():
            self._frontier = None  # it thinks that they are in flight
            return await self._catch_up(state)
        alone = len(runs) == 1 and not self._tasks and decision.wake_at is None and not self._listening
        if alone and not detached(runs[0]):
            self._ended.append(await self._attempt(runs[0], state, self.tools))  # alone: no task of its own is needed
        else:
            for run in runs:
                self._start(run, state)
            await self._next(decision.wake_at)
        if runs != decision.runs:
            self._frontier = None  # it thinks that they are in flight
        if not self._ended:
            self._known_at = None  # time went by without a commit
        if self._moved:
            self._moved = False
            return await self._catch_up(state)
        return state

    @property
    def _listening(self) -> bool:
        """Whether a signal, or a child's end, could move something beside the steps in flight."""
        return self._frontier is None or bool(self._frontier.waiting)

    def _refuse(self, error: Unfit | InvalidPayload, events: Sequence[e.Event]) -> None:
        """A value can never be kept: what follows is told as a failure (see refusals.py)."""
        self._frontier = None
        if isinstance(error, InvalidPayload):  # the database's own finding: it does not say which
            self._refused[OUTPUT] = (type(error).__name__, str(error))
            mended = [refused_step(ended.event, error) for ended in self._ended]
            if not any(mended) and not isinstance(events[-1], e.ExecutionSucceeded):
                raise error
            self._ended = [Attempted(new) if new else old for new, old in zip(mended, self._ended, strict=True)]
            return
        event, reason = events[error.index], error.error
        if error.index < len(self._ended):
            failed = refused_step(event, reason)
            if failed is None:
                raise reason
            self._ended[error.index] = Attempted(failed)
        elif isinstance(event, e.MapStarted | e.StepCompleted):
            self._refused[step_key_of(event)] = (type(reason).__name__, str(reason))
        elif isinstance(event, e.ExecutionSucceeded):
            self._refused[OUTPUT] = (type(reason).__name__, str(reason))
        else:
            raise reason

    async def _release(self, due_at: datetime | None) -> None:
        release = Release(self.claim.fence, self.seq, due_at)
        await self.tools.store.release({self.claim.id: release}, self.tools.clock.now())

    @property
    def known(self) -> Known | None:
        """What is known of it now, for the next time; None once it is over."""
        over = self.state is None or self.state.status.terminal
        return None if over or self.state is None else Known(self.state, self._frontier)

    async def _load(self) -> Execution:
        """The execution as it was claimed: only what is new since this worker last saw it is read."""
        known = self.state
        if known is not None and known.seq == self.claim.seq:
            return known
        news = await self.tools.store.events(self.claim.id, after=known.seq if known else 0)
        self._check_ours(recorded for recorded in news if recorded.seq > self.claim.seq)
        return fold(self.claim.id, news) if known is None else self._take_in(known, news)

    def _take_in(self, state: Execution, news: Iterable[e.Recorded]) -> Execution:
        for recorded in news:
            state = apply(state, recorded.event)
            if self._frontier is not None:
                self._frontier.advance(recorded.event, state)
        return state

    async def _catch_up(self, state: Execution) -> Execution:
        """Take in what others recorded: requests, signals, ends of children. Raises LeaseLost."""
        news = await self.tools.store.events(self.claim.id, after=state.seq)
        self._check_ours(news)
        return self._take_in(state, news)

    def _check_ours(self, news: Iterable[e.Recorded]) -> None:
        if not all(isinstance(recorded.event, e.OUTSIDE) for recorded in news):
            raise LeaseLost(f"execution {self.claim.id}: another worker went on with it")

    async def _cancel_children(self, children: Sequence[str]) -> None:
        """Ask children to cancel, for a reason that is committed already."""
        requests = self._requests(children)
        if requests:
            await self.tools.store.deliver(requests)
            self._told.update(children)

    def _requests(self, children: Sequence[str]) -> tuple[Delivery, ...]:
        now = self.tools.clock.now()
        return tuple(Delivery(child, e.CancelRequested(now)) for child in children if child not in self._told)

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
        """Append, durably; False when a request was recorded meanwhile. Raises LeaseLost, Unfit, InvalidPayload."""
        now, state = self.tools.clock.now(), decision.execution
        limits = [now + run.node.timeout for run in decision.runs]
        limits += [self._deadlines[run.key] for run in self._tasks.values()]
        timed_append, timed_ms = self._last_append or (None, None)
        append = Append(
            execution_id=self.claim.id,
            append_id=f"{self._id}-{next(self._count)}",
            fence=self.claim.fence,
            first_seq=first_seq,
            events=events,
            data=encoded(events),
            projection=project(workflow, state, self._frontier),
            due_at=decision.wake_at if release else None,
            release=release,
            step_deadline=max(limits, default=None),
            timed_append=timed_append,
            timed_ms=timed_ms,
            submissions=tuple(ended.submission for ended in self._ended if ended.submission is not None),
            deliveries=(*end_for_parent(state, now), *self._requests(decision.cancels)),
        )
        began = time.perf_counter()
        outcome = await self.tools.journal.put(append)
        took = time.perf_counter() - began
        if outcome is Outcome.FENCED:
            raise LeaseLost(f"execution {self.claim.id}: another worker owns it")
        if outcome is Outcome.STALE:
            return False
        self._told.update(decision.cancels)
        self._known_at = now
        self._last_append = (first_seq, round(took * 1000, 3))
        observe(events, state, took)
        if self.tools.tracing is not None:
            self.tools.tracing.committed(events, state, created=self.claim.created_at, began=now, took=took)
        if append.submissions:
            self.tools.hint()
        return True

    def _start(self, run: RunNode, state: Execution) -> None:
        task = asyncio.create_task(self._attempt(run, state, self.tools), name=f"{self.claim.id}/{run.key}")
        self._tasks[task] = run
        self._deadlines[run.key] = self.tools.clock.now() + run.node.timeout
        task.add_done_callback(lambda _: self._wake.set())

    async def _next(self, wake_at: datetime | None) -> None:
        """Wait until a step ends, its event then being among `_ended`, until a timer is due, or a nudge."""
        alarm: asyncio.TimerHandle | None = None
        if wake_at is not None:
            seconds = max(0.0, (wake_at - self.tools.clock.now()).total_seconds())
            alarm = asyncio.get_running_loop().call_later(seconds, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            if alarm is not None:
                alarm.cancel()
        self._wake.clear()
        for task in [task for task in self._tasks if task.done()]:
            del self._deadlines[self._tasks.pop(task).key]
            self._ended.append(task.result())
