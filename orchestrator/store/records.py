"""What a store tells of executions: values that cross its border. Every time is an aware UTC datetime."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from orchestrator.model import Assignment, Engine, Failure, Status


@dataclass(frozen=True, slots=True)
class ExecutionRecord:
    """A row of `workflow_executions`."""

    id: str
    workflow_id: str  # "namespace/name"
    revision: str
    name: str
    engine: Engine
    assignment: Assignment
    percent: str
    attempt: str
    status: Status
    current_node: str
    done: int
    total: int
    retries: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    output: Any
    failure: Failure | None
    seq: int
    fence: int
    version: int  # grows with every change that a reader could see
    owner: str | None
    due_at: datetime | None
    cancel_requested: bool
    suspend_requested: bool
    message: str  # why it was suspended at submission, or ""
    parent: str | None = None  # the execution that waits for this one
    origin: str | None = None  # the execution that this one was forked from
    limit_key: str | None = None  # the concurrency limit that it is under …
    limit: int | None = None  # … how many may run at once under that key
    queued: bool = False  # it waits for a slot of that limit
    step_deadline: datetime | None = None  # by which the steps now in flight have timed out
    input: Any = None  # of V1 only: V2's stands in its first event
    routing_key: str | None = None


@dataclass(frozen=True, slots=True)
class Filter:
    """Which executions are meant; fields that are None say nothing. `after` goes on behind an id of the same filter
    (newest first).
    """

    workflow_id: str | None = None
    statuses: tuple[Status, ...] | None = None
    engine: Engine | None = None
    parent: str | None = None
    origin: str | None = None
    created_before: datetime | None = None
    created_after: datetime | None = None
    failed_node: str | None = None
    failed_kind: str | None = None
    queued: bool | None = None
    stalled_before: datetime | None = None  # running, and its lease or its step's time was over before that
    after: tuple[datetime, str] | None = None  # created_at and id of the last one seen
    limit: int = 100


@dataclass(frozen=True, slots=True)
class Gauges:
    """What the store alone can know, by engine."""

    running: Mapping[Engine, int]
    long_running: Mapping[Engine, int]
    stalled: Mapping[Engine, int]
    queue_oldest_seconds: float


@dataclass(frozen=True, slots=True)
class Backlog:
    """Executions that are due and that no worker has taken up yet."""

    waiting: int  # counted no further than was asked for
    oldest: datetime | None  # since when the one that has waited longest has been due; None while none waits


# How long after the last moment at which a running V1 must have written something it counts as dead: as long as a
# worker's lease, for clocks that differ and a store that was away.
V1_GRACE: Final = timedelta(seconds=15)
