"""What ended long ago is deleted, some at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from orchestrator.faults import Boundary
from orchestrator.store import tables as t
from orchestrator.store.sql.connections import Connections

if TYPE_CHECKING:
    from datetime import datetime

_x = t.executions
_parent = t.executions.alias("parent")
_EVIDENCE = (t.totals, t.baselines, t.bins)  # of a rollout's attempts


class Retention(Connections):
    """Every batch is one commit: a sweep that was interrupted goes on where it stood."""

    async def drop_finished(self, before: datetime, limit: int = 200) -> int:
        waits_for_it = sa.exists().where(_parent.c.id == _x.c.parent, _parent.c.finished_at.is_(None))
        # Evidence that was not counted yet stays, too.
        done_with = sa.and_(_x.c.dirty.is_not(True), _x.c.next_age_at.is_(None), ~waits_for_it)
        old = sa.select(_x.c.id).where(_x.c.finished_at < before, done_with).order_by(_x.c.finished_at).limit(limit)
        async with self._reading() as c:  # most sweeps find nothing, and need no lock for that
            if (await c.execute(old.limit(1))).first() is None:
                return 0

        def drop(c: sa.Connection) -> int:
            ids = list(c.scalars(old.with_for_update(skip_locked=True, of=_x)))
            c.execute(sa.delete(t.events).where(t.events.c.execution_id.in_(ids)))
            c.execute(sa.delete(_x).where(_x.c.id.in_(ids)))
            return len(ids)

        return await self._writing(Boundary.DROP_FINISHED, drop)

    async def drop_evidence(self, attempts: str) -> int:
        def drop(c: sa.Connection) -> int:
            mine = (sa.delete(one).where(one.c.attempt.startswith(attempts, autoescape=True)) for one in _EVIDENCE)
            return sum(c.execute(statement).rowcount for statement in mine)

        return await self._writing(Boundary.DROP_EVIDENCE, drop)
