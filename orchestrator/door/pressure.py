"""Back-pressure: when workers do not keep up, new executions are refused, with a time that is worth waiting.

What waits for a worker is counted a few times a second at most; between two counts what this door has accepted itself
is added. The time to come again is how long the oldest has waited: by Little's law about what the queue takes to drain.

All callers share one count, and its failure, too: a store that hangs holds each of them for one deadline, never for one
after the other.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from typing import TYPE_CHECKING, Final

from orchestrator.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.clock import Clock
    from orchestrator.store.port import Store
    from orchestrator.store.records import Backlog

_FRESH: Final = 0.25  # seconds
_DEADLINE: Final = 3.0  # seconds that a count may take
_SHORTEST, _LONGEST = 1, 30  # seconds to come again


class Pressure:
    """Whether another execution can be taken."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        most: int,
        monotonic: Callable[[], float] = time.monotonic,
        deadline: float = _DEADLINE,
    ) -> None:
        self._store, self._clock, self._most, self._monotonic = store, clock, most, monotonic
        self._deadline = deadline
        self._counted_at = -math.inf
        self._since = 0  # accepted here after that
        self._counting: asyncio.Task[Backlog] | None = None  # the count under way, or the last one

    async def retry_after(self) -> int | None:
        """Seconds after which to come again; None: come in. Raises StoreUnavailable when nobody knows."""
        backlog = await self._backlog()
        if backlog.waiting + self._since < self._most:
            return None
        waited = 0.0 if backlog.oldest is None else (self._clock.now() - backlog.oldest).total_seconds()
        return _seconds(waited)

    def accepted(self) -> None:
        """One more was let in."""
        self._since += 1

    async def aclose(self) -> None:
        """Count no more."""
        if self._counting is not None:
            self._counting.cancel()
            await asyncio.gather(self._counting, return_exceptions=True)

    async def _backlog(self) -> Backlog:
        counting = self._counting
        if counting is None or (counting.done() and self._monotonic() - self._counted_at >= _FRESH):
            counting = self._counting = asyncio.create_task(self._count(), name="door-pressure")
        return await asyncio.shield(counting)  # it is everybody's: who hangs up does not end it

    async def _count(self) -> Backlog:
        before = self._since
        try:
            async with asyncio.timeout(self._deadline):
                counted = await self._store.backlog(self._clock.now(), self._most)
        except TimeoutError:
            raise StoreUnavailable(f"the backlog was not counted within {self._deadline:g} s") from None
        finally:
            self._counted_at = self._monotonic()
        self._since -= before  # those that came in meanwhile may or may not have been counted
        return counted


def _seconds(waited: float) -> int:
    """Not the same for everybody: all of them at once would be the next pressure."""
    spread = random.uniform(1.0, 1.5)  # noqa: S311 — spreads load, hides nothing
    return math.ceil(min(max(waited, _SHORTEST), _LONGEST / 1.5) * spread)
