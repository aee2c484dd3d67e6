"""The status writer: what the store says, written to the Execution resources; newest only, coalesced.

The store knows which resources are behind (`dirty`) and how long they may be; so a crash loses nothing, and a burst of
steps is one write. At most one write is in flight for an object, at most `parallel` in all.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import structlog
from prometheus_client import Counter

from orchestrator.errors import StoreError
from orchestrator.store.messages import Control
from orchestrator_operator.adapters.kubernetes import Conflict, KubernetesError, NotFound
from orchestrator_operator.specs import EXECUTIONS
from orchestrator_operator.specs.execution import build_status

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from orchestrator.clock import Clock
    from orchestrator.model import Status
    from orchestrator.store.port import Store
    from orchestrator.store.records import ExecutionRecord
    from orchestrator_operator.adapters.kubernetes import Kubernetes

WRITES = Counter("orchestrator_status_writes", "Status patches of Executions, by how they ended.", ["result"])
for _result in ("written", "gone", "error"):  # a rate needs the zero before the first error
    WRITES.labels(_result)

_AHEAD = 4  # rows taken up for each place

_log = structlog.get_logger(__name__)


class Versions:
    """The resourceVersion of each Execution as it was last heard of: makes a write exact without a read before it.

    A wrong or missing one costs a read, no more.
    """

    def __init__(self) -> None:
        self._versions: dict[str, str] = {}

    def note(self, body: Mapping[str, Any]) -> None:
        """A resource as the watch, a list or a write told it."""
        meta = body["metadata"]
        self._versions[meta["uid"]] = meta["resourceVersion"]

    def forget(self, execution_id: str) -> None:
        self._versions.pop(execution_id, None)

    def get(self, execution_id: str) -> str | None:
        return self._versions.get(execution_id)


class StatusWriter:
    """Runs until cancelled; `run` never raises for a store or a server that is away."""

    def __init__(
        self,
        store: Store,
        kubernetes: Kubernetes,
        clock: Clock,
        versions: Versions,
        namespace: str,
        *,
        every: timedelta = timedelta(seconds=5),
        grace: timedelta = timedelta(seconds=1),
        parallel: int = 16,
        poll: float = 0.2,
    ) -> None:
        """Of the executions of one namespace ("": of all): others on the same store have an operator of their own.

        `every` and `grace` are those of `Store.dirty`; `poll` is the pause in seconds while little is to be done.
        """
        self._store, self._kubernetes, self._clock = store, kubernetes, clock
        self._versions, self._namespace = versions, namespace
        self._every, self._grace, self._parallel, self._poll = every, grace, parallel, poll
        self._more = False  # the last look found more than it took up
        self._places = asyncio.Semaphore(parallel)
        self._in_flight: dict[str, asyncio.Task[None]] = {}
        self._written: dict[str, tuple[int, Status]] = {}
        self._failures: dict[str, tuple[int, datetime]] = {}  # id -> failed attempts, not again before

    async def run(self) -> None:
        """Write until cancelled; then what is in flight is finished (each write has its own timeout)."""
        try:
            while True:
                try:
                    await self.step()
                except StoreError as error:
                    _log.warning("the status writer waits for the store", error=str(error))
                    self._more = False
                await self._rest()
        finally:
            await self.drain()

    async def _rest(self) -> None:
        """Until the next look: a poll's time, or, while more waits, only until there are places again."""
        ends = asyncio.get_running_loop().time() + self._poll
        while (left := ends - asyncio.get_running_loop().time()) > 0:
            if not self._more:
                await asyncio.sleep(left)
            elif len(self._in_flight) <= self._parallel:
                await asyncio.sleep(0)
                return
            else:
                await asyncio.wait(self._in_flight.values(), timeout=left, return_when=asyncio.FIRST_COMPLETED)

    async def step(self) -> bool:
        """Report what was written, start what is due; True when there may be more to do at once."""
        await self._report()
        now = self._clock.now()
        # As many as can be written until the next look, and more: some of these are in flight or back off.
        most = _AHEAD * self._parallel
        limit = most + len(self._in_flight) + len(self._failures)
        # In a flood the first word of a new one can wait longer: whatever is over by then costs one write, not two.
        grace = self._every if self._more else self._grace
        rows = await self._store.dirty(now, limit, self._every, max(grace, self._grace), namespace=self._namespace)
        self._more = len(rows) == limit
        due = [row for row in rows if row.id not in self._in_flight and self._may_start(row.id, now)]
        for row in due[: most - len(self._in_flight)]:
            self._in_flight[row.id] = asyncio.create_task(self._write(row), name=f"status {row.name}")
        return bool(self._in_flight)

    async def drain(self) -> None:
        """Wait for the writes in flight and report them."""
        await asyncio.gather(*self._in_flight.values(), return_exceptions=True)
        try:
            await self._report()
        except StoreError as error:
            _log.warning("some status writes will be repeated after the restart", error=str(error))

    async def _report(self) -> None:
        if written := dict(self._written):
            await self._store.written(written, self._clock.now())
            for execution_id, version in written.items():
                if self._written.get(execution_id) == version:
                    del self._written[execution_id]

    def _may_start(self, execution_id: str, now: datetime) -> bool:
        if execution_id in self._written:  # not reported yet: the store would hand out the same row again
            return False
        return execution_id not in self._failures or self._failures[execution_id][1] <= now

    async def _write(self, row: ExecutionRecord) -> None:
        try:
            async with self._places:
                result = await self._patch(row)
        except (KubernetesError, StoreError) as error:
            failed, _ = self._failures.get(row.id, (0, None))
            delay = min(0.5 * 2**failed, 60.0)
            self._failures[row.id] = (failed + 1, self._clock.now() + timedelta(seconds=delay))
            _log.warning("status not written", execution=row.name, retry_in=delay, error=str(error))
            result = "error"
        except Exception:  # noqa: BLE001 - a defect with one object must not end the writer for all others
            self._failures[row.id] = (10, self._clock.now() + timedelta(seconds=60))
            _log.exception("status not written", execution=row.name)
            result = "error"
        else:
            self._failures.pop(row.id, None)
            self._written[row.id] = (row.version, row.status)
        finally:
            self._in_flight.pop(row.id, None)
        WRITES.labels(result).inc()

    async def _patch(self, row: ExecutionRecord) -> str:
        namespace, _, _ = row.workflow_id.partition("/")
        try:
            self._versions.note(await self._merge(namespace, row))
        except (NotFound, Conflict):
            if not await self._gone(namespace, row):
                raise
            self._versions.forget(row.id)
            if not row.status.terminal:  # nobody is left to run it for
                await self._store.control(row.id, Control.CANCEL, self._clock.now())
            return "gone"
        return "written"

    async def _merge(self, namespace: str, row: ExecutionRecord) -> dict[str, Any]:
        status, version = build_status(row), self._versions.get(row.id)
        if version is not None:
            try:
                return await self._kubernetes.patch_status(
                    EXECUTIONS, namespace, row.name, status, resource_version=version
                )
            except Conflict:
                self._versions.forget(row.id)  # older than the object: read first
        return await self._kubernetes.patch_status(EXECUTIONS, namespace, row.name, status, uid=row.id)

    async def _gone(self, namespace: str, row: ExecutionRecord) -> bool:
        """Whether the resource is deleted, or another one bears its name now. (A 409 can have other causes, too.)"""
        try:
            found = await self._kubernetes.get(EXECUTIONS, namespace, row.name)
        except NotFound:
            return True
        return bool(found["metadata"].get("uid") != row.id)
