"""What a user's own counters grew by: kept bin by bin, so that nothing is read from Prometheus twice."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import sqlalchemy as sa

from orchestrator.faults import Boundary
from orchestrator.store import tables as t
from orchestrator.store.evidence import KeptBin
from orchestrator.store.sql.connections import Connections

if TYPE_CHECKING:
    from collections.abc import Sequence

_b = t.bins.c


class Bins(Connections):
    """Closed bins, by attempt and criterion."""

    async def save_bins(self, attempt: str, criterion: str, bins: Sequence[KeptBin]) -> None:
        if not bins:
            return
        values = [{"attempt": attempt, "criterion": criterion, **asdict(one)} for one in bins]
        first = self._insert(t.bins).on_conflict_do_nothing().returning(_b.number)

        def save(c: sa.Connection) -> None:
            mine = c.execute(first, values[0]).first() is not None
            if mine and values[1:]:
                c.execute(sa.insert(t.bins), values[1:])

        await self._writing(Boundary.SAVE_BINS, save)

    async def bins(self, attempt: str, criterion: str, first: int = 0) -> list[KeptBin]:
        wanted = (_b.attempt == attempt, _b.criterion == criterion, _b.number >= first)
        query = sa.select(_b.number, _b.until, _b.k1, _b.n1, _b.k2, _b.n2).where(*wanted).order_by(_b.number)
        async with self._reading() as c:
            return [KeptBin(r.number, r.until, r.k1, r.n1, r.k2, r.n2) for r in await c.execute(query)]
