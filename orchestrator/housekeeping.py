"""What a store must not keep for ever: log lines. Every worker sweeps now and then; two at once do no harm."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import structlog

from orchestrator.errors import StoreError

if TYPE_CHECKING:
    from datetime import datetime

    from orchestrator.clock import Clock
    from orchestrator.store.port import Store

log = structlog.get_logger(__name__)

LOGS_KEPT: Final = timedelta(days=7)
_EVERY: Final = timedelta(minutes=10)


async def sweep_logs(store: Store, now: datetime) -> int:
    """Drop the log lines that are older than `LOGS_KEPT`, some at a time; how many there were."""
    dropped = 0
    while count := await store.drop_logs(now - LOGS_KEPT):
        dropped += count
    return dropped


async def keep_house(store: Store, clock: Clock) -> None:
    """Sweep, again and again, until cancelled."""
    while True:
        try:
            dropped = await sweep_logs(store, clock.now())
            if dropped:
                log.info("old log lines dropped", lines=dropped)
        except StoreError as error:
            log.warning("old log lines stay for now", error=str(error))
        await asyncio.sleep(_EVERY.total_seconds())
