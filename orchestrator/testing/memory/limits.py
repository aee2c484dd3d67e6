"""Concurrency limits: slots are counted from the rows, so none can leak."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from orchestrator import events as e
from orchestrator.limits import limit_key
from orchestrator.testing.memory import delivering

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from orchestrator.store.port import Submission
    from orchestrator.testing.memory.data import Data, Row


def key_of(s: Submission) -> str | None:
    """What the submission is limited under; None without a limit."""
    return limit_key(s.workflow, s.input)


def set_limit(d: Data, s: Submission, key: str) -> int:
    """The limit under a key is what the last submission says: that workflow is the newest one."""
    if s.workflow.concurrency is not None:
        d.limits = d.limits.insert(key, s.workflow.concurrency.limit)
    return d.limits[key]


def holders(d: Data, key: str) -> int:
    """How many hold a slot: those that are not over and not queued."""
    return sum(not row.queued for row in _under(d, key))


def free(d: Data, key: str | None, at: datetime) -> int:
    """Give free slots to those that wait longest; how many."""
    if key is None:
        return 0
    slots = d.limits[key] - holders(d, key)
    waiting = sorted(
        (row for row in _under(d, key) if row.queued and not row.cancel_requested), key=lambda row: row.number
    )
    woken = waiting[: max(0, slots)]
    for row in woken:
        d.put(replace(row, queued=False, due_at=at, version=row.version + 1))
    return len(woken)


def heal(d: Data, now: datetime) -> int:
    return sum(free(d, key, now) for key in sorted({row.limit_key for row in d.unfinished() if row.limit_key}))


def replace_oldest(d: Data, key: str, now: datetime) -> None:
    """Ask the oldest holder that was not asked yet to make room."""
    standing = [row for row in _under(d, key) if not row.queued and not row.cancel_requested]
    if standing:
        oldest = min(standing, key=lambda row: row.number)
        delivering.record(d, oldest.id, e.CancelRequested(now))


def _under(d: Data, key: str) -> Iterator[Row]:
    return (row for row in d.unfinished() if row.limit_key == key)
