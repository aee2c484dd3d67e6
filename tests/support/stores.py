"""Stores for tests: what every test of them begins with."""

from __future__ import annotations

import functools
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from orchestrator import events as e
from orchestrator.model import Assignment, Concurrency, Engine, Failure, OnLimit, Status
from orchestrator.store import DecisionRow, ExecutionRecord, Outcome, V1Update
from orchestrator.store.tables import facts, metadata
from orchestrator.testing.builders import CHAIN, START, append, projection, submission, workflow

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from orchestrator.model import Workflow
    from orchestrator.store import Claim, Store

__all__ = [
    "CHAIN",
    "LEASE",
    "START",
    "after",
    "append",
    "claim_one",
    "commit",
    "completed",
    "decision",
    "empty",
    "end",
    "engine_of",
    "kinds",
    "limited",
    "projection",
    "row",
    "running",
    "submission",
    "v1_ends",
    "workflow",
]

LEASE = timedelta(seconds=15)


def empty(url: str) -> None:
    """Delete everything from a store's database: ten times quicker than to make another one."""
    tables = [table for table in reversed(metadata.sorted_tables) if table is not facts]  # the store's epoch stays
    with engine_of(url).begin() as connection:
        if url.startswith("postgresql"):
            connection.exec_driver_sql("; ".join(f"DELETE FROM {table.name}" for table in tables))  # one round trip
        else:
            for table in tables:
                connection.execute(table.delete())


@functools.cache
def engine_of(url: str) -> sa.Engine:
    """Connections beside a store's own, kept for the tests that follow."""
    return sa.create_engine(url)


def after(seconds: float) -> datetime:
    """A moment, so long after START."""
    return START + timedelta(seconds=seconds)


async def claim_one(store: Store, execution_id: str = "x1", at: datetime = START, owner: str = "worker-1") -> Claim:
    """The claim of one execution, which has to be due; whatever else is due then is claimed, too."""
    claims = {claim.id: claim for claim in await store.claim(owner, Engine.V2, 100, LEASE, at)}
    return claims[execution_id]


def completed(node: str = "a", output: Any = None, at: datetime = START, **fields: Any) -> e.StepCompleted:
    return e.StepCompleted(at, node, "transform", 1, output, at, 1.5, **fields)


async def commit(store: Store, claim: Claim, *events: e.Event, **fields: Any) -> None:
    """Append, and be sure of it."""
    assert await store.append([append(claim, *events, **fields)]) == [Outcome.COMMITTED]


async def end(
    store: Store, claim: Claim, status: Status = Status.CANCELLED, at: datetime = START, **fields: Any
) -> None:
    """End a claimed execution as its owner would."""
    ends: dict[Status, e.Event] = {
        Status.SUCCESS: e.ExecutionSucceeded(at, None),
        Status.FAILED: e.ExecutionFailed(at, Failure("HttpStatus", "503", node="a", status=503)),
        Status.CANCELLED: e.ExecutionCancelled(at),
    }
    await commit(store, claim, ends[status], **{"projection": projection(status, finished_at=at)} | fields)


async def v1_ends(store: Store, seconds: Mapping[str, float], status: Status = Status.SUCCESS) -> None:
    """End executions of V1, each so many seconds after START."""
    ends = {id_: projection(status, finished_at=after(lasted)) for id_, lasted in seconds.items()}
    await store.v1_update([V1Update(id_, end, None) for id_, end in ends.items()])


async def kinds(store: Store, execution_id: str = "x1") -> list[str]:
    """The names of an execution's events, whose numbers have no gap."""
    history = await store.events(execution_id)
    assert [recorded.seq for recorded in history] == list(range(1, len(history) + 1))
    return [type(recorded.event).__name__ for recorded in history]


async def row(store: Store, execution_id: str = "x1") -> ExecutionRecord:
    """The record of an execution that has to be there."""
    record = await store.get(execution_id)
    assert record is not None, execution_id
    return record


def running(at: datetime, **fields: Any) -> ExecutionRecord:
    """The row of an execution of V2 that runs its first step since `at`."""
    made = ExecutionRecord(
        id="x1",
        workflow_id="shop/chain",
        revision="r",
        name="one",
        engine=Engine.V2,
        assignment=Assignment.EXECUTION,
        percent="5",
        attempt="",
        status=Status.RUNNING,
        current_node="a",
        done=0,
        total=2,
        retries=0,
        created_at=at,
        started_at=at,
        finished_at=None,
        output=None,
        failure=None,
        seq=2,
        fence=1,
        version=2,
        owner=None,
        due_at=None,
        cancel_requested=False,
        suspend_requested=False,
        message="",
    )
    return replace(made, **fields)


def decision(number: int, previous: str | None = None, rollout: str = "r", **fields: Any) -> DecisionRow:
    """Row `number` of a chain whose hashes are h1, h2 …"""
    row = DecisionRow(
        rollout=rollout,
        number=number,
        name="shop/v2",
        attempt="r-1",
        at=START,
        action="Promote",
        reason="StagePassed",
        message="on we go",
        actor="controller",
        content="{}",
        prev_hash=previous if previous is not None else f"h{number - 1}" if number > 1 else "",
        hash=f"h{number}",
    )
    return replace(row, **fields)


def limited(limit: int = 1, policy: OnLimit = OnLimit.QUEUE, key: str | None = None, name: str = "chain") -> Workflow:
    """The chain, of which so many may run at once."""
    return replace(workflow(name=name), concurrency=Concurrency(limit, policy, key))
