"""Connections and transactions, and the driver's errors as ours."""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from orchestrator.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine


@contextmanager
def translated() -> Iterator[None]:
    """The driver's errors as ours: what a later try may mend is StoreUnavailable."""
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeout, OSError) as error:
        raise StoreUnavailable(f"the database did not answer: {getattr(error, 'orig', None) or error}") from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise StoreUnavailable(f"the connection was lost: {error.orig}") from error
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
