"""What an append does to others: it makes children and delivers events, in its own commit or not at all."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from orchestrator import events as e
from orchestrator.model import Engine, OnLimit, Status
from orchestrator.store import Append, Control, Delivery, Outcome, Store
from tests.support.stores import (
    LEASE,
    START,
    after,
    append,
    claim_one,
    commit,
    completed,
    end,
    kinds,
    limited,
    projection,
    row,
    submission,
)

if TYPE_CHECKING:
    from orchestrator.model import Workflow
    from orchestrator.store import Claim


def started(child: str, seconds: float = 5) -> e.ChildStarted:
    return e.ChildStarted(after(seconds), "n", "workflow", 1, child, "default/chain", "r1")


def ended(child: str, seconds: float = 6) -> e.ChildEnded:
    return e.ChildEnded(after(seconds), child, Status.SUCCESS, {"y": 1}, None)


def making(claim: Claim, *children: str, workflow: Workflow | None = None) -> Append:
    """The append of a parent that starts children and lets go."""
    made = tuple(submission(child, parent=claim.id, workflow=workflow) for child in children)
    events = [started(child) for child in children]
    return append(
        claim, *events, submissions=made, projection=projection(Status.WAITING), release=True, append_id="making"
    )


def telling(claim: Claim, parent: str) -> Append:
    """The append that ends a child and tells its parent."""
    over = projection(Status.SUCCESS, finished_at=after(6))
    told = (Delivery(parent, ended(claim.id)),)
    return append(claim, e.ExecutionSucceeded(after(6), {"y": 1}), projection=over, deliveries=told)


async def family(store: Store, *children: str) -> dict[str, Claim]:
    """A waiting parent `p` and its children, claimed."""
    await store.submit([submission("p")], START)
    assert await store.append([making(await claim_one(store, "p"), *children)]) == [Outcome.COMMITTED]
    return {claim.id: claim for claim in await store.claim("w", Engine.V2, 10, LEASE, after(5))}


# -- children


async def test_children_are_made_with_the_append_of_their_parent(store: Store) -> None:
    await store.submit([submission("p")], START)
    assert await store.append([making(await claim_one(store, "p"), "c1", "c2")]) == [Outcome.COMMITTED]
    child = await row(store, "c1")
    assert (child.parent, child.status, child.seq) == ("p", Status.PENDING, 1)
    assert await kinds(store, "c2") == ["ExecutionSubmitted"]


async def test_a_child_is_as_old_as_the_event_that_started_it(store: Store) -> None:
    await store.submit([submission("p")], START)
    await store.append([making(await claim_one(store, "p"), "c1")])
    assert (await row(store, "c1")).created_at == after(5)


async def test_a_child_can_be_claimed_like_any_other(store: Store) -> None:
    claims = await family(store, "c1")
    assert (claims["c1"].begun, claims["c1"].seq) == (True, 2)
    assert await store.workflow("default/chain", claims["c1"].revision)


async def test_an_append_that_is_fenced_makes_no_children(store: Store) -> None:
    await store.submit([submission("p")], START)
    zombie = await claim_one(store, "p")
    await claim_one(store, "p", at=START + LEASE)
    assert await store.append([making(zombie, "c1")]) == [Outcome.FENCED]
    assert await store.known(["c1"]) == set()


async def test_an_append_that_is_stale_makes_no_children(store: Store) -> None:
    await store.submit([submission("p")], START)
    claim = await claim_one(store, "p")
    await store.control("p", Control.CANCEL, START)
    assert await store.append([making(claim, "c1")]) == [Outcome.STALE]
    assert await store.known(["c1"]) == set()


async def test_the_same_append_again_makes_no_child_again(store: Store) -> None:
    await store.submit([submission("p")], START)
    same = making(await claim_one(store, "p"), "c1")
    await store.append([same])
    claim = await claim_one(store, "c1", at=after(5))
    await end(store, claim)
    assert await store.append([same]) == [Outcome.COMMITTED]
    assert await kinds(store, "c1") == ["ExecutionSubmitted", "ExecutionStarted", "ExecutionCancelled"]


async def test_a_child_that_is_there_already_stays_as_it_is(store: Store) -> None:
    await store.submit([submission("p"), submission("c1", input={"n": 7})], START)
    claims = {claim.id: claim for claim in await store.claim("w", Engine.V2, 10, LEASE, START)}
    assert await store.append([making(claims["p"], "c1", "c2")]) == [Outcome.COMMITTED]
    assert (await row(store, "c1")).parent is None
    assert await store.known(["c2"]) == {"c2"}


async def test_only_the_children_of_accepted_appends_are_made(store: Store) -> None:
    await store.submit([submission("p"), submission("q")], START)
    claims = {claim.id: claim for claim in await store.claim("w", Engine.V2, 10, LEASE, START)}
    await store.control("q", Control.CANCEL, START)
    outcomes = await store.append([making(claims["q"], "cq"), making(claims["p"], "cp")])
    assert outcomes == [Outcome.STALE, Outcome.COMMITTED]
    assert await store.known(["cp", "cq"]) == {"cp"}


async def test_a_child_waits_for_a_slot_of_its_own_limit(store: Store) -> None:
    await store.submit([submission("p")], START)
    await store.append([making(await claim_one(store, "p"), "c1", "c2", workflow=limited(1, name="child"))])
    assert [(await row(store, child)).queued for child in ("c1", "c2")] == [False, True]


async def test_a_parent_is_told_of_a_child_that_its_limit_skipped(store: Store) -> None:
    """Nobody ever claims such a child: who else would tell?"""
    await store.submit([submission("p")], START)
    skipping = limited(1, OnLimit.SKIP, name="child")
    await store.append([making(await claim_one(store, "p"), "c1", "c2", workflow=skipping)])
    assert (await kinds(store, "p"))[2:] == ["ChildStarted", "ChildStarted", "ChildEnded"]
    last = (await store.events("p"))[-1].event
    assert isinstance(last, e.ChildEnded)
    assert (last.child, last.status) == ("c2", Status.CANCELLED)
    assert (await row(store, "p")).due_at == after(5)


# -- deliveries of an append


async def test_a_parent_is_told_in_the_commit_that_ends_its_child(store: Store) -> None:
    claims = await family(store, "c1")
    assert await store.append([telling(claims["c1"], "p")]) == [Outcome.COMMITTED]
    assert (await store.events("p"))[-1].event == ended("c1")
    assert (await row(store, "p")).due_at == after(6)


async def test_an_append_that_is_fenced_tells_nobody(store: Store) -> None:
    claims = await family(store, "c1")
    await claim_one(store, "c1", at=after(5) + LEASE)
    assert await store.append([telling(claims["c1"], "p")]) == [Outcome.FENCED]
    assert "ChildEnded" not in await kinds(store, "p")


async def test_an_append_that_is_stale_tells_nobody(store: Store) -> None:
    claims = await family(store, "c1")
    await store.control("c1", Control.CANCEL, START)
    assert await store.append([telling(claims["c1"], "p")]) == [Outcome.STALE]
    assert "ChildEnded" not in await kinds(store, "p")


async def test_the_same_append_again_tells_nobody_again(store: Store) -> None:
    claims = await family(store, "c1")
    for _ in range(2):
        assert await store.append([telling(claims["c1"], "p")]) == [Outcome.COMMITTED]
    assert (await kinds(store, "p")).count("ChildEnded") == 1


async def test_two_children_that_end_in_one_flush_are_both_recorded(store: Store) -> None:
    claims = await family(store, "c1", "c2")
    assert await store.append([telling(claims[c], "p") for c in ("c2", "c1")]) == [Outcome.COMMITTED] * 2
    told = {r.event.child for r in await store.events("p") if isinstance(r.event, e.ChildEnded)}
    assert (told, len(await kinds(store, "p")), (await row(store, "p")).seq) == ({"c1", "c2"}, 6, 6)


async def test_a_parent_may_append_in_the_flush_that_tells_it_of_its_child(store: Store) -> None:
    claims = await family(store, "c1")
    parent = await claim_one_again(store, "p")
    own = append(parent, completed("a"))
    outcomes = await store.append([telling(claims["c1"], "p"), own])
    assert outcomes[0] is Outcome.COMMITTED
    assert outcomes[1] in (Outcome.COMMITTED, Outcome.STALE)
    wanted = ["ChildEnded"] + ["StepCompleted"] * (outcomes[1] is Outcome.COMMITTED)
    assert sorted((await kinds(store, "p"))[parent.seq :]) == wanted


async def test_a_parent_that_lets_go_in_the_flush_that_tells_it_of_its_child_is_due(store: Store) -> None:
    claims = await family(store, "c1")
    parent = await claim_one_again(store, "p")
    lets_go = append(parent, e.ExecutionWaiting(after(6)), projection=projection(Status.WAITING), release=True)
    outcomes = await store.append([lets_go, telling(claims["c1"], "p")])
    record = await row(store, "p")
    due = after(6) if outcomes[0] is Outcome.COMMITTED else after(6) + LEASE
    assert (record.due_at, (await kinds(store, "p")).count("ChildEnded")) == (due, 1)


async def test_a_delivery_to_what_is_over_is_dropped(store: Store) -> None:
    claims = await family(store, "c1")
    await end(store, await claim_one_again(store, "p"))
    assert await store.append([telling(claims["c1"], "p")]) == [Outcome.COMMITTED]
    assert "ChildEnded" not in await kinds(store, "p")


async def test_a_delivery_to_what_nobody_knows_is_dropped(store: Store) -> None:
    await store.submit([submission("c1")], START)
    assert await store.append([telling(await claim_one(store, "c1"), "nobody")]) == [Outcome.COMMITTED]
    assert (await row(store, "c1")).status is Status.SUCCESS


async def test_a_parent_that_ends_in_the_flush_that_tells_it_of_its_child_is_over(store: Store) -> None:
    claims = await family(store, "c1")
    parent = await claim_one_again(store, "p")
    over = append(parent, e.ExecutionCancelled(START), projection=projection(Status.CANCELLED))
    outcomes = await store.append([over, telling(claims["c1"], "p")])
    names = await kinds(store, "p")
    assert outcomes[1] is Outcome.COMMITTED
    assert names[-1] == ("ExecutionCancelled" if outcomes[0] is Outcome.COMMITTED else "ChildEnded")


async def test_a_parent_may_cancel_the_child_that_it_makes_in_the_same_append(store: Store) -> None:
    await store.submit([submission("p")], START)
    claim = await claim_one(store, "p")
    cancel = (Delivery("c1", e.CancelRequested(after(5))),)
    made = (submission("c1", parent="p"),)
    await commit(store, claim, started("c1"), submissions=made, deliveries=cancel)
    assert await kinds(store, "c1") == ["ExecutionSubmitted", "CancelRequested"]


async def test_a_child_that_is_told_to_cancel_while_it_appends_is_told_for_sure(store: Store) -> None:
    claims = await family(store, "c1")
    parent = await claim_one_again(store, "p")
    cancel = (Delivery("c1", e.CancelRequested(after(6))),)
    over = append(parent, e.ExecutionCancelled(after(6)), projection=projection(Status.CANCELLED), deliveries=cancel)
    outcomes = await store.append([append(claims["c1"], completed("a")), over])
    assert outcomes[1] is Outcome.COMMITTED
    assert (await row(store, "c1")).cancel_requested
    assert (await row(store, "c1")).seq == len(await kinds(store, "c1"))


async def test_duplicates_among_the_deliveries_of_an_append_are_recorded_once(store: Store) -> None:
    await store.submit([submission("x1"), submission("x2")], START)
    claims = {claim.id: claim for claim in await store.claim("w", Engine.V2, 10, LEASE, START)}
    twice = (Delivery("x2", e.SignalReceived(START, "go", None, "s1")),) * 2
    await commit(store, claims["x1"], completed("a"), deliveries=twice)
    assert (await kinds(store, "x2")).count("SignalReceived") == 1


async def test_many_children_that_end_at_once_are_all_recorded(store: Store) -> None:
    claims = await family(store, *(f"c{i}" for i in range(9)))
    outcomes = await asyncio.gather(*(store.append([telling(claim, "p")]) for claim in claims.values()))
    assert outcomes == [[Outcome.COMMITTED]] * 9
    told = {r.event.child for r in await store.events("p") if isinstance(r.event, e.ChildEnded)}
    assert (told, len(await kinds(store, "p"))) == (set(claims), 2 + 9 + 9)


async def test_parents_and_children_that_tell_each_other_never_wait_in_a_ring(store: Store) -> None:
    """Each flush writes its own row and another one's: in any order of locks but one this would deadlock."""
    pairs = [(f"a{i}", f"z{i}") for i in range(20)]
    await store.submit([submission(id_) for pair in pairs for id_ in pair], START)
    claims = {claim.id: claim for claim in await store.claim("w", Engine.V2, 100, LEASE, START)}

    def tell(one: str, other: str) -> Append:
        told = (Delivery(other, e.SignalReceived(START, "go", None, f"from-{one}")),)
        return append(claims[one], completed("a"), deliveries=told)

    await asyncio.gather(
        store.append([tell(a, z) for a, z in pairs]),
        store.append([tell(z, a) for a, z in reversed(pairs)]),
        *(store.control(id_, Control.SUSPEND, START) for pair in pairs for id_ in pair),
    )
    for id_ in claims:
        assert (await row(store, id_)).seq == len(await kinds(store, id_))


async def claim_one_again(store: Store, execution_id: str) -> Claim:
    """Wake an execution by a request that changes nothing else, and claim it."""
    await store.deliver([Delivery(execution_id, e.SignalReceived(after(5), "poke", None, f"poke-{execution_id}"))])
    return await claim_one(store, execution_id, at=after(6))
