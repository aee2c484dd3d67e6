"""(Workflow, Execution, now) to a decision: what happens next, purely.

`decide` applies the rules, one event at a time, until none has anything to say; then it tells which steps are to run
and when to look again. An engine commits the events, runs the steps, and asks again with their results.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.decide.frontier import OUTPUT, Frontier
from orchestrator.decide.model import Decision, RunNode
from orchestrator.decide.projection import current_node, project
from orchestrator.decide.rules import ORDINARY, RULES, at_rest
from orchestrator.decide.runs import beginnings
from orchestrator.decide.runs import runs as attempts
from orchestrator.decide.turn import Turn
from orchestrator.fold import apply
from orchestrator.model import Join, Status

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from orchestrator import events as e
    from orchestrator.model import Execution, Workflow

__all__ = ["OUTPUT", "Decision", "Frontier", "RunNode", "current_node", "decide", "project"]


def decide(
    workflow: Workflow,
    execution: Execution,
    in_flight: Collection[str],
    now: datetime,
    *,
    frontier: Frontier | None = None,
    chance: float = 1.0,
) -> Decision:
    """What follows from an execution's state, while the steps `in_flight` are being run by the caller.

    A `frontier` that followed every event of the execution saves building one; it is moved on to the decision's end,
    its runs in flight, and is of no use if the decision's events are not committed. `chance` in [0, 1) is the jitter
    of retries that are decided here (of child executions).
    """
    turn = Turn(workflow, execution, frontier or Frontier.of(workflow, execution, in_flight), now, chance)
    emitted: list[e.Event] = []
    while True:
        event = _first(turn)
        runs: tuple[RunNode, ...] = ()
        if event is None and not turn.execution.status.terminal:
            runs, event = attempts(turn)
            if event is None and not runs:
                event = at_rest(turn)
        if event is None:
            for started in beginnings(turn, runs):
                turn.execution = apply(turn.execution, started)
                emitted.append(started)
            return Decision(tuple(emitted), turn.execution, runs, _wake_at(turn), _cancels(turn))
        turn.execution = apply(turn.execution, event)
        turn.frontier.advance(event, turn.execution)
        emitted.append(event)


def _first(turn: Turn) -> e.Event | None:
    if turn.execution.status.terminal:
        return None
    for rule in ORDINARY if turn.ordinary else RULES:
        event = rule(turn)
        if event is not None:
            return event
    return None


def _wake_at(turn: Turn) -> datetime | None:
    """When the next timer, retry or time-out is due, if something may happen at all then."""
    x, frontier = turn.execution, turn.frontier
    if x.status.terminal or x.status is Status.SUSPENDED:
        return None
    if turn.held and x.status is not Status.COMPENSATING:
        return None
    if turn.failing or x.status is Status.COMPENSATING:
        return frontier.moments.upcoming(turn.now, turn.may_move)
    due = frontier.moments.upcoming(turn.now)
    if turn.workflow.timeout is None or x.started_at is None:
        return due
    deadline = x.started_at + turn.workflow.timeout
    return deadline if due is None else min(due, deadline)


def _cancels(turn: Turn) -> tuple[str, ...]:
    """The child executions that nobody needs any more: they must end before this one, or the map that they do, can."""
    x, children = turn.execution, turn.frontier.children
    if not children or x.status not in (Status.RUNNING, Status.WAITING, Status.SUSPENDED):
        return ()
    if x.cancel_requested:
        return tuple(children)
    if not turn.failing and not turn.frontier.maps_due:
        return ()
    return tuple(child for child, key in children.items() if _given_up(turn, key))


def _given_up(turn: Turn, key: str) -> bool:
    node = turn.node_of(key)
    return (turn.failing and node.join is not Join.ALWAYS) or ("/" in key and turn.gave_up(node))
