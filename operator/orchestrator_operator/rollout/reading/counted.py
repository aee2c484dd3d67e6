"""Read the cohort counters from Prometheus."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from orchestrator import durations
from orchestrator.cohorts import SLOWER
from orchestrator_operator.adapters.prometheus import PrometheusError
from orchestrator_operator.rollout.judging.judge import current_stage
from orchestrator_operator.rollout.model import Unreadable
from orchestrator_operator.rollout.reading import readings
from orchestrator_operator.rollout.reading.counters import Counters, ages_beside, without_history
from orchestrator_operator.specs.rollout_status import Counted as Before

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator_operator.adapters.prometheus import Prometheus
    from orchestrator_operator.rollout.model import CohortKey
    from orchestrator_operator.rollout.reading.kept import Kept
    from orchestrator_operator.rollout.statistics.evidence import Cells
    from orchestrator_operator.specs.rollout import RolloutSpec
    from orchestrator_operator.specs.rollout_status import RolloutStatus

STALE = timedelta(minutes=3)  # older samples are no samples: three scrapes of Prometheus' slowest usual interval


@dataclass(frozen=True, slots=True)
class Counted:
    """What the counters of one attempt say."""

    cohorts: Mapping[CohortKey, Cells | Unreadable] = field(default_factory=dict)
    starts: Cells | Unreadable = ()
    keyed: int | None = None
    calibration: Cells | Unreadable = ()


class CountReader:
    """Two queries, whatever the number of criteria, ages and restarts."""

    def __init__(self, prometheus: Prometheus, stale: timedelta) -> None:
        self._prometheus, self._stale = prometheus, stale

    async def read(self, status: RolloutStatus, spec: RolloutSpec, kept: Kept) -> Counted:
        """The counters of the attempt that runs, beside what is kept of it."""
        attempt = status.attempt_id
        if not attempt:
            return _unread(spec, Unreadable("NoSeries", "its counters are not there yet"))
        try:
            samples, ages = await asyncio.gather(
                self._prometheus.query(readings.counters_query(attempt)),
                self._prometheus.query(readings.age_query(attempt)),
            )
        except PrometheusError as error:
            return _unread(spec, Unreadable(error.reason, str(error)))
        age = max((sample.value for sample in ages), default=math.nan)  # NaN compares as stale below
        if samples and not age <= self._stale.total_seconds():
            shown = durations.show(timedelta(seconds=round(age))) if math.isfinite(age) else "of no known age,"
            return _unread(spec, Unreadable("Stale", f"the counters are {shown} old"))
        counters = Counters.of(samples)
        found = readings.without_resets(counters.cohorts(spec), kept.restarts, status, spec)
        if isinstance(kept.baselines, Unreadable):  # what has a baseline is not known, so neither is what is counted
            found = {key: kept.baselines if key[0] == SLOWER else cells for key, cells in found.items()}
        elif kept.baselines is not None:
            found = without_history(found, (one.executions for one in kept.baselines))
        seen = status.counted if status.counted and status.counted.ages == ages_beside(spec) else Before()
        starts = readings.unless_lower("the starts", counters.starts(spec), seen.starts)
        share = current_stage(spec, status.stage_index).share
        return Counted(
            cohorts=found,
            starts=starts,
            keyed=None if isinstance(starts, Unreadable) else counters.keyed(spec, share),
            calibration=readings.unless_lower("V1 against V1", counters.calibration(spec), seen.calibration),
        )


def _unread(spec: RolloutSpec, why: Unreadable) -> Counted:
    return Counted(readings.unread(spec, why), starts=why, calibration=why)
