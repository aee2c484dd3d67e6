"""What must hold of a store when several hands are on the same rows."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from orchestrator import events as e
from orchestrator.decide import project
from orchestrator.errors import InvalidPayload, StoreUnavailable
from orchestrator.fold import apply, fold
from orchestrator.model import Engine, Failure
from orchestrator.store import Append, Control, Outcome, Release, Store, open_store
from tests.support.stores import LEASE, START, submission, workflow

if TYPE_CHECKING:
    from datetime import datetime

    from orchestrator.model import Execution
    from orchestrator.store import Claim
    from tests.support.postgres import LocalPostgres


async def claim_one(store: Store, at: datetime = START) -> Claim:
    (claim,) = await store.claim("worker-1", Engine.V2, 10, LEASE, at)
    return claim


def appending(claim: Claim, state: Execution, event: e.Event, due_at: datetime) -> tuple[Append, Execution]:
    after = apply(state, event)
    append = Append(
        execution_id=claim.id,
        append_id=f"{claim.id}-{after.seq}",
        fence=claim.fence,
        first_seq=after.seq,
        events=(event,),
        projection=project(workflow(), after),
        due_at=due_at,
        release=False,
        step_deadline=None,
    )
    return append, after


def completed(node: str, output: object = None) -> e.StepCompleted:
    return e.StepCompleted(START, node, "transform", 1, output, START, 1.5)


@pytest.mark.parametrize("due", [None, START + timedelta(days=30)])
async def test_a_release_does_not_lose_a_request_that_it_did_not_know_of(store: Store, due: datetime | None) -> None:
    await store.submit([submission("x1")], START)
    claim = await claim_one(store)
    assert await store.control("x1", Control.CANCEL, START)
    await store.release({"x1": Release(claim.fence, claim.seq, due)}, START)
    assert [c.id for c in await store.claim("w", Engine.V2, 10, LEASE, START)] == ["x1"]


async def test_a_release_by_a_zombie_changes_nothing(store: Store) -> None:
    await store.submit([submission("x1")], START)
    zombie = await claim_one(store)
    await store.claim("worker-2", Engine.V2, 10, LEASE, START + LEASE)
    await store.release({"x1": Release(zombie.fence, zombie.seq, None)}, START + LEASE)
    record = await store.get("x1")
    assert record is not None
    assert (record.owner, record.due_at) == ("worker-2", START + 2 * LEASE)


async def test_an_append_that_waited_long_does_not_shorten_a_lease_that_was_renewed_meanwhile(store: Store) -> None:
    await store.submit([submission("x1")], START)
    claim = await claim_one(store)
    state = fold("x1", await store.events("x1"))
    append, _ = appending(claim, state, completed("a"), START + LEASE)
    await store.renew({"x1": claim.fence}, LEASE, START + LEASE / 2)
    assert await store.append([append]) == [Outcome.COMMITTED]
    assert await store.claim("worker-2", Engine.V2, 10, LEASE, START + LEASE) == []


async def test_a_renewal_on_its_way_while_an_execution_was_let_go_does_not_put_off_its_timer(store: Store) -> None:
    """Else a timer of two seconds would ring when the lease would have ended."""
    await store.submit([submission("x1")], START)
    claim = await claim_one(store)
    due = START + timedelta(seconds=2)
    await store.release({"x1": Release(claim.fence, claim.seq, due)}, START)
    await store.renew({"x1": claim.fence}, LEASE, START)
    assert await store.next_due() == due
    assert len(await store.claim("worker-2", Engine.V2, 10, LEASE, due)) == 1


async def test_hands_on_the_same_rows_never_wait_for_each_other_in_a_ring(store: Store) -> None:
    """A deadlock would cost PostgreSQL a second and one of the two writers its work."""
    ids = [f"x{i:03}" for i in range(120)]
    await store.submit([submission(id_, name=id_) for id_ in ids], START)
    claims = await store.claim("worker-1", Engine.V2, len(ids), LEASE, START)
    held = {claim.id: claim.fence for claim in claims}
    states = {claim.id: fold(claim.id, await store.events(claim.id)) for claim in claims}
    chance = random.Random(7)
    over = asyncio.Event()

    async def appends() -> None:
        for round_ in range(40):
            chance.shuffle(claims)
            batch = []
            for claim in claims[:80]:
                event = e.SuspendRequested(START) if round_ % 2 else e.ResumeRequested(START)
                append, states[claim.id] = appending(claim, states[claim.id], event, START + LEASE)
                batch.append(append)
            assert set(await store.append(batch)) == {Outcome.COMMITTED}
        over.set()

    async def renewals() -> None:
        while not over.is_set():
            shuffled = chance.sample(sorted(held.items()), len(held))
            assert len(await store.renew(dict(shuffled), LEASE, START)) == len(held)

    async def written() -> None:
        while not over.is_set():
            dirty = await store.dirty(START, 1000, timedelta(0))
            chance.shuffle(dirty)
            await store.written({record.id: (record.version, record.status) for record in dirty}, START)

    async with asyncio.TaskGroup() as group:
        for work in (appends, renewals, written):
            group.create_task(work())


async def test_a_repeated_submission_looks_only_for_its_own_id_and_key(store: Store) -> None:
    await store.submit([submission(f"x{i}") for i in range(20)], START)
    statements: list[str] = []
    engine = store._engine.sync_engine  # type: ignore[attr-defined]  # to see what is asked of the database
    sa.event.listen(engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    await store.submit([submission("x1")], START)
    assert not [text for text in statements if "idempotency_key IS NULL" in text]


async def test_both_keep_or_refuse_the_same_values(store: Store) -> None:
    await store.submit([submission("x1")], START)
    claim = await claim_one(store)
    state = fold("x1", await store.events("x1"))
    for value in (float("nan"), "a\x00b", "\ud800"):
        append, _ = appending(claim, state, completed("a", value), START + LEASE)
        with pytest.raises(InvalidPayload):
            await store.append([append])


async def test_a_server_that_became_read_only_is_away_for_writers(postgres: LocalPostgres) -> None:
    """After a failover a connection may end at the old primary: what it refuses is not our data's fault."""
    url = postgres.create_database()
    store = await open_store(url)
    try:
        await store.submit([submission("x1")], START)
        claim = await claim_one(store)
        append, _ = appending(claim, fold("x1", await store.events("x1")), completed("a"), START + LEASE)
        await store._engine.dispose()  # type: ignore[attr-defined]  # the next connections are new ones
        admin = sa.create_engine(url, isolation_level="AUTOCOMMIT")
        name = sa.make_url(url).database
        with admin.connect() as connection:
            connection.execute(sa.text(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'))
        admin.dispose()
        with pytest.raises(StoreUnavailable):
            await store.append([append])
        with pytest.raises(StoreUnavailable):
            await store.renew({"x1": claim.fence}, LEASE, START)
    finally:
        await store.close()


async def test_a_dirty_row_that_changed_while_it_was_written_is_offered_again(store: Store) -> None:
    await store.submit([submission("x1", name="one")], START)
    (read,) = await store.dirty(START, 10, timedelta(0))
    await claim_one(store)
    await store.written({"x1": (read.version, read.status)}, START)
    (again,) = await store.dirty(START, 10, timedelta(seconds=5))
    assert again.version > read.version


async def test_several_processes_may_make_the_same_database_at_once(database: str) -> None:
    stores = await asyncio.gather(*(open_store(database) for _ in range(6)))
    epochs = {await store.epoch() for store in stores}
    for store in stores:
        await store.close()
    assert len(epochs) == 1


@pytest.mark.parametrize("engine", [Engine.V1, Engine.V2])
async def test_an_execution_suspended_at_submission_can_be_cancelled(store: Store, engine: Engine) -> None:
    await store.submit([submission("x1", suspended="Restored", engine=engine)], START)
    assert await store.control("x1", Control.CANCEL, START)
    claimed = await store.claim("w", engine, 10, LEASE, START)
    assert [claim.id for claim in claimed] == ([] if engine is Engine.V1 else ["x1"])


async def test_a_request_and_an_append_at_once_leave_no_gap(store: Store) -> None:
    ids = [f"x{i}" for i in range(30)]
    await store.submit([submission(id_) for id_ in ids], START)
    claims = await store.claim("worker-1", Engine.V2, 30, LEASE, START)
    appends = []
    for claim in claims:
        append, _ = appending(claim, fold(claim.id, await store.events(claim.id)), completed("a"), START + LEASE)
        appends.append(append)
    appended = asyncio.create_task(store.append(appends))
    assert all(await asyncio.gather(*(store.control(id_, Control.CANCEL, START) for id_ in ids)))
    outcomes = await appended
    for append, outcome in zip(appends, outcomes, strict=True):
        history = await store.events(append.execution_id)
        state = fold(append.execution_id, history)
        record = await store.get(append.execution_id)
        assert record is not None
        assert (state.seq, state.cancel_requested, state.node("a").attempts) == (
            record.seq,
            True,
            1 if outcome is Outcome.COMMITTED else 0,
        )


async def test_an_execution_is_counted_once_however_many_count(store: Store) -> None:
    await store.submit([submission(f"x{i}", attempt="r-1", ages=(10.0,), percent="5") for i in range(40)], START)
    at = START + timedelta(seconds=10)
    read = await asyncio.gather(*(store.count_cohorts(at, limit=15) for _ in range(4)))
    read.append(await store.count_cohorts(at))
    counts = {(c.criterion, c.outcome): c.value for c in await store.cohort_counts("r-1")}
    assert (sum(read), counts["failures", "bad"] + counts.get(("failures", "good"), 0)) == (40, 40)


@pytest.mark.parametrize("engine", [Engine.V1, Engine.V2])
async def test_what_was_cancelled_before_its_age_is_not_counted(store: Store, engine: Engine) -> None:
    values = {"attempt": "r-1", "ages": (10.0,), "percent": "5", "engine": engine}
    await store.submit([submission("x1", **values)], START)
    await store.control("x1", Control.CANCEL, START)
    if engine is Engine.V2:
        claim = await claim_one(store)
        state = fold("x1", await store.events("x1"))
        append, _ = appending(claim, state, e.ExecutionCancelled(START), START + LEASE)
        await store.append([append])
    assert await store.count_cohorts(START + timedelta(seconds=10)) == 1
    assert await store.cohort_counts("r-1") == []


async def test_the_second_before_an_age_counts_and_the_second_after_does_not(store: Store) -> None:
    for id_, seconds in (("early", 9.0), ("late", 11.0)):
        await store.submit([submission(id_, attempt=id_, ages=(10.0, 60.0), percent="5")], START)
        claim = await claim_one(store)
        failure, at = Failure("HttpStatus", "500", node="a"), START + timedelta(seconds=seconds)
        state = fold(id_, await store.events(id_))
        failed = e.StepFailed(at, "a", "transform", 1, failure, START, 1.0, None)
        first, state = appending(claim, state, failed, START + LEASE)
        second, _ = appending(claim, state, e.ExecutionFailed(at, failure), START + LEASE)
        await store.append([first])
        await store.append([second])
    await store.count_cohorts(START + timedelta(seconds=30))
    outcomes = {(c.attempt, c.criterion): c.outcome for c in await store.cohort_counts()}
    assert outcomes["early", "failures"] == outcomes["early", "first-attempt-failures"] == "bad"
    assert outcomes["late", "failures"] == outcomes["late", "first-attempt-failures"] == "good"
