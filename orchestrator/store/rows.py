"""Rows to values: the border of the database."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final

from orchestrator.events import Recorded
from orchestrator.model import Assignment, Engine, Status
from orchestrator.store import codec
from orchestrator.store.evidence import CohortCount, DecisionRow, Totals
from orchestrator.store.messages import Claim
from orchestrator.store.records import ExecutionRecord

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from orchestrator.model import Projection

#: The columns of an execution that readers see.
SHOWN: Final = (
    "id",
    "workflow_id",
    "revision",
    "name",
    "engine",
    "assignment",
    "percent",
    "attempt",
    "status",
    "current_node_id",
    "done",
    "total",
    "retries",
    "created_at",
    "started_at",
    "finished_at",
    "output",
    "error",
    "seq",
    "fence",
    "version",
    "owner",
    "due_at",
    "cancel_requested",
    "suspend_requested",
    "message",
    "parent",
    "origin",
    "limit_key",
    "slots",
    "queued",
    "step_deadline",
    "input",
    "routing_key",
)


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
        parent=row.parent,
        origin=row.origin,
        limit_key=row.limit_key,
        limit=row.slots,
        queued=row.queued,
        step_deadline=row.step_deadline,
        input=row.input,
        routing_key=row.routing_key,
    )


#: The columns of `recorded`'s row, in this order.
RECORDED: Final = (
    "seq, type, schema_version, node_id, node_type, attempt, append_seq, timed_append, timed_ms, created_at, data"
)


def recorded(row: Sequence[Any], at: datetime, data: Any) -> Recorded:
    """An event from its row, whose last two columns each database spells in its own way."""
    seq, kind, version, node, node_type, attempt, append_seq, timed_append, timed_ms = row[:9]
    event = codec.load_event(kind, version, at, node, node_type, attempt, data)
    return Recorded(seq, event, version, append_seq, timed_append, timed_ms)


#: The columns of `claim`'s row, in this order.
CLAIMED: Final = "id, workflow_id, revision, fence, seq, status, begun, created_at, input"


def claim(engine: Engine, row: Sequence[Any], created_at: datetime, input_: Any) -> Claim:
    """A claim from its row, whose last two columns each database spells in its own way."""
    id_, workflow_id, revision, fence, seq, status, begun = row[:7]
    return Claim(id_, workflow_id, revision, engine, fence, seq, Status(status), created_at, bool(begun), input_)


def loaded(text: str | None) -> Any:
    """A JSON column of SQLite, which keeps text."""
    return None if text is None else json.loads(text)


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


def decision(row: Any) -> DecisionRow:
    return DecisionRow(**{field.name: getattr(row, field.name) for field in fields(DecisionRow)})


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
