"""Verdicts: what convicts, what passes, and that missing data does neither."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from orchestrator_operator.rollout.judging.comparisons import levels
from orchestrator_operator.rollout.judging.judge import judge
from orchestrator_operator.rollout.model import Bin, Gathered, Health, Judged, Restart, Unreadable
from orchestrator_operator.rollout.statistics import evidence
from orchestrator_operator.rollout.statistics.evidence import Cell
from orchestrator_operator.rollout.wording import show_counts, show_evidence
from orchestrator_operator.specs.rollout_status import CriterionStatus, Phase, Verdict

from tests.support.rollouts import AGES, FAILING, GOOD, PASSING, START, World, cells, cohorts, spec

DOWN = Unreadable("PrometheusUnreachable", "no answer")


def gathered(readings: Any, **changes: Any) -> Gathered:
    world = World(changes.pop("spec", None))
    world.cohorts = readings
    status = world.status.model_copy(update={"phase": Phase.PROGRESSING, "stage_index": changes.pop("stage", 0)})
    return replace(world.gathered(), status=status, **changes)


def first(found: Gathered) -> Judged:
    return judge(found).criteria[0]


def test_a_v2_that_fails_far_more_is_convicted_with_its_counts() -> None:
    judged = first(gathered(cohorts(FAILING)))
    assert judged.verdict is Verdict.FAIL
    assert judged.counts == (20, 1900, 60, 100)
    assert "read 10m after their start, V2 60 of 100 (60 %), V1 20 of 1900 (1.05 %)" in judged.sentence


def test_a_conviction_at_any_age_is_enough() -> None:
    readings = {**cohorts(GOOD), ("failures", AGES[0]): FAILING}
    judged = first(gathered(readings))
    assert (judged.verdict, judged.age) == (Verdict.FAIL, AGES[0])


def test_a_readable_age_convicts_while_another_is_blind() -> None:
    readings = {**cohorts(FAILING), ("failures", AGES[1]): DOWN}
    assert first(gathered(readings)).verdict is Verdict.FAIL


def test_an_age_that_cannot_be_read_makes_the_criterion_blind() -> None:
    readings = {**cohorts(PASSING), ("failures", AGES[0]): DOWN}
    judged = first(gathered(readings))
    assert (judged.verdict, judged.reason) == (Verdict.BLIND, "PrometheusUnreachable")
    assert "no answer" in judged.sentence


def test_no_series_at_all_is_blind_too() -> None:
    assert [judged.verdict for judged in judge(gathered({})).criteria] == [Verdict.BLIND] * 2


def test_a_fair_share_of_many_failures_passes() -> None:
    judged = first(gathered(cohorts(PASSING)))
    assert judged.verdict is Verdict.PASS
    assert judged.log_pass_evidence is not None
    assert judged.log_pass_threshold is not None
    assert judged.log_pass_evidence >= judged.log_pass_threshold


def test_too_little_data_is_inconclusive() -> None:
    assert first(gathered(cohorts(GOOD))).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("found", "arm"), [(cells(v1=(0, 50)), "V2"), (cells(v2=(0, 50)), "V1"), (cells(), "either engine")]
)
def test_an_arm_without_traffic_is_inconclusive_and_named(found: tuple[Cell, ...], arm: str) -> None:
    judged = first(gathered(cohorts(found)))
    assert judged.verdict is Verdict.INCONCLUSIVE
    assert f"on {arm} has reached" in judged.sentence


@pytest.mark.parametrize(("n2", "verdict"), [(599, Verdict.INCONCLUSIVE), (600, Verdict.PASS)])
def test_without_any_failure_a_pass_comes_at_the_rule_of_three(n2: int, verdict: Verdict) -> None:
    assert first(gathered(cohorts(cells(v1=(0, 12_000), v2=(0, n2))))).verdict is verdict


def test_everything_on_v2_leaves_nothing_to_compare_with() -> None:
    judged = first(gathered(cohorts(cells("100", v2=(5, 500))), stage=2))
    assert judged.verdict is Verdict.NOT_APPLICABLE


def test_executions_of_an_earlier_stage_still_convict_when_everything_is_on_v2() -> None:
    assert first(gathered(cohorts((*FAILING, *cells("100", v2=(5, 500)))), stage=2)).verdict is Verdict.FAIL


def test_a_pass_of_an_earlier_stage_is_not_this_stage_s() -> None:
    readings = cohorts((*PASSING, *cells("25", (3, 97), (1, 32))))
    assert first(gathered(readings, stage=1)).verdict is Verdict.INCONCLUSIVE


def test_a_pass_is_read_at_the_last_age_that_the_stage_is_long_enough_for() -> None:
    long_ages = spec(analysis={"ages": ["1m", "10m", "24h"]})
    readings = dict.fromkeys(cohorts(PASSING), PASSING) | {
        (preset, timedelta(hours=24)): cells() for preset in ("failures", "first-attempt-failures")
    }
    judged = first(gathered(readings, spec=long_ages))
    assert (judged.verdict, judged.age) == (Verdict.PASS, timedelta(minutes=10))


def test_the_arms_of_the_stage_are_counted_at_that_age() -> None:
    readings = {
        **cohorts(cells(v1=(1, 9), v2=(0, 3))),
        ("first-attempt-failures", AGES[1]): cells(v1=(1, 8), v2=(0, 2)),
    }
    assert judge(gathered(readings)).arms == (9, 2)


def test_a_late_regression_is_convicted_by_the_restarts_alone() -> None:
    past = (Cell(Decimal(5), 3000, 297_000, 150, 15_000),)
    now = (Cell(Decimal(5), 3010, 297_990, 180, 15_050),)
    document = spec(analysis={"restart": "5m"})
    without = gathered(cohorts(now), spec=document)
    restarts = (Restart(3, START, dict.fromkeys(cohorts(past), past)),)
    assert first(without).verdict is not Verdict.FAIL
    assert first(replace(without, restarts=restarts)).verdict is Verdict.FAIL


def test_failures_at_the_middle_age_has_half_of_the_error_level() -> None:
    found = levels(spec(analysis={"ages": ["1m", "10m", "24h"]}))
    assert found.pop(("failures", timedelta(minutes=10))) == 0.5
    assert set(found.values()) == {0.1}


def test_the_error_level_is_shared_by_criteria_and_ages() -> None:
    judged = judge(gathered(cohorts(FAILING))).criteria
    assert judged[0].log_threshold == pytest.approx(evidence.log_threshold(0.01, 0.5))
    assert judged[1].log_threshold == pytest.approx(evidence.log_threshold(0.01, 0.5 / 3))


@pytest.mark.parametrize("phase", [Phase.COMPLETED, Phase.ROLLING_BACK, Phase.ROLLED_BACK])
def test_nothing_is_judged_once_a_rollout_is_over(phase: Phase) -> None:
    found = gathered(cohorts(FAILING))
    assert judge(replace(found, status=found.status.model_copy(update={"phase": phase}))).criteria == ()


def test_with_a_holdback_the_last_stage_is_compared_like_any_other() -> None:
    stages = [{"name": "all", "percent": 100, "duration": "1h", "holdback": 1}]
    readings = cohorts(cells("99", (0, 2000), (0, 198_000)))
    judged = first(gathered(readings, spec=spec(stages=stages)))
    assert judged.verdict is Verdict.PASS


def test_with_a_holdback_a_worse_v2_is_convicted_in_the_last_stage() -> None:
    stages = [{"name": "all", "percent": 100, "duration": "1h", "holdback": 1}]
    readings = cohorts(cells("99", (1, 999), (9900, 89_100)))
    assert first(gathered(readings, spec=spec(stages=stages))).verdict is Verdict.FAIL


# -- slower than the baseline

SLOWER = spec(
    criteria=[
        {"name": "failures", "type": "comparison", "preset": "failures"},
        {"name": "duration", "type": "comparison", "preset": "slower-than-baseline"},
    ]
)
NO_BASELINE = Unreadable("NoBaseline", "no workflow has 100 executions of history")


def slower(reading: Any) -> Gathered:
    readings = {**cohorts(GOOD), **{("slower-than-baseline", age): reading for age in AGES}}
    return gathered(readings, spec=SLOWER)


def test_slower_executions_convict_like_failures() -> None:
    assert judge(slower(FAILING)).criteria[1].verdict is Verdict.FAIL


def test_where_no_workflow_has_a_baseline_there_is_nothing_to_compare() -> None:
    judged = judge(slower(NO_BASELINE)).criteria[1]
    assert (judged.verdict, judged.sentence) == (Verdict.NOT_APPLICABLE, "no workflow has 100 executions of history")


def test_a_baseline_that_cannot_be_read_is_blind_all_the_same() -> None:
    assert judge(slower(DOWN)).criteria[1].verdict is Verdict.BLIND


def test_a_criterion_of_some_workflows_does_not_say_how_many_executions_there_were() -> None:
    assert judge(slower(cells(v1=(0, 9), v2=(0, 3)))).arms == (6000, 400)


# -- a user's own counters

OWN_DOCUMENT: dict[str, Any] = {
    "criteria": [
        {"name": "failures", "type": "comparison", "preset": "failures"},
        {"name": "refunds", "type": "comparison", "bad": 'r{engine="$engine"}', "total": 'o{engine="$engine"}'},
    ]
}
OWN = spec(**OWN_DOCUMENT)


def own(reading: Any, **changes: Any) -> Judged:
    found = gathered(cohorts(GOOD), spec=OWN, own={"refunds": reading}, **changes)
    return judge(found).criteria[1]


def bins(bad_v1: float, bad_v2: float, count: int = 400, since: datetime = START) -> tuple[Bin, ...]:
    """Bins a minute of 20 units on V1 and 10 on V2, with so many bad ones in ten; in waves, for there is noise."""
    shape = (0, 2, 1, 0, 1, 3, 0, 1, 2, 0)
    return tuple(
        Bin(bad_v1 * shape[n % 10], 20, bad_v2 * shape[(7 * n + 3) % 10], 10, since + timedelta(minutes=n + 1))
        for n in range(count)
    )


def test_own_counters_convict_and_say_that_it_is_approximate() -> None:
    judged = own(bins(0.2, 0.8))
    assert judged.verdict is Verdict.FAIL
    assert judged.counts == (80, 8000, 320, 4000)
    assert "by your own counters: V2 320 of 4000 (8 %), V1 80 of 8000 (1 %)" in judged.sentence
    assert "approximate" in judged.sentence


def test_own_counters_that_are_as_good_pass_and_say_that_it_is_approximate() -> None:
    judged = own(bins(1, 0.5, count=2000))
    assert judged.verdict is Verdict.PASS
    assert "approximate" in judged.sentence


def test_own_counters_of_an_earlier_stage_do_not_make_this_one_pass() -> None:
    found = gathered(cohorts(GOOD), spec=OWN, own={"refunds": bins(1, 0.5, count=2000)}, stage=1)
    status = found.status.model_copy(update={"stage_started_at": START + timedelta(minutes=1990)})
    assert judge(replace(found, status=status)).criteria[1].verdict is Verdict.INCONCLUSIVE


def test_own_counters_of_an_earlier_stage_still_convict() -> None:
    found = gathered(cohorts(GOOD), spec=OWN, own={"refunds": bins(0.2, 0.8)}, stage=2)
    status = found.status.model_copy(update={"stage_started_at": START + timedelta(days=1)})
    assert judge(replace(found, status=status)).criteria[1].verdict is Verdict.FAIL


def test_a_late_regression_of_own_counters_is_convicted_by_the_restarts() -> None:
    found = gathered(
        cohorts(GOOD),
        spec=spec(**{**OWN_DOCUMENT, "analysis": {"restart": "12h"}}),
        own={"refunds": (*bins(1, 0.5, count=7200), *bins(1, 1.5, count=90, since=START + timedelta(days=5)))},
    )
    late = replace(found, now=START + timedelta(days=5, hours=2))
    with_start = late.status.model_copy(update={"started_at": START})
    assert judge(late).criteria[1].verdict is not Verdict.FAIL  # nobody knows when it started: no restarts
    assert judge(replace(late, status=with_start)).criteria[1].verdict is Verdict.FAIL


def test_own_counters_without_a_v1_to_compare_with_are_not_applicable() -> None:
    assert own(bins(1, 0.5), stage=2).verdict is Verdict.NOT_APPLICABLE


@pytest.mark.parametrize(
    ("bin_", "arm"), [(Bin(1, 9, 0, 0), "V2"), (Bin(0, 0, 1, 9), "V1"), (Bin(0, 0, 0, 0), "either engine")]
)
def test_own_counters_without_traffic_on_an_arm_are_inconclusive(bin_: Bin, arm: str) -> None:
    judged = own((bin_,))
    assert judged.verdict is Verdict.INCONCLUSIVE
    assert f"counted nothing on {arm} yet" in judged.sentence


@pytest.mark.parametrize(("n2", "verdict"), [(599, Verdict.INCONCLUSIVE), (600, Verdict.PASS)])
def test_own_counters_without_anything_bad_pass_at_the_rule_of_three(n2: int, verdict: Verdict) -> None:
    assert own((Bin(0, 9000, 0, n2),)).verdict is verdict


def test_own_counters_that_cannot_be_read_are_blind() -> None:
    judged = own(Unreadable("Stale", "its samples are 40s old"))
    assert (judged.verdict, judged.reason) == (Verdict.BLIND, "Stale")


def test_own_counters_that_nobody_read_are_blind() -> None:
    assert judge(gathered(cohorts(GOOD), spec=OWN)).criteria[1].verdict is Verdict.BLIND


def test_own_counters_need_not_exist_before_the_start() -> None:
    found = gathered(cohorts(cells()), spec=OWN)
    pending = found.status.model_copy(update={"phase": Phase.PENDING})
    assert judge(replace(found, status=pending)).criteria[1].verdict is Verdict.INCONCLUSIVE


def test_own_counters_have_one_share_of_the_error_level() -> None:
    thresholds = {test: share for test, share in levels(OWN).items() if test[0] == "refunds"}
    assert thresholds == {("refunds", None): 0.25}
    assert own(bins(1, 0.5)).log_threshold == pytest.approx(evidence.log_threshold(0.01, 0.25))


# -- the experiment itself

FAIR = cells("5", v1=(0, 9500), v2=(0, 500))
UNFAIR = cells("5", v1=(0, 9000), v2=(0, 1000))


def test_every_alarm_is_told_and_convicts_nobody() -> None:
    found = gathered(
        cohorts(GOOD),
        starts=UNFAIR,
        calibration=cells("50", (10, 4000), (90, 4000)),
        health=(Health("order", 900, 1000, 100, 100_000),),
    )
    judgement = judge(found)
    assert [alarm.reason for alarm in judgement.alarms] == ["SampleRatioMismatch", "NotCalibrated", "SharedDegradation"]
    assert judgement.of(Verdict.FAIL) == ()


@pytest.mark.parametrize("changes", [{}, {"starts": DOWN, "calibration": DOWN, "health": DOWN}, {"starts": FAIR}])
def test_a_sound_experiment_or_one_that_cannot_be_read_raises_no_alarm(changes: dict[str, Any]) -> None:
    assert judge(gathered(cohorts(GOOD), **changes)).alarms == ()


@pytest.mark.parametrize(
    ("changes", "sticky"),
    [
        ({"starts": FAIR, "keyed": 2500}, 0.2),
        ({"starts": FAIR, "keyed": 0}, 0.0),
        ({"starts": (*FAIR, *cells("25", (0, 999), (0, 999))), "keyed": 10_000}, 0.5),  # this stage's alone
        ({"starts": FAIR}, None),
        ({"starts": DOWN, "keyed": 5}, None),
        ({"starts": (), "keyed": 0}, None),
    ],
)
def test_the_sticky_share_is_that_of_the_stage_s_executions(changes: dict[str, Any], sticky: float | None) -> None:
    assert judge(gathered(cohorts(GOOD), **changes)).sticky == sticky


def test_without_a_comparison_of_executions_the_starts_say_how_many_there_were() -> None:
    only_own = spec(criteria=[OWN.criteria[1].model_dump(by_alias=True, exclude_unset=True)])
    assert judge(gathered({}, spec=only_own, starts=FAIR)).arms == (9500, 500)
    assert judge(gathered({}, spec=only_own, starts=DOWN)).arms is None


# -- guardrails

GUARDED = spec(
    criteria=[
        {"name": "failures", "type": "comparison", "preset": "failures"},
        {"name": "stalled", "type": "guardrail", "query": "q", "max": 2, "for": "10m"},
    ]
)


def guardrail(reading: float | Unreadable, since: timedelta | None = None) -> Judged:
    found = gathered(cohorts(GOOD), spec=GUARDED, guardrails={"stalled": reading})
    if since is not None:
        before = CriterionStatus(name="stalled", verdict=Verdict.INCONCLUSIVE, breached_since=START - since)
        found = replace(found, status=found.status.model_copy(update={"criteria": (before,)}))
    return judge(found).criteria[1]


def test_a_guardrail_at_its_limit_is_whole() -> None:
    assert guardrail(2.0).verdict is Verdict.PASS


def test_a_guardrail_that_is_exceeded_is_not_broken_at_once() -> None:
    judged = guardrail(3.0)
    assert (judged.verdict, judged.breached_since) == (Verdict.INCONCLUSIVE, START)


def test_a_guardrail_that_was_exceeded_for_long_enough_is_broken() -> None:
    assert guardrail(3.0, since=timedelta(minutes=10)).verdict is Verdict.FAIL


def test_a_guardrail_that_recovers_begins_anew() -> None:
    assert guardrail(1.0, since=timedelta(minutes=9)).breached_since is None


def test_a_guardrail_that_cannot_be_read_is_blind_and_its_run_ends() -> None:
    judged = guardrail(DOWN, since=timedelta(hours=1))
    assert (judged.verdict, judged.breached_since) == (Verdict.BLIND, None)


# -- words


def test_evidence_is_shown_as_people_read_it() -> None:
    assert [show_evidence(value) for value in (0.0, -0.2, 5.4, 60.0)] == ["1", "0.819", "221", "1e26"]


def test_counts_without_traffic_show_no_share() -> None:
    assert show_counts((0, 0, 1, 8)) == "V2 1 of 8 (12.5 %), V1 0 of 0"
