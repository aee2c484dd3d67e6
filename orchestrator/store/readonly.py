"""A database that is only read, as it is: nothing is migrated, and a login that may only SELECT is enough.

Reports and support bundles use it: somebody who asks how things are must not change them, nor wait for ever.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote

import psycopg
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from orchestrator.dialect import Dialect
from orchestrator.errors import InvalidInput, Problem, SchemaConflict, StoreError, StoreUnavailable
from orchestrator.store.open import CONNECT, check_schema, database_url, without_secrets
from orchestrator.store.sqlite.values import moment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from datetime import datetime, timedelta

    from sqlalchemy.ext.asyncio import AsyncEngine

_STEPS = 10_000  # of SQLite's machine between two looks at the clock: a millisecond or less


class Reader(Protocol):
    """What questions are asked of."""

    dialect: Dialect
    schema: str

    async def rows(self, sql: str, values: Mapping[str, Any] | None = None) -> Sequence[Sequence[Any]]:
        """All rows of a query, whose parameters are written `:name`.

        Raises StoreUnavailable (nobody answers in time), SchemaConflict (our tables are not there), StoreError (this
        login may not read them).
        """

    def moment(self, at: datetime) -> Any:
        """A moment as the database compares it."""


@asynccontextmanager
async def open_reader(database: str, *, schema: str, patience: timedelta) -> AsyncIterator[Reader]:
    """Read a database that is there; an answer is waited for as long as `patience`.

    Raises InvalidInput (the URL, the schema's name, no such file).
    """
    url, seconds = database_url(database), patience.total_seconds()
    check_schema(schema)
    if url.get_backend_name() == "sqlite":
        yield _SqliteReader(_file(str(url.database)), seconds)
        return
    engine = create_async_engine(
        url, poolclass=NullPool, connect_args=CONNECT, execution_options={"postgresql_readonly": True}
    )
    try:
        yield _PostgresReader(engine, schema, seconds)
    finally:
        await engine.dispose()


def _file(name: str) -> Path:
    """SQLite's file, which a question must not make: a misspelt name would be answered by an empty database."""
    path = Path(name)
    if not path.is_file():
        message = f"there is no database {path}; `orchestrator run` makes one, --database names another"
        raise InvalidInput([Problem("--database", message)])
    return path


class _PostgresReader:
    dialect = Dialect.POSTGRESQL

    def __init__(self, engine: AsyncEngine, schema: str, patience: float) -> None:
        self._engine, self.schema, self._patience = engine, schema, patience

    async def rows(self, sql: str, values: Mapping[str, Any] | None = None) -> Sequence[Sequence[Any]]:
        try:
            # The server gives up first, so that it does not go on working for nobody.
            async with asyncio.timeout(self._patience + 1), self._engine.connect() as connection:
                await connection.execute(sa.text(f"SET LOCAL statement_timeout = {int(self._patience * 1000)}"))
                return (await connection.execute(sa.text(sql), dict(values or {}))).all()
        except TimeoutError:
            raise _slow(self._patience) from None
        except DBAPIError as error:
            raise self._ours(error) from error
        except OSError as error:
            raise self._away(error) from error

    def _ours(self, error: DBAPIError) -> StoreError:
        code = getattr(error.orig, "sqlstate", None)
        said = str(error.orig).partition("\n")[0]  # the lines after it would quote the query
        match code:
            case "42P01" | "3F000":  # no such table, no such schema
                return _no_tables(f"schema {self.schema!r} of this database")
            case "42501":  # insufficient privilege
                needed = f"GRANT USAGE on schema {self.schema}, and SELECT on its tables"
                return StoreError(f"this login may not read Orchestrator's tables ({said}): {needed}")
            case "57014":  # the statement's time was over
                return _slow(self._patience)
        if isinstance(error.orig, psycopg.OperationalError | psycopg.InterfaceError):
            return self._away(error.orig)
        return StoreError(f"the database refused a question: {said}")

    def _away(self, error: BaseException | None) -> StoreUnavailable:
        said = " ".join(str(error).split())
        return StoreUnavailable(f"cannot read {without_secrets(self._engine.url)}: {said}")

    def moment(self, at: datetime) -> datetime:
        return at


class _SqliteReader:
    dialect, schema = Dialect.SQLITE, ""

    def __init__(self, path: Path, patience: float) -> None:
        self._path, self._patience = path, patience

    async def rows(self, sql: str, values: Mapping[str, Any] | None = None) -> Sequence[Sequence[Any]]:
        left = threading.Event()
        try:
            return await asyncio.to_thread(self._read, sql, dict(values or {}), left)
        finally:
            left.set()  # who was interrupted does not wait for the end of the query

    def _read(self, sql: str, values: dict[str, Any], left: threading.Event) -> list[tuple[Any, ...]]:
        until = time.monotonic() + self._patience
        # Not mode=ro: where a log of the last writer is to be read, its index has to be made.
        uri = f"file:{quote(str(self._path.resolve()))}?mode=rw"
        try:
            with closing(sqlite3.connect(uri, uri=True, timeout=self._patience)) as connection:
                connection.execute("PRAGMA query_only = ON")
                connection.set_progress_handler(lambda: left.is_set() or time.monotonic() > until, _STEPS)
                return connection.execute(sql, values).fetchall()
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                raise _no_tables(f"{self._path}") from error
            if "interrupted" in str(error):
                raise _slow(self._patience) from error
            raise StoreUnavailable(f"the database {self._path} cannot be read: {error}") from error
        except sqlite3.DatabaseError as error:
            raise InvalidInput([Problem("--database", f"{self._path} is no SQLite database ({error})")]) from error

    def moment(self, at: datetime) -> str | None:
        return moment(at)


def _no_tables(where: str) -> SchemaConflict:
    return SchemaConflict(
        f"{where} holds no tables of Orchestrator: name its --database (and $ORCHESTRATOR_SCHEMA), "
        "or let `orchestrator run`, a worker or the operator make them"
    )


def _slow(patience: float) -> StoreUnavailable:
    return StoreUnavailable(
        f"the database did not answer within {patience:g} s: ask about less by --since, "
        "or be more patient by ORCHESTRATOR_PATIENCE=1m"
    )
