"""The part of the store that watches: cohort counters and gauges."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from orchestrator.faults import Boundary
from orchestrator.model import Engine, Status
from orchestrator.store import rows
from orchestrator.store import tables as t
from orchestrator.store.records import Gauges
from orchestrator.store.sql.counting import count
from orchestrator.store.sql.reading import due, stalled
from orchestrator.store.sql.revisions import Revisions

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from orchestrator.store.evidence import CohortCount, Totals

_x = t.executions
_LONG = timedelta(minutes=10)


class Evidence(Revisions):
    """Counters, totals and gauges."""

    async def count_cohorts(self, now: datetime, limit: int = 200) -> int:
        reached = sa.select(_x.c.id).where(_x.c.next_age_at <= now).limit(1)
        async with self._reading() as c:  # most looks find nothing, and need no lock for that
            if (await c.execute(reached)).first() is None:
                return 0
        return await self._writing(
            Boundary.COUNT_COHORTS, lambda c: count(c, self._insert, self._workflow_in, now, limit)
        )

    async def cohort_counts(self, attempt: str | None = None) -> list[CohortCount]:
        query = sa.select(t.cohorts)
        if attempt is not None:
            query = query.where(t.cohorts.c.attempt == attempt)
        async with self._reading() as c:
            return [rows.cohort_count(row) for row in await c.execute(query)]

    async def save_totals(self, attempt: str, totals: Totals) -> None:
        values = {"attempt": attempt, "restart": totals.index, "at": totals.at, "totals": totals.totals}
        new = self._insert(t.totals).values(**values).on_conflict_do_nothing()

        def save(c: sa.Connection) -> None:
            c.execute(new)

        await self._writing(Boundary.SAVE_TOTALS, save)

    async def totals(self, attempt: str) -> list[Totals]:
        query = sa.select(t.totals).where(t.totals.c.attempt == attempt).order_by(t.totals.c.restart)
        async with self._reading() as c:
            return [rows.totals(row) for row in await c.execute(query)]

    async def in_flight(self, engine: Engine) -> int:
        query = (
            sa.select(sa.func.count())
            .select_from(_x)
            .where(_x.c.engine == engine, _x.c.finished_at.is_(None), _x.c.status != Status.SUSPENDED)
        )
        async with self._reading() as c:
            return int(await c.scalar(query) or 0)

    async def gauges(self, now: datetime, poll: timedelta) -> Gauges:
        # A running V2 execution always has a moment at which a worker must have looked at it again.
        late = stalled(now - 2 * poll)
        # Written out, so that the index on what runs is found for it.
        running = sa.text("status = 'running'")
        query = (
            sa.select(_x.c.engine, sa.func.count(), _sum(_x.c.started_at < now - _LONG), _sum(late))
            .where(running)
            .group_by(_x.c.engine)
        )
        async with self._reading() as c:
            found = {Engine(row[0]): tuple(map(int, row[1:])) for row in await c.execute(query)}
            oldest = [moment for engine in Engine if (moment := await c.scalar(due(engine, now).limit(1))) is not None]
        return Gauges(
            running=_column(found, 0),
            long_running=_column(found, 1),
            stalled=_column(found, 2),
            queue_oldest_seconds=max(0.0, (now - min(oldest)).total_seconds()) if oldest else 0.0,
        )


def _sum(condition: Any) -> Any:
    return sa.func.coalesce(sa.func.sum(sa.case((condition, 1), else_=0)), 0)


def _column(found: Mapping[Engine, tuple[int, ...]], index: int) -> Mapping[Engine, int]:
    return {engine: found.get(engine, (0, 0, 0))[index] for engine in Engine}
