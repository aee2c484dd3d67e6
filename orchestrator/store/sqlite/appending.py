"""Appends: each as a whole or not at all, and all of a flush in one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.store import drafts
from orchestrator.store.messages import Append, Outcome
from orchestrator.store.sqlite import limits
from orchestrator.store.sqlite.delivering import record
from orchestrator.store.sqlite.submitting import submit
from orchestrator.store.sqlite.values import event_values, insert_events, moment

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

_UPDATE = """
UPDATE workflow_executions
   SET status = :status, current_node_id = :node, done = :done, total = :total, retries = :retries,
       started_at = :started_at, finished_at = :finished_at, output = :output, error = :error,
       due_at = CASE WHEN :release THEN :due_at ELSE due_at END, owner = CASE WHEN :release THEN NULL ELSE owner END,
       step_deadline = :step_deadline, seq = :last, last_append = :append, queued = queued AND :finished_at IS NULL,
       version = version + 1, dirty = dirty OR name <> ''
 WHERE id = :id AND fence = :fence AND seq = :first - 1 AND finished_at IS NULL"""
_STANDING = "SELECT last_append, fence FROM workflow_executions WHERE id = ?"


def append(c: sqlite3.Connection, batch: Sequence[Append], children: Sequence[tuple[Append, Any]]) -> list[Outcome]:
    """All appends' own events first, then what they do to others: so nobody in the flush makes another one stale.

    `children` are the drafts of the executions that they make, each with its append.
    """
    written: set[int] = set()
    events: list[list[Any]] = []
    outcomes = []
    for item in batch:
        if id(item) not in written and c.execute(_UPDATE, _columns(item)).rowcount:
            written.add(id(item))
            events += _events(item)
            outcomes.append(Outcome.COMMITTED)
        else:
            outcomes.append(_refusal(c, item))
    insert_events(c, events)
    fresh = [item for item in batch if id(item) in written]
    if ended := {item.execution_id: item.projection.finished_at for item in fresh if item.projection.finished_at}:
        limits.wake(c, limits.keys_of(c, ended), max(ended.values()))
    submit(c, [child for item, child in children if id(item) in written])
    for item in fresh:
        for delivery in item.deliveries:
            record(c, delivery)
    return outcomes


def _refusal(c: sqlite3.Connection, item: Append) -> Outcome:
    standing = c.execute(_STANDING, (item.execution_id,)).fetchone()
    if standing is None:
        return Outcome.FENCED
    if standing[0] == item.append_id:
        return Outcome.COMMITTED
    return Outcome.STALE if standing[1] == item.fence else Outcome.FENCED


def _columns(item: Append) -> dict[str, Any]:
    row = item.projection
    return {
        "id": item.execution_id,
        "append": item.append_id,
        "fence": item.fence,
        "first": item.first_seq,
        "last": item.first_seq + len(item.events) - 1,
        "status": row.status.value,
        "node": row.current_node,
        "done": row.done,
        "total": row.total,
        "retries": row.retries,
        "started_at": moment(row.started_at),
        "finished_at": moment(row.finished_at),
        "output": drafts.output_text(item),
        "error": drafts.error_text(item),
        "release": item.release,
        "due_at": moment(item.due_at) if row.finished_at is None else None,
        "step_deadline": moment(item.step_deadline),
    }


def _events(item: Append) -> list[list[Any]]:
    rows = [
        event_values(item.execution_id, seq, event, data, append_seq=item.first_seq)
        for seq, (event, data) in enumerate(zip(item.events, item.data, strict=True), item.first_seq)
    ]
    rows[0][10:12] = item.timed_append, item.timed_ms
    return rows
