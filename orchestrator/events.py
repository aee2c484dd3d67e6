"""Everything that can happen to an execution: a closed union of frozen events.

An event is what was decided or observed, never a plan. Its place in the history (`seq`) and its execution stand in
`Recorded`, because the same event can be offered at a later place when a request was recorded meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from datetime import datetime

    from orchestrator.model import Failure, Lineage, Status, Trace

#: The version that new events are written in; older ones are upcast when they are read (store/codec.py).
SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class ExecutionSubmitted:
    """The first event of every execution: what to run, pinned to the content hash of its workflow."""

    at: datetime
    workflow_id: str
    revision: str
    input: Any
    lineage: Lineage | None = None  # of a fork
    parent: str | None = None  # of a child: the execution that waits for it
    depth: int = 0  # of a child: how many generations of parents it has
    trace: Trace | None = None  # the one that whoever asked for it was in


@dataclass(frozen=True, slots=True)
class ExecutionStarted:
    """A worker claimed it for the first time."""

    at: datetime


@dataclass(frozen=True, slots=True)
class StepCarried:
    """A fork begins with this step over already, as it was in the execution that it came from. It never runs here."""

    at: datetime
    node: str
    node_type: str
    output: Any
    skipped: bool = False
    item: str | None = None
    items: tuple[Any, ...] = ()  # of a map that can be compensated: its elements …
    keys: tuple[str, ...] = ()  # … and their keys; its items are carried, too


@dataclass(frozen=True, slots=True)
class StepStarted:
    """An attempt of a step that can be compensated is about to begin. If its worker dies and the step never runs
    again, its effect may have taken place all the same, and is undone.
    """

    at: datetime
    node: str
    node_type: str
    attempt: int
    item: str | None = None


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
    item: str | None = None  # the key of a map's item
    undo: bool = False  # a compensation
    signal: int | None = None  # the seq of the signal that it took


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
    item: str | None = None
    undo: bool = False
    signal: int | None = None  # the seq of the signal that said no


@dataclass(frozen=True, slots=True)
class StepSkipped:
    """The step's condition was false, or the nodes that it needs left it no way to begin; its output is null."""

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
class SignalAwaited:
    """A node began to wait for a signal; at `until` it is given up (None: never)."""

    at: datetime
    node: str
    node_type: str
    name: str
    until: datetime | None


@dataclass(frozen=True, slots=True)
class ChildStarted:
    """A child execution was submitted, in the commit that brought this event."""

    at: datetime
    node: str
    node_type: str
    attempt: int
    child: str
    workflow_id: str
    revision: str
    item: str | None = None


@dataclass(frozen=True, slots=True)
class MapStarted:
    """A map began: its elements, and a key for each that tells it from the others in the same order."""

    at: datetime
    node: str
    node_type: str
    items: tuple[Any, ...]
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SignalReceived:
    """Somebody sent a signal; it is kept until a node takes it. `id` tells a repeated delivery."""

    at: datetime
    name: str
    payload: Any
    id: str


@dataclass(frozen=True, slots=True)
class ChildEnded:
    """A child execution ended; recorded here in the commit that ended it."""

    at: datetime
    child: str
    status: Status
    output: Any
    failure: Failure | None


@dataclass(frozen=True, slots=True)
class ExecutionWaiting:
    """Nothing can run before a timer ends, a signal arrives or a child ends; no worker holds it meanwhile."""

    at: datetime


@dataclass(frozen=True, slots=True)
class CancelRequested:
    """A person, or the parent's end, asked to cancel. No step starts after this."""

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
class ExecutionTimedOut:
    """It took longer than its workflow allows: steps in flight end, no other starts, and it fails."""

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
class CompensationStarted:
    """What was done is being undone, last first. `failure` is what the execution fails with when that is over."""

    at: datetime
    failure: Failure | None  # None: it was cancelled


@dataclass(frozen=True, slots=True)
class ExecutionSucceeded:
    """The end: every step is completed or skipped."""

    at: datetime
    output: Any


@dataclass(frozen=True, slots=True)
class ExecutionFailed:
    """The end: a step failed for good, an expression could not be evaluated, or its time was over."""

    at: datetime
    failure: Failure


@dataclass(frozen=True, slots=True)
class ExecutionCancelled:
    """The end that a person, the parent or a concurrency limit asked for."""

    at: datetime
    reason: str = ""


Event: TypeAlias = (
    ExecutionSubmitted
    | ExecutionStarted
    | StepCarried
    | StepStarted
    | StepCompleted
    | StepFailed
    | StepSkipped
    | TimerStarted
    | SignalAwaited
    | ChildStarted
    | MapStarted
    | SignalReceived
    | ChildEnded
    | ExecutionWaiting
    | CancelRequested
    | SuspendRequested
    | ResumeRequested
    | ExecutionTimedOut
    | ExecutionSuspended
    | ExecutionResumed
    | CompensationStarted
    | ExecutionSucceeded
    | ExecutionFailed
    | ExecutionCancelled
)

StepEvent: TypeAlias = (
    StepCarried | StepCompleted | StepFailed | StepSkipped | TimerStarted | SignalAwaited | ChildStarted | MapStarted
)

#: What others than the owner may record at any time before the end.
OutsideEvent: TypeAlias = SignalReceived | ChildEnded | CancelRequested | SuspendRequested | ResumeRequested

ALL: tuple[type[Event], ...] = (
    ExecutionSubmitted,
    ExecutionStarted,
    StepCarried,
    StepStarted,
    StepCompleted,
    StepFailed,
    StepSkipped,
    TimerStarted,
    SignalAwaited,
    ChildStarted,
    MapStarted,
    SignalReceived,
    ChildEnded,
    ExecutionWaiting,
    CancelRequested,
    SuspendRequested,
    ResumeRequested,
    ExecutionTimedOut,
    ExecutionSuspended,
    ExecutionResumed,
    CompensationStarted,
    ExecutionSucceeded,
    ExecutionFailed,
    ExecutionCancelled,
)
STEP: tuple[type[StepEvent], ...] = (
    StepCarried,
    StepCompleted,
    StepFailed,
    StepSkipped,
    TimerStarted,
    SignalAwaited,
    ChildStarted,
    MapStarted,
)
#: Those that name a node.
OF_A_NODE: tuple[type[StepEvent | StepStarted], ...] = (StepStarted, *STEP)
OUTSIDE: tuple[type[OutsideEvent], ...] = (
    SignalReceived,
    ChildEnded,
    CancelRequested,
    SuspendRequested,
    ResumeRequested,
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
