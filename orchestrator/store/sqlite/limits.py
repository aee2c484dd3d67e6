"""Concurrency limits: slots are counted from the rows, so that none can leak. SQLite has one writer, so counting slots
and taking them is one step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator import events as e
from orchestrator.store.messages import Delivery
from orchestrator.store.sqlite.delivering import record
from orchestrator.store.sqlite.values import moment

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable
    from datetime import datetime

    from orchestrator.store.drafts import Limit

_OPEN = "limit_key = :key AND limit_key IS NOT NULL AND finished_at IS NULL"
_PUT = """
INSERT INTO workflow_limits (limit_key, workflow_id, slots) VALUES (?, ?, ?)
ON CONFLICT (limit_key) DO UPDATE SET slots = excluded.slots"""
_SLOTS = "SELECT slots FROM workflow_limits WHERE limit_key = :key"
_HELD = f"SELECT count(*) FROM workflow_executions WHERE {_OPEN} AND NOT queued"
_WAKE = f"""
UPDATE workflow_executions
   SET queued = false, due_at = CASE WHEN owner IS NULL THEN :at ELSE due_at END, version = version + 1,
       dirty = dirty OR name <> ''
 WHERE id IN (SELECT id FROM workflow_executions WHERE {_OPEN} AND queued AND NOT cancel_requested
               ORDER BY created_at, id LIMIT :free)"""
_OLDEST = f"""
SELECT id FROM workflow_executions WHERE {_OPEN} AND NOT queued AND NOT cancel_requested
 ORDER BY created_at, id LIMIT 1"""
_MISSING = """
INSERT INTO workflow_limits (limit_key, workflow_id, slots)
SELECT limit_key, workflow_id, max(slots) FROM workflow_executions
 WHERE limit_key IS NOT NULL AND finished_at IS NULL AND queued GROUP BY limit_key
ON CONFLICT DO NOTHING"""
_UNUSED = """
DELETE FROM workflow_limits WHERE NOT EXISTS (
  SELECT 1 FROM workflow_executions x WHERE x.limit_key = workflow_limits.limit_key AND x.finished_at IS NULL)"""
_WAITING = """
SELECT DISTINCT limit_key FROM workflow_executions
 WHERE limit_key IS NOT NULL AND finished_at IS NULL AND queued AND NOT cancel_requested"""
_OF = "SELECT DISTINCT limit_key FROM workflow_executions WHERE id = ? AND limit_key IS NOT NULL"


def set_limit(c: sqlite3.Connection, limit: Limit, at: datetime) -> None:
    """What the last submission says counts, for those that wait already, too."""
    c.execute(_PUT, (limit.key, limit.workflow_id, limit.slots))
    wake(c, [limit.key], at)


def is_full(c: sqlite3.Connection, limit: Limit) -> bool:
    return _held(c, limit.key) >= limit.slots


def replace_oldest(c: sqlite3.Connection, key: str, at: datetime) -> None:
    """Ask the oldest holder that was not asked yet to make room."""
    for (id_,) in c.execute(_OLDEST, {"key": key}).fetchall():
        record(c, Delivery(id_, e.CancelRequested(at)))


def keys_of(c: sqlite3.Connection, ids: Iterable[str]) -> list[str]:
    """The limits that executions are under."""
    return sorted({row[0] for id_ in ids for row in c.execute(_OF, (id_,))})


def wake(c: sqlite3.Connection, keys: Iterable[str], at: datetime) -> int:
    """Give the free slots of some keys to the oldest that wait; returns how many."""
    woken = 0
    for key in keys:
        standing = c.execute(_SLOTS, {"key": key}).fetchone()
        if standing is None:
            continue  # until it is made again: by the next submission, or by `heal`
        free: Any = -1 if standing[0] is None else max(0, standing[0] - _held(c, key))  # SQLite's "no limit" is -1
        woken += c.execute(_WAKE, {"key": key, "at": moment(at), "free": free}).rowcount
    return woken


def heal(c: sqlite3.Connection, at: datetime) -> int:
    """Give free slots to those that wait, whatever happened meanwhile, and forget limits that nobody is under."""
    c.execute(_UNUSED)
    c.execute(_MISSING)
    return wake(c, [row[0] for row in c.execute(_WAITING).fetchall()], at)


def _held(c: sqlite3.Connection, key: str) -> int:
    return int(c.execute(_HELD, {"key": key}).fetchone()[0])
