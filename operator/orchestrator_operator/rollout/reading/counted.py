"""Read the cohort counters: from Prometheus, and what the store keeps beside them."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from orchestrator import durations
from orchestrator.errors import StoreError
from orchestrator_operator.adapters.prometheus import PrometheusError
from orchestrator_operator.rollout.judging.judge import current_stage
from orchestrator_operator.rollout.model import Restart, Unreadable
from orchestrator_operator.rollout.reading import readings
from orchestrator_operator.rollout.reading.counters import Counters, ages_beside, without_history
from orchestrator_operator.specs.rollout_status import Counted as Before

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.store.port import Baseline, Store
    from orchestrator_operator.adapters.prometheus import Prometheus
    from orchestrator_operator.rollout.model import CohortKey
    from orchestrator_operator.rollout.statistics.evidence import Cells
    from orchestrator_operator.specs.rollout import RolloutSpec
    from orchestrator_operator.specs.rollout_status import RolloutStatus

STALE = timedelta(minutes=3)  # older samples are no samples: three scrapes of Prometheus' slowest usual interval


@dataclass(frozen=True, slots=True)
class Counted:
    """What the counters of one attempt say, and the totals at each restart of the evidence."""

    cohorts: Mapping[CohortKey, Cells | Unreadable] = field(default_factory=dict)
    restarts: tuple[Restart, ...] = ()
    starts: Cells | Unreadable = ()
    keyed: int | None = None
    calibration: Cells | Unreadable = ()


class CountReader:
    """Two queries and one look into the store, whatever the number of criteria, ages and restarts."""

    def __init__(self, store: Store, prometheus: Prometheus, stale: timedelta) -> None:
        self._store, self._prometheus, self._stale = store, prometheus, stale

    async def read(
        self, status: RolloutStatus, spec: RolloutSpec, baselines: list[Baseline] | Unreadable | None
    ) -> Counted:
        """The counters of the attempt that runs; `baselines` is None while they were not taken."""
        attempt = status.attempt_id
        if not attempt:
            return _unread(spec, Unreadable("NoSeries", "its counters are not there yet"))
        if isinstance(baselines, Unreadable):  # what has a baseline is not known, so neither is what is counted
            return _unread(spec, baselines)
        try:
            restarts = await self._restarts(attempt)
            samples, ages = await asyncio.gather(
                self._prometheus.query(readings.counters_query(attempt)),
                self._prometheus.query(readings.age_query(attempt)),
            )
        except PrometheusError as error:
            return _unread(spec, Unreadable(error.reason, str(error)))
        except (StoreError, ValueError) as error:
            why = Unreadable("StoreUnavailable", f"the totals of the restarts cannot be read: {error}")
            return _unread(spec, why)
        age = max((sample.value for sample in ages), default=math.nan)  # NaN compares as stale below
        if samples and not age <= self._stale.total_seconds():
            shown = durations.show(timedelta(seconds=round(age))) if math.isfinite(age) else "of no known age,"
            return _unread(spec, Unreadable("Stale", f"the counters are {shown} old"), restarts)
        counters = Counters.of(samples)
        found = readings.without_resets(counters.cohorts(spec), restarts, status, spec)
        if baselines is not None:
            found = without_history(found, (one.executions for one in baselines))
        seen = status.counted if status.counted and status.counted.ages == ages_beside(spec) else Before()
        starts = readings.unless_lower("the starts", counters.starts(spec), seen.starts)
        share = current_stage(spec, status.stage_index).share
        return Counted(
            cohorts=found,
            restarts=restarts,
            starts=starts,
            keyed=None if isinstance(starts, Unreadable) else counters.keyed(spec, share),
            calibration=readings.unless_lower("V1 against V1", counters.calibration(spec), seen.calibration),
        )

    async def _restarts(self, attempt: str) -> tuple[Restart, ...]:
        return tuple(readings.load(kept.index, kept.at, kept.totals) for kept in await self._store.totals(attempt))


def _unread(spec: RolloutSpec, why: Unreadable, restarts: tuple[Restart, ...] = ()) -> Counted:
    return Counted(readings.unread(spec, why), restarts, starts=why, calibration=why)
