"""Argo Rollouts 1.10.2: inline and background analysis of a canary.

Source: github.com/argoproj/argo-rollouts v1.10.2, read in its Go module; each rule names its function. Not re-stated:
`consecutiveSuccessLimit` (off by default), dry runs, and several metrics in one run.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

from tests.benchmarks.rollout.rivals.outcome import Outcome
from tests.benchmarks.rollout.rivals.prometheus import Answer, Measure, Queries

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tests.benchmarks.rollout.trace import Trace

    Floats = NDArray[np.float64]
    Indices = NDArray[np.intp]
    Phases = NDArray[np.int8]

ERROR_RETRY = 10.0  # seconds; analysis/analysis.go, DefaultErrorRetryInterval: no setting changes it
_MINUTE = 60.0
_LATE = 10  # intervals that the last analysis may take longer than the plan
_COMPARE = {">=": operator.ge, "<=": operator.le, "<": operator.lt, ">": operator.gt}


class Phase(IntEnum):
    """Of a measurement, of a metric and of an AnalysisRun with one metric."""

    RUNNING = 0
    SUCCESSFUL = 1
    FAILED = 2
    INCONCLUSIVE = 3
    ERROR = 4


@dataclass(frozen=True, slots=True)
class Condition:
    """`result[0] >= 0.95`: comparisons with NaN are false, as in Go."""

    sign: str
    bound: float
    or_nan: bool = False  # what the documentation advises where no data may count as good

    @property
    def text(self) -> str:
        """As an AnalysisTemplate has it."""
        plain = f"result[0] {self.sign} {self.bound:g}"
        return f"isNaN(result[0]) || {plain}" if self.or_nan else plain

    def holds(self, values: Floats) -> NDArray[np.bool_]:
        found = _COMPARE[self.sign](values, self.bound)
        return found | np.isnan(values) if self.or_nan else found


@dataclass(frozen=True, slots=True)
class Metric:
    """What an AnalysisTemplate says of one Prometheus metric. Times are seconds.

    The limits are those of the API: more than so many failed or inconclusive measurements, or errors in a row.
    """

    measure: Measure = Measure.SUCCESS_SHARE
    window: float = 15 * _MINUTE
    interval: float = 15 * _MINUTE
    success: Condition | None = Condition(">=", 0.95)
    failure: Condition | None = None
    failure_limit: int = 0
    inconclusive_limit: int = 0
    consecutive_error_limit: int = 4  # utils/defaults/defaults.go, DefaultConsecutiveErrorLimit

    def evaluate(self, values: Floats, ended: NDArray[np.int8]) -> Phases:
        """The phase of each measurement (utils/evaluate/evaluate.go, EvaluateResult).

        `result[0]` of an empty vector is an error of the expression, as an unreachable Prometheus is one.
        """
        if self.success is None and self.failure is None:
            good, bad = np.ones(len(values), dtype=bool), np.zeros(len(values), dtype=bool)
        elif self.failure is None:
            assert self.success is not None
            good = self.success.holds(values)
            bad = ~good
        else:
            bad = self.failure.holds(values)
            good = ~bad if self.success is None else self.success.holds(values)
        phases = np.where(bad, Phase.FAILED, np.where(good, Phase.SUCCESSFUL, Phase.INCONCLUSIVE))
        return np.where(ended == Answer.VALUE, phases, Phase.ERROR).astype(np.int8)


class Tally:
    """The counters of a metric's result, one for each run (analysis/analysis.go, runMeasurements).

    Only errors are counted in a row. Failed measurements are never forgiven, however many good ones follow.
    """

    def __init__(self, runs: int) -> None:
        self.count, self.failed, self.inconclusive, self.errors_in_a_row = np.zeros((4, runs), dtype=np.int64)

    def take(self, runs: Indices, phases: Phases, errors: Indices | int = 1) -> None:
        """Add one measurement of each of these runs; where it is an error, so many of them."""
        error = phases == Phase.ERROR
        self.count[runs] += ~error
        self.failed[runs] += phases == Phase.FAILED
        self.inconclusive[runs] += phases == Phase.INCONCLUSIVE
        self.errors_in_a_row[runs] = np.where(error, self.errors_in_a_row[runs] + errors, 0)

    def assess(self, metric: Metric, runs: Indices, count: int | None) -> Phases:
        """The phase of each run's metric (analysis/analysis.go, assessMetricStatus).

        Of several limits that are passed at once, the last one named there gives the phase.
        """
        phases = np.full(len(runs), Phase.RUNNING, dtype=np.int8)
        if count is not None:
            phases[self.count[runs] >= count] = Phase.SUCCESSFUL
        phases[self.failed[runs] > metric.failure_limit] = Phase.FAILED
        phases[self.inconclusive[runs] > metric.inconclusive_limit] = Phase.INCONCLUSIVE
        phases[self.errors_in_a_row[runs] > metric.consecutive_error_limit] = Phase.ERROR
        return phases


def analysis_run(
    metric: Metric, queries: Queries, runs: Indices, first: Floats, *, count: int | None, until: float
) -> tuple[Phases, Floats]:
    """One AnalysisRun for each of these runs: its phase, and when it reached that, in seconds.

    `first` is when each takes its first measurement; the next follows after the interval, after an error in ten
    seconds (analysis/analysis.go, generateMetricTasks). What still runs at `until` stays RUNNING.
    """
    if queries.always_answered and len(first) and (first == first[0]).all() and first[0] <= until:
        return _in_step(metric, queries, runs, float(first[0]), count=count, until=until)
    tally, moment = Tally(len(runs)), first.copy()
    phase, reached = np.full(len(runs), Phase.RUNNING, dtype=np.int8), np.full(len(runs), until)
    while len(due := np.flatnonzero((phase == Phase.RUNNING) & (moment <= until))):
        measured = metric.evaluate(*queries.ask(runs[due], moment[due]))
        # All the errors of an outage at once: an analysis that tolerates them takes one every ten seconds, for hours.
        still = np.ceil(queries.away(runs[due], moment[due]) / ERROR_RETRY)
        left = metric.consecutive_error_limit + 1 - tally.errors_in_a_row[due]
        errors = np.clip(still, 1, left).astype(np.intp)
        tally.take(due, measured, errors)
        phase[due] = tally.assess(metric, due, count)
        moment[due] += np.where(measured == Phase.ERROR, ERROR_RETRY * (errors - 1), 0)
        over = due[phase[due] != Phase.RUNNING]
        reached[over] = moment[over]
        moment[due] += np.where(measured == Phase.ERROR, ERROR_RETRY, metric.interval)
    return phase, reached


def _in_step(
    metric: Metric, queries: Queries, runs: Indices, first: float, *, count: int | None, until: float
) -> tuple[Phases, Floats]:
    """The same where nothing ever errs, so that all runs measure at the same moments: all at once, and much faster."""
    measurements = int((until - first) // metric.interval) + 1
    moments = first + metric.interval * np.arange(measurements if count is None else min(count, measurements))
    phase, reached = np.full(len(runs), Phase.RUNNING, dtype=np.int8), np.full(len(runs), until)
    for some, values, ended in queries.grid(runs, moments):
        measured = metric.evaluate(values.ravel(), ended.ravel()).reshape(values.shape)
        failed = np.cumsum(measured == Phase.FAILED, axis=1) > metric.failure_limit
        unclear = np.cumsum(measured == Phase.INCONCLUSIVE, axis=1) > metric.inconclusive_limit
        counted = np.arange(1, len(moments) + 1) == count
        over = failed | unclear | counted
        at = over.argmax(axis=1)
        rows = np.arange(len(at))
        verdict = np.where(failed[rows, at], Phase.FAILED, Phase.SUCCESSFUL)
        verdict[unclear[rows, at]] = Phase.INCONCLUSIVE
        ends = over[rows, at]
        phase[some] = np.where(ends, verdict, Phase.RUNNING)
        reached[some] = np.where(ends, moments[at], until)
    return phase, reached


@dataclass(frozen=True, slots=True)
class Argo:
    """A canary of Argo Rollouts on the plan of the trace.

    Inline: the steps are setWeight and an analysis with a count that fills the stage, so each stage starts a new
    AnalysisRun (rollout/analysis.go, reconcileStepBasedAnalysisRun). Background: setWeight and pause, and one
    AnalysisRun without a count beside all of them (reconcileBackgroundAnalysisRun); it is terminated, which counts as
    a success, when the rollout is through. Failed and Error abort at once, Inconclusive pauses for a person.
    """

    metric: Metric = field(default_factory=Metric)
    background: bool = False
    initial_delay: float | None = None  # seconds before an AnalysisRun measures; None: the window, as one would set it

    @property
    def name(self) -> str:
        metric = self.metric
        kind = "background" if self.background else "inline"
        says = ", ".join(
            f"{word} {condition.text}"
            for word, condition in (("success", metric.success), ("failure", metric.failure))
            if condition is not None
        )
        return f"Argo Rollouts {kind}, {says}, every {metric.interval / _MINUTE:g} min, limit {metric.failure_limit}"

    def decide(self, trace: Trace) -> Outcome:
        """What it does with every run of the trace."""
        queries = Queries(trace, self.metric.measure, self.metric.window)
        delay = self.metric.window if self.initial_delay is None else self.initial_delay
        outcome, going = Outcome.empty(trace.runs), np.arange(trace.runs)
        free = np.zeros(trace.runs)  # when the analysis of the stage before was over
        # Errors delay the count of the last stage: it may reach beyond the trace, whose last window then stands still.
        until = trace.seconds + (0 if self.background else _LATE * self.metric.interval)
        for start, end, count in self._analyses(trace, delay):
            first = np.maximum(start, free[going]) + delay
            phase, reached = analysis_run(self.metric, queries, going, first, count=count, until=until)
            outcome.held[going[phase == Phase.INCONCLUSIVE]] = reached[phase == Phase.INCONCLUSIVE]
            aborted = (phase == Phase.FAILED) | (phase == Phase.ERROR)
            outcome.rolled_back[going[aborted]] = reached[aborted]
            passed = (phase == Phase.SUCCESSFUL) | (count is None) & (phase == Phase.RUNNING)
            going = going[passed]
            free[going] = np.maximum(reached[passed], end)
        outcome.completed[going] = free[going]
        return outcome

    def _analyses(self, trace: Trace, delay: float) -> list[tuple[float, float, int | None]]:
        """When each AnalysisRun starts, when its stage ends, and how many measurements it counts."""
        if self.background:
            return [(0.0, trace.seconds, None)]
        found = [(stage.start, stage.end, self._count(stage.end - stage.start, delay)) for stage in trace.stages]
        if (fewest := min(count for *_, count in found)) < max(
            self.metric.failure_limit, self.metric.inconclusive_limit
        ):
            # utils/analysis/factory.go, ValidateMetric: such a run ends in an error before it measures anything.
            raise ValueError(f"a stage has {fewest} measurements, fewer than a limit: Argo Rollouts refuses that")
        return list(found)

    def _count(self, duration: float, delay: float) -> int:
        return max(1, int((duration - delay) // self.metric.interval) + 1)
