"""The recorded history of the cohort counters, for a replay: range queries of the controller's own instant query."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator_operator.adapters.prometheus import Prometheus
from orchestrator_operator.rollout.simulation import recorded as history

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from orchestrator_operator.rollout.reading.promql import Sample
    from orchestrator_operator.rollout.simulation.history import Row
    from orchestrator_operator.rollout.simulation.recorded import Values
    from orchestrator_operator.specs.rollout import RolloutSpec

_PATIENCE = 30.0  # seconds for an answer: nobody's flag waits for this one


async def recorded(
    url: str, spec: RolloutSpec, window: tuple[datetime, datetime], step: timedelta, attempt: str | None
) -> tuple[Row, ...]:
    """The rows of what was counted in `window`, one interval a `step`.

    Raises PrometheusError when it cannot be read, InvalidInput when it holds no attempt, or several and none is named.
    """
    start, end = window
    moments = [start + index * step for index in range((end - start) // step + 1)]
    prometheus = Prometheus(url, timeout=_PATIENCE)
    series: dict[tuple[tuple[str, str], ...], Values] = {}
    try:
        for index, moment in enumerate(moments):
            for sample in await prometheus.query(history.query(attempt), at=moment):
                values = series.setdefault(_identity(sample), [None] * len(moments))
                values[index] = sample.value
    finally:
        await prometheus.aclose()
    found = [history.Recorded(dict(labels), values) for labels, values in series.items()]
    history.one_attempt(found)
    return history.rows(found, spec, moments)


def _identity(sample: Sample) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(sample.labels.items()))
