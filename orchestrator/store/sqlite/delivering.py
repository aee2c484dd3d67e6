"""Events from outside, recorded one after the other in the caller's transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator import events as e
from orchestrator.store import codec
from orchestrator.store.messages import Delivered
from orchestrator.store.sqlite.values import event_values, insert_events, moment

if TYPE_CHECKING:
    import sqlite3

    from orchestrator.store.messages import Delivery

_STANDING = """
SELECT seq, engine, finished_at, cancel_requested, suspend_requested FROM workflow_executions WHERE id = ?"""
_KNOWN = "SELECT 1 FROM workflow_events WHERE execution_id = ? AND delivery = ?"
# Its owner is told at its next append. One that waits for a slot goes on waiting, unless it is to end.
_WAKE = """
UPDATE workflow_executions
   SET seq = seq + 1, version = version + 1, dirty = dirty OR name <> '',
       cancel_requested = :cancel, suspend_requested = :suspend,
       due_at = CASE WHEN owner IS NULL AND (:cancels OR NOT queued) THEN :at ELSE due_at END
 WHERE id = :id"""


def record(c: sqlite3.Connection, delivery: Delivery) -> Delivered:
    """Record an event and wake its execution, unless it changes nothing."""
    id_, event = delivery.execution_id, delivery.event
    row = c.execute(_STANDING, (id_,)).fetchone()
    if row is None or row[1] != "v2":
        return Delivered.UNKNOWN
    seq, _, finished_at, cancel, suspend = row
    if finished_at is not None:
        return Delivered.OVER
    key = codec.delivery_key(event)
    asked = _asked(event, cancel=bool(cancel), suspend=bool(suspend))
    if key is not None:
        known = c.execute(_KNOWN, (id_, key)).fetchone() is not None
    else:
        known = asked == (bool(cancel), bool(suspend))
    if known:
        return Delivered.DUPLICATE
    insert_events(c, [event_values(id_, seq + 1, event, codec.encode(event), append_seq=seq + 1, delivery=key)])
    values = {"id": id_, "at": moment(event.at), "cancels": isinstance(event, e.CancelRequested)}
    c.execute(_WAKE, values | {"cancel": asked[0], "suspend": asked[1]})
    return Delivered.RECORDED


def _asked(event: e.OutsideEvent, *, cancel: bool, suspend: bool) -> tuple[bool, bool]:
    """What is asked of the execution after the event: to cancel, to suspend."""
    match event:
        case e.CancelRequested():
            return True, suspend
        case e.SuspendRequested():
            return cancel, True
        case e.ResumeRequested():
            return cancel, False
        case _:
            return cancel, suspend
