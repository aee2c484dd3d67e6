"""Submissions and requests: how executions come to be, and what people ask of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from orchestrator import events as e
from orchestrator.model import Engine, Status
from orchestrator.store import tables as t
from orchestrator.store.logs import write_log
from orchestrator.store.port import Control, Submission, Submitted
from orchestrator.store.revisions import Revisions
from orchestrator.store.rows import event_row, first_events, new_row

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

_x = t.executions
_CONTROLS: dict[Control, tuple[Callable[[datetime], e.Event], dict[str, bool]]] = {
    Control.CANCEL: (e.CancelRequested, {"cancel_requested": True}),
    Control.SUSPEND: (e.SuspendRequested, {"suspend_requested": True}),
    Control.RESUME: (e.ResumeRequested, {"suspend_requested": False}),
}


class Submitting(Revisions):
    """An accepted execution is never lost, and the same key submits once."""

    async def submit(self, batch: Sequence[Submission], now: datetime) -> list[Submitted]:
        for workflow in {(s.workflow.id, s.workflow.revision): s.workflow for s in batch}.values():
            await self.put_workflow(workflow)
        values = [new_row(submission, now) for submission in batch]
        async with self._writing() as c:
            insert = self._insert(_x).values(values).on_conflict_do_nothing().returning(_x.c.id)
            created = set((await c.execute(insert)).scalars())
            # Two submissions of one id in a batch: only the first of them made the row.
            fresh = list({s.id: s for s in reversed(batch) if s.id in created}.values())
            histories = [row for s in fresh if s.engine is Engine.V2 for row in first_events(s, now)]
            if histories:
                await c.execute(sa.insert(t.events), histories)
            lines = [s.log_line for s in fresh if s.log_line]
            if lines:
                await write_log(c, self._insert, lines, now)
            standing = await self._standing(c, [s for s in batch if s.id not in created])
        answers, seen = [], set()
        for s in batch:
            if s.id in created:
                answers.append(Submitted(s.id, s.engine, created=s.id not in seen))
                seen.add(s.id)
            else:
                answers.append(standing[s.id])
        return answers

    async def _standing(self, c: AsyncConnection, others: Sequence[Submission]) -> dict[str, Submitted]:
        """The executions that were there before, for submissions that made none."""
        answers = {}
        for s in others:
            same = _x.c.id == s.id
            if s.idempotency_key is not None:
                same |= sa.and_(_x.c.workflow_id == s.workflow.id, _x.c.idempotency_key == s.idempotency_key)
            query = sa.select(_x.c.id, _x.c.engine).where(same)
            found = {row.id: row for row in await c.execute(query)}
            row = found.get(s.id) or next(iter(found.values()))
            answers[s.id] = Submitted(row.id, Engine(row.engine), created=False)
        return answers

    async def control(self, execution_id: str, control: Control, now: datetime) -> bool:
        kind, change = _CONTROLS[control]
        column, value = next(iter(change.items()))
        wake = sa.case((_x.c.owner.is_(None), sa.literal(now, t.Moment())), else_=_x.c.due_at)
        open_v2 = sa.and_(_x.c.id == execution_id, _x.c.finished_at.is_(None), _x.c[column].is_not(value))
        async with self._writing() as c:
            update = (
                sa.update(_x)
                .where(open_v2, _x.c.engine == Engine.V2)
                .values(**change, seq=_x.c.seq + 1, due_at=wake, version=_x.c.version + 1)
                .returning(_x.c.seq)
            )
            seq = await c.scalar(update)
            if seq is not None:
                row = event_row(execution_id, seq, kind(now), append_seq=seq)
                await c.execute(sa.insert(t.events), [row])
                return True
            return await self._control_v1(c, execution_id, control, now)

    async def _control_v1(self, c: AsyncConnection, execution_id: str, control: Control, now: datetime) -> bool:
        """V1 knows cancel alone (at once while it is pending, at the next node while it runs), and to let a restored
        execution go.
        """
        if control is Control.RESUME:
            held = sa.and_(_x.c.id == execution_id, _x.c.engine == Engine.V1, _x.c.status == Status.SUSPENDED)
            freed = {"status": Status.PENDING.value, "suspend_requested": False, "version": _x.c.version + 1}
            return bool((await c.execute(sa.update(_x).where(held).values(**freed))).rowcount)
        if control is not Control.CANCEL:
            return False
        pending = _x.c.status.in_([Status.PENDING, Status.SUSPENDED])
        update = (
            sa.update(_x)
            .where(
                _x.c.id == execution_id,
                _x.c.engine == Engine.V1,
                _x.c.finished_at.is_(None),
                _x.c.cancel_requested.is_not(True),
            )
            .values(
                cancel_requested=True,
                status=sa.case((pending, Status.CANCELLED.value), else_=_x.c.status),
                finished_at=sa.case((pending, sa.literal(now, t.Moment())), else_=None),
                version=_x.c.version + 1,
            )
        )
        return bool((await c.execute(update)).rowcount)
