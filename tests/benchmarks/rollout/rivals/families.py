"""Settings of the rivals, from the hasty to the patient: to find the best that keeps a rate of false rollbacks.

Thresholds of a success share must fit the base rate of failures, so `base` is an argument: the rivals are tuned with a
knowledge that their users do not have.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

from tests.benchmarks.rollout.rivals.argo import Argo, Condition, Metric
from tests.benchmarks.rollout.rivals.flagger import Flagger
from tests.benchmarks.rollout.rivals.kayenta import Kayenta
from tests.benchmarks.rollout.rivals.prometheus import Measure

if TYPE_CHECKING:
    from tests.benchmarks.rollout.rivals.outcome import Rule

_MINUTE, _HOUR = 60.0, 3600.0
_STAGE = 7 * 24 * _HOUR
_TIMES = (1.5, 2.0, 3.0, 5.0)  # of the base rate, or of V1's share
_LIMITS = (0, 3, 10, 30, 100)
_WINDOWS = (15 * _MINUTE, _HOUR, 6 * _HOUR, 24 * _HOUR)


def as_documented() -> list[Rule]:
    """One setting of each, as their documentation has it, at intervals that suit a rollout of weeks."""
    hourly = Metric(window=_HOUR, interval=_HOUR, failure_limit=3)
    quarter = Metric(window=15 * _MINUTE, interval=15 * _MINUTE, failure_limit=3)
    return [
        Argo(hourly),
        Argo(quarter, background=True),
        Flagger(interval=15 * _MINUTE, window=15 * _MINUTE, threshold=10),
        Kayenta(step=15 * _MINUTE),
    ]


def argo(base: float, *, background: bool) -> list[Rule]:
    """Both measures, windows, thresholds and limits; no data counts as good, and errors never abort.

    Inline, a limit must not be above the number of measurements that a stage of the default plan has.
    """
    found: list[Rule] = []
    for (measure, condition), window, limit in product(_conditions(base), _WINDOWS, _LIMITS):
        if not background and limit > _STAGE / window:
            continue
        metric = Metric(measure, window, window, success=condition, failure_limit=limit, consecutive_error_limit=_NEVER)
        found.append(Argo(metric, background=background))
    return found


def flagger(base: float) -> list[Rule]:
    """The same for Flagger, where no data is a failed check whatever one sets."""
    return [
        Flagger(measure, condition, window, window, limit + 1)
        for (measure, condition), window, limit in product(_conditions(base), _WINDOWS, _LIMITS)
    ]


def kayenta() -> list[Rule]:
    """Look-backs, intervals and effect sizes: the test's own level cannot be set."""
    looks = (  # interval and look-back; an hourly look at a whole stage takes long to compute and gives no more
        (_HOUR, 6 * _HOUR),
        (_HOUR, 24 * _HOUR),
        (6 * _HOUR, 6 * _HOUR),
        (6 * _HOUR, 24 * _HOUR),
        (6 * _HOUR, None),
        (24 * _HOUR, 24 * _HOUR),
        (24 * _HOUR, None),
    )
    return [
        Kayenta(interval=interval, lookback=lookback, step=15 * _MINUTE, allowed_increase=increase)
        for (interval, lookback), increase in product(looks, (1.0, 1.5, 2.0, 3.0))
    ]


_NEVER = 10**9


def _conditions(base: float) -> list[tuple[Measure, Condition]]:
    shares = [(Measure.SUCCESS_SHARE, Condition(">=", 1 - base * times, or_nan=True)) for times in _TIMES]
    return shares + [(Measure.RISK_RATIO, Condition("<=", times, or_nan=True)) for times in _TIMES]
