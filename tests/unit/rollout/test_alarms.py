"""What is wrong with the experiment itself: sample ratio, A/A, shared degradation."""

from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestrator_operator.rollout.judging import calibration, degradation, sample_ratio
from orchestrator_operator.rollout.model import Health
from orchestrator_operator.rollout.statistics import evidence
from orchestrator_operator.rollout.statistics.evidence import Cell, Cells
from scipy import integrate, stats

PLANNED = tuple(Decimal(percent) for percent in (5, 25, 50, 100))


def starts(percent: float, n1: int, n2: int) -> Cells:
    return (Cell(Decimal(str(percent)), good_v1=n1, good_v2=n2),)


# -- sample ratio


@given(st.sampled_from([0.05, 0.25, 0.5]), st.integers(0, 60), st.integers(0, 60))
def test_the_sample_ratio_s_evidence_is_the_mixture_over_its_prior(p: float, n1: int, n2: int) -> None:
    prior = stats.beta(100 * p, 100 * (1 - p))
    expected, _ = integrate.quad(
        lambda x: math.exp(n2 * math.log(x / p) + n1 * math.log((1 - x) / (1 - p))) * prior.pdf(x), 0, 1, limit=200
    )
    assert sample_ratio.log_evidence(p, n1, n2) == pytest.approx(math.log(expected), abs=1e-5)


def test_a_fair_coin_alarms_no_more_often_than_promised_however_often_one_looks() -> None:
    on_v2 = np.cumsum(np.random.default_rng(1).random((2000, 50)) < 0.05, axis=1)
    logs = np.array([[sample_ratio.log_evidence(0.05, n + 1 - k, k) for n, k in enumerate(run)] for run in on_v2])
    assert (logs.max(axis=1) >= math.log(20)).mean() <= 0.05 + 3 * math.sqrt(0.05 / 2000)


def test_a_share_that_is_not_the_one_asked_for_raises_the_alarm_with_its_numbers() -> None:
    alarm = sample_ratio.alarm(starts(5, 9300, 700), PLANNED)
    assert alarm is not None
    assert alarm.reason == "SampleRatioMismatch"
    assert "at 5 % V2 got 700 of 10000 starts (7 %), where about 500" in alarm.sentence


@pytest.mark.parametrize("found", [(), starts(5, 9500, 500), starts(5, 0, 0), starts(0, 500, 0), starts(100, 0, 500)])
def test_a_share_as_asked_for_raises_none(found: Cells) -> None:
    assert sample_ratio.alarm(found, PLANNED) is None


@pytest.mark.parametrize("found", [starts(0, 500, 1), starts(100, 1, 500)])
def test_what_no_coin_can_have_done_raises_the_alarm_at_once(found: Cells) -> None:
    alarm = sample_ratio.alarm(found, PLANNED)
    assert alarm is not None
    assert "evidence infinite" in alarm.sentence


def test_a_mismatch_of_one_stage_is_seen_beside_fair_others() -> None:
    assert sample_ratio.alarm((*starts(5, 950_000, 50_000), *starts(25, 8000, 2000)), PLANNED) is not None


def test_coins_that_are_still_to_come_have_their_share_of_the_error_level() -> None:
    found = starts(5, 917, 83)
    assert math.log(1000) < sample_ratio.log_evidence(0.05, 917, 83) < math.log(4000)
    assert sample_ratio.alarm(found, PLANNED[:1]) is not None
    assert sample_ratio.alarm(found, PLANNED) is None


# -- A/A


def test_v1_against_v1_raises_no_alarm() -> None:
    assert calibration.alarm((Cell(Decimal(5), 95, 9405, 5, 495),)) is None


@pytest.mark.parametrize("bad", [(20, 90), (95, 0)])
def test_v1_that_differs_from_v1_raises_the_alarm_whichever_part_is_worse(bad: tuple[int, int]) -> None:
    found = (Cell(Decimal(50), bad[0], 4000, bad[1], 4000),)
    alarm = calibration.alarm(found)
    assert alarm is not None
    assert alarm.reason == "NotCalibrated"


@given(st.integers(0, 50), st.integers(0, 50), st.sampled_from([5, 50]))
def test_a_a_is_the_mean_of_the_coin_test_s_evidence_for_either_side(one: int, other: int, percent: int) -> None:
    cells, mirrored = (Cell(Decimal(percent), one, 99, other, 9),), (Cell(Decimal(100 - percent), other, 9, one, 99),)
    expected = (math.exp(evidence.log_fail(cells)) + math.exp(evidence.log_fail(mirrored))) / 2
    assert calibration.log_evidence(cells) == pytest.approx(math.log(expected))


# -- shared degradation

WEEK = 168


def health(now: tuple[int, int], before: tuple[int, int], name: str = "order") -> Health:
    return Health(name, *now, *before)


def test_v1_three_times_as_bad_as_before_raises_the_alarm_and_says_it_is_a_heuristic() -> None:
    alarm = degradation.alarm((health((90, 1000), (30 * WEEK, 1000 * WEEK)),))
    assert alarm is not None
    assert alarm.reason == "SharedDegradation"
    assert "90 of 1000 (9 %) of order were bad, where the week before lets one expect 30" in alarm.sentence
    assert "heuristic" in alarm.sentence


@pytest.mark.parametrize(
    ("now", "before"),
    [
        ((200, 1000), (100 * WEEK, 1000 * WEEK)),  # twice, not more
        ((19, 1000), (1, 1000 * WEEK)),  # fewer than twenty
        ((21, 1000), (10 * WEEK, 1000 * WEEK)),  # twice by chance: it happens every few weeks
        ((500, 500), (0, 0)),  # no history
        ((0, 0), (10, 1000)),
    ],
)
def test_what_is_not_far_beyond_twice_the_share_raises_none(now: tuple[int, int], before: tuple[int, int]) -> None:
    assert degradation.alarm((health(now, before),)) is None


def test_many_small_workflows_that_all_got_worse_raise_it_together() -> None:
    alarm = degradation.alarm(tuple(health((8, 100), (WEEK, 100 * WEEK), f"w{n}") for n in range(10)))
    assert alarm is not None
    assert "80 of 1000 (8 %) of all workflows" in alarm.sentence


def test_one_workflow_that_got_worse_is_seen_among_many_healthy_ones() -> None:
    calm = health((1000, 100_000), (1000 * WEEK, 100_000 * WEEK), "calm")
    alarm = degradation.alarm((calm, health((60, 100), (WEEK, 100 * WEEK), "sick")))
    assert alarm is not None
    assert "of sick were bad" in alarm.sentence


def test_a_new_mix_of_workflows_is_no_degradation() -> None:
    """The fragile workflow, once rare, now has most of the traffic; each is as it was."""
    solid, fragile = health((1, 100), (900 * WEEK // 100, 900 * WEEK), "solid"), (20 * WEEK, 100 * WEEK)
    assert degradation.alarm((solid, health((180, 900), fragile, "fragile"))) is None


def test_in_four_healthy_weeks_an_hour_hardly_ever_alarms() -> None:
    """At the load where twenty come by chance most easily: about ten bad ones an hour."""
    hours = np.random.default_rng(2).poisson(9.5, 30 * 28 * 24)
    counts = np.unique(hours).tolist()
    alarming = [bad for bad in counts if degradation.alarm((health((bad, 950), (1596, 950 * WEEK)),))]
    assert int(np.isin(hours, alarming).sum()) == 0
    assert (hours > 19).sum() > 30  # the plain rule alarms in more than every rollout
