"""The tables of legal transitions: one for executions, one for their steps. `advance` refuses everything else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from orchestrator import events as e
from orchestrator.errors import IllegalTransition
from orchestrator.model import Status, StepStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

_P, _R, _W, _S, _C = Status.PENDING, Status.RUNNING, Status.WAITING, Status.SUSPENDED, Status.COMPENSATING

#: (status, event) -> status. `None` is an execution that does not exist yet.
EXECUTION: Final[Mapping[tuple[Status | None, type[e.Event]], Status]] = {
    (None, e.ExecutionSubmitted): _P,
    (_P, e.StepCarried): _P,
    (_P, e.ExecutionStarted): _R,
    (_P, e.ExecutionSuspended): _S,
    (_P, e.ExecutionCancelled): Status.CANCELLED,  # a concurrency limit that skips
    (_R, e.StepStarted): _R,
    (_R, e.StepCompleted): _R,
    (_R, e.StepFailed): _R,
    (_R, e.StepSkipped): _R,
    (_R, e.TimerStarted): _R,
    (_R, e.SignalAwaited): _R,
    (_R, e.ChildStarted): _R,
    (_R, e.MapStarted): _R,
    (_R, e.ExecutionTimedOut): _R,
    (_R, e.ExecutionWaiting): _W,
    (_R, e.ExecutionSuspended): _S,
    (_R, e.CompensationStarted): _C,
    (_R, e.ExecutionSucceeded): Status.SUCCESS,
    (_R, e.ExecutionFailed): Status.FAILED,
    (_R, e.ExecutionCancelled): Status.CANCELLED,
    (_W, e.StepCompleted): _R,
    (_W, e.StepFailed): _R,
    (_W, e.ExecutionTimedOut): _R,
    (_W, e.ExecutionSuspended): _S,
    (_W, e.CompensationStarted): _C,
    (_W, e.ExecutionCancelled): Status.CANCELLED,
    (_S, e.StepCompleted): _S,  # a child that ended meanwhile
    (_S, e.StepFailed): _S,
    (_S, e.ExecutionResumed): _R,
    (_S, e.CompensationStarted): _C,
    (_S, e.ExecutionCancelled): Status.CANCELLED,
    (_C, e.StepCompleted): _C,
    (_C, e.StepFailed): _C,
    (_C, e.ExecutionFailed): Status.FAILED,
    (_C, e.ExecutionCancelled): Status.CANCELLED,
    # What comes from outside comes at any time before the end; what it asks for is done by the next decision.
    **{(status, kind): status for status in (_P, _R, _W, _S, _C) for kind in e.OUTSIDE},
}

_SP, _SR, _SW, _SM = StepStatus.PENDING, StepStatus.RETRYING, StepStatus.WAITING, StepStatus.MAPPING

#: (status, event, variant) -> status, for one step. The variant of a StepFailed: a retry follows; of a StepCarried:
#: it was skipped; no other event has one.
STEP: Final[Mapping[tuple[StepStatus, type[e.StepEvent], bool], StepStatus]] = {
    (_SP, e.StepCarried, False): StepStatus.COMPLETED,
    (_SP, e.StepCarried, True): StepStatus.SKIPPED,
    (_SP, e.StepCompleted, False): StepStatus.COMPLETED,
    (_SP, e.StepSkipped, False): StepStatus.SKIPPED,
    (_SP, e.StepFailed, True): _SR,
    (_SP, e.StepFailed, False): StepStatus.FAILED,
    (_SP, e.TimerStarted, False): _SW,
    (_SP, e.SignalAwaited, False): _SW,
    (_SP, e.ChildStarted, False): _SW,
    (_SP, e.MapStarted, False): _SM,
    (_SR, e.StepCompleted, False): StepStatus.COMPLETED,
    (_SR, e.StepFailed, True): _SR,
    (_SR, e.StepFailed, False): StepStatus.FAILED,
    (_SR, e.ChildStarted, False): _SW,
    (_SW, e.StepCompleted, False): StepStatus.COMPLETED,
    (_SW, e.StepFailed, True): _SR,  # a child that is tried again
    (_SW, e.StepFailed, False): StepStatus.FAILED,
    (_SM, e.StepCompleted, False): StepStatus.COMPLETED,
    (_SM, e.StepFailed, False): StepStatus.FAILED,
}


def advance(status: Status | None, event: e.Event) -> Status:
    """The status after an event; raises IllegalTransition where the table has no row."""
    after = EXECUTION.get((status, type(event)))
    if after is None:
        where = status or "not submitted"
        raise IllegalTransition(f"{type(event).__name__} cannot happen to an execution that is {where}")
    return after


def advance_step(status: StepStatus, event: e.StepEvent) -> StepStatus:
    """The step's status after an event; raises IllegalTransition where the table has no row."""
    kind = type(event)
    variant = False
    if isinstance(event, e.StepFailed):
        variant = event.retry_at is not None
    elif isinstance(event, e.StepCarried):
        variant = event.skipped
    after = STEP.get((status, kind, variant))
    if after is None:
        raise IllegalTransition(f"{kind.__name__} cannot happen to step {event.node!r}, which is {status}")
    return after
