"""Golden cases of Kayenta: from its own test suites, and from R, which it follows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tests.benchmarks.rollout.rivals.kayenta import PATIENCE, Classifier, Direction, Kayenta, Label, score
from tests.benchmarks.rollout.rivals.mann_whitney import AllTied, Shift, clearly_above, standardised
from tests.benchmarks.rollout.trace import HOUR, Trace, coins

NEVER = math.inf
# kayenta-mannwhitney's test "Tie out with R Version": two samples of 90, as value: how many.
CONTROL = {1.5: 2, 2: 16, 2.5: 18, 3: 16, 3.5: 10, 4: 8, 4.5: 4, 5: 6, 5.5: 2, 6: 5, 8: 1, 15.5: 1, 54.5: 1}
EXPERIMENT = {1.5: 9, 2: 16, 2.5: 22, 3: 17, 3.5: 9, 4: 5, 4.5: 1, 5: 3, 5.5: 1, 6: 2, 6.5: 2, 7: 1, 7.5: 1, 16.5: 1}
samples = st.lists(st.integers(0, 6).map(float), min_size=3, max_size=12).map(np.array)


def sample(counts: dict[float, int]) -> np.ndarray:
    return np.repeat(np.array(list(counts), dtype=np.float64), list(counts.values()))


def test_the_interval_is_rs() -> None:
    found = Shift(sample(EXPERIMENT), sample(CONTROL), 0.95)
    assert found.lower == pytest.approx(-0.500002521696696, abs=1e-6)
    assert found.upper == pytest.approx(-3.486287505871302e-5, abs=1e-6)
    assert found.estimate == pytest.approx(-0.4999393907180323, abs=1e-4)


@given(samples, samples)
def test_the_rank_sum_is_the_one_whose_level_scipy_gives(first: np.ndarray, second: np.ndarray) -> None:
    if len(np.unique(np.concatenate([first, second]))) == 1:
        return
    expected = stats.mannwhitneyu(first, second, method="asymptotic", use_continuity=True).pvalue
    z = abs(standardised(0.0, first, np.sort(second)))
    assert min(1.0, 2 * stats.norm.sf(z)) == pytest.approx(min(1.0, expected), rel=1e-9)


def test_all_ties_have_no_interval() -> None:
    with pytest.raises(AllTied):
        standardised(0.0, np.ones(3), np.ones(2))


def test_the_estimate_of_a_shift_is_near_the_median_of_all_differences() -> None:
    dice = np.random.default_rng(5)
    first, second = dice.normal(3, 1, 40), dice.normal(0, 1, 60)
    differences = np.median(first[:, None] - second[None, :])
    assert Shift(first, second, 0.98).estimate == pytest.approx(differences, abs=0.01)


@pytest.mark.parametrize(
    ("experiment", "control", "direction", "expected"),
    [
        ([10.0] * 5, [1.0] * 5, "either", Label.HIGH),  # Tied Ranks
        ([10.0] * 5, [0.0] * 5, "either", Label.HIGH),  # Tied Ranks With Zeros
        ([1.0] * 3, [1.0] * 2, "decrease", Label.PASS),  # Tied Observations
        ([1.0, 1.0, 1.0, 1.0, 10.0], [1.0] * 5, "either", Label.PASS),  # Majority Tied Observations
        ([1.0, 2.0, 3.0, 4.0, 5.0], [5.0, 4.0, 3.0, 2.0, 1.0], "decrease", Label.PASS),  # Identical Populations
        ([0.0, 1.0, 1.0, 1.0, 1.0], [1.0] * 5, "decrease", Label.PASS),  # Leading Zero Identical Population
        ([54.9, 54.5, 55.1, 55.6, 57.4], [0.0] * 5, "either", Label.HIGH),  # Zero Mean: High Metric
        ([0.0] * 5, [54.9, 54.5, 55.1, 55.6, 57.4], "either", Label.LOW),  # Zero Mean: Low Metric
        ([0.0] * 5, [54.9, 54.5, 55.1, 55.6, 57.4], "increase", Label.PASS),
        ([20.0, 22.0, 21.0, 25.0, 30.0], [1.0, 2.2, 1.1, 2.5, 3.0], "either", Label.HIGH),
        ([20.0, 22.0, 21.0, 25.0, 30.0], [1.0, 2.2, 1.1, 2.5, 3.0], "decrease", Label.PASS),
        ([], [1.0, 2.0], "either", Label.NODATA),  # Missing Experiment Data
    ],
)
def test_the_classifier_says_what_kayentas_own_tests_say(
    experiment: list[float], control: list[float], direction: str, expected: Label
) -> None:
    classifier = Classifier(tolerance=0.1, confidence=0.95, direction=Direction(direction))
    assert classifier.label(np.array(control), np.array(experiment)) is expected


def test_a_difference_below_the_allowed_increase_passes() -> None:
    """Critical Effect Size: Pass, in Kayenta's tests: the means differ by a factor of twelve."""
    classifier = Classifier(tolerance=0.1, confidence=0.95, allowed_increase=13.0)
    control, experiment = np.array([1.0, 2.2, 1.1, 2.5, 3.0]), np.array([20.0, 22.0, 21.0, 25.0, 30.0])
    assert classifier.label(control, experiment) is Label.PASS


def _padded(values: np.ndarray) -> np.ndarray:
    return np.pad(values, (0, 12 - len(values)), constant_values=np.nan)


@settings(max_examples=50)
@given(st.lists(st.tuples(samples, samples), min_size=1, max_size=4), st.sampled_from(Direction))
def test_many_rows_are_labelled_as_each_one_alone(
    rows: list[tuple[np.ndarray, np.ndarray]], direction: Direction
) -> None:
    classifier = Classifier(direction=direction)
    padded = [np.array([_padded(one) for one in side]) for side in zip(*rows, strict=True)]
    alone = [classifier.label(control, experiment) for control, experiment in rows]
    assert classifier.labels(*padded) == [Label.PASS if label is Label.ERROR else label for label in alone]


def test_two_values_that_lie_apart_are_high_though_no_test_could_show_it() -> None:
    """Its root finder gives the end of the range where the quantile is never reached."""
    assert Classifier().label(np.array([1.0, 2.0]), np.array([3.0, 4.0])) is Label.HIGH


def test_one_value_against_zeros_is_an_error_and_no_verdict() -> None:
    assert Classifier().label(np.zeros(5), np.array([5.5])) is Label.ERROR


def test_rows_without_values_are_never_above() -> None:
    nothing = np.full((1, 4), np.nan)
    assert not clearly_above(nothing, np.ones((1, 4)), 0.98).any()


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([Label.PASS], 100.0),
        ([Label.HIGH], 0.0),
        ([Label.NODATA], 0.0),  # half of the metrics or more without data fail the canary
        ([Label.PASS, Label.PASS, Label.HIGH], 66.67),
        ([Label.PASS, Label.PASS, Label.NODATA], 100.0),
        ([Label.PASS, Label.NODATA], 0.0),
        ([Label.ERROR], 100.0),  # a classification that failed has no say
    ],
)
def test_the_score_is_the_share_of_the_metrics_that_pass(labels: list[Label], expected: float) -> None:
    assert score(labels) == expected


# -- the analysis over the life of a stage


def world(minutes: int, **changes: object) -> Trace:
    return coins(np.full(minutes, 50.0), 60.0, **({"runs": 4, "per_hour": 12000.0, "base": 0.05} | changes))


def test_a_much_worse_v2_is_rolled_back_at_a_judgement() -> None:
    outcome = Kayenta().decide(world(300, effect=4.0, onset=65 * 60.0))
    assert set((outcome.rolled_back / HOUR).tolist()) <= {2.0, 3.0}


def test_an_equal_v2_passes_for_most() -> None:
    outcome = Kayenta().decide(world(180, runs=60))
    assert np.isfinite(outcome.completed).mean() > 0.9


def test_unequal_arms_accuse_a_healthy_v2() -> None:
    """At 99 % most steps of V1 have no failure and most of V2 have one: ranks take that for a difference."""
    unequal = coins(np.full(144, 99.0), 300.0, runs=40, per_hour=6000.0, base=0.02)
    passed = [
        np.isfinite(Kayenta(step=300.0, equal_arms=equal).decide(unequal).completed).mean() for equal in (True, False)
    ]
    assert passed[0] > 0.9
    assert passed[1] < 0.1


def test_no_data_fails_the_canary() -> None:
    outcome = Kayenta().decide(world(120, per_hour=0.0))
    assert (outcome.rolled_back == HOUR).all()


def test_an_outage_that_outlasts_the_retries_fails_the_canary() -> None:
    outage = np.zeros((4, 180), dtype=bool)
    outage[0, 55:70] = True  # the judgement at 60 min has no answer within 511 s
    outage[1, 55:65] = True  # this one has
    outcome = Kayenta().decide(world(180, outage=outage, seed=3))
    assert outcome.rolled_back[:2].tolist() == [HOUR + PATIENCE, NEVER]


def test_the_retries_take_511_seconds() -> None:
    assert PATIENCE == 511
