"""Events from outside: what people and other executions tell an execution."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from orchestrator import events as e
from orchestrator.model import Engine, Status
from orchestrator.store.messages import Control, Delivered
from orchestrator.store.records import V1_GRACE
from orchestrator.testing.memory.data import event_row

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from orchestrator.events import OutsideEvent
    from orchestrator.testing.memory.data import Data, Row

_REQUESTS: Final[Mapping[Control, type[e.CancelRequested | e.SuspendRequested | e.ResumeRequested]]] = {
    Control.CANCEL: e.CancelRequested,
    Control.SUSPEND: e.SuspendRequested,
    Control.RESUME: e.ResumeRequested,
}


def record(d: Data, execution_id: str, event: OutsideEvent) -> Delivered:
    """Record it and wake the execution, unless it changes nothing."""
    row = d.rows.get(execution_id)
    if row is None or row.engine is not Engine.V2:
        return Delivered.UNKNOWN
    if row.over:
        return Delivered.OVER
    if _known(d, row, event):
        return Delivered.DUPLICATE
    seq = row.seq + 1
    d.add(row.id, [event_row(seq, event, seq)])
    row = _requested(replace(row, seq=seq, version=row.version + 1), event)
    keeps_waiting = row.queued and not isinstance(event, e.CancelRequested)
    d.put(row if row.owner is not None or keeps_waiting else replace(row, due_at=event.at))
    return Delivered.RECORDED


def _known(d: Data, row: Row, event: OutsideEvent) -> bool:
    match event:
        case e.SignalReceived(id=id_):
            return _has(d, row, "SignalReceived", "id", id_)
        case e.ChildEnded(child=child):
            return _has(d, row, "ChildEnded", "child", child)
        case _:
            return _requested(row, event) == row


def _has(d: Data, row: Row, kind: str, field: str, value: str) -> bool:
    return any(known.kind == kind and json.loads(known.data)[field] == value for known in d.history(row))


def _requested(row: Row, event: OutsideEvent) -> Row:
    match event:
        case e.CancelRequested():
            return replace(row, cancel_requested=True)
        case e.SuspendRequested() | e.ResumeRequested():
            return replace(row, suspend_requested=isinstance(event, e.SuspendRequested))
        case _:
            return row


def control(d: Data, execution_id: str, asked: Control, now: datetime) -> bool:
    row = d.rows.get(execution_id)
    if row is None:
        return False
    if row.engine is Engine.V2:
        return record(d, execution_id, _REQUESTS[asked](now)) is Delivered.RECORDED
    changed = _control_v1(row, asked, now)
    if changed is not None:
        d.put(replace(changed, version=row.version + 1))
    return changed is not None


def restored(d: Data) -> int:
    """Put away what no suspension holds: V1 that did not begin, V2 that is being undone."""
    found = 0
    for id_ in d.open:
        row = d.rows[id_]
        kept = replace(row, due_at=None, owner=None, message="Restored", version=row.version + 1)
        if row.engine is Engine.V1 and row.status is Status.PENDING:
            d.put(replace(kept, status=Status.SUSPENDED, suspend_requested=True))
            found += 1
        elif row.engine is Engine.V2 and row.status is Status.COMPENSATING and row.due_at is not None:
            d.put(replace(kept, fence=row.fence + 1))
            found += 1
    return found


def _control_v1(row: Row, asked: Control, now: datetime) -> Row | None:
    """V1 knows cancel alone (at once while it is pending or left behind, at the next node while it runs), and to let a
    restored execution go.
    """
    if asked is Control.RESUME and row.status is Status.SUSPENDED:
        return replace(row, status=Status.PENDING, suspend_requested=False, due_at=now)
    at_once = row.status in (Status.PENDING, Status.SUSPENDED) or _left_behind(row, now)
    if asked is not Control.CANCEL or row.over or (row.cancel_requested and not at_once):
        return None
    row = replace(row, cancel_requested=True)
    return replace(row, status=Status.CANCELLED, finished_at=now, due_at=None) if at_once else row


def _left_behind(row: Row, now: datetime) -> bool:
    late = now - V1_GRACE
    overdue = row.step_deadline is not None and row.step_deadline < late
    return row.status is Status.RUNNING and overdue and (row.due_at is None or row.due_at < late)
