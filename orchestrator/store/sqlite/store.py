"""SQLite: every transaction is one piece of work for the thread that writes."""

from __future__ import annotations

import json
from collections import defaultdict
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from sqlalchemy.dialects.sqlite import insert

from orchestrator.faults import Boundary
from orchestrator.store import drafts, requests, rows
from orchestrator.store.messages import Delivered
from orchestrator.store.sql import SqlStore
from orchestrator.store.sql.connections import translated
from orchestrator.store.sqlite import appending, delivering, leasing, limits, submitting
from orchestrator.store.sqlite.values import from_text

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
    from datetime import datetime, timedelta

    import sqlalchemy as sa

    from orchestrator.events import Recorded
    from orchestrator.model import Engine
    from orchestrator.store.messages import Append, Claim, Control, Delivery, Outcome, Release, Submission, Submitted
    from orchestrator.store.sql.connections import R
    from orchestrator.store.sqlite.thread import Reader, Thread

_EVENTS: Final = f"""
SELECT execution_id, {rows.RECORDED} FROM workflow_events
 WHERE execution_id IN (SELECT value FROM json_each(?)) AND seq > ? ORDER BY execution_id, seq"""


class SqliteStore(SqlStore):
    """Several processes on one machine may share the file; several machines never."""

    _insert = staticmethod(insert)

    def __init__(self, thread: Thread) -> None:
        super().__init__()
        self._thread = thread

    async def close(self) -> None:
        await self._thread.close()

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[Reader]:
        with translated():
            yield self._thread.reader

    async def _writing(self, boundary: Boundary, work: Callable[[sa.Connection], R]) -> R:
        return await self._thread.commit_by_sqlalchemy(boundary, work)

    async def submit(self, batch: Sequence[Submission], now: datetime) -> list[Submitted]:
        made = [drafts.draft(s, now) for s in batch]
        await self._keep(s.workflow for s in batch)
        return await self._thread.commit(Boundary.SUBMIT, lambda c: submitting.submit(c, made))

    async def deliver(self, deliveries: Sequence[Delivery]) -> list[Delivered]:
        if not deliveries:
            return []
        return await self._thread.commit(Boundary.DELIVER, lambda c: [delivering.record(c, d) for d in deliveries])

    async def control(self, execution_id: str, control: Control, now: datetime) -> bool:
        (answer,) = await self.deliver([requests.delivery(execution_id, control, now)])
        if answer is Delivered.UNKNOWN:
            return await self._control_v1(execution_id, control, now)
        return answer is Delivered.RECORDED

    async def claim(self, owner: str, engine: Engine, limit: int, lease: timedelta, now: datetime) -> list[Claim]:
        if not await self._thread.look(lambda c: leasing.is_due(c, engine, now)):
            return []  # an idle poll must not take the one write lock
        return await self._thread.commit(Boundary.CLAIM, lambda c: leasing.claim(c, owner, engine, limit, lease, now))

    async def renew(self, held: Mapping[str, int], lease: timedelta, now: datetime) -> dict[str, int]:
        if not held:
            return {}
        return await self._thread.commit(Boundary.RENEW, lambda c: leasing.renew(c, held, now + lease))

    async def release(self, held: Mapping[str, Release], now: datetime) -> None:
        if held:
            await self._thread.commit(Boundary.RELEASE, lambda c: leasing.release(c, held, now))

    async def append(self, batch: Sequence[Append]) -> list[Outcome]:
        children = drafts.children(batch)
        await self._keep(s.workflow for append in batch for s in append.submissions)
        return await self._thread.commit(Boundary.APPEND, lambda c: appending.append(c, batch, children))

    async def heal_limits(self, now: datetime) -> int:
        return await self._thread.commit(Boundary.HEAL_LIMITS, lambda c: limits.heal(c, now))

    async def events(self, execution_id: str, after: int = 0) -> list[Recorded]:
        return (await self._thread.look(lambda c: _events(c, [execution_id], after)))[execution_id]

    async def histories(self, ids: Collection[str]) -> dict[str, list[Recorded]]:
        found = await self._thread.look(lambda c: _events(c, list(ids), 0))
        return {id_: found[id_] for id_ in ids}


def _events(c: sqlite3.Connection, ids: list[str], after: int) -> Mapping[str, list[Recorded]]:
    histories: dict[str, list[Recorded]] = defaultdict(list)
    for id_, *row in c.execute(_EVENTS, (json.dumps(ids), after)):
        histories[id_].append(rows.recorded(row, from_text(row[9]), json.loads(row[10])))
    return histories
