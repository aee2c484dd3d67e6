"""V1 behind HTTP as a worker runs it: claim ▶ note that it is about to be posted ▶ post ▶ learn the outcome ▶ end.

The note is committed before the post goes out. So a worker that takes an execution over knows whether it may have been
posted: if so it never posts it again, and goes on waiting for what the table or the callback says. What is known of the
end is written by whoever learns it first, this worker or another.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import structlog
from tenacity import AsyncRetrying, retry_if_exception_type, wait_random_exponential

from orchestrator import telemetry
from orchestrator.engines.v1_http import reports
from orchestrator.engines.v1_http.ends import Ends
from orchestrator.engines.v1_http.reports import BadReport, Report
from orchestrator.engines.v1_http.settings import Outcome
from orchestrator.errors import InvalidInput, StoreUnavailable
from orchestrator.journal import GroupCommit
from orchestrator.model import Status
from orchestrator.store.sql.watched import Note, Noted, Watch, WatchStore

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from orchestrator.clock import Clock
    from orchestrator.engines.v1_http.requests import Requests
    from orchestrator.engines.v1_http.settings import V1HttpSettings
    from orchestrator.engines.v1_http.table import LegacyTable
    from orchestrator.store.messages import Claim

log = structlog.get_logger(__name__)

_DEAD: Final = "the worker that waited for the answer ended before it came; the table or a callback would still tell"


@dataclass(slots=True)
class _Held:
    """An execution that this worker watches."""

    watch: Watch
    node: str = ""
    doubt: str = ""  # why nobody knows whether it was started
    answering: bool = False  # its post is under way
    over: asyncio.Event = field(default_factory=asyncio.Event)  # it has ended, or another worker watches it
    cancelling: asyncio.Task[None] | None = None


class V1Http:
    """The worker's V1 (`engines.baseline.Baseline`) when `ORCHESTRATOR_V1=http`."""

    def __init__(
        self,
        store: WatchStore,
        requests: Requests,
        settings: V1HttpSettings,
        clock: Clock,
        table: LegacyTable | None = None,
    ) -> None:
        self._store, self._requests, self._settings, self._clock = store, requests, settings, clock
        self._table = table
        self._notes: GroupCommit[Note, Noted] = GroupCommit(store.watch_note)
        self._ends = Ends(store, clock, requests.masked)
        self._held: dict[str, _Held] = {}
        self._stopping = asyncio.Event()

    # -- as the worker sees it

    async def claim(self, owner: str, limit: int, lease: timedelta, now: datetime) -> list[Claim]:
        """Pending executions, and those whose worker died."""
        claims = []
        for watch in await self._store.watch(owner, limit, lease, self._settings.timeout, now):
            if (held := self._held.get(watch.claim.id)) is not None:
                held.watch = watch  # ours all along: only our renewal came too late
            else:
                self._held[watch.claim.id] = _Held(watch)
                claims.append(watch.claim)
        return claims

    async def run(self, claim: Claim) -> None:
        """Start one execution over there, if nobody did, and stay until it is over or let go."""
        held = self._held[claim.id]
        letting_go = False
        try:
            letting_go = await self._see_through(held)
        finally:
            if held.cancelling is not None:
                held.cancelling.cancel()
            if not letting_go and not self._stopping.is_set():
                # Without its renewals the watch ends, and the next claim takes it up.
                del self._held[claim.id]

    def stop(self) -> None:
        """Let go of all that only waits. An answer that is under way may still come while the worker drains."""
        self._stopping.set()

    # -- beside it, while the worker runs

    async def watch_on_for_ever(self, lease: timedelta) -> None:
        """Renew the watches, drop those that were lost, and pass on cancels."""
        while True:
            await asyncio.sleep(lease.total_seconds() / 3)
            fences = {id_: held.watch.claim.fence for id_, held in self._held.items() if not held.over.is_set()}
            if not fences:
                continue
            try:
                ours = await self._store.watch_on(fences, lease, self._clock.now())
            except StoreUnavailable as error:
                log.warning("watches could not be renewed", error=str(error))
                continue
            except Exception:
                log.exception("watches could not be renewed")  # without renewals every watch would end
                continue
            for id_, fence in fences.items():
                held = self._held.get(id_)
                if held is None or held.watch.claim.fence != fence:
                    continue
                if id_ not in ours:
                    self._lose(held)
                elif ours[id_]:
                    self._cancel(held)

    def watched(self) -> list[str]:
        """The executions whose outcome is still to be learnt."""
        return [id_ for id_, held in self._held.items() if held.node and not held.over.is_set()]

    async def learned(self, execution_id: str, report: Report) -> bool:
        """Make durable what was learnt; whether it changed anything. Raises StoreUnavailable, UnknownExecution."""
        held = self._held.get(execution_id)
        if report.status is Status.RUNNING:
            return held is not None and await self._moved(held, report.node)
        new = await self._ends.write(execution_id, report)
        if held is not None:
            held.over.set()  # last: this may run in a task that ends with the execution
        return new

    async def aclose(self) -> None:
        """Let go of what is still held, so that the next worker need not wait for the watches' ends."""
        await self._notes.aclose()
        await self._ends.aclose()
        left = {id_: held.watch.claim.fence for id_, held in self._held.items() if not held.over.is_set()}
        try:
            await self._store.watch_off(left, self._clock.now())
        except StoreUnavailable as error:
            log.warning("watches could not be let go; they end by themselves", error=str(error))

    # -- one execution

    async def _see_through(self, held: _Held) -> bool:
        """True if it was let go, to be watched by another worker."""
        claim, watch = held.watch.claim, held.watch
        if claim.begun:
            telemetry.STARTED.labels("v1").inc()
        workflow = await self._store.workflow(claim.workflow_id, claim.revision)
        held.node = workflow.nodes[0].id  # until the legacy engine says more
        if not watch.posted:
            noted = await self._notes.put(Note(claim.id, claim.fence, held.node))
            if not noted.held:
                return False
            if noted.cancel_requested:
                await self._insist(claim.id, Report(Status.CANCELLED))
                return False
        elif self._settings.outcome is Outcome.RESPONSE:
            held.doubt = _DEAD
        if watch.cancel_requested:
            self._cancel(held)
        posting = None if watch.posted else asyncio.create_task(self._post(held), name=f"post:{claim.id}")
        try:
            async with asyncio.timeout((watch.deadline - self._clock.now()).total_seconds()):
                return await self._until_over(held, posting)
        except TimeoutError:
            await self._insist(claim.id, await self._last_word(held))
            return False
        finally:
            if posting is not None:
                posting.cancel()
                await asyncio.gather(posting, return_exceptions=True)

    async def _until_over(self, held: _Held, posting: asyncio.Task[None] | None) -> bool:
        over, stopping = (asyncio.create_task(event.wait()) for event in (held.over, self._stopping))
        try:
            waits: set[asyncio.Task[Any]] = {over, stopping} if posting is None else {over, stopping, posting}
            while not over.done():
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                if posting in waits and posting is not None and posting.done():
                    waits.discard(posting)
                    posting.result()  # raises what nobody expected
                if stopping.done():
                    waits.discard(stopping)
                    if posting not in waits and not held.over.is_set():
                        return True
        finally:
            over.cancel()
            stopping.cancel()
        return False

    async def _post(self, held: _Held) -> None:
        held.answering = True
        try:
            started = await self._requests.start(held.watch.claim)
            held.doubt = started.doubt
            if started.report is not None:
                await self._insist(held.watch.claim.id, started.report)
            elif started.doubt:
                log.warning("V1 may not have started it", execution=held.watch.claim.id, reason=started.doubt)
        finally:
            held.answering = False

    async def _last_word(self, held: _Held) -> Report:
        """Of an execution whose time is over: what the table says after all (no worker may have looked for hours)."""
        claim, doubt = held.watch.claim, held.doubt
        if self._table is not None:
            try:
                found = (await self._table.look([claim.id])).get(claim.id)
            except (StoreUnavailable, InvalidInput) as error:
                doubt = str(error)
            else:
                if isinstance(found, Report) and found.status is not Status.RUNNING:
                    return found
                doubt = _found(found, doubt)
        return reports.timed_out(held.watch.deadline, doubt=doubt)

    async def _insist(self, execution_id: str, report: Report) -> None:
        """Make durable what nobody will say a second time, however long the store is away."""
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(StoreUnavailable), wait=wait_random_exponential(multiplier=0.5, max=10.0)
        ):
            with attempt:
                await self.learned(execution_id, report)

    async def _moved(self, held: _Held, node: str) -> bool:
        if not node or node == held.node:
            return False
        noted = await self._notes.put(Note(held.watch.claim.id, held.watch.claim.fence, node))
        held.node = node
        return noted.held

    def _lose(self, held: _Held) -> None:
        """Another worker watches it, or it ended. An answer that only this worker can get still counts."""
        if not (held.answering and self._settings.outcome is Outcome.RESPONSE):
            held.over.set()

    def _cancel(self, held: _Held) -> None:
        if held.cancelling is None:
            held.cancelling = asyncio.create_task(self._ask_to_cancel(held), name=f"cancel:{held.watch.claim.id}")

    async def _ask_to_cancel(self, held: _Held) -> None:
        """The execution ends when its outcome is known, whether or not the legacy engine listens."""
        problem = await self._requests.cancel(held.watch.claim)
        if problem:
            log.error("a cancel was not heard", execution=held.watch.claim.id, error=problem)
            await self._ends.note(f"ERROR execution {held.watch.claim.id}: {problem}")


def _found(found: Report | BadReport | None, doubt: str) -> str:
    """What a last look at the table gave, in words."""
    if found is None:
        return doubt or "the legacy table has no row of this id"
    return f"in the legacy table, {found}" if isinstance(found, BadReport) else "the legacy table says that it runs"
