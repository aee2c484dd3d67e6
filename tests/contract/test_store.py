"""The contract of every store."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from orchestrator import events as e
from orchestrator.decide import project
from orchestrator.errors import InvalidPayload, SchemaConflict
from orchestrator.fold import apply, fold
from orchestrator.housekeeping import LOGS_KEPT, sweep_logs
from orchestrator.model import Engine, Failure, Status
from orchestrator.store import Append, Control, Outcome, Release, Store, Totals, V1Update, open_store
from orchestrator.store.migrate import VERSION_TABLE
from tests.support.stores import LEASE, START, submission, workflow

if TYPE_CHECKING:
    from datetime import datetime

    from orchestrator.store import Claim


async def claim_one(store: Store, at: datetime = START) -> Claim:
    (claim,) = await store.claim("worker-1", Engine.V2, 10, LEASE, at)
    return claim


async def make_append(
    store: Store, claim: Claim, *events: e.Event, append_id: str = "a1", seq: int | None = None
) -> Append:
    state = fold(claim.id, await store.events(claim.id))
    for event in events:
        state = apply(state, event)
    return Append(
        execution_id=claim.id,
        append_id=append_id,
        fence=claim.fence,
        first_seq=seq if seq is not None else state.seq - len(events) + 1,
        events=events,
        projection=project(workflow(), state),
        due_at=None if state.status.terminal else START + LEASE,
        release=state.status.terminal,
        step_deadline=None,
    )


def completed(node: str, output: object = None, at: datetime = START) -> e.StepCompleted:
    return e.StepCompleted(at, node, "transform", 1, output, at, 1.5)


async def test_submit_is_durable_and_visible(store: Store) -> None:
    (answer,) = await store.submit([submission("x1")], START)
    assert (answer.id, answer.engine, answer.created) == ("x1", Engine.V2, True)
    record = await store.get("x1")
    assert record is not None
    assert (record.status, record.created_at, record.total) == (Status.PENDING, START, 2)
    assert [type(r.event) for r in await store.events("x1")] == [e.ExecutionSubmitted]


async def test_the_same_id_submits_once(store: Store) -> None:
    await store.submit([submission("x1")], START)
    (again,) = await store.submit([submission("x1", engine=Engine.V1)], START)
    assert (again.id, again.engine, again.created) == ("x1", Engine.V2, False)
    assert len(await store.events("x1")) == 1


async def test_the_same_id_twice_in_one_batch_submits_once(store: Store) -> None:
    answers = await store.submit([submission("x1"), submission("x1")], START)
    assert [a.created for a in answers] == [True, False]
    assert len(await store.events("x1")) == 1


async def test_the_same_idempotency_key_submits_once(store: Store) -> None:
    await store.submit([submission("x1", idempotency_key="k")], START)
    (again,) = await store.submit([submission("x2", idempotency_key="k")], START)
    assert (again.id, again.created) == ("x1", False)
    assert await store.get("x2") is None


async def test_a_key_belongs_to_its_workflow(store: Store) -> None:
    await store.submit([submission("x1", idempotency_key="k")], START)
    other = workflow(name="other")
    (answer,) = await store.submit([submission("x2", idempotency_key="k", workflow=other)], START)
    assert answer.created


async def test_an_input_that_no_store_can_keep_is_refused_by_name(store: Store) -> None:
    with pytest.raises(InvalidPayload, match=r"spec\.input holds a NUL"):
        await store.submit([submission("x1", input={"n": "a\x00b"})], START)


async def test_a_claim_starts_a_pending_execution_in_the_same_commit(store: Store) -> None:
    await store.submit([submission("x1")], START)
    claim = await claim_one(store)
    assert (claim.begun, claim.fence, claim.seq, claim.status) == (True, 1, 2, Status.RUNNING)
    assert type((await store.events("x1"))[-1].event) is e.ExecutionStarted


async def test_a_claimed_execution_is_not_claimed_again_before_its_lease_ends(store: Store) -> None:
    await store.submit([submission("x1")], START)
    await claim_one(store)
    assert await store.claim("worker-2", Engine.V2, 10, LEASE, START + LEASE / 2) == []
    (second,) = await store.claim("worker-2", Engine.V2, 10, LEASE, START + LEASE)
    assert (second.fence, second.begun) == (2, False)


async def test_concurrent_claims_never_share_an_execution(store: Store) -> None:
    await store.submit([submission(f"x{i}") for i in range(40)], START)
    claims = await asyncio.gather(*(store.claim(f"w{i}", Engine.V2, 10, LEASE, START) for i in range(4)))
    ids = [claim.id for batch in claims for claim in batch]
    assert len(ids) == len(set(ids))


async def test_an_append_commits_events_and_row_together(store: Store) -> None:
    await store.submit([submission("x1")], START)
    claim = await claim_one(store)
    append = await make_append(store, claim, completed("a", {"x": 1}))
    assert await store.append([append]) == [Outcome.COMMITTED]
    record = await store.get("x1")
    assert record is not None
    assert (record.done, record.seq, record.current_node) == (1, 3, "b")


async def test_the_row_is_always_what_the_fold_of_the_events_says(store: Store) -> None:
    await store.submit([submission("x1")], START)
    claim = await claim_one(store)
    failure = Failure("HttpStatus", "503", retryable=True, node="b")
    later = START + timedelta(seconds=1)
    first = await make_append(store, claim, completed("a", {"x": 1}))
    await store.append([first])
    failed = e.StepFailed(later, "b", "transform", 1, failure, START, 2.0, None)
    await store.append([await make_append(store, claim, failed, e.ExecutionFailed(later, failure), append_id="a2")])
    record = await store.get("x1")
    assert record is not None
    expected = project(workflow(), fold("x1", await store.events("x1")))
    assert (record.status, record.current_node, record.done, record.retries) == (
        expected.status,
        expected.current_node,
        expected.done,
        expected.retries,
    )
    assert (record.started_at, record.finished_at, record.failure) == (
        expected.started_at,
        expected.finished_at,
        expected.failure,
    )


async def test_the_same_append_again_is_recognised(store: Store) -> None:
    await store.submit([submission("x1")], START)
    append = await make_append(store, await claim_one(store), completed("a"))
    await store.append([append])
    assert await store.append([append]) == [Outcome.COMMITTED]
    assert [r.seq for r in await store.events("x1")] == [1, 2, 3]


async def test_a_worker_that_lost_its_lease_can_change_nothing(store: Store) -> None:
    await store.submit([submission("x1")], START)
    zombie = await claim_one(store)
    append = await make_append(store, zombie, completed("a"))
    await store.claim("worker-2", Engine.V2, 10, LEASE, START + LEASE)
    assert await store.append([append]) == [Outcome.FENCED]
    assert len(await store.events("x1")) == 2


async def test_a_zombie_in_the_same_flush_as_its_successor_changes_nothing(store: Store) -> None:
    await store.submit([submission("x1")], START)
    zombie = await claim_one(store)
    late = await make_append(store, zombie, completed("a", "zombie"), append_id="late")
    (successor,) = await store.claim("worker-2", Engine.V2, 10, LEASE, START + LEASE)
    good = await make_append(store, successor, completed("a", "successor"), append_id="good")
    assert await store.append([late, good]) == [Outcome.FENCED, Outcome.COMMITTED]
    assert [r.event.output for r in await store.events("x1") if isinstance(r.event, e.StepCompleted)] == ["successor"]


async def test_a_request_recorded_meanwhile_makes_an_append_stale_not_lost(store: Store) -> None:
    await store.submit([submission("x1")], START)
    claim = await claim_one(store)
    append = await make_append(store, claim, completed("a"))
    assert await store.control("x1", Control.CANCEL, START)
    assert await store.append([append]) == [Outcome.STALE]
    assert await store.append([replace(append, first_seq=4)]) == [Outcome.COMMITTED]
    assert [r.seq for r in await store.events("x1")] == [1, 2, 3, 4]


async def test_a_request_is_recorded_once(store: Store) -> None:
    await store.submit([submission("x1")], START)
    assert await store.control("x1", Control.CANCEL, START)
    assert not await store.control("x1", Control.CANCEL, START)
    assert not await store.control("nobody", Control.CANCEL, START)


async def test_nothing_is_asked_of_an_execution_that_is_over(store: Store) -> None:
    await store.submit([submission("x1")], START)
    claim = await claim_one(store)
    end: list[e.Event] = [completed("a"), completed("b"), e.ExecutionSucceeded(START, {"y": 1})]
    await store.append([await make_append(store, claim, *end)])
    assert not await store.control("x1", Control.CANCEL, START)
    assert await store.claim("w", Engine.V2, 10, LEASE, START + timedelta(days=1)) == []


async def test_an_unowned_execution_is_due_at_once_when_something_is_asked(store: Store) -> None:
    await store.submit([submission("x1", suspended="Restored")], START)
    assert await store.claim("w", Engine.V2, 10, LEASE, START) == []
    await store.control("x1", Control.RESUME, START)
    (claim,) = await store.claim("w", Engine.V2, 10, LEASE, START)
    assert (claim.status, claim.begun) == (Status.SUSPENDED, False)


async def test_renewing_tells_which_leases_are_still_ours(store: Store) -> None:
    await store.submit([submission("x1"), submission("x2")], START)
    claims = {c.id: c for c in await store.claim("w", Engine.V2, 10, LEASE, START)}
    await store.release({"x2": Release(claims["x2"].fence, claims["x2"].seq, START)}, START)
    await store.claim("other", Engine.V2, 10, LEASE, START)
    ours = await store.renew({i: c.fence for i, c in claims.items()}, LEASE, START + LEASE / 2)
    assert ours == {"x1": 2}
    assert await store.claim("w2", Engine.V2, 10, LEASE, START + LEASE) != []


async def test_a_released_execution_waits_for_its_moment(store: Store) -> None:
    await store.submit([submission("x1")], START)
    claim = await claim_one(store)
    due = START + timedelta(hours=1)
    await store.release({"x1": Release(claim.fence, claim.seq, due)}, START)
    assert await store.next_due() == due
    assert await store.claim("w", Engine.V2, 10, LEASE, due - timedelta(seconds=1)) == []
    assert len(await store.claim("w", Engine.V2, 10, LEASE, due)) == 1


async def test_v1_executions_are_claimed_once_and_for_good(store: Store) -> None:
    await store.submit([submission("x1", engine=Engine.V1)], START)
    (claim,) = await store.claim("w", Engine.V1, 10, LEASE, START)
    assert claim.input == {"n": 1}
    assert await store.claim("w", Engine.V1, 10, LEASE, START + timedelta(days=30)) == []
    assert await store.events("x1") == []


async def test_v1_learns_of_a_cancel_at_its_next_node(store: Store) -> None:
    await store.submit([submission("x1", engine=Engine.V1)], START)
    (claim,) = await store.claim("w", Engine.V1, 10, LEASE, START)
    record = await store.get(claim.id)
    assert record is not None
    row = project(workflow(), fold("p", [e.Recorded(1, e.ExecutionSubmitted(START, "default/chain", "r", {}))]))
    row = replace(row, status=Status.RUNNING)
    assert await store.v1_update([V1Update("x1", row, None)]) == [False]
    await store.control("x1", Control.CANCEL, START)
    assert await store.v1_update([V1Update("x1", row, None)]) == [True]


async def test_a_pending_v1_execution_is_cancelled_at_once(store: Store) -> None:
    await store.submit([submission("x1", engine=Engine.V1)], START)
    await store.control("x1", Control.CANCEL, START)
    record = await store.get("x1")
    assert record is not None
    assert record.status is Status.CANCELLED


async def test_a_workflow_revision_survives_in_the_store(store: Store, database: str) -> None:
    await store.put_workflow(workflow())
    other = await open_store(database)
    try:
        kept = await other.workflow("default/chain", workflow().revision)
    finally:
        await other.close()
    assert kept == workflow()


async def test_dirty_rows_are_offered_until_they_are_written(store: Store) -> None:
    every = timedelta(seconds=5)
    await store.submit([submission("x1", name="one"), submission("x2")], START)
    (dirty,) = await store.dirty(START, 10, every)
    assert dirty.id == "x1"
    await store.written({"x1": (dirty.version, dirty.status)}, START)
    assert await store.dirty(START, 10, every) == []


async def test_a_changed_node_is_written_at_most_once_in_a_while_but_a_changed_status_at_once(store: Store) -> None:
    every = timedelta(seconds=5)
    await store.submit([submission("x1", name="one")], START)
    claim = await claim_one(store)
    (dirty,) = await store.dirty(START, 10, every)
    await store.written({"x1": (dirty.version, dirty.status)}, START)
    await store.append([await make_append(store, claim, completed("a"))])
    assert await store.dirty(START + timedelta(seconds=1), 10, every) == []
    assert len(await store.dirty(START + every, 10, every)) == 1
    end = await make_append(store, claim, completed("b"), e.ExecutionSucceeded(START, None), append_id="a2")
    await store.append([end])
    assert len(await store.dirty(START + timedelta(seconds=1), 10, every)) == 1


async def test_a_log_line_is_committed_with_its_submission(store: Store) -> None:
    await store.submit([submission("x1", log_line="Usando Orchestrator V2 execution=x1")], START)
    await store.log_edge(["ERROR something"], START)
    assert [line for _, line in await store.edge_logs(START, contains="Usando Orchestrator V2")] == [
        "Usando Orchestrator V2 execution=x1"
    ]
    assert len(await store.edge_logs(START)) == 2


async def test_log_lines_are_kept_for_a_bounded_time(store: Store) -> None:
    later = START + LOGS_KEPT
    await store.log_edge([f"old {i}" for i in range(2500)], START - timedelta(seconds=1))
    await store.log_edge(["young"], START)
    assert await sweep_logs(store, later) == 2500
    assert [line for _, line in await store.edge_logs(START - timedelta(days=1))] == ["young"]
    assert await sweep_logs(store, later) == 0


async def test_cohorts_are_counted_once_at_each_age(store: Store) -> None:
    ages = (10.0, 60.0)
    await store.submit([submission("x1", attempt="r-1", ages=ages, percent="5")], START)
    assert await store.count_cohorts(START + timedelta(seconds=9)) == 0
    assert await store.count_cohorts(START + timedelta(seconds=10)) == 1
    assert await store.count_cohorts(START + timedelta(seconds=11)) == 0
    assert await store.count_cohorts(START + timedelta(seconds=60)) == 1
    counts = {(c.criterion, c.age, c.outcome): c.value for c in await store.cohort_counts("r-1")}
    assert counts[("failures", "10s", "good")] == 1
    assert counts[("failures", "1m", "bad")] == 1  # not finished at the last age, though nothing in it waits


async def test_a_failure_counts_as_bad_from_the_age_that_it_was_there_at(store: Store) -> None:
    await store.submit([submission("x1", attempt="r-1", ages=(10.0, 60.0), percent="5")], START)
    claim = await claim_one(store)
    failure = Failure("HttpStatus", "500", node="a")
    at = START + timedelta(seconds=30)
    failed = e.StepFailed(at, "a", "transform", 1, failure, START, 1.0, None)
    await store.append([await make_append(store, claim, failed, e.ExecutionFailed(at, failure))])
    await store.count_cohorts(START + timedelta(minutes=5))
    await store.count_cohorts(START + timedelta(minutes=5))
    counts = {(c.criterion, c.age, c.outcome): c.value for c in await store.cohort_counts("r-1")}
    assert counts[("failures", "10s", "good")] == 1
    assert counts[("failures", "1m", "bad")] == 1


async def test_explicit_and_unjudged_executions_are_not_counted(store: Store) -> None:
    from orchestrator.model import Assignment

    await store.submit([submission("x1", attempt="r-1", ages=(1.0,), assignment=Assignment.EXPLICIT)], START)
    await store.submit([submission("x2")], START)
    await store.count_cohorts(START + timedelta(minutes=1))
    assert await store.cohort_counts() == []


async def test_totals_of_a_restart_are_kept_as_first_stored(store: Store) -> None:
    await store.save_totals("r-1", Totals(0, START, {"k": 1}))
    await store.save_totals("r-1", Totals(0, START, {"k": 2}))
    assert await store.totals("r-1") == [Totals(0, START, {"k": 1})]


async def test_gauges_see_what_runs_what_stalls_and_what_queues(store: Store) -> None:
    poll = timedelta(seconds=1)
    await store.submit([submission("x1"), submission("v", engine=Engine.V1)], START)
    gauges = await store.gauges(START + timedelta(seconds=7), poll)
    assert gauges.queue_oldest_seconds == 7
    await claim_one(store)
    gauges = await store.gauges(START + timedelta(minutes=11), poll)
    assert (gauges.running[Engine.V2], gauges.long_running[Engine.V2], gauges.stalled[Engine.V2]) == (1, 1, 1)
    assert gauges.running[Engine.V1] == 0


async def test_what_is_suspended_is_not_in_flight(store: Store) -> None:
    await store.submit([submission("x1"), submission("x2", suspended="Restored")], START)
    assert await store.in_flight(Engine.V2) == 1


async def test_monitoring_views_tell_the_commit_time_of_a_checkpoint_once_it_is_known(
    store: Store, database: str
) -> None:
    await store.submit([submission("x1")], START)
    claim = await claim_one(store)
    await store.append([await make_append(store, claim, completed("a"))])
    second = await make_append(store, claim, completed("b"), append_id="a2")
    await store.append([replace(second, timed_append=3, timed_ms=12.5)])
    url = sa.make_url(database)
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        value = (
            "metadata ->> 'duration_ms'"
            if url.get_backend_name() == "sqlite"
            else "(metadata->>'duration_ms')::numeric"
        )
        rows = connection.execute(
            sa.text(f"SELECT node_id, version, {value} FROM workflow_checkpoints ORDER BY version")
        ).all()
        steps = connection.execute(sa.text("SELECT node_id, attempt, status FROM workflow_step_executions")).all()
        metrics = connection.execute(sa.text("SELECT node_id, retry_count, status FROM workflow_metrics")).all()
    engine.dispose()
    assert [(r[0], r[1], r[2] if r[2] is None else float(r[2])) for r in rows] == [("a", 3, 12.5), ("b", 4, None)]
    assert sorted(tuple(r) for r in steps) == [("a", 1, "success"), ("b", 1, "success")]
    assert sorted(tuple(r) for r in metrics) == [("a", 0, "success"), ("b", 0, "success")]


async def test_opening_again_keeps_the_epoch(store: Store, database: str) -> None:
    again = await open_store(database)
    try:
        assert await again.epoch() == await store.epoch()
    finally:
        await again.close()


async def test_tables_that_we_did_not_make_are_not_touched(database: str) -> None:
    engine = sa.create_engine(sa.make_url(database))
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE workflow_executions (id int)"))
    with pytest.raises(SchemaConflict, match="workflow_executions"):
        await open_store(database)
    with engine.begin() as connection:
        assert VERSION_TABLE not in sa.inspect(connection).get_table_names()
    engine.dispose()


async def test_the_migrations_make_exactly_the_declared_tables(store: Store, database: str) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    from orchestrator.store.tables import metadata, views

    engine = sa.create_engine(sa.make_url(database))
    known = {*metadata.tables, *views("sqlite")}
    options = {"include_name": lambda name, kind, _parents: kind != "table" or name in known}
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts=options)
        differences = [d for d in compare_metadata(context, metadata) if d[0] != "modify_type"]
    engine.dispose()
    assert differences == []
