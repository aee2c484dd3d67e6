"""Claims, leases and appends: what workers do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from orchestrator import events as e
from orchestrator.model import Engine, Status
from orchestrator.store import rows
from orchestrator.store import tables as t
from orchestrator.store.connections import Connections
from orchestrator.store.locks import lock
from orchestrator.store.rows import event_row, projection_columns

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from orchestrator.store.port import Append, Claim, Outcome, Release, V1Update

_x = t.executions


class Claiming(Connections, ABC):
    """Every claim carries a fencing token that every later write is checked against, under the row's lock."""

    async def claim(self, owner: str, engine: Engine, limit: int, lease: timedelta, now: datetime) -> list[Claim]:
        due = _x.c.due_at <= now if engine is Engine.V2 else _x.c.status == Status.PENDING
        oldest = _x.c.due_at if engine is Engine.V2 else _x.c.created_at
        chosen = (
            sa.select(_x.c.id, _x.c.status, _x.c.longest_timeout)
            .where(_x.c.engine == engine, _x.c.finished_at.is_(None), due)
            .order_by(oldest)
            .limit(limit)
        )
        async with self._reading() as c:  # an idle poll must not take SQLite's one write lock
            if (await c.execute(chosen.limit(1))).first() is None:
                return []
        async with self._writing() as c:
            picked = (await c.execute(chosen.with_for_update(skip_locked=True))).all()
            if not picked:
                return []
            pending = _x.c.status == Status.PENDING
            v2 = engine is Engine.V2
            update = (
                sa.update(_x)
                .where(_x.c.id.in_([row.id for row in picked]))
                .values(
                    owner=owner,
                    fence=_x.c.fence + 1,
                    due_at=now + lease if v2 else None,
                    step_deadline=_deadlines([row.longest_timeout for row in picked], now),
                    status=sa.case((pending, Status.RUNNING.value), else_=_x.c.status),
                    started_at=sa.case((pending, sa.literal(now, t.Moment())), else_=_x.c.started_at),
                    seq=sa.case((pending, _x.c.seq + 1), else_=_x.c.seq) if v2 else _x.c.seq,
                    version=sa.case((pending, _x.c.version + 1), else_=_x.c.version),
                )
                .returning(_x)
            )
            claimed = (await c.execute(update)).all()
            begun = {row.id for row in picked if row.status == Status.PENDING}
            if v2 and begun:
                started = e.ExecutionStarted(now)
                first = [event_row(r.id, r.seq, started, append_seq=r.seq) for r in claimed if r.id in begun]
                await c.execute(sa.insert(t.events), first)
        return [rows.claim(row, begun=row.id in begun) for row in claimed]

    async def renew(self, held: Mapping[str, int], lease: timedelta, now: datetime) -> dict[str, int]:
        async with self._writing() as c:
            await lock(c, held)
            # What was let go while the renewal was on its way keeps its moment: the fence still fits, the lease ended.
            due = sa.case((_x.c.owner.is_(None), _x.c.due_at), else_=sa.literal(now + lease, t.Moment()))
            update = sa.update(_x).where(_held(held)).values(due_at=due).returning(_x.c.id, _x.c.seq)
            return {row.id: row.seq for row in await c.execute(update)}

    async def release(self, held: Mapping[str, Release], now: datetime) -> None:
        if not held:
            return
        # A request that was recorded while it was owned woke nobody: its owner was to see it, and did not.
        wanted = sa.bindparam("b_due", type_=t.Moment())
        due = sa.case((_x.c.seq == sa.bindparam("b_seq"), wanted), else_=sa.literal(now, t.Moment()))
        update = (
            sa.update(_x)
            .where(_x.c.id == sa.bindparam("b_id"), _x.c.fence == sa.bindparam("b_fence"))
            .values(owner=None, due_at=due)
        )
        values = [{"b_id": i, "b_fence": r.fence, "b_seq": r.seq, "b_due": r.due_at} for i, r in held.items()]
        async with self._writing() as c:
            await lock(c, held)
            await c.execute(update, values)

    @abstractmethod
    async def append(self, batch: Sequence[Append]) -> list[Outcome]: ...

    async def events(self, execution_id: str, after: int = 0) -> list[e.Recorded]:
        query = (
            sa.select(t.events)
            .where(t.events.c.execution_id == execution_id, t.events.c.seq > after)
            .order_by(t.events.c.seq)
        )
        async with self._reading() as c:
            return [rows.recorded(row) for row in await c.execute(query)]

    async def v1_update(self, batch: Sequence[V1Update]) -> list[bool]:
        ids = [update.execution_id for update in batch]
        async with self._writing() as c:
            await lock(c, ids)
            for update in batch:
                values = projection_columns(update.projection)
                change = sa.update(_x).where(_x.c.id == update.execution_id, _x.c.engine == Engine.V1)
                await c.execute(change.values(**values, step_deadline=update.step_deadline, version=_x.c.version + 1))
            query = sa.select(_x.c.id).where(_x.c.id.in_(ids), _x.c.cancel_requested)
            asked = set((await c.execute(query)).scalars())
        return [execution_id in asked for execution_id in ids]


def _held(held: Mapping[str, int]) -> Any:
    """Rows that are still ours: the fencing token is compared under the row's lock."""
    return sa.tuple_(_x.c.id, _x.c.fence).in_(list(held.items()))


def _deadlines(timeouts: Iterable[float], now: datetime) -> Any:
    """SQL: the moment by which a step begun now has timed out, by the row's longest timeout."""
    arms = [
        (_x.c.longest_timeout == seconds, sa.literal(now + timedelta(seconds=seconds), t.Moment()))
        for seconds in sorted(set(timeouts))
    ]
    return sa.case(*arms)
