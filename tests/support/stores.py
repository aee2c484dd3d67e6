"""Stores for tests: the same tests on SQLite and on a real PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from orchestrator.authoring import compile_workflow
from orchestrator.model import Assignment, Engine
from orchestrator.store import Submission

if TYPE_CHECKING:
    from orchestrator.model import Workflow

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
LEASE = timedelta(seconds=15)

CHAIN: dict[str, Any] = {
    "nodes": [
        {"id": "a", "type": "transform", "with": {"x": "${input.n}"}},
        {"id": "b", "type": "transform", "needs": ["a"], "with": {"y": "${nodes.a.output.x}"}},
    ],
    "output": {"y": "${nodes.b.output.y}"},
}


def workflow(spec: dict[str, Any] = CHAIN, name: str = "chain") -> Workflow:
    return compile_workflow(spec, namespace="default", name=name)


def submission(execution_id: str, **changes: Any) -> Submission:
    values: dict[str, Any] = {
        "id": execution_id,
        "workflow": changes.pop("workflow", None) or workflow(),
        "engine": Engine.V2,
        "assignment": Assignment.EXECUTION,
        "input": {"n": 1},
    }
    return Submission(**(values | changes))
