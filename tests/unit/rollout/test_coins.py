"""The coin test on arrays: the same numbers as one by one, and the error level of all criteria, ages and restarts."""

from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestrator_operator.rollout.judging.comparisons import levels, planned_restarts
from orchestrator_operator.rollout.statistics import coins, evidence
from orchestrator_operator.rollout.statistics.coins import Counts
from orchestrator_operator.rollout.statistics.evidence import Cell, Cells
from orchestrator_operator.specs.rollout import RolloutSpec

PERCENTS = (Decimal(5), Decimal(25), Decimal(99))
P = np.array([float(percent) / 100 for percent in PERCENTS])
GROWTH = st.lists(  # what each of three percents' four counters grow by between two looks
    st.lists(st.integers(0, 40), min_size=12, max_size=12), min_size=2, max_size=6
)


def totals(growth: list[list[int]]) -> Counts:
    """One run's totals at each look: four arrays of shape (1, looks, 3)."""
    table = np.cumsum(np.array(growth, dtype=np.float64).reshape(1, -1, 3, 4), axis=1)
    return Counts(*(table[..., place] for place in range(4)))


def cells(counts: Counts, look: int) -> Cells:
    columns = [column[0, look] for column in (counts.bad_v1, counts.good_v1, counts.bad_v2, counts.good_v2)]
    return tuple(Cell(percent, *(int(c[i]) for c in columns)) for i, percent in enumerate(PERCENTS))


@given(GROWTH, st.sampled_from([1.0, 1.5]), st.sampled_from([1, 28]))
def test_a_path_is_the_same_evidence_look_by_look(growth: list[list[int]], tolerate: float, planned: int) -> None:
    counts = totals(growth)
    looks = len(growth)
    restarts = {1: 0, 3: looks // 2}  # the second was missed: nobody kept its totals
    path = coins.log_fail_paths(P, counts, restarts, planned, tolerate)
    for look in range(looks):
        begun = {index: cells(counts, at) for index, at in restarts.items() if at <= look}
        alone = evidence.log_fail_with_restarts(cells(counts, look), begun, planned, tolerate)
        assert path[0, look] == pytest.approx(alone, abs=1e-8)


@given(GROWTH, st.lists(st.floats(1.1, 20), min_size=6, max_size=6))
def test_each_experiment_may_have_its_own_margin(growth: list[list[int]], margins: list[float]) -> None:
    counts, looks = totals(growth), len(growth)
    together = coins.log_pass(P, counts.bad_v1[0], counts.bad_v2[0], np.array(margins[:looks]))
    alone = [evidence.log_pass(cells(counts, look), margins[look]) for look in range(looks)]
    assert together == pytest.approx(np.array(alone), abs=1e-8)


def test_evidence_beyond_all_floats_is_still_a_number() -> None:
    many = Counts(*(np.array([[count]]) for count in (1e7, 1e9, 5e7, 1e8)))
    assert math.isfinite(coins.log_fail(np.array([0.05]), many)[0])


def test_all_criteria_ages_and_restarts_together_keep_the_error_level() -> None:
    """Four stages of a week, looked at twice a day; three criteria at three ages, each bad for longer at the next."""
    level, runs, looks = 0.2, 500, 56
    spec = RolloutSpec.model_validate(
        {
            "analysis": {"falseRollback": level},
            "criteria": [
                {"name": preset, "type": "comparison", "preset": preset}
                for preset in ("failures", "first-attempt-failures", "slower-than-baseline")
            ],
        }
    )
    rng = np.random.default_rng(1)
    p = np.array([0.05, 0.25, 0.5, 0.99])
    begun = np.repeat(np.eye(4), looks // 4, axis=0)  # which coin is tossed at a look: shape (looks, 4)
    n2 = rng.binomial(400, p * begun, size=(runs, looks, 4)) * (begun > 0)
    n1 = 400 * (begun > 0) - n2
    shares = levels(spec)
    convicted = np.zeros(runs, dtype=bool)
    for criterion in spec.comparisons:
        bad1, bad2 = np.zeros_like(n1), np.zeros_like(n2)
        for age in spec.analysis.ages:
            bad1 = bad1 + rng.binomial(n1 - bad1, 0.01)
            bad2 = bad2 + rng.binomial(n2 - bad2, 0.01)
            grown = (bad1, n1 - bad1, bad2, n2 - bad2)
            counts = Counts(*(np.cumsum(column, axis=1, dtype=np.float64) for column in grown))
            restarts = {day: 2 * day - 1 for day in range(1, 28)}
            logs = coins.log_fail_paths(p, counts, restarts, planned_restarts(spec))
            convicted |= logs.max(axis=1) >= evidence.log_threshold(level, shares[criterion.name, age])
    assert 0 < convicted.mean() <= level
