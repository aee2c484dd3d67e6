"""What a store does not do by itself: old log lines and finished executions go, queues behind raised limits move.

Every worker does it now and then, each chore on its own; two at once do no harm.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import structlog

from orchestrator.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from orchestrator.clock import Clock
    from orchestrator.store.port import Store

log = structlog.get_logger(__name__)

LOGS_KEPT: Final = timedelta(days=7)
_SWEEP: Final = timedelta(minutes=10)
_HEAL: Final = timedelta(minutes=1)  # a queue that a raised limit lets go on waits no longer than this
_PAUSE: Final = timedelta(milliseconds=50)  # between two batches: what works for people comes first


@dataclass(frozen=True, slots=True)
class Chore:
    """Something to do again and again."""

    name: str
    every: timedelta
    do: Callable[[Store, datetime], Awaitable[int]]  # how much there was to do


async def sweep_logs(store: Store, now: datetime) -> int:
    """Drop the log lines that are older than `LOGS_KEPT`, some at a time; how many there were."""
    dropped = 0
    while count := await store.drop_logs(now - LOGS_KEPT):
        dropped += count
        await asyncio.sleep(_PAUSE.total_seconds())
    return dropped


async def sweep_finished(store: Store, before: datetime) -> int:
    """Drop the executions that ended before a moment, with their events, some at a time; how many there were.

    Each batch is a commit of its own: what an interruption leaves is dropped by the next sweep.
    """
    dropped = 0
    while count := await store.drop_finished(before):
        dropped += count
        await asyncio.sleep(_PAUSE.total_seconds())
    return dropped


async def heal_limits(store: Store, now: datetime) -> int:
    """Let queued executions go on where a limit was raised; how many."""
    return await store.heal_limits(now)


def chores(retention: timedelta | None) -> list[Chore]:
    """What there is to do; without a retention finished executions are kept for ever."""
    found = [Chore("old log lines dropped", _SWEEP, sweep_logs), Chore("queued executions woken", _HEAL, heal_limits)]
    if retention is not None:
        kept = retention
        found.append(Chore("finished executions dropped", _SWEEP, lambda store, now: sweep_finished(store, now - kept)))
    return found


async def keep_house(store: Store, clock: Clock, retention: timedelta | None = None) -> None:
    """Do every chore, again and again, until cancelled."""
    await asyncio.gather(*(_again(chore, store, clock) for chore in chores(retention)))


async def _again(chore: Chore, store: Store, clock: Clock) -> None:
    while True:
        try:
            if count := await chore.do(store, clock.now()):
                log.info(chore.name, count=count)
        except StoreError as error:
            log.warning("put off until the store answers", chore=chore.name, error=str(error))
        await asyncio.sleep(chore.every.total_seconds())
