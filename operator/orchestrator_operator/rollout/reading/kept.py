"""What the store keeps beside the counters of an attempt, and what this process remembers of it.

Baselines and the totals of a restart never change once they are kept. So a store that is away takes nothing away that
was read before; what was never read is not known, and whatever can be judged without it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from orchestrator.errors import StoreError
from orchestrator_operator.rollout.model import Restart, Unreadable
from orchestrator_operator.rollout.reading import readings

if TYPE_CHECKING:
    from orchestrator.store.evidence import Baseline
    from orchestrator.store.port import Store

BASELINE = timedelta(days=7)  # how long before an attempt V1 is measured


@dataclass(frozen=True, slots=True)
class Kept:
    """Of one attempt."""

    baselines: list[Baseline] | Unreadable | None = None  # V1's week before it, by workflow; None: it was not taken yet
    restarts: tuple[Restart, ...] = ()  # the totals at each restart of the evidence
    away: Unreadable | None = None  # why the store did not say all of it just now: this is what was read before


class KeptReader:
    """Two looks into the store; a few numbers stay in memory for each attempt that was read."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._baselines: dict[str, list[Baseline]] = {}
        self._restarts: dict[str, tuple[Restart, ...]] = {}

    async def read(self, attempt: str) -> Kept:
        """What is kept of an attempt; "": of none yet."""
        if not attempt:
            return Kept()
        baselines, no_baselines = await self._read_baselines(attempt)
        restarts, no_restarts = await self._read_restarts(attempt)
        return Kept(baselines, restarts, no_baselines or no_restarts)

    async def _read_baselines(self, attempt: str) -> tuple[list[Baseline] | Unreadable | None, Unreadable | None]:
        try:
            found = await self._store.baselines(attempt)
        except StoreError as error:
            away = Unreadable("StoreUnavailable", f"V1's baselines cannot be read: {error}")
            return self._baselines.get(attempt, away), away
        if found is not None:
            self._baselines[attempt] = found
        return found, None

    async def _read_restarts(self, attempt: str) -> tuple[tuple[Restart, ...], Unreadable | None]:
        try:
            totals = await self._store.totals(attempt)
            found = tuple(readings.load(kept.index, kept.at, kept.totals) for kept in totals)
        except (StoreError, ValueError) as error:
            away = Unreadable("StoreUnavailable", f"the totals of the restarts cannot be read: {error}")
            return self._restarts.get(attempt, ()), away
        self._restarts[attempt] = found
        return found, None
