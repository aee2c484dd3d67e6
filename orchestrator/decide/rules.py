"""The rules of an execution, in their order: each is named for what it sees, and gives the event that follows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from orchestrator import events as e
from orchestrator import expressions
from orchestrator.decide.compensating import ended_backward
from orchestrator.decide.frontier import OUTPUT
from orchestrator.decide.starting import begin
from orchestrator.decide.undoing import undoable
from orchestrator.decide.waiting import child_ended, moment_came, signal_taken
from orchestrator.errors import ExpressionError
from orchestrator.model import Failure, Join, Status, StepStatus
from orchestrator.nodes import mapping

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.decide.turn import Turn
    from orchestrator.model import Node


def cancelled(turn: Turn) -> e.Event | None:
    """A cancel takes effect once nothing is in flight; what was begun to be undone is undone to its end."""
    x = turn.execution
    if not x.cancel_requested or x.status is Status.COMPENSATING or turn.frontier.running or turn.frontier.children:
        return None
    if turn.workflow.undo_on_cancel and x.status is not Status.PENDING and undoable(turn.workflow, x):
        return e.CompensationStarted(turn.now, None)
    return e.ExecutionCancelled(turn.now)


def resumed(turn: Turn) -> e.Event | None:
    """A suspension that nobody wants any more is over."""
    x = turn.execution
    if x.status is Status.SUSPENDED and not x.suspend_requested and not x.cancel_requested:
        return e.ExecutionResumed(turn.now)
    return None


def timed_out(turn: Turn) -> e.Event | None:
    """The whole execution took longer than its workflow allows."""
    x, limit = turn.execution, turn.workflow.timeout
    if limit is None or x.started_at is None or turn.failing or x.cancel_requested:
        return None
    if x.status in (Status.RUNNING, Status.WAITING) and x.started_at + limit <= turn.now:
        return e.ExecutionTimedOut(turn.now)
    return None


def failed(turn: Turn) -> e.Event | None:
    """What fails ends, once nothing is in flight and the nodes that join always are over."""
    x = turn.execution
    if not turn.failing or x.cancel_requested or x.status is not Status.RUNNING:
        return None
    if turn.frontier.running or turn.frontier.children:
        return None
    if any(not x.step(node.id).status.terminal for node in turn.workflow.always):
        return None
    return _ended_badly(turn, why_it_fails(turn))


def _ended_badly(turn: Turn, failure: Failure) -> e.Event:
    """The end with a failure; what was done is undone before."""
    if undoable(turn.workflow, turn.execution):
        return e.CompensationStarted(turn.now, failure)
    return e.ExecutionFailed(turn.now, failure)


def why_it_fails(turn: Turn) -> Failure:
    """What came first: the failure of a step for good, or the end of its time."""
    x, limit = turn.execution, turn.workflow.timeout
    if x.timed_out or x.failed_step is None:
        seconds = f"{limit.total_seconds():g} s" if limit else "it may"
        return Failure("ExecutionTimeout", f"took longer than {seconds}; spec.timeout allows no more")
    failure = x.step(x.failed_step).failure or Failure("Unknown", "the step failed")
    return Failure(failure.kind, failure.message, failure.retryable, x.failed_step, failure.status)


def suspended(turn: Turn) -> e.Event | None:
    """A suspension takes effect once no step is in flight; what is being undone is undone first."""
    x = turn.execution
    resting = x.status in (Status.SUSPENDED, Status.COMPENSATING)
    if x.suspend_requested and not resting and not turn.frontier.running and not x.cancel_requested:
        return e.ExecutionSuspended(turn.now, "requested")
    return None


def resolved(turn: Turn) -> e.Event | None:
    """The next node whose needs let it begin is skipped, begins, or is made ready for a worker."""
    frontier = turn.frontier
    if turn.execution.status is not Status.RUNNING or turn.held:
        return None
    while (node := _candidate(turn)) is not None:
        event = _skipped(turn, node) or begin(turn, node)
        if event is not None:
            return event
        frontier.candidates.pop(node.id, None)
        frontier.runnable[node.id] = None
    return None


def _candidate(turn: Turn) -> Node | None:
    """The node to look at next: after a failure one that joins always, once all it needs is over or never begins."""
    by_id = turn.workflow.by_id
    if not turn.failing:
        key = next(iter(turn.frontier.candidates), None)
        return None if key is None else by_id[key]
    frontier = turn.frontier
    ready = (
        node
        for node in turn.workflow.always
        if turn.pending(node)
        and node.id not in frontier.running
        and node.id not in frontier.runnable
        and not any(_still_moves(turn, by_id[need]) for need in node.needs)
    )
    return next(ready, None)


def _still_moves(turn: Turn, node: Node) -> bool:
    """Whether a node may still do something after a failure: it is in flight, or joins always and is not over."""
    if turn.execution.step(node.id).status.terminal:
        return False
    return node.join is Join.ALWAYS or turn.busy(node.id)


def _skipped(turn: Turn, node: Node) -> e.Event | None:
    reason = _why_skipped(turn, node)
    if reason is None and node.when is not None:
        try:
            if not expressions.evaluate_condition(node.when, turn.scope(), turn.path(node, "when")):
                reason = "its condition is false"
        except ExpressionError as error:
            return turn.error(node, error)
    return None if reason is None else e.StepSkipped(turn.now, node.id, node.type, reason)


def _why_skipped(turn: Turn, node: Node) -> str | None:
    x, frontier = turn.execution, turn.frontier
    if node.join is Join.ALL:
        for need in node.needs:
            if x.step(need).status is StepStatus.SKIPPED:
                return f"{need} was skipped"
            if frontier.passed_by(x, need, node):
                return f"{need} took another branch"
    elif node.join is Join.ANY and node.needs and not any(frontier.leads_on(x, n, node) for n in node.needs):
        return f"none of {', '.join(node.needs)} leads here"
    return None


def mapped(turn: Turn) -> e.Event | None:
    """A map whose items are over is over; one with more failures than it tolerates fails once none is in flight."""
    if turn.execution.status is not Status.RUNNING:
        return None
    for node_id in turn.frontier.maps_due:
        if not turn.may_move(node_id):
            continue
        node, cursor = turn.workflow.by_id[node_id], turn.frontier.maps[node_id]
        if turn.gave_up(node):
            if not turn.busy(node_id):
                return turn.failed(node, _items_failed(turn, node, cursor.failed))
        elif cursor.left == 0:
            return turn.completed(node, _results(turn, node))
    return None


def _items_failed(turn: Turn, node: Node, failures: int) -> Failure:
    first = _failures(turn, node)[0]
    total = len(turn.execution.step(node.id).keys)
    tolerated = mapping.tolerated(node.with_, total)
    message = (
        f"{failures} of {total} items failed, {tolerated} are tolerated; "
        f"item {first['key']}: {first['kind']}: {first['message']}"
    )
    return Failure("ItemsFailed", message, node=node.id)


def _failures(turn: Turn, node: Node) -> list[dict[str, str]]:
    x = turn.execution
    states = ((key, x.step(f"{node.id}/{key}")) for key in x.step(node.id).keys)
    return [
        {"key": key, "kind": state.failure.kind, "message": state.failure.message}
        for key, state in states
        if state.status is StepStatus.FAILED and state.failure is not None
    ]


def _results(turn: Turn, node: Node) -> dict[str, object]:
    x = turn.execution
    results = [x.step(f"{node.id}/{key}").output for key in x.step(node.id).keys]
    return {"results": results, "failures": _failures(turn, node)}


def succeeded(turn: Turn) -> e.Event | None:
    """Every node is over, and none failed."""
    x = turn.execution
    if x.status is not Status.RUNNING or turn.frontier.open or turn.failing or turn.held:
        return None
    if OUTPUT in turn.frontier.refused:
        return _ended_badly(turn, Failure(*turn.frontier.refused[OUTPUT]))
    try:
        output = expressions.evaluate(turn.workflow.output, turn.scope(), "spec.output")
    except ExpressionError as error:
        return _ended_badly(turn, Failure("ExpressionError", str(error)))
    return e.ExecutionSucceeded(turn.now, output)


def at_rest(turn: Turn) -> e.Event | None:
    """Only timers, signals and children are left, so no worker needs to hold it."""
    frontier = turn.frontier
    if turn.execution.status is not Status.RUNNING or frontier.running or not frontier.waiting:
        return None
    if turn.held or turn.failing:  # what does not move any more is not waited for
        rests = _waits(turn) and not any(map(turn.may_move, (*frontier.retrying, *frontier.runnable)))
    else:
        rests = not frontier.retrying and not frontier.runnable
    return e.ExecutionWaiting(turn.now) if rests else None


def _waits(turn: Turn) -> bool:
    return bool(turn.frontier.children) or any(map(turn.may_move, turn.frontier.waiting))


#: Those that alone can have something to say while nobody asked for anything and nothing failed.
ORDINARY: Final[tuple[Callable[[Turn], e.Event | None], ...]] = (moment_came, resolved, mapped, succeeded)

RULES: Final[tuple[Callable[[Turn], e.Event | None], ...]] = (
    child_ended,
    cancelled,
    resumed,
    timed_out,
    failed,
    suspended,
    ended_backward,
    signal_taken,
    moment_came,
    resolved,
    mapped,
    succeeded,
)
