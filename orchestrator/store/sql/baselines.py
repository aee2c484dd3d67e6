"""How an engine does by workflow: before a rollout, which is kept, and now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from orchestrator.faults import Boundary
from orchestrator.model import Assignment, Engine, Status
from orchestrator.store import tables as t
from orchestrator.store.evidence import ALL_WORKFLOWS, Baseline, Ended
from orchestrator.store.sql.connections import Connections

if TYPE_CHECKING:
    from datetime import datetime

MOST_MEASURED = 1_000_000  # executions, the newest first

_x = t.executions
_b = t.baselines.c
#: Those that a router sent, and that no other execution made.
_ROUTED = (_x.c.assignment != Assignment.EXPLICIT, _x.c.parent.is_(None), _x.c.origin.is_(None))
_BY_ITSELF = _x.c.status.in_((Status.SUCCESS, Status.FAILED))
_FAILED = sa.case((_x.c.status == Status.FAILED, 1), else_=0)


class Baselines(Connections):
    """Durations and failures by workflow."""

    async def take_baselines(self, attempt: str, since: datetime, until: datetime) -> None:
        async with self._reading() as c:  # a week of executions is read without holding a lock
            found = await c.run_sync(_measured, since, until)
        first = self._insert(t.baselines).on_conflict_do_nothing().returning(_b.attempt)
        nobody = {"attempt": attempt, "workflow_id": ALL_WORKFLOWS, "executions": 0, "bad": 0, "p95_seconds": 0.0}

        def keep(c: sa.Connection) -> None:
            mine = c.execute(first, nobody).first() is not None  # otherwise somebody was faster: theirs stand, whole
            if mine and found:
                c.execute(sa.insert(t.baselines), [{"attempt": attempt, **row} for row in found])

        await self._writing(Boundary.TAKE_BASELINES, keep)

    async def baselines(self, attempt: str) -> list[Baseline] | None:
        query = sa.select(t.baselines).where(_b.attempt == attempt).order_by(_b.workflow_id)
        async with self._reading() as c:
            kept = [
                Baseline(row.workflow_id, row.executions, row.bad, row.p95_seconds) for row in await c.execute(query)
            ]
        return [one for one in kept if one.workflow_id != ALL_WORKFLOWS] if kept else None

    async def ended(self, engine: Engine, since: datetime) -> list[Ended]:
        query = (
            sa.select(_x.c.workflow_id, sa.func.count().label("executions"), sa.func.sum(_FAILED).label("bad"))
            .where(_x.c.engine == engine, _x.c.finished_at >= since, _BY_ITSELF, *_ROUTED)
            .group_by(_x.c.workflow_id)
            .order_by(_x.c.workflow_id)
        )
        async with self._reading() as c:
            return [Ended(row.workflow_id, row.executions, row.bad) for row in await c.execute(query)]

    async def routed_since(self, engine: Engine, since: datetime) -> int:
        query = sa.select(sa.func.count()).where(_x.c.created_at >= since, _x.c.engine == engine, *_ROUTED)
        async with self._reading() as c:
            return int(await c.scalar(query) or 0)


def _measured(c: sa.Connection, since: datetime, until: datetime) -> list[dict[str, Any]]:
    """By workflow: V1's executions that ended in that time, the failed ones, and the 95th percentile (nearest rank).

    One pass over the index of what is finished and one sort: a million rows take PostgreSQL two seconds. More say
    nothing that the newest million do not, and no rollout should wait for them.
    """
    newest = (
        sa.select(_x.c.workflow_id, _FAILED.label("failed"), _seconds(c.dialect.name).label("lasted"))
        .where(_x.c.engine == Engine.V1, _x.c.finished_at >= since, _x.c.finished_at < until, _BY_ITSELF, *_ROUTED)
        .order_by(_x.c.finished_at.desc())
        .limit(MOST_MEASURED)
        .subquery()
    )
    n = newest.c
    ranked = sa.select(
        n.workflow_id,
        n.failed,
        n.lasted,
        sa.func.row_number().over(partition_by=n.workflow_id, order_by=n.lasted).label("place"),
        sa.func.count().over(partition_by=n.workflow_id).label("executions"),
    ).subquery()
    r = ranked.c
    query = sa.select(
        r.workflow_id,
        sa.func.count().label("executions"),
        sa.func.sum(r.failed).label("bad"),
        sa.func.min(sa.case((r.place * 100 >= r.executions * 95, r.lasted))).label("p95_seconds"),
    ).group_by(r.workflow_id)
    return [dict(row._mapping) for row in c.execute(query)]  # noqa: SLF001 - SQLAlchemy's public name for a row's mapping


def _seconds(dialect: str) -> Any:
    """From submission to the end: waiting for a worker is part of what an engine takes."""
    if dialect == "sqlite":
        days = sa.func.julianday(_x.c.finished_at) - sa.func.julianday(_x.c.created_at)
        return sa.func.round(days * 86400.0, 3)  # it reckons in milliseconds
    return sa.cast(sa.extract("epoch", _x.c.finished_at - _x.c.created_at), sa.Float)
