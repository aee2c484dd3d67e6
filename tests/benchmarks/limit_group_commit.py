"""The other limit: group commit with no engine around it.

Ten appends an execution, each awaited, each an UPDATE and an INSERT; those that wait at the same time share a commit.
No claims, leases, workflows, folding, checks or metrics: what this costs, no engine on this design can save.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import TYPE_CHECKING, Any, Self

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from orchestrator.journal import GroupCommit
from tests.benchmarks.load import STEPS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

CONFIGURATION = {"as": "one process: group commit alone, one UPDATE and one INSERT a step, many steps a commit"}

_TABLES = (
    "CREATE TABLE bench_rows (id text PRIMARY KEY, seq int NOT NULL) WITH (fillfactor = 70)",
    (
        "CREATE TABLE bench_events (id text, seq int, data jsonb NOT NULL, at timestamptz NOT NULL DEFAULT now(), "
        "PRIMARY KEY (id, seq))"
    ),
    "CREATE INDEX ON bench_events (at)",
)
_BATCH = "WITH b AS (SELECT * FROM jsonb_to_recordset(CAST(:batch AS jsonb)) AS x(id text, seq int, data jsonb)), "
_SUBMIT = (
    _BATCH + "n AS (INSERT INTO bench_rows (id, seq) SELECT id, 1 FROM b RETURNING id) "
    "INSERT INTO bench_events (id, seq, data) SELECT b.id, 1, b.data FROM b JOIN n ON n.id = b.id"
)
_APPEND = (
    _BATCH + "u AS (UPDATE bench_rows r SET seq = b.seq FROM b WHERE r.id = b.id AND r.seq = b.seq - 1 RETURNING r.id) "
    "INSERT INTO bench_events (id, seq, data) SELECT b.id, b.seq, b.data FROM b JOIN u ON u.id = b.id"
)


class BareGroupCommit:
    """Group commit under load."""

    def __init__(self, database: str, _workload: str, _at_once: int, _url: str = "") -> None:
        self._engine = create_async_engine(database, pool_size=5)
        self.steps = 0

    async def __aenter__(self) -> Self:
        async with self._engine.begin() as connection:
            for statement in _TABLES:
                await connection.execute(sa.text(statement))
        self._submits = await self._committer(_SUBMIT)
        self._appends = await self._committer(_APPEND)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._engine.dispose()

    async def execute(self) -> None:
        """One submission and ten appends, each durable before the next."""
        execution_id = uuid.uuid4().hex
        await self._submits.put({"id": execution_id, "seq": 1, "data": {}})
        for seq in range(2, STEPS + 2):
            await self._appends.put({"id": execution_id, "seq": seq, "data": {"output": seq}})
            self.steps += 1

    async def _committer(self, statement: str) -> GroupCommit[dict[str, Any], None]:
        """A group commit on a connection of its own."""
        connection = await (await self._engine.connect()).execution_options(isolation_level="AUTOCOMMIT")
        text, turn = sa.text(statement), asyncio.Lock()

        async def flush(batch: Sequence[dict[str, Any]]) -> list[None]:
            async with turn:
                written = await connection.execute(text, {"batch": json.dumps(batch)})
            if written.rowcount != len(batch):
                raise RuntimeError(f"{len(batch)} appends wrote {written.rowcount} events")
            return [None] * len(batch)

        return GroupCommit(flush)
