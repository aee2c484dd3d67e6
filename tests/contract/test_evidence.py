"""Cohort counters, totals and gauges."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta

import pytest

from orchestrator import events as e
from orchestrator.cohorts import calibration_arm
from orchestrator.model import Assignment, Engine, Failure, Lineage, Status
from orchestrator.store import Control, Store, Totals
from tests.support.stores import (
    START,
    after,
    claim_one,
    commit,
    completed,
    end,
    projection,
    submission,
    v1_ends,
)

JUDGED = {"attempt": "r-1", "percent": "5"}


async def counts(store: Store, attempt: str | None = "r-1") -> dict[tuple[str, str, str], int]:
    return {(c.criterion, c.age, c.outcome): c.value for c in await store.cohort_counts(attempt)}


async def test_cohorts_are_counted_once_at_each_age(store: Store) -> None:
    await store.submit([submission("x1", ages=(10.0, 60.0), **JUDGED)], START)
    read = [await store.count_cohorts(after(seconds)) for seconds in (9, 10, 11, 60, 61)]
    assert read == [0, 1, 0, 1, 0]
    counted = await counts(store)
    assert counted["failures", "10s", "good"] == 1
    assert counted["failures", "1m", "bad"] == 1  # not finished at the last age, though nothing in it waits


async def test_a_failure_counts_as_bad_from_the_age_that_it_was_there_at(store: Store) -> None:
    await store.submit([submission("x1", ages=(10.0, 60.0), **JUDGED)], START)
    await fail(store, "x1", 30)
    await store.count_cohorts(after(300))
    await store.count_cohorts(after(300))
    counted = await counts(store)
    assert counted["failures", "10s", "good"] == counted["failures", "1m", "bad"] == 1


async def fail(store: Store, execution_id: str, seconds: float) -> None:
    failure, at = Failure("HttpStatus", "500", node="a"), after(seconds)
    claim = await claim_one(store, execution_id)
    failed = e.StepFailed(at, "a", "transform", 1, failure, START, 1.0, None)
    over = projection(Status.FAILED, finished_at=at, failure=failure)
    await commit(store, claim, failed, e.ExecutionFailed(at, failure), projection=over)


async def test_the_second_before_an_age_counts_and_the_second_after_does_not(store: Store) -> None:
    for id_, seconds in (("early", 9.0), ("late", 11.0)):
        await store.submit([submission(id_, attempt=id_, ages=(10.0, 60.0), percent="5")], START)
        await fail(store, id_, seconds)
    await store.count_cohorts(after(30))
    outcomes = {(c.attempt, c.criterion): c.outcome for c in await store.cohort_counts()}
    assert outcomes["early", "failures"] == outcomes["early", "first-attempt-failures"] == "bad"
    assert outcomes["late", "failures"] == outcomes["late", "first-attempt-failures"] == "good"


async def test_a_slow_checkpoint_counts_once_it_is_known(store: Store) -> None:
    await store.submit([submission("x1", ages=(10.0,), **JUDGED)], START)
    claim = await claim_one(store)
    await commit(store, claim, completed("a"))
    await commit(store, claim, completed("b"), first_seq=4, timed_append=3, timed_ms=150.0)
    await store.count_cohorts(after(10))
    assert (await counts(store))["slow-checkpoints", "10s", "bad"] == 1


async def test_explicit_and_unjudged_executions_are_not_counted(store: Store) -> None:
    explicit = submission("x1", attempt="r-1", ages=(1.0,), assignment=Assignment.EXPLICIT)
    await store.submit([explicit, submission("x2")], START)
    await store.count_cohorts(after(60))
    assert await store.cohort_counts() == []


async def test_an_execution_is_counted_once_however_many_count(store: Store) -> None:
    await store.submit([submission(f"x{i}", ages=(10.0,), **JUDGED) for i in range(40)], START)
    read = await asyncio.gather(*(store.count_cohorts(after(10), limit=15) for _ in range(4)))
    read.append(await store.count_cohorts(after(10)))
    counted = await counts(store)
    assert sum(read) == 40
    assert counted["failures", "10s", "bad"] + counted.get(("failures", "10s", "good"), 0) == 40


@pytest.mark.parametrize("engine", Engine)
async def test_what_was_cancelled_before_its_age_is_not_counted(store: Store, engine: Engine) -> None:
    await store.submit([submission("x1", ages=(10.0,), engine=engine, **JUDGED)], START)
    await store.control("x1", Control.CANCEL, START)
    if engine is Engine.V2:
        await end(store, await claim_one(store))
    assert await store.count_cohorts(after(10)) == 1
    assert {c.criterion for c in await store.cohort_counts("r-1")} == {"starts"}  # it was started all the same


@pytest.mark.parametrize("assignment", [Assignment.EXECUTION, Assignment.KEY])
async def test_a_start_is_counted_once_and_with_its_assignment(store: Store, assignment: Assignment) -> None:
    await store.submit([submission("x1", ages=(10.0, 60.0), assignment=assignment, **JUDGED)], START)
    await store.count_cohorts(after(10))
    await store.count_cohorts(after(60))
    found = [c for c in await store.cohort_counts("r-1") if c.criterion == "starts"]
    assert [(c.assignment, c.outcome, c.age, c.percent, c.value) for c in found] == [
        (assignment, "good", "10s", "5", 1)
    ]


async def test_children_and_forks_are_not_counted(store: Store) -> None:
    fork = submission("f", ages=(1.0,), lineage=Lineage("x0", 1, "x0"), **JUDGED)
    await store.submit([submission("c", ages=(1.0,), parent="x0", **JUDGED), fork], START)
    assert await store.count_cohorts(after(1)) == 2
    assert await store.cohort_counts() == []


async def test_v1_is_split_once_more_at_the_middle_age(store: Store) -> None:
    ids = [f"v{i}" for i in range(20)]
    judged = {"attempt": "r-1", "percent": "50", "ages": (1.0, 10.0, 60.0), "engine": Engine.V1}
    await store.submit([submission(id_, **judged) for id_ in ids], START)
    await v1_ends(store, dict.fromkeys(ids, 5.0), Status.FAILED)
    for seconds in (1, 10, 60):
        await store.count_cohorts(after(seconds))
    arms = {c.criterion: c for c in await store.cohort_counts() if c.criterion.startswith("calibration-")}
    expected = Counter(calibration_arm(id_, "50") for id_ in ids)
    assert {(name, c.outcome, c.age): c.value for name, c in arms.items()} == {
        (name, "bad", "10s"): count for name, count in expected.items()
    }
    assert len(expected) == 2


@pytest.mark.parametrize(
    ("seconds", "outcome"), [(95.0, "good"), (95.5, "bad"), (None, "bad")], ids=["as-slow", "slower", "not-finished"]
)
async def test_an_execution_is_slower_than_19_of_20_on_v1_were(
    store: Store, seconds: float | None, outcome: str
) -> None:
    await history(store, 100)
    await store.submit([submission("x1", ages=(60.0, 120.0), **JUDGED)], START)
    if seconds is not None:
        await end(store, await claim_one(store), Status.SUCCESS, after(seconds))
    await store.count_cohorts(after(60))
    await store.count_cohorts(after(120))
    counted = {key: n for key, n in (await counts(store)).items() if key[0] == "slower-than-baseline"}
    assert counted == {("slower-than-baseline", "1m", "good"): 1, ("slower-than-baseline", "2m", outcome): 1}


async def test_v1_is_held_against_its_own_history_alike(store: Store) -> None:
    await history(store, 100)
    await store.submit([submission("v", ages=(120.0,), engine=Engine.V1, **JUDGED)], START)
    await v1_ends(store, {"v": 96.0})
    await store.count_cohorts(after(120))
    assert (await counts(store))["slower-than-baseline", "2m", "bad"] == 1


async def test_a_workflow_with_too_little_history_has_no_duration_to_be_held_against(store: Store) -> None:
    await history(store, 99)
    await store.submit([submission("x1", ages=(60.0,), **JUDGED)], START)
    await store.count_cohorts(after(60))
    assert "slower-than-baseline" not in {criterion for criterion, _, _ in await counts(store)}


async def history(store: Store, executions: int) -> None:
    """So many of V1, of 1, 2, 3 … seconds, and the baselines taken of them."""
    ids = {f"before-{i}": float(i) for i in range(1, executions + 1)}
    await store.submit([submission(id_, engine=Engine.V1) for id_ in ids], START)
    await v1_ends(store, ids)
    await store.take_baselines("r-1", START, after(executions + 1))


async def test_counters_are_read_of_one_attempt_or_of_all(store: Store) -> None:
    for attempt in ("r-1", "r-2"):
        await store.submit([submission(attempt, attempt=attempt, ages=(1.0,), percent="5")], START)
    await store.count_cohorts(after(1))
    assert {count.attempt for count in await store.cohort_counts("r-1")} == {"r-1"}
    assert {count.attempt for count in await store.cohort_counts()} == {"r-1", "r-2"}


async def test_totals_of_a_restart_are_kept_as_first_stored(store: Store) -> None:
    await store.save_totals("r-1", Totals(0, START, {"k": 1}))
    await store.save_totals("r-1", Totals(0, START, {"k": 2}))
    assert await store.totals("r-1") == [Totals(0, START, {"k": 1})]


async def test_totals_are_read_in_the_order_of_their_restarts(store: Store) -> None:
    for index in (10, 2, 1):
        await store.save_totals("r-1", Totals(index, START, {}))
    await store.save_totals("r-2", Totals(0, START, {}))
    assert [totals.index for totals in await store.totals("r-1")] == [1, 2, 10]


# -- gauges

POLL = timedelta(seconds=1)


async def test_the_oldest_of_the_queue_is_measured_from_when_it_was_due(store: Store) -> None:
    await store.submit([submission("x1"), submission("v", engine=Engine.V1)], START)
    assert (await store.gauges(after(7), POLL)).queue_oldest_seconds == 7


async def test_nothing_queues_in_an_empty_store(store: Store) -> None:
    gauges = await store.gauges(START, POLL)
    assert (gauges.queue_oldest_seconds, gauges.running) == (0.0, {Engine.V1: 0, Engine.V2: 0})


async def test_what_runs_is_counted_by_engine(store: Store) -> None:
    await store.submit([submission("x1"), submission("v", engine=Engine.V1)], START)
    await claim_one(store)
    assert (await store.gauges(after(1), POLL)).running == {Engine.V1: 0, Engine.V2: 1}


async def test_what_runs_for_more_than_ten_minutes_is_counted(store: Store) -> None:
    await store.submit([submission("x1")], START)
    await claim_one(store)
    assert (await store.gauges(after(600), POLL)).long_running[Engine.V2] == 0
    assert (await store.gauges(after(601), POLL)).long_running[Engine.V2] == 1


async def test_what_its_owner_left_alone_stalls(store: Store) -> None:
    await store.submit([submission("x1")], START)
    await claim_one(store)
    assert (await store.gauges(after(15), POLL)).stalled[Engine.V2] == 0
    assert (await store.gauges(after(18), POLL)).stalled[Engine.V2] == 1


async def test_what_is_past_its_steps_deadline_stalls(store: Store) -> None:
    await store.submit([submission("x1")], START)
    claim = await claim_one(store)
    await commit(store, claim, completed("a"), step_deadline=after(5))
    assert (await store.gauges(after(8), POLL)).stalled[Engine.V2] == 1


async def test_what_is_suspended_is_not_in_flight(store: Store) -> None:
    await store.submit([submission("x1"), submission("x2", suspended="Restored")], START)
    assert await store.in_flight(Engine.V2) == 1


async def test_what_is_over_is_not_in_flight(store: Store) -> None:
    await store.submit([submission("x1")], START)
    await end(store, await claim_one(store))
    assert await store.in_flight(Engine.V2) == 0
