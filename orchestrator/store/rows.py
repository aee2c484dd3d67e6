"""Rows to values, and values to rows: the border of the database."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from orchestrator import events as e
from orchestrator.events import Recorded
from orchestrator.model import Assignment, Engine, Status
from orchestrator.store import codec
from orchestrator.store.port import Claim, CohortCount, ExecutionRecord, Totals

if TYPE_CHECKING:
    from datetime import datetime

    from orchestrator.model import Projection
    from orchestrator.store.port import Append, Submission


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


def projection_columns(projection: Projection) -> dict[str, Any]:
    """A projection as the columns of `workflow_executions`."""
    return {
        "status": projection.status.value,
        "current_node_id": projection.current_node,
        "done": projection.done,
        "total": projection.total,
        "retries": projection.retries,
        "started_at": projection.started_at,
        "finished_at": projection.finished_at,
        "output": projection.output,
        "error": codec.dump_failure(projection.failure),
    }


def event_row(
    execution_id: str,
    seq: int,
    event: e.Event,
    *,
    append_seq: int,
    timed_append: int | None = None,
    timed_ms: float | None = None,
) -> dict[str, Any]:
    """An event as a row of `workflow_events`."""
    return {
        "execution_id": execution_id,
        "seq": seq,
        "type": codec.type_name(event),
        "schema_version": e.SCHEMA_VERSION,
        "node_id": getattr(event, "node", None),
        "node_type": getattr(event, "node_type", None),
        "attempt": getattr(event, "attempt", None),
        "data": codec.dump_data(event),
        "created_at": event.at,
        "append_seq": append_seq,
        "timed_append": timed_append,
        "timed_ms": timed_ms,
    }


def event_rows(append: Append) -> list[dict[str, Any]]:
    """An append's events as rows; the first also tells what the append before it took."""
    rows = [
        event_row(append.execution_id, seq, event, append_seq=append.first_seq)
        for seq, event in enumerate(append.events, append.first_seq)
    ]
    rows[0]["timed_append"], rows[0]["timed_ms"] = append.timed_append, append.timed_ms
    return rows


def new_row(s: Submission, now: datetime) -> dict[str, Any]:
    """A submission as a row; raises InvalidPayload for an input that no store can keep."""
    codec.dump_json(s.input, "spec.input")
    status = Status.SUSPENDED if s.suspended is not None else Status.PENDING
    v2 = s.engine is Engine.V2
    counted = bool(s.attempt and s.ages)
    return {
        "id": s.id,
        "workflow_id": s.workflow.id,
        "revision": s.workflow.revision,
        "name": s.name,
        "engine": s.engine.value,
        "assignment": s.assignment.value,
        "percent": s.percent,
        "attempt": s.attempt,
        "routing_key": s.routing_key,
        "idempotency_key": s.idempotency_key,
        "status": status.value,
        "current_node_id": "",
        "done": 0,
        "total": len(s.workflow.nodes),
        "retries": 0,
        "message": s.suspended or "",
        "input": None if v2 else s.input,
        "output": None,
        "error": None,
        "created_at": now,
        "fence": 0,
        "seq": len(first_events(s, now)) if v2 else 0,
        "last_append": "",
        "due_at": now if v2 and s.suspended is None else None,
        "longest_timeout": max(node.timeout.total_seconds() for node in s.workflow.nodes),
        "cancel_requested": False,
        "suspend_requested": s.suspended is not None,
        "version": 1,
        "written_version": 0,
        "ages": list(s.ages) if counted else None,
        "next_age": 0,
        "next_age_at": now + timedelta(seconds=s.ages[0]) if counted else None,
    }


def first_events(s: Submission, now: datetime) -> list[dict[str, Any]]:
    """The events that a submission to V2 begins with."""
    first: list[e.Event] = [e.ExecutionSubmitted(now, s.workflow.id, s.workflow.revision, s.input)]
    if s.suspended is not None:
        first.append(e.ExecutionSuspended(now, s.suspended))
    return [event_row(s.id, seq, event, append_seq=1) for seq, event in enumerate(first, 1)]
