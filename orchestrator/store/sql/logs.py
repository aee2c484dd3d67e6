"""`edge_logs`: the lines that existing queries look for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from orchestrator.faults import Boundary
from orchestrator.store import tables as t
from orchestrator.store.sql.connections import Connections

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

_FUNCTION = "execute-workflow"  # existing queries look for the lines under this name


class Logs(Connections):
    """Log lines in the database."""

    async def log_edge(self, messages: Sequence[str], now: datetime) -> None:
        def write(c: sa.Connection) -> None:
            function = sa.select(t.edge_functions.c.id).where(t.edge_functions.c.name == _FUNCTION)
            if c.scalar(function) is None:
                c.execute(self._insert(t.edge_functions).values(name=_FUNCTION).on_conflict_do_nothing())
            number = c.scalar(function)
            values = [{"function_id": number, "event_message": message, "timestamp": now} for message in messages]
            c.execute(sa.insert(t.edge_logs), values)

        if messages:
            await self._writing(Boundary.LOG, write)

    async def drop_logs(self, before: datetime, limit: int = 1000) -> int:
        old = sa.select(t.edge_logs.c.id).where(t.edge_logs.c.timestamp < before).limit(limit)
        async with self._reading() as c:  # most sweeps find nothing, and need no lock for that
            if (await c.execute(old.limit(1))).first() is None:
                return 0
        drop = sa.delete(t.edge_logs).where(t.edge_logs.c.id.in_(old))
        return await self._writing(Boundary.DROP_LOGS, lambda c: int(c.execute(drop).rowcount))

    async def edge_logs(self, since: datetime, contains: str = "", limit: int = 1000) -> list[tuple[datetime, str]]:
        query = (
            sa.select(t.edge_logs.c.timestamp, t.edge_logs.c.event_message)
            .where(t.edge_logs.c.timestamp >= since, t.edge_logs.c.event_message.contains(contains, autoescape=True))
            .order_by(t.edge_logs.c.timestamp.desc(), t.edge_logs.c.id.desc())
            .limit(limit)
        )
        async with self._reading() as c:
            return [(row.timestamp, row.event_message) for row in await c.execute(query)]
