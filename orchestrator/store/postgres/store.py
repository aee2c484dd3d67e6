"""PostgreSQL: what submitters and workers of V2 do is one call of a function, one round trip and one commit each."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy.dialects.postgresql import insert

from orchestrator.errors import SchemaConflict
from orchestrator.events import SCHEMA_VERSION, ExecutionStarted, Recorded
from orchestrator.faults import Boundary, Moment, reach
from orchestrator.model import Engine
from orchestrator.store import codec, drafts, requests, rows
from orchestrator.store.messages import Delivered, Outcome, Submitted
from orchestrator.store.postgres import wire
from orchestrator.store.sql import SqlStore
from orchestrator.store.sql.connections import R, translated

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
    from datetime import datetime, timedelta

    import sqlalchemy as sa
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from orchestrator.store.messages import Append, Claim, Control, Delivery, Release, Submission
    from orchestrator.store.postgres.lines import Lines

_OUTCOMES: Final = {"c": Outcome.COMMITTED, "s": Outcome.STALE, "f": Outcome.FENCED}
_DELIVERED: Final = {
    "r": Delivered.RECORDED,
    "d": Delivered.DUPLICATE,
    "o": Delivered.OVER,
    "u": Delivered.UNKNOWN,
}


class PostgresStore(SqlStore):
    """The distributed store: any number of workers on any number of machines."""

    _insert = staticmethod(insert)

    def __init__(self, engine: AsyncEngine, lines: Lines, schema: str, patience: float) -> None:
        """`patience`: seconds after which an answer is not waited for any more."""
        super().__init__()
        self._engine = engine
        self._patience = patience
        self._lines = lines
        self._schema = f'"{schema}".'

    async def close(self) -> None:
        await self._lines.close()
        await self._engine.dispose()

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[AsyncConnection]:
        with translated():
            try:
                async with asyncio.timeout(self._patience), self._engine.connect() as connection:
                    yield connection
            except TimeoutError:
                await self._engine.dispose(close=False)  # most likely the idle ones will never answer, either
                raise

    async def _writing(self, boundary: Boundary, work: Callable[[sa.Connection], R]) -> R:
        async with self._reading() as c:
            async with c.begin():
                result = await c.run_sync(work)
                reach(boundary, Moment.BEFORE)
            reach(boundary, Moment.AFTER)
            reach(boundary, Moment.LOST)
            return result

    async def _call(self, boundary: Boundary, function: str, *values: Any) -> list[tuple[Any, ...]]:
        """Call a function of ours: `name(%s::type, …)`. Its commit is the statement's own."""
        reach(boundary, Moment.BEFORE)
        found = await self._lines.ask(f"SELECT * FROM {self._schema}orchestrator_{function}", values)
        reach(boundary, Moment.AFTER)
        reach(boundary, Moment.LOST)
        return found

    async def submit(self, batch: Sequence[Submission], now: datetime) -> list[Submitted]:
        first = {s.id: s for s in reversed(batch)}  # the first of each id in the batch
        fresh = [s for s in batch if first[s.id] is s]
        made = [drafts.draft(s, now) for s in fresh]
        await self._keep(s.workflow for s in fresh)
        function = "submit_1(%s::jsonb, %s::jsonb, %s::jsonb, %s::jsonb, %s::text[], %s::timestamptz, %s)"
        found = await self._call(Boundary.SUBMIT, function, *wire.submissions(made), now, SCHEMA_VERSION)
        standing = {row[0]: Submitted(row[1], Engine(row[2]), created=False) for row in found}
        return [standing.get(s.id) or Submitted(s.id, first[s.id].engine, created=first[s.id] is s) for s in batch]

    async def deliver(self, deliveries: Sequence[Delivery]) -> list[Delivered]:
        if not deliveries:
            return []
        ids = [delivery.execution_id for delivery in deliveries]
        function = "deliver_1(%s::text[], %s::jsonb, %s)"
        found = await self._call(Boundary.DELIVER, function, ids, wire.deliveries(deliveries), SCHEMA_VERSION)
        return [_DELIVERED[letter] for letter in found[0][0]]

    async def control(self, execution_id: str, control: Control, now: datetime) -> bool:
        (answer,) = await self.deliver([requests.delivery(execution_id, control, now)])
        if answer is Delivered.UNKNOWN:
            return await self._control_v1(execution_id, control, now)
        return answer is Delivered.RECORDED

    async def claim(self, owner: str, engine: Engine, limit: int, lease: timedelta, now: datetime) -> list[Claim]:
        function = "claim_1(%s, %s, %s, %s::timestamptz, %s::timestamptz, %s)"
        values = (owner, engine.value, limit, now, now + lease, SCHEMA_VERSION)
        found = await self._call(Boundary.CLAIM, function, *values)
        return [_claim(engine, row, now) for row in found]

    async def renew(self, held: Mapping[str, int], lease: timedelta, now: datetime) -> dict[str, int]:
        if not held:
            return {}
        function = "renew_1(%s::text[], %s::int[], %s::timestamptz)"
        found = await self._call(Boundary.RENEW, function, list(held), list(held.values()), now + lease)
        return {row[0]: row[1] for row in found}

    async def release(self, held: Mapping[str, Release], now: datetime) -> None:
        if not held:
            return
        let_go = held.values()
        function = "release_1(%s::text[], %s::int[], %s::int[], %s::timestamptz[], %s::timestamptz)"
        columns = ([r.fence for r in let_go], [r.seq for r in let_go], [r.due_at for r in let_go])
        await self._call(Boundary.RELEASE, function, list(held), *columns, now)

    async def append(self, batch: Sequence[Append]) -> list[Outcome]:
        await self._keep(s.workflow for append in batch for s in append.submissions)
        flush = wire.appends(batch)
        function = "append_1(%s::jsonb, %s::jsonb, %s::text[], %s::jsonb, %s)"
        values = (flush.rows, flush.events, flush.ended, flush.more, SCHEMA_VERSION)
        found = await self._call(Boundary.APPEND, function, *values)
        letters = {id(append): letter for append, letter in zip(flush.order, found[0][0], strict=True)}
        return [_OUTCOMES[letters[id(append)]] for append in batch]

    async def heal_limits(self, now: datetime) -> int:
        return int((await self._call(Boundary.HEAL_LIMITS, "heal_1(%s::timestamptz)", now))[0][0])

    async def events(self, execution_id: str, after: int = 0) -> list[Recorded]:
        return (await self._events([execution_id], after))[execution_id]

    async def histories(self, ids: Collection[str]) -> dict[str, list[Recorded]]:
        found = await self._events(list(ids), 0)
        return {id_: found[id_] for id_ in ids}

    async def _events(self, ids: list[str], after: int) -> Mapping[str, list[Recorded]]:
        query = (
            f"SELECT execution_id, {rows.RECORDED} FROM {self._schema}workflow_events"
            " WHERE execution_id = ANY(%s::text[]) AND seq > %s ORDER BY execution_id, seq"
        )
        histories: dict[str, list[Recorded]] = defaultdict(list)
        for id_, *row in await self._lines.ask(query, (ids, after)):
            histories[id_].append(rows.recorded(row, row[9].astimezone(UTC), row[10]))
        return histories


def _claim(engine: Engine, row: Sequence[Any], now: datetime) -> Claim:
    claim = rows.claim(engine, row, row[7].astimezone(UTC), row[8])
    if row[9] is None:
        return claim
    try:
        first = codec.load_event("ExecutionSubmitted", row[10], row[9].astimezone(UTC), None, None, None, row[11])
    except SchemaConflict:  # whoever drives it reads the same, and says so
        return claim
    begun = Recorded(2, ExecutionStarted(now), SCHEMA_VERSION, 2)
    return replace(claim, history=(Recorded(1, first, row[10], 1), begun))
