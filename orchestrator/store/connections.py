"""Connections and transactions, and the driver's errors as ours."""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import DataError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from orchestrator.errors import InvalidPayload, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine


_READ_ONLY = "25006"  # PostgreSQL: this is a standby, or was the primary before a failover
_TOO_LARGE = "54"  # PostgreSQL's class of exceeded limits, which its driver counts among the operational errors


@contextmanager
def translated() -> Iterator[None]:
    """The driver's errors as ours: what a later try may mend is StoreUnavailable, what none mends InvalidPayload."""
    try:
        yield
    except (PoolTimeout, OSError) as error:
        raise StoreUnavailable(f"the database did not answer: {error}") from error
    except DBAPIError as error:
        code = getattr(error.orig, "sqlstate", None) or ""
        if isinstance(error, DataError) or code.startswith(_TOO_LARGE):
            reason = str(error.orig).partition("\n")[0]  # the lines after it would quote the value
            raise InvalidPayload(f"the database cannot keep a value: {reason}") from error
        away = isinstance(error, OperationalError | InterfaceError) or code == _READ_ONLY
        if away or error.connection_invalidated:
            raise StoreUnavailable(f"the database did not answer: {error.orig}") from error
        raise


class Connections:
    """What every part of a store stands on. `_insert` is the dialect's insert, which knows ON CONFLICT."""

    _insert: Any

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[AsyncConnection]:
        with translated():
            async with self._engine.connect() as connection:
                yield connection

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[AsyncConnection]:
        with translated():
            async with self._engine.connect() as connection:
                connection = await connection.execution_options(writes=True)  # noqa: PLW2901 — the same one, configured
                async with connection.begin():
                    yield connection

    async def close(self) -> None:
        await self._engine.dispose()
