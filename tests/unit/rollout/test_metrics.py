"""What is exported of a rollout is what its status says, and nothing that it says no more."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from orchestrator_operator.rollout import metrics
from orchestrator_operator.specs.conditions import Condition
from orchestrator_operator.specs.rollout_status import (
    CriterionStatus,
    Decision,
    Finding,
    Phase,
    RolloutStatus,
    Verdict,
)

from tests.support.measured import series
from tests.support.rollouts import START, spec

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "shop/v2"
JUDGED = CriterionStatus(
    name="failures",
    verdict=Verdict.INCONCLUSIVE,
    k1=3,
    n1=300,
    k2=4,
    n2=20,
    log_evidence=math.log(5),
    log_threshold=math.log(50),
    log_pass_evidence=math.log(4),
    log_pass_threshold=math.log(2),
)


@pytest.fixture(autouse=True)
def _none_left() -> Iterator[None]:
    yield
    metrics.forget(NAME)
    assert exported("") == {}


def show(*, spec_: Any = None, pending: int = 0, **status: Any) -> None:
    metrics.show(NAME, RolloutStatus(**status), spec_, START, pending)


def exported(name: str) -> dict[tuple[str, ...], float]:
    """The samples of `orchestrator_rollout_<name>`, by their labels after the rollout's."""
    found = series(f"orchestrator_rollout_{name}")
    return {labels[1:]: value for (_, labels), value in found.items() if labels[:1] == (NAME,)}


def holding(name: str) -> set[str]:
    """The states that are 1."""
    return {labels[-1] for labels, value in exported(name).items() if value == 1}


def test_exactly_one_phase_holds() -> None:
    show(phase=Phase.HELD, reason="Blind")
    assert holding("phase") == {"Held"}
    assert {labels[0] for labels in exported("phase")} == set(Phase)


def test_the_stage_is_told_by_its_place_and_by_its_name_and_one_that_is_over_is_gone() -> None:
    show(phase=Phase.PROGRESSING, stage="week-1", stage_index=0)
    show(phase=Phase.PROGRESSING, stage="week-2", stage_index=1)
    assert exported("stage") == {(): 2.0, ("week-2",): 1.0}  # stage and stage_info


def test_without_a_stage_none_is_named() -> None:
    show(phase=Phase.PENDING)
    assert exported("stage_info") == {}


def test_a_reason_that_is_over_is_gone() -> None:
    show(phase=Phase.HELD, reason="Blind")
    show(phase=Phase.PROGRESSING, reason="StageRunning")
    assert exported("reason") == {("StageRunning",): 1.0}


def test_evidence_is_a_share_of_what_it_needs() -> None:
    show(criteria=(JUDGED,))
    assert exported("evidence")["failures",] == pytest.approx(0.1)
    assert exported("pass_evidence")["failures",] == pytest.approx(2.0)


def test_evidence_beyond_every_number_is_still_one() -> None:
    show(criteria=(JUDGED.model_copy(update={"log_evidence": 1e6}),))
    assert math.isfinite(exported("evidence")["failures",])


def test_each_arm_has_its_bad_executions_and_all() -> None:
    show(criteria=(JUDGED,))
    assert exported("judged_executions") == {
        ("failures", "v1", "bad"): 3,
        ("failures", "v1", "all"): 300,
        ("failures", "v2", "bad"): 4,
        ("failures", "v2", "all"): 20,
    }


def test_a_criterion_without_counts_exports_none() -> None:
    show(criteria=(CriterionStatus(name="failures", verdict=Verdict.BLIND),))
    assert exported("judged_executions") == exported("evidence") == {}
    assert holding("verdict") == {"Blind"}


def test_the_criteria_of_another_spec_are_gone() -> None:
    show(criteria=(JUDGED,))
    show(criteria=(JUDGED.model_copy(update={"name": "other"}),))
    assert {labels[0] for labels in exported("verdict")} == {"other"}
    assert set(exported("evidence")) == {("other",)}


def test_a_condition_that_is_not_known_is_neither_true_nor_false() -> None:
    def condition(kind: str, status: str) -> Condition:
        return Condition.model_validate(
            {"type": kind, "status": status, "reason": "R", "message": "", "lastTransitionTime": START.isoformat()}
        )

    show(conditions=(condition("Blind", "True"), condition("Powered", "False"), condition("Calibrated", "Unknown")))
    assert exported("condition") == {("Blind",): 1.0, ("Powered",): 0.0}


def test_an_alarm_is_named_and_the_others_are_zero() -> None:
    show(alarms=(Finding(reason="SharedDegradation", sentence="s"),))
    assert exported("alarm") == {
        ("SharedDegradation",): 1.0,
        ("SampleRatioMismatch",): 0.0,
        ("NotCalibrated",): 0.0,
    }


def test_the_newest_decision_of_a_kind_says_when() -> None:
    def decision(minutes: int, action: str) -> Decision:
        return Decision(at=START + timedelta(minutes=minutes), action=action, reason="R", message="")

    show(decisions=(decision(1, "Hold"), decision(2, "Promote"), decision(3, "Hold")))
    after = {labels: value - START.timestamp() for labels, value in exported("decision_timestamp_seconds").items()}
    assert after == {("Hold", "R"): 180.0, ("Promote", "R"): 120.0}


def test_limits_come_from_the_spec_and_go_with_it() -> None:
    guardrail = {"name": "slow", "type": "guardrail", "preset": "slow-checkpoints", "max": 0.05}
    comparison = {"name": "failures", "type": "comparison", "preset": "failures"}
    known = spec(criteria=[comparison, guardrail])
    show(spec_=known, criteria=(CriterionStatus(name="slow", verdict=Verdict.PASS, value=0.01),))
    assert exported("guardrail_limit") == {("slow",): 0.05}
    assert exported("guardrail_value") == {("slow",): 0.01}
    assert exported("blind_budget_seconds") == {(): 600.0}
    show(spec_=None)
    assert exported("guardrail_limit") == exported("blind_budget_seconds") == {}


def test_blind_time_grows_while_it_is_blind() -> None:
    show(blind_spent=30.0, blind_since=START - timedelta(seconds=12))
    assert exported("blind_seconds") == {(): 42.0}


def test_another_rollout_is_left_alone() -> None:
    show(criteria=(JUDGED,))
    metrics.show("shop/other", RolloutStatus(), None, START)
    metrics.forget("shop/other")
    assert exported("evidence")
