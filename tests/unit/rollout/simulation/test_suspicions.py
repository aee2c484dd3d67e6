"""The running sum over restarts is the coin test of evidence.py."""

from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from orchestrator_operator.rollout.simulation.suspicions import Suspicions
from orchestrator_operator.rollout.statistics import evidence
from orchestrator_operator.rollout.statistics.evidence import Cell

PERCENTS = [Decimal(percent) for percent in ("5", "25", "99", "100")]
COUNTS = st.tuples(st.integers(0, 60), st.integers(0, 3000), st.integers(0, 40), st.integers(0, 900))
DAYS = st.lists(st.tuples(st.integers(0, 3), COUNTS), min_size=1, max_size=8)


def whole(history: list[tuple[int, tuple[int, int, int, int]]]) -> evidence.Cells:
    """The totals of a history, as the controller keeps them."""
    found = {place: [0, 0, 0, 0] for place, _ in history}
    for place, counts in history:
        found[place] = [sum(pair) for pair in zip(found[place], counts, strict=True)]
    return tuple(Cell(PERCENTS[place], *counts) for place, counts in sorted(found.items()))


@given(st.lists(DAYS, min_size=1, max_size=4), st.sampled_from([1.0, 1.3]), st.integers(1, 6))
@settings(max_examples=60)
def test_it_is_the_evidence_with_restarts_of_each_run(
    runs: list[list[tuple[int, tuple[int, int, int, int]]]], tolerate: float, planned: int
) -> None:
    sums = Suspicions(len(runs), 1, PERCENTS, planned, tolerate)
    for day in range(max(len(history) for history in runs)):
        going = np.array([day < len(history) for history in runs])
        if day:
            sums.restart(day, going)
        today = [history[day] if day < len(history) else (0, (0, 0, 0, 0)) for history in runs]
        columns = np.array([[place, *counts] for place, counts in today])
        sums.add(*(columns[:, [column]] for column in range(5)))
    for run, history in enumerate(runs):
        restarts = {day: whole(history[:day]) for day in range(1, len(history))}
        expected = evidence.log_fail_with_restarts(whole(history), restarts, planned, tolerate)
        assert sums.log_e()[run, 0] == pytest.approx(expected, abs=1e-6)


@given(st.lists(COUNTS, min_size=1, max_size=20), st.floats(0, 8))
@settings(max_examples=40)
def test_it_is_reached_where_the_evidence_is_at_the_threshold_or_above(
    counts: list[tuple[int, int, int, int]], threshold: float
) -> None:
    sums = Suspicions(len(counts), 1, PERCENTS, 28)
    columns = np.array(counts)
    sums.add(np.ones((len(counts), 1), dtype=np.int64), *(columns[:, [column]] for column in range(4)))
    assert (sums.reached(np.array([threshold])) == (sums.log_e() >= threshold)).all()


def test_without_data_nothing_is_suspected() -> None:
    assert Suspicions(2, 3, PERCENTS, 28).log_e() == pytest.approx(np.zeros((2, 3)), abs=1e-12)


def test_when_all_weight_has_begun_nothing_waits() -> None:
    sums = Suspicions(1, 1, PERCENTS, 1)
    for index in range(1, 400):
        sums.restart(index, np.ones(1, dtype=np.bool_))
    assert math.isfinite(sums.log_e()[0, 0])
