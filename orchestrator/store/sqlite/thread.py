"""One thread that writes, and one that reads. The file has one write lock, and a transaction that goes back to the
event loop between its statements holds it for as long as the loop is busy: so each is one piece of work for its thread.
"""

from __future__ import annotations

import asyncio
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from orchestrator.faults import Boundary, Moment, reach
from orchestrator.store.sql.connections import R, translated

if TYPE_CHECKING:
    from collections.abc import Callable

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


class Reader:
    """What a query needs of an asynchronous connection. Each is a piece of work for the reading thread, which ends it
    although its caller is cancelled: a driver that is left in the middle of a query may hang at the program's end.
    """

    def __init__(self, pool: ThreadPoolExecutor, engine: sa.Engine) -> None:
        self._pool, self._engine = pool, engine

    async def execute(self, query: sa.Executable) -> sa.Result[Any]:
        """All rows of a query."""
        frozen = await self.run_sync(lambda connection: connection.execute(query).freeze())
        rows: sa.Result[Any] = frozen()
        return rows

    async def scalar(self, query: sa.Executable) -> Any:
        """The first column of the first row, or None."""
        return await self.run_sync(lambda connection: connection.scalar(query))

    async def run_sync(self, work: Callable[..., R], *arguments: Any) -> R:
        """What `work` gives for a connection, and the arguments behind it."""

        def done() -> R:
            with self._engine.connect() as connection:
                return work(connection, *arguments)

        return await asyncio.get_running_loop().run_in_executor(self._pool, done)


class Thread:
    """Two connections of its own: a plain one for what every step writes, and SQLAlchemy's for the rest."""

    def __init__(self, url: sa.URL) -> None:
        self._path = str(url.database)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="sqlite-writer")
        self._plain: sqlite3.Connection | None = None  # used by that thread only
        self._engine = sa.create_engine(url, execution_options={"writes": True})
        self._readers = ThreadPoolExecutor(1, thread_name_prefix="sqlite-reader")
        self._read_engine = sa.create_engine(url)
        for engine in (self._engine, self._read_engine):
            sa.event.listen(engine, "connect", configure)
            sa.event.listen(engine, "begin", sqlalchemy_begin)
        self.reader = Reader(self._readers, self._read_engine)

    async def look(self, question: Callable[[sqlite3.Connection], R]) -> R:
        """Ask something that changes nothing."""
        return await self._run(lambda: question(self._connection()))

    async def commit(self, boundary: Boundary, work: Callable[[sqlite3.Connection], R]) -> R:
        """Do `work` in one transaction on the plain connection."""
        return await self._run(lambda: self._commit(boundary, work))

    async def commit_by_sqlalchemy(self, boundary: Boundary, work: Callable[[sa.Connection], R]) -> R:
        """Do `work` in one transaction on SQLAlchemy's connection."""

        def done() -> R:
            with self._engine.connect() as connection:
                with connection.begin():
                    result = work(connection)
                    reach(boundary, Moment.BEFORE)
                reach(boundary, Moment.AFTER)
                reach(boundary, Moment.LOST)
                return result

        return await self._run(done)

    async def close(self) -> None:
        await self._run(self._disconnect)
        await self._run(self._engine.dispose)
        await asyncio.get_running_loop().run_in_executor(self._readers, self._read_engine.dispose)
        self._pool.shutdown()
        self._readers.shutdown()

    async def _run(self, work: Callable[[], R]) -> R:
        with translated():
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def _connection(self) -> sqlite3.Connection:
        if self._plain is None:
            self._plain = sqlite3.connect(self._path)
            configure(self._plain)
        return self._plain

    def _disconnect(self) -> None:
        if self._plain is not None:
            self._plain.close()
            self._plain = None

    def _commit(self, boundary: Boundary, work: Callable[[sqlite3.Connection], R]) -> R:
        try:
            with self._connection() as connection:  # commits, or rolls back on an error
                connection.execute("BEGIN IMMEDIATE")
                result = work(connection)
                reach(boundary, Moment.BEFORE)
        except sqlite3.OperationalError:
            self._disconnect()
            raise
        reach(boundary, Moment.AFTER)
        reach(boundary, Moment.LOST)
        return result
