"""From a path or URL to an open, migrated store."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
import structlog
from sqlalchemy.exc import ArgumentError, OperationalError
from sqlalchemy.ext.asyncio import create_async_engine

from orchestrator.errors import InvalidInput, Problem, StoreUnavailable
from orchestrator.faults import Boundary, Moment, reach
from orchestrator.store.migrate import lock, migrate
from orchestrator.store.postgres import Lines, PostgresStore
from orchestrator.store.sqlite import SqliteStore, Thread, configure, sqlalchemy_begin

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.store.port import Store

log = structlog.get_logger(__name__)

CONNECT: Final = {  # of every PostgreSQL connection
    "prepare_threshold": None,  # so that PgBouncer in transaction mode works
    "connect_timeout": 10,  # seconds, as below but for the last
    "keepalives_idle": 10,  # a server that vanished without a word is noticed within a lease or two,
    "keepalives_interval": 5,  # not when TCP gives up after a quarter of an hour
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,  # milliseconds
}
_AGAIN: Final = 2.0  # seconds between two attempts to reach a database
_SCHEMA = re.compile(r"^[A-Za-z_][A-Za-z0-9_]{0,62}$")


def database_url(database: str) -> sa.URL:
    """`./orchestrator.db`, `sqlite:///…` or `postgresql[+psycopg]://…` as an URL; raises InvalidInput."""
    if "://" not in database:
        return sa.URL.create("sqlite", database=str(Path(database).expanduser()))
    try:
        url = sa.make_url(database)
    except (ArgumentError, ValueError):  # ValueError: a port that is no number
        raise InvalidInput([Problem("database", "this is no database URL; see --help for the forms")]) from None
    backend = url.get_backend_name()
    if backend == "postgres":
        backend = "postgresql"
    if backend not in ("sqlite", "postgresql"):
        raise InvalidInput([Problem("database", f"{backend!r} is not supported: use sqlite:///… or postgresql://…")])
    if backend == "sqlite" and not url.database:
        raise InvalidInput([Problem("database", "a SQLite database in memory is not durable: name a file")])
    return url.set(drivername="sqlite" if backend == "sqlite" else "postgresql+psycopg")


def without_secrets(url: sa.URL) -> str:
    """An URL for people: neither its password nor its query, where another one may stand."""
    return url.set(query={}).render_as_string()


def check_schema(schema: str) -> None:
    """Whether a schema's name may become part of SQL; raises InvalidInput."""
    if not _SCHEMA.match(schema):
        raise InvalidInput([Problem("schema", f"{schema!r} is no plain name: letters, digits and _ only")])


async def open_store(
    database: str, *, schema: str = "public", pool_size: int = 5, patience: timedelta = timedelta(seconds=10)
) -> Store:
    """Open and migrate a database. `schema` is PostgreSQL's; it is made when it is not there.

    `patience` is for a PostgreSQL that is reached and does not answer: how long a statement waits before its connection
    is given up (StoreUnavailable), and how long the server waits for a client in mid-transaction before it rolls back.

    Raises InvalidInput (the URL), StoreUnavailable (nobody answers), SchemaConflict (tables that are not ours).
    """
    url = database_url(database)
    check_schema(schema)
    try:
        if url.get_backend_name() == "sqlite":
            await asyncio.to_thread(_migrate_sqlite, url)
            return SqliteStore(Thread(url))
        await asyncio.to_thread(_migrate_postgres, url, schema)
    except OperationalError as error:
        raise StoreUnavailable(f"cannot open {without_secrets(url)}: {error.orig}") from error
    engine = create_async_engine(
        url,
        pool_size=pool_size,
        pool_pre_ping=True,
        execution_options={"schema_translate_map": {None: schema}},  # by name: a search path may lead elsewhere
        connect_args=CONNECT,
    )
    sa.event.listen(engine.sync_engine, "connect", _ends_transactions(patience))
    _, parameters = engine.dialect.create_connect_args(url)
    seconds = patience.total_seconds()
    return PostgresStore(engine, Lines({**parameters, **CONNECT}, pool_size, seconds), schema, seconds)


async def open_store_patiently(database: str, *, schema: str, patience: timedelta) -> Store:
    """As `open_store`, but a database that cannot be reached yet is waited for: what is started together with it, or
    before its password is right, begins its work as soon as it can. Raises InvalidInput and SchemaConflict.
    """
    while True:
        try:
            return await open_store(database, schema=schema, patience=patience)
        except StoreUnavailable as error:
            log.warning("waiting for the store", error=str(error))
            await asyncio.sleep(_AGAIN)


def _ends_transactions(patience: timedelta) -> Callable[[Any, Any], None]:
    """A transaction of a process that stands still must not hold its locks for ever. Set by a statement, and not as a
    parameter of the connection, which PgBouncer would refuse.
    """

    def configure_session(connection: Any, _record: Any) -> None:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute(f"SET idle_in_transaction_session_timeout = {int(patience.total_seconds() * 1000)}")
        cursor.close()
        connection.autocommit = False

    return configure_session


def _migrate_sqlite(url: sa.URL) -> None:
    path = Path(str(url.database))
    if not path.parent.exists():
        raise InvalidInput([Problem("database", f"the folder {path.parent} does not exist: make it first")])
    if (3, 7, 0) <= sqlite3.sqlite_version_info <= (3, 51, 2):
        log.debug("this SQLite has a rare WAL-reset bug, mended in 3.51.3", version=sqlite3.sqlite_version)
    engine = sa.create_engine(url)
    sa.event.listen(engine, "connect", configure)
    sa.event.listen(engine, "begin", sqlalchemy_begin)
    try:
        with engine.connect().execution_options(writes=True) as connection:
            with connection.begin():
                migrate(connection, None)
                reach(Boundary.MIGRATE, Moment.BEFORE)
            _migrated()
    finally:
        engine.dispose()


def _migrate_postgres(url: sa.URL, schema: str) -> None:
    engine = sa.create_engine(url, connect_args=CONNECT)
    try:
        with engine.connect() as connection, connection.begin():
            lock(connection)
            # Asked first: CREATE SCHEMA IF NOT EXISTS wants the right to make schemas although there is nothing to do.
            if not sa.inspect(connection).has_schema(schema):
                connection.execute(sa.schema.CreateSchema(schema))
            migrate(connection.execution_options(schema_translate_map={None: schema}), schema)
            reach(Boundary.MIGRATE, Moment.BEFORE)
        _migrated()
    finally:
        engine.dispose()


def _migrated() -> None:
    reach(Boundary.MIGRATE, Moment.AFTER)
    reach(Boundary.MIGRATE, Moment.LOST)
