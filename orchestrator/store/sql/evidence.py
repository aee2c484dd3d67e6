"""The part of the store that watches: cohort counters and gauges."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from orchestrator import cohorts, durations
from orchestrator.model import Assignment, Engine, Status
from orchestrator.store import rows
from orchestrator.store import tables as t
from orchestrator.store.port import CohortCount, Gauges, Totals
from orchestrator.store.revisions import Revisions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from orchestrator.model import Workflow

_x = t.executions
_LONG = timedelta(minutes=10)
_GRACE = timedelta(seconds=2)  # two polls of a worker
_ENGINES = (Engine.V1, Engine.V2)


async def count(
    c: AsyncConnection,
    insert: Callable[[sa.Table], Any],
    workflow: Callable[[str, str], Awaitable[Workflow]],
    now: datetime,
    limit: int,
) -> int:
    """Read the executions that reached an age: raise their counters and mark them as counted, in one commit."""
    chosen = (
        sa.select(_x)
        .where(_x.c.next_age_at <= now)
        .order_by(_x.c.next_age_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    picked = (await c.execute(chosen)).all()
    if not picked:
        return 0
    histories = await _histories(c, [row.id for row in picked if row.engine == Engine.V2])
    counts: Counter[tuple[str, ...]] = Counter()
    marks = []
    for row in picked:
        last = row.next_age == len(row.ages) - 1
        facts = cohorts.Facts(
            engine=Engine(row.engine),
            status=Status(row.status),
            finished_at=row.finished_at,
            step_deadline=row.step_deadline,
            waits=await _waits(row, workflow),
            history=histories.get(row.id, ()),
        )
        bad = cohorts.outcomes(facts, row.next_age_at, _GRACE, last_age=last)
        if row.assignment != Assignment.EXPLICIT and row.status != Status.CANCELLED:
            age = durations.show(timedelta(seconds=row.ages[row.next_age]))
            for criterion, is_bad in bad.items():
                outcome = "bad" if is_bad else "good"
                key = (row.attempt, row.engine, criterion, outcome, row.assignment, row.percent, age)
                counts[key] += 1
        following = None if last else row.created_at + timedelta(seconds=row.ages[row.next_age + 1])
        marks.append({"b_id": row.id, "b_next": row.next_age + 1, "b_at": following})
    await _raise_counters(c, insert, counts)
    mark = (
        sa.update(_x)
        .where(_x.c.id == sa.bindparam("b_id"))
        .values(next_age=sa.bindparam("b_next"), next_age_at=sa.bindparam("b_at", type_=t.Moment()))
    )
    await c.execute(mark, marks)
    return len(picked)


async def _waits(row: Any, workflow: Callable[[str, str], Awaitable[Workflow]]) -> bool:
    if row.engine == Engine.V2 or row.status != Status.RUNNING:
        return bool(row.status == Status.WAITING)
    node = (await workflow(row.workflow_id, row.revision)).by_id.get(row.current_node_id)
    return node is not None and node.type == "wait"


async def _histories(c: AsyncConnection, ids: list[str]) -> Mapping[str, list[cohorts.Moment]]:
    histories: dict[str, list[cohorts.Moment]] = defaultdict(list)
    if ids:
        v = t.events.c
        query = sa.select(v.execution_id, v.created_at, v.type, v.attempt, v.timed_ms).where(v.execution_id.in_(ids))
        for row in await c.execute(query.order_by(v.execution_id, v.seq)):
            moment = cohorts.Moment(row.created_at, row.type, row.attempt, row.timed_ms)
            histories[row.execution_id].append(moment)
    return histories


async def _raise_counters(
    c: AsyncConnection, insert: Callable[[sa.Table], Any], counts: Mapping[tuple[str, ...], int]
) -> None:
    if not counts:
        return
    names = ("attempt", "engine", "criterion", "outcome", "assignment", "percent", "age")
    # Sorted, so that two counters that raise the same rows lock them in the same order.
    values = [{**dict(zip(names, key, strict=True)), "value": n} for key, n in sorted(counts.items())]
    new = insert(t.cohorts).values(values)
    await c.execute(
        new.on_conflict_do_update(index_elements=list(names), set_={"value": t.cohorts.c.value + new.excluded.value})
    )


async def gauges(c: AsyncConnection, now: datetime, poll: timedelta) -> Gauges:
    """Running, long-running and stalled executions by engine, and how long the oldest due one has waited."""
    running = _x.c.status == Status.RUNNING
    late = now - 2 * poll
    # A running V2 execution always has a moment at which a worker must have looked at it again.
    abandoned = sa.and_(_x.c.owner.is_not(None), _x.c.due_at < late)
    overdue = sa.and_(_x.c.owner.is_not(None), _x.c.step_deadline < late)

    def total(condition: Any) -> Any:
        return sa.func.coalesce(sa.func.sum(sa.case((condition, 1), else_=0)), 0)

    query = (
        sa.select(
            _x.c.engine,
            total(running),
            total(sa.and_(running, _x.c.started_at < now - _LONG)),
            total(sa.and_(running, sa.or_(abandoned, overdue))),
        )
        .where(_x.c.finished_at.is_(None))
        .group_by(_x.c.engine)
    )
    found = {Engine(row[0]): (int(row[1]), int(row[2]), int(row[3])) for row in await c.execute(query)}
    queued = sa.and_(_x.c.finished_at.is_(None), _x.c.owner.is_(None))
    oldest = sa.case((_x.c.engine == Engine.V2, _x.c.due_at), else_=_x.c.created_at)
    waiting = sa.or_(
        sa.and_(_x.c.engine == Engine.V2, _x.c.due_at <= now),
        sa.and_(_x.c.engine == Engine.V1, _x.c.status == Status.PENDING),
    )
    first: datetime | None = await c.scalar(sa.select(sa.func.min(oldest, type_=t.Moment())).where(queued, waiting))
    return Gauges(
        running=_column(found, 0),
        long_running=_column(found, 1),
        stalled=_column(found, 2),
        queue_oldest_seconds=max(0.0, (now - first).total_seconds()) if first else 0.0,
    )


def _column(found: Mapping[Engine, tuple[int, int, int]], index: int) -> Mapping[Engine, int]:
    return {engine: found.get(engine, (0, 0, 0))[index] for engine in _ENGINES}


class Evidence(Revisions):
    """Counters, totals and gauges."""

    async def count_cohorts(self, now: datetime, limit: int = 200) -> int:
        async with self._writing() as c:
            return await count(c, self._insert, self.workflow, now, limit)

    async def cohort_counts(self, attempt: str | None = None) -> list[CohortCount]:
        query = sa.select(t.cohorts)
        if attempt is not None:
            query = query.where(t.cohorts.c.attempt == attempt)
        async with self._reading() as c:
            return [rows.cohort_count(row) for row in await c.execute(query)]

    async def save_totals(self, attempt: str, totals: Totals) -> None:
        values = {"attempt": attempt, "restart": totals.index, "at": totals.at, "totals": totals.totals}
        async with self._writing() as c:
            await c.execute(self._insert(t.totals).values(**values).on_conflict_do_nothing())

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
        async with self._reading() as c:
            return await gauges(c, now, poll)
