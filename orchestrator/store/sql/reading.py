"""Questions about executions that change nothing."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from orchestrator.model import Engine, Status
from orchestrator.store import rows
from orchestrator.store import tables as t
from orchestrator.store.records import Backlog
from orchestrator.store.sql.connections import Connections

if TYPE_CHECKING:
    from collections.abc import Collection

    from orchestrator.store.records import ExecutionRecord, Filter

_x = t.executions
_SHOWN = [_x.c[name] for name in rows.SHOWN]


class Reading(Connections):
    """Queries on `workflow_executions`."""

    async def epoch(self) -> datetime:
        async with self._reading() as c:
            value = await c.scalar(sa.select(t.facts.c.value).where(t.facts.c.key == "epoch"))
        return datetime.fromisoformat(str(value))

    async def get(self, execution_id: str) -> ExecutionRecord | None:
        found = await self._records(sa.select(*_SHOWN).where(_x.c.id == execution_id))
        return found[0] if found else None

    async def find(self, workflow_id: str, idempotency_key: str) -> ExecutionRecord | None:
        same = sa.and_(_x.c.workflow_id == workflow_id, _x.c.idempotency_key == idempotency_key)
        found = await self._records(sa.select(*_SHOWN).where(same))
        return found[0] if found else None

    async def input_of(self, execution_id: str) -> Any:
        begins = sa.and_(t.events.c.execution_id == _x.c.id, t.events.c.seq == 1)
        query = (
            sa.select(_x.c.engine, _x.c.input, t.events.c.data)
            .select_from(_x.outerjoin(t.events, begins))
            .where(_x.c.id == execution_id)
        )
        async with self._reading() as c:
            row = (await c.execute(query)).one_or_none()
        if row is None or row.engine == Engine.V1:
            return None if row is None else row.input
        return row.data.get("input")

    async def executions(self, where: Filter) -> list[ExecutionRecord]:
        query = sa.select(*_SHOWN).where(*_conditions(where))
        return await self._records(query.order_by(_x.c.created_at.desc(), _x.c.id).limit(where.limit))

    async def known(self, ids: Collection[str]) -> set[str]:
        async with self._reading() as c:
            return set((await c.execute(sa.select(_x.c.id).where(_x.c.id.in_(list(ids))))).scalars())

    async def over(self, ids: Collection[str]) -> set[str]:
        query = sa.select(_x.c.id).where(_x.c.id.in_(list(ids)), _x.c.finished_at.is_not(None))
        async with self._reading() as c:
            return set((await c.execute(query)).scalars())

    async def backlog(self, now: datetime, most: int) -> Backlog:
        # By engine, and oldest first, as the index on what is due has them.
        found: list[datetime] = []
        async with self._reading() as c:
            for engine in Engine:
                found += (await c.execute(due(engine, now).limit(most))).scalars()
        return Backlog(min(len(found), most), min(found, default=None))

    async def active(self, after: tuple[datetime, str] | None = None, limit: int = 1000) -> list[ExecutionRecord]:
        query = sa.select(*_SHOWN).where(_x.c.finished_at.is_(None)).order_by(_x.c.created_at, _x.c.id).limit(limit)
        if after is not None:
            query = query.where(sa.tuple_(_x.c.created_at, _x.c.id) > sa.tuple_(*_last_seen(after)))
        return await self._records(query)

    async def idle(self, engines: Collection[Engine]) -> bool:
        # What has no moment waits for a person, or for an execution that has one; V1 has one while it is pending.
        wanted = sa.exists().where(_x.c.engine.in_(list(engines)), _x.c.due_at.is_not(None), _x.c.finished_at.is_(None))
        async with self._reading() as c:
            return not await c.scalar(sa.select(wanted))

    async def _records(self, query: Any) -> list[ExecutionRecord]:
        async with self._reading() as c:
            return [rows.record(row) for row in await c.execute(query)]


def stalled(before: datetime) -> Any:
    """Of what runs: the lease of its worker, or the time of its step, was over before that."""
    return sa.and_(_x.c.owner.is_not(None), sa.or_(_x.c.due_at < before, _x.c.step_deadline < before))


def due(engine: Engine, now: datetime) -> Any:
    """When executions of an engine that wait for a worker became due, oldest first."""
    waits = sa.and_(_x.c.engine == engine, _x.c.due_at <= now, _x.c.owner.is_(None), _x.c.finished_at.is_(None))
    return sa.select(_x.c.due_at).where(waits).order_by(_x.c.due_at)


def _last_seen(after: tuple[datetime, str]) -> tuple[Any, Any]:
    return sa.literal(after[0], t.Moment()), sa.literal(after[1], t.Id)


def _conditions(where: Filter) -> list[Any]:
    """What a filter asks for, each as SQL."""
    wanted = {
        _x.c.workflow_id: where.workflow_id,
        _x.c.engine: where.engine,
        _x.c.parent: where.parent,
        _x.c.origin: where.origin,
        _x.c.queued: where.queued,
        _x.c.error["node"].as_string(): where.failed_node,
        _x.c.error["kind"].as_string(): where.failed_kind,
    }
    conditions = [column == value for column, value in wanted.items() if value is not None]
    if where.stalled_before is not None:
        conditions += [_x.c.status == Status.RUNNING, stalled(where.stalled_before)]
    if where.statuses is not None:
        conditions.append(_x.c.status.in_([status.value for status in where.statuses]))
    if where.created_before is not None:
        conditions.append(_x.c.created_at < where.created_before)
    if where.created_after is not None:
        conditions.append(_x.c.created_at > where.created_after)
    if where.after is not None:
        at, id_ = _last_seen(where.after)
        conditions += [_x.c.created_at <= at, sa.or_(_x.c.created_at < at, _x.c.id > id_)]
    return conditions
