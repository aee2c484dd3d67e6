"""What is small and the same on both databases: V1's rows, requests to V1, and the account of written statuses."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from orchestrator.faults import Boundary
from orchestrator.model import Engine, Status
from orchestrator.store import codec, rows
from orchestrator.store import tables as t
from orchestrator.store.messages import Control
from orchestrator.store.records import V1_GRACE
from orchestrator.store.sql.connections import Connections
from orchestrator.store.sql.locks import lock

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from orchestrator.store.messages import V1Update
    from orchestrator.store.records import ExecutionRecord

_x = t.executions
RESTORED = "Restored"  # why it is held
_NAMED = _x.c.name != ""  # a resource stands for it, which is to say what the row says
READ = {
    "version": _x.c.version + 1,
    "dirty": sa.or_(_x.c.dirty, _NAMED),
}  # what changes whenever a reader could see it


def _left_behind(now: datetime) -> sa.ColumnElement[bool]:
    """Nobody is there to read a request: the step that ran must be over, and so is the watch, if there is one."""
    late = now - V1_GRACE
    unwatched = sa.or_(_x.c.due_at.is_(None), _x.c.due_at < late)
    return sa.and_(_x.c.status == Status.RUNNING, _x.c.step_deadline < late, unwatched)


class Steering(Connections):
    """Everything but what V2's workers, submitters and senders of signals do."""

    async def v1_update(self, batch: Sequence[V1Update]) -> list[bool]:
        ids = [update.execution_id for update in batch]
        for update in batch:
            codec.dump_json(codec.dump_failure(update.projection.failure), "the error")
            codec.dump_json(update.projection.output, "the output")

        def write(c: sa.Connection) -> set[str]:
            lock(c, ids)
            for update in batch:
                values = rows.projection_columns(update.projection)
                ours = (_x.c.id == update.execution_id, _x.c.engine == Engine.V1, _x.c.finished_at.is_(None))
                change = sa.update(_x).where(*ours)
                c.execute(change.values(**values, step_deadline=update.step_deadline, **READ))
            return set(c.scalars(sa.select(_x.c.id).where(_x.c.id.in_(ids), _x.c.cancel_requested)))

        asked = await self._writing(Boundary.V1_UPDATE, write)
        return [execution_id in asked for execution_id in ids]

    async def _control_v1(self, execution_id: str, control: Control, now: datetime) -> bool:
        """V1 knows cancel alone (at once while it is pending or left behind, else at the next node), and to let a
        restored execution go.
        """
        ours = sa.and_(_x.c.id == execution_id, _x.c.engine == Engine.V1, _x.c.finished_at.is_(None))
        if control is Control.RESUME:
            freed = {"status": Status.PENDING.value, "suspend_requested": False, "due_at": now}
            change = sa.update(_x).where(ours, _x.c.status == Status.SUSPENDED).values(**freed, **READ)
        elif control is Control.CANCEL:
            at_once = sa.or_(_x.c.status.in_([Status.PENDING, Status.SUSPENDED]), _left_behind(now))
            change = (
                sa.update(_x)
                .where(ours, sa.or_(_x.c.cancel_requested.is_not(True), at_once))
                .values(
                    cancel_requested=True,
                    status=sa.case((at_once, Status.CANCELLED.value), else_=_x.c.status),
                    finished_at=sa.case((at_once, sa.literal(now, t.Moment())), else_=None),
                    due_at=sa.case((at_once, None), else_=_x.c.due_at),
                    **READ,
                )
            )
        else:
            return False
        return await self._writing(Boundary.DELIVER, lambda c: bool(c.execute(change).rowcount))

    async def restored(self, now: datetime) -> int:
        pending = sa.and_(_x.c.engine == Engine.V1, _x.c.status == Status.PENDING)
        undone = sa.and_(_x.c.engine == Engine.V2, _x.c.status == Status.COMPENSATING)
        kept = {"due_at": None, "owner": None, "message": RESTORED}

        def write(c: sa.Connection) -> int:
            epoch = sa.update(t.facts).where(t.facts.c.key == "epoch")
            c.execute(epoch.values(value=now.isoformat()))
            held = {"status": Status.SUSPENDED.value, "suspend_requested": True}
            found = c.execute(sa.update(_x).where(pending).values(**kept, **held, **READ)).rowcount
            parked = sa.update(_x).where(undone, _x.c.due_at.is_not(None))
            return found + c.execute(parked.values(**kept, fence=_x.c.fence + 1, **READ)).rowcount

        return await self._writing(Boundary.DELIVER, write)

    async def dirty(
        self, now: datetime, limit: int, every: timedelta, grace: timedelta = timedelta(0), *, namespace: str = ""
    ) -> list[ExecutionRecord]:
        ours = _x.c.workflow_id.startswith(f"{namespace}/", autoescape=True) if namespace else sa.true()
        over = _x.c.finished_at.is_not(None)
        new = sa.and_(_x.c.written_status.is_(None), sa.or_(over, _x.c.created_at <= now - grace))
        begun = sa.and_(_x.c.written_status == Status.PENDING.value, _x.c.status == Status.RUNNING.value)
        changed = sa.and_(_x.c.written_status != _x.c.status, sa.not_(begun))
        urgent = sa.func.coalesce(sa.or_(new, changed), sa.false())
        query = (
            sa.select(*(_x.c[name] for name in rows.SHOWN))
            .where(_x.c.dirty, ours, sa.or_(urgent, _x.c.written_at <= now - every))
            .order_by(urgent.desc(), sa.func.coalesce(_x.c.written_at, _x.c.created_at))
            .limit(limit)
        )
        async with self._reading() as c:
            return [rows.record(row) for row in await c.execute(query)]

    async def written(self, versions: Mapping[str, tuple[int, Status]], now: datetime) -> None:
        if not versions:
            return
        version = sa.bindparam("b_version", type_=sa.Integer)
        update = (
            sa.update(_x)
            .where(_x.c.id == sa.bindparam("b_id"))
            .values(
                written_version=version,
                written_status=sa.bindparam("b_status"),
                written_at=now,
                dirty=sa.and_(_NAMED, _x.c.version > version),
            )
        )
        values = [{"b_id": i, "b_version": v, "b_status": s.value} for i, (v, s) in versions.items()]

        def write(c: sa.Connection) -> None:
            lock(c, versions)
            c.execute(update, values)

        await self._writing(Boundary.WRITTEN, write)
