"""V1's executions: no events, no fencing, claimed for good."""

from __future__ import annotations

from datetime import timedelta

import pytest

from orchestrator.errors import InvalidPayload
from orchestrator.model import Engine, Failure, Status
from orchestrator.store import Control, Store, V1Update
from orchestrator.store.records import V1_GRACE
from tests.support.stores import LEASE, START, after, projection, row, submission

POLL = timedelta(seconds=1)


async def claimed(store: Store) -> None:
    await store.submit([submission("x1", engine=Engine.V1)], START)
    await store.claim("w", Engine.V1, 10, LEASE, START)


async def test_v1_executions_are_claimed_once_and_for_good(store: Store) -> None:
    await store.submit([submission("x1", engine=Engine.V1)], START)
    (claim,) = await store.claim("w", Engine.V1, 10, LEASE, START)
    assert (claim.input, claim.begun, claim.status) == ({"n": 1}, True, Status.RUNNING)
    assert await store.claim("w", Engine.V1, 10, LEASE, START + timedelta(days=30)) == []


async def test_v1_has_no_events(store: Store) -> None:
    await claimed(store)
    assert await store.events("x1") == []


async def test_v1s_input_stands_in_its_row(store: Store) -> None:
    await store.submit([submission("x1", engine=Engine.V1), submission("x2")], START)
    assert ((await row(store)).input, (await row(store, "x2")).input) == ({"n": 1}, None)


async def test_a_worker_claims_the_executions_of_one_engine_alone(store: Store) -> None:
    await store.submit([submission("x1", engine=Engine.V1), submission("x2")], START)
    assert [claim.id for claim in await store.claim("w", Engine.V1, 10, LEASE, START)] == ["x1"]
    assert [claim.id for claim in await store.claim("w", Engine.V2, 10, LEASE, START)] == ["x2"]


async def test_v1s_row_says_what_it_is_told(store: Store) -> None:
    await claimed(store)
    failure = Failure("Timeout", "slow", node="a")
    over = projection(Status.FAILED, finished_at=after(3), failure=failure, output=None, done=1)
    assert await store.v1_update([V1Update("x1", over, after(2))]) == [False]
    record = await row(store)
    assert (record.status, record.finished_at, record.failure, record.done, record.step_deadline) == (
        Status.FAILED,
        after(3),
        failure,
        1,
        after(2),
    )


async def test_v1_learns_of_a_cancel_at_its_next_node(store: Store) -> None:
    await claimed(store)
    assert await store.v1_update([V1Update("x1", projection(), None)]) == [False]
    await store.control("x1", Control.CANCEL, START)
    assert await store.v1_update([V1Update("x1", projection(), None)]) == [True]


async def test_v1s_updates_change_nothing_of_v2(store: Store) -> None:
    await store.submit([submission("x1")], START)
    before = await row(store)
    await store.v1_update([V1Update("x1", projection(Status.SUCCESS), None)])
    assert await row(store) == before


async def test_a_pending_v1_execution_is_cancelled_at_once(store: Store) -> None:
    await store.submit([submission("x1", engine=Engine.V1)], START)
    assert await store.control("x1", Control.CANCEL, START)
    record = await row(store)
    assert (record.status, record.finished_at) == (Status.CANCELLED, START)


async def dead_at(store: Store, seconds: float) -> None:
    """`x1`, whose process died in a step that could take until then."""
    await claimed(store)
    await store.v1_update([V1Update("x1", projection(started_at=START), after(seconds))])


async def test_what_a_dead_v1_left_behind_is_cancelled_at_once(store: Store) -> None:
    await dead_at(store, 5)
    late = after(5) + V1_GRACE + timedelta(seconds=1)
    assert (await store.gauges(late, POLL)).stalled[Engine.V1] == 1
    assert await store.control("x1", Control.CANCEL, late)
    record = await row(store)
    assert (record.status, record.finished_at, record.cancel_requested) == (Status.CANCELLED, late, True)
    gauges = await store.gauges(late, POLL)
    assert (gauges.stalled[Engine.V1], gauges.running[Engine.V1]) == (0, 0)
    assert not await store.control("x1", Control.CANCEL, late)


async def test_a_wish_that_a_dead_v1_never_read_is_carried_out_when_it_is_repeated(store: Store) -> None:
    await dead_at(store, 5)
    assert await store.control("x1", Control.CANCEL, after(1))
    assert (await row(store)).status is Status.RUNNING
    assert not await store.control("x1", Control.CANCEL, after(2))
    late = after(5) + V1_GRACE + timedelta(seconds=1)
    assert await store.control("x1", Control.CANCEL, late)
    assert (await row(store)).status is Status.CANCELLED


async def test_a_v1_that_died_before_its_first_node_is_cancelled_once_its_longest_step_would_be_over(
    store: Store,
) -> None:
    await claimed(store)
    deadline = (await row(store)).step_deadline
    assert deadline is not None
    assert await store.control("x1", Control.CANCEL, deadline)
    assert (await row(store)).status is Status.RUNNING
    assert await store.control("x1", Control.CANCEL, deadline + V1_GRACE + timedelta(seconds=1))
    assert (await row(store)).status is Status.CANCELLED


async def test_a_v1_that_lives_is_not_cancelled_under_its_feet(store: Store) -> None:
    await dead_at(store, 5)
    assert await store.control("x1", Control.CANCEL, after(5) + V1_GRACE)
    record = await row(store)
    assert (record.status, record.finished_at, record.cancel_requested) == (Status.RUNNING, None, True)
    assert await store.v1_update([V1Update("x1", projection(started_at=START), after(99))]) == [True]


async def test_a_v1_that_was_thought_dead_learns_of_its_end_and_changes_nothing(store: Store) -> None:
    await dead_at(store, 5)
    late = after(5) + V1_GRACE + timedelta(seconds=1)
    await store.control("x1", Control.CANCEL, late)
    before = await row(store)
    over = projection(Status.SUCCESS, finished_at=after(60))
    assert await store.v1_update([V1Update("x1", projection(), after(99))]) == [True]
    assert await store.v1_update([V1Update("x1", over, None)]) == [True]
    assert await row(store) == before


async def test_v1_cannot_be_suspended(store: Store) -> None:
    await claimed(store)
    assert not await store.control("x1", Control.SUSPEND, START)


async def test_a_restored_v1_execution_begins_when_it_is_resumed(store: Store) -> None:
    await store.submit([submission("x1", engine=Engine.V1, suspended="Restored")], START)
    assert await store.claim("w", Engine.V1, 10, LEASE, START) == []
    assert await store.control("x1", Control.RESUME, START)
    assert [claim.id for claim in await store.claim("w", Engine.V1, 10, LEASE, START)] == ["x1"]


@pytest.mark.parametrize("value", [float("nan"), "a\x00b", "\ud800"])
async def test_an_output_that_no_store_can_keep_is_refused(store: Store, value: object) -> None:
    await claimed(store)
    with pytest.raises(InvalidPayload):
        await store.v1_update([V1Update("x1", projection(output=value), None)])
