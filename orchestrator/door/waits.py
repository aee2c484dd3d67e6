"""Callers that wait for an end: one question to the store for all of them, whoever ran their executions."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import structlog

from orchestrator import telemetry
from orchestrator.errors import StoreError

if TYPE_CHECKING:
    from orchestrator.store.port import Store

log = structlog.get_logger(__name__)

_POLL: Final = 0.05  # seconds
_PAUSE: Final = 0.5  # seconds after a question that failed


class Waits:
    """At most `most` callers wait at once."""

    def __init__(self, store: Store, most: int, poll: float = _POLL) -> None:
        self._store, self._most, self._poll = store, most, poll
        self._ids: Counter[str] = Counter()
        self._over: dict[str, asyncio.Event] = {}
        self._asking: asyncio.Task[None] | None = None
        self._released = False

    @property
    def waiting(self) -> int:
        """Callers that wait now."""
        return self._ids.total()

    async def until_over(self, execution_id: str, seconds: float) -> None:
        """Until it is over, the time is, or nobody is to wait any more; at once when too many wait already."""
        if self._released or self.waiting >= self._most:
            return
        over = self._over.setdefault(execution_id, asyncio.Event())
        self._ids[execution_id] += 1
        telemetry.DOOR_WAITS.inc()
        try:
            if self._asking is None or self._asking.done():
                self._asking = asyncio.create_task(self._ask(), name="door-waits")
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await over.wait()
        finally:
            telemetry.DOOR_WAITS.dec()
            self._ids[execution_id] -= 1
            if not self._ids[execution_id]:
                del self._ids[execution_id]
                self._over.pop(execution_id, None)

    def release(self) -> None:
        """Let everybody go: this process ends."""
        self._released = True
        for over in self._over.values():
            over.set()

    async def aclose(self) -> None:
        self.release()
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)

    async def _ask(self) -> None:
        """Ask the store while somebody waits."""
        while self._over:
            pause = self._poll
            try:
                ended = await self._store.over(list(self._over))
            except StoreError as error:
                log.warning("the store does not answer those who wait", error=str(error))
                ended, pause = set(), _PAUSE
            except Exception:  # everybody's question: it must not end with one that failed
                log.exception("asking for those who wait failed; it goes on")
                ended, pause = set(), _PAUSE
            for execution_id in ended:
                if execution_id in self._over:
                    self._over[execution_id].set()
            await asyncio.sleep(pause)
