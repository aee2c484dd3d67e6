"""Connections and transactions, and the drivers' errors as ours."""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import psycopg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from orchestrator.errors import InvalidPayload, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractAsyncContextManager

    import sqlalchemy as sa

    from orchestrator.faults import Boundary

R = TypeVar("R")

_READ_ONLY = "25006"  # PostgreSQL: this is a standby, or was the primary before a failover
_STOOD_STILL = "25P03"  # PostgreSQL: it ended a transaction that we left open for too long
_TOO_LARGE = "54"  # PostgreSQL's class of exceeded limits, which its driver counts among the operational errors
_DATA = (psycopg.DataError, sqlite3.DataError, UnicodeEncodeError)
_AWAY = (psycopg.OperationalError, psycopg.InterfaceError, sqlite3.OperationalError, sqlite3.InterfaceError, OSError)


@contextmanager
def translated() -> Iterator[None]:
    """The drivers' errors as ours: what a later try may mend is StoreUnavailable, what none mends InvalidPayload."""
    try:
        yield
    except PoolTimeout as error:
        raise StoreUnavailable(f"the database did not answer: {error}") from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise StoreUnavailable(f"the database did not answer: {error.orig}") from error
        _raise_ours(error.orig, error)
        raise
    except (psycopg.Error, sqlite3.Error, UnicodeEncodeError, OSError) as error:
        _raise_ours(error, error)
        raise


def _raise_ours(reason: BaseException | None, error: Exception) -> None:
    code = getattr(reason, "sqlstate", None) or ""
    if isinstance(reason, _DATA) or code.startswith(_TOO_LARGE):
        shown = str(reason).partition("\n")[0]  # the lines after it would quote the value
        raise InvalidPayload(f"the database cannot keep a value: {shown}") from error
    if isinstance(reason, _AWAY) or code in (_READ_ONLY, _STOOD_STILL):
        raise StoreUnavailable(f"the database did not answer: {reason}") from error


class Reading(Protocol):
    """What asks queries: SQLAlchemy's asynchronous connection is one."""

    async def execute(self, query: Any, /) -> sa.Result[Any]: ...

    async def scalar(self, query: Any, /) -> Any: ...

    async def run_sync(self, work: Callable[..., R], /, *arguments: Any) -> R: ...


class Connections(ABC):
    """What every part of a store stands on. `_insert` is the dialect's insert, which knows ON CONFLICT."""

    _insert: Any

    @abstractmethod
    def _reading(self) -> AbstractAsyncContextManager[Reading]:
        """What queries are asked of; the driver's errors become ours."""

    @abstractmethod
    async def _writing(self, boundary: Boundary, work: Callable[[sa.Connection], R]) -> R:
        """Do `work` in one transaction, without a pause of the event loop within it, and announce its commit."""
