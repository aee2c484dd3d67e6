"""PostgreSQL: every waiting append in one autocommitted statement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from orchestrator.store import codec
from orchestrator.store.connections import translated
from orchestrator.store.port import Append, Outcome
from orchestrator.store.rows import event_rows, projection_columns
from orchestrator.store.sql import SqlStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncEngine

# One round trip and one commit for any number of executions. The rows are locked in the order of locks.py, and the
# UPDATE compares fence and seq under the lock; the events of exactly the appends that it accepted follow. The join on
# the append's own id keeps a zombie's append out that stands in the same batch as its successor's. A lease that was
# renewed while the append was on its way keeps its later end, and what was let go meanwhile stays due.
_APPEND = """
WITH b AS (
  SELECT * FROM jsonb_to_recordset(CAST(:batch AS jsonb)) AS x(
    id text, append text, fence int, first int, count int, status text, current_node_id text, done int, total int,
    retries int, started_at timestamptz, finished_at timestamptz, output jsonb, error jsonb, due_at timestamptz,
    release boolean, step_deadline timestamptz, events jsonb)
), before AS (
  SELECT e.id, e.last_append, e.fence FROM {s}workflow_executions e JOIN b ON b.id = e.id
), locked AS (
  SELECT e.id FROM {s}workflow_executions e WHERE e.id IN (SELECT b.id FROM b) ORDER BY e.id FOR UPDATE
), u AS (
  UPDATE {s}workflow_executions e
     SET status = b.status, current_node_id = b.current_node_id, done = b.done, total = b.total, retries = b.retries,
         started_at = b.started_at, finished_at = b.finished_at, output = b.output, error = b.error,
         due_at = CASE WHEN b.release THEN b.due_at WHEN e.owner IS NULL THEN e.due_at
                       ELSE GREATEST(e.due_at, b.due_at) END,
         step_deadline = b.step_deadline, seq = b.first + b.count - 1, last_append = b.append,
         owner = CASE WHEN b.release THEN NULL ELSE e.owner END, version = e.version + 1
    FROM b JOIN locked ON locked.id = b.id
   WHERE e.id = b.id AND e.fence = b.fence AND e.seq = b.first - 1
  RETURNING e.id, e.last_append
), i AS (
  INSERT INTO {s}workflow_events (execution_id, seq, type, schema_version, node_id, node_type, attempt, data,
                                  created_at, append_seq, timed_append, timed_ms)
  SELECT v.execution_id, v.seq, v.type, v.schema_version, v.node_id, v.node_type, v.attempt, v.data,
         v.created_at, v.append_seq, v.timed_append, v.timed_ms
    FROM b JOIN u ON u.id = b.id AND u.last_append = b.append
    CROSS JOIN LATERAL jsonb_to_recordset(b.events) AS v(
      execution_id text, seq int, type text, schema_version int, node_id text, node_type text, attempt int, data jsonb,
      created_at timestamptz, append_seq int, timed_append int, timed_ms float8)
)
SELECT b.append,
       CASE WHEN u.id IS NOT NULL OR before.last_append = b.append THEN 'committed'
            WHEN before.fence = b.fence THEN 'stale' ELSE 'fenced' END
  FROM b LEFT JOIN u ON u.id = b.id AND u.last_append = b.append LEFT JOIN before ON before.id = b.id
"""
# `before` is a snapshot: a retry that overlaps its own first try, not yet committed, must be looked at again.
_AGAIN = "SELECT id, last_append, fence FROM {s}workflow_executions WHERE id = ANY(:ids)"


class PostgresStore(SqlStore):
    """The distributed store: any number of workers on any number of machines."""

    def __init__(self, engine: AsyncEngine, schema: str) -> None:
        super().__init__(engine)
        self._insert = insert
        prefix = f'"{schema}".'
        self._append = sa.text(_APPEND.format(s=prefix))
        self._again = sa.text(_AGAIN.format(s=prefix))

    async def append(self, batch: Sequence[Append]) -> list[Outcome]:
        text = codec.dump_json([_as_json(append) for append in batch], "a batch of appends")
        with translated():
            async with self._engine.connect() as connection:
                connection = await connection.execution_options(isolation_level="AUTOCOMMIT")  # noqa: PLW2901 — the same one, configured
                answers = {row[0]: Outcome(row[1]) for row in await connection.execute(self._append, {"batch": text})}
                refused = [a for a in batch if answers[a.append_id] is not Outcome.COMMITTED]
                if refused:
                    rows = await connection.execute(self._again, {"ids": [a.execution_id for a in refused]})
                    standing = {row.id: row for row in rows}
                    for append in refused:
                        row = standing.get(append.execution_id)
                        answers[append.append_id] = _second_look(append, row)
        return [answers[append.append_id] for append in batch]


def _second_look(append: Append, row: Any) -> Outcome:
    if row is None or row.fence != append.fence:
        return Outcome.COMMITTED if row is not None and row.last_append == append.append_id else Outcome.FENCED
    return Outcome.COMMITTED if row.last_append == append.append_id else Outcome.STALE


def _as_json(append: Append) -> dict[str, Any]:
    columns = projection_columns(append.projection)
    rows = event_rows(append)
    for row in rows:
        row["created_at"] = codec.moment_text(row["created_at"])
    return {
        **columns,
        "started_at": codec.moment_text(columns["started_at"]),
        "finished_at": codec.moment_text(columns["finished_at"]),
        "id": append.execution_id,
        "append": append.append_id,
        "fence": append.fence,
        "first": append.first_seq,
        "count": len(append.events),
        "due_at": codec.moment_text(append.due_at),
        "release": append.release,
        "step_deadline": codec.moment_text(append.step_deadline),
        "events": rows,
    }
