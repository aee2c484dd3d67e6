"""Verdicts: what convicts, what passes, and that missing data does neither."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from orchestrator_operator.rollout import evidence
from orchestrator_operator.rollout.evidence import Cell
from orchestrator_operator.rollout.judge import judge, show_counts, show_evidence
from orchestrator_operator.rollout.model import Gathered, Judged, Restart, Unreadable
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


def test_the_error_level_is_shared_by_criteria_and_ages() -> None:
    judged = judge(gathered(cohorts(FAILING))).criteria
    assert judged[0].log_threshold == pytest.approx(evidence.log_threshold(0.01, 0.5))
    assert judged[1].log_threshold == pytest.approx(evidence.log_threshold(0.01, 0.5 / 3))


@pytest.mark.parametrize("phase", [Phase.COMPLETED, Phase.ROLLING_BACK, Phase.ROLLED_BACK])
def test_nothing_is_judged_once_a_rollout_is_over(phase: Phase) -> None:
    found = gathered(cohorts(FAILING))
    assert judge(replace(found, status=found.status.model_copy(update={"phase": phase}))).criteria == ()


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
