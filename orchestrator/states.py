"""The tables of legal transitions: one for executions, one for their nodes. `advance` refuses everything else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from orchestrator import events as e
from orchestrator.errors import IllegalTransition
from orchestrator.model import NodeStatus, Status

if TYPE_CHECKING:
    from collections.abc import Mapping

_P, _R, _W, _S = Status.PENDING, Status.RUNNING, Status.WAITING, Status.SUSPENDED

#: (status, event) -> status. `None` is an execution that does not exist yet. `compensating` has no row before
#: compensation is built.
EXECUTION: Final[Mapping[tuple[Status | None, type[e.Event]], Status]] = {
    (None, e.ExecutionSubmitted): _P,
    (_P, e.ExecutionStarted): _R,
    (_P, e.ExecutionSuspended): _S,
    (_R, e.StepCompleted): _R,
    (_R, e.StepFailed): _R,
    (_R, e.StepSkipped): _R,
    (_R, e.TimerStarted): _R,
    (_R, e.ExecutionWaiting): _W,
    (_R, e.ExecutionSuspended): _S,
    (_R, e.ExecutionSucceeded): Status.SUCCESS,
    (_R, e.ExecutionFailed): Status.FAILED,
    (_R, e.ExecutionCancelled): Status.CANCELLED,
    (_W, e.StepCompleted): _R,
    (_W, e.ExecutionSuspended): _S,
    (_W, e.ExecutionCancelled): Status.CANCELLED,
    (_S, e.ExecutionResumed): _R,
    (_S, e.ExecutionCancelled): Status.CANCELLED,
    # Requests come from outside at any time before the end; what they ask for is done by the next decision.
    **{(s, t): s for s in (_P, _R, _W, _S) for t in (e.CancelRequested, e.SuspendRequested, e.ResumeRequested)},
}

_NP, _NR, _NW = NodeStatus.PENDING, NodeStatus.RETRYING, NodeStatus.WAITING

#: (status, event, does a retry follow?) -> status, for one node of an execution.
NODE: Final[Mapping[tuple[NodeStatus, type[e.StepEvent], bool], NodeStatus]] = {
    (_NP, e.StepCompleted, False): NodeStatus.COMPLETED,
    (_NP, e.StepSkipped, False): NodeStatus.SKIPPED,
    (_NP, e.StepFailed, True): _NR,
    (_NP, e.StepFailed, False): NodeStatus.FAILED,
    (_NP, e.TimerStarted, False): _NW,
    (_NR, e.StepCompleted, False): NodeStatus.COMPLETED,
    (_NR, e.StepFailed, True): _NR,
    (_NR, e.StepFailed, False): NodeStatus.FAILED,
    (_NW, e.StepCompleted, False): NodeStatus.COMPLETED,
}


def advance(status: Status | None, event: e.Event) -> Status:
    """The status after an event; raises IllegalTransition where the table has no row."""
    after = EXECUTION.get((status, type(event)))
    if after is None:
        where = status or "not submitted"
        raise IllegalTransition(f"{type(event).__name__} cannot happen to an execution that is {where}")
    return after


def advance_node(status: NodeStatus, event: e.StepEvent) -> NodeStatus:
    """The node's status after an event; raises IllegalTransition where the table has no row."""
    retried = isinstance(event, e.StepFailed) and event.retry_at is not None
    after = NODE.get((status, type(event), retried))
    if after is None:
        raise IllegalTransition(f"{type(event).__name__} cannot happen to node {event.node!r}, which is {status}")
    return after
