"""Golden cases of Flagger: what its scheduler does at each interval."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.benchmarks.rollout.rivals.flagger import Flagger
from tests.benchmarks.rollout.rivals.prometheus import Measure
from tests.benchmarks.rollout.trace import Trace

MINUTE = 60.0
NEVER = math.inf


def trace(bad: list[int], n: int = 100, dark: list[int] | None = None) -> Trace:
    """One run with that many of `n` executions bad on V2 in each minute."""
    outage = np.zeros((1, len(bad)), dtype=bool)
    outage[0, dark or []] = True
    all_ = np.full((1, len(bad)), n)
    return Trace("t", MINUTE, np.full(len(bad), 5.0), n1=all_, k1=all_ * 0, n2=all_, k2=np.array([bad]), outage=outage)


def ended(rule: Flagger, data: Trace) -> tuple[float, float]:
    """Minutes until the rollback and until the end."""
    outcome = rule.decide(data)
    assert np.isinf(outcome.held).all()
    return float(outcome.rolled_back[0] / MINUTE), float(outcome.completed[0] / MINUTE)


def test_the_rollback_comes_one_interval_after_the_check_that_was_too_many() -> None:
    assert ended(Flagger(threshold=2), trace([0, 5, 0, 5, 0, 0])) == (5.0, NEVER)


def test_a_passed_check_takes_no_failed_one_away() -> None:
    assert ended(Flagger(threshold=3), trace([5, 0, 0, 0, 5, 0, 0, 0, 5, 0])) == (10.0, NEVER)


def test_by_default_one_failed_check_is_too_many() -> None:
    assert ended(Flagger(), trace([0, 2, 0, 0])) == (3.0, NEVER)


def test_below_the_threshold_it_goes_on() -> None:
    assert ended(Flagger(threshold=2), trace([0, 5, 0, 0])) == (NEVER, 4.0)


def test_a_check_that_fails_at_the_end_does_not_promote() -> None:
    assert ended(Flagger(threshold=2), trace([0, 0, 0, 5])) == (NEVER, NEVER)


def test_a_success_share_at_the_threshold_passes() -> None:
    assert ended(Flagger(), trace([1, 1, 1])) == (NEVER, 3.0)


def test_no_traffic_is_a_failed_check() -> None:
    assert ended(Flagger(threshold=3), trace([0] * 6, n=0)) == (4.0, NEVER)


def test_an_outage_of_prometheus_is_a_failed_check_each_time() -> None:
    assert ended(Flagger(threshold=3), trace([0] * 9, dark=[3, 4, 5])) == (6.0, NEVER)


def test_an_infinite_ratio_is_a_failed_check() -> None:
    rule = Flagger(measure=Measure.RISK_RATIO, check=Flagger().check.__class__("<=", 2.0))
    assert ended(rule, trace([1, 1, 1])) == (2.0, NEVER)


def test_it_checks_every_ten_seconds_at_most() -> None:
    with pytest.raises(ValueError, match="ten seconds"):
        Flagger(interval=5)
