"""Golden cases of Argo Rollouts: what its documentation and its tests say it does."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.benchmarks.rollout.rivals.argo import Argo, Condition, Metric, Phase, Tally, analysis_run
from tests.benchmarks.rollout.rivals.prometheus import Answer, Queries
from tests.benchmarks.rollout.trace import Trace

ONE = np.zeros(1, dtype=np.intp)
MINUTE = 60.0
AT_LEAST, BELOW = Condition(">=", 0.95), Condition("<", 0.95)


def trace(
    shares: list[float], dark: list[int] | None = None, percent: list[float] | None = None, n: int = 100
) -> Trace:
    """One run; the share of bad executions on V2 in each minute."""
    bins = len(shares)
    outage = None
    if dark is not None:
        outage = np.zeros((1, bins), dtype=bool)
        outage[0, dark] = True
    return Trace(
        "t",
        MINUTE,
        np.array(percent or [50.0] * bins),
        n1=np.full((1, bins), n),
        k1=np.zeros((1, bins), dtype=np.int64),
        n2=np.full((1, bins), n),
        k2=np.array([[round(share * n) for share in shares]]),
        outage=outage,
    )


def metric(**changes: object) -> Metric:
    return Metric(**({"window": MINUTE, "interval": MINUTE} | changes))


def ended(outcome: object) -> tuple[float, float, float]:
    """Minutes until the rollback, the hold and the end."""
    return tuple(float(times[0] / MINUTE) for times in (outcome.rolled_back, outcome.held, outcome.completed))


NEVER = math.inf


@pytest.mark.parametrize(
    ("success", "failure", "value", "expected"),
    [
        (None, None, 0.1, Phase.SUCCESSFUL),  # no condition at all: a success unless there is an error
        (AT_LEAST, None, 0.96, Phase.SUCCESSFUL),
        (AT_LEAST, None, 0.94, Phase.FAILED),
        (None, BELOW, 0.94, Phase.FAILED),
        (None, BELOW, 0.96, Phase.SUCCESSFUL),
        (AT_LEAST, Condition("<", 0.9), 0.93, Phase.INCONCLUSIVE),  # neither holds
        (Condition(">=", 0.9), Condition("<", 0.95), 0.93, Phase.FAILED),  # both hold
        (AT_LEAST, None, math.nan, Phase.FAILED),
        (None, BELOW, math.nan, Phase.SUCCESSFUL),
        (AT_LEAST, BELOW, math.nan, Phase.INCONCLUSIVE),
        (Condition(">=", 0.95, or_nan=True), None, math.nan, Phase.SUCCESSFUL),
    ],
)
def test_a_measurement_has_the_phase_of_its_conditions(
    success: Condition | None, failure: Condition | None, value: float, expected: Phase
) -> None:
    found = metric(success=success, failure=failure).evaluate(np.array([value]), np.array([Answer.VALUE]))
    assert found[0] == expected


@pytest.mark.parametrize("answer", [Answer.EMPTY, Answer.UNREACHABLE])
def test_no_answer_is_an_error_whatever_the_conditions_say(answer: Answer) -> None:
    found = metric(failure=BELOW).evaluate(np.array([math.nan]), np.array([answer]))
    assert found[0] == Phase.ERROR


@pytest.mark.parametrize(
    ("limits", "phases", "expected"),
    [
        ({}, "S", Phase.RUNNING),
        ({}, "SF", Phase.FAILED),  # the limit is 0 by default: one is too many
        ({"failure_limit": 1}, "FSSS", Phase.RUNNING),
        ({"failure_limit": 1}, "FSSSF", Phase.FAILED),  # good ones between them forgive nothing
        ({}, "SI", Phase.INCONCLUSIVE),
        ({"inconclusive_limit": 1}, "ISI", Phase.INCONCLUSIVE),
        ({}, "EEEE", Phase.RUNNING),
        ({}, "EEEEE", Phase.ERROR),  # more than four in a row
        ({}, "EEEESEEEE", Phase.RUNNING),  # errors count in a row only
        ({"inconclusive_limit": 0, "failure_limit": 0}, "FI", Phase.INCONCLUSIVE),  # both passed: the later rule wins
    ],
)
def test_the_limits_decide_over_a_metric(limits: dict[str, int], phases: str, expected: Phase) -> None:
    letters = {"S": Phase.SUCCESSFUL, "F": Phase.FAILED, "I": Phase.INCONCLUSIVE, "E": Phase.ERROR}
    tally = Tally(1)
    for letter in phases:
        tally.take(ONE, np.array([letters[letter]], dtype=np.int8))
    assert tally.assess(metric(**limits), ONE, None)[0] == expected


def test_errors_do_not_count_as_measurements() -> None:
    tally = Tally(1)
    for phase in (Phase.SUCCESSFUL, Phase.ERROR, Phase.ERROR):
        tally.take(ONE, np.array([phase], dtype=np.int8))
    assert tally.assess(metric(), ONE, 2)[0] == Phase.RUNNING


@given(st.lists(st.sampled_from([Phase.SUCCESSFUL, Phase.FAILED]), min_size=1, max_size=40), st.integers(0, 5))
def test_a_metric_fails_exactly_when_more_measurements_failed_than_the_limit(phases: list[Phase], limit: int) -> None:
    tally = Tally(1)
    for phase in phases:
        tally.take(ONE, np.array([phase], dtype=np.int8))
    failed = tally.assess(metric(failure_limit=limit), ONE, None)[0] == Phase.FAILED
    assert failed == (phases.count(Phase.FAILED) > limit)


def test_a_run_ends_with_its_count() -> None:
    queries = Queries(trace([0.0] * 20), metric().measure, MINUTE)
    phase, reached = analysis_run(metric(), queries, ONE, np.array([MINUTE]), count=5, until=20 * MINUTE)
    assert (phase[0], reached[0]) == (Phase.SUCCESSFUL, 5 * MINUTE)


def test_inline_analysis_aborts_at_the_failure_that_is_too_many() -> None:
    rule = Argo(metric(failure_limit=2))
    assert ended(rule.decide(trace([0, 0, 0.1, 0, 0.1, 0, 0.1, 0]))) == (7.0, NEVER, NEVER)


def test_a_limit_above_the_count_is_refused() -> None:
    """ValidateMetric: the real controller ends such a run in an error at once."""
    with pytest.raises(ValueError, match="fewer than a limit"):
        Argo(metric(failure_limit=5)).decide(trace([0.0] * 4))


def test_inline_analysis_forgets_at_each_stage() -> None:
    rule = Argo(metric(failure_limit=1))
    shares, percent = [0.1, 0, 0, 0, 0, 0.1, 0, 0], [5.0] * 4 + [25.0] * 4
    assert ended(rule.decide(trace(shares, percent=percent))) == (NEVER, NEVER, 8.0)


def test_background_analysis_never_forgets() -> None:
    rule = Argo(metric(failure_limit=1), background=True)
    shares, percent = [0.1, 0, 0, 0, 0, 0.1, 0, 0], [5.0] * 4 + [25.0] * 4
    assert ended(rule.decide(trace(shares, percent=percent))) == (6.0, NEVER, NEVER)


def test_background_analysis_that_still_runs_at_the_end_counts_as_a_success() -> None:
    assert ended(Argo(metric(), background=True).decide(trace([0.0] * 6))) == (NEVER, NEVER, 6.0)


def test_an_inconclusive_measurement_pauses_for_a_person() -> None:
    rule = Argo(metric(failure=Condition("<", 0.9)))
    assert ended(rule.decide(trace([0, 0, 0.07, 0]))) == (NEVER, 3.0, NEVER)


def test_no_traffic_is_a_failure_by_default() -> None:
    assert ended(Argo(metric()).decide(trace([0.0] * 4, n=0))) == (1.0, NEVER, NEVER)


def test_an_outage_of_fifty_seconds_aborts() -> None:
    """Five errors, ten seconds apart: no interval and no healthy history changes that."""
    fine = trace([0.0] * 600)
    dark = np.zeros((1, 600), dtype=bool)
    dark[0, 300:360] = True  # bins of a second here
    seconds = Trace("t", 1.0, fine.percent, n1=fine.n1, k1=fine.k1, n2=fine.n2, k2=fine.k2, outage=dark)
    rule = Argo(metric(window=30.0, interval=30.0))
    assert rule.decide(seconds).rolled_back[0] == 300 + 4 * 10


def test_a_shorter_outage_is_survived() -> None:
    fine = trace([0.0] * 600)
    dark = np.zeros((1, 600), dtype=bool)
    dark[0, 300:335] = True
    seconds = Trace("t", 1.0, fine.percent, n1=fine.n1, k1=fine.k1, n2=fine.n2, k2=fine.k2, outage=dark)
    assert Argo(metric(window=30.0, interval=30.0)).decide(seconds).completed[0] >= 600


def test_an_analysis_that_tolerates_errors_goes_on_ten_seconds_after_one() -> None:
    """The outage ends at 395 s: the tries at 300, 310, … 390 err, and the one at 400 fails."""
    n = np.full((1, 600), 100)
    k2 = np.where(np.arange(600) >= 300, 50, 0)[None, :]
    dark = np.zeros((1, 600), dtype=bool)
    dark[0, 300:395] = True
    seconds = Trace("t", 1.0, np.full(600, 50.0), n1=n, k1=n * 0, n2=n, k2=k2, outage=dark)
    asked = metric(window=30.0, interval=30.0, consecutive_error_limit=10)
    assert Argo(asked).decide(seconds).rolled_back[0] == 400
    aborting = metric(window=30.0, interval=30.0, consecutive_error_limit=9)
    assert Argo(aborting).decide(seconds).rolled_back[0] == 390


def test_runs_do_not_touch_each_other() -> None:
    """Many runs at once decide as each one alone."""
    dice = np.random.default_rng(1)
    n = np.full((12, 60), 50)
    k2 = dice.binomial(50, 0.04, n.shape)
    outage = dice.random(n.shape) < 0.005
    many = Trace("t", MINUTE, np.repeat([5.0, 25.0], 30), n1=n, k1=n * 0, n2=n, k2=k2, outage=outage)
    rule = Argo(metric(failure_limit=8, failure=Condition("<", 0.9), inconclusive_limit=9))
    together = rule.decide(many)
    alone = [rule.decide(many.some(slice(run, run + 1))) for run in range(12)]
    for name in ("rolled_back", "held", "completed"):
        assert getattr(together, name).tolist() == [float(getattr(one, name)[0]) for one in alone]
    assert np.isfinite(together.rolled_back).any()
    assert np.isfinite(together.completed).any()


@given(
    st.lists(st.sampled_from([0.0, 0.07, 0.2]), min_size=4, max_size=30),
    st.integers(0, 4),
    st.integers(0, 4),
    st.one_of(st.none(), st.integers(4, 12)),
)
def test_all_at_once_decides_as_one_measurement_after_the_other(
    shares: list[float], failures: int, unclear: int, count: int | None
) -> None:
    """The fast way is taken where Prometheus is never away; with an outage that nobody meets the other one is."""
    asked = metric(failure=Condition("<", 0.9), failure_limit=failures, inconclusive_limit=unclear)
    found = []
    for dark in (None, [len(shares)]):
        queries = Queries(trace([*shares, 0.0], dark), asked.measure, MINUTE)
        until = MINUTE * (len(shares) - 1)
        phase, reached = analysis_run(asked, queries, ONE, np.array([MINUTE]), count=count, until=until)
        found.append((int(phase[0]), float(reached[0])))
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("condition", "text"),
    [
        (Condition(">=", 0.95), "result[0] >= 0.95"),
        (Condition("<=", 3, or_nan=True), "isNaN(result[0]) || result[0] <= 3"),
    ],
)
def test_a_condition_is_written_as_a_template_has_it(condition: Condition, text: str) -> None:
    assert condition.text == text
