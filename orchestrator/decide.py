"""(Workflow, Execution, now) to a decision: what happens next, purely.

`decide` applies the rules below, one event at a time, until none has anything to say; then it tells which steps are
to run and when to look again. An engine commits the events, runs the steps, and asks again with their results.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from orchestrator import events as e
from orchestrator import expressions
from orchestrator.errors import ExpressionError, StepError
from orchestrator.fold import apply
from orchestrator.model import Execution, Failure, Node, NodeStatus, Projection, Status, Workflow
from orchestrator.nodes import wait

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from datetime import datetime

WAIT: Final = "wait"  # the one node type that no worker runs: a stored timer


@dataclass(frozen=True, slots=True)
class RunNode:
    """An attempt to start now, with its `with` evaluated."""

    node: Node
    attempt: int
    with_: Any


@dataclass(frozen=True, slots=True)
class Decision:
    """What to commit, what to run, and when to look again (None: when a step ends, or never)."""

    events: tuple[e.Event, ...]
    execution: Execution  # after those events
    runs: tuple[RunNode, ...]
    wake_at: datetime | None


@dataclass(frozen=True, slots=True)
class _View:
    """What the rules look at."""

    workflow: Workflow
    execution: Execution
    in_flight: Collection[str]
    now: datetime

    @property
    def halted(self) -> bool:
        """No step may start: a cancel, a suspension or a failure is on its way."""
        x = self.execution
        return x.cancel_requested or x.suspend_requested or self.failed is not None

    @property
    def failed(self) -> Node | None:
        return next((n for n in self.workflow.nodes if self.execution.node(n.id).status is NodeStatus.FAILED), None)

    def ready(self, node: Node) -> bool:
        """Whether everything it needs is over, and nothing has happened to it yet."""
        x = self.execution
        return (
            x.node(node.id).status is NodeStatus.PENDING
            and node.id not in self.in_flight
            and all(x.node(need).status.terminal for need in node.needs)
        )

    def due(self, node: Node) -> bool:
        state = self.execution.node(node.id)
        return state.due is not None and state.due <= self.now and node.id not in self.in_flight

    def scope(self) -> dict[str, Any]:
        x = self.execution
        outputs = {node_id: state.output for node_id, state in x.nodes.items() if state.status.terminal}
        return expressions.scope(x.id, x.input, outputs)


def decide(workflow: Workflow, execution: Execution, in_flight: Collection[str], now: datetime) -> Decision:
    """What follows from an execution's state, while the nodes `in_flight` are being run by the caller."""
    emitted: list[e.Event] = []
    while True:
        view = _View(workflow, execution, in_flight, now)
        runs: tuple[RunNode, ...] = ()
        event = _first(_RULES, view)
        if event is None:
            runs, event = _runs(view)
        if event is None and not runs:
            event = _first(_AT_REST, view)
        if event is None:
            return Decision(tuple(emitted), execution, runs, _wake_at(view))
        execution = apply(execution, event)
        emitted.append(event)


def current_node(workflow: Workflow, execution: Execution) -> str:
    """Where an execution stands, in one word for people.

    The node that failed, else the first that is not over and may go on, else the last.
    """
    states = execution.nodes
    started = [node for node in workflow.nodes if node.id in states]
    for node in started:
        if states[node.id].status is NodeStatus.FAILED:
            return node.id
    if execution.status is Status.PENDING and not started:
        return ""
    for node in workflow.nodes:
        over = execution.node(node.id).status.terminal
        if not over and all(execution.node(need).status.terminal for need in node.needs):
            return node.id
    return workflow.nodes[-1].id


def project(workflow: Workflow, execution: Execution) -> Projection:
    """The row of an execution: a function of its events and its pinned workflow, and of nothing else."""
    done = sum(state.status in (NodeStatus.COMPLETED, NodeStatus.SKIPPED) for state in execution.nodes.values())
    return Projection(
        status=execution.status,
        current_node=current_node(workflow, execution),
        done=done,
        total=len(workflow.nodes),
        retries=execution.retries,
        started_at=execution.started_at,
        finished_at=execution.finished_at,
        output=execution.output,
        failure=execution.failure,
    )


# -- the rules, in their order: each says which event follows now, or None


def _cancelled(view: _View) -> e.Event | None:
    if view.execution.cancel_requested and not view.in_flight:
        return e.ExecutionCancelled(view.now)
    return None


def _resumed(view: _View) -> e.Event | None:
    x = view.execution
    if x.status is Status.SUSPENDED and not x.suspend_requested and not x.cancel_requested:
        return e.ExecutionResumed(view.now)
    return None


def _failed(view: _View) -> e.Event | None:
    node = view.failed
    if node is None or view.in_flight or view.execution.cancel_requested or view.execution.status is Status.SUSPENDED:
        return None
    failure = view.execution.node(node.id).failure or Failure("Unknown", "the step failed")
    return e.ExecutionFailed(view.now, Failure(failure.kind, failure.message, failure.retryable, node.id))


def _suspended(view: _View) -> e.Event | None:
    x = view.execution
    if x.suspend_requested and x.status is not Status.SUSPENDED and not view.in_flight and not x.cancel_requested:
        return e.ExecutionSuspended(view.now, "requested")
    return None


def _timer_fired(view: _View) -> e.Event | None:
    if view.halted:
        return None
    for node in view.workflow.nodes:
        state = view.execution.node(node.id)
        if state.status is NodeStatus.WAITING and view.due(node) and state.due and state.first_started_at:
            took = (view.now - state.first_started_at).total_seconds() * 1000
            return e.StepCompleted(view.now, node.id, node.type, 1, None, state.first_started_at, took)
    return None


def _skipped(view: _View) -> e.Event | None:
    if view.halted or view.execution.status is not Status.RUNNING:
        return None
    for node in view.workflow.nodes:
        if not view.ready(node):
            continue
        skipped = next((n for n in node.needs if view.execution.node(n).status is NodeStatus.SKIPPED), None)
        if skipped is not None:
            return e.StepSkipped(view.now, node.id, node.type, f"{skipped} was skipped")
        if node.when is not None:
            try:
                if not expressions.evaluate_condition(node.when, view.scope(), _path(view.workflow, node, "when")):
                    return e.StepSkipped(view.now, node.id, node.type, "its condition is false")
            except ExpressionError as error:
                return _failed_step(view, node, error)
    return None


def _timer_started(view: _View) -> e.Event | None:
    if view.halted or view.execution.status is not Status.RUNNING:
        return None
    for node in view.workflow.nodes:
        if node.type == WAIT and view.ready(node):
            try:
                path = _path(view.workflow, node, "with")
                until = wait.due(expressions.evaluate(node.with_, view.scope(), path), view.now)
            except (ExpressionError, StepError) as error:
                return _failed_step(view, node, error)
            return e.TimerStarted(view.now, node.id, node.type, until)
    return None


def _succeeded(view: _View) -> e.Event | None:
    x = view.execution
    if x.status is not Status.RUNNING or not all(x.node(node.id).status.terminal for node in view.workflow.nodes):
        return None
    if view.failed is not None or x.cancel_requested or x.suspend_requested:
        return None
    try:
        output = expressions.evaluate(view.workflow.output, view.scope(), "spec.output")
    except ExpressionError as error:
        return e.ExecutionFailed(view.now, Failure("ExpressionError", str(error)))
    return e.ExecutionSucceeded(view.now, output)


def _waiting(view: _View) -> e.Event | None:
    """Only timers are left, so no worker needs to hold it."""
    states = [view.execution.node(node.id).status for node in view.workflow.nodes]
    busy = bool(view.in_flight) or NodeStatus.RETRYING in states
    if view.execution.status is Status.RUNNING and NodeStatus.WAITING in states and not busy and not view.halted:
        return e.ExecutionWaiting(view.now)
    return None


_RULES: Final = (
    _cancelled,
    _resumed,
    _failed,
    _suspended,
    _timer_fired,
    _skipped,
    _timer_started,
    _succeeded,
)
_AT_REST: Final = (_waiting,)


def _first(rules: Collection[Callable[[_View], e.Event | None]], view: _View) -> e.Event | None:
    if view.execution.status.terminal:
        return None
    return next((event for rule in rules if (event := rule(view)) is not None), None)


def _runs(view: _View) -> tuple[tuple[RunNode, ...], e.Event | None]:
    """The attempts to start; or the event of a step whose `with` cannot be evaluated."""
    if view.halted or view.execution.status is not Status.RUNNING:
        return (), None
    runs = []
    for node in view.workflow.nodes:
        state = view.execution.node(node.id)
        again = state.status is NodeStatus.RETRYING and view.due(node)
        if not again and (node.type == WAIT or not view.ready(node)):
            continue
        try:
            with_ = expressions.evaluate(node.with_, view.scope(), _path(view.workflow, node, "with"))
        except ExpressionError as error:
            return (), _failed_step(view, node, error)
        runs.append(RunNode(node, state.attempts + 1, with_))
    return tuple(runs), None


def _wake_at(view: _View) -> datetime | None:
    """When the next timer or retry is due, if something may start at all then."""
    x = view.execution
    if x.status.terminal or view.halted or x.status is Status.SUSPENDED:
        return None
    pending = (s for node_id, s in x.nodes.items() if node_id not in view.in_flight)
    return min((s.due for s in pending if s.due is not None and not s.status.terminal), default=None)


def _failed_step(view: _View, node: Node, error: ExpressionError | StepError) -> e.StepFailed:
    attempt = view.execution.node(node.id).attempts + 1
    kind, message = (error.kind, error.message) if isinstance(error, StepError) else ("ExpressionError", str(error))
    failure = Failure(kind, message, retryable=False, node=node.id)
    return e.StepFailed(view.now, node.id, node.type, attempt, failure, view.now, 0.0, None)


def _path(workflow: Workflow, node: Node, field: str) -> str:
    return f"spec.nodes[{workflow.nodes.index(node)}].{field}"
