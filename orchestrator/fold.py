"""Events to Execution: the only way in which an execution changes.

The fold is strict: a gap in `seq`, or an event that the tables of transitions do not allow, raises IllegalTransition.
An event costs the logarithm of the number of steps, so a history costs little more than its length.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from orchestrator import events as e
from orchestrator.errors import IllegalTransition
from orchestrator.model import Ended, Execution, Signal, StepState, StepStatus, step_key
from orchestrator.states import advance, advance_step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from orchestrator.model import Status


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
        lineage=event.lineage,
        parent=event.parent,
        depth=event.depth,
        trace=event.trace,
    )


def apply(state: Execution, event: e.Event) -> Execution:
    """The execution after one more event."""
    status = advance(state.status, event)
    if isinstance(event, e.STEP):
        return _step(state, status, event)
    change = _CHANGES.get(type(event))
    changed = change(state, event) if change else {}
    return state.evolve(status=status, seq=state.seq + 1, **changed)


#: What an event changes besides the status; types that are not here change nothing else.
_CHANGES: Mapping[type[e.Event], Callable[[Execution, Any], dict[str, Any]]] = {
    e.StepStarted: lambda state, event: {"steps": _begun(state, event)},
    e.ExecutionStarted: lambda _, event: {"started_at": event.at},
    e.ExecutionResumed: lambda state, event: {"suspend_requested": False, "started_at": state.started_at or event.at},
    e.ExecutionSuspended: lambda *_: {"suspend_requested": True},
    e.CancelRequested: lambda *_: {"cancel_requested": True},
    e.SuspendRequested: lambda *_: {"suspend_requested": True},
    e.ResumeRequested: lambda *_: {"suspend_requested": False},
    e.SignalReceived: lambda state, event: {
        "signals": (*state.signals, Signal(state.seq + 1, event.name, event.payload)),
    },
    e.ChildEnded: lambda state, event: {
        "children": state.children.insert(event.child, Ended(event.status, event.output, event.failure)),
    },
    e.ExecutionTimedOut: lambda *_: {"timed_out": True},
    e.CompensationStarted: lambda _, event: {"failure": event.failure},
    e.ExecutionSucceeded: lambda _, event: {"finished_at": event.at, "output": event.output},
    e.ExecutionFailed: lambda _, event: {"finished_at": event.at, "failure": event.failure},
    e.ExecutionCancelled: lambda _, event: {"finished_at": event.at},
}


def _begun(state: Execution, event: e.StepStarted) -> Any:
    key = step_key(event.node, event.item)
    before = state.step(key)
    if before.status not in (StepStatus.PENDING, StepStatus.RETRYING):
        raise IllegalTransition(f"StepStarted cannot happen to step {key!r}, which is {before.status}")
    return state.steps.insert(key, replace(before, begun=event.attempt))


def _step(state: Execution, status: Status, event: e.StepEvent) -> Execution:
    item = getattr(event, "item", None)
    undo = getattr(event, "undo", False)
    key = step_key(event.node, item, undo=undo)
    before = state.step(key)
    after = advance_step(before.status, event)
    seq = state.seq + 1
    step = _STEPS[type(event)](before, after, event, seq)
    changes: dict[str, Any] = {"status": status, "seq": seq, "steps": state.steps.insert(key, step)}
    if item is None and not undo and after.terminal:
        if isinstance(event, e.StepFailed):
            changes["failed_step"] = state.failed_step or event.node
        else:
            changes["done"] = state.done + 1
    if isinstance(event, e.StepFailed) and event.retry_at is not None:
        changes["retries"] = state.retries + 1
    if isinstance(event, e.StepCompleted | e.StepFailed) and event.signal is not None:
        changes["signals"] = tuple(signal for signal in state.signals if signal.seq != event.signal)
    return state.evolve(**changes)


def _completed(before: StepState, after: Any, event: e.StepCompleted, seq: int) -> StepState:
    return StepState(
        status=after,
        attempts=event.attempt,
        output=event.output,
        first_started_at=before.first_started_at or event.started_at,
        ended=seq,
        items=before.items,
        keys=before.keys,
    )


def _failed(before: StepState, after: Any, event: e.StepFailed, seq: int) -> StepState:
    return StepState(
        status=after,
        attempts=event.attempt,
        failure=event.failure,
        due=event.retry_at,
        first_started_at=before.first_started_at or event.started_at,
        ended=0 if event.retry_at is not None else seq,
        items=before.items,
        keys=before.keys,
    )


#: What an event makes of its step: (before, status, event, seq) -> after.
_STEPS: Mapping[type[e.StepEvent], Callable[[StepState, Any, Any, int], StepState]] = {
    e.StepCarried: lambda _, after, event, seq: StepState(
        status=after, output=event.output, ended=seq, items=event.items, keys=event.keys
    ),
    e.StepCompleted: _completed,
    e.StepFailed: _failed,
    e.StepSkipped: lambda _, after, _event, seq: StepState(status=after, ended=seq),
    e.TimerStarted: lambda _, after, event, _seq: StepState(status=after, due=event.until, first_started_at=event.at),
    e.SignalAwaited: lambda _, after, event, _seq: StepState(
        status=after, due=event.until, first_started_at=event.at, signal=event.name
    ),
    e.ChildStarted: lambda before, after, event, _seq: StepState(
        status=after,
        attempts=event.attempt - 1,
        first_started_at=before.first_started_at or event.at,
        child=event.child,
    ),
    e.MapStarted: lambda _, after, event, _seq: StepState(
        status=after, first_started_at=event.at, items=event.items, keys=event.keys
    ),
}
