"""Concurrency limits: slots are bound to rows, so none can leak and no wake-up is lost."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from orchestrator import events as e
from orchestrator.errors import InvalidPayload
from orchestrator.model import Engine, OnLimit, Status
from orchestrator.store import Control, Delivery, Filter, Outcome, Release, Store
from tests.support.stores import (
    LEASE,
    START,
    after,
    append,
    claim_one,
    completed,
    end,
    kinds,
    limited,
    projection,
    row,
    submission,
    workflow,
)

if TYPE_CHECKING:
    from orchestrator.model import Workflow


async def submit(store: Store, *ids: str, workflow: Workflow | None = None) -> None:
    """One after the other, a second apart."""
    for seconds, id_ in enumerate(ids):
        await store.submit([submission(id_, workflow=workflow or limited(1))], after(seconds))


async def queued(store: Store, *ids: str) -> list[bool]:
    return [(await row(store, id_)).queued for id_ in ids]


async def test_a_workflow_without_a_limit_is_not_limited(store: Store) -> None:
    await submit(store, *"abc", workflow=workflow())
    assert [(await row(store, id_)).limit_key for id_ in "abc"] == [None] * 3
    assert len(await store.claim("w", Engine.V2, 10, LEASE, after(9))) == 3


async def test_a_row_shows_its_limit(store: Store) -> None:
    await submit(store, "a", workflow=limited(7))
    record = await row(store, "a")
    assert record.limit_key is not None
    assert (record.limit, record.queued) == (7, False)


async def test_what_finds_no_slot_waits_and_is_not_due(store: Store) -> None:
    await submit(store, "a", "b", "c", workflow=limited(2))
    record = await row(store, "c")
    assert (record.queued, record.status, record.due_at) == (True, Status.PENDING, None)
    assert {claim.id for claim in await store.claim("w", Engine.V2, 10, LEASE, after(999))} == {"a", "b"}


async def test_the_slots_of_a_batch_are_counted_one_by_one(store: Store) -> None:
    await store.submit([submission(id_, workflow=limited(2)) for id_ in "abc"], START)
    assert await queued(store, *"abc") == [False, False, True]


async def test_a_repeated_submission_takes_no_second_slot(store: Store) -> None:
    await submit(store, "a", "a", "b", workflow=limited(2))
    assert await queued(store, "a", "b") == [False, False]


async def test_each_workflow_has_slots_of_its_own(store: Store) -> None:
    await submit(store, "a", workflow=limited(1))
    await submit(store, "b", workflow=limited(1, name="other"))
    assert await queued(store, "a", "b") == [False, False]


async def test_a_key_divides_the_executions_of_a_workflow(store: Store) -> None:
    flow = limited(1, key="${input.customer}")
    inputs = {"a": "one", "b": "two", "c": "one"}
    batch = [submission(id_, workflow=flow, input={"customer": customer}) for id_, customer in inputs.items()]
    await store.submit(batch, START)
    assert await queued(store, *"abc") == [False, False, True]
    keys = [(await row(store, id_)).limit_key for id_ in "abc"]
    assert (keys[0] == keys[2], keys[0] == keys[1]) == (True, False)


async def test_v1_knows_no_limits(store: Store) -> None:
    await store.submit([submission(id_, workflow=limited(1), engine=Engine.V1) for id_ in "ab"], START)
    assert len(await store.claim("w", Engine.V1, 10, LEASE, START)) == 2


@pytest.mark.parametrize("status", [Status.SUCCESS, Status.FAILED, Status.CANCELLED])
async def test_every_end_frees_its_slot_for_the_oldest_in_the_same_commit(store: Store, status: Status) -> None:
    await submit(store, "a", "b", "c")
    await end(store, await claim_one(store, "a"), status, after(5))
    assert await queued(store, "b", "c") == [False, True]
    assert (await row(store, "b")).due_at == after(5)
    assert [claim.id for claim in await store.claim("w", Engine.V2, 10, LEASE, after(5))] == ["b"]


async def test_slots_are_handed_on_until_nobody_waits(store: Store) -> None:
    await submit(store, *"abcd")
    for seconds, id_ in enumerate("abcd", 10):
        (claim,) = await store.claim("w", Engine.V2, 10, LEASE, after(seconds))
        assert claim.id == id_
        await end(store, claim, at=after(seconds))
    assert await store.heal_limits(after(99)) == 0


async def test_ends_in_one_flush_free_as_many_slots(store: Store) -> None:
    await submit(store, *"abcde", workflow=limited(2))
    claims = await store.claim("w", Engine.V2, 10, LEASE, after(9))
    over = projection(Status.CANCELLED)
    await store.append([append(claim, e.ExecutionCancelled(after(9)), projection=over) for claim in claims])
    assert await queued(store, *"cde") == [False, False, True]


async def test_a_slot_is_kept_while_an_execution_waits_or_is_suspended(store: Store) -> None:
    await submit(store, "a", "b")
    claim = await claim_one(store, "a")
    for seq, (event, status) in enumerate(
        [(e.ExecutionWaiting(START), Status.WAITING), (e.ExecutionSuspended(START, "?"), Status.SUSPENDED)], 3
    ):
        wanted = append(claim, event, projection=projection(status), first_seq=seq)
        assert await store.append([wanted]) == [Outcome.COMMITTED]
    await store.release({"a": Release(claim.fence, 4, None)}, START)
    assert await queued(store, "b") == [True]


async def test_an_append_that_is_refused_frees_nothing(store: Store) -> None:
    await submit(store, "a", "b")
    claim = await claim_one(store, "a")
    await store.control("a", Control.SUSPEND, START)
    over = append(claim, e.ExecutionCancelled(START), projection=projection(Status.CANCELLED))
    assert await store.append([over]) == [Outcome.STALE]
    assert await queued(store, "b") == [True]


async def test_the_same_end_again_frees_no_second_slot(store: Store) -> None:
    await submit(store, "a", "b", "c")
    claim = await claim_one(store, "a")
    over = append(claim, e.ExecutionCancelled(START), projection=projection(Status.CANCELLED))
    for _ in range(2):
        await store.append([over])
    assert await queued(store, "b", "c") == [False, True]


# -- one that waits in the queue


@pytest.mark.parametrize("control", [Control.SUSPEND, Control.RESUME])
async def test_what_is_asked_of_a_queued_one_waits_with_it(store: Store, control: Control) -> None:
    await submit(store, "a", "b")
    await store.control("b", Control.SUSPEND, after(2))
    if control is Control.RESUME:
        await store.control("b", control, after(3))
    record = await row(store, "b")
    assert (record.queued, record.due_at) == (True, None)


async def test_a_signal_to_a_queued_one_waits_with_it(store: Store) -> None:
    await submit(store, "a", "b")
    await store.deliver([Delivery("b", e.SignalReceived(after(2), "go", None, "s"))])
    record = await row(store, "b")
    assert (record.queued, record.due_at, record.seq) == (True, None, 2)


async def test_a_queued_one_can_be_cancelled_without_a_slot(store: Store) -> None:
    await submit(store, "a", "b", "c")
    assert await store.control("b", Control.CANCEL, after(4))
    claim = await claim_one(store, "b", at=after(4))
    await end(store, claim, at=after(4))
    assert (await row(store, "b")).status is Status.CANCELLED
    assert await queued(store, "c") == [True]


async def test_a_cancelled_one_of_the_queue_frees_no_slot_that_it_had_not(store: Store) -> None:
    await submit(store, *"abc", workflow=limited(1))
    await store.control("b", Control.CANCEL, after(4))
    await end(store, await claim_one(store, "b", at=after(4)), at=after(4))
    running = [r.id for r in await store.active() if not r.queued]
    assert running == ["a"]


async def test_what_is_being_cancelled_is_given_no_slot(store: Store) -> None:
    """It needs none: it starts nothing, and the one behind it in the queue would wait for its end."""
    await submit(store, "a", "b", "c")
    claim = await claim_one(store, "a")
    await store.control("b", Control.CANCEL, after(4))
    await end(store, claim, at=after(5))
    assert await queued(store, "c") == [False]


async def test_what_is_over_is_not_queued(store: Store) -> None:
    await submit(store, "a", "b")
    await store.control("b", Control.CANCEL, after(4))
    await end(store, await claim_one(store, "b", at=after(4)), at=after(4))
    assert not (await row(store, "b")).queued
    assert await store.executions(Filter(queued=True)) == []


async def test_a_queued_one_that_is_suspended_is_due_once_it_has_a_slot(store: Store) -> None:
    """Its owner then finds out what was asked of it meanwhile."""
    await submit(store, "a", "b")
    claim = await claim_one(store, "a")
    await store.control("b", Control.SUSPEND, after(4))
    await end(store, claim, at=after(5))
    record = await row(store, "b")
    assert (record.queued, record.due_at) == (False, after(5))


async def test_who_waits_for_a_slot_is_told_to_readers_when_it_has_one(store: Store) -> None:
    await submit(store, "a", "b")
    before = (await row(store, "b")).version
    await end(store, await claim_one(store, "a"))
    assert (await row(store, "b")).version > before


# -- skip and replace


async def test_skip_ends_at_once_what_finds_no_slot(store: Store) -> None:
    await submit(store, "a", "b", workflow=limited(1, OnLimit.SKIP))
    record = await row(store, "b")
    assert (record.status, record.finished_at, record.queued, record.due_at) == (
        Status.CANCELLED,
        after(1),
        False,
        None,
    )
    assert await kinds(store, "b") == ["ExecutionSubmitted", "ExecutionCancelled"]


async def test_skip_says_why(store: Store) -> None:
    await submit(store, "a", "b", workflow=limited(1, OnLimit.SKIP))
    last = (await store.events("b"))[-1].event
    assert isinstance(last, e.ExecutionCancelled)
    assert "limit" in last.reason


async def test_a_skipped_submission_is_answered_as_made_once(store: Store) -> None:
    await submit(store, "a", workflow=limited(1, OnLimit.SKIP))
    for created in (True, False):
        (answer,) = await store.submit([submission("b", workflow=limited(1, OnLimit.SKIP))], after(1))
        assert (answer.id, answer.created) == ("b", created)


async def test_skip_runs_what_finds_a_slot(store: Store) -> None:
    skipping = limited(1, OnLimit.SKIP)
    await submit(store, "a", workflow=skipping)
    await end(store, await claim_one(store, "a"))
    await store.submit([submission("b", workflow=skipping)], after(5))
    assert [claim.id for claim in await store.claim("w", Engine.V2, 10, LEASE, after(5))] == ["b"]


async def test_replace_asks_the_oldest_to_make_room_and_waits_for_its_slot(store: Store) -> None:
    await submit(store, "a", "b", workflow=limited(1, OnLimit.REPLACE))
    assert await kinds(store, "a") == ["ExecutionSubmitted", "CancelRequested"]
    assert await queued(store, "a", "b") == [False, True]
    await end(store, await claim_one(store, "a", at=after(2)), at=after(2))
    assert [claim.id for claim in await store.claim("w", Engine.V2, 10, LEASE, after(2))] == ["b"]


async def test_replace_tells_an_owner_at_its_next_append(store: Store) -> None:
    replacing = limited(1, OnLimit.REPLACE)
    await submit(store, "a", workflow=replacing)
    claim = await claim_one(store, "a")
    await store.submit([submission("b", workflow=replacing)], after(1))
    assert await store.append([append(claim, completed("a"))]) == [Outcome.STALE]
    assert (await row(store, "a")).cancel_requested


async def test_replace_wakes_one_that_nobody_holds(store: Store) -> None:
    replacing = limited(1, OnLimit.REPLACE)
    await submit(store, "a", workflow=replacing)
    claim = await claim_one(store, "a")
    await store.release({"a": Release(claim.fence, claim.seq, None)}, START)
    await store.submit([submission("b", workflow=replacing)], after(1))
    assert (await row(store, "a")).due_at == after(1)


async def test_replace_asks_each_holder_once(store: Store) -> None:
    await submit(store, *"abcde", workflow=limited(2, OnLimit.REPLACE))
    asked = [(await row(store, id_)).cancel_requested for id_ in "abcde"]
    assert asked == [True, True, False, False, False]
    assert await kinds(store, "a") == ["ExecutionSubmitted", "CancelRequested"]


async def test_replace_asks_one_of_the_same_batch(store: Store) -> None:
    flow = limited(1, OnLimit.REPLACE)
    await store.submit([submission(id_, workflow=flow) for id_ in "abc"], START)
    asked = [(await row(store, id_)).cancel_requested for id_ in "abc"]
    assert (asked, await queued(store, *"abc")) == ([True, False, False], [False, True, True])


async def test_a_child_that_replaces_asks_the_one_that_has_just_got_the_slot(store: Store) -> None:
    flow = limited(1, OnLimit.REPLACE)
    await submit(store, "a", workflow=flow)
    claim = await claim_one(store, "a")
    await store.submit([submission("p"), submission("b", workflow=limited(1))], after(1))
    parent = await claim_one(store, "p", at=after(1))
    made = (submission("c", workflow=flow, parent="p"),)
    over = projection(Status.CANCELLED, finished_at=after(2))
    batch = [
        append(claim, e.ExecutionCancelled(after(2)), projection=over),
        append(parent, completed("a", at=after(2)), submissions=made),
    ]
    assert await store.append(batch) == [Outcome.COMMITTED] * 2
    assert await queued(store, "b", "c") == [False, True]
    assert (await row(store, "b")).cancel_requested


async def test_replace_runs_at_once_what_finds_a_slot(store: Store) -> None:
    await submit(store, "a", "b", workflow=limited(2, OnLimit.REPLACE))
    assert await queued(store, "a", "b") == [False, False]
    assert not (await row(store, "a")).cancel_requested


# -- healing


async def test_there_is_nothing_to_heal_while_the_slots_are_taken(store: Store) -> None:
    await submit(store, "a", "b", "c")
    assert await store.heal_limits(after(9)) == 0


async def test_a_limit_that_a_submission_raises_is_first_for_those_that_wait(store: Store) -> None:
    await submit(store, *"abcd", workflow=limited(1))
    await store.submit([submission("e", workflow=limited(3))], after(5))
    assert await queued(store, *"abcde") == [False, False, False, True, True]
    assert (await row(store, "b")).due_at == after(5)
    assert await store.heal_limits(after(7)) == 0


@pytest.mark.parametrize(("new", "running"), [(limited(3), 3), (workflow(), 4)], ids=["raised", "none"])
async def test_a_new_revision_brings_its_limit_to_those_that_wait(store: Store, new: Workflow, running: int) -> None:
    await submit(store, *"abcd", workflow=limited(1, key="${'one'}"))
    await store.put_workflow(new)
    assert await store.heal_limits(after(9)) == running - 1
    assert sum(not record.queued for record in await store.active()) == running


async def test_a_limit_that_was_lowered_takes_no_slot_away(store: Store) -> None:
    await submit(store, *"abc", workflow=limited(2))
    await store.put_workflow(limited(1))
    assert await queued(store, *"abc") == [False, False, True]
    await end(store, await claim_one(store, "a", at=after(3)), at=after(3))
    assert await queued(store, "c") == [True]


async def test_of_equally_old_ones_every_one_gets_its_turn(store: Store) -> None:
    await store.submit([submission(id_, workflow=limited(1)) for id_ in "abcd"], START)
    ran = set()
    while claims := await store.claim("w", Engine.V2, 10, LEASE, after(9)):
        (claim,) = claims
        ran.add(claim.id)
        await end(store, claim, at=after(9))
    assert ran == set("abcd")


async def test_an_input_without_the_limits_key_is_refused(store: Store) -> None:
    with pytest.raises(InvalidPayload, match="customer"):
        await store.submit([submission("a", workflow=limited(1, key="${input.customer}"), input={})], START)
    assert await store.get("a") is None


# -- many hands


async def test_submissions_at_once_never_take_more_slots_than_there_are(store: Store) -> None:
    flow = limited(3)
    await asyncio.gather(*(store.submit([submission(f"x{i:02}", workflow=flow)], after(i)) for i in range(20)))
    assert sum(not record.queued for record in await store.active()) == 3


async def test_no_wake_up_is_lost_when_ends_and_submissions_meet(store: Store) -> None:
    flow, total = limited(2), 24
    done: set[str] = set()

    async def submits() -> None:
        for i in range(total):
            await store.submit([submission(f"x{i:02}", workflow=flow)], after(i))

    async def works(name: str) -> None:
        async with asyncio.timeout(60):
            while len(done) < total:
                for claim in await store.claim(name, Engine.V2, 1, LEASE, after(100)):
                    await end(store, claim, at=after(100))
                    done.add(claim.id)
                await asyncio.sleep(0)

    await asyncio.gather(submits(), works("w1"), works("w2"), works("w3"))
    assert (len(done), await store.heal_limits(after(200))) == (total, 0)


async def test_replacing_and_ending_at_once_leaves_somebody_running(store: Store) -> None:
    replacing = limited(1, OnLimit.REPLACE)
    await submit(store, "a", workflow=replacing)
    claim = await claim_one(store, "a")
    over = append(claim, e.ExecutionCancelled(after(1)), projection=projection(Status.CANCELLED))
    (outcome,), _ = await asyncio.gather(
        store.append([over]), store.submit([submission("b", workflow=replacing)], after(1))
    )
    if outcome is Outcome.STALE:
        await end(store, claim, at=after(2), first_seq=claim.seq + 2)
    assert [claim.id for claim in await store.claim("w", Engine.V2, 10, LEASE, after(3))] == ["b"]
