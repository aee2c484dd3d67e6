"""The log of what rollouts decided: rows are added to the end of a chain, and never touched again."""

from __future__ import annotations

from dataclasses import asdict

import sqlalchemy as sa

from orchestrator.faults import Boundary
from orchestrator.store import rows
from orchestrator.store import tables as t
from orchestrator.store.evidence import Appended, DecisionRow, Taken
from orchestrator.store.sql.connections import Connections

_d = t.decisions


class Decisions(Connections):
    """`rollout_decisions`. A row that was read stays as it is, so nothing here needs a lock but the primary key."""

    async def append_decision(self, row: DecisionRow) -> Appended | Taken:
        newest = sa.select(_d.c.number, _d.c.hash).where(_d.c.rollout == row.rollout).order_by(_d.c.number.desc())
        standing = sa.select(_d.c.hash).where(_d.c.rollout == row.rollout, _d.c.number == row.number)
        add = self._insert(_d).values(**asdict(row)).on_conflict_do_nothing()

        def append(c: sa.Connection) -> Appended | Taken:
            number, hash_ = c.execute(newest.limit(1)).one_or_none() or (0, "")
            if (number, hash_) == (row.number - 1, row.prev_hash):
                c.execute(add)
            if c.scalar(standing) == row.hash:  # ours, or ours of an append whose answer was lost
                return Appended()
            return Taken(*(c.execute(newest.limit(1)).one_or_none() or (0, "")))

        return await self._writing(Boundary.APPEND_DECISION, append)

    async def decisions(self, rollout: str, after: int = 0, limit: int = 100) -> list[DecisionRow]:
        query = sa.select(_d).where(_d.c.rollout == rollout, _d.c.number > after).order_by(_d.c.number).limit(limit)
        async with self._reading() as c:
            return [rows.decision(row) for row in await c.execute(query)]
