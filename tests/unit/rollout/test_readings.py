"""The queries, guardrails, and counters that went down."""

from __future__ import annotations

import math
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from orchestrator_operator.rollout.model import Restart, Unreadable
from orchestrator_operator.rollout.reading import readings
from orchestrator_operator.rollout.reading.promql import Sample
from orchestrator_operator.rollout.statistics.evidence import Cell
from orchestrator_operator.specs.rollout_status import CriterionStatus, RolloutStatus, Verdict

from tests.support.rollouts import AGES, DOCUMENT, GOOD, PRESETS, START, cohorts, spec

KEY = ("failures", AGES[0])


# -- guardrails


def test_a_guardrail_s_value_is_its_largest_sample() -> None:
    assert readings.value([Sample({"node": "a"}, 1.0), Sample({"node": "b"}, 3.0)]) == 3.0


@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        ([], "NoSeries"),
        ([Sample({}, math.nan)], "NotANumber"),
        ([Sample({}, 1.0), Sample({}, math.nan)], "NotANumber"),
        ([Sample({}, math.inf)], "NotANumber"),
    ],
)
def test_a_guardrail_without_a_number_cannot_be_read(samples: list[Sample], reason: str) -> None:
    found = readings.value(samples)
    assert isinstance(found, Unreadable)
    assert found.reason == reason


def test_a_person_s_query_is_taken_whole_but_for_the_engine() -> None:
    document = spec(
        criteria=[
            {"name": "failures", "type": "comparison", "preset": "failures"},
            {"name": "g", "type": "guardrail", "query": 'x{engine="$engine"} > $other', "max": 1},
        ]
    )
    assert readings.guardrail_query(document.guardrails[0], document, "a-1") == 'x{engine="v2"} > $other'


def test_the_query_for_counters_names_the_attempt_and_the_judged_assignment() -> None:
    judged = 'orchestrator_cohort_outcomes_total{attempt="3f2a9c1e-1",assignment="execution"}'
    by_key = 'orchestrator_cohort_outcomes_total{attempt="3f2a9c1e-1",assignment="key",criterion="starts"}'
    assert readings.counters_query("3f2a9c1e-1") == f"max without (pod, instance) ({judged} or {by_key})"


def test_a_user_s_own_counter_is_asked_for_by_engine() -> None:
    assert readings.own_selector('refunds_total{e="$engine",to="$10"}', "v1") == 'refunds_total{e="v1",to="$10"}'


# -- resets


def checked(now: Any, restarts: tuple[Restart, ...] = (), seen: CriterionStatus | None = None) -> Any:
    status = RolloutStatus(criteria=(seen,) if seen else ())
    return readings.without_resets({KEY: now}, restarts, status, spec())[KEY]


def test_counters_that_grew_are_fine() -> None:
    restart = Restart(1, START, {KEY: (Cell(Decimal(5), 1, 2, 3, 4),)})
    now = (Cell(Decimal(5), 1, 3, 3, 9), Cell(Decimal(25), 1, 1, 1, 1))
    assert checked(now, (restart,)) == now


def test_counters_below_those_of_a_restart_were_reset() -> None:
    restart = Restart(1, START, {KEY: (Cell(Decimal(5), 1, 2, 3, 4),)})
    assert checked((Cell(Decimal(5), 1, 2, 2, 4),), (restart,)).reason == "CounterReset"


def seen(k1: int, n1: int, k2: int, n2: int, age: str = "1m") -> CriterionStatus:
    return CriterionStatus(name="failures", verdict=Verdict.INCONCLUSIVE, age=age, k1=k1, n1=n1, k2=k2, n2=n2)


def test_counters_below_what_the_status_remembers_were_reset() -> None:
    found = checked((Cell(Decimal(5), 1, 2, 3, 4),), seen=seen(1, 3, 3, 8))
    assert found.reason == "CounterReset"
    assert "raise spec.attempt" in found.message


def test_the_status_s_numbers_of_another_age_do_not_matter() -> None:
    now = (Cell(Decimal(5), 1, 2, 3, 4),)
    assert checked(now, seen=seen(1, 3, 3, 8, age="10m")) == now


def test_the_totals_of_a_restart_read_back_as_they_were_kept() -> None:
    restart = Restart(2, START, dict.fromkeys(cohorts(GOOD), GOOD))
    assert readings.load(2, START, readings.dump(restart)) == restart


def test_totals_that_are_something_else_are_refused() -> None:
    with pytest.raises(ValueError, match="not a duration"):
        readings.load(1, START, {"failures@soon": {}})


def test_a_user_s_own_counters_are_no_cohorts() -> None:
    own = {"name": "own", "type": "comparison", "bad": 'b{e="$engine"}', "total": 't{e="$engine"}'}
    document = spec(criteria=[*DOCUMENT["criteria"], own])
    assert {preset for preset, _ in readings.unread(document, Unreadable("Down", "m"))} == set(PRESETS)


def test_nothing_read_is_unreadable_for_every_criterion_and_age() -> None:
    why = Unreadable("Down", "m")
    assert readings.unread(spec(), why) == {(p, a): why for p in ("failures", "first-attempt-failures") for a in AGES}
    assert timedelta(minutes=1) in AGES
