"""Questions to a store that change nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from orchestrator import events as e
from orchestrator.errors import UnknownExecution
from orchestrator.fold import fold
from orchestrator.model import Engine, Failure, Lineage, Status, Trace
from orchestrator.store import Backlog, Control, Filter, Release, Store
from tests.support.stores import (
    LEASE,
    START,
    after,
    claim_one,
    commit,
    completed,
    end,
    limited,
    projection,
    submission,
    workflow,
)

OTHER = {"nodes": [{"id": "a", "type": "transform", "with": {"x": 1}}]}


# -- workflows


async def test_a_revision_is_kept_for_those_pinned_to_it(store: Store) -> None:
    old, new = workflow(), workflow(OTHER)
    for revision in (old, new):
        await store.put_workflow(revision)
    assert await store.workflow(old.id, old.revision) == old
    assert await store.workflow(new.id, new.revision) == new


async def test_a_revision_that_is_not_kept_is_an_error(store: Store) -> None:
    with pytest.raises(UnknownExecution, match="default/chain"):
        await store.workflow("default/chain", "gone")


async def test_the_current_revision_is_the_one_that_was_put_last(store: Store) -> None:
    old, new = workflow(), workflow(OTHER)
    for revision in (old, new, old):
        await store.put_workflow(revision)
        assert await store.current(old.id) == revision


async def test_a_workflow_that_was_never_put_has_no_current_revision(store: Store) -> None:
    await store.put_workflow(workflow())
    assert await store.current("default/other") is None


async def test_a_submission_keeps_the_revision_that_it_is_pinned_to(store: Store) -> None:
    await store.submit([submission("x1")], START)
    assert await store.workflow(workflow().id, workflow().revision) == workflow()


async def test_a_submission_of_an_older_revision_leaves_the_current_one(store: Store) -> None:
    """A fork of an old execution must not change what new children run."""
    old, new = workflow(), workflow(OTHER)
    await store.put_workflow(old)
    await store.put_workflow(new)
    await store.submit([submission("x1", workflow=old)], START)
    assert await store.current(old.id) == new


# -- histories


async def test_several_histories_are_read_as_one_by_one(store: Store) -> None:
    await store.submit([submission("x1"), submission("x2"), submission("x3")], START)
    await commit(store, await claim_one(store, "x1"), completed("a", {"x": 1}), completed("b"))
    histories = await store.histories(["x1", "x2"])
    assert histories == {id_: await store.events(id_) for id_ in ("x1", "x2")}


async def test_what_has_no_history_is_no_error(store: Store) -> None:
    await store.submit([submission("v1", engine=Engine.V1)], START)
    assert not any((await store.histories(["v1", "nobody"])).values())
    assert await store.histories([]) == {}


# -- lists


async def found(store: Store, **fields: Any) -> list[str]:
    return [record.id for record in await store.executions(Filter(**fields))]


async def several(store: Store) -> None:
    """x1 failed, x2 runs, v1 is pending, c1 is a child of x2, f1 a fork of x1."""
    failure = Failure("HttpStatus", "503", node="b", status=503)
    await store.submit([submission("x1")], after(1))
    await store.submit([submission("x2", workflow=workflow(name="other"))], after(2))
    claims = {claim.id: claim for claim in await store.claim("w", Engine.V2, 10, LEASE, after(2))}
    await end(
        store,
        claims["x1"],
        Status.FAILED,
        after(2),
        projection=projection(Status.FAILED, finished_at=after(2), failure=failure),
    )
    await store.submit([submission("v1", engine=Engine.V1)], after(3))
    await store.submit([submission("c1", parent="x2")], after(4))
    await store.submit([submission("f1", lineage=Lineage("x1", 2, "x1"))], after(5))


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({}, ["f1", "c1", "v1", "x2", "x1"]),
        ({"workflow_id": "default/other"}, ["x2"]),
        ({"workflow_id": "default/none"}, []),
        ({"statuses": (Status.FAILED,)}, ["x1"]),
        ({"statuses": (Status.FAILED, Status.RUNNING)}, ["x2", "x1"]),
        ({"statuses": ()}, []),
        ({"engine": Engine.V1}, ["v1"]),
        ({"stalled_before": after(2) + LEASE}, []),
        ({"stalled_before": after(3) + LEASE}, ["x2"]),
        ({"stalled_before": after(3) + LEASE, "engine": Engine.V1}, []),
        ({"parent": "x2"}, ["c1"]),
        ({"origin": "x1"}, ["f1"]),
        ({"created_before": after(2.5)}, ["x2", "x1"]),
        ({"created_after": after(2.5)}, ["f1", "c1", "v1"]),
        ({"created_after": after(1.5), "created_before": after(3.5)}, ["v1", "x2"]),
        ({"failed_node": "b"}, ["x1"]),
        ({"failed_node": "a"}, []),
        ({"failed_kind": "HttpStatus"}, ["x1"]),
        ({"failed_kind": "Timeout"}, []),
        ({"queued": True}, []),
        ({"queued": False}, ["f1", "c1", "v1", "x2", "x1"]),
        ({"limit": 2}, ["f1", "c1"]),
        ({"workflow_id": "default/chain", "engine": Engine.V2, "statuses": (Status.PENDING,)}, ["f1", "c1"]),
    ],
    ids=str,
)
async def test_a_filter_finds_what_it_names(store: Store, fields: dict[str, Any], wanted: list[str]) -> None:
    await several(store)
    assert await found(store, **fields) == wanted


async def test_those_that_wait_for_a_slot_are_found(store: Store) -> None:
    await store.submit([submission(id_, workflow=limited(1)) for id_ in ("x1", "x2")], START)
    assert await found(store, queued=True) == ["x2"]


@pytest.mark.parametrize("size", [1, 2, 3])
async def test_pages_follow_each_other_without_gap_or_repetition(store: Store, size: int) -> None:
    for seconds in (0, 1):
        await store.submit([submission(f"x{seconds}{i}") for i in range(4)], after(seconds))
    whole, pages, where = await found(store), [], Filter(limit=size)
    while page := await store.executions(where):
        pages += [record.id for record in page]
        where = replace(where, after=(page[-1].created_at, page[-1].id))
    assert (pages, len(pages), {id_[1] for id_ in pages[:4]}) == (whole, 8, {"1"})


async def test_a_page_goes_on_although_what_it_ended_with_is_gone(store: Store) -> None:
    await several(store)
    assert await found(store, after=(after(4), "gone")) == ["v1", "x2", "x1"]


async def test_what_is_not_over_is_listed_oldest_first(store: Store) -> None:
    await several(store)
    assert [record.id for record in await store.active()] == ["x2", "v1", "c1", "f1"]


@pytest.mark.parametrize("size", [1, 2, 3])
async def test_what_is_not_over_is_listed_a_page_at_a_time(store: Store, size: int) -> None:
    for seconds in (0, 1):
        await store.submit([submission(f"x{seconds}{i}") for i in range(4)], after(seconds))
    whole = [record.id for record in await store.active()]
    pages: list[str] = []
    place = None
    while page := await store.active(place, size):
        pages += [record.id for record in page]
        place = (page[-1].created_at, page[-1].id)
    assert (pages, len(pages), {id_[1] for id_ in pages[:4]}) == (whole, 8, {"0"})


async def test_those_that_are_known_are_told_from_others(store: Store) -> None:
    await several(store)
    assert await store.known(["x1", "v1", "nobody"]) == {"x1", "v1"}
    assert await store.known([]) == set()


async def test_nobody_is_none(store: Store) -> None:
    assert (await store.get("nobody"), await store.events("nobody")) == (None, [])


# -- idle


BOTH = (Engine.V1, Engine.V2)


async def test_an_empty_store_is_idle(store: Store) -> None:
    assert await store.idle(BOTH)


@pytest.mark.parametrize("engine", BOTH)
async def test_what_is_pending_wants_a_worker_of_its_engine_alone(store: Store, engine: Engine) -> None:
    await store.submit([submission("x1", engine=engine)], START)
    assert [await store.idle([one]) for one in BOTH] == [one is not engine for one in BOTH]


async def test_what_a_worker_holds_is_not_idle(store: Store) -> None:
    await store.submit([submission("x1")], START)
    await claim_one(store)
    assert not await store.idle(BOTH)


async def test_what_a_timer_will_wake_is_not_idle(store: Store) -> None:
    await store.submit([submission("x1")], START)
    claim = await claim_one(store)
    await store.release({"x1": Release(claim.fence, claim.seq, START + timedelta(days=300))}, START)
    assert not await store.idle(BOTH)


async def test_what_only_an_event_wakes_is_idle(store: Store) -> None:
    await store.submit([submission("x1")], START)
    waiting = projection(Status.WAITING)
    await commit(store, await claim_one(store), e.ExecutionWaiting(START), projection=waiting, release=True)
    assert await store.idle(BOTH)


@pytest.mark.parametrize("engine", BOTH)
async def test_what_is_suspended_waits_for_a_person(store: Store, engine: Engine) -> None:
    await store.submit([submission("x1", suspended="Restored", engine=engine)], START)
    assert await store.idle(BOTH)
    await store.control("x1", Control.RESUME, START)
    assert not await store.idle(BOTH)


async def test_what_v1_runs_may_be_abandoned(store: Store) -> None:
    await store.submit([submission("x1", engine=Engine.V1)], START)
    await store.claim("w", Engine.V1, 10, LEASE, START)
    assert await store.idle(BOTH)


async def test_what_is_over_is_idle(store: Store) -> None:
    await store.submit([submission("x1")], START)
    await end(store, await claim_one(store))
    assert await store.idle(BOTH)


async def test_what_waits_for_a_slot_of_a_suspended_one_is_idle(store: Store) -> None:
    await store.submit([submission("x1", workflow=limited(1), suspended="Restored")], START)
    await store.submit([submission("x2", workflow=limited(1))], START)
    assert await store.idle(BOTH)


# -- what the HTTP door asks


async def test_the_input_is_told_whichever_engine_runs_it(store: Store) -> None:
    await store.submit(
        [submission("x1", input={"n": [1, "é"]}), submission("x2", engine=Engine.V1, input={"n": 2})], START
    )
    assert await store.input_of("x1") == {"n": [1, "é"]}
    assert await store.input_of("x2") == {"n": 2}
    assert await store.input_of("nobody") is None


async def test_of_some_executions_those_that_are_over_are_told(store: Store) -> None:
    await store.submit([submission("x1"), submission("x2"), submission("x3")], START)
    await end(store, await claim_one(store))
    assert await store.over(["x1", "x2", "nobody"]) == {"x1"}
    assert await store.over([]) == set()


async def test_the_backlog_is_what_is_due_and_nobody_has_taken_up(store: Store) -> None:
    assert await store.backlog(START, 10) == Backlog(0, None)
    await store.submit([submission("x1", engine=Engine.V1), submission("x2")], START)
    await store.submit([submission("x3"), submission("x4", suspended="Restored")], after(2))
    assert await store.backlog(after(1), 10) == Backlog(2, START)
    assert await store.backlog(after(3), 10) == Backlog(3, START)
    assert await store.claim("worker", Engine.V1, 1, LEASE, after(3))
    assert await store.claim("worker", Engine.V2, 1, LEASE, after(3))
    assert await store.backlog(after(3), 10) == Backlog(1, after(2))


async def test_the_backlog_is_counted_no_further_than_asked_for(store: Store) -> None:
    await store.submit([submission(f"x{n}", engine=engine) for n, engine in enumerate([*Engine, *Engine])], START)
    assert await store.backlog(START, 3) == Backlog(3, START)


async def test_what_a_limit_holds_back_is_no_backlog(store: Store) -> None:
    flow = limited(limit=1)
    await store.submit([submission("x1", workflow=flow), submission("x2", workflow=flow)], START)
    assert (await store.backlog(START, 10)).waiting == 1


async def test_the_routing_key_and_the_trace_are_kept(store: Store) -> None:
    trace = Trace("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "vendor=1")
    await store.submit([submission("x1", routing_key="customer-7", trace=trace), submission("x2")], START)
    records = {record.id: record.routing_key for record in await store.executions(Filter())}
    assert records == {"x1": "customer-7", "x2": None}
    traces = [fold(id_, await store.events(id_)).trace for id_ in ("x1", "x2")]
    assert traces == [trace, None]
