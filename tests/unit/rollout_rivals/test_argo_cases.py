"""The cases for the real controller: each shows what its name says, by the re-statement at least."""

from __future__ import annotations

import math

import pytest

from tests.benchmarks.rollout.argo.cases import Case, all_cases
from tests.benchmarks.rollout.argo.compare import Measurement, Real, as_table, predicted, replayed, row
from tests.benchmarks.rollout.argo.exporter import Replay
from tests.benchmarks.rollout.rivals.argo import Phase

CASES = {case.name: case for case in all_cases()}
BEGAN = 6.0


def real(case: Case, phase: Phase = Phase.SUCCESSFUL, measurements: tuple[Measurement, ...] = ()) -> Real:
    """A run as the controller could have done it."""
    outage = None if case.outage is None else (BEGAN + 5, BEGAN + 5 + case.outage)
    return Real(phase, BEGAN, BEGAN + 60, measurements, outage=outage, terminated=case.endless)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("healthy", Phase.SUCCESSFUL),
        ("healthy-without-a-count", Phase.SUCCESSFUL),
        ("worse-from-the-start", Phase.FAILED),
        ("worse-later", Phase.FAILED),
        ("bursts-that-are-over", Phase.FAILED),
        ("bursts-within-the-limit", Phase.SUCCESSFUL),
        ("ratio-healthy", Phase.SUCCESSFUL),
        ("ratio-ten-times-worse", Phase.FAILED),
        ("by-chance-healthy", Phase.SUCCESSFUL),
        ("by-chance-twice-as-bad", Phase.FAILED),
        ("by-chance-five-times-later", Phase.FAILED),
        ("no-traffic", Phase.FAILED),
        ("no-traffic-failure-condition", Phase.SUCCESSFUL),
        ("no-traffic-both-conditions", Phase.INCONCLUSIVE),
        ("no-traffic-allowed", Phase.SUCCESSFUL),
        ("no-traffic-no-condition", Phase.SUCCESSFUL),
        ("between-the-conditions", Phase.INCONCLUSIVE),
        ("no-series", Phase.ERROR),
        ("outage-of-25-seconds", Phase.SUCCESSFUL),
        ("outage-of-a-minute", Phase.ERROR),
    ],
)
def test_a_case_ends_as_its_name_says(name: str, expected: Phase) -> None:
    assert predicted(CASES[name], real(CASES[name]))[0] is expected


def test_no_case_is_left_out() -> None:
    """Of the claims above: a case that is added needs one."""
    assert len(CASES) == 20


def test_a_case_that_sees_no_series_errs_five_times_ten_seconds_apart() -> None:
    assert predicted(CASES["no-series"], real(CASES["no-series"])) == (Phase.ERROR, BEGAN + 40)


def test_bursts_fail_by_their_sum_long_after_the_first() -> None:
    _, reached = predicted(CASES["bursts-that-are-over"], real(CASES["bursts-that-are-over"]))
    assert reached > BEGAN + 30


def test_the_controllers_measurements_are_judged_again() -> None:
    taken = (Measurement(Phase.SUCCESSFUL, 0.99), Measurement(Phase.ERROR, None), Measurement(Phase.FAILED, math.nan))
    assert replayed(CASES["healthy"], real(CASES["healthy"], Phase.FAILED, taken)) == (3, Phase.FAILED)


def test_a_measurement_that_is_judged_otherwise_is_no_agreement() -> None:
    taken = (Measurement(Phase.SUCCESSFUL, 0.5),) + (Measurement(Phase.SUCCESSFUL, 0.99),) * 8
    found = row(CASES["healthy"], real(CASES["healthy"], measurements=taken))
    assert (found["agrees"], found["judged_alike"], found["restated"]) == (False, 8, "SUCCESSFUL")
    assert "0 of 1 cases agree" in as_table({"version": "1", "cases": [found]})


def test_a_manifest_says_what_the_metric_says() -> None:
    (metric,) = CASES["between-the-conditions"].manifest("http://prometheus")["spec"]["metrics"]
    provider = metric.pop("provider")["prometheus"]
    assert metric == {
        "name": "between-the-conditions",
        "interval": "2s",
        "successCondition": "result[0] >= 0.95",
        "failureCondition": "result[0] < 0.9",
        "failureLimit": 0,
        "inconclusiveLimit": 2,
        "consecutiveErrorLimit": 4,
        "count": 9,
    }
    assert provider["address"] == "http://prometheus"


def test_the_exporter_counts_what_the_trace_counts() -> None:
    replay = Replay({"late": {"v2": {"bad": [0, 1, 2], "good": [5, 5, 5]}}})
    series = 'bench_executions_total{case="late",engine="v2",outcome="bad"}'
    assert [replay.text(second).splitlines()[1] for second in (0, 2, 3, 99)] == [f"{series} {n}" for n in (0, 1, 3, 3)]
