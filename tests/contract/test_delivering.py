"""Events from outside: signals, children that ended, and what people ask."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from orchestrator import events as e
from orchestrator.errors import InvalidPayload
from orchestrator.fold import fold
from orchestrator.model import Engine, Failure, Status
from orchestrator.store import Control, Delivered, Delivery, Outcome, Release, Store
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
    projection,
    row,
    submission,
)


def signal(id_: str = "s1", seconds: float = 1, payload: object = None) -> e.SignalReceived:
    return e.SignalReceived(after(seconds), "approve", payload, id_)


def child_ended(child: str = "c1", seconds: float = 1) -> e.ChildEnded:
    return e.ChildEnded(after(seconds), child, Status.FAILED, None, Failure("Fail", "no", node="n", status=500))


async def waiting(store: Store, execution_id: str = "x1") -> None:
    """An execution that nothing but an event wakes."""
    await store.submit([submission(execution_id)], START)
    claim = await claim_one(store, execution_id)
    await commit(
        store, claim, e.ExecutionWaiting(START), projection=projection(Status.WAITING), release=True, due_at=None
    )


EVENTS = [signal(), child_ended(), e.CancelRequested(after(1)), e.SuspendRequested(after(1))]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
async def test_a_delivered_event_is_the_next_of_the_history(store: Store, event: e.OutsideEvent) -> None:
    await waiting(store)
    assert await store.deliver([Delivery("x1", event)]) == [Delivered.RECORDED]
    last = (await store.events("x1"))[-1]
    assert (last.seq, last.append_seq, last.event) == (4, 4, event)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
async def test_what_nobody_holds_is_due_at_the_events_own_moment(store: Store, event: e.OutsideEvent) -> None:
    await waiting(store)
    await store.deliver([Delivery("x1", event)])
    assert (await row(store)).due_at == after(1)
    assert [c.seq for c in await store.claim("w", Engine.V2, 10, LEASE, after(1))] == [4]


async def test_an_owner_is_told_at_its_next_append(store: Store) -> None:
    await store.submit([submission("x1")], START)
    claim = await claim_one(store)
    await store.deliver([Delivery("x1", signal())])
    assert await store.append([append(claim, completed("a"))]) == [Outcome.STALE]
    assert await store.append([append(claim, completed("a"), first_seq=4)]) == [Outcome.COMMITTED]
    assert (await kinds(store))[2:] == ["SignalReceived", "StepCompleted"]


async def test_a_delivery_takes_nothing_from_its_owner(store: Store) -> None:
    await store.submit([submission("x1")], START)
    await claim_one(store)
    await store.deliver([Delivery("x1", signal())])
    record = await row(store)
    assert (record.owner, record.due_at) == ("worker-1", START + LEASE)


async def test_a_release_that_did_not_know_of_a_delivery_leaves_it_due_at_once(store: Store) -> None:
    await store.submit([submission("x1")], START)
    claim = await claim_one(store)
    await store.deliver([Delivery("x1", signal())])
    await store.release({"x1": Release(claim.fence, claim.seq, None)}, after(3))
    assert [c.id for c in await store.claim("w", Engine.V2, 10, LEASE, after(3))] == ["x1"]


async def test_an_append_that_lets_go_and_did_not_know_of_a_delivery_is_stale(store: Store) -> None:
    await store.submit([submission("x1")], START)
    claim = await claim_one(store)
    await store.deliver([Delivery("x1", signal())])
    waits = append(claim, e.ExecutionWaiting(START), projection=projection(Status.WAITING), release=True)
    assert await store.append([waits]) == [Outcome.STALE]
    assert (await row(store)).owner == "worker-1"


async def test_a_signal_of_the_same_id_is_recorded_once(store: Store) -> None:
    await waiting(store)
    assert await store.deliver([Delivery("x1", signal("s1"))]) == [Delivered.RECORDED]
    assert await store.deliver([Delivery("x1", signal("s1", 2, "other"))]) == [Delivered.DUPLICATE]
    assert (await kinds(store)).count("SignalReceived") == 1


async def test_a_signal_of_the_same_id_is_recorded_once_in_one_call(store: Store) -> None:
    await waiting(store)
    both = [Delivery("x1", signal("s1")), Delivery("x1", signal("s1"))]
    assert await store.deliver(both) == [Delivered.RECORDED, Delivered.DUPLICATE]
    assert (await kinds(store)).count("SignalReceived") == 1


async def test_a_signal_that_came_with_the_submission_is_known(store: Store) -> None:
    await store.submit([replace(submission("x1"), signals=(signal(payload=7),))], START)
    assert await kinds(store) == ["ExecutionSubmitted", "SignalReceived"]
    assert await store.deliver([Delivery("x1", signal())]) == [Delivered.DUPLICATE]
    claim = await claim_one(store, at=after(2))
    assert (claim.seq, claim.begun) == (3, True)
    assert fold("x1", await store.events("x1")).signals[0].payload == 7


async def test_a_signals_id_belongs_to_its_execution(store: Store) -> None:
    await waiting(store, "x1")
    await waiting(store, "x2")
    assert await store.deliver([Delivery(id_, signal("s1")) for id_ in ("x1", "x2")]) == [Delivered.RECORDED] * 2


async def test_a_duplicate_wakes_nobody(store: Store) -> None:
    await waiting(store)
    await store.deliver([Delivery("x1", signal())])
    claim = await claim_one(store, at=after(1))
    await store.release({"x1": Release(claim.fence, claim.seq, None)}, after(1))
    version = (await row(store)).version
    assert await store.deliver([Delivery("x1", signal())]) == [Delivered.DUPLICATE]
    record = await row(store)
    assert (record.due_at, record.version) == (None, version)


async def test_the_end_of_the_same_child_is_recorded_once(store: Store) -> None:
    await waiting(store)
    assert await store.deliver([Delivery("x1", child_ended())]) == [Delivered.RECORDED]
    assert await store.deliver([Delivery("x1", child_ended())]) == [Delivered.DUPLICATE]


async def test_a_request_of_the_same_kind_is_recorded_once(store: Store) -> None:
    await waiting(store)
    cancel = Delivery("x1", e.CancelRequested(after(1)))
    assert await store.deliver([cancel, cancel]) == [Delivered.RECORDED, Delivered.DUPLICATE]


async def test_suspend_and_resume_may_follow_each_other_again_and_again(store: Store) -> None:
    await waiting(store)
    suspend, resume = Delivery("x1", e.SuspendRequested(after(1))), Delivery("x1", e.ResumeRequested(after(2)))
    answers = await store.deliver([resume, suspend, suspend, resume, suspend])
    new, known = Delivered.RECORDED, Delivered.DUPLICATE
    assert answers == [known, new, known, new, new]
    assert (await row(store)).suspend_requested


async def test_nothing_is_recorded_for_what_is_over(store: Store) -> None:
    await store.submit([submission("x1")], START)
    await end(store, await claim_one(store))
    before = await store.events("x1")
    assert await store.deliver([Delivery("x1", event) for event in EVENTS]) == [Delivered.OVER] * len(EVENTS)
    assert (await store.events("x1"), (await row(store)).due_at) == (before, None)


async def test_nothing_is_recorded_for_what_nobody_knows(store: Store) -> None:
    await store.submit([submission("v1", engine=Engine.V1)], START)
    deliveries = [Delivery("nobody", signal()), Delivery("v1", signal())]
    assert await store.deliver(deliveries) == [Delivered.UNKNOWN, Delivered.UNKNOWN]


async def test_answers_keep_the_order_of_the_call(store: Store) -> None:
    await waiting(store, "x2")
    await waiting(store, "x1")
    calls = [Delivery(id_, signal()) for id_ in ("x2", "nobody", "x1", "x2")]
    new = Delivered.RECORDED
    assert await store.deliver(calls) == [new, Delivered.UNKNOWN, new, Delivered.DUPLICATE]


async def test_several_events_for_one_execution_keep_their_order(store: Store) -> None:
    await waiting(store)
    await store.deliver([Delivery("x1", signal("s2")), Delivery("x1", child_ended()), Delivery("x1", signal("s1"))])
    ids = [r.event.id for r in await store.events("x1") if isinstance(r.event, e.SignalReceived)]
    assert ids == ["s2", "s1"]
    assert (await kinds(store))[3:] == ["SignalReceived", "ChildEnded", "SignalReceived"]


@pytest.mark.parametrize("payload", [float("nan"), "a\x00b", "\ud800"])
async def test_a_payload_that_no_store_can_keep_is_refused_with_the_whole_call(store: Store, payload: object) -> None:
    await waiting(store, "x1")
    await waiting(store, "x2")
    with pytest.raises(InvalidPayload):
        await store.deliver([Delivery("x1", signal()), Delivery("x2", signal(payload={"p": payload}))])
    assert "SignalReceived" not in await kinds(store, "x1")


async def test_nothing_to_deliver_is_no_error(store: Store) -> None:
    assert await store.deliver([]) == []


async def test_every_one_of_many_deliveries_at_once_is_recorded(store: Store) -> None:
    await waiting(store)
    answers = await asyncio.gather(*(store.deliver([Delivery("x1", signal(f"s{i}"))]) for i in range(20)))
    assert answers == [[Delivered.RECORDED]] * 20
    assert len(await kinds(store)) == 23


async def test_of_one_signal_delivered_by_many_at_once_one_is_recorded(store: Store) -> None:
    await waiting(store)
    answers = await asyncio.gather(*(store.deliver([Delivery("x1", signal("s1"))]) for _ in range(10)))
    assert sorted(answers) == [[Delivered.DUPLICATE]] * 9 + [[Delivered.RECORDED]]
    assert (await kinds(store)).count("SignalReceived") == 1


# -- what people ask


CONTROLS = {
    Control.CANCEL: "CancelRequested",
    Control.SUSPEND: "SuspendRequested",
}


@pytest.mark.parametrize("control", CONTROLS)
async def test_a_request_is_recorded_once(store: Store, control: Control) -> None:
    await store.submit([submission("x1")], START)
    assert await store.control("x1", control, START)
    assert not await store.control("x1", control, START)
    assert (await kinds(store))[1:] == [CONTROLS[control]]


@pytest.mark.parametrize("control", Control)
async def test_nothing_is_asked_of_what_nobody_knows(store: Store, control: Control) -> None:
    assert not await store.control("nobody", control, START)


@pytest.mark.parametrize("control", Control)
async def test_nothing_is_asked_of_an_execution_that_is_over(store: Store, control: Control) -> None:
    await store.submit([submission("x1")], START)
    await end(store, await claim_one(store), Status.SUCCESS)
    assert not await store.control("x1", control, START)
    assert await store.claim("w", Engine.V2, 10, LEASE, after(1)) == []


async def test_what_is_not_suspended_cannot_be_resumed(store: Store) -> None:
    await store.submit([submission("x1")], START)
    assert not await store.control("x1", Control.RESUME, START)


async def test_the_row_shows_what_was_asked(store: Store) -> None:
    await store.submit([submission("x1")], START)
    await store.control("x1", Control.SUSPEND, START)
    await store.control("x1", Control.CANCEL, START)
    record = await row(store)
    assert (record.cancel_requested, record.suspend_requested) == (True, True)
    await store.control("x1", Control.RESUME, START)
    assert not (await row(store)).suspend_requested


async def test_a_suspended_one_is_due_at_once_when_it_is_resumed(store: Store) -> None:
    await store.submit([submission("x1", suspended="Restored")], START)
    assert await store.claim("w", Engine.V2, 10, LEASE, START) == []
    await store.control("x1", Control.RESUME, START)
    (claim,) = await store.claim("w", Engine.V2, 10, LEASE, START)
    assert (claim.status, claim.begun) == (Status.SUSPENDED, False)


@pytest.mark.parametrize("engine", Engine)
async def test_an_execution_suspended_at_submission_can_be_cancelled(store: Store, engine: Engine) -> None:
    await store.submit([submission("x1", suspended="Restored", engine=engine)], START)
    assert await store.control("x1", Control.CANCEL, START)
    claimed = await store.claim("w", engine, 10, LEASE, START)
    assert [claim.id for claim in claimed] == ([] if engine is Engine.V1 else ["x1"])


async def test_a_request_and_an_append_at_once_leave_no_gap(store: Store) -> None:
    ids = [f"x{i}" for i in range(30)]
    await store.submit([submission(id_) for id_ in ids], START)
    claims = await store.claim("worker-1", Engine.V2, 30, LEASE, START)
    appended = asyncio.create_task(store.append([append(claim, completed("a")) for claim in claims]))
    assert all(await asyncio.gather(*(store.control(id_, Control.CANCEL, START) for id_ in ids)))
    for claim, outcome in zip(claims, await appended, strict=True):
        names = (await kinds(store, claim.id))[2:]
        assert sorted(names) == ["CancelRequested"] + ["StepCompleted"] * (outcome is Outcome.COMMITTED)
        assert (await row(store, claim.id)).seq == len(names) + 2
