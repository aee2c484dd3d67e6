"""Recorded traffic as a world: V1 compared with V1 in what really happened."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from orchestrator_operator.rollout.simulation.forecast import forecast
from orchestrator_operator.rollout.simulation.history import read
from orchestrator_operator.rollout.simulation.own_traffic import OwnTraffic, Recording
from orchestrator_operator.rollout.simulation.world import FAILING, Kind, worse
from orchestrator_operator.specs.rollout import RolloutSpec, parse_rollout

from orchestrator.errors import InvalidInput

START = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
SPEC = parse_rollout(
    {"criteria": [{"name": "failures", "type": "comparison", "preset": "failures"}], "windows": {}},
)


def recording(spec: RolloutSpec = SPEC, *, hours: int = 24 * 28, n: int = 1000, k: int = 10) -> Recording:
    """Steady hours, but for the sixth of each day, in which a third of all executions fails."""
    lines = ["start,criterion,age,percent,n1,k1,n2,k2"]
    for hour in range(hours):
        start = (START + hour * HOUR).isoformat()
        bad = n // 3 if hour % 24 == 5 else k
        lines += [f"{start},failures,{age},0,{n},{bad * part // 10},0,0" for age, part in (("1m", 6), ("10m", 9))]
        lines += [f"{start},failures,24h,0,{n},{bad},0,0"]
    return Recording(read(lines, spec, "a test"), spec, length=HOUR)


def test_each_age_adds_the_kinds_that_show_there() -> None:
    rates = recording().rates[0]
    assert rates[Kind.FAILS_AT_ONCE] == pytest.approx(0.006)
    assert rates[Kind.FAILS_SOON] == pytest.approx(0.003)
    assert rates[list(FAILING)].sum() == pytest.approx(0.010)
    assert rates.sum() == pytest.approx(1.0)


def test_what_is_drawn_is_what_was_recorded_on_average() -> None:
    made = recording()
    traffic = OwnTraffic(made, made.world, 400, 24, HOUR, np.random.default_rng(1))
    counts = sum(traffic.draw(step, np.full(400, 0.25)) for step in range(24))
    on_v2 = counts[:, 1].sum() / counts.sum()
    failing = counts[:, :, list(FAILING)].sum() / counts.sum()
    assert on_v2 == pytest.approx(0.25, rel=0.02)
    assert failing == pytest.approx((23 * 0.010 + 0.333) / 24, rel=0.02)


def test_each_run_begins_at_a_moment_of_its_own_and_goes_round() -> None:
    made = recording(hours=24)
    traffic = OwnTraffic(made, made.world, 200, 48, HOUR, np.random.default_rng(1))
    bad = np.stack([traffic.rates(step)[0][:, list(FAILING)].sum(axis=1) > 0.1 for step in range(48)], axis=1)
    assert set(np.flatnonzero(bad[:, :24].any(axis=0))) == set(range(24))
    assert (bad.sum(axis=1) == 2).all()


def test_hours_that_could_not_be_read_are_blind() -> None:
    lines = ["start,criterion,age,percent,n1,k1,n2,k2"]
    for hour in range(10):
        counts = ",,," if hour == 4 else "100,1,0,0"
        lines.append(f"{(START + hour * HOUR).isoformat()},failures,10m,0,{counts}")
    made = Recording(read(lines, SPEC, "a test"), SPEC, length=HOUR)
    assert np.flatnonzero(made.blind).tolist() == [4]
    assert made.world.load == pytest.approx(100)


def test_without_counts_of_v1_there_is_nothing_to_compare_it_with() -> None:
    lines = ["start,criterion,age,percent,n1,k1,n2,k2", f"{START.isoformat()},failures,10m,100,0,0,50,1"]
    with pytest.raises(InvalidInput, match="no counts of V1's failures"):
        Recording(read(lines, SPEC, "a test"), SPEC, length=HOUR)


def test_v1_is_not_rolled_back_for_its_own_bad_hours_and_a_worse_v2_is() -> None:
    made = recording()
    found = forecast(SPEC, made.world, runs=200, seed=1, recording=made)
    assert found.healthy.rolled_back.count <= 4
    assert found.harmful[5.0].rolled_back.count == 200
    assert found.harmful[5.0].hours.median < found.harmful[2.0].hours.median


def test_a_harm_of_the_world_is_done_to_v2_alone() -> None:
    made = recording()
    world = made.world.__class__(name="harmed", harm=worse(3.0))
    traffic = OwnTraffic(made, world, 10, 24, HOUR, np.random.default_rng(1))
    v1, v2 = traffic.rates(0)
    calm = v1[:, Kind.FAILS_AT_ONCE] < 0.1
    assert v2[calm, Kind.FAILS_AT_ONCE] == pytest.approx(3 * v1[calm, Kind.FAILS_AT_ONCE])
