"""Flagger 1.36.1: a canary with an interval and a threshold of failed checks.

Source: github.com/fluxcd/flagger v1.36.1, read in its Go module; each rule names its function.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from tests.benchmarks.rollout.rivals.argo import Condition
from tests.benchmarks.rollout.rivals.outcome import NEVER, Outcome
from tests.benchmarks.rollout.rivals.prometheus import Answer, Measure, Queries

if TYPE_CHECKING:
    from tests.benchmarks.rollout.trace import Trace

_MINUTE = 60.0
_SHORTEST = 10.0  # seconds; pkg/apis/flagger/v1beta1/canary.go, GetAnalysisInterval


@dataclass(frozen=True, slots=True)
class Flagger:
    """A canary analysis on the plan of the trace. Times are seconds.

    pkg/controller/scheduler.go, advanceCanary, at every interval: roll back if `threshold` checks have failed so far;
    else check; a failed check adds one and halts, a passed one takes nothing away. So a rollback comes one interval
    after the check that was too many, and the counter is reset by a new revision only.

    A canary of Flagger goes on by one weight at every passed check. The plan's longer stages need its hook
    `confirm-traffic-increase`, which keeps the weight and lets the checks go on.
    """

    measure: Measure = Measure.SUCCESS_SHARE
    check: Condition = field(default_factory=lambda: Condition(">=", 0.99))  # the documentation's own
    interval: float = _MINUTE  # AnalysisInterval
    window: float = _MINUTE  # MetricInterval
    threshold: int = 1  # GetAnalysisThreshold; the documentation's examples say 5 or 10

    def __post_init__(self) -> None:
        if self.interval < _SHORTEST:
            raise ValueError(f"Flagger checks every ten seconds at most, and not every {self.interval:g}")

    @property
    def name(self) -> str:
        every = f"every {self.interval / _MINUTE:g} min over {self.window / _MINUTE:g} min"
        return f"Flagger, {self.check.text}, {every}, threshold {self.threshold}"

    def decide(self, trace: Trace) -> Outcome:
        """What it does with every run of the trace."""
        queries = Queries(trace, self.measure, self.window)
        # The tick at 0 checks nothing, for no traffic goes to the canary yet: it sets the first weight.
        ticks = self.interval * np.arange(1, int(trace.seconds // self.interval) + 1)
        outcome = Outcome.empty(trace.runs)
        for some, values, ended in queries.grid(np.arange(trace.runs), ticks):
            # No value, NaN and an unreachable Prometheus all fail a check (pkg/controller/scheduler_metrics.go and
            # pkg/metrics/providers/prometheus.go, RunQuery).
            failed = (ended != Answer.VALUE) | np.isnan(values) | ~self.check.holds(values)
            before = np.cumsum(failed, axis=1) - failed
            out = before >= self.threshold
            back = out.any(axis=1)
            outcome.rolled_back[some] = np.where(back, ticks[out.argmax(axis=1)], NEVER)
            outcome.completed[some] = np.where(back | failed[:, -1], NEVER, trace.seconds)
        return outcome
