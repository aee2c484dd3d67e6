"""Rows to values: the border at which stored rows are read."""

from __future__ import annotations

from typing import Any

from orchestrator.events import Recorded
from orchestrator.model import Assignment, Engine, Status
from orchestrator.store import codec
from orchestrator.store.port import Claim, CohortCount, ExecutionRecord, Totals


def record(row: Any) -> ExecutionRecord:
    return ExecutionRecord(
        id=row.id,
        workflow_id=row.workflow_id,
        revision=row.revision,
        name=row.name,
        engine=Engine(row.engine),
        assignment=Assignment(row.assignment),
        percent=row.percent,
        attempt=row.attempt,
        status=Status(row.status),
        current_node=row.current_node_id,
        done=row.done,
        total=row.total,
        retries=row.retries,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        output=row.output,
        failure=codec.load_failure(row.error),
        seq=row.seq,
        fence=row.fence,
        version=row.version,
        owner=row.owner,
        due_at=row.due_at,
        cancel_requested=row.cancel_requested,
        suspend_requested=row.suspend_requested,
        message=row.message,
    )


def recorded(row: Any) -> Recorded:
    event = codec.load_event(
        row.type, row.schema_version, row.created_at, row.node_id, row.node_type, row.attempt, row.data
    )
    return Recorded(row.seq, event, row.schema_version, row.append_seq, row.timed_append, row.timed_ms)


def claim(row: Any, *, begun: bool) -> Claim:
    return Claim(
        id=row.id,
        workflow_id=row.workflow_id,
        revision=row.revision,
        engine=Engine(row.engine),
        fence=row.fence,
        seq=row.seq,
        status=Status(row.status),
        created_at=row.created_at,
        begun=begun,
        input=row.input,
    )


def cohort_count(row: Any) -> CohortCount:
    return CohortCount(
        engine=Engine(row.engine),
        criterion=row.criterion,
        outcome=row.outcome,
        assignment=Assignment(row.assignment),
        percent=row.percent,
        age=row.age,
        attempt=row.attempt,
        value=row.value,
    )


def totals(row: Any) -> Totals:
    return Totals(index=row.restart, at=row.at, totals=row.totals)
