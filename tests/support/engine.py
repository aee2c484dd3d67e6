"""Histories and workers for tests of the engine."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from orchestrator.clock import SystemClock
from orchestrator.functions import Functions
from orchestrator.nodes.addresses import AllowList
from orchestrator.nodes.runner import NodeRunner
from orchestrator.worker import Worker, WorkerSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from orchestrator.store import ExecutionRecord, Store

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return AT + timedelta(seconds=seconds)


def node(id_: str, *needs: str, type_: str = "transform", **fields: Any) -> dict[str, Any]:
    with_: dict[str, Any] = {"duration": "1s"} if type_ == "wait" else {}
    return {"id": id_, "type": type_, "needs": list(needs), "with": with_, **fields}


def spec(*nodes: dict[str, Any], output: Any = None, **defaults: Any) -> dict[str, Any]:
    return {"nodes": list(nodes), "output": output} | ({"defaults": defaults} if defaults else {})


@asynccontextmanager
async def working(
    store: Store, functions: Functions | None = None, settings: WorkerSettings | None = None
) -> AsyncIterator[Worker]:
    """A worker that runs while the block does."""
    async with NodeRunner(allowed=AllowList.parse("127.0.0.0/8"), functions=functions or Functions()) as runner:
        worker = Worker(store, runner, SystemClock(), settings or WorkerSettings(poll=timedelta(milliseconds=20)))
        stop = asyncio.Event()
        task = asyncio.create_task(worker.run(stop))
        try:
            yield worker
        finally:
            stop.set()
            await task


async def ended(store: Store, ids: Sequence[str], within: float = 20) -> list[ExecutionRecord]:
    """The records of executions once all of them are over."""
    async with asyncio.timeout(within):
        while True:
            records = [await store.get(id_) for id_ in ids]
            if all(record is not None and record.finished_at is not None for record in records):
                return [record for record in records if record is not None]
            await asyncio.sleep(0.02)
