"""Everything that can happen to an execution: a closed union of frozen events.

An event is what was decided or observed, never a plan. Its place in the history (`seq`) and its execution stand in
`Recorded`, because the same event can be offered at a later place when a request was recorded meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from datetime import datetime

    from orchestrator.model import Failure

#: The version that new events are written in; older ones are upcast when they are read (store/codec.py).
SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class ExecutionSubmitted:
    """The first event of every execution: what to run, pinned to the content hash of its workflow."""

    at: datetime
    workflow_id: str
    revision: str
    input: Any


@dataclass(frozen=True, slots=True)
class ExecutionStarted:
    """A worker claimed it for the first time."""

    at: datetime


@dataclass(frozen=True, slots=True)
class StepCompleted:
    """An attempt succeeded; from now on this step never runs again. `node_type` is kept for reports."""

    at: datetime
    node: str
    node_type: str
    attempt: int
    output: Any
    started_at: datetime
    duration_ms: float


@dataclass(frozen=True, slots=True)
class StepFailed:
    """An attempt failed. With `retry_at` the next one is due then; without, the step has failed for good."""

    at: datetime
    node: str
    node_type: str
    attempt: int
    failure: Failure
    started_at: datetime
    duration_ms: float
    retry_at: datetime | None


@dataclass(frozen=True, slots=True)
class StepSkipped:
    """The step's condition was false, or a step it needs was skipped; its output is null."""

    at: datetime
    node: str
    node_type: str
    reason: str


@dataclass(frozen=True, slots=True)
class TimerStarted:
    """A wait node began; it completes at `until`, however often the worker restarts."""

    at: datetime
    node: str
    node_type: str
    until: datetime


@dataclass(frozen=True, slots=True)
class ExecutionWaiting:
    """Nothing can run before a timer ends; no worker holds it meanwhile."""

    at: datetime


@dataclass(frozen=True, slots=True)
class CancelRequested:
    """A person asked to cancel. No step starts after this."""

    at: datetime


@dataclass(frozen=True, slots=True)
class SuspendRequested:
    """A person asked to suspend. Steps in flight end, no other starts."""

    at: datetime


@dataclass(frozen=True, slots=True)
class ResumeRequested:
    """A person asked to resume."""

    at: datetime


@dataclass(frozen=True, slots=True)
class ExecutionSuspended:
    """Nothing runs any more until a person resumes it."""

    at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class ExecutionResumed:
    """It goes on where it stood."""

    at: datetime


@dataclass(frozen=True, slots=True)
class ExecutionSucceeded:
    """The end: every step is completed or skipped."""

    at: datetime
    output: Any


@dataclass(frozen=True, slots=True)
class ExecutionFailed:
    """The end: a step failed for good, or an expression could not be evaluated."""

    at: datetime
    failure: Failure


@dataclass(frozen=True, slots=True)
class ExecutionCancelled:
    """The end that a person asked for."""

    at: datetime


Event: TypeAlias = (
    ExecutionSubmitted
    | ExecutionStarted
    | StepCompleted
    | StepFailed
    | StepSkipped
    | TimerStarted
    | ExecutionWaiting
    | CancelRequested
    | SuspendRequested
    | ResumeRequested
    | ExecutionSuspended
    | ExecutionResumed
    | ExecutionSucceeded
    | ExecutionFailed
    | ExecutionCancelled
)

StepEvent: TypeAlias = StepCompleted | StepFailed | StepSkipped | TimerStarted

ALL: tuple[type[Event], ...] = (
    ExecutionSubmitted,
    ExecutionStarted,
    StepCompleted,
    StepFailed,
    StepSkipped,
    TimerStarted,
    ExecutionWaiting,
    CancelRequested,
    SuspendRequested,
    ResumeRequested,
    ExecutionSuspended,
    ExecutionResumed,
    ExecutionSucceeded,
    ExecutionFailed,
    ExecutionCancelled,
)


@dataclass(frozen=True, slots=True)
class Recorded:
    """An event at its place in the history of one execution; `seq` counts from 1 without gaps."""

    seq: int
    event: Event
    schema_version: int = SCHEMA_VERSION
    append_seq: int = 0  # the first seq of the append that brought it: events with the same one share a commit
    timed_append: int | None = None  # this event also tells how long an earlier append's commit took
    timed_ms: float | None = None
