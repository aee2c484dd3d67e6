"""What callers are told of an execution: the same few fields as `orchestrator run --output json`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from orchestrator.model import Engine, Status
from orchestrator.store.codec import dump_failure

if TYPE_CHECKING:
    from orchestrator.store.records import ExecutionRecord


class ExecutionError(BaseModel):
    """Why an execution failed."""

    model_config = ConfigDict(extra="forbid")

    kind: Annotated[str, Field(description="A stable word, such as HttpStatus or Timeout.")]
    message: Annotated[str, Field(description="What went wrong, as a sentence.")]
    retryable: Annotated[bool, Field(description="Whether the same attempt may succeed another time.")]
    node: Annotated[str | None, Field(description="The node that failed.")]
    status: Annotated[int | None, Field(description="The HTTP status that it failed with.")] = None


class ExecutionAnswer(BaseModel):
    """An execution as it stands."""

    model_config = ConfigDict(extra="forbid")

    id: Annotated[str, Field(description="The execution's id, for ever the same.")]
    workflow: Annotated[str, Field(description="namespace/name of its workflow.")]
    engine: Annotated[Engine, Field(description="The engine that runs it; never changes.")]
    status: Annotated[Status, Field(description="Where it stands; success, failed and cancelled are final.")]
    output: Annotated[Any, Field(description="The workflow's output, when it has succeeded.")]
    error: Annotated[ExecutionError | None, Field(description="Why it failed.")]


class ProblemField(BaseModel):
    """One thing that is wrong."""

    model_config = ConfigDict(extra="forbid")

    field: Annotated[str, Field(description="Where: a path in the body, a query parameter or a header; may be empty.")]
    message: Annotated[str, Field(description="What is wrong, and what to do about it.")]


class ProblemAnswer(BaseModel):
    """Why a request was refused (RFC 9457)."""

    model_config = ConfigDict(extra="forbid")

    title: Annotated[str, Field(description="The status in words.")]
    status: Annotated[int, Field(description="The HTTP status.")]
    detail: Annotated[str, Field(description="Everything that is wrong, in one text.")]
    errors: Annotated[list[ProblemField], Field(description="Each thing that is wrong.")]


def begun(execution_id: str, workflow_id: str, engine: Engine) -> dict[str, Any]:
    """An execution that was accepted just now."""
    described = {"id": execution_id, "workflow": workflow_id, "engine": engine.value}
    return described | {"status": Status.PENDING.value, "output": None, "error": None}


def describe(record: ExecutionRecord) -> dict[str, Any]:
    """An execution, as ExecutionAnswer has it."""
    return {
        "id": record.id,
        "workflow": record.workflow_id,
        "engine": record.engine.value,
        "status": record.status.value,
        "output": record.output,
        "error": dump_failure(record.failure),
    }
