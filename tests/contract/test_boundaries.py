"""Every commit of a store has a name, and is announced right before it and right after it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from orchestrator import events as e
from orchestrator.errors import StoreUnavailable
from orchestrator.faults import Boundary, Moment
from orchestrator.model import Engine, Status
from orchestrator.store import (
    Delivered,
    Delivery,
    Filter,
    KeptBin,
    Outcome,
    Release,
    Submission,
    Totals,
    V1Update,
)
from orchestrator.testing import faults
from tests.support.commits import watched
from tests.support.stores import (
    LEASE,
    START,
    after,
    append,
    claim_one,
    completed,
    decision,
    kinds,
    limited,
    projection,
    row,
    submission,
    workflow,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from orchestrator.store import Claim, Store

    Act = Callable[[Store, Claim], Awaitable[object]]

COUNTED: list[Submission] = [submission("c1", attempt="r-1", ages=(1.0,))]
SIGNAL = Delivery("x1", e.SignalReceived(START, "go", None, "s1"))

#: What reaches each boundary, in a store where `x1` is claimed, `v1` and `named` are pending and `old` has ended.
ACTS: dict[Boundary, Act] = {
    Boundary.PUT_WORKFLOW: lambda store, _: store.put_workflow(workflow(name="other")),
    Boundary.SUBMIT: lambda store, _: store.submit([submission("new")], START),
    Boundary.DELIVER: lambda store, _: store.deliver([SIGNAL]),
    Boundary.CLAIM: lambda store, _: store.claim("w", Engine.V2, 10, LEASE, after(99)),
    Boundary.RENEW: lambda store, claim: store.renew({"x1": claim.fence}, LEASE, after(1)),
    Boundary.RELEASE: lambda store, claim: store.release({"x1": Release(claim.fence, claim.seq, None)}, after(1)),
    Boundary.APPEND: lambda store, claim: store.append([append(claim, completed("a"))]),
    Boundary.V1_UPDATE: lambda store, _: store.v1_update([V1Update("v1", projection(), None)]),
    Boundary.HEAL_LIMITS: lambda store, _: store.heal_limits(START),
    Boundary.WRITTEN: lambda store, _: store.written({"named": (1, Status.PENDING)}, START),
    Boundary.LOG: lambda store, _: store.log_edge(["a line"], START),
    Boundary.DROP_LOGS: lambda store, _: store.drop_logs(after(1)),
    Boundary.DROP_FINISHED: lambda store, _: store.drop_finished(after(1)),
    Boundary.COUNT_COHORTS: lambda store, _: store.count_cohorts(after(5)),
    Boundary.SAVE_TOTALS: lambda store, _: store.save_totals("r-1", Totals(0, START, {})),
    Boundary.TAKE_BASELINES: lambda store, _: store.take_baselines("r-1", START, after(1)),
    Boundary.SAVE_BINS: lambda store, _: store.save_bins("r-1", "own", [KeptBin(0, START, 0.0, 1.0, 0.0, 1.0)]),
    Boundary.DROP_EVIDENCE: lambda store, _: store.drop_evidence("gone-"),
    Boundary.APPEND_DECISION: lambda store, _: store.append_decision(decision(1)),
}


async def ready(store: Store) -> Claim:
    await store.submit([submission("x1"), submission("old")], START)
    claims = {claim.id: claim for claim in await store.claim("w", Engine.V2, 10, LEASE, START)}
    over = projection(Status.CANCELLED)
    await store.append([append(claims["old"], e.ExecutionCancelled(START), projection=over)])
    await store.submit([submission("v1", engine=Engine.V1), submission("named", name="n"), *COUNTED], START)
    await store.log_edge(["an old line"], START)
    await store.submit([submission(id_, workflow=limited(1)) for id_ in ("l1", "l2")], START)
    await store.put_workflow(limited(2))  # raised while one waits
    await store.save_totals("gone-1", Totals(0, START, {}))
    return claims["x1"]


def test_every_boundary_is_reached_by_something() -> None:
    watched = {boundary for boundary in Boundary if boundary.startswith("watch")}  # tested beside what they are for
    assert set(ACTS) == set(Boundary) - watched - {Boundary.MIGRATE}


@pytest.mark.parametrize("boundary", ACTS)
async def test_a_commit_is_announced_before_and_after_it(store: Store, boundary: Boundary) -> None:
    claim = await ready(store)
    told: list[tuple[Boundary, Moment]] = []
    with faults.planned(lambda *moment: told.append(moment)):
        await ACTS[boundary](store, claim)
    assert [moment for at, moment in told if at is boundary] == [Moment.BEFORE, Moment.AFTER, Moment.LOST]


@pytest.mark.parametrize("boundary", ACTS)
async def test_a_commit_is_announced_by_its_own_boundary_alone(store: Store, url: str, boundary: Boundary) -> None:
    """As many as the database itself counts."""
    claim = await ready(store)
    commits = watched(url) if url else None
    before = commits.count() if commits is not None else 0
    with faults.record() as reached:
        await ACTS[boundary](store, claim)
    wrote = commits.count() - before if commits is not None else 1
    assert (wrote, {at: times for (at, moment), times in reached.items() if moment is Moment.AFTER}) == (
        1,
        {boundary: 1},
    )


@pytest.mark.parametrize("boundary", ACTS)
async def test_a_refused_commit_tells_its_caller(store: Store, boundary: Boundary) -> None:
    claim = await ready(store)
    with faults.refuse(boundary), pytest.raises(StoreUnavailable):
        await ACTS[boundary](store, claim)


async def test_before_its_commit_nothing_is_written(store: Store) -> None:
    claim = await ready(store)
    before = await store.executions(Filter())
    for boundary in (Boundary.SUBMIT, Boundary.DELIVER, Boundary.RELEASE, Boundary.APPEND, Boundary.DROP_FINISHED):
        with faults.refuse(boundary), pytest.raises(StoreUnavailable):
            await ACTS[boundary](store, claim)
    assert await store.executions(Filter()) == before


async def test_an_append_whose_answer_was_lost_is_recognised(store: Store) -> None:
    claim = await ready(store)
    item = append(claim, completed("a"))
    with faults.lose(Boundary.APPEND), pytest.raises(StoreUnavailable):
        await store.append([item])
    assert await store.append([item]) == [Outcome.COMMITTED]
    assert await kinds(store) == ["ExecutionSubmitted", "ExecutionStarted", "StepCompleted"]


async def test_children_of_an_append_whose_answer_was_lost_are_made_once(store: Store) -> None:
    claim = await ready(store)
    item = append(claim, completed("a"), submissions=(submission("child", parent="x1"),), deliveries=())
    item = replace(item, deliveries=(Delivery("named", e.SignalReceived(START, "go", None, "s")),))
    with faults.lose(Boundary.APPEND), pytest.raises(StoreUnavailable):
        await store.append([item])
    await store.append([item])
    assert await kinds(store, "child") == ["ExecutionSubmitted"]
    assert await kinds(store, "named") == ["ExecutionSubmitted", "SignalReceived"]


async def test_a_submission_whose_answer_was_lost_is_recognised(store: Store) -> None:
    with faults.lose(Boundary.SUBMIT), pytest.raises(StoreUnavailable):
        await store.submit([submission("new")], START)
    (again,) = await store.submit([submission("new")], START)
    assert (again.id, again.created) == ("new", False)


async def test_a_delivery_whose_answer_was_lost_is_recognised(store: Store) -> None:
    await ready(store)
    with faults.lose(Boundary.DELIVER), pytest.raises(StoreUnavailable):
        await store.deliver([SIGNAL])
    assert await store.deliver([SIGNAL]) == [Delivered.DUPLICATE]


async def test_claims_whose_answer_was_lost_are_due_again_when_their_leases_end(store: Store) -> None:
    await store.submit([submission("x1")], START)
    with faults.lose(Boundary.CLAIM), pytest.raises(StoreUnavailable):
        await store.claim("w", Engine.V2, 10, timedelta(seconds=10), START)
    claim = await claim_one(store, at=after(10))
    assert (claim.fence, claim.begun, (await row(store)).status) == (2, False, Status.RUNNING)
