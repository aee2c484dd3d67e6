"""What is asked of a store, and what it answers: values that cross its border. Every time is an aware UTC datetime."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime

    from orchestrator.events import Event, OutsideEvent, Recorded, SignalReceived, StepCarried
    from orchestrator.model import Assignment, Engine, Lineage, Projection, Status, Trace, Workflow


@dataclass(frozen=True, slots=True)
class Submission:
    """A new execution, already routed. The same `id`, or the same workflow and idempotency key, submits once."""

    id: str
    workflow: Workflow
    engine: Engine
    assignment: Assignment
    input: Any
    percent: str = "0"  # the probability of V2 that the coin had, in per cent, as the metric's label spells it
    attempt: str = ""  # the rollout's attempt id; "" while no rollout judges: then nothing is counted
    ages: tuple[float, ...] = ()  # seconds after submission at which the rollout reads it, ascending
    name: str = ""  # of the resource; "" without a cluster
    routing_key: str | None = None
    idempotency_key: str | None = None
    suspended: str | None = None  # a reason: it starts suspended, until a person resumes it
    log_line: str = ""  # goes to edge_logs in the same commit
    parent: str | None = None  # of a child: the execution that waits for it
    depth: int = 0  # of a child: how many generations of parents it has
    lineage: Lineage | None = None  # of a fork: where it comes from …
    carried: tuple[StepCarried, ...] = ()  # … what it need not do again …
    signals: tuple[SignalReceived, ...] = ()  # … and what was said and is still to be heard
    trace: Trace | None = None  # of V2: the trace that whoever asks for it is in


@dataclass(frozen=True, slots=True)
class Submitted:
    """What became of a submission: the execution that now stands for it, perhaps an earlier one."""

    id: str
    engine: Engine
    created: bool


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event for another execution than the one that the caller owns."""

    execution_id: str
    event: OutsideEvent


class Delivered(StrEnum):
    """What became of an event from outside."""

    RECORDED = "recorded"
    DUPLICATE = "duplicate"  # a signal of this id, or a request of this kind, was there before: nothing changed
    OVER = "over"  # the execution has ended: nothing changed
    UNKNOWN = "unknown"  # no V2 execution has this id


class Control(StrEnum):
    """What a person may ask of a running execution."""

    CANCEL = "cancel"
    SUSPEND = "suspend"
    RESUME = "resume"


@dataclass(frozen=True, slots=True)
class Claim:
    """An execution that this worker owns until `lease_until`, by the fencing token `fence`."""

    id: str
    workflow_id: str
    revision: str
    engine: Engine
    fence: int
    seq: int
    status: Status
    created_at: datetime
    begun: bool  # this claim started it
    input: Any = None  # of a V1 execution, whose input is not in events
    history: tuple[Recorded, ...] = ()  # the whole of it, where the claim had it at hand


@dataclass(frozen=True, slots=True)
class Append:
    """Some events of one execution, to be committed together or not at all."""

    execution_id: str
    append_id: str  # unique: tells a retry of this very append from another worker's
    fence: int
    first_seq: int
    events: tuple[Event, ...]
    data: tuple[str, ...]  # each event's own fields as checked JSON text (codec.encode), in the same order
    projection: Projection
    due_at: datetime | None  # with `release`: when it wants a worker next, None when nothing but an event wakes it
    release: bool  # the worker lets go of it with this append; otherwise its lease stays as it is
    step_deadline: datetime | None  # the latest moment at which the steps now in flight time out
    timed_append: int | None = None  # the first seq of the append before, whose commit took …
    timed_ms: float | None = None  # … so many milliseconds, as the caller saw it
    submissions: tuple[Submission, ...] = ()  # child executions, made in the same commit
    deliveries: tuple[Delivery, ...] = ()  # events for other executions, recorded in the same commit


@dataclass(frozen=True, slots=True)
class V1Update:
    """A new row of a V1 execution, and until when its step may take."""

    execution_id: str
    projection: Projection
    step_deadline: datetime | None


@dataclass(frozen=True, slots=True)
class Release:
    """To let go of an execution by the token `fence`, knowing its events up to `seq`."""

    fence: int
    seq: int
    due_at: datetime | None  # when it wants a worker next; None: not before something is asked of it


class Outcome(StrEnum):
    """What became of an append."""

    COMMITTED = "committed"
    STALE = "stale"  # we own it, but a request (cancel, …) was recorded meanwhile: reload and decide again
    FENCED = "fenced"  # another worker owns it: nothing was written
