"""Submissions: an accepted execution is never lost, and the same key submits once."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import TYPE_CHECKING

import pytest

from orchestrator import events as e
from orchestrator.decide import project
from orchestrator.fold import fold
from orchestrator.model import Engine, Lineage, Status
from tests.support.stores import START, kinds, row, submission, workflow

if TYPE_CHECKING:
    from orchestrator.store import Store


async def test_submit_is_durable_and_visible(store: Store) -> None:
    (answer,) = await store.submit([submission("x1")], START)
    assert (answer.id, answer.engine, answer.created) == ("x1", Engine.V2, True)
    record = await row(store)
    assert (record.status, record.created_at, record.total, record.version) == (Status.PENDING, START, 2, 1)
    assert await kinds(store) == ["ExecutionSubmitted"]


async def test_the_same_id_submits_once(store: Store) -> None:
    await store.submit([submission("x1")], START)
    (again,) = await store.submit([submission("x1", engine=Engine.V1)], START)
    assert (again.id, again.engine, again.created) == ("x1", Engine.V2, False)
    assert len(await store.events("x1")) == 1


async def test_the_same_id_twice_in_one_batch_submits_once(store: Store) -> None:
    answers = await store.submit([submission("x1"), submission("x1")], START)
    assert [a.created for a in answers] == [True, False]
    assert len(await store.events("x1")) == 1


async def test_the_same_key_twice_in_one_batch_submits_once(store: Store) -> None:
    answers = await store.submit([submission(id_, idempotency_key="k") for id_ in ("x1", "x2")], START)
    assert [(a.id, a.created) for a in answers] == [("x1", True), ("x1", False)]
    assert await store.known(["x1", "x2"]) == {"x1"}


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


async def test_an_execution_is_found_by_its_key(store: Store) -> None:
    await store.submit([submission("x1", idempotency_key="k"), submission("x2")], START)
    found = await store.find("default/chain", "k")
    assert found is not None
    assert found.id == "x1"
    assert await store.find("default/chain", "other") is None


async def test_what_was_handed_in_can_be_changed_afterwards(store: Store) -> None:
    value = {"list": [1]}
    await store.submit([submission("x1", input=value)], START)
    value["list"].append(2)
    (first,) = await store.events("x1")
    assert isinstance(first.event, e.ExecutionSubmitted)
    assert first.event.input == {"list": [1]}


async def test_what_was_read_can_be_changed_without_harm(store: Store) -> None:
    await store.submit([submission("x1", input={"list": [1]})], START)
    for _ in range(2):
        (first,) = await store.events("x1")
        assert isinstance(first.event, e.ExecutionSubmitted)
        assert first.event.input == {"list": [1]}
        first.event.input["list"].append(2)


async def test_a_log_line_is_committed_with_its_submission(store: Store) -> None:
    await store.submit([submission("x1", log_line="Usando Orchestrator V2 execution=x1")], START)
    await store.log_edge(["ERROR something"], START)
    assert [line for _, line in await store.edge_logs(START, contains="Usando Orchestrator V2")] == [
        "Usando Orchestrator V2 execution=x1"
    ]
    assert len(await store.edge_logs(START)) == 2


async def test_a_repeated_submission_writes_no_second_log_line(store: Store) -> None:
    for _ in range(2):
        await store.submit([submission("x1", log_line="Usando Orchestrator V2")], START)
    assert len(await store.edge_logs(START)) == 1


async def test_one_that_starts_suspended_says_why(store: Store) -> None:
    await store.submit([submission("x1", suspended="Restored")], START)
    assert await kinds(store) == ["ExecutionSubmitted", "ExecutionSuspended"]
    record = await row(store)
    assert (record.status, record.suspend_requested, record.message, record.due_at) == (
        Status.SUSPENDED,
        True,
        "Restored",
        None,
    )


CARRIED = (
    e.StepCarried(START, "a", "transform", {"x": 1}),
    e.StepCarried(START, "m", "transform", {"i": 1}, item="one"),
)
LINEAGE = Lineage(origin="x0", origin_seq=7, root="x0", fresh=("b",))


async def test_a_fork_begins_with_its_lineage_and_what_it_carries(store: Store) -> None:
    await store.submit([submission("x1", lineage=LINEAGE, carried=CARRIED)], START)
    first, *carried = [recorded.event for recorded in await store.events("x1")]
    assert isinstance(first, e.ExecutionSubmitted)
    assert (first.lineage, tuple(carried)) == (LINEAGE, CARRIED)


async def test_a_forks_row_names_its_origin_and_counts_the_nodes_that_it_carries(store: Store) -> None:
    await store.submit([submission("x1", lineage=LINEAGE, carried=CARRIED)], START)
    record = await row(store)
    assert (record.origin, record.done, record.seq, record.due_at) == ("x0", 1, 3, START)


@pytest.mark.parametrize("suspended", [None, "Restored"])
async def test_a_forks_row_is_what_its_events_say(store: Store, suspended: str | None) -> None:
    carried = (e.StepCarried(START, "a", "transform", {"x": 1}),)
    await store.submit([submission("x1", lineage=LINEAGE, carried=carried, suspended=suspended)], START)
    record = await row(store)
    wanted = project(workflow(), fold("x1", await store.events("x1")))
    assert {field.name: getattr(record, field.name) for field in fields(wanted)} == asdict(wanted)


async def test_a_fork_may_start_suspended(store: Store) -> None:
    await store.submit([submission("x1", lineage=LINEAGE, carried=CARRIED[:1], suspended="Restored")], START)
    assert await kinds(store) == ["ExecutionSubmitted", "StepCarried", "ExecutionSuspended"]


async def test_a_child_names_its_parent_in_row_and_event(store: Store) -> None:
    await store.submit([submission("x1", parent="x0")], START)
    (first,) = await store.events("x1")
    assert isinstance(first.event, e.ExecutionSubmitted)
    assert (first.event.parent, (await row(store)).parent) == ("x0", "x0")


async def test_events_of_one_commit_bear_the_number_of_its_first(store: Store) -> None:
    await store.submit([submission("x1", lineage=LINEAGE, carried=CARRIED)], START)
    assert {recorded.append_seq for recorded in await store.events("x1")} == {1}


async def test_a_batch_keeps_its_order(store: Store) -> None:
    ids = [f"x{i}" for i in (3, 1, 2)]
    answers = await store.submit([submission(id_) for id_ in ids], START)
    assert [answer.id for answer in answers] == ids


async def test_an_empty_batch_is_no_error(store: Store) -> None:
    assert await store.submit([], START) == []
