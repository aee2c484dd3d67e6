"""`spec.from`: an Execution that begins where another one stood. Pure; the reasons for a refusal name the field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator import forks
from orchestrator.errors import InvalidExecution, Problem
from orchestrator.forks import Change, Fork

if TYPE_CHECKING:
    from datetime import datetime

    from orchestrator.model import Workflow
    from orchestrator.steering import Known
    from orchestrator_operator.specs.execution import ExecutionSpec


@dataclass(frozen=True, slots=True)
class Origin:
    """What `spec.from.execution` names, as it was found at a moment: an execution of V2, or why there is none."""

    at: datetime
    known: Known | None
    why_not: str = ""


def fork_of(uid: str, spec: ExecutionSpec, workflow: Workflow, origin: Origin | None) -> Fork:
    """The fork that a spec asks for; raises InvalidExecution with the field's path."""
    point = spec.from_
    if point is None or origin is None:
        raise AssertionError("a fork is asked for, and its origin was not looked up")
    if origin.known is None:
        raise _refusal("spec.from.execution", origin.why_not)
    known = origin.known
    if known.record.workflow_id != workflow.id:
        message = f"is an execution of {known.record.workflow_id}, not of {workflow.id}"
        raise _refusal("spec.from.execution", message)
    if spec.engine == "v1":
        raise _refusal("spec.from", "only V2 keeps what a fork begins with: leave spec.engine out, or say v2")
    given = "input" in spec.model_fields_set
    try:
        if point.node is not None:
            change = Change(workflow, spec.input if given else None)
            return forks.fork(known.workflow, known.execution, uid, origin.at, node=point.node, change=change)
        if given:
            message = "name a node to begin at with another input; without one the execution is repeated as it was"
            raise _refusal("spec.from.node", message)
        return forks.repeat(known.workflow, known.execution, uid, origin.at)
    except InvalidExecution as error:
        raise InvalidExecution([Problem(_path(found.path), found.message) for found in error.problems]) from None


def _path(path: str) -> str:
    if path.startswith("spec."):
        return path
    return f"spec.{path}" if path else "spec.from.execution"


def _refusal(path: str, message: str) -> InvalidExecution:
    return InvalidExecution([Problem(path, message)])
