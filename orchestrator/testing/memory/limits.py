"""Concurrency limits: slots are counted from the rows, so none can leak."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from orchestrator import events as e
from orchestrator.errors import ExpressionError, InvalidPayload
from orchestrator.limits import limit_key
from orchestrator.testing.memory import delivering
from orchestrator.testing.memory.data import Limit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from orchestrator.model import Workflow
    from orchestrator.store.messages import Submission
    from orchestrator.testing.memory.data import Data, Row


def key_of(s: Submission) -> str | None:
    """What the submission is limited under; None without a limit. Raises InvalidPayload if its input lacks the key."""
    try:
        return limit_key(s.workflow, s.input)
    except ExpressionError as error:
        raise InvalidPayload(str(error)) from error


def changed(d: Data, workflow: Workflow) -> None:
    """Executions that wait already are under the limit of a new revision, too."""
    new = Limit(workflow.id, None if workflow.concurrency is None else workflow.concurrency.limit)
    for key, old in d.limits.items():
        if old.workflow_id == workflow.id and old != new:
            d.limits = d.limits.insert(key, new)


def room(d: Data, s: Submission, key: str | None, now: datetime) -> bool:
    """Whether a submission finds a slot. The limit that it brings holds from now on, first for those that wait."""
    if key is None or s.workflow.concurrency is None:
        return True
    limit = Limit(s.workflow.id, s.workflow.concurrency.limit)
    d.limits = d.limits.insert(key, limit)
    free(d, key, now)
    return holders(d, key) < s.workflow.concurrency.limit


def holders(d: Data, key: str) -> int:
    """How many hold a slot: those that are not over and not queued."""
    return sum(not row.queued for row in _under(d, key))


def free(d: Data, key: str | None, at: datetime) -> int:
    """Give free slots to those that wait longest; how many."""
    if key is None:
        return 0
    slots = d.limits[key].slots
    waiting = sorted((row for row in _under(d, key) if row.queued and not row.cancel_requested), key=_age)
    woken = waiting if slots is None else waiting[: max(0, slots - holders(d, key))]
    for row in woken:
        due = at if row.owner is None else row.due_at
        d.put(replace(row, queued=False, due_at=due, version=row.version + 1))
    return len(woken)


def heal(d: Data, now: datetime) -> int:
    return sum(free(d, key, now) for key in sorted({row.limit_key for row in d.unfinished() if row.limit_key}))


def replace_oldest(d: Data, key: str, now: datetime) -> None:
    """Ask the oldest holder that was not asked yet to make room."""
    standing = [row for row in _under(d, key) if not row.queued and not row.cancel_requested]
    if standing:
        oldest = min(standing, key=_age)
        delivering.record(d, oldest.id, e.CancelRequested(now))


def _age(row: Row) -> tuple[datetime, str]:
    return row.created_at, row.id


def _under(d: Data, key: str) -> Iterator[Row]:
    return (row for row in d.unfinished() if row.limit_key == key)
