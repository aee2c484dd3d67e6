"""SQLite: the same contract in one file, for one machine.

What every step writes (appends, V1's rows) has a connection and a thread of its own: the file has one write lock, and
a transaction that goes back to the event loop between its statements holds it for as long as the loop is busy.
"""

from __future__ import annotations

import asyncio
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy.dialects.sqlite import insert

from orchestrator.errors import InvalidPayload, StoreUnavailable
from orchestrator.store import codec
from orchestrator.store.port import Append, Outcome
from orchestrator.store.rows import event_rows, projection_columns
from orchestrator.store.sql import SqlStore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    import sqlalchemy as sa
    from sqlalchemy.ext.asyncio import AsyncEngine

    from orchestrator.model import Projection
    from orchestrator.store.port import V1Update

_UPDATE = """
UPDATE workflow_executions
   SET status = :status, current_node_id = :current_node_id, done = :done, total = :total, retries = :retries,
       started_at = :started_at, finished_at = :finished_at, output = :output, error = :error,
       due_at = CASE WHEN :release THEN :due_at WHEN owner IS NULL THEN due_at ELSE max(due_at, :due_at) END,
       step_deadline = :step_deadline, seq = :first + :count - 1, last_append = :append,
       owner = CASE WHEN :release THEN NULL ELSE owner END, version = version + 1
 WHERE id = :id AND fence = :fence AND seq = :first - 1"""
_V1_UPDATE = """
UPDATE workflow_executions
   SET status = :status, current_node_id = :current_node_id, done = :done, total = :total, retries = :retries,
       started_at = :started_at, finished_at = :finished_at, output = :output, error = :error,
       step_deadline = :step_deadline, version = version + 1
 WHERE id = :id AND engine = 'v1'"""
_V1_CANCEL = "SELECT 1 FROM workflow_executions WHERE id = ? AND cancel_requested"
_STANDING = "SELECT last_append, fence FROM workflow_executions WHERE id = ?"
_EVENT = """
INSERT INTO workflow_events (execution_id, seq, type, schema_version, node_id, node_type, attempt, data, created_at,
                             append_seq, timed_append, timed_ms)
VALUES (:execution_id, :seq, :type, :schema_version, :node_id, :node_type, :attempt, :data, :created_at, :append_seq,
        :timed_append, :timed_ms)"""


_Result = TypeVar("_Result")
_BUSY_MS = 30_000


def configure(connection: Any, _record: Any = None) -> None:
    """What every SQLite connection needs: WAL, full durability, patience with other writers."""
    connection.isolation_level = None  # transactions are begun by us, not by the driver
    cursor = connection.cursor()
    for pragma in (f"busy_timeout={_BUSY_MS}", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def sqlalchemy_begin(connection: sa.Connection) -> None:
    # A reader that becomes a writer in mid-transaction may fail with SQLITE_BUSY: writers say so at the start.
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


class SqliteStore(SqlStore):
    """Several processes on one machine may share the file; several machines never."""

    def __init__(self, engine: AsyncEngine, path: str) -> None:
        super().__init__(engine)
        self._insert = insert
        self._path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite-append")
        self._connection: sqlite3.Connection | None = None  # used by that thread only

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._disconnect)
        self._thread.shutdown()
        await super().close()

    async def append(self, batch: Sequence[Append]) -> list[Outcome]:
        return await self._at_once(lambda connection: [_append(connection, append) for append in batch])

    async def v1_update(self, batch: Sequence[V1Update]) -> list[bool]:
        return await self._at_once(lambda connection: [_v1_update(connection, update) for update in batch])

    async def _at_once(self, work: Callable[[sqlite3.Connection], _Result]) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._commit, work)

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _commit(self, work: Callable[[sqlite3.Connection], _Result]) -> _Result:
        try:
            if self._connection is None:
                self._connection = sqlite3.connect(self._path)
                configure(self._connection)
            with self._connection as connection:  # commits, or rolls back on an error
                connection.execute("BEGIN IMMEDIATE")
                return work(connection)
        except sqlite3.DataError as error:
            raise InvalidPayload(f"the database cannot keep a value: {error}") from error
        except sqlite3.OperationalError as error:
            self._disconnect()
            raise StoreUnavailable(f"SQLite could not commit: {error}") from error


def _append(connection: sqlite3.Connection, append: Append) -> Outcome:
    if connection.execute(_UPDATE, _columns(append)).rowcount:
        connection.executemany(_EVENT, _events(append))
        return Outcome.COMMITTED
    standing = connection.execute(_STANDING, (append.execution_id,)).fetchone()
    if standing is None:
        return Outcome.FENCED
    if standing[0] == append.append_id:
        return Outcome.COMMITTED
    return Outcome.STALE if standing[1] == append.fence else Outcome.FENCED


def _v1_update(connection: sqlite3.Connection, update: V1Update) -> bool:
    columns = _projected(update.projection) | {
        "id": update.execution_id,
        "step_deadline": _moment(update.step_deadline),
    }
    connection.execute(_V1_UPDATE, columns)
    return connection.execute(_V1_CANCEL, (update.execution_id,)).fetchone() is not None


def _moment(moment: datetime | None) -> str | None:
    """As SQLAlchemy writes it, so that texts compare like moments."""
    text = codec.moment_text(moment)
    if text is None:
        return None
    text = text.removesuffix("+00:00").replace("T", " ")
    return text if "." in text else f"{text}.000000"


def _projected(projection: Projection) -> dict[str, Any]:
    columns = projection_columns(projection)
    for name in ("output", "error"):
        columns[name] = None if columns[name] is None else codec.dump_json(columns[name], name)
    for name in ("started_at", "finished_at"):
        columns[name] = _moment(columns[name])
    return columns


def _columns(append: Append) -> dict[str, Any]:
    return {
        **_projected(append.projection),
        "id": append.execution_id,
        "append": append.append_id,
        "fence": append.fence,
        "first": append.first_seq,
        "count": len(append.events),
        "due_at": _moment(append.due_at),
        "release": append.release,
        "step_deadline": _moment(append.step_deadline),
    }


def _events(append: Append) -> list[dict[str, Any]]:
    rows = event_rows(append)
    for row in rows:
        row["data"] = codec.dump_json(row["data"], f"the event {row['type']}")
        row["created_at"] = _moment(row["created_at"])
    return rows
