"""PostgreSQL connections of our own, for what every step does: one query, one answer, each its own commit.

SQLAlchemy asks a connection whether it is alive before every use, which costs as much as the query itself. Here the
socket is looked at instead: a server that closed it has made it readable.
"""

from __future__ import annotations

import asyncio
import os
import select
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import psycopg
import structlog

from orchestrator.store.sql.connections import translated

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Connection = psycopg.AsyncConnection[tuple[Any, ...]]

log = structlog.get_logger(__name__)


class Lines:
    """Up to `most` autocommitting connections, made when they are needed. `parameters` are psycopg's.

    An answer that does not come within `patience` seconds never will: something between here and the server has lost
    the connection and says nothing. Then it is dropped, and those that are idle with it.
    """

    def __init__(self, parameters: Mapping[str, Any], most: int, patience: float) -> None:
        self._parameters = dict(parameters)
        self._patience = patience
        self._free = asyncio.Semaphore(most)
        self._idle: list[Connection] = []
        self._closed = False

    async def ask(self, query: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        """The rows that a query gives; raises StoreUnavailable, after which it may have been done or not."""
        with translated():
            async with self._free:
                line = self._take() or await self._connect()
                try:
                    rows = await self._answer(line, query, values)
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

    async def _answer(self, line: Connection, query: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        out_of_patience = asyncio.get_running_loop().call_later(self._patience, _hang_up, line, self._patience)
        try:
            return await (await line.execute(query, values)).fetchall()
        finally:
            out_of_patience.cancel()

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


def _hang_up(line: Connection, patience: float) -> None:
    """Let a query fail that waits for an answer. To cancel it would mean to wait for the server's word once more."""
    log.warning("the database does not answer; its connection is given up", seconds=patience)
    with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(line.fileno())) as other_end:
        other_end.shutdown(socket.SHUT_RDWR)
