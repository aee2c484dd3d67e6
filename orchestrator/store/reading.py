"""Reading executions, and keeping account of what their resources say already."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from orchestrator.model import Engine, Status
from orchestrator.store import rows
from orchestrator.store import tables as t
from orchestrator.store.connections import Connections
from orchestrator.store.locks import lock

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import timedelta

    from orchestrator.store.port import ExecutionRecord

_x = t.executions


class Reading(Connections):
    """Queries on `workflow_executions`."""

    async def epoch(self) -> datetime:
        async with self._reading() as c:
            value = await c.scalar(sa.select(t.facts.c.value).where(t.facts.c.key == "epoch"))
        return datetime.fromisoformat(str(value))

    async def get(self, execution_id: str) -> ExecutionRecord | None:
        found = await self._records(sa.select(_x).where(_x.c.id == execution_id))
        return found[0] if found else None

    async def find(self, workflow_id: str, idempotency_key: str) -> ExecutionRecord | None:
        query = sa.select(_x).where(_x.c.workflow_id == workflow_id, _x.c.idempotency_key == idempotency_key)
        found = await self._records(query)
        return found[0] if found else None

    async def executions(
        self, *, workflow_id: str | None = None, status: Status | None = None, limit: int = 100
    ) -> list[ExecutionRecord]:
        query = sa.select(_x).order_by(_x.c.created_at.desc(), _x.c.id).limit(limit)
        if workflow_id is not None:
            query = query.where(_x.c.workflow_id == workflow_id)
        if status is not None:
            query = query.where(_x.c.status == status)
        return await self._records(query)

    async def known(self, ids: Collection[str]) -> set[str]:
        async with self._reading() as c:
            return set((await c.execute(sa.select(_x.c.id).where(_x.c.id.in_(list(ids))))).scalars())

    async def active(self) -> list[ExecutionRecord]:
        return await self._records(sa.select(_x).where(_x.c.finished_at.is_(None)).order_by(_x.c.created_at))

    async def _records(self, query: Any) -> list[ExecutionRecord]:
        async with self._reading() as c:
            return [rows.record(row) for row in await c.execute(query)]

    async def next_due(self) -> datetime | None:
        query = sa.select(sa.func.min(_x.c.due_at)).where(
            _x.c.engine == Engine.V2, _x.c.due_at.is_not(None), _x.c.finished_at.is_(None)
        )
        async with self._reading() as c:
            due: datetime | None = await c.scalar(query)
            return due

    async def dirty(self, now: datetime, limit: int, every: timedelta) -> list[ExecutionRecord]:
        urgent = sa.or_(_x.c.written_status.is_(None), _x.c.written_status != _x.c.status)
        query = (
            sa.select(_x)
            .where(
                _x.c.version > _x.c.written_version,
                _x.c.name != "",
                sa.or_(urgent, _x.c.written_at <= now - every),
            )
            .order_by(_x.c.written_at.is_not(None), _x.c.written_at)
            .limit(limit)
        )
        return await self._records(query)

    async def written(self, versions: Mapping[str, tuple[int, Status]], now: datetime) -> None:
        if not versions:
            return
        update = (
            sa.update(_x)
            .where(_x.c.id == sa.bindparam("b_id"))
            .values(written_version=sa.bindparam("b_version"), written_status=sa.bindparam("b_status"), written_at=now)
        )
        values = [{"b_id": i, "b_version": v, "b_status": s.value} for i, (v, s) in versions.items()]
        async with self._writing() as c:
            await lock(c, versions)
            await c.execute(update, values)
