"""What the evidence is counted from, kept in the store for as long as its rollout is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from orchestrator.errors import StoreError
from orchestrator.store.evidence import KeptBin, Totals
from orchestrator_operator.rollout.model import RememberBins, RememberTotals, TakeBaselines
from orchestrator_operator.rollout.reading import readings
from orchestrator_operator.rollout.reading.kept import BASELINE

if TYPE_CHECKING:
    from orchestrator.store.port import Store

_log = structlog.get_logger(__name__)


async def keep(store: Store, attempt: str, action: TakeBaselines | RememberBins | RememberTotals) -> None:
    """What an action says; what was kept first stays. Raises StoreError."""
    match action:
        case TakeBaselines(until):
            await store.take_baselines(attempt, until - BASELINE, until)
        case RememberTotals(restart):
            await store.save_totals(attempt, Totals(restart.index, restart.at, readings.dump(restart)))
        case RememberBins(criterion, first, bins):
            kept = [
                KeptBin(number, one.end, one.k1, one.n1, one.k2, one.n2)
                for number, one in enumerate(bins, first)
                if one.end is not None
            ]
            await store.save_bins(attempt, criterion, kept)


async def drop(store: Store, rollout: str, attempts: str) -> None:
    """All of it, of the attempts whose ids begin so: the resource goes. The log of decisions outlives it. A store that
    is away keeps nobody from deleting a resource.
    """
    try:
        await store.drop_evidence(attempts)
    except StoreError as error:
        _log.warning("the evidence of a deleted rollout stays in the store", rollout=rollout, error=str(error))
