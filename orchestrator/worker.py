"""A worker: claims executions, drives them, renews its leases, and lets go of everything when it is told to stop."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import uuid
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from orchestrator import telemetry
from orchestrator.engines.v1 import V1Engine
from orchestrator.engines.v2 import Drive, Known, Tools
from orchestrator.errors import InvalidPayload, LeaseLost, OrchestratorError, StoreError, StoreUnavailable
from orchestrator.fold import fold
from orchestrator.housekeeping import keep_house
from orchestrator.journal import GroupCommit
from orchestrator.model import Engine, Execution
from orchestrator.store.messages import Outcome, Release

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Sequence

    from orchestrator.clock import Clock
    from orchestrator.engines.baseline import Baseline
    from orchestrator.events import Recorded
    from orchestrator.health import Health
    from orchestrator.nodes.runner import NodeRunner
    from orchestrator.store.messages import Append, Claim, V1Update
    from orchestrator.store.port import Store
    from orchestrator.tracing import Tracing

log = structlog.get_logger(__name__)

_CLAIMS, _ROUNDS = "worker's claims", "worker's rounds"  # what its health is judged by
_REMEMBERED = 10_000  # folded executions kept for their next claim


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """How a worker behaves."""

    concurrency: int = 200  # executions of each engine at once
    batch: timedelta = timedelta(milliseconds=5)  # how long a busy worker lets free places gather before it claims
    lease: timedelta = timedelta(seconds=15)
    poll: timedelta = timedelta(milliseconds=200)
    engines: tuple[Engine, ...] = (Engine.V1, Engine.V2)
    drain: timedelta = timedelta(seconds=10)  # how long steps in flight may go on after a stop
    retention: timedelta | None = None  # how long finished executions are kept; None: for ever


class Worker:
    """Active-active: any number of workers share a store; the fencing token decides who may write."""

    def __init__(
        self,
        store: Store,
        runner: NodeRunner,
        clock: Clock,
        settings: WorkerSettings,
        v1: Baseline | None = None,
        on_end: Callable[[Execution], None] | None = None,
        chance: random.Random | None = None,
        tracing: Tracing | None = None,
        *,
        health: Health | None = None,
    ) -> None:
        """`on_end` is told of every V2 execution whose end this worker committed; `chance` jitters V2's retries.

        `health` hears of every claim that the store answered, and of every round.
        """
        self._store, self._clock, self._settings = store, clock, settings
        self.owner = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
        self._journal: GroupCommit[Append, Outcome] = GroupCommit(self._flush)
        self._updates: GroupCommit[V1Update, bool] = GroupCommit(store.v1_update)
        self.tracing = tracing
        self._tools = Tools(
            store,
            self._journal,
            runner,
            clock,
            settings.lease,
            chance or random.Random(),  # noqa: S311 - spreads retries, hides nothing
            hint=lambda: self.hint(Engine.V2),
            tracing=tracing,
        )
        self._v1: Baseline = v1 or V1Engine(store, self._updates, runner, clock)
        self._drives: dict[str, Drive] = {}
        self._tasks: dict[Engine, dict[str, asyncio.Task[None]]] = {Engine.V1: {}, Engine.V2: {}}
        self._known: OrderedDict[str, Known] = OrderedDict()
        self._hinted: set[Engine] = set()  # of these something may be due
        self._starved: set[Engine] = set()  # of these more was due than could be claimed
        self._wake = asyncio.Event()
        self._stopping = False
        self._until_idle = False
        self._on_end = on_end
        self._health = health

    def hint(self, engine: Engine | None = None) -> None:
        """Something may be due, of this engine if one is named: look now, not at the next poll."""
        self._hinted.update(self._settings.engines if engine is None else {engine}.intersection(self._settings.engines))
        self._wake.set()

    @property
    def busy(self) -> int:
        """Executions held now."""
        return sum(len(tasks) for tasks in self._tasks.values())

    async def run(self, stop: asyncio.Event, *, until_idle: bool = False) -> None:
        """Work until `stop` is set; with `until_idle` until nothing is left, leases and timers included."""
        self._stopping = False  # a worker may run again after it was idle
        self._until_idle = until_idle
        beside = [
            asyncio.create_task(self._heed(stop), name="heed-stop"),
            asyncio.create_task(self._renew_for_ever(), name="renew-leases"),
            asyncio.create_task(keep_house(self._store, self._clock, self._settings.retention), name="keep-house"),
        ]
        telemetry.begin(engine.value for engine in self._settings.engines)
        self._expect()
        log.info("worker started", owner=self.owner, engines=[engine.value for engine in self._settings.engines])
        try:
            engines: Collection[Engine] = self._settings.engines
            while not stop.is_set():
                self._hinted.difference_update(engines)
                self._beat(_ROUNDS)
                try:
                    await self._claim(engines)
                    self._beat(_CLAIMS)
                    if until_idle and not self.busy and await self._store.idle(self._settings.engines):
                        return
                except StoreUnavailable as error:
                    log.warning("the store does not answer; nothing is claimed meanwhile", error=str(error))
                    self._starved.clear()
                engines = await self._rest(stop)
        finally:
            self._expect_nothing()
            await self._let_go()  # what drains is still ours
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            log.info("worker stopped", owner=self.owner)

    def _expect(self) -> None:
        if self._health is not None:
            self._health.expect(_CLAIMS, timedelta(seconds=30) + self._settings.lease)
            self._health.expect(_ROUNDS, timedelta(minutes=5), restart=True)

    def _expect_nothing(self) -> None:
        if self._health is not None:
            self._health.forget(_CLAIMS)
            self._health.forget(_ROUNDS)

    def _beat(self, name: str) -> None:
        if self._health is not None:
            self._health.beat(name)

    async def _flush(self, batch: Sequence[Append]) -> Sequence[Outcome]:
        """Commit appends. What was refused is counted here, for whoever wrote it may be gone by now."""
        outcomes = await self._store.append(batch)
        if refused := sum(outcome is Outcome.FENCED for outcome in outcomes):
            telemetry.FENCED.inc(refused)
        return outcomes

    async def _claim(self, engines: Collection[Engine]) -> None:
        """Claim what is due of these engines, as much of it as there are places for."""
        for engine in engines:
            free = self._places(engine)
            if free <= 0:
                self._starved.add(engine)
                continue
            lease, now = self._settings.lease, self._clock.now()
            if engine is Engine.V1:
                claims = await self._v1.claim(self.owner, free, lease, now)
            else:
                claims = await self._store.claim(self.owner, engine, free, lease, now)
                await self._read(claims)
            for claim in claims:
                run = self._drive(claim) if engine is Engine.V2 else self._walk(claim)
                self._begin(engine, claim.id, run)
            if len(claims) == free:
                self._starved.add(engine)
            else:
                self._starved.discard(engine)

    def _places(self, engine: Engine) -> int:
        return self._settings.concurrency - len(self._tasks[engine])

    async def _read(self, claims: Sequence[Claim]) -> None:
        """Fold the histories of what was claimed: those that came along, and, in one query, those not known before."""
        new = {claim.id: claim for claim in claims if not self._knows(claim)}
        histories: dict[str, Sequence[Recorded]] = {id_: claim.history for id_, claim in new.items() if claim.history}
        try:
            unread = new.keys() - histories.keys()
            histories |= await self._store.histories(unread) if unread else {}
        except StoreError:
            return  # away, or one of them cannot be read by this version: each drive reads its own, or is put down
        for execution_id, history in histories.items():
            with suppress(OrchestratorError):  # its own drive will say what is wrong with it
                if history[-1].seq == new[execution_id].seq:
                    self._known[execution_id] = Known(fold(execution_id, history))

    def _knows(self, claim: Claim) -> bool:
        known = self._known.get(claim.id)
        return known is not None and known.state.seq <= claim.seq

    def _begin(self, engine: Engine, execution_id: str, run: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(run, name=f"{engine}:{execution_id}")
        if (zombie := self._tasks[engine].get(execution_id)) is not None:
            zombie.cancel()  # we lost it and got it back: what the first drive still does would count for nothing
        self._tasks[engine][execution_id] = task

        def over(done: asyncio.Task[None]) -> None:
            if self._tasks[engine].get(execution_id) is done:
                del self._tasks[engine][execution_id]
            if self._until_idle and not self.busy:
                self.hint()  # perhaps that was the last one
            elif self._starved:
                self._wake.set()

        task.add_done_callback(over)

    async def _drive(self, claim: Claim) -> None:
        if claim.begun:
            telemetry.STARTED.labels("v2").inc()
        drive = Drive(claim, self._tools, self._known.pop(claim.id, None))
        drive.stopping = self._stopping
        self._drives[claim.id] = drive
        try:
            await drive.run()
        except LeaseLost as lost:
            log.warning("lease lost", execution=claim.id, reason=str(lost))
            return
        except StoreUnavailable as error:
            # Nothing is known about the last append: whoever claims it next reads what is really there.
            log.warning("execution put down: the store does not answer", execution=claim.id, error=str(error))
            return
        except Exception as error:
            log.exception("execution cannot be driven; it is tried again when its lease ends", execution=claim.id)
            await self._note(f"ERROR execution {claim.id}: {error}")
            return
        finally:
            if self._drives.get(claim.id) is drive:
                del self._drives[claim.id]
        if drive.known is not None:
            self._known[claim.id] = drive.known
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        elif drive.state is not None:
            await self._ended(drive.state)

    async def _ended(self, state: Execution) -> None:
        if self._on_end is not None:
            self._on_end(state)
        if state.parent is not None:
            self.hint(Engine.V2)
        if state.failure is not None:
            failure = state.failure
            log.error("execution failed", execution=state.id, node=failure.node, error=failure.message)
            await self._note(f"ERROR execution {state.id}: {failure.kind}: {failure.message}")

    async def _walk(self, claim: Claim) -> None:
        try:
            await self._v1.run(claim)
        except Exception as error:
            log.exception("V1 execution stopped; it stays as it is, as V1 does", execution=claim.id)
            await self._note(f"ERROR execution {claim.id}: {error}")

    async def _note(self, line: str) -> None:
        with suppress(StoreError, InvalidPayload):
            await self._store.log_edge([line], self._clock.now())

    async def _rest(self, stop: asyncio.Event) -> Collection[Engine]:
        """Until there is something to claim; of which engines it may be.

        That is at the next poll, which jitter spreads over the workers, or at a hint. Where more was due than there
        were places it is when one is free, and a little later, so that one claim fills several.
        """
        loop = asyncio.get_running_loop()
        pause = self._settings.poll.total_seconds() * random.uniform(0.7, 1.3)  # noqa: S311 — spreads load, hides nothing
        until = loop.time() + pause
        while not stop.is_set() and (left := until - loop.time()) > 0:
            self._wake.clear()
            free = {engine for engine in self._starved if self._places(engine) > 0}
            engines = free | (self._hinted - self._starved)
            if engines:
                if free or self.busy > self._settings.concurrency // 8:  # there is work enough: let more of it gather
                    await asyncio.sleep(self._settings.batch.total_seconds())
                return engines
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._wake.wait()
        return self._settings.engines

    async def _heed(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._wake.set()

    async def _renew_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._settings.lease.total_seconds() / 3)
            held = {execution_id: drive.claim.fence for execution_id, drive in self._drives.items()}
            if not held:
                continue
            try:
                ours = await self._store.renew(held, self._settings.lease, self._clock.now())
            except StoreUnavailable as error:
                log.warning("leases could not be renewed", error=str(error))
                continue
            except Exception:
                log.exception("leases could not be renewed")  # without renewals every lease would end
                continue
            for execution_id, fence in held.items():
                drive = self._drives.get(execution_id)
                if drive is None or drive.claim.fence != fence:
                    continue
                if execution_id not in ours:
                    telemetry.FENCED.inc()
                    log.warning("lease lost", execution=execution_id, reason="it was not renewed in time")
                    task = self._tasks[Engine.V2].get(execution_id)
                    if task is not None:
                        task.cancel()
                elif ours[execution_id] > drive.seq:
                    drive.nudge()

    async def _let_go(self) -> None:
        """Give steps in flight a moment to end and be committed, then release what is left."""
        self._stopping = True
        tasks = [task for tasks in self._tasks.values() for task in tasks.values()]
        self._v1.stop()
        if tasks:
            log.info("worker draining", executions=len(tasks))
            for drive in self._drives.values():
                drive.stopping = True
                drive.nudge()
            await asyncio.wait(tasks, timeout=self._settings.drain.total_seconds())
        now = self._clock.now()
        held = {i: Release(drive.claim.fence, drive.seq, now) for i, drive in self._drives.items()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._journal.aclose()  # first: no append of ours comes after the release
        await self._updates.aclose()
        with suppress(StoreUnavailable):
            await self._store.release(held, now)
