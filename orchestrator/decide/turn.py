"""What the rules look at: one execution at one moment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from orchestrator import events as e
from orchestrator import expressions
from orchestrator.errors import ExpressionError, StepError
from orchestrator.model import Failure, Join, Status, StepStatus, step_key
from orchestrator.nodes.mapping import tolerated

if TYPE_CHECKING:
    from datetime import datetime

    from orchestrator.decide.frontier import Frontier
    from orchestrator.decide.model import RunNode
    from orchestrator.model import Execution, Node, Workflow


class Outputs:
    """The outputs of an execution's nodes, looked up when an expression reads them; null of one that has none."""

    __slots__ = ("_execution", "_workflow")

    def __init__(self, workflow: Workflow, execution: Execution) -> None:
        self._workflow, self._execution = workflow, execution

    def __contains__(self, node_id: object) -> bool:
        return node_id in self._workflow.by_id

    def __getitem__(self, node_id: str) -> Any:
        return self._execution.step(node_id).output


@dataclass(slots=True)
class Turn:
    """An execution, what of it may move, and the moment. The rules read it; the loop in `decide` moves it on."""

    workflow: Workflow
    execution: Execution
    frontier: Frontier
    now: datetime
    chance: float  # in [0, 1): the jitter of retries that are decided here
    prepared: dict[str, RunNode] = field(default_factory=dict)  # attempts that are to start when this turn ends

    @property
    def failing(self) -> bool:
        """Something failed for good: nothing starts any more but what joins always."""
        return self.execution.failed_step is not None or self.execution.timed_out

    @property
    def ordinary(self) -> bool:
        """It runs, and nothing came from outside: most turns, which need few of the rules."""
        x = self.execution
        asked = x.cancel_requested or x.suspend_requested or x.signals or self.frontier.children_over
        return x.status is Status.RUNNING and not asked and not self.failing and self.workflow.timeout is None

    @property
    def held(self) -> bool:
        """A person asked that nothing starts."""
        return self.execution.cancel_requested or self.execution.suspend_requested

    @property
    def moving(self) -> bool:
        """Steps may start, and waits may end: some of them, if something failed."""
        return self.execution.status in (Status.RUNNING, Status.WAITING) and not self.held

    def may_move(self, key: str) -> bool:
        """Whether a step may start, or end by itself, as things stand."""
        if self.execution.status is Status.COMPENSATING:
            return key.endswith(":compensate")
        return self.moving and (not self.failing or self.node_of(key).join is Join.ALWAYS)

    def busy(self, node_id: str) -> bool:
        """Whether a node or one of its items is in flight, or a child runs for it; what waits for a retry is not."""
        items, frontier = f"{node_id}/", self.frontier
        if node_id in frontier.running:
            return True
        if node_id in frontier.maps:
            return any(key.startswith(items) for key in (*frontier.running, *frontier.children.values()))
        return self.execution.step(node_id).child in frontier.children

    def gave_up(self, node: Node) -> bool:
        """Whether more of a map's items failed than it tolerates."""
        cursor = self.frontier.maps[node.id]
        return cursor.failed > 0 and cursor.failed > tolerated(node.with_, len(self.execution.step(node.id).keys))

    def node_of(self, key: str) -> Node:
        """The node that a step belongs to."""
        return self.workflow.by_id[key.partition("/")[0].partition(":")[0]]

    def scope(self, **more: Any) -> dict[str, Any]:
        """What expressions may read here; `more` are `item` and `result` where there are such."""
        x = self.execution
        return {**expressions.scope(x.id, x.input, Outputs(self.workflow, x)), **more}

    def path(self, node: Node, field: str) -> str:
        """The place of a node's field in the workflow."""
        return f"spec.nodes[{self.workflow.position[node.id]}].{field}"

    # -- the events that end a step which no worker ran

    def completed(
        self, node: Node, result: Any, *, attempt: int = 1, item: str | None = None, signal: int | None = None
    ) -> e.Event:
        """A decided step's completion, its output mapped; or its failure, if that cannot be done."""
        key = step_key(node.id, item)
        if key in self.frontier.refused:
            kind, why = self.frontier.refused[key]
            return self.failed(node, Failure(kind, why, node=node.id), attempt=attempt, item=item, signal=signal)
        output = node.body.output if item is not None and node.body is not None else node.output
        if output is not None:
            more = {"result": result} | ({} if item is None else {"item": self.item(node, item)})
            try:
                result = expressions.evaluate(output, self.scope(**more), self.path(node, "output"))
            except ExpressionError as error:
                return self.error(node, error, item=item, signal=signal)
        began = self.execution.step(key).first_started_at or self.now
        took = (self.now - began).total_seconds() * 1000
        return e.StepCompleted(self.now, node.id, node.type, attempt, result, began, took, item, signal=signal)

    def failed(
        self,
        node: Node,
        failure: Failure,
        *,
        attempt: int = 1,
        item: str | None = None,
        undo: bool = False,
        retry_at: datetime | None = None,
        signal: int | None = None,
    ) -> e.StepFailed:
        """A failure of a step that no worker ran."""
        began = self.execution.step(step_key(node.id, item, undo=undo)).first_started_at or self.now
        took = (self.now - began).total_seconds() * 1000
        return e.StepFailed(
            self.now, node.id, node.type, attempt, failure, began, took, retry_at, item, undo=undo, signal=signal
        )

    def error(
        self,
        node: Node,
        error: ExpressionError | StepError,
        *,
        item: str | None = None,
        undo: bool = False,
        signal: int | None = None,
    ) -> e.StepFailed:
        """The final failure of a step whose expressions, or whose `with`, cannot be used."""
        attempt = self.execution.step(step_key(node.id, item, undo=undo)).attempts + 1
        kind = error.kind if isinstance(error, StepError) else "ExpressionError"
        message = error.message if isinstance(error, StepError) else str(error)
        failure = Failure(kind, message, node=node.id)
        return self.failed(node, failure, attempt=attempt, item=item, undo=undo, signal=signal)

    def item(self, node: Node, key: str) -> Any:
        """The element of a map by its item's key."""
        state = self.execution.step(node.id)
        return state.items[self.places(node)[key]]

    def places(self, node: Node) -> dict[str, int]:
        """Where each of a map's items stands, by its key."""
        return self.frontier.places(node.id, self.execution)

    def pending(self, node: Node) -> bool:
        return self.execution.step(node.id).status is StepStatus.PENDING
