"""The Execution: what a person may write, and what the operator answers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from orchestrator.errors import InvalidExecution, Problem
from orchestrator.model import Status
from orchestrator.problems import problems_of
from orchestrator_operator.specs.conditions import Condition, clip, condition

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    from orchestrator.store.records import ExecutionRecord

OUTPUT_LIMIT = 4096  # bytes of JSON that a status carries itself; a larger output stays in the store
_HOW_TO_RESUME = (
    "resume it by the annotation orchestrator.dev/resume (any new value) or `orchestrator executions resume`"
)
_WRITTEN_BY_PEOPLE = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)
_WRITTEN_BY_US = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid")
_Key = Annotated[str, Field(min_length=1, max_length=256)]


class ForkPoint(BaseModel):
    """Where a fork begins."""

    model_config = _WRITTEN_BY_PEOPLE

    execution: Annotated[
        str,
        Field(
            min_length=1,
            max_length=253,
            description="Name of an Execution in this namespace that is over; its uid, if its resource is gone.",
        ),
    ]
    node: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=63,
            description="The node to begin at: what is done before it is carried. Left out: where it failed or was "
            "cancelled, with the workflow as it was then.",
        ),
    ] = None


class ExecutionSpec(BaseModel):
    """One run of a workflow. Nothing can be changed afterwards but `suspend`, `cancel` and the ttl."""

    model_config = _WRITTEN_BY_PEOPLE

    workflow: Annotated[
        str, Field(min_length=1, max_length=253, description="Name of the Workflow, in the same namespace.")
    ]
    input: Annotated[
        dict[str, Any], Field(description="The input: a JSON object, checked against the workflow's input.schema.")
    ] = {}
    engine: Annotated[
        Literal["auto", "v1", "v2"],
        Field(
            description="auto (the default) lets the flag decide; v1 and v2 choose, and are not judged by a rollout."
        ),
    ] = "auto"
    routing_key: Annotated[
        _Key | None,
        Field(description="Executions with the same key stay on the same engine while the percent grows."),
    ] = None
    idempotency_key: Annotated[
        _Key | None, Field(description="Of one workflow, only one execution with this key ever runs.")
    ] = None
    suspend: Annotated[bool, Field(description="true: start no further step, until it is false again.")] = False
    cancel: Annotated[bool, Field(description="true: start no further step, ever. Cannot be taken back.")] = False
    from_: Annotated[
        ForkPoint | None,
        Field(
            alias="from",
            description="Begin where another execution of this workflow stood, on V2. Without `input` with its input.",
        ),
    ] = None
    ttl_seconds_after_finished: Annotated[
        int | None,
        Field(ge=0, description="Delete this resource so many seconds after the end; the store keeps its row."),
    ] = None


class Answered(BaseModel):
    """A request that was made by an annotation, and what came of it."""

    model_config = _WRITTEN_BY_US

    request: Annotated[str, Field(description="The annotation: signal/ID, or approval/ID.")]
    digest: Annotated[str, Field(description="Of the annotation's text, since it may be written anew.")]
    accepted: Annotated[bool | None, Field(description="Whether it was carried out; absent: it is about to be.")] = None
    answer: Annotated[str | None, Field(description="What was done, or why it was not, as a sentence.")] = None
    node: Annotated[str | None, Field(description="The approval's node that was found for it.")] = None
    at: Annotated[str | None, Field(description="When it was answered.")] = None


class Handled(BaseModel):
    """Requests that were passed on to the engine, so that each counts once."""

    model_config = _WRITTEN_BY_US

    suspend: Annotated[bool | None, Field(description="The value of spec.suspend that was passed on.")] = None
    resume: Annotated[str | None, Field(description="The value of the annotation orchestrator.dev/resume.")] = None
    requests: Annotated[
        list[Answered], Field(description="Signals and approvals by annotations: the last five, the newest last.")
    ] = []


class ExecutionStatus(BaseModel):
    """What became of it. Written by the operator, at most 10 KB."""

    model_config = _WRITTEN_BY_US

    phase: Annotated[
        Literal[
            "Pending", "Running", "Waiting", "Suspended", "Compensating", "Success", "Failed", "Cancelled", "Unknown"
        ]
        | None,
        Field(description="Where it stands. Unknown: it was accepted once, but the store does not know it."),
    ] = None
    reason: Annotated[str | None, Field(description="Why it is in this phase, as one CamelCase word.")] = None
    message: Annotated[str | None, Field(description="Why, as a sentence.")] = None
    engine: Annotated[Literal["v1", "v2"] | None, Field(description="The engine that runs it; never changes.")] = None
    assignment: Annotated[
        Literal["execution", "key", "explicit"] | None, Field(description="How it got its engine.")
    ] = None
    revision: Annotated[str | None, Field(description="The revision of the workflow that it runs.")] = None
    current_node: Annotated[str | None, Field(description="The node that it is at.")] = None
    progress: Annotated[str | None, Field(description="Nodes that are over, of all: 3/7.")] = None
    retries: Annotated[int | None, Field(description="Attempts of steps that were repeated.")] = None
    started_at: Annotated[str | None, Field(description="When its first step could start.")] = None
    finished_at: Annotated[str | None, Field(description="When it ended.")] = None
    duration: Annotated[str | None, Field(description="From start to end; written at the end.")] = None
    output: Annotated[
        Any, Field(description="The workflow's output, when it is small; members that are null are left out.")
    ] = None
    output_reference: Annotated[str | None, Field(description="How to read an output that is not small.")] = None
    handled: Annotated[Handled | None, Field(description="Requests that were passed on.")] = None
    conditions: Annotated[list[Condition], Field(description="Accepted, Succeeded.")] = []


def parse_execution(spec: Any) -> ExecutionSpec:
    """The spec as a value. Raises InvalidExecution with every finding, each with its path (`spec.engine`)."""
    if not isinstance(spec, dict):
        raise InvalidExecution([Problem("spec", "must be an object")])
    try:
        return ExecutionSpec.model_validate(spec)
    except ValidationError as error:
        raise InvalidExecution(problems_of(error, "spec")) from error


def build_status(record: ExecutionRecord) -> dict[str, Any]:
    """A merge patch of the whole status: a function of the store's row alone, so that any process writes the same.

    Fields without a value are None, which removes what an earlier state left there. `handled` is not touched.
    """
    return {
        "phase": phase(record.status),
        "reason": _reason(record),
        "message": _message(record),
        "engine": record.engine.value,
        "assignment": record.assignment.value,
        "revision": record.revision,
        "currentNode": None if record.status is Status.SUCCESS else record.current_node or None,
        "progress": f"{record.done}/{record.total}",
        "retries": record.retries,
        "startedAt": moment(record.started_at),
        "finishedAt": moment(record.finished_at),
        "duration": _duration(record),
        **_output(record),
        "conditions": _conditions(record),
    }


def phase(status: Status) -> str:
    """The store's status with a capital."""
    return status.value.capitalize()


def moment(at: datetime | None) -> str | None:
    """RFC 3339 in UTC, to a millisecond."""
    return None if at is None else at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def show_duration(duration: timedelta) -> str:
    """A length of time for people: 2.4s, 3m12s, 1h02m, 2d03h."""
    seconds = max(duration.total_seconds(), 0.0)
    if round(seconds, 1) < 60:  # noqa: PLR2004 - seconds a minute
        return f"{seconds:.1f}s"
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days}d{hour:02d}h"
    return f"{hours}h{minute:02d}m" if hours else f"{minutes}m{second:02d}s"


def _reason(record: ExecutionRecord) -> str | None:
    if record.status is Status.FAILED and record.failure is not None:
        return clip(record.failure.kind, 128)
    if record.status is Status.SUSPENDED and record.message:
        return clip(record.message, 128)
    return None


def _message(record: ExecutionRecord) -> str | None:
    if record.failure is not None:
        where = f"node {record.failure.node}: " if record.failure.node else ""
        return clip(f"{where}{record.failure.message}")
    if record.status is Status.SUSPENDED and record.message:
        return clip(f"{record.message}: {_HOW_TO_RESUME}")
    return None


def _duration(record: ExecutionRecord) -> str | None:
    if record.finished_at is None:
        return None
    return show_duration(record.finished_at - (record.started_at or record.created_at))


def _output(record: ExecutionRecord) -> Mapping[str, Any]:
    if record.output is None:
        return {"output": None, "outputReference": None}
    size = len(json.dumps(record.output))  # ASCII: characters are bytes, and never fewer than in UTF-8
    if size <= OUTPUT_LIMIT:
        return {"output": record.output, "outputReference": None}
    return {"output": None, "outputReference": f"{size} bytes: orchestrator executions show {record.id}"}


def _conditions(record: ExecutionRecord) -> list[dict[str, Any]]:
    accepted = condition("Accepted", True, "Submitted", f"Runs on {record.engine.value}.", at=record.created_at)
    if not record.status.terminal:
        return [accepted, condition("Succeeded", None, phase(record.status), "", at=record.created_at)]
    ended = record.finished_at or record.created_at
    success = record.status is Status.SUCCESS
    message = clip(_message(record) or "", 256)
    return [accepted, condition("Succeeded", success, phase(record.status), message, at=ended)]
