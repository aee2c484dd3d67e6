"""New executions: each once, with its first events."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from orchestrator import events as e
from orchestrator.decide import project
from orchestrator.fold import fold
from orchestrator.model import Engine, OnLimit, Status
from orchestrator.store import codec
from orchestrator.store.messages import Submission, Submitted
from orchestrator.testing.memory import delivering, limits
from orchestrator.testing.memory.data import Data, Row, event_row
from orchestrator.testing.memory.logs import write_log

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from orchestrator.model import Workflow

SKIPPED = "the concurrency limit of its workflow was reached"


def put_workflow(d: Data, workflow: Workflow) -> None:
    keep(d, workflow)
    d.current = d.current.insert(workflow.id, workflow.revision)
    limits.changed(d, workflow)


def keep(d: Data, workflow: Workflow) -> None:
    """Keep a revision; it becomes the current one only if there is none yet."""
    key = (workflow.id, workflow.revision)
    if key not in d.revisions:
        d.revisions = d.revisions.insert(key, codec.dump_json(workflow.definition, "spec"))
    if workflow.id not in d.current:
        d.current = d.current.insert(*key)


def submit(d: Data, batch: Sequence[Submission], now: datetime) -> list[Submitted]:
    return [_submit(d, submission, now) for submission in batch]


def _submit(d: Data, s: Submission, now: datetime) -> Submitted:
    standing = d.rows.get(s.id)
    if standing is None and s.idempotency_key is not None:
        known = d.keys.get((s.workflow.id, s.idempotency_key))
        standing = None if known is None else d.rows[known]
    if standing is not None:
        return Submitted(standing.id, standing.engine, created=False)
    keep(d, s.workflow)
    if s.idempotency_key is not None:
        d.keys = d.keys.insert((s.workflow.id, s.idempotency_key), s.id)
    if s.log_line:
        write_log(d, [s.log_line], now)
    if s.engine is Engine.V1:
        d.put(_row(d, s, now))
    else:
        _submit_v2(d, s, now)
    return Submitted(s.id, s.engine, created=True)


def _submit_v2(d: Data, s: Submission, now: datetime) -> None:
    key = limits.key_of(s)
    room = limits.room(d, s, key, now)
    first: list[e.Event] = [
        e.ExecutionSubmitted(now, s.workflow.id, s.workflow.revision, s.input, s.lineage, s.parent, s.depth, s.trace),
        *s.carried,
        *s.signals,
    ]
    if s.suspended is not None:
        first.append(e.ExecutionSuspended(now, s.suspended))
    policy = s.workflow.concurrency.policy if s.workflow.concurrency is not None else None
    skip = not room and policy is OnLimit.SKIP
    if skip:
        first.append(e.ExecutionCancelled(now, SKIPPED))
    projected = project(s.workflow, fold(s.id, [e.Recorded(seq, event) for seq, event in enumerate(first, 1)]))
    queued = not room and not skip
    row = replace(
        _row(d, s, now),
        status=projected.status,
        current_node=projected.current_node if s.carried else "",  # like a database: a claim names none
        done=projected.done,
        finished_at=projected.finished_at,
        seq=len(first),
        due_at=None if queued or projected.status is not Status.PENDING else now,
        limit_key=key,
        limit=None if s.workflow.concurrency is None else s.workflow.concurrency.limit,
        queued=queued,
    )
    d.put(row)
    d.add(s.id, (event_row(seq, event, 1) for seq, event in enumerate(first, 1)))
    if skip and s.parent is not None:
        delivering.record(d, s.parent, e.ChildEnded(now, s.id, Status.CANCELLED, None, None))
    if row.queued and policy is OnLimit.REPLACE and key is not None:
        limits.replace_oldest(d, key, now)


def _row(d: Data, s: Submission, now: datetime) -> Row:
    input_ = codec.dump_json(s.input, "spec.input")
    counted = bool(s.attempt and s.ages)
    return Row(
        number=d.count(),
        id=s.id,
        workflow_id=s.workflow.id,
        revision=s.workflow.revision,
        name=s.name,
        engine=s.engine,
        assignment=s.assignment,
        percent=s.percent,
        attempt=s.attempt,
        routing_key=s.routing_key,
        idempotency_key=s.idempotency_key,
        status=Status.PENDING if s.suspended is None else Status.SUSPENDED,
        total=len(s.workflow.nodes),
        message=s.suspended or "",
        input=input_ if s.engine is Engine.V1 else None,
        created_at=now,
        due_at=now if s.suspended is None else None,
        longest_timeout=max(node.timeout.total_seconds() for node in s.workflow.nodes),
        suspend_requested=s.suspended is not None,
        ages=s.ages if counted else (),
        next_age_at=now + timedelta(seconds=s.ages[0]) if counted else None,
        parent=s.parent,
        origin=None if s.lineage is None else s.lineage.origin,
    )
