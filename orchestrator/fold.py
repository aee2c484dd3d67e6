"""Events to Execution: the only way in which an execution changes.

The fold is strict: a gap in `seq`, or an event that the tables of transitions do not allow, raises IllegalTransition.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from orchestrator import events as e
from orchestrator.errors import IllegalTransition
from orchestrator.model import Execution, NodeState
from orchestrator.states import advance, advance_node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


def fold(execution_id: str, history: Iterable[e.Recorded]) -> Execution:
    """The execution that a complete history tells of; raises IllegalTransition when the history cannot be true."""
    state: Execution | None = None
    for recorded in history:
        expected = (state.seq if state else 0) + 1
        if recorded.seq != expected:
            raise IllegalTransition(f"execution {execution_id}: event {recorded.seq} stands where {expected} belongs")
        state = submitted(execution_id, recorded.event) if state is None else apply(state, recorded.event)
    if state is None:
        raise IllegalTransition(f"execution {execution_id} has no events")
    return state


def submitted(execution_id: str, event: e.Event) -> Execution:
    """The execution that a first event makes."""
    status = advance(None, event)
    if not isinstance(event, e.ExecutionSubmitted):  # the table allows no other; this tells the type checker
        raise IllegalTransition(f"execution {execution_id} begins with {type(event).__name__}")
    return Execution(
        id=execution_id,
        workflow_id=event.workflow_id,
        revision=event.revision,
        input=event.input,
        status=status,
        seq=1,
    )


def apply(state: Execution, event: e.Event) -> Execution:
    """The execution after one more event."""
    after = replace(state, status=advance(state.status, event), seq=state.seq + 1)
    if isinstance(event, e.StepCompleted | e.StepFailed | e.StepSkipped | e.TimerStarted):
        return _step(after, event)
    change = _CHANGES.get(type(event))
    return replace(after, **change(state, event)) if change else after


#: What an event changes besides the status; types that are not here change nothing else.
_CHANGES: Mapping[type[e.Event], Callable[[Execution, Any], dict[str, Any]]] = {
    e.ExecutionStarted: lambda _, event: {"started_at": event.at},
    e.ExecutionResumed: lambda state, event: {"suspend_requested": False, "started_at": state.started_at or event.at},
    e.ExecutionSuspended: lambda *_: {"suspend_requested": True},
    e.CancelRequested: lambda *_: {"cancel_requested": True},
    e.SuspendRequested: lambda *_: {"suspend_requested": True},
    e.ResumeRequested: lambda *_: {"suspend_requested": False},
    e.ExecutionSucceeded: lambda _, event: {"finished_at": event.at, "output": event.output},
    e.ExecutionFailed: lambda _, event: {"finished_at": event.at, "failure": event.failure},
    e.ExecutionCancelled: lambda _, event: {"finished_at": event.at},
}


def _step(state: Execution, event: e.StepEvent) -> Execution:
    before = state.node(event.node)
    status = advance_node(before.status, event)
    retries = state.retries
    match event:
        case e.StepCompleted():
            node = replace(
                before,
                status=status,
                attempts=event.attempt,
                output=event.output,
                failure=None,
                due=None,
                first_started_at=before.first_started_at or event.started_at,
            )
        case e.StepFailed():
            retries += event.retry_at is not None
            node = replace(
                before,
                status=status,
                attempts=event.attempt,
                failure=event.failure,
                due=event.retry_at,
                first_started_at=before.first_started_at or event.started_at,
            )
        case e.TimerStarted():
            node = replace(before, status=status, due=event.until, first_started_at=event.at)
        case e.StepSkipped():
            node = NodeState(status=status)
    return replace(state, retries=retries, nodes={**state.nodes, event.node: node})
