"""Ends of executions on V1 behind HTTP: written once, masked, counted by whoever's write was the one that counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog

from orchestrator import telemetry
from orchestrator.engines.v1_http import reports
from orchestrator.errors import InvalidPayload, StoreError, UnknownExecution
from orchestrator.journal import GroupCommit
from orchestrator.store.sql.watched import End, Ended, WatchStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.clock import Clock
    from orchestrator.engines.v1_http.reports import Report

log = structlog.get_logger(__name__)


class Ends:
    """Writes outcomes; `masked(execution_id, value)` is what may be kept of a value."""

    def __init__(self, store: WatchStore, clock: Clock, masked: Callable[[str, Any], Any]) -> None:
        self._store, self._clock, self._masked = store, clock, masked
        self._ends: GroupCommit[End, Ended] = GroupCommit(store.watch_end)

    async def write(self, execution_id: str, report: Report) -> bool:
        """End an execution by what was learnt of it; False if it was over already.

        Raises StoreUnavailable, and UnknownExecution.
        """
        report = reports.cleaned(report, lambda value: self._masked(execution_id, value))
        try:
            ended = await self._put(execution_id, report)
        except InvalidPayload as error:  # the output is the one part that may be anything
            report = reports.failed("InvalidPayload", str(error))
            ended = await self._put(execution_id, report)
        if ended.status is None:
            raise UnknownExecution(f"no execution {execution_id}")
        if ended.ours:
            await self._count(execution_id, report, ended)
        return ended.ours

    async def note(self, line: str) -> None:
        """A line for the log that existing queries read; lost if the store is away."""
        try:
            await self._store.log_edge([line], self._clock.now())
        except (StoreError, InvalidPayload) as error:
            log.warning("a line of the log was lost", line=line, error=str(error))

    async def aclose(self) -> None:
        await self._ends.aclose()

    async def _put(self, execution_id: str, report: Report) -> Ended:
        end = End(execution_id, report.status, self._clock.now(), report.output, report.failure)
        return await self._ends.put(end)

    async def _count(self, execution_id: str, report: Report, ended: Ended) -> None:
        telemetry.FINISHED.labels("v1", report.status.value).inc()
        if ended.started_at is not None:
            took = (self._clock.now() - ended.started_at).total_seconds()
            telemetry.EXECUTION_SECONDS.labels("v1").observe(took)
        if report.failure is not None:
            log.error("V1 execution failed", execution=execution_id, error=report.failure.message)
            await self.note(f"ERROR execution {execution_id}: {report.failure.message}")
