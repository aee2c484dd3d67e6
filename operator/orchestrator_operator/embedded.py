"""A worker inside of the operator's process, for installations of one replica."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from orchestrator.cli.processes import opened
from orchestrator.settings import Settings as WorkerSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from orchestrator.health import Health
    from orchestrator_operator.settings import Settings


@asynccontextmanager
async def open_worker(settings: Settings, health: Health) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """The worker's loop on the operator's store; it drains when it is cancelled. Raises InvalidInput, StoreError.

    What an operator has a setting for is the operator's; the rest is read as `orchestrator worker` reads it.
    """
    chosen = replace(
        WorkerSettings.read(),
        database=settings.database,
        schema=settings.schema_,
        patience=timedelta(seconds=settings.patience),
    )
    async with opened(chosen, health) as (_store, worker):

        async def run() -> None:
            await worker.run(asyncio.Event())

        yield run
