"""A hundred thousand executions that wait cost nothing meanwhile: an idle worker beside them, and beside none."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import psycopg

from orchestrator.clock import SystemClock
from orchestrator.model import Engine, Status
from orchestrator.nodes.runner import NodeRunner
from orchestrator.store import open_store
from orchestrator.worker import Worker, WorkerSettings
from tests.benchmarks import child, machine, servers, templates, usage
from tests.benchmarks.fill import Filler

if TYPE_CHECKING:
    from collections.abc import Callable

_SETTLE = 3.0  # seconds that the worker starts up in, and that PostgreSQL may take to count what happened


def run(tell: Callable[[str], None], executions: int, seconds: float) -> dict[str, Any]:
    """An idle worker beside nothing, and beside so many waiting executions."""
    rows = []
    with servers.postgres() as server:
        for waiting in (0, executions):
            url = server.create_database()
            asyncio.run(_fill(url, waiting))
            arguments = {"url": url, "seconds": seconds, "server_pid": server.pid}
            row = {"waiting": waiting} | child.call("tests.benchmarks.waiting:idle", arguments, seconds + 60)
            tell(f"{waiting:,} waiting: {row}")
            rows.append(row)
        described = machine.postgres(server.url().replace("+psycopg", ""))
    return {"machine": machine.describe(), "postgresql": described, "seconds": seconds, "rows": rows}


async def _fill(url: str, waiting: int) -> None:
    store = await open_store(url)
    if waiting:
        await templates.run(store, {"template-waits": templates.WAITS}, (Status.WAITING,))
        await asyncio.to_thread(_copy, url, waiting)
    await store.close()


def _copy(url: str, waiting: int) -> None:
    """Half of them wait for a timer that is days away, half for somebody's word."""
    filler = Filler(url)
    timers = waiting // 2
    filler.copy_execution("template-waits", timers, 0.01)
    filler.copy_execution("template-waits", waiting - timers - 1, 0.01, row={"due_at": "NULL"})
    filler.close()


async def idle(url: str, seconds: float, server_pid: int) -> dict[str, float]:
    """What a worker that has nothing to do costs: transactions a second, and shares of one processor core."""
    store = await open_store(url)
    async with NodeRunner() as runner:
        settings = WorkerSettings(engines=(Engine.V2,))
        stop = asyncio.Event()
        running = asyncio.create_task(Worker(store, runner, SystemClock(), settings).run(stop))
        await asyncio.sleep(_SETTLE)
        before = (time.perf_counter(), usage.own_cpu(), usage.tree_cpu(server_pid), await _transactions(url))
        await asyncio.sleep(seconds)
        after = (time.perf_counter(), usage.own_cpu(), usage.tree_cpu(server_pid), await _transactions(url))
        stop.set()
        await running
    took, own, server, transactions = (later - sooner for sooner, later in zip(before, after, strict=True))
    await store.close()
    return {
        "transactions_per_second": transactions / took,
        "worker_cores": own / took,
        "database_cores": server / took,
        "worker_peak_mb": usage.own_peak_mb(),
    }


async def _transactions(url: str) -> int:
    """How many transactions this database has ended so far."""
    async with await psycopg.AsyncConnection.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        cursor = await connection.execute(
            "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()"
        )
        row = await cursor.fetchone()
        return int(row[0]) if row else 0
