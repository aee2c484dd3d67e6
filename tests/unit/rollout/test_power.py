"""What a stage can show: against simulation of the coin test itself, and in words."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from orchestrator_operator.rollout.judging.judge import judge
from orchestrator_operator.rollout.judging.power import Traffic, smallest
from orchestrator_operator.rollout.model import Health, Power
from orchestrator_operator.rollout.statistics import coins, evidence
from orchestrator_operator.rollout.statistics.coins import Counts
from orchestrator_operator.specs.rollout_status import Phase

from tests.support.rollouts import START, World, cells, cohorts, spec

THRESHOLD = evidence.log_threshold(0.01, 0.5)


def chance(traffic: Traffic, risk: float) -> float:
    """How often a week of this traffic convicts such a V2, looked at every hour."""
    rng, runs, hours = np.random.default_rng(1), 300, 168
    n = rng.poisson(traffic.executions / hours, (runs, hours))
    n2 = rng.binomial(n, traffic.share)
    k1, k2 = rng.binomial(n - n2, traffic.base), rng.binomial(n2, min(1.0, traffic.base * risk))
    counts = Counts(*(grown.cumsum(axis=1)[..., None].astype(float) for grown in (k1, n - n2 - k1, k2, n2 - k2)))
    restarts = {day: 24 * day - 1 for day in range(1, 7)}
    logs = coins.log_fail_paths(np.array([traffic.share]), counts, restarts, 28)
    return float((logs.max(axis=1) >= THRESHOLD).mean())


@pytest.mark.parametrize(
    "traffic",
    [
        Traffic(8_400, 0.05, 0.01),
        Traffic(8_400, 0.5, 0.05),
        Traffic(168_000, 0.05, 0.01),
        Traffic(168_000, 0.25, 0.001),
        Traffic(168_000, 0.99, 0.01),
    ],
)
def test_the_smallest_relative_risk_is_convicted_with_a_chance_of_80_percent(traffic: Traffic) -> None:
    found = smallest(traffic, THRESHOLD, 28)
    assert chance(traffic, found) == pytest.approx(0.8, abs=0.08)
    assert chance(traffic, 1 + 0.7 * (found - 1)) < 0.7


@pytest.mark.parametrize("traffic", [Traffic(0, 0.05, 0.01), Traffic(40, 0.05, 0.9), Traffic(1e6, 1.0, 0.01)])
def test_where_nothing_can_be_shown_the_smallest_is_infinite(traffic: Traffic) -> None:
    assert smallest(traffic, THRESHOLD, 28) == math.inf


def stage_of(rate: float, hours: float = 10, **changes: Any) -> Power | None:
    """The default plan's first week, after some hours at so many executions an hour, of which 1 % are bad."""
    plan = spec(
        stages=[{"name": "one", "percent": 5, "duration": "7d"}, {"name": "all", "percent": 100, "duration": "21d"}]
    )
    n = round(rate * hours)
    world = World(plan)
    world.cohorts = cohorts(cells("5", (round(0.0095 * n), round(0.9405 * n)), (0, round(0.05 * n))))
    began = START - timedelta(hours=hours) - plan.analysis.ages[0]
    status = world.status.model_copy(update={"phase": Phase.PROGRESSING, "stage_started_at": began})
    starts = cells("5", (0, round(0.95 * n)), (0, round(0.05 * n)))
    return judge(replace(world.gathered(), status=status, **({"starts": starts} | changes))).power


def test_at_50_executions_an_hour_5_percent_shows_only_a_large_relative_risk() -> None:
    power = stage_of(50)
    assert power is not None
    assert not power.enough
    assert power.sentence.startswith("at 50 executions/h, 5 % for 7d shows only a relative risk of about 4")


def test_at_1000_executions_an_hour_a_relative_risk_of_two_is_shown() -> None:
    power = stage_of(1000)
    assert power is not None
    assert power.enough
    assert power.sentence.startswith("at 1000 executions/h, 5 % for 7d shows a relative risk of about 1.6")


def test_a_stage_without_traffic_can_show_nothing() -> None:
    power = stage_of(0, hours=24, health=(Health("order", 0, 0, 100, 10_000),))
    assert power is not None
    assert power.smallest == math.inf
    assert "cannot show any relative risk" in power.sentence


def test_before_anybody_can_tell_there_is_no_power() -> None:
    assert stage_of(50, hours=0.5) is None


def test_the_week_before_tells_v1_s_share_at_once() -> None:
    week = {"health": (Health("order", 0, 0, 84, 8_400),), "cohorts": cohorts(cells())}
    assert stage_of(50, hours=4, cohorts=cohorts(cells())) is None
    assert stage_of(50, hours=4, **week) is not None


def test_where_everything_runs_on_v2_there_is_no_power_to_tell() -> None:
    plan = spec(stages=[{"name": "all", "percent": 100, "duration": "7d"}])
    world = World(plan)
    status = world.status.model_copy(
        update={"phase": Phase.PROGRESSING, "stage_started_at": START - timedelta(hours=10)}
    )
    starts = cells("100", v2=(0, 5000))
    assert judge(replace(world.gathered(), status=status, starts=starts)).power is None
