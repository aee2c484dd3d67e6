"""What a reading raises: pure, so whatever happens to an execution can be tried."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.cohorts import (
    CALIBRATION,
    CRITERIA,
    Facts,
    Moment,
    Reading,
    calibration_arm,
    middle,
    outcomes,
    raised,
)
from orchestrator.model import Assignment, Engine, Status
from orchestrator.router import falls_on_v2
from tests.support.stores import START

GRACE = timedelta(seconds=2)
AGES = (timedelta(minutes=1), timedelta(minutes=10), timedelta(hours=24))

seconds = st.integers(0, 100_000).map(lambda n: timedelta(seconds=n))
moments = seconds.map(lambda after: START + after)
facts = st.builds(
    Facts,
    engine=st.sampled_from(Engine),
    status=st.sampled_from(Status),
    created_at=st.just(START),
    finished_at=st.none() | moments,
    step_deadline=st.none() | moments,
    waits=st.booleans(),
    baseline=st.none() | seconds,
    history=st.lists(
        st.builds(
            Moment, moments, st.sampled_from(["StepFailed", "StepCompleted"]), st.integers(1, 3), st.floats(0, 500)
        ),
        max_size=4,
    ),
)


@st.composite
def readings(draw: st.DrawFn) -> Reading:
    index = draw(st.integers(0, len(AGES) - 1))
    return Reading(
        execution_id=draw(st.uuids()).hex,
        attempt="r-1",
        assignment=draw(st.sampled_from(Assignment)),
        percent=draw(st.sampled_from(["0", "5", "12.5", "99", "100"])),
        descended=draw(st.booleans()),
        age=AGES[index],
        index=index,
        ages=len(AGES),
        cutoff=START + AGES[index],
    )


def criteria(labels: list[Any]) -> Counter[str]:
    return Counter(criterion for _, _, criterion, *_ in labels)


@given(facts, readings())
def test_every_reading_raises_each_counter_at_most_once_and_under_its_own_labels(fact: Facts, reading: Reading) -> None:
    found = raised(fact, reading, GRACE)
    assert max(criteria(found).values(), default=1) == 1
    for attempt, engine, criterion, outcome, assignment, percent, _ in found:
        assert (attempt, engine, assignment, percent) == ("r-1", fact.engine, reading.assignment, reading.percent)
        assert outcome in ("bad", "good")
        assert criterion in (*CRITERIA, "starts", *CALIBRATION)


@given(facts, readings())
def test_only_what_a_coin_or_a_key_sent_is_counted(fact: Facts, reading: Reading) -> None:
    found = raised(fact, reading, GRACE)
    assert bool(found) <= (reading.assignment is not Assignment.EXPLICIT and not reading.descended)


@given(facts, readings())
def test_every_execution_starts_once_whatever_becomes_of_it(fact: Facts, reading: Reading) -> None:
    reading = replace(reading, assignment=Assignment.EXECUTION, descended=False)
    assert criteria(raised(fact, reading, GRACE))["starts"] == (reading.index == 0)


@given(facts, readings())
def test_v1_s_failures_at_the_middle_age_are_counted_once_more_in_one_arm(fact: Facts, reading: Reading) -> None:
    reading = replace(reading, assignment=Assignment.EXECUTION, descended=False)
    found = raised(replace(fact, engine=Engine.V1, status=Status.FAILED), reading, GRACE)
    by_criterion = {criterion: outcome for _, _, criterion, outcome, *_ in found}
    arms = {criterion: outcome for criterion, outcome in by_criterion.items() if criterion in CALIBRATION}
    expected = {calibration_arm(reading.execution_id, reading.percent): by_criterion["failures"]}
    assert arms == (expected if reading.index == middle(len(AGES)) else {})


@given(facts, readings())
def test_what_happened_after_the_age_changes_nothing_that_is_over(fact: Facts, reading: Reading) -> None:
    """An execution that ended in time is read alike, however late it is read."""
    fact = replace(fact, finished_at=min(fact.finished_at or reading.cutoff, reading.cutoff))
    later = [*fact.history, Moment(reading.cutoff + GRACE, "StepFailed", 1, 400.0)]
    assert raised(fact, reading, GRACE) == raised(replace(fact, history=later), reading, GRACE)


@given(facts, seconds)
def test_slower_than_a_longer_baseline_is_slower_than_a_shorter_one(fact: Facts, baseline: timedelta) -> None:
    def slower(than: timedelta) -> bool:
        known = replace(fact, baseline=than)
        return outcomes(known, START + AGES[1], GRACE, last_age=False)["slower-than-baseline"]

    assert slower(baseline + timedelta(seconds=1)) <= slower(baseline)


def test_an_execution_that_a_person_suspended_is_not_slow() -> None:
    fact = Facts(Engine.V2, Status.SUSPENDED, START, None, None, waits=False, baseline=GRACE, history=())
    assert not outcomes(fact, START + AGES[1], GRACE, last_age=False)["slower-than-baseline"]


@pytest.mark.parametrize("percent", ["5", "50", "99"])
def test_the_second_coin_has_the_first_one_s_chance_and_knows_nothing_of_it(percent: str) -> None:
    share = Decimal(percent)
    on_v1 = [key for n in range(20_000) if not falls_on_v2(key := f"uid-{n}", share)]
    second = sum(calibration_arm(key, percent) == CALIBRATION[1] for key in on_v1)
    expected = len(on_v1) * float(share) / 100
    deviation = (expected * (1 - float(share) / 100)) ** 0.5
    assert abs(second - expected) < 4 * deviation  # the keys are fixed, and so is the answer
