"""Compensation (a saga, Garcia-Molina and Salem 1987): what was done is undone one by one, the last first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator import events as e
from orchestrator.decide.undoing import undoable
from orchestrator.model import Failure, Status, StepStatus

if TYPE_CHECKING:
    from orchestrator.decide.turn import Turn
    from orchestrator.model import Execution, Node


def next_to_undo(turn: Turn) -> tuple[Node, str, str | None] | None:
    """The next step to undo: its node, its key, and its item's key; None when all are, or one is waited for."""
    x, frontier = turn.execution, turn.frontier
    key = frontier.next_to_undo(x) if x.status is Status.COMPENSATING else None
    if key is None:
        return None
    undo = f"{key}:compensate"
    due = x.step(undo).due
    if undo in frontier.running or (due is not None and due > turn.now):
        return None
    return turn.node_of(key), key, key.partition("/")[2] or None


def ended_backward(turn: Turn) -> e.Event | None:
    """Everything is undone, or could not be: the execution ends with what made it turn back."""
    x, frontier = turn.execution, turn.frontier
    if x.status is not Status.COMPENSATING or frontier.next_to_undo(x) is not None:
        return None
    keys = undoable(turn.workflow, x)
    left = [key for key in keys if x.step(f"{key}:compensate").status is StepStatus.FAILED]
    if x.failure is None and not left:
        return e.ExecutionCancelled(turn.now)
    failure = x.failure or Failure("CompensationFailed", "it was cancelled")
    if left:
        reasons = "; ".join(f"{key}: {_why(x, key)}" for key in left[:3])
        more = f" and {len(left) - 3} more" if len(left) > 3 else ""  # noqa: PLR2004 - as many as are named
        message = f"{failure.message}; NOT undone: {reasons}{more}"
        failure = Failure(failure.kind, message, failure.retryable, failure.node, failure.status)
    return e.ExecutionFailed(turn.now, failure)


def _why(execution: Execution, key: str) -> str:
    failure = execution.step(f"{key}:compensate").failure
    return f"{failure.kind}: {failure.message}" if failure else "unknown"
