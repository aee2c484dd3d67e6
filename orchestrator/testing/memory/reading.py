"""Questions that change nothing, and what status writers and retention need."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from orchestrator.authoring import load_definition
from orchestrator.errors import UnknownExecution
from orchestrator.model import Engine, Status
from orchestrator.store.records import Backlog

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime, timedelta

    from orchestrator.model import Workflow
    from orchestrator.store.records import Filter
    from orchestrator.testing.memory.data import Data, Row


def workflow(d: Data, workflow_id: str, revision: str) -> Workflow:
    text = d.revisions.get((workflow_id, revision))
    if text is None:
        raise UnknownExecution(f"revision {revision} of workflow {workflow_id} is not in this store")
    return load_definition(json.loads(text), workflow_id)


def executions(d: Data, where: Filter) -> list[Row]:
    """Newest first; of one moment by id."""
    found = sorted((row for row in d.rows.values() if _fits(row, where)), key=lambda row: row.id)
    found.sort(key=lambda row: row.created_at, reverse=True)
    return found[: where.limit]


def stalled(row: Row, before: datetime) -> bool:
    """Of what runs: the lease of its worker, or the time of its step, was over before that."""
    ends = (row.due_at, row.step_deadline)
    return row.owner is not None and any(end is not None and end < before for end in ends)


def _fits(row: Row, where: Filter) -> bool:
    failure = row.failure
    wanted = (
        (where.workflow_id, row.workflow_id),
        (where.engine, row.engine),
        (where.parent, row.parent),
        (where.origin, row.origin),
        (where.failed_node, failure.node if failure else None),
        (where.failed_kind, failure.kind if failure else None),
        (where.queued, row.queued),
    )
    at, after = row.created_at, where.after
    return (
        all(value in (None, has) for value, has in wanted)
        and (where.statuses is None or row.status in where.statuses)
        and (where.stalled_before is None or (row.status is Status.RUNNING and stalled(row, where.stalled_before)))
        and (where.created_before is None or at < where.created_before)
        and (where.created_after is None or at > where.created_after)
        and (after is None or at < after[0] or (at == after[0] and row.id > after[1]))
    )


def active(d: Data, after: tuple[datetime, str] | None, limit: int) -> list[Row]:
    """Oldest first; of one moment by id."""
    found = sorted((row.created_at, row.id) for row in d.unfinished())
    return [d.rows[id_] for at, id_ in found if after is None or (at, id_) > after][:limit]


def idle(d: Data, engines: Collection[Engine]) -> bool:
    return not any(row.engine in engines and row.due_at is not None for row in d.unfinished())


def backlog(d: Data, now: datetime, most: int) -> Backlog:
    due = [row.due_at for row in d.unfinished() if row.owner is None and row.due_at is not None and row.due_at <= now]
    return Backlog(min(len(due), most), min(due, default=None))


def input_of(d: Data, row: Row) -> Any:
    """The input of V1 stands in the row, that of V2 in the first event."""
    if row.engine is Engine.V1:
        return None if row.input is None else json.loads(row.input)
    return json.loads(next(iter(d.history(row))).data).get("input")


def dirty(d: Data, now: datetime, limit: int, every: timedelta, grace: timedelta, namespace: str) -> list[Row]:
    """Changed statuses first, then those that were written longest ago."""
    ours = [row for row in d.rows.values() if not namespace or row.workflow_id.partition("/")[0] == namespace]
    wanted = [row for row in ours if row.dirty and (_urgent(row, now, grace) or _late(row, now, every))]
    wanted.sort(key=lambda row: row.number)
    wanted.sort(key=lambda row: row.written_at or row.created_at)
    wanted.sort(key=lambda row: not _urgent(row, now, grace))
    return wanted[:limit]


def _urgent(row: Row, now: datetime, grace: timedelta) -> bool:
    if row.written_status is None:
        return row.finished_at is not None or row.created_at <= now - grace
    begun = row.written_status is Status.PENDING and row.status is Status.RUNNING
    return row.written_status is not row.status and not begun


def _late(row: Row, now: datetime, every: timedelta) -> bool:
    return row.written_at is not None and row.written_at <= now - every


def written(d: Data, versions: Mapping[str, tuple[int, Status]], now: datetime) -> None:
    for execution_id, (version, status) in versions.items():
        row = d.rows.get(execution_id)
        if row is not None:
            d.put(replace(row, written_version=version, written_status=status, written_at=now))


def drop_finished(d: Data, before: datetime, limit: int) -> int:
    """Oldest ends first. What stays: children whose parent goes on, evidence that was not counted yet."""

    def kept_for_its_parent(row: Row) -> bool:
        parent = None if row.parent is None else d.rows.get(row.parent)
        return parent is not None and not parent.over

    old = [
        (row.finished_at, row.number, row)
        for row in d.rows.values()
        if row.finished_at is not None
        and row.finished_at < before
        and not row.dirty
        and row.next_age_at is None
        and not kept_for_its_parent(row)
    ]
    dropped = [row for _, _, row in sorted(old, key=lambda found: found[:2])][:limit]
    for row in dropped:
        for event in d.history(row):
            d.events = d.events.remove((row.id, event.seq))
        if row.idempotency_key is not None:
            d.keys = d.keys.remove((row.workflow_id, row.idempotency_key))
        d.rows = d.rows.remove(row.id)
    return len(dropped)
