"""DBOS Transact, its workflow functions called in the process that also generates the load, as its guide shows.

Its own guide advises: PostgreSQL as the system database, reached directly or by a pooler in session mode; everything
else is left as it comes (a pool of 20 connections). A larger or smaller pool was not faster here. Its guide has both
coroutines and plain functions, so both are measured, and the better one is what we compare with.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Self

import aiohttp
import httpx
from dbos import DBOS, DBOSConfig

from tests.benchmarks.load import STEPS

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import TracebackType

CONFIGURATION = {
    "as": "one process: workflows are called in it, as coroutines (dbos) or in one thread each (dbos-threads)",
    "system_database_url": "the same PostgreSQL, directly, a database of its own",
    "sys_db_pool_size": "the default, 20",
    "use_listen_notify": "the default, true",
    "log_level": "ERROR",
    "steps": "trivial: an empty @DBOS.step; http: aiohttp's session (dbos), httpx's client (dbos-threads), kept open",
}


class _Counter:
    """Steps that ran, by threads and coroutines."""

    def __init__(self) -> None:
        self.value = 0
        self._lock = threading.Lock()

    def add(self) -> None:
        with self._lock:
            self.value += 1


class Dbos:
    """One process of DBOS under load."""

    def __init__(self, database: str, workload: str, at_once: int, url: str = "", *, threads: bool = False) -> None:
        self._url, self._workload, self._at_once, self._threads = url, workload, at_once, threads
        self._count = _Counter()
        config: DBOSConfig = {
            "name": "bench",
            "system_database_url": database,
            "log_level": "ERROR",
        }
        DBOS(config=config)

    @property
    def steps(self) -> int:
        """Steps that ran."""
        return self._count.value

    async def __aenter__(self) -> Self:
        self._run = self._plain() if self._threads else self._coroutines()
        DBOS.launch()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        DBOS.destroy()

    async def execute(self) -> None:
        """Call the workflow; it returns when its result is committed."""
        await self._run()

    def _coroutines(self) -> Callable[[], Coroutine[Any, Any, None]]:
        count, url = self._count, self._url
        limit = aiohttp.TCPConnector(limit=0)
        session = aiohttp.ClientSession(connector=limit) if self._workload == "http" else None

        @DBOS.step()
        async def step(number: int) -> int:
            if session is not None:
                async with session.get(url) as response:
                    await response.json()
            count.add()
            return number

        @DBOS.workflow()
        async def ten_steps() -> None:
            for number in range(STEPS):
                await step(number)

        return ten_steps

    def _plain(self) -> Callable[[], Coroutine[Any, Any, None]]:
        count, url = self._count, self._url
        unlimited = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        client = httpx.Client(limits=unlimited) if self._workload == "http" else None

        @DBOS.step()
        def step(number: int) -> int:
            if client is not None:
                client.get(url).json()
            count.add()
            return number

        @DBOS.workflow()
        def ten_steps() -> None:
            for number in range(STEPS):
                step(number)

        threads = ThreadPoolExecutor(self._at_once)

        async def run() -> None:
            await asyncio.get_running_loop().run_in_executor(threads, ten_steps)

        return run
