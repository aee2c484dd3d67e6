"""The Workflow's status. Its spec is the engine's own authoring format (orchestrator.authoring.WorkflowSpec)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from orchestrator_operator.specs.conditions import Condition, condition, tell, upsert

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from orchestrator.errors import Problem
    from orchestrator.model import Workflow


class WorkflowStatus(BaseModel):
    """What the operator found when it compiled the workflow."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid")

    observed_generation: Annotated[int | None, Field(description="The generation of the spec that was looked at.")] = (
        None
    )
    revision: Annotated[
        str | None,
        Field(description="Hash of the last valid content; an execution stays with the revision it started with."),
    ] = None
    nodes: Annotated[int | None, Field(description="How many nodes that revision has.")] = None
    conditions: Annotated[list[Condition], Field(description="`Valid`: whether executions of it are accepted.")] = []


def valid(workflow: Workflow, status: Any, generation: int, now: datetime) -> dict[str, Any]:
    """The status of a workflow that can be run."""
    says = condition("Valid", True, "Compiled", "Executions of it are accepted.", at=now, generation=generation)
    return _status(status, generation, says) | {"revision": workflow.revision, "nodes": len(workflow.nodes)}


def invalid(problems: Sequence[Problem], reason: str, status: Any, generation: int, now: datetime) -> dict[str, Any]:
    """The status of one that cannot; the last valid revision stays named: running executions go on with it."""
    says = condition("Valid", False, reason, tell(problems), at=now, generation=generation)
    return _status(status, generation, says)


def _status(status: Any, generation: int, says: dict[str, Any]) -> dict[str, Any]:
    before = status.get("conditions") if isinstance(status, dict) else None
    return {"observedGeneration": generation, "conditions": upsert(before, [says])}
