"""The cases that the controller and the re-statement both judge: a bin is a second, so that minutes show weeks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.benchmarks.rollout.argo.exporter import METRIC
from tests.benchmarks.rollout.rivals.argo import Condition, Metric
from tests.benchmarks.rollout.rivals.prometheus import Measure
from tests.benchmarks.rollout.trace import HOUR, Trace, coins

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

SECONDS = 420  # of the replay
WINDOW, INTERVAL = 4.0, 2.0
_A_SECOND = 100  # executions on each engine
_ENOUGH, _TOO_LITTLE = Condition(">=", 0.95), Condition("<", 0.95)


@dataclass(frozen=True, slots=True)
class Case:
    """One AnalysisRun: what it measures, how often, and what V2 does meanwhile."""

    name: str
    trace: Trace
    metric: Metric
    count: int | None = None
    endless: bool = False  # it has no end of its own, and is terminated as the last one
    series: bool = True  # whether the counters are there at all
    outage: float | None = None  # seconds for which Prometheus is stopped, soon after the start

    def counts(self) -> dict[str, dict[str, list[int]]]:
        """What the exporter replays."""
        one = self.trace
        engines = (("v1", one.n1, one.k1), ("v2", one.n2, one.k2))
        return {name: {"bad": k[0].tolist(), "good": (n - k)[0].tolist()} for name, n, k in engines}

    def manifest(self, prometheus: str) -> dict[str, Any]:
        """The AnalysisRun. Every measurement is kept: by default ten are."""
        metric = self.metric
        conditions = {"successCondition": metric.success, "failureCondition": metric.failure}
        limits = {
            "failureLimit": metric.failure_limit,
            "inconclusiveLimit": metric.inconclusive_limit,
            "consecutiveErrorLimit": metric.consecutive_error_limit,
        }
        measured = {
            "name": self.name,
            "interval": f"{metric.interval:g}s",
            **{key: condition.text for key, condition in conditions.items() if condition is not None},
            **limits,
            **({} if self.count is None else {"count": self.count}),
            "provider": {"prometheus": {"address": prometheus, "query": self.query()}},
        }
        return {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "AnalysisRun",
            "metadata": {"name": self.name, "namespace": "default"},
            "spec": {"metrics": [measured], "measurementRetention": [{"metricName": self.name, "limit": SECONDS}]},
        }

    def query(self) -> str:
        """PromQL for the metric's measure."""

        def grown(engine: str, outcome: str) -> str:
            labels = f'case="{self.name}",engine="{engine}"' + (f',outcome="{outcome}"' if outcome else "")
            return f"sum(increase({METRIC}{{{labels}}}[{self.metric.window:g}s]))"

        if self.metric.measure is Measure.SUCCESS_SHARE:
            return f"{grown('v2', 'good')} / {grown('v2', '')}"
        v1, v2 = (f"{grown(engine, 'bad')} / {grown(engine, '')}" for engine in ("v1", "v2"))
        return f"({v2}) / ({v1})"


def all_cases() -> tuple[Case, ...]:
    """Each way in which an AnalysisRun can end; those with an outage come last."""
    healthy, quiet = _trace(1), _trace(0, load=0)
    worse_later = _trace(1, (24, SECONDS, 10))
    # Eight seconds of every twenty: the window sees some four bad measurements, then forgets them. Argo does not.
    bursts = _trace(1, *((first, first + 8, 20) for first in range(10, SECONDS - 20, 20)))
    between = _trace(7)
    share = _metric()
    ratio = _metric(measure=Measure.RISK_RATIO, success=Condition("<=", 3))
    return (
        Case("healthy", healthy, share, count=8),
        Case("healthy-without-a-count", healthy, share, endless=True),
        Case("worse-from-the-start", _trace(10), _metric(failure_limit=3), count=20),
        Case("worse-later", worse_later, _metric(failure_limit=3), count=20),
        Case("bursts-that-are-over", bursts, _metric(failure_limit=8)),
        Case("bursts-within-the-limit", bursts, _metric(failure_limit=10), count=12),
        Case("ratio-healthy", healthy, ratio, count=5),
        Case("ratio-ten-times-worse", _trace(10), ratio, count=5),
        Case(
            "by-chance-healthy",
            _by_chance(1.0, seed=1),
            _metric(success=Condition(">=", 0.92), failure_limit=3),
            count=20,
        ),
        Case("by-chance-twice-as-bad", _by_chance(2.0, seed=2), _metric(failure_limit=3), count=20),
        Case("by-chance-five-times-later", _by_chance(5.0, seed=3, onset=26.0), _metric(failure_limit=3), count=20),
        Case("no-traffic", quiet, share, count=5),
        Case("no-traffic-failure-condition", quiet, _metric(success=None, failure=_TOO_LITTLE), count=5),
        Case("no-traffic-both-conditions", quiet, _metric(failure=_TOO_LITTLE), count=5),
        Case("no-traffic-allowed", quiet, _metric(success=Condition(">=", 0.95, or_nan=True)), count=5),
        Case("no-traffic-no-condition", quiet, _metric(success=None), count=5),
        Case("between-the-conditions", between, _metric(failure=Condition("<", 0.9), inconclusive_limit=2), count=9),
        Case("no-series", quiet, share, count=5, series=False),
        Case("outage-of-25-seconds", healthy, share, count=9, outage=25.0),
        Case("outage-of-a-minute", healthy, share, count=9, outage=60.0),
    )


def _metric(**changes: Any) -> Metric:
    return Metric(**({"window": WINDOW, "interval": INTERVAL, "success": _ENOUGH} | changes))


def _trace(bad: int, *spells: Sequence[int], load: int = _A_SECOND) -> Trace:
    """V2 has `bad` failures a second, and in each spell (first second, end, failures) so many; V1 has one."""
    n = np.full((1, SECONDS), load, dtype=np.int64)
    k2: NDArray[np.int64] = np.full((1, SECONDS), bad, dtype=np.int64)
    for first, end, failures in spells:
        k2[:, first:end] = failures
    k1 = np.minimum(n, 1)
    return Trace("replayed", 1.0, np.full(SECONDS, 50.0), n1=n, k1=k1, n2=n, k2=k2)


def _by_chance(effect: float, *, seed: int, onset: float = 0.0) -> Trace:
    """The plainest of the simulated worlds: half of a hundred executions a second on V2, 3 % of them bad on V1."""
    percent = np.full(SECONDS, 50.0)
    return coins(percent, 1.0, runs=1, per_hour=100 * HOUR, base=0.03, effect=effect, onset=onset, seed=seed)
