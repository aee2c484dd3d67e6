"""New executions: each once, with its first events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.model import Engine, OnLimit
from orchestrator.store import codec, drafts
from orchestrator.store.messages import Delivery, Submitted
from orchestrator.store.sqlite import limits
from orchestrator.store.sqlite.delivering import record
from orchestrator.store.sqlite.values import event_values, insert_events, moment

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence
    from datetime import datetime

    from orchestrator.store.drafts import Draft

_COLUMNS = (
    "id",
    "workflow_id",
    "revision",
    "name",
    "engine",
    "assignment",
    "percent",
    "attempt",
    "routing_key",
    "idempotency_key",
    "status",
    "current_node_id",
    "done",
    "total",
    "message",
    "input",
    "created_at",
    "finished_at",
    "seq",
    "due_at",
    "longest_timeout",
    "suspend_requested",
    "ages",
    "next_age_at",
    "parent",
    "origin",
    "limit_key",
    "slots",
    "queued",
)
_INSERT = f"""
INSERT INTO workflow_executions ({", ".join(_COLUMNS)}, retries, fence, last_append, cancel_requested,
                                 version, dirty, written_version, next_age)
VALUES ({", ".join(f":{name}" for name in _COLUMNS)}, 0, 0, '', false, 1, :name <> '', 0, 0)
ON CONFLICT DO NOTHING"""
_STANDING = """
SELECT id, engine FROM workflow_executions
 WHERE id = :id OR (workflow_id = :workflow_id AND idempotency_key = :key AND idempotency_key IS NOT NULL)
 ORDER BY id <> :id LIMIT 1"""
_FUNCTION = "SELECT id FROM edge_functions WHERE name = 'execute-workflow'"
_LINE = "INSERT INTO edge_logs (function_id, event_message, timestamp) VALUES (?, ?, ?)"


def submit(c: sqlite3.Connection, batch: Sequence[Draft]) -> list[Submitted]:
    """In the caller's transaction, one after the other: each sees the slots that those before it took."""
    return [_submit(c, draft) for draft in batch]


def _submit(c: sqlite3.Connection, draft: Draft) -> Submitted:
    engine = Engine(draft.columns["engine"])
    if draft.limit is not None and (standing := _standing(c, draft)):
        return standing  # before a slot is counted for it
    row = _row(draft)
    skip = False
    if draft.limit is not None:
        limits.set_limit(c, draft.limit, draft.at)
        full = limits.is_full(c, draft.limit)
        skip = full and draft.limit.policy is OnLimit.SKIP
        row |= {"queued": full and not skip}
        if full:
            row["due_at"] = None
        if skip:
            row |= {"status": "cancelled", "finished_at": row["created_at"], "seq": row["seq"] + 1}
    if not c.execute(_INSERT, row).rowcount:
        standing = _standing(c, draft)
        if standing is None:
            raise AssertionError("what was in the way of an execution is an execution")
        return standing
    first = [*draft.events, drafts.skipped(draft)] if skip else draft.events
    values = [
        event_values(draft.id, seq, event, data, append_seq=1, delivery=codec.delivery_key(event))
        for seq, (event, data) in enumerate(first, 1)
    ]
    insert_events(c, values)
    if skip and draft.parent is not None:
        record(c, Delivery(draft.parent, drafts.told_of_skip(draft)))
    if row["queued"] and draft.limit is not None and draft.limit.policy is OnLimit.REPLACE:
        limits.replace_oldest(c, draft.limit.key, draft.at)
    if draft.log_line:
        _log(c, draft.log_line, draft.at)
    return Submitted(draft.id, engine, created=True)


def _row(draft: Draft) -> dict[str, Any]:
    row = {name: moment(value) if name.endswith("_at") else value for name, value in draft.columns.items()}
    return row | {"finished_at": None, "queued": False}


def _standing(c: sqlite3.Connection, draft: Draft) -> Submitted | None:
    values = {"id": draft.id, "workflow_id": draft.columns["workflow_id"], "key": draft.columns["idempotency_key"]}
    row = c.execute(_STANDING, values).fetchone()
    return None if row is None else Submitted(row[0], Engine(row[1]), created=False)


def _log(c: sqlite3.Connection, line: str, at: datetime) -> None:
    function = c.execute(_FUNCTION).fetchone()
    if function is None:
        c.execute("INSERT INTO edge_functions (name) VALUES ('execute-workflow')")
        function = c.execute(_FUNCTION).fetchone()
    c.execute(_LINE, (function[0], line, moment(at)))
