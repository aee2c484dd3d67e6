"""The relative risk's interval is the likelihood's own, and covers the truth at every look at once."""

from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestrator_operator.report.risk import interval, relative_risk
from orchestrator_operator.rollout.statistics.evidence import Cell
from scipy import stats

counts = st.integers(0, 400)


def cell(bad_v1: int, bad_v2: int, percent: str = "25", good_v1: int = 3000, good_v2: int = 1000) -> Cell:
    return Cell(Decimal(percent), bad_v1, good_v1, bad_v2, good_v2)


def share(psi: float, p: float) -> float:
    """The probability that a bad execution is V2's."""
    return p * psi / (p * psi + 1 - p)


@pytest.mark.parametrize(("k1", "k2", "percent"), [(100, 5, "5"), (30, 12, "25"), (7, 9, "50"), (1, 300, "99")])
def test_its_ends_are_where_the_mixture_is_twenty_times_as_likely(k1: int, k2: int, percent: str) -> None:
    """The oracle: scipy's beta-binomial against its binomial."""
    ends = interval(cell(k1, k2, percent), 0.95)
    assert ends is not None
    mixture = stats.betabinom.logpmf(k2, k1 + k2, 0.5, 0.5)
    for psi in ends:
        coin = stats.binom.logpmf(k2, k1 + k2, share(psi, float(percent) / 100))
        assert mixture - coin == pytest.approx(math.log(20), abs=1e-6)


@given(counts, counts, st.sampled_from(["0.5", "5", "50", "99"]))
def test_it_holds_the_relative_risk_that_the_coins_say(k1: int, k2: int, percent: str) -> None:
    found = interval(cell(k1, k2, percent))
    if not k1 + k2:
        assert found is None
        return
    p = float(percent) / 100
    said = math.inf if not k1 else k2 / k1 * (1 - p) / p
    assert found is not None
    assert found[0] <= said * (1 + 1e-9)
    assert said * (1 - 1e-9) <= found[1]


def test_it_covers_the_truth_at_every_look_of_most_rollouts() -> None:
    """2,000 rollouts of V2 with twice the risk, looked at after each of 200 bad executions."""
    psi, p, looks = 2.0, 0.25, 200
    tosses = np.random.default_rng(3).random((2000, looks)) < share(psi, p)
    k2 = tosses.cumsum(axis=1)
    k = np.arange(1, looks + 1)
    mixture = stats.betabinom.logpmf(k2, k, 0.5, 0.5)
    missed = (mixture - stats.binom.logpmf(k2, k, share(psi, p)) > math.log(20)).any(axis=1)
    assert missed.mean() <= 0.05
    last = [interval(cell(looks - int(n), int(n), "25")) for n in k2[:100, -1]]
    assert np.mean([low <= psi <= high for low, high in filter(None, last)]) >= 0.95


@pytest.mark.parametrize("percent", ["0", "100"])
def test_where_no_coin_is_tossed_there_is_none(percent: str) -> None:
    assert interval(cell(10, 10, percent)) is None


def test_the_relative_risk_is_a_ratio_of_shares() -> None:
    assert relative_risk(Cell(Decimal(25), 10, 990, 10, 490)) == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("counted", "ratio"),
    [
        (Cell(Decimal(5), 0, 100, 1, 9), math.inf),
        (Cell(Decimal(5), 0, 100, 0, 10), None),
        (Cell(Decimal(5), 1, 100), None),
    ],
    ids=["V1 had none", "nobody had any", "V2 had nothing at all"],
)
def test_it_says_when_it_cannot_be_known(counted: Cell, ratio: float | None) -> None:
    assert relative_risk(counted) == ratio
