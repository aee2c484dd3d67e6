"""Claims, leases and releases."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from orchestrator import events as e
from orchestrator.model import Engine, Status
from orchestrator.store import Control, Delivery, Outcome, Release, Store
from tests.support.stores import LEASE, START, after, append, claim_one, completed, kinds, row, submission

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime


async def test_a_claim_starts_a_pending_execution_in_the_same_commit(store: Store) -> None:
    await store.submit([submission("x1")], START)
    claim = await claim_one(store)
    assert (claim.begun, claim.fence, claim.seq, claim.status) == (True, 1, 2, Status.RUNNING)
    assert await kinds(store) == ["ExecutionSubmitted", "ExecutionStarted"]


@pytest.mark.parametrize("early", [(), (e.SignalReceived(after(1), "approve", None, "s1"),)])
async def test_a_history_that_comes_with_a_claim_is_the_whole_one(
    store: Store, early: Sequence[e.OutsideEvent]
) -> None:
    await store.submit([submission("x1")], START)
    await store.deliver([Delivery("x1", event) for event in early])
    claim = await claim_one(store, at=after(2))
    assert claim.history in ((), tuple(await store.events("x1")))


async def test_a_claim_of_what_began_before_brings_no_part_of_a_history(store: Store) -> None:
    await store.submit([submission("x1")], START)
    first = await claim_one(store)
    await store.release({"x1": Release(first.fence, first.seq, after(1))}, START)
    assert (await claim_one(store, at=after(1))).history == ()


async def test_a_claim_sets_when_its_steps_will_have_timed_out(store: Store) -> None:
    await store.submit([submission("x1")], START)
    await claim_one(store, at=after(1))
    assert (await row(store)).step_deadline == after(1 + 30)  # the nodes' default


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


async def test_what_is_due_longest_is_claimed_first(store: Store) -> None:
    for seconds, id_ in ((3, "x3"), (1, "x1"), (2, "x2")):
        await store.submit([submission(id_)], after(seconds))
    claims = await store.claim("w", Engine.V2, 2, LEASE, after(4))
    assert {claim.id for claim in claims} == {"x1", "x2"}


async def test_nothing_is_claimed_before_it_is_due(store: Store) -> None:
    await store.submit([submission("x1")], after(1))
    assert await store.claim("w", Engine.V2, 10, LEASE, START) == []


async def test_an_owner_is_named_while_it_holds(store: Store) -> None:
    await store.submit([submission("x1")], START)
    claim = await claim_one(store, owner="worker-7")
    assert (await row(store)).owner == "worker-7"
    await store.release({"x1": Release(claim.fence, claim.seq, None)}, START)
    assert (await row(store)).owner is None


async def test_renewing_tells_which_leases_are_still_ours(store: Store) -> None:
    await store.submit([submission("x1"), submission("x2")], START)
    claims = {c.id: c for c in await store.claim("w", Engine.V2, 10, LEASE, START)}
    await store.release({"x2": Release(claims["x2"].fence, claims["x2"].seq, START)}, START)
    await store.claim("other", Engine.V2, 10, LEASE, START)
    ours = await store.renew({i: c.fence for i, c in claims.items()}, LEASE, START + LEASE / 2)
    assert ours == {"x1": 2}


async def test_a_renewed_lease_lasts_from_its_renewal_on(store: Store) -> None:
    await store.submit([submission("x1")], START)
    claim = await claim_one(store)
    await store.renew({"x1": claim.fence}, LEASE, START + LEASE / 2)
    assert await store.claim("w2", Engine.V2, 10, LEASE, START + LEASE) == []
    assert len(await store.claim("w2", Engine.V2, 10, LEASE, START + 1.5 * LEASE)) == 1


async def test_a_renewal_tells_how_far_the_history_has_got(store: Store) -> None:
    await store.submit([submission("x1")], START)
    claim = await claim_one(store)
    await store.control("x1", Control.CANCEL, START)
    assert await store.renew({"x1": claim.fence}, LEASE, START) == {"x1": claim.seq + 1}


async def test_nothing_is_renewed_of_nothing(store: Store) -> None:
    assert await store.renew({}, LEASE, START) == {}
    assert await store.renew({"nobody": 1}, LEASE, START) == {}


async def test_a_released_execution_waits_for_its_moment(store: Store) -> None:
    await store.submit([submission("x1")], START)
    claim = await claim_one(store)
    due = START + timedelta(hours=1)
    await store.release({"x1": Release(claim.fence, claim.seq, due)}, START)
    assert (await row(store)).due_at == due
    assert await store.claim("w", Engine.V2, 10, LEASE, due - timedelta(seconds=1)) == []
    assert len(await store.claim("w", Engine.V2, 10, LEASE, due)) == 1


async def test_one_released_for_nothing_but_an_event_is_never_due_by_time(store: Store) -> None:
    await store.submit([submission("x1")], START)
    claim = await claim_one(store)
    await store.release({"x1": Release(claim.fence, claim.seq, None)}, START)
    assert await store.claim("w", Engine.V2, 10, LEASE, START + timedelta(days=3650)) == []


async def test_the_next_claim_after_a_release_has_a_new_token(store: Store) -> None:
    await store.submit([submission("x1")], START)
    claim = await claim_one(store)
    await store.release({"x1": Release(claim.fence, claim.seq, START)}, START)
    assert (await claim_one(store)).fence == claim.fence + 1


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
    record = await row(store)
    assert (record.owner, record.due_at) == ("worker-2", START + 2 * LEASE)


async def test_a_renewal_on_its_way_while_an_execution_was_let_go_does_not_put_off_its_timer(store: Store) -> None:
    """Else a timer of two seconds would ring when the lease would have ended."""
    await store.submit([submission("x1")], START)
    claim = await claim_one(store)
    await store.release({"x1": Release(claim.fence, claim.seq, after(2))}, START)
    await store.renew({"x1": claim.fence}, LEASE, START)
    assert (await row(store)).due_at == after(2)


async def test_a_clock_that_jumps_back_takes_nothing_from_its_owner(store: Store) -> None:
    await store.submit([submission("x1")], START)
    await claim_one(store)
    assert await store.claim("w2", Engine.V2, 10, LEASE, START - timedelta(days=1)) == []


async def test_a_crashed_owners_execution_goes_on_where_its_last_commit_left_it(store: Store) -> None:
    await store.submit([submission("x1")], START)
    claim = await claim_one(store)
    await store.append([append(claim, completed("a"))])
    second = await claim_one(store, at=START + LEASE, owner="worker-2")
    assert second.seq == 3
    assert await store.append([append(second, e.ExecutionWaiting(START))]) == [Outcome.COMMITTED]
