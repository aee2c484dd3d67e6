"""PostgreSQL connections of our own, for what every step does: one query, one answer, each its own commit.

SQLAlchemy asks a connection whether it is alive before every use, which costs as much as the query itself. Here the
socket is looked at instead: a server that closed it has made it readable.
"""

from __future__ import annotations

import asyncio
import select
from typing import TYPE_CHECKING, Any

import psycopg

from orchestrator.store.sql.connections import translated

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Connection = psycopg.AsyncConnection[tuple[Any, ...]]


class Lines:
    """Up to `most` autocommitting connections, made when they are needed. `parameters` are psycopg's."""

    def __init__(self, parameters: Mapping[str, Any], most: int) -> None:
        self._parameters = dict(parameters)
        self._free = asyncio.Semaphore(most)
        self._idle: list[Connection] = []
        self._closed = False

    async def ask(self, query: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        """The rows that a query gives; raises StoreUnavailable, after which it may have been done or not."""
        with translated():
            async with self._free:
                line = self._take() or await self._connect()
                try:
                    rows = await (await line.execute(query, values)).fetchall()
                except (psycopg.OperationalError, psycopg.InterfaceError):
                    self._drop(line)
                    self._drop_idle()  # most likely they are all gone; if not, new ones are cheap
                    raise
                except psycopg.Error:
                    self._give_back(line)  # it is about the values: the connection is as good as before
                    raise
                except BaseException:
                    self._drop(line)  # cancelled: an answer may still come in
                    raise
                self._give_back(line)
                return rows

    async def close(self) -> None:
        """Close what is idle, and what is in use as soon as it is not."""
        self._closed = True
        self._drop_idle()

    async def _connect(self) -> Connection:
        return await psycopg.AsyncConnection.connect(**self._parameters, autocommit=True)

    def _take(self) -> Connection | None:
        while self._idle:
            line = self._idle.pop()
            if _is_alive(line):
                return line
            self._drop(line)
        return None

    def _give_back(self, line: Connection) -> None:
        if self._closed or line.closed:
            self._drop(line)
        else:
            self._idle.append(line)

    def _drop_idle(self) -> None:
        while self._idle:
            self._drop(self._idle.pop())

    def _drop(self, line: Connection) -> None:
        line.pgconn.finish()  # at once: psycopg's own close has to be awaited, which a cancelled task cannot


def _is_alive(line: Connection) -> bool:
    if line.closed:
        return False
    poll = select.poll()
    poll.register(line.fileno(), select.POLLIN)
    return not poll.poll(0)
