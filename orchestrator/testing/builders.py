"""Values to begin a test with: each has what it needs, and any field can be said otherwise."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from orchestrator.authoring import compile_workflow
from orchestrator.model import Assignment, Engine, Projection, Status
from orchestrator.store.codec import encode
from orchestrator.store.messages import Append, Submission

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.events import Event
    from orchestrator.model import Workflow
    from orchestrator.store.messages import Claim

#: Where time begins in tests.
START: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)

#: Two steps, one after the other.
CHAIN: Final[Mapping[str, Any]] = {
    "nodes": [
        {"id": "a", "type": "transform", "with": {"x": "${input.n}"}},
        {"id": "b", "type": "transform", "needs": ["a"], "with": {"y": "${nodes.a.output.x}"}},
    ],
    "output": {"y": "${nodes.b.output.y}"},
}


def workflow(spec: Mapping[str, Any] = CHAIN, name: str = "chain", namespace: str = "default") -> Workflow:
    """A workflow from its spec; raises InvalidWorkflow, as the product would."""
    return compile_workflow(spec, namespace=namespace, name=name)


def submission(execution_id: str, **fields: Any) -> Submission:
    """A submission to V2 of the chain, with the input `{"n": 1}`; `fields` are those of `Submission`."""
    values: dict[str, Any] = {
        "id": execution_id,
        "workflow": fields.pop("workflow", None) or workflow(),
        "engine": Engine.V2,
        "assignment": Assignment.EXECUTION,
        "input": {"n": 1},
    }
    return Submission(**(values | fields))


def projection(status: Status = Status.RUNNING, **fields: Any) -> Projection:
    """A row's projection; over at START if the status says so."""
    values: dict[str, Any] = {
        "status": status,
        "current_node": "a",
        "done": 0,
        "total": 2,
        "retries": 0,
        "started_at": START,
        "finished_at": START if status.terminal else None,
        "output": None,
        "failure": None,
    }
    return Projection(**(values | fields))


def append(claim: Claim, *events: Event, **fields: Any) -> Append:
    """An append that goes on right behind a claim; raises InvalidPayload for what no store can keep.

    It lets go of the execution if the projection (`running` unless it is given) is over.
    """
    first = fields.get("first_seq", claim.seq + 1)
    row: Projection = fields.get("projection") or projection()
    values: dict[str, Any] = {
        "execution_id": claim.id,
        "append_id": f"{claim.id}-{claim.fence}-{first}",
        "fence": claim.fence,
        "first_seq": first,
        "events": events,
        "data": tuple(encode(event) for event in events),
        "projection": row,
        "due_at": None,
        "release": row.status.terminal,
        "step_deadline": None,
    }
    return Append(**(values | fields))
