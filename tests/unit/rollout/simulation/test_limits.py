"""What no rule can do better: against the divergences themselves, and in traffic that is not always the same."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from orchestrator_operator.rollout.simulation.limits import (
    coin_information,
    information,
    limit_hours,
    own_limit_hours,
)
from orchestrator_operator.rollout.simulation.traffic import Traffic
from orchestrator_operator.rollout.simulation.world import World, worse
from orchestrator_operator.specs.rollout import RolloutSpec

SPEC = RolloutSpec()
STILL = World("still", daily=0, odds=0, incidents=0, tenant_incidents=0, batches=0, stalls=0, missed=0, harm=worse(3.0))
HALF_HOUR = timedelta(minutes=30)


def traffic(world: World, runs: int = 2) -> Traffic:
    return Traffic(world, runs, 28 * 48, HALF_HOUR, np.random.default_rng(1))


def test_twice_the_failures_at_5_percent_need_a_day_whatever_the_rule() -> None:
    assert limit_hours(1000, 0.01, 5, 2, 0.01) == pytest.approx(23.8, abs=0.1)


def test_the_limit_is_the_divergence_of_the_coin_and_of_the_extra_failures() -> None:
    p, r, rate = 0.25, 3.0, 20.0  # failures of V1 an hour, if it had everything
    q, all_of_them = p * r / (p * r + 1 - p), rate * (1 - p + p * r)
    coin = q * math.log(q / p) + (1 - q) * math.log((1 - q) / (1 - p))
    extra = all_of_them * math.log(all_of_them / rate) - all_of_them + rate
    expected = math.log(100) / (all_of_them * coin + extra)
    assert limit_hours(1000, 0.02, 25, r, 0.01) == pytest.approx(expected)
    assert rate * coin_information(25, r) == pytest.approx(all_of_them * coin)


def test_the_coin_alone_knows_less_and_at_half_of_the_traffic_less_than_half() -> None:
    assert coin_information(5, 2) > 0.9 * information(5, 2)
    assert coin_information(50, 2) < 0.5 * information(50, 2)


def test_in_traffic_that_is_always_the_same_the_own_limit_is_the_limit() -> None:
    found = own_limit_hours(traffic(STILL), SPEC, 3.0, math.log(200))
    expected = limit_hours(1000, 0.0085, 5, 3.0, 0.01, 0.5)
    assert found == pytest.approx(np.full(2, expected))


def test_a_late_onset_is_counted_at_the_percent_of_its_week() -> None:
    late = replace(STILL, harm=worse(3.0, timedelta(days=10)))
    found = own_limit_hours(traffic(late), SPEC, 3.0, math.log(200))
    assert found == pytest.approx(np.full(2, limit_hours(1000, 0.0085, 25, 3.0, 0.01, 0.5)))


def test_where_the_plan_is_over_before_it_is_infinite() -> None:
    few = replace(STILL, load=0.01)
    assert np.isinf(own_limit_hours(traffic(few), SPEC, 3.0, math.log(200))).all()


def test_an_hour_in_which_more_comes_says_more() -> None:
    swinging = traffic(replace(STILL, daily=0.5), runs=40)
    found = own_limit_hours(swinging, SPEC, 3.0, math.log(200))
    assert found.min() < limit_hours(1000, 0.0085, 5, 3.0, 0.01, 0.5) < found.max()
