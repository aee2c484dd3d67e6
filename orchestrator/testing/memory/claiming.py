"""Claims, leases and appends: what workers do. Every write is checked against the fencing token."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from orchestrator import events as e
from orchestrator.model import Engine, Status
from orchestrator.store import codec
from orchestrator.store.messages import Append, Claim, Outcome
from orchestrator.testing.memory import delivering, limits
from orchestrator.testing.memory.data import Data, Row, event_row
from orchestrator.testing.memory.submitting import submit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from orchestrator.model import Projection
    from orchestrator.store.messages import Release, V1Update


def due(d: Data, engine: Engine, now: datetime) -> list[Row]:
    """What a worker could claim now, oldest first."""
    ready = [row for row in d.unfinished() if row.engine is engine and row.due_at is not None and row.due_at <= now]
    return sorted(ready, key=lambda row: (row.due_at, row.number))


def claim(d: Data, owner: str, engine: Engine, limit: int, lease: timedelta, now: datetime) -> list[Claim]:
    return [_claim(d, row, owner, lease, now) for row in due(d, engine, now)[:limit]]


def _claim(d: Data, row: Row, owner: str, lease: timedelta, now: datetime) -> Claim:
    begun, v2 = row.status is Status.PENDING, row.engine is Engine.V2
    claimed = replace(
        row,
        owner=owner,
        fence=row.fence + 1,
        due_at=now + lease if v2 else None,
        step_deadline=now + timedelta(seconds=row.longest_timeout),
    )
    if begun:
        claimed = replace(claimed, status=Status.RUNNING, started_at=now, version=row.version + 1)
    if begun and v2:
        claimed = replace(claimed, seq=row.seq + 1)
        d.add(row.id, [event_row(claimed.seq, e.ExecutionStarted(now), claimed.seq)])
    d.put(claimed)
    return Claim(
        id=row.id,
        workflow_id=row.workflow_id,
        revision=row.revision,
        engine=row.engine,
        fence=claimed.fence,
        seq=claimed.seq,
        status=claimed.status,
        created_at=row.created_at,
        begun=begun,
        input=None if row.input is None else json.loads(row.input),
    )


def renew(d: Data, held: Mapping[str, int], lease: timedelta, now: datetime) -> dict[str, int]:
    ours = {}
    for execution_id, fence in held.items():
        row = d.rows.get(execution_id)
        if row is None or row.fence != fence:
            continue
        if row.owner is not None:  # what was let go while the renewal was on its way keeps its moment
            d.put(replace(row, due_at=now + lease))
        ours[execution_id] = row.seq
    return ours


def release(d: Data, held: Mapping[str, Release], now: datetime) -> None:
    for execution_id, let_go in held.items():
        row = d.rows.get(execution_id)
        if row is not None and row.fence == let_go.fence and not row.over:
            d.put(replace(row, owner=None, due_at=let_go.due_at if row.seq == let_go.seq else now))


def append(d: Data, batch: Sequence[Append]) -> list[Outcome]:
    """All appends' own events first, then what they do to others: so nobody in the batch makes another one stale."""
    outcomes = [_append(d, append) for append in batch]
    fresh = [append for append, (_, wrote) in zip(batch, outcomes, strict=True) if wrote]
    for append in fresh:
        row = d.rows[append.execution_id]
        if row.finished_at is not None:
            limits.free(d, row.limit_key, row.finished_at)
    for append in fresh:
        submit(d, append.submissions, append.events[-1].at)
    for append in fresh:
        for delivery in append.deliveries:
            delivering.record(d, delivery.execution_id, delivery.event)
    return [outcome for outcome, _ in outcomes]


def _append(d: Data, append: Append) -> tuple[Outcome, bool]:
    """What became of it, and whether this very call wrote it."""
    row = d.rows.get(append.execution_id)
    if row is None:
        return Outcome.FENCED, False
    if row.last_append == append.append_id:
        return Outcome.COMMITTED, False
    if row.fence != append.fence:
        return Outcome.FENCED, False
    if row.over or row.seq != append.first_seq - 1:
        return Outcome.STALE, False
    if append.release:
        row = replace(row, owner=None, due_at=append.due_at)
    projected = _projected(row, append.projection)
    d.put(
        replace(
            projected,
            seq=row.seq + len(append.events),
            last_append=append.append_id,
            step_deadline=append.step_deadline,
            version=row.version + 1,
        )
    )
    first = append.first_seq
    rows = [
        event_row(seq, event, first, data)
        for seq, (event, data) in enumerate(zip(append.events, append.data, strict=True), first)
    ]
    rows[0] = replace(rows[0], timed_append=append.timed_append, timed_ms=append.timed_ms)
    d.add(row.id, rows)
    return Outcome.COMMITTED, True


def v1_update(d: Data, batch: Sequence[V1Update]) -> list[bool]:
    return [_v1_update(d, update) for update in batch]


def _v1_update(d: Data, update: V1Update) -> bool:
    row = d.rows.get(update.execution_id)
    if row is None or row.engine is not Engine.V1:
        return False
    if row.over:
        return row.cancel_requested
    changed = replace(_projected(row, update.projection), step_deadline=update.step_deadline, version=row.version + 1)
    d.put(changed)
    return changed.cancel_requested


def _projected(row: Row, projection: Projection) -> Row:
    """The row as the projection says; raises InvalidPayload for what no store can keep."""
    codec.dump_json(codec.dump_failure(projection.failure), "error")
    return replace(
        row,
        status=projection.status,
        current_node=projection.current_node,
        done=projection.done,
        total=projection.total,
        retries=projection.retries,
        started_at=projection.started_at,
        finished_at=projection.finished_at,
        output=codec.dump_json(projection.output, "output"),
        failure=projection.failure,
        queued=row.queued and projection.finished_at is None,
    )
