"""Kayenta: Spinnaker's automated canary analysis with its default judge, NetflixACAJudge.

Source: spinnaker/spinnaker at f8b98eba (2026), folder kayenta; each rule names its file. Not re-stated: several metrics
and their groups (with one metric the score is 100 or 0), critical metrics, the effect size `cles`, outlier removal (off
by default).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from tests.benchmarks.rollout.rivals.mann_whitney import AllTied, Shift, clearly_above
from tests.benchmarks.rollout.rivals.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tests.benchmarks.rollout.trace import Stage, Trace

    Floats = NDArray[np.float64]
    Counts = NDArray[np.int64]
    Indices = NDArray[np.intp]

_MINUTE, _HOUR = 60.0, 3600.0
_TOLERANCE, _CONFIDENCE = 0.25, 0.98  # kayenta-judge/…/NetflixACAJudge.scala, classifyMetric: no setting changes them
_NOISE = 1e-5  # kayenta-judge/…/MannWhitneyClassifier.scala, addGaussianNoise
_NODATA_SHARE = 0.5  # kayenta-judge/…/WeightedSumScorer.scala, NODATA_THRESHOLD
# kayenta-core/…/MetricsRetryConfigurationProperties.java: ten attempts, 1 s between the first two, then twice as much
PATIENCE = float(sum(2**attempt for attempt in range(9)))


class Label(StrEnum):
    """Of one metric."""

    PASS = "Pass"
    HIGH = "High"
    LOW = "Low"
    NODATA = "Nodata"
    ERROR = "Error"


class Direction(StrEnum):
    """Which way a metric gets worse; `either` is what Kayenta takes where nothing is said."""

    INCREASE = "increase"
    DECREASE = "decrease"
    EITHER = "either"


@dataclass(frozen=True, slots=True)
class Classifier:
    """One metric's label (kayenta-judge/…/MannWhitneyClassifier.scala, classify): NaN is removed before.

    High where the interval of the shift lies above `tolerance` times its estimate, and the ratio of the means is not
    below `allowed_increase`; a ratio with a mean of zero is ignored. Low is the mirror image.
    """

    tolerance: float = _TOLERANCE
    confidence: float = _CONFIDENCE
    direction: Direction = Direction.EITHER
    allowed_increase: float = 1.0
    allowed_decrease: float = 1.0

    def label(self, control: Floats, experiment: Floats) -> Label:
        """The label of two samples without NaN."""
        if not len(control) or not len(experiment):
            return Label.NODATA
        values = np.union1d(control, experiment)
        if len(values) == 1 or np.array_equal(np.sort(control), np.sort(experiment)):
            return Label.PASS
        if len(np.unique(control)) == 1 and len(np.unique(experiment)) == 1:
            control, experiment = _noisy(control), _noisy(experiment)
        means = float(experiment.mean()), float(control.mean())
        ratio = means[0] / means[1] if all(means) else np.nan
        found = Shift(experiment, control, self.confidence)
        # Written so that NaN passes both comparisons of the effect.
        may_be_high = self.direction is not Direction.DECREASE and not ratio < self.allowed_increase
        may_be_low = self.direction is not Direction.INCREASE and not ratio > self.allowed_decrease
        try:
            if may_be_high and 0 < found.lower > self.tolerance * abs(found.estimate):
                return Label.HIGH
            if may_be_low and 0 > found.upper < -self.tolerance * abs(found.estimate):
                return Label.LOW
        except AllTied:
            return Label.ERROR
        return Label.PASS

    def labels(self, control: Floats, experiment: Floats) -> list[Label]:
        """The label of each row of two arrays (rows, values), NaN for what is missing; fast where most pass.

        What passes at a first look is not looked at again: an error that it would end in has no say either.
        """
        nothing = np.isnan(control).all(axis=1) | np.isnan(experiment).all(axis=1)
        suspect = np.zeros(len(control), dtype=bool)
        if self.direction is not Direction.DECREASE:
            suspect |= clearly_above(experiment, control, self.confidence)
        if self.direction is not Direction.INCREASE:
            suspect |= clearly_above(control, experiment, self.confidence)
        found = [Label.NODATA if none else Label.PASS for none in nothing]
        for row in np.flatnonzero(suspect & ~nothing):
            samples = (sample[row][~np.isnan(sample[row])] for sample in (control, experiment))
            found[row] = self.label(*samples)
        return found


def score(labels: Sequence[Label]) -> float:
    """The score of a canary, 0 to 100, of metrics in one group (kayenta-judge/…/WeightedSumScorer.scala).

    Too many without data fail it; where only errors are left, nothing speaks against it.
    """
    if labels.count(Label.NODATA) / len(labels) >= _NODATA_SHARE:
        return 0.0
    judged = [label for label in labels if label not in {Label.NODATA, Label.ERROR}]
    return round(100 * judged.count(Label.PASS) / len(judged), 2) if judged else 100.0


@dataclass(frozen=True, slots=True)
class Kayenta:
    """A canary analysis for each stage of the plan of the trace. Times are seconds.

    A judgement at every interval, over the stage so far or the `lookback` (kayenta-standalone-canary-analysis/…/
    SetupAndExecuteCanariesStage.java); a score not above `marginal` ends it at once (MonitorCanaryTask.java), and the
    last one must reach `passing`. The metric is each engine's share of bad executions in per cent, one value a `step`.
    A query that fails is repeated for 511 s, then the analysis fails (SynchronousQueryProcessor.java).

    Shares of few executions are distributed otherwise than shares of many, and ranks see that: so Spinnaker's guide
    compares a canary with a baseline of its own size, not with all of production. With `equal_arms` the larger arm is
    cut down by chance to the share of the smaller one; without, a healthy V2 at 99 % is always High.
    """

    interval: float = _HOUR
    lookback: float | None = 6 * _HOUR  # None: growing, from the start of the stage
    step: float = _MINUTE
    direction: Direction = Direction.INCREASE
    allowed_increase: float = 1.0
    passing: float = 95.0  # the thresholds have no default in the API; with one metric all behave like these
    marginal: float = 75.0
    equal_arms: bool = True

    @property
    def name(self) -> str:
        over = "the stage so far" if self.lookback is None else f"{self.lookback / _HOUR:g} h"
        every = f"every {self.interval / _MINUTE:g} min over {over} in steps of {self.step / _MINUTE:g} min"
        effect = "" if self.allowed_increase == 1 else f", allowed increase {self.allowed_increase:g}"
        arms = "" if self.equal_arms else ", all of V1"
        return f"Kayenta, {self.direction}, {every}{effect}{arms}"

    def decide(self, trace: Trace) -> Outcome:
        """What it does with every run of the trace."""
        wide = max(1, round(self.step / trace.bin_seconds))
        control, experiment = _shares(_equal_arms(trace) if self.equal_arms else trace, wide)
        outcome, going = Outcome.empty(trace.runs), np.arange(trace.runs)
        for stage in trace.stages:
            going = self._stage(stage, trace, going, (control, experiment, wide * trace.bin_seconds), outcome)
        outcome.completed[going] = trace.seconds
        return outcome

    def _stage(
        self, stage: Stage, trace: Trace, going: Indices, series: tuple[Floats, Floats, float], outcome: Outcome
    ) -> Indices:
        """Judge one stage; gives the runs that go on."""
        control, experiment, step = series
        classifier = Classifier(direction=self.direction, allowed_increase=self.allowed_increase)
        last = np.full(trace.runs, 0.0)
        for judgement in range(1, int((stage.end - stage.start) // self.interval) + 1):
            now = stage.start + judgement * self.interval
            blind = _blind(trace, going, now)
            outcome.rolled_back[going[blind]] = now + PATIENCE
            going = going[~blind]
            begin = stage.start if self.lookback is None else max(0.0, now - self.lookback)
            window = slice(round(begin / step), round(now / step))
            labels = classifier.labels(control[going, window], experiment[going, window])
            last[going] = [score([label]) for label in labels]
            failed = last[going] <= self.marginal
            outcome.rolled_back[going[failed]] = now
            going = going[~failed]
        weak = last[going] < self.passing
        outcome.rolled_back[going[weak]] = stage.end
        return going[~weak]


def _noisy(values: Floats) -> Floats:
    """Constant samples get a little noise, so that there are ranks to compare; a constant zero gets none."""
    return values + np.random.default_rng(0).normal(0.0, 1.0, len(values)) * abs(values[0]) * _NOISE


def _equal_arms(trace: Trace) -> Trace:
    """The same trace with the larger arm cut down to the smaller one's share of the executions, by chance."""
    dice = np.random.default_rng(0)
    share = np.clip(trace.percent / 100, 1e-9, 1 - 1e-9)

    def fewer(n: Counts, k: Counts, kept: Floats) -> tuple[Counts, Counts]:
        some = dice.binomial(n, np.minimum(1.0, kept))
        return some, dice.hypergeometric(k, n - k, some)

    n1, k1 = fewer(trace.n1, trace.k1, share / (1 - share))
    n2, k2 = fewer(trace.n2, trace.k2, (1 - share) / share)
    return replace(trace, n1=n1, k1=k1, n2=n2, k2=k2)


def _shares(trace: Trace, wide: int) -> tuple[Floats, Floats]:
    """Per cent of bad executions on V1 and on V2 in steps of `wide` bins; NaN without executions or scrapes."""
    whole = trace.bins // wide * wide

    def summed(counts: NDArray[np.int64]) -> NDArray[np.int64]:
        return counts[:, :whole].reshape(trace.runs, -1, wide).sum(axis=2)

    with np.errstate(divide="ignore", invalid="ignore"):
        found = tuple(100 * summed(k) / summed(n) for k, n in ((trace.k1, trace.n1), (trace.k2, trace.n2)))
    if trace.outage is not None:
        dark = trace.outage[:, :whole].reshape(trace.runs, -1, wide).any(axis=2)
        for shares in found:
            shares[dark] = np.nan
    return found[0], found[1]


def _blind(trace: Trace, runs: Indices, now: float) -> NDArray[np.bool_]:
    """Whether Prometheus answers none of the attempts that begin now."""
    if trace.outage is None:
        return np.zeros(len(runs), dtype=bool)
    first, last = (min(trace.bins - 1, int(moment // trace.bin_seconds)) for moment in (now, now + PATIENCE))
    return np.asarray(trace.outage[runs, first : last + 1].all(axis=1), dtype=np.bool_)
